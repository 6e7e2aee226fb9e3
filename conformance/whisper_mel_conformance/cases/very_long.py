"""Very long clips: 2 to 18 minutes, whose features are known from a few seconds.

A clip repeats a piece whose length is a multiple of the hop, and ends loudly. So do its features,
and a clip of two pieces shows them all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from whisper_mel_reference import FrontEndSpec
from whisper_mel_reference.bound import compare_with

from whisper_mel_conformance.cases.case import Case
from whisper_mel_conformance.cases.check import check
from whisper_mel_conformance.cases.judging import LIMITS, truth
from whisper_mel_conformance.cases.recipes import SECOND, Array, noise, render_audio, rising
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Unsupported

_HOPS = 997
"""Hops of the piece: a prime, so that no power of two is a multiple of it."""
_TAIL = SECOND // 160 + 4  # frames that see the last second
_MORE = 28_353  # samples beyond a power of two: the loud end, and no whole hops
_EXPONENTS = (21, 22, 23, 24)
"""Lengths are a little more than these powers of two. float32 counts to 2 ** 24."""
_SECONDS = 1.0
"""Limit of what a call may be expected to take in the quick profile."""
_SECONDS_OF_SLOW = 20.0
"""The same in longer profiles, of the longest clip."""


@check(lambda request, exponent, **_: [request.of_length(_length(exponent))])
def very_long(
    front_end: FrontEnd, request: Request, exponent: int, seconds: float = _SECONDS
) -> float:
    """Judge the longest of the clips whose features take so many seconds at most; skip the others.

    One is asked for in any case.
    """
    rate = _rate(front_end, request)
    feasible = [k for k in _EXPONENTS if (1 << k) * rate <= seconds] or _EXPONENTS[:1]
    if exponent != feasible[-1]:
        raise Unsupported(
            f"a second of audio takes {rate * SECOND * 1e6:.3g} µs: 2^{feasible[-1]} samples are "
            f"the most that are asked for within {seconds:g} s"
        )
    return _judge(front_end, request, exponent)


@check(lambda request, exponent: [request.of_length(_length(exponent))])
def two_minutes(front_end: FrontEnd, request: Request, exponent: int) -> float:
    """Judge a clip of a little more than a power of two, whatever time its features take."""
    return _judge(front_end, request, exponent)


def _judge(front_end: FrontEnd, request: Request, exponent: int) -> float:
    spec, dtype = request.spec(), (request.recipe or {}).get("dtype", "float32")
    audio = _audio(_length(exponent), spec, dtype)
    actual = front_end.call(audio, **request.options())
    return _score(front_end, actual, audio.size, spec, dtype)


def _length(exponent: int) -> int:
    return (1 << exponent) + _MORE


def _rate(front_end: FrontEnd, request: Request) -> float:
    """Return the seconds that a sample takes, from the fastest of three calls."""
    audio = request.of_length(2 * SECOND).audio()
    took = []
    for _ in range(3):
        start = time.perf_counter()
        front_end.call(audio, **request.options())
        took.append(time.perf_counter() - start)
    return min(took) / audio.size


def _audio(n: int, spec: FrontEndSpec, dtype: str) -> Array:
    """Return the clip of ``n`` samples. Its maximum is in its last second."""
    piece = render_audio(rising(_HOPS * spec.hop, seed=6, dtype=dtype))
    audio: Array = np.resize(piece, n)
    audio[-SECOND:] = render_audio(noise(SECOND, seed=7, gain=1.0, dtype=dtype))
    return audio


def _score(front_end: FrontEnd, actual: Array, n: int, spec: FrontEndSpec, dtype: str) -> float:
    short = n % (_HOPS * spec.hop) + 2 * _HOPS * spec.hop
    exact = truth(_audio(short, spec, dtype), spec)
    expected = spec.feature_shape(n)
    if actual.shape != expected:
        raise Failure(f"shape {actual.shape} for {n} samples: expected {expected}")
    worst = 0.0
    for frames, place in _pieces(expected[1], exact.features.shape[1]):
        part = compare_with(actual[:, frames], exact.features[:, place], exact.bound[:, place])
        if not part.score <= LIMITS[front_end.capabilities.required_class]:
            raise Failure(
                f"{n} samples, of the frames {frames[0]} to {frames[-1]}: {part.reason}",
                score=part.score,
            )
        worst = max(worst, part.score)
    return worst


def _pieces(count: int, short: int) -> Iterator[tuple[Array, Array]]:
    """Yield frames of a clip of ``count``, and those of the clip of ``short`` which they equal."""
    for start in range(0, count, _HOPS):
        frames = np.arange(start, min(start + _HOPS, count))
        rest = frames % _HOPS
        # The first two frames of a piece see the one before.
        place = np.where((frames >= 2) & (rest < 2), rest + _HOPS, rest)
        yield frames, np.where(frames >= count - _TAIL, frames - (count - short), place)


def cases(profile: str) -> Iterator[Case]:
    """Return a case for each length; of a front-end all but one are skipped.

    Longer profiles ask slow front-ends for the longest clip, too. Two minutes of other dtypes, and
    with more bands, are asked for in any case.
    """
    for exponent in _EXPONENTS:
        arguments = {"recipe": rising(0, seed=6), "exponent": exponent}
        yield Case(f"boundary/2-to-the-{exponent}", "very_long", arguments)
    for name, more in _OTHERS.items():
        yield Case(f"boundary/2-to-the-21-{name}", "two_minutes", more)
    if profile != "quick":
        slow = {"recipe": rising(0, seed=6), "exponent": _EXPONENTS[-1]}
        slow["seconds"] = _SECONDS_OF_SLOW
        yield Case("boundary/2-to-the-24-within-20-seconds", "very_long", slow)


_OTHERS: dict[str, dict[str, Any]] = {
    "128-bands": {"recipe": rising(0, seed=6), "exponent": 21, "n_mels": 128},
    "int16": {"recipe": rising(0, seed=6, dtype="int16"), "exponent": 21},
    "float64": {"recipe": rising(0, seed=6, dtype="float64"), "exponent": 21},
}
