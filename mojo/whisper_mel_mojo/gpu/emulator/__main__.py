"""Translator for ``driver.c``: prints the path of the library made of the PTX in a file."""

import sys
from pathlib import Path

from whisper_mel_mojo.gpu.emulator.translate import built

print(built(Path(sys.argv[1]).read_text()))
