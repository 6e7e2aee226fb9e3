"""Libraries for this machine that are compiled of a GPU's program, kept in the cache."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from whisper_mel_mojo.builder import kept

RUNTIME = Path(__file__).with_name("runtime.h")


def c_compiler(*options: str) -> list[str]:
    """Return the command of the C compiler, ``$CC`` or else ``cc``, with the headers here."""
    return [*shlex.split(os.environ.get("CC", "cc")), *options, f"-I{RUNTIME.parent}"]


def kept_library(
    what: str, prefix: str, parts: Sequence[str], make: Callable[[Path], None]
) -> Path:
    """Return the library that ``make`` writes; it is made if it does not exist yet.

    It depends on ``parts`` and on the emulator's own sources.
    """
    sources = sorted(it for it in RUNTIME.parent.iterdir() if it.suffix in (".py", ".h"))
    known = [*(it.encode() for it in parts), *(it.read_bytes() for it in sources)]
    return kept(what, prefix, ".so", known, make)
