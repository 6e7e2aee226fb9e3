"""The library that is made of a kernel's text, whatever that is: PTX or LLVM IR."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path

from whisper_mel_mojo.gpu.emulator import llvm, translate


def library_of(text: str, *options: str) -> Path:
    """Return the library made of PTX or LLVM IR; make it if it does not exist yet.

    ``options`` are those of the C compiler, but for ``--variants FILE``: JSON with the
    [line, statement] pairs of each variant of PTX. Raises ``PTXError`` or ``IRError`` for what is
    unknown, and ``BuildError`` if a compiler fails.
    """
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--variants", type=Path)
    known, others = parser.parse_known_args(options)
    if llvm.is_ir(text):
        return llvm.built(text, *others)
    variants = json.loads(known.variants.read_text()) if known.variants else ()
    return translate.built(text, *others, variants=variants)
