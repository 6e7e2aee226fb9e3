"""The page docs/what-has-run.md: for each target, what has executed its program, and when.

The record keeps the newest run of the conformance suite for each target. Its front-end says which
target that is, as the version of ``target``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from checkout.paths import MEASUREMENTS
from gpu.keeping import read as read_gpu
from whisper_mel_mojo.gpu.targets import TARGETS, target_of

from docs.catalogue import as_of, identity
from docs.sections import table

RECORD = MEASUREMENTS / "runs.json"
FORMAT = 1
NOT_YET = "not yet"
TARGET = "target"
"""The name under which a front-end of ours says what it is compiled for."""
HOW = {
    "mojo-cpu": "",
    "mojo-c": "",
    "mojo-arm": "by qemu",
    "mojo-riscv": "by qemu",
    "mojo-ptx": "the PTX, in the emulator",
    "mojo-air": "the LLVM IR, in the emulator",
    "mojo-amdgpu": "the LLVM IR, in the emulator",
}
"""How each front-end executes its target's program; empty: on the processor itself."""
CPUS = {
    "x86-64-v4": ("AVX-512", "in the wheel"),
    "x86-64-v3": ("AVX2", "in the wheel"),
    "x86-64": ("SSE2, no fused multiply-add", "in the wheel"),
    "aarch64": ("ARM, 64 bits, NEON", "in a wheel that is tested under qemu"),
    "riscv64": ("RISC-V, RV64GC", "the library for C"),
}
"""What each is, and what it is compiled into."""


def take(report: Mapping[str, Any]) -> None:
    """Add the runs of our own front-ends to the record; those of the same target are replaced."""
    runs = read()
    for judged in report["front_ends"]:
        target = judged["versions"].get(TARGET)
        if judged["name"] not in HOW or target is None:
            continue
        runs[target] = {
            **{key: judged[key] for key in ("name", "class", "counts", "worst")},
            **{key: report[key] for key in ("created", "profile")},
            "families": sorted({case["id"].partition("/")[0] for case in judged["cases"]}),
            "catalogue": identity(case["id"] for case in judged["cases"]),
        }
    known = [target for target in (*CPUS, *TARGETS) if target in runs]
    data = {"format": FORMAT, "runs": {target: runs[target] for target in known}}
    RECORD.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def read() -> dict[str, Any]:
    """Read the recorded runs by target. Raises ``ValueError`` for a record of another format."""
    if not RECORD.exists():
        return {}
    data = json.loads(RECORD.read_text(encoding="utf-8"))
    if data["format"] != FORMAT:
        raise ValueError(f"{RECORD}: format {data['format']}: expected {FORMAT}")
    runs: dict[str, Any] = data["runs"]
    return runs


def section(folder: Path = MEASUREMENTS) -> str:
    """Return the table, a row for each target."""
    head = ["target", "for", "compiled", "its program executed", "on the real thing"]
    runs, devices = read(), _devices(folder)
    rows = []
    names = {target: what for target, (what, _) in CPUS.items()}
    names |= {name: target.devices for name, target in TARGETS.items()}
    for target, what in names.items():
        run = runs.get(target)
        executed = _said(run) if run else NOT_YET
        real = devices.get(target, NOT_YET)
        if run and not HOW[run["name"]]:
            executed, real = "as on the right", executed
        rows.append([f"`{target}`", what, _compiled(target), executed, real])
    return table(head, rows)


def _said(run: Mapping[str, Any]) -> str:
    how = HOW[run["name"]]
    worst = run["worst"]
    day, families = run["created"][:10], run["families"]
    if len(families) == 1:  # of a run with -k
        when = f"{day}, the {run['catalogue']['cases']:,} cases `{families[0]}/…`"
    else:
        when = as_of(day, run["profile"], run["catalogue"])
    found = _judged(run)
    found += f", worst {float(worst['score']):.2f}" if worst else ""
    return f"{how + ': ' if how else ''}{found} (`{run['name']}`, {when})"


def _judged(run: Mapping[str, Any]) -> str:
    counts = run["counts"]
    failed = f", **{counts['failed']} failed**" if counts["failed"] else ""
    return f"class {run['class']}, {counts['passed']:,} passed{failed}"


def _compiled(target: str) -> str:
    """Return what a target's code is compiled into, or what it is held to."""
    if target in CPUS:
        return CPUS[target][1]
    registers = (TARGETS[target].registers or ())[: len(TARGETS[target].kernels)]
    return f"budget: {', '.join(map(str, registers))} registers" if registers else "budget"


def _devices(folder: Path) -> dict[str, str]:
    """Return what ran on GPUs, by target, from the records of ``./dev gpu record``."""
    found = {}
    for path in sorted(folder.glob("gpu-*.json")):
        made = read_gpu(path)
        about = made["environment"]
        judged = made["sections"].get("conformance", {}).get("data", {}).get("mojo-gpu", {})
        words = f"{about['device']}, {made['created'][:10]}"
        words += f": {_judged(judged)}" if "class" in judged else ""
        words += ", the CPU's bits" if made["sections"]["values"]["status"] == "passed" else ""
        found[target_of(tuple(about["capability"])).name] = f"[{words}](gpu.md#measured)"
    return found
