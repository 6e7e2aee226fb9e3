"""Sections on the kernel for GPUs: measurements on devices, and counts in the emulator."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from checkout.paths import MEASUREMENTS
from gpu.device.record import results
from gpu.execute import mutants
from gpu.execute.counts import RECORD, accesses, per_group
from gpu.keeping import read

from docs.sections import table

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


def counted(path: Path = RECORD) -> str:
    """Return the table of what each kernel executes for 32 of the frames of a clip of 30 s."""
    head = ["kernel", "instructions:", "multiply-adds:", "other floats:", "integers:"]
    head += ["accesses:", "wavefronts:", "of them conflicts:", "sectors:", "barriers:"]
    rows = []
    for name, numbers in json.loads(path.read_text(encoding="utf-8")).items():
        kinds = numbers["kinds"]
        wavefronts = numbers["shared_wavefronts"]
        row = [numbers["instructions"], kinds["multiply-adds"], kinds["other floats"]]
        row += [kinds["integers"], accesses(numbers), wavefronts]
        row += [wavefronts - numbers["shared_wavefronts_without_conflicts"]]
        row += [numbers["global_sectors"], kinds["barriers"]]
        rows.append([name, *(f"{per_group(it):,.0f}" for it in row)])
    return table(head, rows)


def mutated() -> str:
    """Return the tables of mutants of the PTX: how many show, why others do not, barriers."""
    kernels = mutants.recorded()
    head, *rows = mutants.rows(kernels)
    silent = [it for kernel in kernels.values() for it in kernel["silent"]]
    reasons = Counter(it["why"] for it in silent)
    examples = {it["why"]: it for it in reversed(silent)}
    return "\n\n".join([
        table([head[0], *(f"{it}:" for it in head[1:])], rows),
        "Silent ones, and why nothing shows:",
        table(
            ["reason", "changes:", "for example"],
            [[why, str(n), _change(examples[why])] for why, n in reasons.most_common()],
        ),
        "So many calls need the barrier after a phase (without it they end with a finding, or give "
        "other bits):",
        table(*_barriers(kernels)),
    ])  # fmt: skip


def _change(it: dict[str, str]) -> str:
    new = f" → `{it['new']}`" if it["new"] else ""
    where = f" ({it['where']})" if it["where"] else ""
    return f"`{it['old']}`{new}{where}"


def _barriers(kernels: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows: of each kernel, the calls, and how many of them need each barrier."""
    phases = list(dict.fromkeys(it["after"] for its in kernels.values() for it in its["barriers"]))
    rows = []
    for name, kernel in kernels.items():
        needed = [
            [str(len(it["calls"])) for it in kernel["barriers"] if it["after"] == phase]
            for phase in phases
        ]
        rows.append([name, str(len(kernel["calls"])), *map(", ".join, needed)])
    return ["kernel", "calls:", *(f"`{it}`:" for it in phases)], rows
