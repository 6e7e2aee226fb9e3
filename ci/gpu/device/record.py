"""The results of a run, ``gpu.json`` (``gpu.schema.json``), and tables of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from gpu.device import ROOT, child_environment
from gpu.device.plan import FAILED, SECTIONS

FORMAT = 1
BUNDLE = ROOT / "bundle.json"
"""The file about the archive's origin, which only the archive has."""


def document(
    environment: dict[str, Any], ran: dict[str, Any], kept: dict[str, Any]
) -> dict[str, Any]:
    """Return the document; ``ran`` are sections of this run, ``kept`` all in the folder."""
    return {
        "format": FORMAT,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "scale": os.environ.get("WHISPER_MEL_GPU_SCALE", "full"),
        "bundle": bundle(),
        "environment": environment,
        "sections": {name: {**kept, **ran}[name] for name in SECTIONS if name in {**kept, **ran}},
    }


def bundle() -> dict[str, Any]:
    """Return the commit and how the libraries were built; empty in a checkout."""
    try:
        made: dict[str, Any] = json.loads(BUNDLE.read_text(encoding="utf-8"))
    except OSError:
        return {}
    return made


def environment() -> dict[str, Any]:
    """Describe the machine in another process, since the driver's context takes device memory."""
    done = subprocess.run(
        [sys.executable, "-m", "gpu.device.environment"],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"device": None, "why_no_device": done.stderr.strip()[-800:]}
    return found


def summary(made: dict[str, Any]) -> list[str]:
    """Return the run as a table for a terminal."""
    about = made["environment"]
    device = about["device"] or f"no device: {about['why_no_device']}"
    lines = ["", f"{device}; commit {made['bundle'].get('commit', 'of this checkout')}"]
    if made["scale"] != "full":
        lines.append(f"A {made['scale']}: nothing here is a measurement.")
    for name, section in made["sections"].items():
        first = section["findings"][0].splitlines()[0][:110] if section["findings"] else ""
        lines.append(f"{name:12} {section['status']:8} {section['seconds']:6.1f} s  {first}")
    lines += ["", *results(made)]
    return lines


def results(made: dict[str, Any]) -> list[str]:
    """Return the numbers of all sections that have not failed, in Markdown."""
    data = {name: it["data"] for name, it in made["sections"].items() if it["status"] != FAILED}
    lines = []
    timing = data.get("timing")
    if timing:
        lines += times(timing["rows"])
        lines += [""] * bool(timing["goals"])
        for goal in timing["goals"]:
            word = "met" if goal["met"] else "missed"
            lines.append(f"- {goal['what']}: {goal['got']:.3g}, wanted {goal['wanted']:g}: {word}")
    for name, made_of in (("timing", forms), ("tuning", mappings), ("counters", counters)):
        part = made_of(data[name]) if name in data else []
        lines += [""] * bool(lines and part) + part
    return lines


def forms(timing: dict[str, Any]) -> list[str]:
    """Return a table of microseconds for each clip, by the form of the features."""
    rows: dict[str, dict[str, str]] = {}
    for it in timing.get("forms", []):
        cells = rows.setdefault(it["form"], {})
        cells[f"{it['batch']} at once"] = f"{1e3 * it['graph_ms'] / it['batch']:.3g}"
    return table("80 bands, float32 samples, in a graph", rows)


def mappings(tuning: dict[str, Any]) -> list[str]:
    """Return a table of microseconds for each call, by mapping; the fastest is in bold."""
    best = {it["case"]: it["best"] for it in tuning["best"]}
    rows = {}
    for name, it in tuning["variants"].items():
        cells = {case: f"{1e3 * ms:.4g}" for case, ms in it["graph_ms"].items()}
        rows[name] = {
            case: f"**{cell}**" if best.get(case) == name else cell for case, cell in cells.items()
        }
    return table("mapping, clips x bands", rows)


def counters(read: dict[str, dict[str, float]]) -> list[str]:
    """Return a table of what ncu has read, by batch."""
    rows = {
        f"{batch} clips": {name.replace("_", " "): f"{value:,.6g}" for name, value in it.items()}
        for batch, it in read.items()
    }
    return table("one launch", rows)


def table(corner: str, rows: dict[str, dict[str, str]]) -> list[str]:
    """Return a table of cells by row and column; no row means no table."""
    columns = list(dict.fromkeys(name for cells in rows.values() for name in cells))
    lines = [f"| {' | '.join([corner, *columns])} |", f"|---|{'--:|' * len(columns)}"]
    for name, cells in rows.items():
        lines.append(f"| {' | '.join([name, *(cells.get(it, '') for it in columns)])} |")
    return lines if rows else []


def times(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return a table of microseconds for each clip, with the ratio of each peer to ours."""
    cells = {}
    for row in rows:
        peers = {**row["sides"]}
        ours = peers.pop("whisper-mel")
        made = {"in a graph": f"{1e3 * row['graph_ms'] / row['batch']:.3g}"}
        if "copy_share" in row:
            made["of a copy"] = f"{row['copy_share']:.0%}"
        made["whisper-mel"] = f"{ours['us_per_clip']:.3g}"
        for name, it in peers.items():
            made[name] = f"{it['us_per_clip']:.3g} ({it['ratio']:.3g}×)"
        cells[f"{row['batch']}, {row['n_mels']} bands, {row['dtype']}"] = made
    return table("clips", cells)
