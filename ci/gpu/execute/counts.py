"""Counts of what a launch executes, for a clip of 30 s: the record in docs/measurements, a budget.

Counted are statements of PTX, which the device's own assembler translates further: on sm_90a one
statement becomes about 1.1 instructions, because 64-bit index arithmetic takes several.
"""

from __future__ import annotations

import ctypes
import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from checkout.paths import MEASUREMENTS
from whisper_mel_conformance.report.columns import aligned
from whisper_mel_mojo.gpu.emulator.kernels import Kernels
from whisper_mel_mojo.gpu.emulator.ptx import Module, Statement, read
from whisper_mel_mojo.gpu.emulator.translate import built
from whisper_mel_mojo.gpu.targets import (
    DIRECT,
    DIRECT_FLOAT16,
    KERNELS,
    MANY,
    NVIDIA,
    SMOOTHED,
)

from gpu.execute.lines import functions_of

RECORD = MEASUREMENTS / "kernel-counts.json"
TOLERANCE = 0.02
"""The largest relative difference from the record, in either direction."""
SAMPLES = 480_000
MOST_ACCESSES = {"sm_90a, 80 bands, many clips": 2000}
"""The most loads and stores of shared memory for 32 frames, which a multiprocessor serves one by
one, by kernel."""
FIELDS = (
    *("instructions", "shared_requests", "shared_bytes"),
    *("shared_wavefronts", "shared_wavefronts_without_conflicts"),
    *("global_requests", "global_bytes", "global_sectors"),
)
"""The fields of ``struct counts`` in ``counting.h``."""
FORMS = {("sm_90a", 80): (DIRECT, DIRECT_FLOAT16)}
"""Kinds that are counted beside those for the plain form, to show what a fixed maximum saves."""
_CALLS: dict[int, dict[str, Any]] = {
    SMOOTHED: {"smoothing": "same"},
    DIRECT: {"maximum": 1.5, "blocks": 2},  # as in a batch of 256
    DIRECT_FLOAT16: {"maximum": 1.5, "dtype": "float16", "blocks": 2},
}
_KINDS = {
    "multiply-adds": r"fma\.",
    "other floats": r"(add|sub|mul|div|rcp|neg|abs|min|max)\.(\w+\.)*f32",
    "shared loads": r"ld\.shared",
    "shared stores": r"st\.shared",
    "asynchronous copies": r"cp\.async",
    "global memory": r"(ld|st)\.(global|param|const)",
    "branches": r"bra|ret|exit",
    "barriers": r"bar\b|barrier",
    "conditions": r"setp|selp|(and|or|xor|not)\.pred",
    "moves and conversions": r"mov|cvt",
}
_OTHER = "integers"


def count(target: str, n_mels: int, kind: int = MANY) -> dict[str, Any]:
    """Compile and run a kernel; return its counts as in the record."""
    program = Kernels(target, n_mels, None, "-DCOUNT").program(kind)
    library = ctypes.CDLL(str(built(program.ptx, "-DCOUNT")))
    clip = np.random.default_rng(0).uniform(-0.1, 0.1, SAMPLES).astype(np.float32)
    counts = read_counts(library)
    before = counts.copy()
    program.log_mel(clip, n_mels, **_CALLS.get(kind, {}))
    module = read(program.ptx)
    statements = [it for it in module.body if isinstance(it, Statement)]
    return _summed(module, statements, counts - before)


def read_counts(library: ctypes.CDLL) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return the library's own counts, by statement and field."""
    sites = ctypes.c_uint32.in_dll(library, "site_count").value
    size = len(FIELDS) * sites
    return np.ctypeslib.as_array((ctypes.c_uint64 * size).in_dll(library, "counts")).reshape(
        sites, len(FIELDS)
    )


def _summed(module: Module, statements: list[Statement], counts: Any) -> dict[str, Any]:
    kinds: Counter[str] = Counter()
    phases: Counter[str] = Counter()
    stored = 0
    for statement, row in zip(statements, counts.tolist(), strict=True):
        kinds[_kind(statement.opcode)] += row[0]
        phases[_phase(functions_of(module, statement.place))] += row[0]
        if statement.opcode.startswith("st.global"):
            stored += row[FIELDS.index("global_bytes")]
    totals = dict(zip(FIELDS, counts.sum(0).tolist(), strict=True))
    return {
        **totals,
        "global_bytes_stored": stored,
        "kinds": dict(kinds.most_common()),
        "phases": dict(phases.most_common()),
    }


def accesses(numbers: dict[str, Any]) -> int:
    """Return the loads and stores of shared memory, each of a warp, without asynchronous copies."""
    kinds = numbers["kinds"]
    return int(kinds["shared loads"] + kinds["shared stores"])


def per_group(count: int) -> float:
    """Return a count of the clip for 32 of its 3000 frames, which a warp does together."""
    return count * 32 / 3000


def _kind(opcode: str) -> str:
    return next((name for name, it in _KINDS.items() if re.match(it, opcode)), _OTHER)


def _phase(names: list[str]) -> str:
    """Return the function that does a phase of ``Block.phase``, from those around a statement."""
    if "phase" in names:
        return names[max(names.index("phase") - 1, 0)]
    return names[-1] if names else "no line"


def violations(counts: dict[str, Any], record: dict[str, Any]) -> list[str]:
    """Name each number that is more than ``TOLERANCE`` from the record's, or above its limit."""
    found = []
    for program, numbers in counts.items():
        kept = record.get(program)
        if kept is None:
            found.append(f"{program}: not in the record")
            continue
        for name in ("instructions", "shared_wavefronts", "global_sectors"):
            change = numbers[name] / kept[name] - 1
            if not abs(change) <= TOLERANCE:
                found.append(
                    f"{program}: {name} {numbers[name]:,}, {change:+.1%} against the record's "
                    f"{kept[name]:,}"
                )
        most = MOST_ACCESSES.get(program)
        count = per_group(accesses(numbers))
        if most is not None and not count <= most:
            found.append(f"{program}: {count:,.0f} accesses of shared memory, at most {most:,}")
    return found


def run(programs: Iterable[tuple[str, int]], save: bool) -> int:
    """Count, print, and compare with the record, or make it one. Return the exit status."""
    counts = {
        f"{target}, {n_mels} bands, {KERNELS[kind]}": count(target, n_mels, kind)
        for target, n_mels in programs
        for kind in (*NVIDIA[target].kernels, *FORMS.get((target, n_mels), ()))
    }
    for program, numbers in counts.items():
        print(program)
        print(*aligned(rows(numbers)), sep="\n")
    if save:
        made = {**(json.loads(RECORD.read_text()) if RECORD.exists() else {}), **counts}
        RECORD.write_text(json.dumps(made, indent=1) + "\n")
        print(f"written: {RECORD}")
        return 0
    problems = violations(counts, json.loads(RECORD.read_text()))
    print(*problems, sep="\n", end="\n" if problems else "")
    return 1 if problems else 0


def rows(numbers: dict[str, Any]) -> list[list[str]]:
    """Return a table: what, for the clip, for 32 of its 3000 frames."""
    plain = [(name.replace("_", " "), it) for name, it in numbers.items() if isinstance(it, int)]
    parts = [
        (f"  {name}", it) for kind in ("kinds", "phases") for name, it in numbers[kind].items()
    ]
    return [
        ["", "clip", "32 frames"],
        *([name, f"{it:,}", f"{per_group(it):,.0f}"] for name, it in plain + parts if it),
    ]
