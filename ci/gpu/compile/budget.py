"""The budget of the compiled kernel for each target, and the comparison with it."""

from __future__ import annotations

import os
import sys
from collections import ChainMap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

from whisper_mel_conformance.report.columns import aligned
from whisper_mel_mojo.gpu.code import compiled
from whisper_mel_mojo.gpu.targets import (
    DIRECT,
    FEW,
    FORMED,
    FORMS,
    KERNELS,
    MANY,
    SMOOTHED,
    Target,
)

from gpu.compile.code import Measured, find_ptxas, measure

BANDS = (80, 128)
Key = tuple[str, int, int]
"""A target, a number of bands, a kind of kernel."""
# Blocks for a single clip, and bytes of a block's shared memory, by kernel and number of bands
_ONE_BLOCK = {
    MANY: {80: (1, 40_188), 128: (1, 40_188)},
    SMOOTHED: {80: (1, 45_308), 128: (1, 48_380)},
}
_CLUSTER = {
    MANY: {80: (16, 76_668), 128: (16, 76_668)},
    FEW: {80: (16, 149_628), 128: (16, 149_628)},
    SMOOTHED: {80: (16, 231_548), 128: (16, 224_124)},
}
_APPLE = {
    MANY: {80: (1, 21_948), 128: (1, 21_948)},
    SMOOTHED: {80: (1, 24_508), 128: (1, 26_044)},
}

_DIVIDED_AS = {FORMED: SMOOTHED, **dict.fromkeys(FORMS[1:], MANY)}
"""The kernel for the plain form that each for another form divides its work as."""


def budget_of(target: Target, n_mels: int, kernel: int) -> dict[str, int]:
    """Return the limit of each measure that may be above 0, as far as it can be checked here.

    ``kernel`` is one of ``target.all_kernels``. Numbers of kernels and of blocks are exact,
    the other limits are maxima. Registers of NVIDIA's targets need ``ptxas``.
    """
    is_apple = target.name.startswith("apple")
    mapping = _CLUSTER if target.clusters else _APPLE if is_apple else _ONE_BLOCK
    cluster, shared = mapping[_DIVIDED_AS.get(kernel, kernel)][n_mels]
    limits = {"kernels": 1, "cluster": 1 if kernel >= DIRECT else cluster, "shared": shared}
    registers = target.most_registers(kernel)
    if registers and (target.capability is None or find_ptxas()):
        limits["registers"] = registers
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
    budget: dict[Key, dict[str, int]],
    results: dict[Key, Measured | str],
) -> int:
    """Print the table; return 1 if anything misses its budget or was not measured, else 0."""
    names = [field.name for field in fields(Measured)]
    rows = [["target", "bands", "kernel", *(name.replace("_", " ") for name in names)]]
    missed = []
    for key, limits in budget.items():
        measured = results[key]
        if isinstance(measured, str):
            missed.append(f"{name_of(key)}: {measured}")
            continue
        target, n_mels, kernel = key
        values = ("-" if v is None else str(v) for v in (getattr(measured, it) for it in names))
        rows.append([target, str(n_mels), KERNELS[kernel], *values])
        missed += [f"{name_of(key)}: {it}" for it in violations(measured, limits)]
    print(*aligned(rows), sep="\n")
    print("-: not known before the device's own compiler has run, or without ptxas")
    for line in missed:
        print(f"missed: {line}")
    if not budget:
        print("missed: nothing was compiled")
    return 1 if missed or not budget else 0


def name_of(key: Key) -> str:
    target, n_mels, kernel = key
    return f"{target}, {n_mels} bands, {KERNELS[kernel]}"


def measure_all(wanted: list[Key]) -> dict[Key, Measured | str]:
    """Compile and measure each kernel; a message stands for one that failed."""

    def of_target(target: str) -> dict[Key, Measured | str]:
        keys = [it for it in wanted if it[0] == target]
        try:
            code = compiled(target)
            found = {it: _measure(target, code[it[1:]]) for it in keys}
        except RuntimeError as error:
            return dict.fromkeys(keys, str(error))
        print(f"{target}: done", file=sys.stderr, flush=True)
        return found

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        found = ChainMap(*pool.map(of_target, {it[0] for it in wanted}))
        return {it: found[it] for it in wanted}


def _measure(target: str, code: str) -> Measured | str:
    try:
        return measure(target, code)
    except (RuntimeError, ValueError) as error:
        return str(error)
