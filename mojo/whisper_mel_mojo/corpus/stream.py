"""Features as an iterable-style data set of PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

Row = dict[str, Any]


class FeatureStream(IterableDataset):  # type: ignore[misc]  # torch is untyped here
    """Rows of features in a given order, which DataLoader's workers share batch by batch."""

    def __init__(self, features: Sequence[Row], rows: list[int], batch_size: int) -> None:
        self._features, self._rows, self._batch_size = features, rows, batch_size

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        size = self._batch_size
        # DataLoader takes a batch from each worker in turn; this one has every ``step``-th.
        for at in range(first * size, len(self._rows), step * size):
            for row in self._rows[at : at + size]:
                yield self._features[row]
