"""The result of a case, which travels from the judging to the collecting process."""

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
    """The result of a case of a front-end.

    Attributes
    ----------
    front_end, case : the front-end's name and the case's id.
    status : one of ``STATUSES``; ``"known"`` is a declared failure.
    message : the reason for the status, for people; empty if it passed without
    a remark.
    score : the largest error in units of the bound; None if nothing was scored.
    seconds : the duration of the case.
    calls : the number of calls of the front-end.
    arguments : those of the check; for a drawn case the smallest that fail, or the worst.
    arrays : ``actual``, ``expected`` and ``bound`` of a failure, as far as they exist.
    declared : the index of the declaration of a ``"known"`` failure, else None.
    reproduction : the path of the reproduction of a failure; None if none was written.
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
        """Return the result, without its reproduction, as text and bytes that pytest-xdist can
        send.
        """
        plain = {k: v for k, v in vars(self).items() if k not in ("arrays", "reproduction")}
        return json.dumps(plain), compressed(self.arrays) if self.arrays else b""


def unpack(packed: Packed) -> Result:
    """Create a result from what :meth:`Result.pack` returns."""
    text, data = packed
    arrays: dict[str, Any] = {}
    if data:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            arrays = dict(stored)
    return Result(**json.loads(text), arrays=arrays)


def compressed(arrays: Mapping[str, Any]) -> bytes:
    """Return the arrays as the content of a NumPy npz file."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()
