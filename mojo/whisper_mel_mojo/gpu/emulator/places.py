"""Statements of a program in words, with the lines of Mojo that they were made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_MOST = 8
"""Number of lines that are named."""


class Place(NamedTuple):
    """A position in a source file, and where the function around it was inlined, if it was."""

    file: int
    line: int
    column: int
    inlined_at: Place | None = None


def described(
    text: str, language: str, line: int, place: Place | None, files: Mapping[int, str]
) -> str:
    """Return a statement with its line in the program, and the lines of Mojo by the line tables."""
    words = f"`{text}` ({language} line {line}"
    while place is not None and place.line == 0:
        place = place.inlined_at
    seen: list[str] = []
    while place is not None and len(seen) < _MOST:
        file = Path(files.get(place.file, "")).name
        seen.append(f"{file}{':' if file else ''}{place.line}:{place.column}")
        place = place.inlined_at
    return f"{words}{'; ' + ' in '.join(seen) if seen else ''})"


def quoted(text: str) -> str:
    """Return text as a string of C."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
