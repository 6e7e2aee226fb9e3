"""The folder that a run writes to. A run owns it while it lasts, files in it are whole or absent,
and the suite removes only what it has written.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOM = 8 << 20
"""Bytes that must be free in the folder: room for the report and the reproductions of some
failures.
"""


def claim(folder: Path) -> int:
    """Make the folder, and keep other runs out of it until the returned descriptor is closed.

    The system closes the descriptor when the process ends, so no lock is ever stale. Raises
    ``ValueError`` if another run uses the folder, or if it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ValueError(_unwritable(folder, error)) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _require_room(folder)
    except BlockingIOError as error:
        os.close(lock)
        raise ValueError(
            f"report folder {folder}: another run is writing there. Wait for it, or name another "
            "folder by --report"
        ) from error
    except OSError as error:
        os.close(lock)
        raise ValueError(_unwritable(folder, error)) from error
    return lock


def _unwritable(folder: Path, error: OSError) -> str:
    return (
        f"report folder {folder}: cannot be written to: {error.strerror}. Expected a folder with "
        f"{ROOM >> 20} MiB of room; name another one by --report"
    )


def _require_room(folder: Path) -> None:
    path = folder / f".room-{os.getpid()}"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        os.posix_fallocate(file, 0, ROOM)
    finally:
        os.close(file)
        path.unlink()


MARKER = ".whisper-mel"
"""Name of an empty file that marks a folder as made by the suite, which may therefore remove it."""


def slug(name: str) -> str:
    """Return a file name for a text: unique, ASCII, not hidden, without path separators."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    if plain == name and 0 < len(name) <= 100 and name[0] not in ".-":
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain[:80].lstrip('.-') or 'x'}-{digest}"


def own_folder(path: Path) -> Path:
    """Make a folder of the suite, or accept one that it made; raise ``ValueError`` for others."""
    if path.exists() and not (path / MARKER).is_file() and any(path.iterdir()):
        raise ValueError(f"{path} is not the suite's own (it has no file {MARKER}): move it away")
    path.mkdir(parents=True, exist_ok=True)
    (path / MARKER).touch()
    return path


def remove_own_folder(path: Path) -> None:
    """Remove a folder that the suite has made; raise ``ValueError`` for others."""
    if path.is_symlink() or (path.exists() and not (path / MARKER).is_file()):
        raise ValueError(f"{path} is not the suite's own (it has no file {MARKER}): move it away")
    shutil.rmtree(path, ignore_errors=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file completely, or leave the old one untouched. Raises ``OSError``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_bytes(data)
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder to write to; at the end it replaces ``path``."""
    new = path.with_name(f".{path.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        yield new
        shutil.rmtree(path, ignore_errors=True)
        os.replace(new, path)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
