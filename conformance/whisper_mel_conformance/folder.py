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


def require_no_link(path: Path) -> None:
    """Raise ``ValueError`` if a path is a link: what is written there would be elsewhere."""
    if path.is_symlink():
        raise ValueError(f"{path} is a link to {os.readlink(path)}: expected none; remove it")


def mark(path: Path) -> None:
    """Mark a folder as made by the suite. Raises ``ValueError`` if its mark is a link."""
    require_no_link(path / MARKER)
    (path / MARKER).touch()


def own_folder(path: Path) -> Path:
    """Make a folder of the suite, or accept one that it made; raise ``ValueError`` for others."""
    require_no_link(path)
    if path.exists() and not (path / MARKER).is_file() and any(path.iterdir()):
        raise ValueError(f"{path} is not the suite's own (it has no file {MARKER}): move it away")
    path.mkdir(parents=True, exist_ok=True)
    mark(path)
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
    new.unlink(missing_ok=True)  # an interrupted run's, or a link
    try:
        with new.open("xb") as file:
            file.write(data)
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder to write to; at the end it replaces ``path``."""
    new = path.with_name(f".{path.name}.new")
    _remove(new)
    try:
        new.mkdir(parents=True)
        yield new
        _remove(path)
        os.replace(new, path)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _remove(path: Path) -> None:
    """Remove a folder with what is in it, or a link in its place."""
    if path.is_symlink():
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)


LARGEST = 64 << 20
"""Bytes of the largest file from elsewhere that is read: JSON takes twenty times as much memory."""


def read_foreign(path: Path) -> str:
    """Read a text file that anybody may have written.

    Raises ``OSError``, and ``ValueError`` if it is too large or not UTF-8.
    """
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"it has more than {LARGEST >> 20} MiB: expected at most that")
    return data.decode("utf-8")
