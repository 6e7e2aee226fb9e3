"""Sanitizers: each lane first finds the faults that are planted for it, then runs the real thing.

    ./dev sanitize address      AddressSanitizer on the CPU's and the lockstep kernel, fuzzed sizes
    ./dev sanitize thread       ThreadSanitizer on the CPU's kernel with several threads
    ./dev sanitize guard        guard pages around the audio of every front-end that is installed
    ./dev sanitize memcheck     compute-sanitizer's tools: not written yet, status 3; racecheck,
                                initcheck, synccheck likewise
    ./dev sanitize all          all lanes that this machine can run; says which it cannot

``--nightly`` makes 100,000 calls instead of 3,000. Exit status: 0 clean, 1 something was found or a
planted fault was not, 3 the lane cannot run here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from mutants.cli import KERNEL, KernelMutant
from tasks.paths import ROOT

SIZES = ROOT / "ci" / "sanitize" / "sizes.py"
SHIM = ROOT / "ci" / "sanitize" / "tsan_shim.c"
FOUND, ABSENT = 1, 3
GPU_TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")

# What AddressSanitizer must say of each, beside naming a line of the kernel.
ADDRESS_CONTROLS = {
    "heap-buffer-overflow": KernelMutant(
        "audio read beyond its end",
        "cpu",
        "if start >= 0 and start + count <= job.samples:",
        "if start >= 0 and start + count <= job.samples + HOP:",
        "",
    ),
    "stack-buffer-overflow": KernelMutant(
        "scratch memory too small",
        "cpu",
        "stack_allocation[Layout[W].SIZE, Float32, alignment=4096]()",
        "stack_allocation[Layout[W].SIZE - 64, Float32, alignment=4096]()",
        "",
    ),
}
THREAD_CONTROL = KernelMutant(
    "no wait between the passes",
    "cpu",
    "wait_until(pool[].done_first, Int64(job.items()))",
    "pass",
    "",
)


class Absent(Exception):
    """Why a lane cannot run here."""


def run(arguments: list[str]) -> int:
    """Runs a lane; see the module for the exit status."""
    lanes: dict[str, Callable[[int], int]] = {
        "address": _address,
        "thread": _thread,
        "guard": _guard,
        **{tool: _gpu(tool) for tool in GPU_TOOLS},
    }
    parser = argparse.ArgumentParser(
        prog="./dev sanitize",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("lane", choices=(*lanes, "all"))
    parser.add_argument("--nightly", action="store_true", help="100,000 calls instead of 3,000")
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
    except AssertionError as finding:
        print(f"{name}: {finding}")
        return FOUND
    if executed == 0:
        print(f"{name}: nothing was executed")
        return FOUND
    print(f"{name}: {executed} cases executed, no finding")
    return 0


# --------------------------------------------------------------------------- AddressSanitizer


def _runtime(name: str) -> str:
    """gcc's run-time library, to be loaded before Python's own allocator is used."""
    if shutil.which("gcc") is None:
        raise Absent("there is no gcc")
    words = ["gcc", f"-print-file-name={name}"]
    path = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    if not os.path.isabs(path):
        raise Absent(f"gcc has no {name}")
    return path


def _sources(folder: Path, mutant: KernelMutant | None) -> Path:
    """The kernel's sources in a folder, mutated or not; the kernel's path."""
    for file in KERNEL.parent.glob("*.mojo"):
        (folder / file.name).write_text(file.read_text(encoding="utf-8"))
    if mutant is not None:
        (folder / KERNEL.name).write_text(mutant.source(), encoding="utf-8")
    return folder / KERNEL.name


def _call(
    library: Path, runtime: str, function: str, calls: int, *words: str
) -> subprocess.CompletedProcess[str]:
    """Runs ``sizes.py`` on a library, under a sanitizer."""
    return subprocess.run(
        [sys.executable, str(SIZES), str(library), function, str(calls), "1", *words],
        env={
            **os.environ,
            "LD_PRELOAD": runtime,
            "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
            "TSAN_OPTIONS": "exitcode=66:report_bugs=1",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def _executed(done: subprocess.CompletedProcess[str]) -> int:
    """How many calls a clean run has made; ``AssertionError`` with what was found otherwise."""
    assert done.returncode == 0, f"exit status {done.returncode}\n{_relevant(done.stderr)}"
    counts = json.loads(done.stdout.splitlines()[-1])
    print(f"   {done.stdout.splitlines()[-1]}", flush=True)
    assert min(counts.values()) > 0, f"not all was tried: {counts}"
    return int(counts["calls"])


def _relevant(text: str) -> str:
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if "Sanitizer" in line), 0)
    return "\n".join(lines[start : start + 30])


def _address(calls: int) -> int:
    from whisper_mel_mojo.builder import built_library

    runtime = _runtime("libasan.so")
    options = ("--sanitize", "address", "-g1", "-O1")
    name = "whisper_mel_log_mel"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WHISPER_MEL_CACHE"] = str(Path(folder) / "cache")
        try:
            for kind, mutant in ADDRESS_CONTROLS.items():
                part = Path(folder) / kind
                part.mkdir()
                library = built_library(_sources(part, mutant), *options)
                _control(kind, mutant.id, _call(library, runtime, name, 3000))
            library = built_library(_sources(Path(folder), None), *options)
            done = _call(library, runtime, name, 100, "use-after-free")
            _control("heap-use-after-free", "audio freed by the caller", done)
            executed = _executed(_call(library, runtime, name, calls))
            lockstep = built_library(Path(folder) / "lockstep.mojo", *options, "-D", "UNWATCHED")
            done = _call(lockstep, runtime, "whisper_mel_lockstep", calls // 20)
            return executed + _executed(done)
        finally:
            del os.environ["WHISPER_MEL_CACHE"]


def _control(kind: str, what: str, done: subprocess.CompletedProcess[str]) -> None:
    """A planted fault must be found, with a line of the kernel."""
    assert kind in done.stderr, f"the planted fault is missed: {what}\n{done.stderr[-2000:]}"
    assert f"{KERNEL.name}:" in done.stderr, f"no line of {KERNEL.name} is named: {what}"
    print(f"   planted: {what}: found ({kind})", flush=True)


# --------------------------------------------------------------------------- ThreadSanitizer


def _thread(calls: int) -> int:
    runtime = _runtime("libtsan.so")
    with tempfile.TemporaryDirectory() as folder:
        faulty = Path(folder) / "faulty"
        faulty.mkdir()
        library = _thread_library(_sources(faulty, THREAD_CONTROL))
        done = _call(library, runtime, "whisper_mel_log_mel", 400)
        found = "data race" in done.stderr
        assert found, f"the planted race is missed\n{done.stderr[-2000:]}"
        print(f"   planted: {THREAD_CONTROL.id}: found (data race)", flush=True)
        library = _thread_library(_sources(Path(folder), None))
        return _executed(_call(library, runtime, "whisper_mel_log_mel", calls // 5))


def _thread_library(source: Path) -> Path:
    """Linked by gcc, with its run-time library: Mojo's own linking leaves functions out."""
    from whisper_mel_mojo.builder import run_compiler, target_cpu

    target = source.with_suffix(".o")
    words = ["build", "--emit", "object", "--sanitize", "thread", "-g1", "-O1"]
    words += ["--target-cpu", target_cpu(), str(source), "-o", str(target)]
    built = run_compiler(words)
    assert built.returncode == 0, f"the kernel does not compile:\n{built.stderr}"
    library = source.with_suffix(".so")
    link = ["gcc", "-shared", "-fPIC", "-fsanitize=thread", "-Wl,-Bsymbolic", "-o", str(library)]
    linked = subprocess.run(
        [*link, str(target), str(SHIM)], capture_output=True, text=True, check=False
    )
    assert linked.returncode == 0, f"the kernel cannot be linked:\n{linked.stderr}"
    return library


# --------------------------------------------------------------------------- guard pages


def _guard(calls: int) -> int:
    from whisper_mel_conformance.quirks.killing import kill
    from whisper_mel_conformance.running import Run

    for name in ("read-beyond-end", "read-before-start", "write-beyond-out"):
        result = kill(name)
        assert result.status == "failed", f"the planted fault is missed: {name}"
        print(f"   planted: {name}: found ({result.message.splitlines()[0][:60]})", flush=True)
    run = Run(["mojo-cpu"], with_peers="light")
    try:
        for front_end, case in run.plan():
            if case.family in ("buffers", "batch") and "guard-" in case.id:
                run.judge(front_end, case)
    finally:
        run.stop()
    failed = [result for result in run.results if result.status == "failed"]
    for front_end in run.front_ends:
        passed, known = (len(run.of(front_end.name, status)) for status in ("passed", "known"))
        print(f"   {front_end.name}: {passed} passed, {known} declared", flush=True)
    for name, why in run.unavailable.items():
        print(f"   not available: {name} ({why})")
    findings = "; ".join(f"{r.front_end} {r.case.id}: {r.message[:100]}" for r in failed)
    assert not failed, findings
    return sum(result.status == "passed" for result in run.results)


# --------------------------------------------------------------------------- GPUs


def _gpu(tool: str) -> Callable[[int], int]:
    def lane(calls: int) -> int:
        if shutil.which("compute-sanitizer") is None:
            raise Absent(f"no GPU: compute-sanitizer, of which {tool} is a part, is not installed")
        if not list(Path("/dev").glob("nvidia[0-9]*")):
            raise Absent("no GPU")
        raise Absent("compute-sanitizer's lanes are not written yet: what they run needs a GPU")

    return lane
