"""Results as text for the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bench.rows import DROP_IN, OURS


def line(row: dict[str, Any]) -> str:
    """Return one result as a line for the terminal."""
    if "skipped" in row:
        return f"{row['id']:40} skipped: {row['skipped']}"
    low, high = row["ratio_quartiles"]
    text = (
        f"{row['id']:40} {milliseconds(row['ours']['median_ms']):>8} "
        f"{milliseconds(row['other']['median_ms']):>8} {number(row['ratio']):>7}x "
        f"({number(low)} to {number(high)}, {row['rounds']} rounds)"
    )
    if row["noisy"]:
        text += f"  noisy: {noise(row)}"
    return text


HEADING = f"{'':40} {'ours, ms':>8} {'other':>8} {'ratio':>8} (quartiles of the rounds' ratios)"


def noise(row: dict[str, Any]) -> str:
    """Return what made a row noisy."""
    low, high = row["ratio_quartiles"]
    text = f"quartiles {(high - low) / row['ratio']:.0%} apart"
    if row["others"] is not None:
        text += f", {row['others']:.1%} of the CPU's time with others"
    return text


def memory_lines(rows: Iterable[dict[str, Any]]) -> list[str]:
    """List the rise of memory in calls with an hour of audio, beside the size of the output."""
    seen: dict[tuple[str, float, int], int] = {}
    for row in rows:
        for side in (row.get("ours"), row.get("other")):
            if side and side["peak_bytes"] is not None:
                key = (side["front_end"], side["seconds"], side["n_mels"])
                seen.setdefault(key, side["peak_bytes"])
    shown = {OURS: "whisper-mel"}
    return [
        f"{shown.get(name, name)}: peak memory rises by {peak / 1e6:,.0f} MB in a call with "
        f"{seconds:.0f} s of audio, {4 * n_mels * seconds * 100 / 1e6:,.0f} MB of features"
        for (name, seconds, n_mels), peak in seen.items()
    ]


def milliseconds(value: float) -> str:
    """Format milliseconds with three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def number(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def front_ends(rows: dict[str, Any]) -> list[str]:
    """List the front-ends compared with the kernel, the fastest for a clip of 30 s first."""
    names = {name.split("/")[0] for name in rows} - {DROP_IN, "self"}
    return sorted(names, key=lambda name: (rows.get(f"{name}/30s/80", {}).get("ratio", 1e9), name))
