"""The conformance suite as a lane runs it, on front-ends that must not fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sanitize import Absent, demand

Report = dict[str, Any]


def judged(
    folder: Path,
    *words: str,
    wrapper: Sequence[str] = (),
    absent: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Report:
    """Run the suite with these arguments; return its report, which goes into ``folder``.

    ``wrapper`` is a command that runs it, whose exit status ``absent`` says that it cannot.
    """
    command = [*wrapper, sys.executable, "-m", "whisper_mel_conformance", "--quiet", *words]
    command += ["--report", str(folder / "report")]
    done = subprocess.run(
        command, cwd=folder, env=dict(environment), capture_output=True, text=True, check=False
    )
    if absent is not None and done.returncode == absent:
        raise Absent(done.stderr.strip())
    said = f"exit status {done.returncode}: {done.stdout}{done.stderr}"
    demand(done.returncode in (0, 1), said)
    report: Report = json.loads((folder / "report" / "report.json").read_text("utf-8"))
    return report


def passed(report: Report, where: str) -> int:
    """Return the number of cases that passed. Raises a ``Finding`` if any failed."""
    count = 0
    for front_end in report["front_ends"]:
        counts = front_end["counts"]
        print(f"   {front_end['name']}: {counts['passed']} passed {where}", flush=True)
        failed = [case for case in front_end["cases"] if case["status"] == "failed"]
        findings = "; ".join(f"{case['id']}: {case['message'][:200]}" for case in failed)
        demand(not failed, f"{front_end['name']} {where}: {findings}")
        count += counts["passed"]
    demand(not report["problems"], "; ".join(report["problems"]))
    return count
