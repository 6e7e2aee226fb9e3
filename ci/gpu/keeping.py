"""Results of runs on GPUs in the repository: docs/measurements/gpu-*.json."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
from checkout.paths import MEASUREMENTS, ROOT

from gpu.device.run_section import write

SCHEMA = ROOT / "ci" / "gpu" / "device" / "gpu.schema.json"


def keep(path: Path) -> Path:
    """Copy a run's ``gpu.json`` into the repository, as its device's; return the path.

    Raises ``ValueError`` for another kind of file, a rehearsal, or a run of an unknown or changed
    commit.
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
    """Read a ``gpu.json`` that follows its schema; raise ``ValueError`` for others."""
    try:
        made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        jsonschema.validate(made, json.loads(SCHEMA.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    except jsonschema.ValidationError as error:
        raise ValueError(f"{path} is no gpu.json: {error.message}") from None
    return made
