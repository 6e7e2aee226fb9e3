"""The folder that a run writes to: it is the run's own while it lasts, and nothing in it is half
written."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOM = 8 << 20
"""Bytes that a run wants to find free: the report, and the reproductions of some failures."""


def claim(folder: Path) -> int:
    """Make the folder, and keep other runs out of it until the returned descriptor is closed.

    The system closes it when the process ends, however it ends: no lock is ever stale. Raises
    ``ValueError`` if another run has the folder, or if it cannot be written to.
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


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, or leave what was there: never a part of it. Raises ``OSError``."""
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
    """A folder to write to, which takes the place of ``path`` when all is written."""
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
