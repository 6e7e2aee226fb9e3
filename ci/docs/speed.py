"""README's section on speed, from the record of ``./dev bench``."""

from __future__ import annotations

from typing import Any

from bench.results import Document, load, measured, same_work
from bench.rows import BASELINE, DROP_IN, OURS
from bench.table import front_ends, memory_lines, milliseconds, number
from checkout.paths import MEASUREMENTS

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
    parts = [made, table(head, [ours, *others]), _batches(rows), _drop_ins(rows)]
    return "\n\n".join([*filter(None, parts), "\n".join(_remarks(rows))])


def headline() -> str:
    """Return README's sentences on the recorded speed."""
    return headline_of(measured(load(RECORD)))


def headline_of(rows: dict[str, Any]) -> str:
    """Return the ratio to the fastest front-end with our features; drop-ins; the baseline."""
    names = [
        name
        for name in front_ends(rows)
        if (row := rows.get(f"{name}/30s/80")) is not None and same_work(row)
    ]
    if not names:
        return "Nothing was measured with a clip of 30 s."
    fastest = names[0]
    took = f"takes {_times(rows[f'{fastest}/30s/80'])} as long as whisper-mel"
    sentences = [f"For a clip of 30 s, one thread, the fastest other front-end, {fastest}, {took}."]
    drop_ins = sorted(_drop_in_rows(rows), key=lambda row: -row["ratio"])
    if drop_ins:
        told = ", ".join(
            f"{_times(row)} as fast as {row['id'].split('/')[1]} ({_call(row)})" for row in drop_ins
        )
        sentences.append(
            f"[Drop-ins](docs/using.md) on two threads, beside their originals: {told}."
        )
    if fastest != BASELINE and f"{BASELINE}/30s/80" in rows:
        times = _times(rows[f"{BASELINE}/30s/80"])
        sentences.append(f"{BASELINE} itself takes {times} as long.")
    return " ".join(sentences)


def _times(row: dict[str, Any]) -> str:
    return f"{'about ' if row['noisy'] else ''}{number(row['ratio'])} times"


def _drop_in_rows(rows: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for name, row in rows.items() if name.startswith(f"{DROP_IN}/")]


def _call(row: dict[str, Any]) -> str:
    """Return what both sides of a row are called with."""
    clips = row["other"]["clips"]
    return f"a list of {clips} clips of 30 s" if clips else "a clip of 30 s"


def _batches(rows: dict[str, Any]) -> str:
    """Return the table of clips a second in batches, by the number of threads."""
    found: dict[str, dict[int, str]] = {}
    for name, row in rows.items():
        batch = row["ours"]["clips"] and row["ours"]["seconds"] == 30
        if not batch or name.startswith(f"{DROP_IN}/"):
            continue
        is_ours = row["other"]["front_end"] == OURS
        if not is_ours:
            speed = 1e3 * row["other"]["clips"] / row["other"]["median_ms"]
            mark = " ~" if row["noisy"] else ""
            cell = f"{speed:,.0f} ({number(row['ratio'])}×{mark})"
            found.setdefault(row["other"]["front_end"], {})[row["other"]["threads"]] = cell
        if is_ours or row["other"]["front_end"] == BASELINE:
            ours = row["ours"]
            cell = f"**{1e3 * ours['clips'] / ours['median_ms']:,.0f}**"
            found.setdefault(OURS, {}).setdefault(ours["threads"], cell)
    threads = sorted({count for cells in found.values() for count in cells})
    names = [name for name in [OURS, *front_ends(rows)] if name in found]
    head = ["front-end", *(f"{n} thread{'s' if n > 1 else ''}:" for n in threads)]
    lines = [
        ["**whisper-mel**" if name == OURS else name, *(found[name].get(n, "") for n in threads)]
        for name in names
    ]
    title = "Clips of 30 s a second, in one batch, for those that take batches:"
    return f"{title}\n\n{table(head, lines)}" if lines else ""


def _drop_ins(rows: dict[str, Any]) -> str:
    """Return the table of drop-ins beside their originals."""
    head = ["drop-in, two threads", "call", "whisper-mel:", "original:", "ratio:"]
    lines = [
        [
            row["id"].split("/")[1],
            _call(row),
            milliseconds(row["ours"]["median_ms"]),
            milliseconds(row["other"]["median_ms"]),
            f"{number(row['ratio'])}×" + (" ~" if row["noisy"] else ""),
        ]
        for row in _drop_in_rows(rows)
    ]
    title = "Through the drop-ins, as users call them and with malloc as it is, in milliseconds:"
    return f"{title}\n\n{table(head, lines)}" if lines else ""


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
