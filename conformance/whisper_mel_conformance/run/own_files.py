"""The suite's own files: code, goldens, declarations. A run in which they change proves nothing."""

from __future__ import annotations

import hashlib
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
        for path in sorted(folder.rglob("*")):
            parts = path.relative_to(folder).parts
            if not any(part in _OTHERS or part[0] == "." for part in parts) and path.is_file():
                found[path] = hashlib.blake2b(path.read_bytes()).digest()
    return found


def changes(before: Mapping[Path, bytes], folders: Iterable[Path] = FOLDERS) -> list[str]:
    """Name the files that have been changed, added or removed."""
    after = fingerprints(folders)
    return sorted(str(path) for path in {*before, *after} if before.get(path) != after.get(path))
