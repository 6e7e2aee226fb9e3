"""Results as text: the terminal's table, and README's section."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.results import Document, measured
from bench.rows import BASELINE, OURS

BEGIN = "<!-- speed: from here on written by `./dev bench --readme` -->"
END = "<!-- speed: up to here -->"
COLUMNS = {
    "1 s": "1s/80",
    "10 s": "10s/80",
    "30 s": "30s/80",
    "1 h": "1h/80",
    "30 s, 128 bands": "30s/128",
    "30 s, 2 threads": "30s/80/2-threads",
}


def line(row: dict[str, Any]) -> str:
    """One result, for the terminal."""
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
    """What made a row count as noisy."""
    low, high = row["ratio_quartiles"]
    text = f"quartiles {(high - low) / row['ratio']:.0%} apart"
    if row["others"] is not None:
        text += f", {row['others']:.1%} of the CPU's time with others"
    return text


def memory_lines(rows: Iterable[dict[str, Any]]) -> list[str]:
    """For an hour in one call: by how much memory rises, beside the size of the output."""
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
    """Three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def number(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def front_ends(rows: dict[str, Any]) -> list[str]:
    """Those compared with the kernel, the fastest for a clip of 30 s first."""
    names = {row["other"]["front_end"] for row in rows.values()} - {OURS}
    return sorted(names, key=lambda name: rows.get(f"{name}/30s/80", {}).get("ratio", 1e9))


def section(document: Document) -> str:
    """README's section on speed, in Markdown, without the markers."""
    rows = measured(document)
    lines = [
        f"{document['machine']['cpu']}, {document['created'][:10]}, "
        f"commit {(document['commit'] or 'unknown')[:7]}: milliseconds, and in brackets how many "
        "times as long as whisper-mel's in the same run.",
        "",
        "| front-end | " + " | ".join(COLUMNS) + " |",
        "|---|" + "--:|" * len(COLUMNS),
    ]
    names = front_ends(rows)
    for name in names:
        cells = [_cell(rows.get(f"{name}/{column}")) for column in COLUMNS.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    ours = [_our_cell(rows, names, column) for column in COLUMNS.values()]
    lines.insert(4, "| **whisper-mel** | " + " | ".join(ours) + " |")
    lines += ["", *_remarks(rows)]
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    mark = " ~" if row["noisy"] else ""
    return f"{milliseconds(row['other']['median_ms'])} ({number(row['ratio'])}×{mark})"


def _our_cell(rows: dict[str, Any], names: list[str], column: str) -> str:
    """Our time beside the baseline, or beside another where that was not measured."""
    for name in sorted(names, key=lambda name: name != BASELINE):
        if f"{name}/{column}" in rows:
            return f"**{milliseconds(rows[f'{name}/{column}']['ours']['median_ms'])}**"
    return ""


def _remarks(rows: dict[str, Any]) -> list[str]:
    """What the table has no columns for."""
    ratios = {
        f"{BASELINE}/30s/80/cold": "as the first call after openai-whisper's (cold caches)",
        f"{BASELINE}/30s/128/cold": "the same with 128 bands",
        f"{BASELINE}/30s/80/default": "without `out=`, in a process with malloc's default settings",
        f"{BASELINE}/16x30s/80": "a batch of 16 clips",
        f"{BASELINE}/16x30s/80/2-threads": "the same on two threads",
        f"{BASELINE}/5s-padded/80": "5 s padded to 30 s",
        "self/2-threads-to-1": "two threads to one",
        "self/16-clips-to-16-calls": "a batch of 16 clips to 16 calls",
        "self/smoothing-same-to-none": '`smoothing="same"` to none',
        "self/128-to-80-bands": "128 bands to 80",
        "self/new-output-to-out": "outputs in new pages (without `out=`) to `out=`",
        "self/5s-padded-to-30s": "5 s padded to 30 s to a whole clip",
        "self/1s-to-thirtieth-of-30s": "1 s to a thirtieth of 30 s",
    }
    baseline, own = (
        [
            f"{words} {number(rows[name]['ratio'])}×" + (" ~" if rows[name]["noisy"] else "")
            for name, words in ratios.items()
            if name in rows and name.startswith(prefix)
        ]
        for prefix in (BASELINE, "self/")
    )
    lines = []
    if baseline:
        lines.append(f"- {BASELINE}'s time to ours otherwise: {'; '.join(baseline)}.")
    if own:
        lines.append(f"- Speed of the kernel, relative to calls of its own: {'; '.join(own)}.")
    memory = memory_lines(rows.values())
    if memory:
        lines.append(f"- {'; '.join(memory)}.")
    if any(row["noisy"] for row in rows.values()):
        lines.append("- `~`: the machine was noisy in that row.")
    return lines


def replaced(text: str, new: str) -> str:
    """A document with a new section between the markers. Raises ``ValueError`` without them."""
    pattern = re.escape(BEGIN) + r"\n.*?" + re.escape(END)
    if len(re.findall(pattern, text, flags=re.DOTALL)) != 1:
        raise ValueError(f"expected {BEGIN} and {END} once")
    return re.sub(pattern, lambda _: f"{BEGIN}\n{new}{END}", text, flags=re.DOTALL)


def write_section(document: Document, readme: Path) -> None:
    readme.write_text(replaced(readme.read_text(), section(document)))
