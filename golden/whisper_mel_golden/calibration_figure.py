"""The calibration as a picture: SVG, written by hand so that nothing need be installed for it."""

from __future__ import annotations

import math
from typing import Any
from xml.sax.saxutils import escape

COLOURS = {
    "careful": "#0072b2",
    "careless": "#e69f00",
    "fault": "#d55e00",
    "equivalent": "#888888",
}
WIDTH, LEFT, RIGHT, TOP, ROW = 900, 370, 30, 50, 19
_PANEL = 240  # height of the lower one


def figure(calibration: dict[str, Any]) -> str:
    """An SVG document: worst scores on a logarithmic axis, and one frame's errors and bounds."""
    rows = [row for row in calibration["front_ends"] if "score" in row]
    below = TOP + ROW * len(rows)
    height = below + 100 + _PANEL + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        *_scores(rows, calibration["search"]["worst"], below),
        *_frame(calibration["frame"], below + 90),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _scores(rows: list[dict[str, Any]], search: dict[str, Any], below: int) -> list[str]:
    low, high = -2, math.ceil(math.log10(max(row["score"] for row in rows)))

    def x(score: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(score) - low) / (high - low)

    parts = [_text(10, 22, "Worst score of each front-end (ring: found by the search)", size=15)]
    for power in range(low, high + 1):
        parts.append(_line(x(10.0**power), TOP - 5, x(10.0**power), below, "#dddddd"))
        parts.append(_text(x(10.0**power), below + 16, f"{10.0**power:g}", "middle"))
    for limit, name in ((1.0, "A"), (4.0, "B")):
        parts.append(_line(x(limit), TOP - 12, x(limit), below, "black"))
        parts.append(_text(x(limit) - 4, TOP - 8, f"class {name}" if name == "A" else name, "end"))
    for i, row in enumerate(rows):
        y = TOP + ROW * (i + 0.5)
        colour = COLOURS[row["kind"]]
        parts.append(_text(LEFT - 10, y + 4, row["name"], "end", colour))
        parts.append(_dot(x(max(row["score"], 10.0**low)), y, colour, filled=True))
        if row["name"] in search:
            parts.append(_dot(x(search[row["name"]]["score"]), y, colour, filled=False))
    return parts


def _frame(frame: dict[str, Any], top: int) -> list[str]:
    left, floor, low, high = 70, top + _PANEL, -9, -3

    def point(band: int, value: float) -> str:
        x = left + (WIDTH - left - RIGHT) * band / (len(frame["bound"]) - 1)
        y = floor - _PANEL * (math.log10(max(value, 10.0**low)) - low) / (high - low)
        return f"{x:.1f},{y:.1f}"

    title = f"One frame of {frame['signal']}: bound (line) and error (dots) of each band"
    parts = [_text(10, top - 15, title, size=15)]
    for power in range(low, high + 1):
        y = floor - _PANEL * (power - low) / (high - low)
        parts.append(_line(left, y, WIDTH - RIGHT, y, "#dddddd"))
        parts.append(_text(left - 6, y + 4, f"1e{power}", "end"))
    line = " ".join(point(band, value) for band, value in enumerate(frame["bound"]))
    parts.append(f'<polyline points="{line}" fill="none" stroke="black"/>')
    for band, value in enumerate(frame["error"]):
        x, y = map(float, point(band, value).split(","))
        parts.append(_dot(x, y, COLOURS["careful"], filled=True))
    parts.append(_text((left + WIDTH) / 2, floor + 22, "mel band, 0 to 79", "middle"))
    return parts


def _text(
    x: float, y: float, text: str, anchor: str = "start", colour: str = "black", size: int = 12
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
        f'font-size="{size}">{escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _dot(x: float, y: float, colour: str, *, filled: bool) -> str:
    fill = colour if filled else "none"
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{fill}" stroke="{colour}"/>'
