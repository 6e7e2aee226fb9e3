"""What became of a case: made where it is judged, sent to the process that collects."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

STATUSES = ("passed", "failed", "skipped", "known")

Packed = tuple[str, bytes]


@dataclass
class Result:
    """What became of a case of a front-end.

    Attributes
    ----------
    front_end, case : the name and the id.
    status : one of ``STATUSES``; ``"known"`` is a failure that was declared.
    message : why, for people; empty if it passed.
    score : the largest error in units of the bound; None where nothing was scored.
    seconds : the time it took.
    calls : how often the front-end was called.
    arguments : those of the check; of a drawn case the smallest that fail, or the worst.
    arrays : ``actual``, ``expected`` and ``bound`` of a failure, or some of them, or none.
    declared : the number of the declaration of a ``"known"`` failure, else None.
    reproduction : where the failure was written down; None where it was not.
    """

    front_end: str
    case: str
    status: str
    message: str = ""
    score: float | None = None
    seconds: float = 0.0
    calls: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Any] = field(default_factory=dict)
    declared: int | None = None
    reproduction: Path | None = None

    @property
    def family(self) -> str:
        return self.case.partition("/")[0]

    def pack(self) -> Packed:
        """The result as text and bytes, which pytest-xdist can send; not its reproduction."""
        plain = {k: v for k, v in vars(self).items() if k not in ("arrays", "reproduction")}
        return json.dumps(plain), compressed(self.arrays) if self.arrays else b""


def unpack(packed: Packed) -> Result:
    """The result of :meth:`Result.pack`."""
    text, data = packed
    arrays: dict[str, Any] = {}
    if data:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            arrays = dict(stored)
    return Result(**json.loads(text), arrays=arrays)


def compressed(arrays: Mapping[str, Any]) -> bytes:
    """The arrays as a file in NumPy's format npz."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()
