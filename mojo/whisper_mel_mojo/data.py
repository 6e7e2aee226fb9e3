"""Features of a corpus, as PyTorch's DataLoader and plain loops read them.

``whisper-mel featurize`` has written them, as Parquet. PyTorch itself is needed for
:meth:`Features.stream` only.
"""

from __future__ import annotations

import bisect
import itertools
import json
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from whisper_mel_mojo.corpus.stream import FeatureStream

__all__ = ["Features"]

OPEN = 64
"""Number of shards that a process keeps open."""


class Features(Sequence[dict[str, Any]]):
    """The rows of a corpus, in its order: a map-style data set.

    A row is a dict with ``features``, an array ``(n_mels, n_frames)`` of the dtype that is stored,
    and the columns that are wanted. Only what is asked for is read. It can be pickled, and used
    before and after a fork, so DataLoader's workers may be started in any way.
    """

    def __init__(self, path: str | Path, columns: Sequence[str] = ("clip",)) -> None:
        """Open the output folder ``path`` of ``whisper-mel featurize``, for rows of ``columns``.

        Raises ``FileNotFoundError`` if there is none, and ``ValueError`` if it is not finished, has
        no such column, or is in tar files, which the package webdataset reads.
        """
        self._folder = Path(path)
        manifest = _manifest(self._folder)
        self._shards: list[dict[str, Any]] = manifest["shards"]
        self._ends = list(itertools.accumulate(it["rows"] for it in self._shards))
        self._columns = list(columns)
        self._files: OrderedDict[int, Any] = OrderedDict()
        self._process = os.getpid()
        if self._shards:
            there = self._file(0).schema_arrow.names
            if missing := [name for name in self._columns if name not in there]:
                raise ValueError(f"columns={columns!r}: no {missing[0]!r} in {there}")

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: Any) -> Any:
        """Return a row. Raises ``IndexError`` if there is none, ``ValueError`` if it is spoiled."""
        if isinstance(index, slice):
            return [self[it] for it in range(*index.indices(len(self)))]
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"index={index}: expected one of {len(self)} rows")
        shard = bisect.bisect_right(self._ends, at)
        return self._row(shard, at - (self._ends[shard - 1] if shard else 0))

    def column(self, name: str) -> list[Any]:
        """Return the values of a column in all rows, without reading features."""
        tables = [
            self._file(shard).read([name], use_threads=False) for shard in range(len(self._shards))
        ]
        return [value for table in tables for value in table[name].to_pylist()]

    def order(self, *, seed: int | None = None, epoch: int = 0, start: int = 0) -> list[int]:
        """Return the order of an epoch, from its row ``start`` on: a sampler for DataLoader.

        It is a permutation that ``seed`` and ``epoch`` decide; None: the rows as they are.
        """
        rows = np.arange(len(self))
        if seed is not None:
            rows = np.random.default_rng([seed, epoch]).permutation(len(self))
        return rows[start:].tolist()

    def stream(
        self,
        batch_size: int,
        *,
        seed: int | None = None,
        epoch: int = 0,
        start: int = 0,
        rank: int = 0,
        ranks: int = 1,
    ) -> FeatureStream:
        """Return the rows of :meth:`order` as an iterable-style data set.

        With DataLoader's same ``batch_size``, batches come in the order of the epoch, however many
        workers there are. Of ``ranks`` processes that train together, each takes every ``ranks``-th
        batch, and all take equally many: rows that are left over are left out.
        """
        from whisper_mel_mojo.corpus.stream import FeatureStream

        rows = self.order(seed=seed, epoch=epoch, start=start)
        if ranks > 1:
            whole = len(rows) // (batch_size * ranks)
            places = np.arange(whole * batch_size * ranks).reshape(whole, ranks, batch_size)
            rows = [rows[place] for place in places[:, rank].ravel()]
        return FeatureStream(self, rows, batch_size)

    def _row(self, shard: int, row: int) -> dict[str, Any]:
        file = self._file(shard)
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if row < rows:
                break
            row -= rows
        wanted = ["features", *self._columns]
        table = file.read_row_group(group, columns=wanted, use_threads=False).slice(row, 1)
        bands = table["features"].combine_chunks().flatten()
        n_mels = len(bands)
        values = bands.flatten().to_numpy(zero_copy_only=False)
        features = np.array(values).reshape(n_mels, -1)  # a copy, which may be written to
        return {"features": features} | {name: table[name][0].as_py() for name in self._columns}

    def _file(self, shard: int) -> Any:
        """Return an open shard. A process that was forked opens its own."""
        if self._process != os.getpid():
            self._files, self._process = OrderedDict(), os.getpid()
        if shard not in self._files:
            described = self._shards[shard]
            path = self._folder / "shards" / described["file"]
            size = path.stat().st_size
            if size != described["size"]:
                raise ValueError(
                    f"{path} has {size} bytes, and had {described['size']}: "
                    "`whisper-mel featurize` makes it anew"
                )
            self._files[shard] = pq.ParquetFile(path)
            if len(self._files) > OPEN:
                self._files.popitem(last=False)[1].close()
        self._files.move_to_end(shard)
        return self._files[shard]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[row] for row in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_files": OrderedDict()}


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: expected an output of featurize")
    manifest = json.loads(path.read_text())
    if not manifest.get("complete"):
        raise ValueError(f"{folder} is not finished: the same command continues it")
    if manifest["settings"]["format"] != "parquet":
        raise ValueError(f"{folder} holds tar files: the package webdataset reads them")
    return manifest
