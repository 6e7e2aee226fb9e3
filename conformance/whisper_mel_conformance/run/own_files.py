"""The suite's own files: code, goldens, declarations. A run in which they change proves nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from whisper_mel_golden import store
from whisper_mel_reference import spec

FOLDERS = (Path(spec.__file__).parent, Path(store.__file__).parent, Path(__file__).parents[1])
_OTHERS = ("__pycache__", "node_modules")  # written when something is imported or installed


def fingerprints(folders: Iterable[Path] = FOLDERS) -> dict[Path, bytes]:
    """Return a digest of every file by its path; hidden ones are half made, and left out."""
    found = {}
    for folder in folders:
        for place, inner, names in os.walk(folder):
            inner[:] = [name for name in inner if name not in _OTHERS and name[0] != "."]
            for path in (Path(place, name) for name in names if name[0] != "."):
                if path.is_file():
                    found[path] = hashlib.blake2b(path.read_bytes()).digest()
    return found


def changes(before: Mapping[Path, bytes], folders: Iterable[Path] = FOLDERS) -> list[str]:
    """Name the files that have been changed, added or removed."""
    after = fingerprints(folders)
    return sorted(str(path) for path in {*before, *after} if before.get(path) != after.get(path))
