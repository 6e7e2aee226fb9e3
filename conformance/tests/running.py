"""The suite as its users run it: in a process and a folder of its own."""

from __future__ import annotations

import json
import os
import sys
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
from programs import interruptible, ran

CORRECT = Path(__file__).with_name("correct_front_ends.py")
QUIRKS = "whisper_mel_conformance.quirks"
FEW = "length-401 or rising-noise/80"
CASE: dict[str, Any] = {
    "format": 1,
    "case": "boundary/length-401/80",
    "check": "scored",
    "arguments": {"recipe": {"signal": "noise", "n": 401, "seed": 1}},
    "message": "",
    "front_end": {"source": f"{QUIRKS}:all-zero", "name": "all-zero"},
}
"""A case.json of a front-end that fails."""


def module(name: str, *words: str | Path, folder: Path, **more: Any) -> Any:
    """Python's module in a process, with no plugin of pytest but those that are named."""
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **more.pop("env", {})}
    environment.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, "-m", name, *map(str, words)]
    with interruptible():
        return ran(command, cwd=folder, env=environment, **more)


def conformance(*words: str | Path, folder: Path, **more: Any) -> Any:
    """The command line's process, when it has ended; it judges by itself unless ``-n`` is given."""
    if words[0] != "repro" and "-n" not in words:
        words = (*words, "-n", "0")
    return module("whisper_mel_conformance", *words, folder=folder, **more)


def report_of(folder: Path, name: str = "report") -> dict[str, Any]:
    """The report in a folder of a run's folder, which keeps its schema."""
    report: dict[str, Any] = json.loads((folder / name / "report.json").read_text())
    _schema().validate(report)
    return report


@lru_cache(maxsize=1)
def _schema() -> Any:
    text = files("whisper_mel_conformance.report").joinpath("report.schema.json").read_text()
    schema = json.loads(text)
    return jsonschema.validators.validator_for(schema)(schema)
