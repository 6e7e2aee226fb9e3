"""Lanes for the kernel on a CPU: AddressSanitizer, ThreadSanitizer, valgrind, other processors.

Each first has to reject the mutants that name it as their killer (``ci/planted/kernel.toml``), with
the words of ``CONTROLS``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from collections.abc import Callable
from pathlib import Path

from bench import instructions
from checkout.paths import ROOT
from planted.kernel import KERNEL, KernelMutant, compiled, kernel_mutants, sources

from sanitize import Absent, demand, emulated

SIZES = ROOT / "ci" / "sanitize" / "sizes.py"
ARRAYS = ("-m", "sanitize.arrays")  # in the folder ci
SHIM = ROOT / "ci" / "sanitize" / "tsan_shim.c"
FUNCTION = "whisper_mel_log_mel"

CONTROLS = {
    "audio-read-beyond-its-end": "heap-buffer-overflow",
    "scratch-memory-too-small": "stack-buffer-overflow",
    "no-wait-between-the-passes": "data race",
    "one-border-for-all-threads": "data race",
    "last-maximum-beyond-its-memory": "InvalidWrite",
    "first-pieces-maximum-unwritten": "Uninit",
    "memory-not-given-back": "Leak_DefinitelyLost",
    "neon-samples-backwards": "other bits",
    "neon-two-roundings": "other bits",
    "neon-audio-read-beyond-its-end": "exit status",
    "riscv-two-roundings": "other bits",
}
"""The words that a lane must say about each mutant that it is the killer of."""


def find(mutant: KernelMutant) -> str:
    """Run the lane that must find a mutant; return what it says, empty if it finds nothing.

    Raises ``Absent`` where the lane cannot run, ``BuildError`` for a mutant that does not compile.
    """
    finders: dict[str | None, Callable[[Path, KernelMutant], str]] = {
        "address": _find_address,
        "thread": _find_race,
        "valgrind": _find_by_valgrind,
        "arm": _find_emulated,
        "riscv": _find_emulated,
    }
    with tempfile.TemporaryDirectory() as folder:
        return finders[mutant.lane](Path(folder), mutant)


def _plant(lane: str) -> None:
    """Raise a ``Finding`` unless this lane finds every mutant that names it."""
    planted = [mutant for mutant in kernel_mutants().values() if mutant.lane == lane]
    demand(planted, f"no fault is planted for {lane}")
    for mutant in planted:
        _found(mutant.id, find(mutant))


def _found(planted: str, finding: str) -> None:
    demand(finding, f"the planted fault is missed: {planted}")
    print(f"   planted: {planted}: found ({finding})", flush=True)


def _call(
    library: Path,
    function: str,
    calls: int,
    *words: str,
    runtime: str = "",
    tool: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """Run ``sizes.py`` on a library, with a sanitizer's run-time library or under a tool."""
    program = [*tool, sys.executable, str(SIZES), str(library), function, str(calls), "1", *words]
    return _run(program, runtime)


def _run(program: list[str], runtime: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        program,
        cwd=ROOT / "ci",
        env={
            **os.environ,
            **({"LD_PRELOAD": runtime} if runtime else {}),
            "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
            "TSAN_OPTIONS": "exitcode=66:report_bugs=1",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def _executed(done: subprocess.CompletedProcess[str]) -> int:
    """Count the calls of a clean run. Raises ``Finding`` with what was found otherwise."""
    demand(done.returncode == 0, f"exit status {done.returncode}\n{_relevant(done.stderr)}")
    counts = json.loads(done.stdout.splitlines()[-1])
    print(f"   {done.stdout.splitlines()[-1]}", flush=True)
    demand(min(counts.values()) > 0, f"not all was tried: {counts}")
    return int(counts["calls"])


def _relevant(text: str) -> str:
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if "Sanitizer" in line), 0)
    return "\n".join(lines[start : start + 30])


def _runtime(name: str) -> str:
    """Find gcc's run-time library, which is loaded before Python's own allocator is used."""
    if shutil.which("gcc") is None:
        raise Absent("there is no gcc")
    words = ["gcc", f"-print-file-name={name}"]
    path = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    if not os.path.isabs(path):
        raise Absent(f"gcc has no {name}")
    return path


# --------------------------------------------------------------------------- AddressSanitizer

_ASAN = ("--sanitize", "address", "-g1", "-O1")


def address(calls: int) -> int:
    """Call the kernel from C and from Python, with all sizes."""
    runtime = _runtime("libasan.so")
    _plant("address")
    with tempfile.TemporaryDirectory() as folder:
        kernel = sources(Path(folder), None)
        library = compiled(kernel, *_ASAN)
        done = _call(library, FUNCTION, 100, "use-after-free", runtime=runtime)
        _found("audio freed by the caller", _said_by_asan(done, "heap-use-after-free"))
        executed = _executed(_call(library, FUNCTION, calls, runtime=runtime))
        arrays = [sys.executable, *ARRAYS, str(library), str(calls // 3), "1"]
        return executed + _executed(_run(arrays, runtime))


def _find_address(folder: Path, mutant: KernelMutant) -> str:
    runtime = _runtime("libasan.so")
    library = compiled(sources(folder, mutant), *_ASAN)
    done = _call(library, FUNCTION, 3000, runtime=runtime)
    return _said_by_asan(done, CONTROLS[mutant.id])


def _said_by_asan(done: subprocess.CompletedProcess[str], kind: str) -> str:
    """Return ``kind`` if AddressSanitizer found it in a line of the kernel, else nothing."""
    return kind if kind in done.stderr and f"{KERNEL.name}:" in done.stderr else ""


# --------------------------------------------------------------------------- ThreadSanitizer


def thread(calls: int) -> int:
    """Call the kernel with several threads."""
    runtime = _runtime("libtsan.so")
    _plant("thread")
    with tempfile.TemporaryDirectory() as folder:
        library = _thread_library(sources(Path(folder), None))
        return _executed(_call(library, FUNCTION, calls // 5, runtime=runtime))


def _find_race(folder: Path, mutant: KernelMutant) -> str:
    runtime = _runtime("libtsan.so")
    done = _call(_thread_library(sources(folder, mutant)), FUNCTION, 400, runtime=runtime)
    said = CONTROLS[mutant.id]
    return said if said in done.stderr else ""


def _thread_library(source: Path) -> Path:
    """Compile, and link by gcc with its run-time library: Mojo's linking leaves functions out."""
    from whisper_mel_mojo.builder import BuildError, compile_mojo, target_cpu

    target = source.with_suffix(".o")
    flags = ("--emit", "object", "--sanitize", "thread", "-g1", "-O1", "--target-cpu", target_cpu())
    compile_mojo(source, target, flags)
    library = source.with_suffix(".so")
    link = ["gcc", "-shared", "-fPIC", "-fsanitize=thread", "-Wl,-Bsymbolic", "-o", str(library)]
    linked = subprocess.run(
        [*link, str(target), str(SHIM)], capture_output=True, text=True, check=False
    )
    if linked.returncode != 0:
        raise BuildError(f"the kernel cannot be linked:\n{linked.stderr}")
    return library


# --------------------------------------------------------------------------- other processors


def arm(calls: int) -> int:
    """Execute the library for C for 64-bit ARM processors."""
    return _emulated("arm", "aarch64")


def riscv(calls: int) -> int:
    """Execute the library for C for 64-bit RISC-V processors."""
    return _emulated("riscv", "riscv64")


def _emulated(lane: str, target: str) -> int:
    emulated.require(target)
    _plant(lane)
    return emulated.judge(target)


def _find_emulated(folder: Path, mutant: KernelMutant) -> str:
    finding = emulated.find(folder, mutant)
    return finding if CONTROLS[mutant.id] in finding else ""


# --------------------------------------------------------------------------- valgrind

_VALGRIND_CALLS = 300  # enough to show a planted fault; they take less time than Python's start


def valgrind(calls: int) -> int:
    """Call the kernel with all sizes from Python; findings in Python itself are ignored."""
    _require_valgrind()
    _plant("valgrind")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        done, found = _under_valgrind(folder, _valgrind_library(folder, None), calls // 10)
        demand(not found, "; ".join(found))
        return _executed(done)


def _find_by_valgrind(folder: Path, mutant: KernelMutant) -> str:
    _require_valgrind()
    library = _valgrind_library(folder, mutant)
    _, found = _under_valgrind(folder, library, _VALGRIND_CALLS)
    return next((finding for finding in found if finding.startswith(CONTROLS[mutant.id])), "")


def _require_valgrind() -> None:
    if shutil.which("valgrind") is None:
        raise Absent("there is no valgrind: ./dev system installs it, where it can")


def _valgrind_library(folder: Path, mutant: KernelMutant | None) -> Path:
    """Compile the kernel for a CPU whose instructions valgrind knows."""
    return compiled(sources(folder, mutant), "-g1", "-O1", cpu=instructions.TARGET)


def _under_valgrind(
    folder: Path, library: Path, calls: int
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Call a library under valgrind; return the run, and what was found in the library."""
    report = folder / "valgrind.xml"
    tool = ("valgrind", "--xml=yes", f"--xml-file={report}", "--leak-check=full")
    done = _call(library, FUNCTION, calls, tool=(*tool, "--track-origins=yes"))
    return done, findings(report, library)


def findings(report: Path, library: Path) -> list[str]:
    """Return kind and place of each error in valgrind's report that has a frame of the library.

    Errors of running threads are ignored: the pool's threads wait for work until the process ends,
    and memory that pthread_create allocated for them looks "possibly lost".
    """
    found = []
    for error in xml.parse(report).getroot().iter("error"):
        kind, frames = error.findtext("kind", ""), list(error.iter("frame"))
        makes_thread = any(f.findtext("fn", "").startswith("pthread_create") for f in frames)
        ours = [f for f in frames if f.findtext("obj", "") == str(library)]
        if ours and not (makes_thread and kind == "Leak_PossiblyLost"):
            place = f"{ours[0].findtext('file')}:{ours[0].findtext('line')}"
            found.append(f"{kind} at {place}")
    return found
