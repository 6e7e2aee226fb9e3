"""Features against the reference, within the error bound."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import CLASS_A, CLASS_B, FrontEndSpec, Truth
from whisper_mel_reference import truth as compute_truth
from whisper_mel_reference.bound import beyond_rounding, compare_with

from whisper_mel_conformance.frontend.errors import Failure

Array = NDArray[Any]

LIMITS = {"A": CLASS_A, "B": CLASS_B}


def grade(score: float) -> str:
    """Return the class of a score: ``A``, ``B`` or ``fails``."""
    return next((name for name, limit in LIMITS.items() if score <= limit), "fails")


class _Keyed:
    """An array as a dictionary's key, by its content."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self._key = (array.shape, array.dtype.str, hashlib.blake2b(array.tobytes()).digest())

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and self._key == other._key


@lru_cache(maxsize=64)  # what one case asks for twice; a whole profile has thousands of clips
def _truth(audio: _Keyed, spec: FrontEndSpec) -> Truth:
    return compute_truth(audio.array, spec)


def truth(audio: Array, spec: FrontEndSpec) -> Truth:
    """Return the truth about ``audio``; the last few are kept."""
    return _truth(_Keyed(audio), spec)


def judge(
    actual: Array,
    audio: Array,
    spec: FrontEndSpec,
    limit: float,
    *,
    golden: Array | None = None,
    golden_score: float = 0.0,
    where: str = "",
    dtype: str | None = None,
) -> float:
    """Return the score of ``actual``: its largest error in units of the admissible one.

    With ``golden``, openai-whisper's own features, the distance to those counts as well, less the
    golden's own error. ``dtype`` is the half format that ``actual`` was rounded to, if any. Raises
    ``Failure`` for a wrong shape, for anything that is not finite, and for a score above ``limit``;
    ``where`` begins its message.
    """
    exact = truth(audio, spec)
    if actual.shape != exact.features.shape:
        raise Failure(
            f"{where}shape {actual.shape} for {audio.shape[-1]} samples: "
            f"expected {exact.features.shape}",
            arrays={"actual": actual},
        )
    real = dtype or "float32"
    worst = compare_with(actual, exact.features, exact.bound, real)
    reason, score = worst.reason, worst.score
    if golden is not None:
        beside = compare_with(actual, golden.astype(np.float64), exact.bound)
        if not beside.score - golden_score <= score:
            reason, score = f"golden: {beside.reason}", beside.score - golden_score
    if not score <= limit:
        wrong = _wrong_values(actual, exact, limit, real)
        raise Failure(
            f"{where}{reason}{wrong}",
            score=score,
            arrays={"actual": actual, "expected": exact.features, "bound": exact.bound},
        )
    return score


def _wrong_values(actual: Array, exact: Truth, limit: float, dtype: str) -> str:
    """Say in which frames and bands the values above the limit are, since that tells the cause."""
    with np.errstate(invalid="ignore"):
        wrong = ~(beyond_rounding(actual, exact.features, dtype) <= limit * exact.bound)
    if not wrong.any():
        return ""
    bands, frames = np.nonzero(wrong)
    return (
        f" ({wrong.sum()} of {wrong.size} values are off: frames {frames.min()} to {frames.max()} "
        f"of {actual.shape[1]}, bands {bands.min()} to {bands.max()})"
    )
