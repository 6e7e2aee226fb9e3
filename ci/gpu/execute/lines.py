"""Lines of the kernel's source that a statement of compiled code was made of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from whisper_mel_mojo.builder import SOURCE
from whisper_mel_mojo.gpu.emulator.places import Place
from whisper_mel_mojo.gpu.emulator.ptx import Module


@lru_cache(maxsize=1)
def source() -> list[str]:
    """Return the lines of the kernel's source, the first with the number 1 at the index 0."""
    return SOURCE.read_text(encoding="utf-8").splitlines()


def lines_of(module: Module, place: Place | None) -> Iterator[int]:
    """Yield the numbers of a statement's lines in the kernel's source, from the inside out."""
    while place is not None:
        if module.files.get(place.file, "").endswith(SOURCE.name) and place.line:
            yield place.line
        place = place.inlined_at


def functions_of(module: Module, place: Place | None) -> list[str]:
    """Return the names of the functions around these lines."""
    return [function(number) for number in lines_of(module, place)]


def function(number: int) -> str:
    """Return the name of the function around a line of the kernel's source."""
    found = (re.match(r"\s*def (\w+)", line) for line in reversed(source()[:number]))
    return next((it[1] for it in found if it), "no function")


def barrier_after(module: Module, place: Place | None) -> str:
    """Return the name of the phase that ends with a barrier; empty for what is no such barrier."""
    texts = (source()[number - 1] for number in lines_of(module, place))
    found = (re.search(r"team\.phase\[(\w+)", text) for text in texts)
    return next((it[1] for it in found if it), "")
