"""Shards: files of features, as Parquet or as tar files of WebDataset."""

from __future__ import annotations

import base64
import io
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from whisper_mel_mojo.arguments import HOP
from whisper_mel_mojo.audio_file import SAMPLE_RATE
from whisper_mel_mojo.corpus.files import CorpusError, whole
from whisper_mel_mojo.corpus.inputs import Clip

GROUP = 1 << 20
"""Bytes of features from which a row group is written: a reader of one clip reads few others."""


@dataclass(frozen=True)
class Row:
    """The features of a clip or of a window of it: ``(n_mels, n_frames)``, float32 or float16.

    ``start`` is where the window begins in the clip, ``samples`` how many samples of it there are,
    both at 16 kHz. ``columns`` holds Arrow's arrays of one by name.
    """

    clip: Clip
    start: int
    samples: int
    features: NDArray[Any]
    columns: dict[str, Any] = field(default_factory=dict)


class Shard(Protocol):
    """A shard that is being written."""

    def add(self, row: Row) -> None: ...


def schema_of(n_mels: int, window: int, dtype: str, columns: pa.Schema) -> pa.Schema:
    """Return the schema of Parquet shards; ``window`` is in samples, 0 where lengths differ.

    Features are ``n_mels`` lists, one for each band, of as many values as there are frames.
    ``columns`` are carried along.
    """
    frames = window // HOP
    value = pa.field("item", pa.type_for_alias(dtype), nullable=False)
    band = pa.field("item", pa.list_(value, frames or -1), nullable=False)
    shape = json.dumps([n_mels, frames or None])
    own = [
        pa.field("clip", pa.string(), nullable=False),
        pa.field("clip_path", pa.binary(), nullable=False),
        pa.field("clip_row", pa.int64()),
        pa.field("clip_start", pa.int64(), nullable=False),
        pa.field("clip_samples", pa.int64(), nullable=False),
    ]
    for name in {"features", *(it.name for it in own)} & {*columns.names}:
        raise CorpusError(f"column {name!r} has a name that the output uses: --columns chooses")
    features = pa.field("features", pa.list_(band, n_mels), False, {"shape": shape, "dtype": dtype})
    return pa.schema([*own, *columns, features], {"sampling_rate": str(SAMPLE_RATE)})


@contextmanager
def open_shard(path: Path, schema: pa.Schema) -> Iterator[Shard]:
    """Open a shard for writing, as the suffix says; it appears when it is whole."""
    with whole(path) as file:
        if path.suffix == ".tar":
            with tarfile.open(fileobj=file, mode="w") as archive:
                yield _Tar(archive, path.stem, schema)
            return
        with _writer(file, schema) as writer:
            parquet = _Parquet(writer, schema)
            yield parquet
            parquet.flush()


def _writer(file: BinaryIO, schema: pa.Schema) -> Any:
    return pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        use_dictionary=False,
        use_byte_stream_split=["features.list.element.list.element"],
        write_statistics=False,
    )


class _Parquet:
    def __init__(self, writer: Any, schema: pa.Schema) -> None:
        self._writer, self._schema = writer, schema
        self._rows: list[Row] = []

    def add(self, row: Row) -> None:
        self._rows.append(row)
        if sum(it.features.nbytes for it in self._rows) >= GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the rows that are waiting, as one row group."""
        if not self._rows:
            return
        columns = [
            _features(self._rows, column.type)
            if column.name == "features"
            else pa.concat_arrays([_cell(row, column) for row in self._rows])
            for column in self._schema
        ]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._rows = []


def _features(rows: list[Row], kind: Any) -> Any:
    values = pa.array(np.concatenate([row.features.ravel() for row in rows]))
    band = kind.value_type
    if isinstance(band, pa.FixedSizeListType):
        bands = pa.FixedSizeListArray.from_arrays(values, type=band)
    else:
        lengths = np.concatenate([[row.features.shape[1]] * len(row.features) for row in rows])
        ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        bands = pa.ListArray.from_arrays(pa.array(ends), values, type=band)
    return pa.FixedSizeListArray.from_arrays(bands, type=kind)


class _Tar:
    """Each clip is two files, ``NAME.npy`` with its features and ``NAME.json`` with the rest."""

    def __init__(self, archive: tarfile.TarFile, name: str, schema: pa.Schema) -> None:
        self._archive, self._name, self._count = archive, name, 0
        self._columns = [it for it in schema if it.name not in ("features", "clip_path")]

    def add(self, row: Row) -> None:
        key = f"{self._name}-{self._count:06}"
        self._count += 1
        content = io.BytesIO()
        np.save(content, row.features)
        values = {it.name: _cell(row, it)[0].as_py() for it in self._columns}
        values["clip_path"] = row.clip.path
        self._put(f"{key}.npy", content.getvalue())
        self._put(f"{key}.json", json.dumps(values, default=_text).encode())

    def _put(self, name: str, content: bytes) -> None:
        described = tarfile.TarInfo(name)
        described.size = len(content)
        self._archive.addfile(described, io.BytesIO(content))


def _text(value: Any) -> str:
    """Return what JSON has no form for as text: bytes in base64, a time as Python writes it."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _cell(row: Row, column: pa.Field) -> pa.Array:
    """Return a row's cell of any column but its features, as an array of one; null without one."""
    if column.name in row.columns:
        return row.columns[column.name]
    own = {
        "clip": str(row.clip),
        "clip_path": os.fsencode(row.clip.path),
        "clip_row": row.clip.row,
        "clip_start": row.start,
        "clip_samples": row.samples,
    }
    return pa.array([own.get(column.name)], column.type)
