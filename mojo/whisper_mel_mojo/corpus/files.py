"""Files that are written whole or not at all, and whether files are what they were."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypedDict

from whisper_mel_mojo.decoders import shown

PARTIAL = ".partial"
BEGUN = ".begun"
"""Suffix of a file that has a byte for each time that a shard was begun, until it is made."""


class CorpusError(Exception):
    """The reason why a run cannot begin or continue, in a sentence."""


class Stamp(TypedDict):
    """What a file was when it was read or written.

    ``size`` is in bytes, ``mtime_ns`` in nanoseconds; ``sha256`` is None for a file that could not
    be read.
    """

    size: int
    mtime_ns: int
    sha256: str | None


def stamp(path: str | Path) -> Stamp | None:
    """Return what a file is now, None if there is none.

    While size and time stay, a process hashes it only once.
    """
    try:
        status = os.stat(path)
    except OSError:
        return None
    digest = _digest(path, status) if stat.S_ISREG(status.st_mode) else None
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": digest}


def _digest(path: str | Path, status: os.stat_result) -> str | None:
    try:
        return sha256(path, status.st_size, status.st_mtime_ns)
    except OSError:
        return None


def difference(path: str | Path, was: Stamp | None, *, rehash: bool = False) -> str | None:
    """Return how a file differs from what it was, None if there was none; None if it is the same.

    Its content is compared where the time of its last change is another one, and always with
    ``rehash``. If only the time has changed, ``was`` takes it.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        return f"is gone ({error.strerror})" if was else None
    if was is None:
        return "is there now"
    if not stat.S_ISREG(status.st_mode):
        return "is no file any more"  # a pipe or a device has no end
    if status.st_size != was["size"]:
        return f"has {status.st_size} bytes, and had {was['size']}"
    if was["sha256"] is None or rehash or status.st_mtime_ns != was["mtime_ns"]:
        now = _digest(path, status)
        if now != was["sha256"]:
            if was["sha256"] is None:
                return "can be read now"
            return "has other content" if now else "cannot be read any more"
        was["mtime_ns"] = status.st_mtime_ns
    return None


@functools.lru_cache(1024)
def sha256(path: str | Path, size: int, mtime_ns: int) -> str:
    """Return the hash of a file of this size and time, which is remembered."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while content := file.read(1 << 20):
            digest.update(content)
    return digest.hexdigest()


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name when all is written; the last wins."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    try:
        with beside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object and, as its first field, the hash of what follows; whole or not at all.

    Names that are not UTF-8 keep their bytes in it.
    """
    with whole(path) as file:
        file.write(_sealed(json.dumps(content, indent=1).encode()[1:]))


def read_json(path: Path) -> dict[str, Any]:
    """Read what :func:`write_json` has written. Raises ``ValueError`` if anything was changed."""
    if not path.is_file():
        raise ValueError(f"{shown(path)} is no file")
    written = path.read_bytes()
    if written != _sealed(written[len(_sealed(b"")) :]):
        raise ValueError(f"{shown(path)} is cut off or spoiled")
    try:
        content: dict[str, Any] = json.loads(written)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{shown(path)} is no JSON: {error}") from None
    del content["sha256"]
    return content


def _sealed(rest: bytes) -> bytes:
    return b'{\n "sha256": "%s",' % hashlib.sha256(rest).hexdigest().encode() + rest
