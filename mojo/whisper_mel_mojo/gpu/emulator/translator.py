"""The library that is made of a kernel's text, whatever that is: PTX or LLVM IR."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from whisper_mel_mojo.gpu.emulator import llvm, translate
from whisper_mel_mojo.gpu.emulator.translate import Variant


def library_of(text: str, *options: str, variants: Sequence[Variant] = ()) -> Path:
    """Return the library made of PTX or LLVM IR; make it if it does not exist yet.

    ``options`` are those of the C compiler. ``variants`` are changes of PTX, all in the library.
    Raises ``PTXError`` or ``IRError`` for what is unknown, and ``BuildError`` if a compiler fails.
    """
    if llvm.is_ir(text):
        return llvm.built(text, *options)
    return translate.built(text, *options, variants=variants)
