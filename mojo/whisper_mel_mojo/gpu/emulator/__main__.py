"""Translator for ``driver.c``: prints the path of the library made of the PTX or IR in a file."""

import sys
from pathlib import Path

from whisper_mel_mojo.gpu.emulator.translator import library_of

if len(sys.argv) != 2:
    sys.exit("usage: python -m whisper_mel_mojo.gpu.emulator FILE")
print(library_of(Path(sys.argv[1]).read_text()))
