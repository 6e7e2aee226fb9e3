"""Sections on the kernel for GPUs: measurements on devices, and counts in the emulator."""

from __future__ import annotations

import json
from pathlib import Path

from gpu.device.record import results
from gpu.keeping import read
from tasks.paths import MEASUREMENTS

from docs.sections import table

NOTHING = "Not yet run: no GPU was at hand."
COUNTS = MEASUREMENTS / "kernel-counts.json"
_FRAMES = 3000  # of the clip that is counted
_GROUP = 32  # frames that a warp does together


def section(folder: Path = MEASUREMENTS) -> str:
    """Return a part for each device with a record, or the sentence that there is none."""
    return "\n\n".join(map(_device, sorted(folder.glob("gpu-*.json")))) or NOTHING


def _device(path: Path) -> str:
    made = read(path)
    about, sections = made["environment"], made["sections"]
    clocks = about["clocks"].get("sm_mhz", "unknown")
    lines = [
        f"### {about['device']}",
        "",
        f"{made['created'][:10]}, commit {made['bundle']['commit'][:7]}, CUDA {about['cuda']}, "
        f"driver {about['clocks'].get('driver', 'unknown')}, {clocks} MHz as found; "
        f"[all of it](measurements/{path.name}). Microseconds for a clip of 30 s.",
        "",
        *results(made),
        "",
        "Sections: " + ", ".join(f"{name} {it['status']}" for name, it in sections.items()),
    ]
    return "\n".join(lines)


def counted(path: Path = COUNTS) -> str:
    """Return the table of what each kernel executes for 32 of the frames of a clip of 30 s."""
    head = ["kernel", "instructions:", "multiply-adds:", "other floats:", "integers:"]
    head += ["wavefronts:", "of them conflicts:", "sectors:", "barriers:"]
    rows = []
    for name, numbers in json.loads(path.read_text(encoding="utf-8")).items():
        kinds = numbers["kinds"]
        wavefronts = numbers["shared_wavefronts"]
        row = [numbers["instructions"], kinds["multiply-adds"], kinds["other floats"]]
        row += [kinds["integers"], wavefronts]
        row += [wavefronts - numbers["shared_wavefronts_without_conflicts"]]
        row += [numbers["global_sectors"], kinds["barriers"]]
        rows.append([name, *(f"{it * _GROUP / _FRAMES:,.0f}" for it in row)])
    return table(head, rows)
