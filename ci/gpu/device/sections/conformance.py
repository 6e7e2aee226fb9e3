"""The conformance suite on the front-ends that compute on a CUDA device."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from gpu.device.driver import device
from gpu.device.plan import Found, NotHere
from gpu.device.scale import scale

FRONT_ENDS = ("mojo-gpu", "mojo-torch-gpu", "mojo-max-gpu")
NEEDS = {"mojo-torch-gpu": "torch", "mojo-max-gpu": "max"}
PROCESSES = min(8, len(os.sched_getaffinity(0)))
"""Processes that judge at once; each has a context of its own on the device, of about 0.5 GiB."""


def run() -> dict[str, Any]:
    """Judge all available front-ends; raise ``Found`` unless all pass and ours is among them."""
    device()
    try:
        for module in ("__main__", "collecting", "cases.drawing"):
            importlib.import_module(f"whisper_mel_conformance.{module}")
    except ImportError as error:
        raise NotHere(f"the suite lacks a package ({error})") from None
    data: dict[str, Any] = {}
    findings = []
    for name in FRONT_ENDS:
        why_not = missing(name)
        if why_not:
            data[name] = {"not judged": why_not}
            continue
        data[name] = judged = judge(name, Path("conformance") / name)
        findings += [f"{name}: {it}" for it in judged["findings"]]
    if "class" not in data["mojo-gpu"]:
        findings.append("mojo-gpu was not judged")
    if findings:
        raise Found(findings, data)
    return data


def missing(name: str) -> str | None:
    """Return why a front-end cannot be judged here; None if it can."""
    if not entry_points(group="whisper_mel.frontends", name=name):
        return "there is no front-end of this name here"
    module = NEEDS.get(name)
    if module is not None:
        try:
            __import__(module)
        except ImportError as error:
            return str(error)
    return None


def judge(name: str, report: Path) -> dict[str, Any]:
    """Run the suite on a front-end; return its class, counts and failures."""
    shutil.rmtree(report, ignore_errors=True)
    command = [sys.executable, "-m", "whisper_mel_conformance", f"--frontend={name}"]
    command += ["-n", str(PROCESSES), f"--report={report}", f"--timeout={60 * scale().patience}"]
    cases = scale().cases
    if cases is not None:
        command += ["-k", cases]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr, sep="\n")
    try:
        text = (report / "report.json").read_text(encoding="utf-8")
        [front_end] = json.loads(text)["front_ends"]
    except (OSError, ValueError) as error:
        said = (done.stderr or done.stdout).strip()[-500:]
        return {"findings": [f"it could not be judged ({error}): {said}"]}
    failed = [case for case in front_end["cases"] if case["status"] == "failed"]
    findings = [f"{case['id']}: {case['message'][:200]}" for case in failed[:5]]
    if len(failed) > 5:
        findings.append(f"… and {len(failed) - 5} more")
    if done.returncode != 0 and not findings:
        findings.append(f"exit status {done.returncode}: {done.stdout.strip()[-500:]}")
    return {
        "class": front_end["class"],
        "counts": front_end["counts"],
        "worst": front_end["worst"],
        "calls": front_end["calls"],
        "findings": findings,
    }
