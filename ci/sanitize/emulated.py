"""The library for C for other processors, executed by qemu: its bits, and the conformance suite."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from planted.kernel import KernelMutant, compiled_for_c, sources
from whisper_mel_mojo.emulated.library import Crashed, emulated
from whisper_mel_mojo.emulated.machines import MACHINES, Machine

from sanitize import Absent, demand
from sanitize.bits import differences
from sanitize.suite import judged, passed


def require(target: str) -> Machine:
    """Return a machine; raise ``Absent`` if it cannot be executed here."""
    machine = MACHINES[target]
    missing = machine.missing()
    if missing:
        raise Absent(f"{missing}: ./dev system installs them, where it can")
    return machine


def find(folder: Path, mutant: KernelMutant) -> str:
    """Return how a mutant shows: other bits, or a crash; nothing if it does not show."""
    machine = require(mutant.target)
    library = compiled_for_c(sources(folder, mutant), machine)
    try:
        _, found = differences(emulated(machine, library))
    except Crashed as crash:
        return str(crash)
    return found[0] if found else ""


def judge(target: str) -> int:
    """Compare the bits of a machine's library with this one's, then judge it by all quick cases.

    Returns the number of calls and of cases.
    """
    machine = require(target)
    calls, found = differences(emulated(machine))
    demand(not found, "; ".join(found))
    print(f"   {calls} calls: the bits of this processor", flush=True)
    with TemporaryDirectory() as folder:
        report = judged(Path(folder), "--frontend", machine.front_end)
        return calls + passed(report, "under qemu")
