"""Translator for ``driver.c``: prints the path of the library made of the PTX in a file.

Options that are not known here are those of the C compiler.
"""

import argparse
import json
from pathlib import Path

from whisper_mel_mojo.gpu.emulator.translate import built

parser = argparse.ArgumentParser(
    prog="python -m whisper_mel_mojo.gpu.emulator", description=__doc__
)
parser.add_argument("file", type=Path, help="PTX")
parser.add_argument("--variants", type=Path, help="JSON: of each variant, [line, statement] pairs")
known, options = parser.parse_known_args()
variants = json.loads(known.variants.read_text()) if known.variants else ()
print(built(known.file.read_text(), *options, variants=variants))
