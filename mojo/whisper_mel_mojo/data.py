"""Features of a corpus, as PyTorch's DataLoader and plain loops read them.

``whisper-mel featurize`` has written them, as Parquet. PyTorch itself is needed for
:meth:`Features.stream` only.
"""

from __future__ import annotations

import bisect
import itertools
import operator
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from whisper_mel_mojo.corpus import manifest
from whisper_mel_mojo.corpus.forms import MANIFEST

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

        Raises ``FileNotFoundError`` if there is none, and ``ValueError`` if it is not finished or
        spoiled, has no such column, or is in tar files, which the package webdataset reads.
        """
        if isinstance(columns, str):
            raise ValueError(f"columns={columns!r}: expected a list of names")
        self._folder = Path(path)
        self._shards: list[dict[str, Any]] = _finished(self._folder)["shards"]
        self._ends = list(itertools.accumulate(it["rows"] for it in self._shards))
        self._columns = [name for name in columns if name != "features"]
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
        at = operator.index(index)
        at += len(self) if at < 0 else 0
        if not 0 <= at < len(self):
            raise IndexError(f"index={index}: expected one of {len(self)} rows")
        shard = bisect.bisect_right(self._ends, at)
        return self._row(shard, at - (self._ends[shard - 1] if shard else 0))

    def column(self, name: str) -> list[Any]:
        """Return the values of a column in all rows, without reading features.

        Raises ``ValueError`` if there is no such column.
        """
        if self._shards and name not in (there := self._file(0).schema_arrow.names):
            raise ValueError(f"column {name!r}: expected one of {there}")
        tables = [
            self._file(shard).read([name], use_threads=False) for shard in range(len(self._shards))
        ]
        return [value for table in tables for value in table[name].to_pylist()]

    def order(self, *, seed: int | None = None, epoch: int = 0, start: int = 0) -> list[int]:
        """Return the order of an epoch, from its row ``start`` on: a sampler for DataLoader.

        It is a permutation that ``seed`` and ``epoch`` decide, integers from 0; None: the rows as
        they are. Raises ``ValueError`` for others, and if ``start`` is not in the epoch.
        """
        if (seed or 0) < 0 or epoch < 0:
            raise ValueError(f"seed={seed}, epoch={epoch}: expected integers from 0")
        if not 0 <= start <= len(self):
            raise ValueError(f"start={start}: expected 0 to {len(self)}, the number of rows")
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
        batch, and all take equally many: rows that are left over are left out. Raises
        ``ValueError`` as :meth:`order`, for a batch of no rows, and for a rank that is not one of
        ``ranks``.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: expected at least 1")
        if not 0 <= rank < ranks:
            raise ValueError(f"rank={rank}, ranks={ranks}: expected a rank from 0 to ranks - 1")
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


def _finished(folder: Path) -> dict[str, Any]:
    """Return the manifest of an output that is finished."""
    path = manifest.Output(folder).manifest
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: expected an output of featurize")
    found = manifest.load(path, MANIFEST)
    if not found["complete"]:
        raise ValueError(f"{folder} is not finished: the same command continues it")
    if found["settings"]["format"] != "parquet":
        raise ValueError(f"{folder} holds tar files: the package webdataset reads them")
    return found
