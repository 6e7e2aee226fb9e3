"""Translator for ``driver.c``: prints the path of the library made of the PTX or IR in a file.

Options that are not known here are those of the C compiler.
"""

import argparse
import json
from pathlib import Path

from whisper_mel_mojo.gpu.emulator import llvm, translate

parser = argparse.ArgumentParser(
    prog="python -m whisper_mel_mojo.gpu.emulator", description=__doc__
)
parser.add_argument("file", type=Path, help="PTX or LLVM IR")
parser.add_argument("--variants", type=Path, help="JSON: of each variant, [line, statement] pairs")
known, options = parser.parse_known_args()
variants = json.loads(known.variants.read_text()) if known.variants else ()
text = known.file.read_text()
if llvm.is_ir(text):
    print(llvm.built(text, *options))
else:
    print(translate.built(text, *options, variants=variants))
