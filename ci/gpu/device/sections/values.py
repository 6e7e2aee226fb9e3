"""Values of every kind of call: class A, the CPU's bits, intact canaries, all written."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpu.device.calls import CALLS, GUARD, Memory, check, digest, perform
from gpu.device.driver import device
from gpu.device.plan import Found


def run() -> dict[str, Any]:
    """Make each call twice, with the same bits; first, an overwritten canary must be seen."""
    device()
    _control()
    findings: list[str] = []
    calls: dict[str, Any] = {}
    for call in CALLS:
        first, worst, found = check(call)
        if digest(perform(call, GUARD)[0]) != first:
            found.append(f"{call.name}: other bits in the second call")
        findings += found
        calls[call.name] = {"digest": first, "score": worst if np.isfinite(worst) else None}
    data = {"calls": calls, "worst_score": max(it["score"] or 0.0 for it in calls.values())}
    if findings:
        raise Found(findings, data)
    return data


def _control() -> None:
    memory = Memory((3,), np.float32, GUARD)
    device().fill(memory.address - 4, 0, 5)
    seen = [it.split(" were ")[0] for it in memory.damaged()]
    if seen != ["1 words before it", "1 words behind it"]:
        raise Found([f"planted: canaries overwritten on both sides; seen: {seen}"])
