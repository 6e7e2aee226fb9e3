"""compute-sanitizer on every kind of call; each tool first has to find a planted fault."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple

from gpu.device.calls import SETS
from gpu.device.driver import device
from gpu.device.exercise import SAID
from gpu.device.libraries import launching, library
from gpu.device.plan import Found, NotHere

PLACES = ("/usr/local/cuda*/bin", "/usr/local/cuda*/compute-sanitizer", "/opt/nvidia/*/bin")
_ERRORS = 86
_SHOWN = 3000

# Allocations that are divided hide writes beyond their parts.
WITHOUT_POOLS = {
    "MODULAR_DEVICE_CONTEXT_MEMORY_MANAGER_SIZE": "0",
    "MODULAR_DEVICE_CONTEXT_MEMORY_MANAGER_SIZE_PERCENT": "0",
    "PYTORCH_NO_CUDA_MEMORY_CACHING": "1",
}


class Tool(NamedTuple):
    """A tool; ``control`` is the faulty library (``pack.extras``), or None for unwritten memory."""

    options: tuple[str, ...]
    control: str | None
    said: str
    """Words in the report of the planted fault."""
    clean: str
    """Words in a report without findings."""
    calls: str = "values"
    """The set of calls that is run under the tool: a key of ``SETS``."""


TOOLS = {
    "memcheck": Tool(
        ("--report-api-errors", "no"), "overrun", "Invalid __global__ write", "ERROR SUMMARY: 0"
    ),
    "racecheck": Tool(
        ("--racecheck-report", "all", "--show-backtrace", "no", "--print-limit", "20"),
        *("race", "hazard", "RACECHECK SUMMARY: 0 hazards", "few"),
    ),
    "initcheck": Tool((), None, "Uninitialized __global__ memory read", "ERROR SUMMARY: 0"),
    "synccheck": Tool((), "barrier", "Barrier error detected", "ERROR SUMMARY: 0"),
}


def run(name: str) -> dict[str, Any]:
    """Run one tool; raise ``NotHere`` without it, ``Found`` for findings and missed faults."""
    device()
    program = find()
    tool = TOOLS[name]
    planted = sanitize(program, name, *planted_fault(tool))
    # Not _ERRORS alone: a program that fails by the planted fault has an exit status of its own.
    if planted.returncode == 0 or tool.said not in planted.stdout:
        raise Found([f"the planted fault is missed:\n{planted.stdout[-_SHOWN:]}"])
    done = sanitize(program, name, tool.calls, dict(os.environ))
    executed = [line for line in done.stdout.splitlines() if line.startswith(SAID)]
    findings = []
    if done.returncode != 0 or tool.clean not in done.stdout:
        findings.append(f"exit status {done.returncode}:\n{excerpt(done.stdout)}")
    if executed != [f"{SAID}{len(SETS[tool.calls])}"]:
        findings.append(f"not all was executed: {executed or 'nothing'}")
    if findings:
        raise Found(findings)
    return {
        "calls": len(SETS[tool.calls]),
        "planted": tool.control or "unwritten memory",
        "said": tool.said,
    }


def planted_fault(tool: Tool) -> tuple[str, Mapping[str, str]]:
    """Return the argument and the environment with which ``exercise`` shows the planted fault."""
    if tool.control is None:
        return "unwritten", dict(os.environ)
    return "one" if tool.calls == "few" else "short", launching(library("controls", tool.control))


def find() -> str:
    """Find compute-sanitizer; raise ``NotHere`` if it is not installed."""
    places = [folder for place in PLACES for folder in sorted(glob(place))]
    path = shutil.which(
        "compute-sanitizer", path=os.pathsep.join([os.environ.get("PATH", ""), *places])
    )
    if path is None:
        raise NotHere("compute-sanitizer is not installed")
    return path


def sanitize(
    program: str, tool: str, what: str, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run ``exercise`` under a tool; return the run, with all output in ``stdout``.

    The output goes to a file as it comes, which is there still if the section is stopped.
    """
    command = [program, "--tool", tool, "--error-exitcode", str(_ERRORS), *TOOLS[tool].options]
    command += ["--target-processes", "all", sys.executable, "-m", "gpu.device.exercise", what]
    log = Path("sections", f"{tool}-{what}.log")
    log.parent.mkdir(exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run(
            command,
            env={**environment, **WITHOUT_POOLS},
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    done.stdout = log.read_text(encoding="utf-8", errors="replace")
    return done


def excerpt(text: str) -> str:
    """Return the text from the first finding on."""
    lines = text.splitlines()
    marked = (i for i, line in enumerate(lines) if line.startswith("=========") and len(line) > 20)
    first = next(marked, 0)
    return "\n".join(lines[first:])[:_SHOWN]
