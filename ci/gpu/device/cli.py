"""The command that runs the sections, one process each, and combines their results.

    ci/gpu/run                          all sections, into gpu-report/
    ci/gpu/run --only timing,tuning     some of them
    ci/gpu/run --budget 540 --resume    as many as fit into nine minutes, without finished ones

A section that crashes, hangs or has a finding loses nothing of the others. The exit status is 0 if
all wanted sections passed, 1 if one failed, 2 for wrong usage, 3 if none failed but one could not
run, for which a reason is given.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from gpu.device import child_environment
from gpu.device.plan import FAILED, NOT_RUN, PASSED, SECTIONS, Section
from gpu.device.record import document, environment, summary
from gpu.device.run_section import write
from gpu.device.scale import scale

LEAST = 15.0  # seconds: with less time left, no section is started


def main(arguments: list[str]) -> int:
    """Run what the command line asks for; return the exit status."""
    names = list(SECTIONS)
    listing = "\n".join(f"  {it.name:12} {it.summary}" for it in SECTIONS.values())
    parser = argparse.ArgumentParser(
        prog="ci/gpu/run",
        description=f"{__doc__}\nsections:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="SECTION,…", help="these sections alone")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="for all of it together")
    parser.add_argument("--resume", action="store_true", help="keep what has passed already")
    parser.add_argument("--output", type=Path, default=Path("gpu-report"), metavar="DIR")
    options = parser.parse_args(arguments)
    wanted = options.only.split(",") if options.only else names
    unknown = [name for name in wanted if name not in SECTIONS]
    if unknown:
        parser.error(
            f"--only {options.only}: no section {unknown[0]!r}; there are {', '.join(names)}"
        )
    if options.budget is not None and not options.budget > 0:
        parser.error(f"--budget {options.budget}: expected a positive number of seconds")
    end = None if options.budget is None else time.monotonic() + options.budget
    folder = options.output.resolve()
    (folder / "sections").mkdir(parents=True, exist_ok=True)
    results = run_all([SECTIONS[name] for name in wanted], folder, end, options.resume)
    made = document(environment(), results, earlier(folder, names))
    write(folder / "gpu.json", made)
    print("\n".join(summary(made)))
    print(f"written: {folder / 'gpu.json'}")
    return exit_status([results[name]["status"] for name in wanted])


def exit_status(statuses: list[str]) -> int:
    """Return the exit status of a run from the statuses of its sections."""
    if FAILED in statuses or not statuses:
        return 1
    return 3 if NOT_RUN in statuses else 0


def earlier(folder: Path, names: list[str]) -> dict[str, Any]:
    """Read the results of sections in a folder, of this run or an earlier one."""
    found = {}
    for name in names:
        with contextlib.suppress(OSError, ValueError):
            found[name] = json.loads(result_path(folder, name).read_text(encoding="utf-8"))
    return found


def result_path(folder: Path, name: str) -> Path:
    return folder / "sections" / f"{name}.json"


def run_all(
    sections: list[Section], folder: Path, end: float | None, resume: bool
) -> dict[str, dict[str, Any]]:
    """Run sections one after the other; return their results by name."""
    results: dict[str, dict[str, Any]] = {}
    before = earlier(folder, list(SECTIONS))
    for section in sections:
        done = before.get(section.name)
        if resume and done is not None and done["status"] == PASSED:
            print(f"== {section.name}: passed in an earlier run", flush=True)
            results[section.name] = done
            continue
        left = None if end is None else end - time.monotonic()
        print(f"== {section.name}: {section.summary}", flush=True)
        result = run_one(section, folder, left)
        print(f"   {result['status']} in {result['seconds']:.0f} s", flush=True)
        for finding in result["findings"]:
            print(f"   {finding}", flush=True)
        results[section.name] = result
    return results


def run_one(section: Section, folder: Path, left: float | None) -> dict[str, Any]:
    """Run a section in its own process, for ``left`` seconds at most; None means no limit."""
    path = result_path(folder, section.name)
    if left is not None and left < LEAST:
        return {**ended(NOT_RUN, f"no time: {max(left, 0):.0f} s are left"), "seconds": 0.0}
    path.unlink(missing_ok=True)
    limit = 2.0 * section.seconds * scale().patience
    if left is not None:
        limit = min(limit, left)
    start = time.monotonic()
    log = path.with_suffix(".log")
    with log.open("wb") as stream:
        status = call(section, path, limit, stream)
    result = earlier(folder, [section.name]).get(section.name)
    if result is None:
        said = log.read_text(encoding="utf-8", errors="replace")[-1500:].strip()
        if status is None:
            cut = left is not None and limit == left
            why = "the budget ended" if cut else f"not finished within {limit:.0f} s"
        else:
            why = f"the process ended with status {status}"
        result = ended(FAILED, f"{why}; it said: …{said}")
    result["seconds"] = round(time.monotonic() - start, 2)
    write(path, result)
    return result


def ended(status: str, why: str) -> dict[str, Any]:
    return {"status": status, "findings": [why], "data": {}}


def call(section: Section, path: Path, limit: float, stream: Any) -> int | None:
    """Start a section's process; return its exit status, or None if it was killed at ``limit``.

    Its child processes are killed with it.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "gpu.device.run_section", section.name, str(path)],
        cwd=path.parent.parent,
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        stdout=stream,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
