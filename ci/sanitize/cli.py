"""Sanitizers: each lane first finds the faults that are planted for it, then runs the kernel.

    ./dev sanitize address      AddressSanitizer on the kernel, called from C
                                and from Python with sizes and arrays of all kinds
    ./dev sanitize thread       ThreadSanitizer on the CPU's kernel with several threads
    ./dev sanitize valgrind     valgrind on the CPU's kernel: memory read before it is written, or
                                beyond its end, or never given back
    ./dev sanitize arm          the library for C for 64-bit ARM, executed by qemu: this processor's
                                bits, the conformance suite; riscv likewise
    ./dev sanitize guard        guard pages around the audio of every front-end that is installed
    ./dev sanitize network      no socket to a network is opened, by whatever is judged
    ./dev sanitize schedules    SentryWard on the kernels' PTX: no race in any order of threads
    ./dev sanitize memcheck     compute-sanitizer's tools on the kernel for GPUs (docs/gpu.md);
                                racecheck, initcheck, synccheck likewise
    ./dev sanitize all          all lanes that this machine can run; says which it cannot

``--nightly`` makes 100,000 calls instead of 3,000, and judges all cases. Exit status: 0 clean, 1
something was found or a planted fault was not, 3 the lane cannot run here.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from sanitize import Absent, Finding, demand
from sanitize.native import address, arm, riscv, thread, valgrind
from sanitize.network import network
from sanitize.schedules import schedules

FOUND, ABSENT = 1, 3
GUARD_CONTROLS = {  # quirks, and the case in which guard pages must end them
    "read-beyond-end": "buffers/guard-behind/80",
    "read-before-start": "buffers/guard-before/80",
    "write-beyond-out": "buffers/out-guard-behind-1600/80",
}
GPU_TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")


def run(arguments: list[str]) -> int:
    """Run a lane; return the exit status (see the module)."""
    lanes: dict[str, Callable[[int], int]] = {
        "address": address,
        "thread": thread,
        "valgrind": valgrind,
        "arm": arm,
        "riscv": riscv,
        "guard": _guard,
        "network": network,
        "schedules": schedules,
        **{tool: _gpu(tool) for tool in GPU_TOOLS},
    }
    parser = argparse.ArgumentParser(prog="./dev sanitize")
    parser.add_argument("lane", choices=(*lanes, "all"))
    parser.add_argument("--nightly", action="store_true")
    options = parser.parse_args(arguments)
    calls = 100_000 if options.nightly else 3_000
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    if options.lane != "all":
        return _report(options.lane, lanes[options.lane], calls)
    statuses = [_report(name, lane, calls) for name, lane in lanes.items()]
    if all(status == ABSENT for status in statuses):
        return ABSENT
    return FOUND if FOUND in statuses else 0


def _report(name: str, lane: Callable[[int], int], calls: int) -> int:
    print(f"== {name}", flush=True)
    try:
        executed = lane(calls)
    except Absent as absence:
        print(f"{name}: cannot run here: {absence}")
        return ABSENT
    except Finding as finding:
        print(f"{name}: {finding}")
        return FOUND
    if executed == 0:
        print(f"{name}: nothing was executed")
        return FOUND
    print(f"{name}: {executed} cases executed, no finding")
    return 0


# --------------------------------------------------------------------------- guard pages


def _guard(calls: int) -> int:
    from planted.quirks import kill
    from whisper_mel_conformance.run.judge import Judge
    from whisper_mel_conformance.run.run import Run
    from whisper_mel_conformance.run.setup import prepare

    for name, killer in GUARD_CONTROLS.items():
        result = kill(name, killer)
        found = result.status == "failed" and "SIGSEGV" in result.message
        demand(found, f"the planted fault is missed: {name}")
        print(f"   planted: {name}: found ({result.message.splitlines()[0][:60]})", flush=True)
    judge = Judge(prepare(["mojo-cpu", "mojo-c"], with_peers="light"))
    run = Run(judge.setup)
    try:
        for front_end, case in judge.plan():
            if case.family in ("buffers", "batch") and "guard-" in case.id:
                run.add(judge.judge(front_end, case))
    finally:
        judge.stop()
    failed = [result for result in run.results if result.status == "failed"]
    for front_end in run.front_ends:
        passed, known = (len(run.of(front_end.name, status)) for status in ("passed", "known"))
        print(f"   {front_end.name}: {passed} passed, {known} declared", flush=True)
    for name, why in run.setup.unavailable.items():
        print(f"   not available: {name} ({why})")
    findings = "; ".join(f"{r.front_end} {r.case}: {r.message[:100]}" for r in failed)
    demand(not failed, findings)
    return sum(result.status == "passed" for result in run.results)


# --------------------------------------------------------------------------- GPUs


def _gpu(tool: str) -> Callable[[int], int]:
    def lane(calls: int) -> int:
        from gpu.device.plan import Found, NotHere
        from gpu.device.sections import sanitizers

        try:
            return int(sanitizers.run(tool)["calls"])
        except NotHere as reason:
            raise Absent(str(reason)) from None
        except Found as found:
            raise Finding(str(found)) from None

    return lane
