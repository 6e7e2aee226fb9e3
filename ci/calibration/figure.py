"""The picture of the calibration: worst scores, and one frame's errors and bounds."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

COLOURS = {
    "careful": "#0072b2",
    "careless": "#e69f00",
    "fault": "#d55e00",
    "equivalent": "#888888",
}
LOWEST = 0.01
"""The left end of the scores' axis; lower scores are drawn there."""


def figure(calibration: dict[str, Any]) -> Figure:
    """Draw worst scores on a logarithmic axis above the errors and bounds of one frame."""
    picture = Figure(figsize=(9, 11), layout="constrained")
    scores, frame = picture.subplots(2, height_ratios=(5, 2))
    _scores(scores, calibration)
    _frame(frame, calibration["frame"])
    return picture


def _scores(axes: Any, calibration: dict[str, Any]) -> None:
    rows = [row for row in calibration["front_ends"] if "score" in row]
    search = calibration["search"]["worst"]
    for i, row in enumerate(rows):
        colour = COLOURS[row["kind"]]
        axes.plot(max(row["score"], LOWEST), i, "o", color=colour)
        if row["name"] in search:
            axes.plot(search[row["name"]]["score"], i, "o", color=colour, fillstyle="none")
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(COLOURS[row["kind"]])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.grid(axis="x", color="#dddddd")
    for limit, name in ((1.0, "class A "), (4.0, "B ")):
        axes.axvline(limit, color="black", linewidth=1)
        axes.text(limit, 1.0, name, ha="right", va="bottom", transform=axes.get_xaxis_transform())
    axes.set_title("Worst score of each front-end (ring: found by the search)", loc="left", pad=20)


def _frame(axes: Any, frame: dict[str, Any]) -> None:
    axes.plot(frame["bound"], color="black", linewidth=1)
    axes.plot(frame["error"], "o", color=COLOURS["careful"], markersize=4)
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.grid(axis="y", color="#dddddd")
    axes.set_xlabel(f"mel band, 0 to {len(frame['bound']) - 1}")
    title = f"One frame of {frame['signal']}: bound (line) and error (dots) of each band"
    axes.set_title(title, loc="right")
