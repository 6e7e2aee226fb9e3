"""The budget of the compiled kernel for each target, and the comparison with it."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

from tasks.columns import aligned
from whisper_mel_mojo.gpu.targets import Target

from gpu.compile.code import Measured, compiled, find_ptxas, measure

BANDS = (80, 128)
# Blocks for a clip, and bytes of a block's shared memory, by the number of bands
_ONE_BLOCK = {80: (1, 44_496), 128: (1, 47_568)}
_CLUSTER = {80: (8, 229_456), 128: (16, 223_312)}
_APPLE = {80: (1, 23_696), 128: (1, 25_232)}


def budget_of(target: Target, n_mels: int) -> dict[str, int]:
    """Return the limit of each measure that may be above 0, as far as it can be checked here.

    Numbers of kernels and of blocks in a cluster are exact, the other limits are maxima. Registers
    of NVIDIA's targets need ``ptxas``.
    """
    is_apple = target.name.startswith("apple")
    mapping = _CLUSTER if target.clusters else _APPLE if is_apple else _ONE_BLOCK
    cluster, shared = mapping[n_mels]
    limits = {"kernels": 1, "cluster": cluster, "shared": shared}
    if target.registers and (target.capability is None or find_ptxas()):
        limits["registers"] = target.registers[BANDS.index(n_mels)]
    if target.scalar_spills:
        limits["scalar_spills"] = target.scalar_spills
    return limits


def violations(measured: Measured, budget: dict[str, int]) -> list[str]:
    """Name each measure outside its limit; a measure without a limit must be 0."""
    found = []
    for field in fields(Measured):
        value, limit = getattr(measured, field.name), budget.get(field.name, 0)
        exact = field.name in ("kernels", "cluster")
        if value is None:
            if field.name in budget:
                found.append(f"{field.name} not measured, budget {limit}")
        elif value != limit if exact else not value <= limit:
            found.append(f"{field.name} {value}, budget {limit}")
    return found


def report(
    budget: dict[tuple[str, int], dict[str, int]],
    results: dict[tuple[str, int], Measured | str],
) -> int:
    """Print the table; return 1 if anything misses its budget or was not measured, else 0."""
    names = [field.name for field in fields(Measured)]
    rows = [["target", "bands", *(name.replace("_", " ") for name in names)]]
    missed = []
    for (target, n_mels), limits in budget.items():
        measured = results[target, n_mels]
        if isinstance(measured, str):
            missed.append(f"{target}, {n_mels} bands: {measured}")
            continue
        values = [getattr(measured, name) for name in names]
        rows.append([target, str(n_mels), *("-" if v is None else str(v) for v in values)])
        missed += [f"{target}, {n_mels} bands: {it}" for it in violations(measured, limits)]
    print(*aligned(rows), sep="\n")
    print("-: not known before the device's own compiler has run, or without ptxas")
    for line in missed:
        print(f"missed: {line}")
    if not budget:
        print("missed: nothing was compiled")
    return 1 if missed or not budget else 0


def measure_all(wanted: list[tuple[str, int]]) -> dict[tuple[str, int], Measured | str]:
    """Compile and measure each (target, bands); a message stands for one that failed."""

    def one(it: tuple[str, int]) -> Measured | str:
        try:
            measured = measure(it[0], compiled(*it))
        except (RuntimeError, ValueError) as error:
            return str(error)
        print(f"{it[0]}, {it[1]} bands: done", file=sys.stderr, flush=True)
        return measured

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return dict(zip(wanted, pool.map(one, wanted), strict=True))
