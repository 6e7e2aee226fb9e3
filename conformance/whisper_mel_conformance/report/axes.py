"""Axes of figures: ticks at round numbers, as positions in percent."""

from __future__ import annotations

import math

Ticks = list[tuple[float, str]]
"""Positions in percent, from the left or from the top, and their labels."""

_STEPS = (1.0, 2.0, 5.0)


def bands(count: int, *, upwards: bool = False) -> Ticks:
    """Return the ticks of an axis of bands, from left to right or from the bottom up."""
    at = {band: 100.0 * (band + 0.5) / count for band in range(0, count, 40 if count > 100 else 20)}
    return [(round(100.0 - p if upwards else p, 2), str(band)) for band, p in at.items()]


def seconds(first_frame: int, count: int) -> Ticks:
    """Return the ticks of an axis of ``count`` frames, 10 ms each, in seconds."""
    low, high = first_frame / 100.0, (first_frame + count) / 100.0
    return [
        (round(100.0 * (value - low) / (high - low), 2), f"{value:g} s")
        for value in round_numbers(low, high, 4)
    ]


def round_numbers(low: float, high: float, most: int) -> list[float]:
    """Return round numbers from ``low`` to ``high``, ``most`` at most."""
    if not high > low:
        return [low]
    rough = math.floor(math.log10((high - low) / most))
    for exponent in (rough, rough + 1):
        for factor in _STEPS:
            step = factor * 10.0**exponent
            first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
            if last - first < most:
                return [round(i * step, 12) for i in range(first, last + 1)]
    raise AssertionError("a step of ten times the interval's share fits")
