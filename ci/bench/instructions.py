"""Instructions of the kernel for one clip, counted by callgrind and compared with a budget.

Unlike a time, the number is the same on every machine, also on a busy one: if it changes by some
percent, the program has changed. It does not show latency, cache misses and page faults; the
benchmark does.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

BUDGET = Path(__file__).with_name("instructions.json")
DRIVER = Path(__file__).with_name("callgrind_driver.c")
# Valgrind knows AVX2 but not AVX-512; this target is also in the wheels.
TARGET = "x86-64-v3"
ENTRY = "whisper_mel_log_mel"
TOLERANCE = 0.10
"""The largest relative difference from the budget. More instructions are too slow; fewer mean that
the budget must be lowered, because it guards nothing.
"""
CASES = {"80": (80, 0), "128": (128, 0), "80 same": (80, 2)}
"""Number of bands, and smoothing as the C interface numbers it, by the names in the budget."""


class NotCounted(RuntimeError):
    """Failure to count the instructions; the message says why and what to do."""


def require_valgrind() -> str:
    """Return the path of valgrind; raise ``NotCounted`` if it is not installed."""
    found = shutil.which("valgrind")
    if found is None:
        raise NotCounted("valgrind is not installed: ./dev system installs it, where it can")
    return found


def built_kernel() -> Path:
    """Build the kernel's library for ``TARGET``. Raises ``BuildError``."""
    from whisper_mel_mojo.builder import SOURCE, built_for

    return built_for(TARGET, SOURCE, ())


def count(library: Path, driver: Path = DRIVER) -> dict[str, int]:
    """Count instructions within the entry function for each of ``CASES``. Raises ``NotCounted``."""
    valgrind = require_valgrind()
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "driver"
        _run(["cc", "-O1", "-o", str(program), str(driver), "-ldl"])
        callgrind = [valgrind, "--tool=callgrind", f"--toggle-collect={ENTRY}"]
        callgrind += [f"--callgrind-out-file={folder}/out"]
        return {
            name: collected(_run([*callgrind, str(program), str(library), str(bands), str(mode)]))
            for name, (bands, mode) in CASES.items()
        }


def collected(report: str) -> int:
    """Read the number of instructions from callgrind's output."""
    found = re.search(r"Collected : (\d+)", report)
    if found is None or int(found[1]) == 0:
        raise NotCounted(f"callgrind saw no instruction of {ENTRY}:\n{report.strip()}")
    return int(found[1])


def _run(command: list[str]) -> str:
    """Run a command; return its standard error."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise NotCounted(
            f"{' '.join(command)} ended with status {result.returncode}:\n{result.stderr.strip()}"
        )
    return result.stderr


def judge(counts: dict[str, int], budget: dict[str, int]) -> list[str]:
    """Return a sentence for each count that differs from its budget by more than ``TOLERANCE``."""
    problems = []
    if counts.keys() != budget.keys():
        problems.append(f"counted are {list(counts)}, the budget is for {list(budget)}")
    for name in counts.keys() & budget.keys():
        change = counts[name] / budget[name] - 1
        if not change <= TOLERANCE:
            problems.append(
                f"{name}: {counts[name]} instructions, {change:+.1%} against the budget of "
                f"{budget[name]}: find what made the kernel slower, or raise the budget and say why"
            )
        elif not change >= -TOLERANCE:
            problems.append(
                f"{name}: {counts[name]} instructions, {change:+.1%} against the budget of "
                f"{budget[name]}: lower the budget (./dev bench instructions --record)"
            )
    return problems


def load_budget(path: Path | None = None) -> dict[str, int]:
    budget: dict[str, int] = json.loads((path or BUDGET).read_text())["instructions"]
    return budget


def save_budget(counts: dict[str, int]) -> None:
    content: dict[str, Any] = {
        "what": "instructions for one clip of 30 s, one thread; written by "
        "./dev bench instructions --record",
        "target": TARGET,
        "instructions": counts,
    }
    BUDGET.write_text(json.dumps(content, indent=2) + "\n")


def run(record: bool) -> int:
    """Count, print, and judge; ``record`` makes the counts the budget. Return the exit status."""
    try:
        counts = count(built_kernel())
    except NotCounted as error:
        print(error)
        return 1
    if record:
        save_budget(counts)
    budget = load_budget()
    for name, number in counts.items():
        share = f"{number / budget[name]:7.1%} of the budget" if name in budget else "no budget"
        print(f"{name:8} {number:10,d} instructions {number / 375:9,.0f} a group of 8  {share}")
    problems = judge(counts, budget)
    for problem in problems:
        print(problem)
    return 1 if problems else 0
