"""Drawings of the page as coordinates for its SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from whisper_mel_conformance.report.figure import STEPS

WIDTH, LEFT, RIGHT, TOP = 640.0, 44.0, 8.0, 10.0
# heights of the curves, of the errors, and of the gap between them
CURVES, ERRORS, GAP = 150.0, 80.0, 26.0
_DECADES = 6  # decades of the error that are shown, from a tenth of the bound on


@dataclass(frozen=True)
class Spectrum:
    """The bands of a frame: two curves above, the error in units of the bound below."""

    width: float
    height: float
    expected: str
    actual: list[str]
    bars: list[tuple[float, float, float, float, str]]
    lines: list[tuple[float, float, float, str]]
    bands: list[tuple[float, str]]


def spectrum(values: dict[str, Any]) -> Spectrum:
    """Draw a figure's ``spectrum`` (see ``report.schema.json``)."""
    expected, actual, bound = values["expected"], values["actual"], values["bound"]
    finite = [v for v in (*expected, *actual) if v is not None]
    low, high = min(finite), max(finite)
    step = (WIDTH - LEFT - RIGHT) / max(len(expected), 1)
    floor = TOP + CURVES + GAP + ERRORS

    def x(band: float) -> float:
        return round(LEFT + step * (band + 0.5), 1)

    def y(value: float) -> float:
        return round(TOP + CURVES * (high - value) / max(high - low, 1e-9), 1)

    def level(error: float) -> float:
        decades = math.log10(error) + 1 if error > 0 else 0.0
        return round(floor - ERRORS * min(max(decades / (_DECADES + 1), 0.0), 1.0), 1)

    bars = []
    for band, error in enumerate(_errors(expected, actual, bound)):
        top = level(error)
        colour = next(c for limit, c in STEPS if error <= limit)
        bars.append(
            (round(x(band) - 0.4 * step, 1), top, round(0.8 * step, 1), floor - top, colour)
        )
    lines = [(LEFT, WIDTH - RIGHT, y(v), f"{v:.2g}") for v in (low, (low + high) / 2, high)]
    lines += [(LEFT, WIDTH - RIGHT, level(e), f"{e:,g}") for e in (1.0, 100.0, 1e4)]
    bands = [(x(band), str(band)) for band in range(0, len(expected), 20)]
    parts = _unbroken([None if v is None else (x(b), y(v)) for b, v in enumerate(actual)])
    reference = _points([(x(b), y(v)) for b, v in enumerate(expected)])
    return Spectrum(WIDTH, floor + 34, reference, parts, bars, lines, bands)


def _errors(
    expected: Sequence[float], actual: Sequence[float | None], bound: Sequence[float]
) -> list[float]:
    return [
        math.inf if a is None else abs(a - e) / b
        for e, a, b in zip(expected, actual, bound, strict=True)
    ]


def _unbroken(points: Sequence[tuple[float, float] | None]) -> list[str]:
    """Return a curve for each stretch without a gap."""
    stretches: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is None:
            stretches.append([])
        else:
            stretches[-1].append(point)
    return [_points(stretch) for stretch in stretches if stretch]


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def share(value: float, low: float, high: float) -> float:
    """Return a value's position between two others on a logarithmic axis, in percent."""
    return round(100 * math.log(value / low) / max(math.log(high / low), 1e-9), 1)
