"""The section of docs/gpu.md on measurements on devices."""

from __future__ import annotations

from pathlib import Path

from gpu.device.record import results
from gpu.keeping import read
from tasks.paths import MEASUREMENTS

NOTHING = "Not yet run: no GPU was at hand."


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
