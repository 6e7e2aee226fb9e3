"""Sizes of the computations: full, or small (``WHISPER_MEL_GPU_SCALE=rehearsal``).

A rehearsal runs the same code with a stand-in for the driver, which computes some thousand times
slower than a device. Its results say so, and are never recorded.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """The sizes of a run.

    ``longest`` is the largest number of samples of a call, ``clip`` that of a timed clip,
    ``batches`` the numbers of clips that are timed, ``tuned`` those by which mappings are compared,
    ``graph`` the number of calls in a captured graph, ``copied`` the bytes of a copy within the
    device's memory (more than its caches hold). ``cases`` selects cases of the conformance suite;
    None means all of the quick profile. ``patience`` multiplies every limit of time.
    """

    name: str
    longest: int
    clip: int
    batches: tuple[int, ...]
    tuned: tuple[int, ...]
    rounds: int
    graph: int
    copied: int
    cases: str | None
    patience: float


_FULL = Scale(
    name="full",
    longest=1 << 62,
    clip=480_000,
    batches=(1, 16, 256),
    tuned=(1, 2, 4, 7, 8, 12, 16, 24, 32, 48, 64, 128, 256),
    rounds=15,
    graph=20,
    copied=256 << 20,
    cases=None,
    patience=1.0,
)
_REHEARSAL = Scale(
    name="rehearsal",
    longest=16_100,
    clip=800,
    batches=(1, 2),
    tuned=(1, 2),
    rounds=2,
    graph=2,
    copied=1 << 20,
    cases="length-400 or nan-at-2000",
    patience=30.0,
)


def scale() -> Scale:
    """Return the scale that the environment names; raise ``ValueError`` for an unknown one."""
    name = os.environ.get("WHISPER_MEL_GPU_SCALE", _FULL.name)
    for known in (_FULL, _REHEARSAL):
        if known.name == name:
            return known
    raise ValueError(f"WHISPER_MEL_GPU_SCALE={name}: expected {_FULL.name} or {_REHEARSAL.name}")
