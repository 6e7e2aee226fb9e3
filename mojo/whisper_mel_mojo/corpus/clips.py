"""The samples of clips, files or rows of Parquet files, or the reason why there are none."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from whisper_mel_mojo.audio_file import (
    SAMPLE_RATE,
    AudioError,
    read_audio,
    read_file,
    read_recording,
)
from whisper_mel_mojo.corpus.files import Stamp, stamp
from whisper_mel_mojo.corpus.inputs import PARQUET, Clip, open_parquet
from whisper_mel_mojo.decoders import shown

UNREADABLE = (AudioError, OSError, MemoryError, pa.ArrowException)
EXPECTED = "expected an encoded file (bytes), samples (a list, or array and sampling_rate), or path"


@dataclass
class Heard:
    """A clip: its samples, what should be known of them, and the other columns of its row.

    ``columns`` are arrays of one by name.
    ``files`` are those that are read for it, as they were before, None where there is none.
    ``samples`` is None if ``reason`` says why.
    """

    clip: Clip
    samples: NDArray[np.float32] | None = None
    notes: list[str] = field(default_factory=list)
    reason: str = ""
    columns: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Stamp | None] = field(default_factory=dict)


def read_clips(clips: list[Clip], columns: list[str], channel: int | None) -> Iterator[Heard]:
    """Read clips one after the other; nothing that is wrong with one of them ends it."""
    for path, group in itertools.groupby(clips, lambda clip: clip.path):
        rows = [clip.row for clip in group]
        files = {path: stamp(path)}
        if rows == [None]:
            yield _heard(Heard(Clip(path, None), files=files), None, channel)
            continue
        for clip, cells in _cells(path, rows, columns):
            heard = Heard(clip, files=dict(files))
            if isinstance(cells, dict):
                cell = cells.pop("audio")[0]
                heard.columns = cells
                yield _heard(heard, cell, channel)
            else:
                heard.reason = _said(cells)
                yield heard


def _heard(heard: Heard, cell: Any, channel: int | None) -> Heard:
    """Fill in the samples of a clip: a file, or what a cell of the column ``audio`` holds."""
    try:
        if cell is not None:
            heard.samples, heard.notes = _in_cell(cell, heard, channel)
        elif Path(heard.clip.path).suffix.lower() == PARQUET:
            raise AudioError(f"{heard.clip} is no Parquet file that has a column audio")
        else:
            heard.samples, heard.notes = read_file(Path(heard.clip.path), channel=channel)
    except Exception as error:  # decoders raise of all kinds
        heard.reason = _said(error)
    return heard


def _said(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return f"out of memory: {error}"
    return str(error) if isinstance(error, UNREADABLE) else f"{type(error).__name__}: {error}"


def _cells(
    path: str, rows: list[Any], columns: list[str]
) -> Iterator[tuple[Clip, dict[str, Any] | Exception]]:
    """Yield each row by column, arrays of one, or the exception; each row group is read once."""
    wanted = set(rows)
    first = 0
    try:
        with open_parquet(path) as file:
            kinds = {it.name: it.type for it in file.schema_arrow}
            columns = [it for it in columns if not pa.types.is_null(kinds.get(it, pa.null()))]
            for number in range(file.num_row_groups):
                after = first + file.metadata.row_group(number).num_rows
                here = sorted(row for row in wanted if first <= row < after)
                if here:
                    yield from _group(file, number, path, here, first, columns)
                wanted.difference_update(here)
                first = after
        if wanted:
            raise AudioError(f"{shown(path)} has {first} rows now: it has changed meanwhile")
    except UNREADABLE as error:
        yield from ((Clip(path, row), error) for row in sorted(wanted))


def _group(
    file: Any, number: int, path: str, rows: list[int], first: int, columns: list[str]
) -> Iterator[tuple[Clip, dict[str, Any] | Exception]]:
    try:
        table = file.read_row_group(number, columns=["audio", *columns], use_threads=False)
    except UNREADABLE as error:
        yield from ((Clip(path, row), error) for row in rows)
        return
    for row in rows:
        one = table.slice(row - first, 1)
        yield Clip(path, row), {name: one[name].combine_chunks() for name in one.column_names}


def _in_cell(cell: Any, heard: Heard, channel: int | None) -> tuple[NDArray[np.float32], list[str]]:
    name = str(heard.clip)
    given = (
        _fields(cell)
        if isinstance(cell, pa.StructScalar)
        else dict.fromkeys(("bytes", "array", "path"), cell)
    )
    encoded = given["bytes"].as_py() if isinstance(given.get("bytes"), pa.BinaryScalar) else None
    if isinstance(encoded, bytes):  # a string is binary, too
        return read_audio(io.BytesIO(encoded), name, channel=channel)
    if isinstance(array := given.get("array"), pa.ListScalar) and array.is_valid:
        rate = given["sampling_rate"].as_py() if "sampling_rate" in given else SAMPLE_RATE
        return read_recording(_Array(_floats(array, name), rate, name), name, channel=channel)
    if isinstance(stored := given.get("path"), pa.StringScalar) and stored.is_valid:
        path = Path(heard.clip.path).parent / stored.as_py()
        heard.files[str(path)] = stamp(path)
        return read_file(path, f"{name} ({path})", channel=channel)
    raise AudioError(f"{name} is {cell.type if cell.is_valid else 'null'}: {EXPECTED}")


def _fields(cell: Any) -> dict[str, Any]:
    """Return the fields of a struct that are not null."""
    return {name: it for name, it in cell.items() if it.is_valid} if cell.is_valid else {}


def _floats(cell: Any, name: str) -> NDArray[np.float32]:
    samples: NDArray[Any] = cell.values.to_numpy(zero_copy_only=False)
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / np.float32(32768)
    if samples.dtype.kind != "f":
        raise AudioError(f"{name} has samples of {cell.type.value_type}: expected float, or int16")
    return samples.astype(np.float32)


class _Array:
    """A recording that is in memory."""

    channels = 1
    doubt = ""

    def __init__(self, samples: NDArray[np.float32], rate: Any, name: str) -> None:
        if not isinstance(rate, int) or rate < 1:
            raise AudioError(f"{name}: sampling_rate={rate!r}: expected a positive integer")
        self.rate = rate
        self.length: int | None = samples.size
        self._samples = samples

    def blocks(self, frames: int) -> Iterator[NDArray[np.float32]]:
        for at in range(0, self._samples.size, frames):
            yield self._samples[at : at + frames, None]
