"""The picture of results: each front-end's time for one clip, on a logarithmic axis."""

from __future__ import annotations

from matplotlib.figure import Figure

from bench.results import Document, measured
from bench.table import front_ends, milliseconds, number

OURS_COLOUR, OTHERS_COLOUR = "#0072b2", "#999999"


def figure(document: Document) -> Figure:
    """Draw a bar for each front-end that was timed with a clip of 30 s."""
    rows = measured(document)
    pairs = {name: rows.get(f"{name}/30s/80") for name in front_ends(rows)}
    timed = [(name, row) for name, row in pairs.items() if row]
    bars = [("whisper-mel", row["ours"]["median_ms"], "") for _, row in timed[:1]]
    bars += [
        (name, row["other"]["median_ms"], f" ({number(row['ratio'])}×)") for name, row in timed
    ]
    names, times, ratios = zip(*bars, strict=True) if bars else ((), (), ())
    picture = Figure(figsize=(7.6, 1 + 0.3 * len(bars)), layout="constrained")
    axes = picture.subplots()
    drawn = axes.barh(names, times, color=[OTHERS_COLOUR if it else OURS_COLOUR for it in ratios])
    labels = [milliseconds(time) + ratio for time, ratio in zip(times, ratios, strict=True)]
    axes.bar_label(drawn, labels, padding=4)
    axes.set_xscale("log" if bars else "linear")
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.minorticks_off()
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)
    axes.set_title("Log-mel features of 30 s, 80 bands, one thread: milliseconds", loc="left")
    return picture
