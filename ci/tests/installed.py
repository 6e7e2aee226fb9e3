"""What is installed here, by the names of distributions."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable

from packaging.requirements import Requirement


def closure(names: Iterable[str]) -> set[str]:
    """The distributions of these names that are installed here, and what they need; not our own."""
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop().lower()
        if name not in found:
            found.add(name)
            needs = map(Requirement, importlib.metadata.requires(name) or [])
            left += [it.name for it in needs if not it.marker or it.marker.evaluate({"extra": ""})]
    return {name for name in found if not name.startswith("whisper-mel")}
