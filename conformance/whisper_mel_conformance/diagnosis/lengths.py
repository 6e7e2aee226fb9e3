"""Which numbers of samples are wrong: from one on, up to one, with a remainder, or one alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from whisper_mel_conformance.cases.recipes import rising
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis.asked import LONG, Asked, Found, Part
from whisper_mel_conformance.diagnosis.requests import (
    dtype_of,
    each_clip,
    padded,
    padding_of,
    samples,
    with_length,
)

_LEAST = 240  # samples of the shortest clip that is asked for

LENGTHS = (240, 321, 480, 801, 1000, 1600, 2112, 3203, 4080, 6401, 10_007, 16_000, 30_011)

LONGER = (64_003, 160_000, 481_111)

_PERIODS = (*range(1, 201), 256, 320, 384, 400, 480, 500, 512, 640, 768, 800, 960, 1000, 1024)
_PERIODS += (1280, 1600, 2000, 2048, 3200, 4000, 4096, 4800, 8000, 8192, 16_000)


def of_length(asked: Asked, request: Request) -> Found:
    """Find which numbers of samples are wrong: from one on, up to one, with a remainder, or one."""
    own = samples(request)
    padding = padding_of(request)

    def of(n: int) -> Request:
        return padded(each_clip(request, lambda recipe: with_length(recipe, n)), padding)

    def is_wrong(n: int) -> bool | None:
        return asked.is_wrong(of(n))

    tried = {n: is_wrong(n) for n in sorted({*LENGTHS, own})}
    tried = {n: it for n, it in tried.items() if it is not None}
    if all(tried.values()):
        return None, request
    wrong = [n for n, it in tried.items() if it]
    right = [n for n, it in tried.items() if not it]
    if not wrong:
        return None, request  # the witness is wrong by what it holds
    part = _remainder(is_wrong, wrong, right)
    if part is None:
        interval = _interval(is_wrong, wrong, right)
        part = None if interval is None else interval.part
    if part is None and len(wrong) == 1 and _is_single(is_wrong, own):
        other = each_clip(request, lambda recipe: rising(own, 938, dtype=dtype_of(request)))
        if asked.is_wrong(other):
            words = f"with exactly {own:,} samples"
            part = _length_part(words, lambda n: n == own, lambda n: own)
    return part, request


IsWrong = Callable[[int], bool | None]
"""Says whether a number of samples is wrong; None where it is not supported."""


@dataclass(frozen=True)
class _Interval:
    """Numbers of samples from ``low`` on and up to ``high``; None means without an end."""

    low: int | None
    high: int | None

    @property
    def part(self) -> Part:
        low, high = self.low, self.high
        if high is None:
            assert low is not None
            words = f"with more than {low - 1:,} samples"
        elif low is None:
            words = f"with fewer than {high + 1:,} samples"
        else:
            words = f"with {low:,} to {high:,} samples"

        def nearest(n: int) -> int:
            """Return a length within it, not always the same."""
            if high is not None and n > high:
                return max(high - n % 40, low or _LEAST)
            assert low is not None
            return min(low + n // 8, high or low + n // 8)

        return _length_part(
            words, lambda n: (low is None or n >= low) and (high is None or n <= high), nearest
        )


def _interval(is_wrong: IsWrong, wrong: Sequence[int], right: Sequence[int]) -> _Interval | None:
    """Find an interval that all wrong lengths lie in, and no right one; None if there is none."""
    below, above = ([n for n in right if n < min(wrong)], [n for n in right if n > max(wrong)])
    if len(below) + len(above) < len(right) or (below and above and len(wrong) < _TELLING):
        return None
    low = border(is_wrong, max(below), min(wrong)) + 1 if below else None
    high = border(lambda n: not is_wrong(n), max(wrong), min(above)) if above else None
    first = low or _LEAST
    last = high or 2 * first + 500
    return _Interval(low, high) if _are_wrong(is_wrong, first, last) else None


_TELLING = 3  # wrong lengths between right ones tell that those between them are wrong, too


def _is_single(is_wrong: IsWrong, n: int) -> bool:
    """Return whether lengths next to a wrong one, a frame from it and twice as long are right."""
    return not any(map(is_wrong, (n - 1, n + 1, n - 160, n + 160, 2 * n)))


def _are_wrong(is_wrong: IsWrong, low: int, high: int) -> bool:
    """Return whether some lengths between two are all wrong, as far as they are supported."""
    some = np.linspace(low, max(low, high), 5).astype(int) + np.array([0, 1, 2, 1, 0])
    return all(is_wrong(min(n, max(low, high))) is not False for n in some.tolist())


def border(is_wrong: IsWrong, right: int, wrong: int) -> int:
    """Return the last length that is right, of those below one that is wrong."""
    while wrong - right > 1:
        middle = (right + wrong) // 2
        if is_wrong(middle):
            wrong = middle
        else:
            right = middle
    return right


def _remainder(is_wrong: IsWrong, wrong: Sequence[int], right: Sequence[int]) -> Part | None:
    """Find a divisor and the remainder that wrong lengths have, or all but wrong ones."""
    rare, common = (min(wrong), True), (min(right), False)
    for start, state in (rare, common) if len(wrong) <= len(right) else (common, rare):
        alike = (p for p in _PERIODS if _recurs(is_wrong, start, p, state))
        period = next(alike, 1)
        if period > 1 and _has_period(is_wrong, start, period, state):
            return _remainder_part(period, start % period, state)
    return None


def _recurs(is_wrong: IsWrong, start: int, period: int, state: bool) -> bool:
    """Return whether three lengths are so that have the remainder of ``start``, if that is long
    the shortest."""
    if start > LONG:
        start = _LEAST + (start - _LEAST) % period
    return all(is_wrong(start + k * period) is state for k in (1, 2, 3))


def _has_period(is_wrong: IsWrong, start: int, period: int, state: bool) -> bool:
    """Return whether of the next lengths, of which there are few, only each ``period``-th is so."""
    others = (n for n in range(1, min(period, _NEXT) + 2) if n % period)
    return all(is_wrong(start + n) is not state for n in others)


_NEXT = 4


def _remainder_part(period: int, remainder: int, is_wrong: bool) -> Part:
    """Return the part whose lengths have that remainder, or (not ``is_wrong``) have not."""

    def holds(n: int) -> bool:
        return (n % period == remainder) is is_wrong

    is_equal = "is" if is_wrong else "is not"
    words = (
        f"with a number n of samples of which n % {period} {is_equal} {remainder}"
        if remainder
        else f"with a number of samples that {is_equal} a multiple of {period}"
    )
    return _length_part(words, holds, lambda n: next(it for it in itertools.count(n) if holds(it)))


def _length_part(words: str, holds: Callable[[int], bool], nearest: Callable[[int], int]) -> Part:
    def put(request: Request) -> Request:
        n, padding = samples(request), padding_of(request)
        if holds(n):
            return request
        changed = each_clip(request, lambda recipe: with_length(recipe, nearest(n)))
        return padded(changed, padding)

    return Part(words, lambda request: holds(samples(request)), put)
