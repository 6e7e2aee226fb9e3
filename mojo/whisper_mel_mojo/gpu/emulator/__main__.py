"""Translator for ``driver.c``: prints the path of the library made of the PTX in a file.

The words before the file are options of the C compiler.
"""

import sys
from pathlib import Path

from whisper_mel_mojo.gpu.emulator.translate import built

*options, file = sys.argv[1:]
print(built(Path(file).read_text(), *options))
