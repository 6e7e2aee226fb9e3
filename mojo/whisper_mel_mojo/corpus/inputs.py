"""The files of a corpus: which are heard, and which are not and why."""

from __future__ import annotations

import importlib.util
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from whisper_mel_mojo.corpus.files import CorpusError
from whisper_mel_mojo.decoders import shown

AUDIO = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64"}
BY_PYAV = {".m4a", ".mp4", ".webm", ".mka", ".mkv", ".mov", ".aac", ".wma", ".amr", ".3gp"}
PARQUET = ".parquet"
KINDS = {
    stat.S_IFIFO: "a fifo",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Clip(NamedTuple):
    """One recording: a file, or a row of a Parquet file (None: the file itself).

    ``path`` is absolute; bytes that are not UTF-8 are in it as ``os.fsdecode`` has them.
    """

    path: str
    row: int | None

    def __str__(self) -> str:
        return shown(self.path) + ("" if self.row is None else f"#{self.row}")


@dataclass
class Corpus:
    """What the sources hold: files with their number of rows, and files that are not heard.

    ``files`` has None instead of a number for a file that is one clip. ``unheard`` says why.
    """

    files: dict[str, int | None] = field(default_factory=dict)
    unheard: dict[str, str] = field(default_factory=dict)

    def clips(self) -> Iterator[Clip]:
        """Yield all clips, always in the same order."""
        for path, rows in self.files.items():
            yield from (
                [Clip(path, None)] if rows is None else (Clip(path, it) for it in range(rows))
            )

    def columns(self, names: Collection[str] | None) -> pa.Schema:
        """Return those columns of the Parquet files that are among ``names``, None: all.

        Where several files have a column, its types must agree, but for files where it is nothing
        but null. ``audio`` is none of them.
        """
        found: dict[str, tuple[pa.Field, str]] = {}
        for path in (path for path, rows in self.files.items() if rows is not None):
            with open_parquet(path) as described:
                schema = described.schema_arrow.remove_metadata()
            for column in schema:
                if column.name == "audio" or (names is not None and column.name not in names):
                    continue
                first, where = found.setdefault(column.name, (column, path))
                if pa.types.is_null(first.type):
                    found[column.name] = column, path
                elif column.type not in (first.type, pa.null()):
                    raise CorpusError(
                        f"column {column.name!r} is {first.type} in {shown(where)}, and "
                        f"{column.type} in {shown(path)}: expected one type (--columns chooses)"
                    )
        return pa.schema([column.with_nullable(True) for column, _ in found.values()])


def find(sources: Iterable[str], output: Path) -> Corpus:
    """Find the files of all sources, each a file or a folder that is searched.

    What is in ``output``, which may be in one of the sources, is none of them.
    """
    corpus = Corpus()
    for source in sources:
        path = os.path.abspath(source)
        if not os.path.exists(path):
            raise CorpusError(f"{shown(source)} does not exist")
        if not os.path.isdir(path):
            _sort_in(path, corpus, any_suffix=True)
        elif os.path.realpath(path) == os.path.realpath(output):
            raise CorpusError(f"{shown(source)} is the output: expected another folder as a source")
        else:
            _search(path, os.path.realpath(output), corpus)
        if not any(it == path or it.startswith(os.path.join(path, "")) for it in corpus.files):
            reason = corpus.unheard.get(path)
            raise CorpusError(f"no audio in {shown(source)}" + (f": it {reason}" if reason else ""))
    for path in corpus.files:
        corpus.unheard.pop(path, None)
    return corpus


def _search(folder: str, output: str, corpus: Corpus) -> None:
    def unreachable(error: OSError) -> None:
        corpus.unheard[str(error.filename)] = f"cannot be searched: {error.strerror}"

    for place, folders, names in os.walk(folder, onerror=unreachable):
        folders[:] = sorted(
            it for it in folders if os.path.realpath(os.path.join(place, it)) != output
        )
        for name in folders:
            path = os.path.join(place, name)
            if os.path.islink(path):
                corpus.unheard[path] = "is a link to a folder, which may be a source of its own"
        for name in sorted(names):
            _sort_in(os.path.join(place, name), corpus)


def _sort_in(path: str, corpus: Corpus, *, any_suffix: bool = False) -> None:
    suffix = os.path.splitext(path)[1].lower()
    reason = _unheard(path) or (None if any_suffix else _unknown(suffix))
    if reason:
        corpus.unheard[path] = reason
    else:
        corpus.files[path] = _rows(path) if suffix == PARQUET else None


def _unheard(path: str) -> str | None:
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except OSError as error:
        return f"cannot be reached: {error.strerror}"
    return None if kind == stat.S_IFREG else f"is {KINDS.get(kind, 'special')}, and no file"


def _unknown(suffix: str) -> str | None:
    if suffix in BY_PYAV and not importlib.util.find_spec("av"):
        return f"is {suffix}, which PyAV reads (pip install av)"
    known = AUDIO | BY_PYAV | {PARQUET}
    return None if suffix in known else f"has {suffix or 'no suffix'}, which is not known as audio"


def _rows(path: str) -> int | None:
    """Return the number of clips in a Parquet file; None without a column ``audio``."""
    try:
        with open_parquet(path) as described:
            has_audio = "audio" in described.schema_arrow.names
            return int(described.metadata.num_rows) if has_audio else None
    except (pa.ArrowException, OSError):
        return None


@contextmanager
def open_parquet(path: str) -> Iterator[Any]:
    """Open a Parquet file for reading, whatever its name is."""
    with open(path, "rb") as file, pq.ParquetFile(file) as parquet:
        yield parquet
