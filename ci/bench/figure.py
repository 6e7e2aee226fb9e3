"""Results as a picture: the time of each front-end for one clip, on a logarithmic axis."""

from __future__ import annotations

import math
from html import escape

from bench.results import Document, measured
from bench.table import front_ends, milliseconds, number

WIDTH, LEFT, RIGHT, TOP, BAR = 760, 150, 130, 50, 26
OURS_COLOUR, OTHERS_COLOUR = "#0072b2", "#999999"


def figure(document: Document) -> str:
    """An SVG document; without bars if no clip of 30 s was measured."""
    rows = measured(document)
    names = [name for name in front_ends(rows) if f"{name}/30s/80" in rows]
    bars = [(name, rows[f"{name}/30s/80"]) for name in names]
    times = [("whisper-mel", bars[0][1]["ours"]["median_ms"], "")] if bars else []
    times += [
        (name, row["other"]["median_ms"], f" ({number(row['ratio'])}×)") for name, row in bars
    ]
    low = math.floor(math.log10(min((time for _, time, _ in times), default=1)))
    high = max(low + 1, math.ceil(math.log10(max((time for _, time, _ in times), default=1))))
    below = TOP + BAR * len(times)

    def x(time: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(time) - low) / (high - low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {below + 40}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{below + 40}" fill="white"/>',
        _text(10, 22, "Log-mel features of 30 s, 80 bands, one thread: milliseconds", size=15),
    ]
    for power in range(low, high + 1):
        at = x(10.0**power)
        parts.append(f'<path d="M{at:.1f} {TOP - 8}V{below}" stroke="#dddddd"/>')
        parts.append(_text(at, below + 18, f"{10.0**power:g}", "middle"))
    for i, (name, time, ratio) in enumerate(times):
        y = TOP + BAR * i
        colour = OTHERS_COLOUR if ratio else OURS_COLOUR
        parts.append(_text(LEFT - 8, y + 16, name, "end"))
        parts.append(
            f'<rect x="{LEFT}" y="{y + 3}" width="{x(time) - LEFT:.1f}" height="{BAR - 8}" '
            f'fill="{colour}"/>'
        )
        parts.append(_text(x(time) + 6, y + 16, milliseconds(time) + ratio))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
    )
