"""Drawings and axes of the page, as positions in percent of their width and height."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from whisper_mel_conformance.report.axes import Ticks, bands, round_numbers
from whisper_mel_conformance.report.figure import STEPS

_DECADES = 7  # decades of the error that are shown, from a tenth of the bound on
_MARGIN = 4.0  # percent of the height that stay free above and below the curves


@dataclass(frozen=True)
class Spectrum:
    """The bands of a frame: two curves, and bars of the error in units of the bound."""

    expected: str
    actual: list[str]
    values: Ticks
    bars: list[tuple[float, float, float, float, str]]
    errors: Ticks
    bands: Ticks


def spectrum(values: dict[str, Any]) -> Spectrum:
    """Draw a figure's ``spectrum`` (see ``report.schema.json``)."""
    expected, actual, bound = values["expected"], values["actual"], values["bound"]
    finite = [v for v in (*expected, *actual) if v is not None]
    low, high = min(finite), max(finite)
    step = 100.0 / max(len(expected), 1)

    def x(band: float) -> float:
        return round(step * (band + 0.5), 2)

    def y(value: float) -> float:
        part = (high - value) / max(high - low, 1e-9)
        return round(_MARGIN + (100.0 - 2.0 * _MARGIN) * part, 2)

    def level(error: float) -> float:
        decades = math.log10(error) + 1 if error > 0 else 0.0
        return round(100.0 - 100.0 * min(max(decades / _DECADES, 0.0), 1.0), 2)

    bars = []
    for band, error in enumerate(_errors(expected, actual, bound)):
        top = level(error)
        colour = next(c for limit, c in STEPS if error <= limit)
        bars.append((round(step * (band + 0.1), 2), top, round(0.8 * step, 2), 100.0 - top, colour))
    parts = _unbroken([None if v is None else (x(b), y(v)) for b, v in enumerate(actual)])
    return Spectrum(
        _points([(x(b), y(v)) for b, v in enumerate(expected)]),
        parts,
        [(y(value), f"{value:g}") for value in round_numbers(low, high, 4)],
        bars,
        [(level(error), text) for error, text in ((1.0, "1"), (100.0, "100"), (1e4, "10⁴"))],
        bands(len(expected)),
    )


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
