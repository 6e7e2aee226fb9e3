"""README's section on speed, from the record of ``./dev bench``."""

from __future__ import annotations

from typing import Any

from bench.results import Document, load, measured
from bench.rows import BASELINE
from bench.table import front_ends, memory_lines, milliseconds, number
from tasks.paths import MEASUREMENTS

from docs.sections import table

RECORD = MEASUREMENTS / "cpu.json"
COLUMNS = {
    "1 s": "1s/80",
    "10 s": "10s/80",
    "30 s": "30s/80",
    "1 h": "1h/80",
    "30 s, 128 bands": "30s/128",
    "30 s, 2 threads": "30s/80/2-threads",
}


def section() -> str:
    """Return the recorded speed in Markdown."""
    return text(load(RECORD))


def text(document: Document) -> str:
    """Return results in Markdown."""
    rows = measured(document)
    names = front_ends(rows)
    ours = ["**whisper-mel**", *(_our_cell(rows, names, column) for column in COLUMNS.values())]
    others = [
        [name, *(_cell(rows.get(f"{name}/{column}")) for column in COLUMNS.values())]
        for name in names
    ]
    head = ["front-end", *(f"{column}:" for column in COLUMNS)]
    made = (
        f"{document['machine']['cpu']}, {document['created'][:10]}, "
        f"commit {(document['commit'] or 'unknown')[:7]}: milliseconds, and in brackets how many "
        "times as long as whisper-mel's in the same run."
    )
    return "\n\n".join([made, table(head, [ours, *others]), "\n".join(_remarks(rows))])


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    mark = " ~" if row["noisy"] else ""
    return f"{milliseconds(row['other']['median_ms'])} ({number(row['ratio'])}×{mark})"


def _our_cell(rows: dict[str, Any], names: list[str], column: str) -> str:
    """Return our time beside the baseline; beside another front-end if that is absent."""
    for name in sorted(names, key=lambda name: name != BASELINE):
        if f"{name}/{column}" in rows:
            return f"**{milliseconds(rows[f'{name}/{column}']['ours']['median_ms'])}**"
    return ""


def _remarks(rows: dict[str, Any]) -> list[str]:
    """Return list items for the rows that the table has no columns for."""
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
