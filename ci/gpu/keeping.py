"""Results of runs in the repository: docs/measurements/gpu-*.json, and the tables made of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
from tasks.paths import ROOT

from gpu.record import results
from gpu.section import write

MEASUREMENTS = ROOT / "docs" / "measurements"
PAGE = ROOT / "docs" / "gpu.md"
SCHEMA = Path(__file__).with_name("gpu.schema.json")
BEGIN = "<!-- measured: from here on written by `./dev gpu record` -->"
END = "<!-- measured: up to here -->"
NOTHING = "Not yet run: no GPU was at hand."


def keep(path: Path) -> Path:
    """Takes a run's ``gpu.json`` over, as its device's. Raises ``ValueError`` if it is none, a
    rehearsal, or of an unknown or changed commit.
    """
    made = read(path)
    if made["scale"] != "full":
        raise ValueError(f"{path} is a {made['scale']}: expected measurements")
    device = made["environment"]["device"]
    if device is None:
        raise ValueError(f"{path}: nothing was measured: {made['environment']['why_no_device']}")
    if made["bundle"].get("commit") is None or made["bundle"]["dirty"]:
        raise ValueError(
            f"{path} is not of a commit: expected a run of `./dev gpu bundle`'s archive"
        )
    name = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    kept = MEASUREMENTS / f"gpu-{name}.json"
    write(kept, made)
    return kept


def read(path: Path) -> dict[str, Any]:
    """A ``gpu.json``, held to its schema. Raises ``ValueError``."""
    try:
        made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        jsonschema.validate(made, json.loads(SCHEMA.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    except jsonschema.ValidationError as error:
        raise ValueError(f"{path} is no gpu.json: {error.message}") from None
    return made


def tables() -> list[str]:
    """What stands in docs/gpu.md: a section for each device, or that there is none."""
    lines = []
    for path in sorted(MEASUREMENTS.glob("gpu-*.json")):
        made = read(path)
        about, sections = made["environment"], made["sections"]
        clocks = about["clocks"].get("sm_mhz", "unknown")
        lines += [
            f"### {about['device']}",
            "",
            f"{made['created'][:10]}, commit {made['bundle']['commit'][:7]}, CUDA {about['cuda']}, "
            f"driver {about['clocks'].get('driver', 'unknown')}, {clocks} MHz as found; "
            f"[all of it](measurements/{path.name}). Microseconds for a clip of 30 s.",
            "",
            *results(made),
            "",
            "Sections: " + ", ".join(f"{name} {it['status']}" for name, it in sections.items()),
            "",
        ]
    return lines or [NOTHING, ""]


def write_tables() -> None:
    """Puts them between their marks in docs/gpu.md."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page = "\n".join([before + BEGIN, "", *tables(), END + after])
    PAGE.write_text(page, encoding="utf-8")
