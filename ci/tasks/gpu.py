"""The kernel for GPUs, on machines without a GPU and with one.

`compile` compiles it for every target of whisper_mel_mojo/gpu/targets.py, assembles NVIDIA's with
`ptxas` if that is installed, and compares the result with the budget. `driver` counts the calls of
a stand-in for the CUDA driver. `reproduce` builds the faults of the bug report and shows what
catches them.

`execute` runs the compiled code on a CPU, watched, on speech and noise: of a target, or given as
files (as `whisper_mel_mojo/gpu/code.py` returns it: the line of the mapping, then PTX or LLVM IR).

`count` counts what such code executes for a clip of 30 s, and compares the counts with
docs/measurements/kernel-counts.json.

`mutants` changes the compiled code, statement by statement, and says which changes show.

`bundle` packs all that a machine with a GPU needs into one archive in dist/; `ci/gpu/run` in it, or
`run` here, runs the sections that need a GPU, with the same arguments. `record` copies the gpu.json
of such a run into docs/measurements/; `./dev docs` shows it in docs/gpu.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from checkout.paths import ROOT
from checkout.process import become

RUN_OPTIONS = """
--only SECTION     these sections alone, with commas between them
--budget SECONDS   for all of it together
--resume           keep what has passed already
--output DIR       where gpu.json goes (gpu-report)"""
_TESTS = {
    "driver": ["mojo/tests/test_mojo_launch.py", "mojo/tests/test_mojo_gpu.py"],
    "reproduce": [
        "mojo/tests/test_mojo_bug_report.py",
        "mojo/tests/test_mojo_emulated_kernel.py::test_the_gallery_of_faults[16000]",
    ],
}


def run(arguments: list[str]) -> int:
    """Run one of the subcommands; return 1 if a check fails."""
    parser = argparse.ArgumentParser(prog="./dev gpu")
    commands = parser.add_subparsers(dest="command", required=True)
    names = ("compile", "execute", "count", "mutants", "bundle", "run", "record", *_TESTS)
    of = {name: commands.add_parser(name) for name in names}
    for name in ("compile", "count", "mutants"):
        of[name].add_argument("target", nargs="*")
    for name in ("count", "mutants"):
        of[name].add_argument("--record", action="store_true")
    of["execute"].add_argument("file", nargs="*", type=Path)
    of["execute"].add_argument("--target")
    of["execute"].add_argument("--bands", type=int, default=80, choices=(80, 128))
    of["execute"].add_argument("--kernel", type=int, choices=(0, 1, 2))
    of["execute"].add_argument("--audio", type=Path)
    of["bundle"].add_argument("--target", action="append")
    of["bundle"].add_argument("--bare", action="store_true")
    of["record"].add_argument("file", nargs="+", type=Path)
    if arguments[:1] == ["run"]:
        become(sys.executable, str(ROOT / "ci" / "gpu" / "run"), *arguments[1:])
    options, rest = parser.parse_known_args(arguments)
    if options.command in _TESTS:
        return subprocess.call(["pytest", *_TESTS[options.command], *rest], cwd=ROOT)
    if rest:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    if options.command == "bundle":
        return _bundle(options.target, options.bare)
    if options.command == "record":
        return _record(options.file)
    try:
        if options.command == "execute":
            return _execute(options)
        if options.command == "count":
            return _count(options.target, options.record)
        if options.command == "mutants":
            return _mutants(options.target, options.record)
        return _compile(options.target)
    except ValueError as error:
        parser.error(str(error))


def _compile(names: list[str]) -> int:
    from gpu.compile.budget import BANDS, budget_of, measure_all, report
    from gpu.compile.code import find_ptxas
    from whisper_mel_mojo.gpu.targets import TARGETS

    for name in names:
        if name not in TARGETS:
            raise ValueError(f"compile {name}: expected of {', '.join(TARGETS)}")
    if find_ptxas() is None:
        print("ptxas is not installed: registers and spills of NVIDIA's targets are not checked")
    budget = {
        (name, n_mels, kernel): budget_of(TARGETS[name], n_mels, kernel)
        for name in names or TARGETS
        for n_mels in BANDS
        for kernel in TARGETS[name].all_kernels
    }
    return report(budget, measure_all(list(budget)))


def _execute(options: argparse.Namespace) -> int:
    from gpu.execute.calls import execute
    from whisper_mel_mojo.gpu.emulator.kernels import Kernels
    from whisper_mel_mojo.gpu.targets import KERNELS, TARGETS

    kind = options.kernel or 0
    programs = {it.name: (kind, it.read_text(encoding="utf-8")) for it in options.file}
    if options.target or not programs:
        target = options.target or "sm_90a"
        if target not in TARGETS:
            raise ValueError(f"--target {target}: expected one of {', '.join(TARGETS)}")
        kernels = Kernels(target, options.bands)
        programs |= {f"{target}, {KERNELS[it]}": (it, kernels.text(it)) for it in kernels.kinds}
    return execute(programs, options.bands, options.audio)


def _count(names: list[str], save: bool) -> int:
    from gpu.compile.budget import BANDS
    from gpu.execute.counts import run
    from whisper_mel_mojo.gpu.targets import NVIDIA

    for name in names:
        if name not in NVIDIA:
            raise ValueError(f"count {name}: expected of {', '.join(NVIDIA)}")
    return run([(name, n) for name in names or ("sm_80", "sm_90a") for n in BANDS], save)


def _mutants(names: list[str], save: bool) -> int:
    from gpu.execute.mutants import TARGETS, run
    from whisper_mel_mojo.gpu.targets import NVIDIA

    for name in names:
        if name not in NVIDIA:
            raise ValueError(f"mutants {name}: expected of {', '.join(NVIDIA)}")
    return run(names or TARGETS, save)


def _bundle(targets: list[str] | None, bare: bool) -> int:
    from gpu.pack import bundle
    from whisper_mel_mojo.builder import BuildError

    try:
        kinds = () if bare else tuple(bundle.KINDS)
        archive = bundle.make(ROOT / "dist", targets or bundle.default_targets(), kinds)
    except (BuildError, FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{archive}: {archive.stat().st_size / 1e6:.1f} MB")
    return 0


def _record(files: list[Path]) -> int:
    from gpu import keeping

    try:
        for file in files:
            print(f"written: {keeping.keep(file)}")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print("`./dev docs` shows it in docs/gpu.md")
    return 0
