"""The project's tasks: what each does, its options, the layers of the environment it needs.

./dev imports this module before there is an environment, so it uses the standard library only.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable

from checkout.paths import ROOT
from checkout.process import become

from . import build, check, conformance, gpu, lint, lock, system
from .task import LAYERS, Task, find, layers, require_compiler, walk

__all__ = ["LAYERS", "TASKS", "Task", "find", "main", "needs", "walk"]


def _env(arguments: list[str]) -> int:
    """Print the environment, which ./dev has made."""
    print(f"{sys.prefix}: Python {sys.version.split()[0]}")
    return 0


def _test(arguments: list[str]) -> int:
    # Not `python -m pytest`, which would put the root, with its folder `mojo`, first on sys.path.
    os.chdir(ROOT)
    check.quiet()
    become(*check.command(arguments))


def _golden(arguments: list[str]) -> int:
    if arguments[0] not in _MEASURES:
        become(sys.executable, "-m", "whisper_mel_golden", *arguments)
    return _module(_MEASURES[arguments[0]], "run")(arguments[1:])


_MEASURES = {
    "calibrate": "calibration.calibrate",
    "variants": "calibration.variants",
    "models": "calibration.extractors",
}


def _layer_of_docs(arguments: list[str]) -> str:
    if "--site" in arguments:
        return "site"
    return "default" if "--check" in arguments else "test"  # pictures need matplotlib


def _module(name: str, function: str) -> Callable[[list[str]], int]:
    """Return a function that imports its module when called, after ./dev has installed what it
    needs.
    """

    def run(arguments: list[str]) -> int:
        status: int = getattr(importlib.import_module(name), function)(arguments)
        return status

    return run


TASKS: dict[str, Task] = {
    "env": Task(
        "make the environment; `env test` with torch and MAX, `env peers`, …",
        run=_env,
        subtasks={
            "test": Task("with PyTorch and MAX, for the project's own tests", layer="test"),
            "peers": Task("on top of it, large front-ends", layer="peers"),
            "cuda": Task("on top of it, ptxas, compute-sanitizer and SentryWard", layer="cuda"),
            "site": Task("on top of the default one, MkDocs", layer="site"),
        },
    ),
    "check": Task(
        "lint, and the tests that need no compiler and are quick: before each commit",
        run=check.run,
    ),
    "test": Task(
        "the project's own tests; arguments go to pytest",
        "[PATH …]",
        passed_to="pytest",
        layer=check.layer,
        compiles=lambda arguments: check.layer(arguments) != "default",
        run=_test,
    ),
    "lint": Task("ruff, mypy, imports, the format of Mojo sources, the workflows", run=lint.run),
    "conformance": Task(
        "judge front-ends: --frontend, --matrix (all peers), …; `conformance report` merges",
        options=conformance.OPTIONS,
        passed_to="pytest",
        layer=conformance.layer,
        compiles=conformance.compiles,
        run=conformance.run,
        subtasks={
            "report": Task(
                "make the pages of a report.json anew; of several, one report of all",
                "PATH …",
                conformance.REPORT_OPTIONS,
            ),
            "repro": conformance.REPRO,
        },
    ),
    "golden": Task(
        "make, verify or list the goldens; calibrate the error bound; measure models' extractors",
        alone=False,
        run=_golden,
        subtasks={
            "make": Task("make them with openai-whisper", "[INPUT …]", layer="test"),
            "voxtral": Task("make those of Voxtral Realtime with transformers", layer="test"),
            "verify": Task("check every golden, name everything that is wrong"),
            "list": Task("list them: id, score, flags, purpose"),
            "vectors": Task("pack inputs, features and bounds for C and others", "FOLDER"),
            "calibrate": Task("measure how much of the bound front-ends use", layer="test"),
            "variants": Task("the same with other maxima and in half formats", layer="test"),
            "models": Task("score the extractors of the models in docs/models.md", layer="test"),
        },
    ),
    "docs": Task(
        "write the generated parts of README and docs; --check compares them",
        "[REPORT …]",
        """
--check     write nothing, name what is stale
--site      build the documentation as a site in dist/site; dead links are errors
--release   record what the versions of this release stand for (docs/versions.md)""",
        layer=_layer_of_docs,
        run=_module("docs.cli", "run"),
    ),
    "bench": Task(
        "time the kernel against other front-ends; `bench instructions` counts",
        options="""
--quick          fewer rows, less time for each
--only PATTERN   rows by id, as `openai-whisper/30s/*`; several times for several
--seconds S      for each row
--against FILE   an earlier bench.json: status 1 if a ratio fell by more than its noise
--output DIR     where bench.json goes (report)
--record         make this run docs/measurements/cpu.json
--readme         replaced by ./dev docs""",
        layer="peers",
        compiles=True,
        run=_module("bench.cli", "main"),
        subtasks={
            "instructions": Task(
                "count the kernel's instructions, and hold them to the budget",
                options="--record   make the counts the budget",
                compiles=True,
            )
        },
    ),
    "compare": Task(
        "front-ends on a recording: copies, memory, time, score, picture",
        "AUDIO",
        """
--frontend SOURCE   only these, beside ours; repeatable
--peers WHICH       none, light or all: peers besides (all without --frontend)
--n-mels N          80 or 128 bands
--picture SOURCE    the front-end shown beside ours
--seconds S         of timing, for each (1)
--output DIR        where compare.json and compare.png go (report)""",
        layer="test",
        compiles=True,
        run=conformance.compare,
    ),
    "worst": Task(
        "the worst known inputs of front-ends: replay them, search for worse ones",
        "[NAME …]",
        """
--steps N   inputs that are searched for each front-end (300)
--seed N    of the search (20)
--record    make the result the record that ./dev docs shows""",
        layer=lambda arguments: conformance.layer(
            [f"--frontend={word}" for word in arguments if word[:1] != "-"] or ["--matrix"]
        ),
        run=_module("worst.cli", "run"),
    ),
    "mutants": Task(
        "what the suite must reject, and explain: quirks, --kernel, --full, --suite, --diagnosis",
        options="""
--kernel   mutated copies of the kernel, too: each is compiled, up to an hour
--full     quirks and kernels by every quick case, and idle cases: hours
--suite    the suite's own Python by its tests instead: an hour
--diagnosis N  what the diagnosis says of N drawn front-ends of each group instead: an hour for 50
--seed N   of what is drawn (0)
--record   write it to docs/measurements, from where ./dev docs shows it
--resume   only what the file lacks
-k WORD    only mutants whose id, or groups whose name, has the word in it
-n N       processes that judge: as many as there are processors without it; 0: one""",
        # Mutated code for GPUs is launched, which takes MAX.
        layer=lambda arguments: "test" if {"--kernel", "--full"} & {*arguments} else "default",
        compiles=lambda arguments: bool({"--kernel", "--full"} & {*arguments}),
        run=_module("mutants.cli", "run"),
    ),
    "sanitize": Task(
        "address, thread, guard … lanes, planted faults first",
        alone=False,
        run=_module("sanitize.cli", "run"),
        subtasks={
            name: Task(
                summary,
                options="--nightly   100,000 calls instead of 3,000, and all cases",
                compiles=True,
                layer=layer,
            )
            for name, summary, layer in [
                ("address", "AddressSanitizer on the kernel for CPUs", "default"),
                ("thread", "ThreadSanitizer on the CPU's kernel", "default"),
                ("valgrind", "memory read before it is written, or never given back", "default"),
                ("arm", "the library for 64-bit ARM under qemu: bits and the suite", "default"),
                ("riscv", "likewise: 64-bit RISC-V", "default"),
                ("guard", "guard pages around the audio of every front-end", "default"),
                ("network", "no socket to a network is opened, by whatever is judged", "default"),
                ("schedules", "SentryWard on NVIDIA's code: every order of threads", "cuda"),
                ("memcheck", "compute-sanitizer on the kernel for GPUs", "cuda"),
                ("racecheck", "likewise: races in shared memory", "cuda"),
                ("initcheck", "likewise: memory read before it is written", "cuda"),
                ("synccheck", "likewise: barriers that not all threads reach", "cuda"),
                ("all", "all lanes that this machine can run; says which it cannot", "default"),
            ]
        },
    ),
    "repro": conformance.REPRO,
    "gpu": Task(
        "the kernel for GPUs: compile, driver, reproduce; bundle, run, record",
        layer="test",
        alone=False,
        run=gpu.run,
        subtasks={
            "compile": Task(
                "for every target, and hold it to the budget",
                "[TARGET …]",
                layer="test",
                compiles=True,
            ),
            "execute": Task(
                "run the code on a CPU, watched: score, findings, bits",
                "[FILE …]",
                """
--target NAME   compile it for this: sm_80, gfx942, apple-m4, …
--bands N       80 or 128
--kernel N      of files: 0 for many clips, 1 for few, 2 smoothed
--audio WAV     speech, 16 bits, 16 kHz, mono""",
                layer="test",
                compiles=True,
            ),
            "count": Task(
                "count what NVIDIA's code executes; held to the record within 2 %",
                "[TARGET …]",
                "--record   make the counts the record",
                layer="test",
                compiles=True,
            ),
            "mutants": Task(
                "change NVIDIA's code, statement by statement: which changes show, and how",
                "[TARGET …]",
                "--record   make the results the record",
                layer="test",
                compiles=True,
            ),
            "driver": Task(
                "count what a call asks of the CUDA driver",
                passed_to="pytest",
                layer="test",
                compiles=True,
            ),
            "reproduce": Task(
                "build the faults of the bug report",
                passed_to="pytest",
                layer="test",
                compiles=True,
            ),
            "bundle": Task(
                "an archive for machines with a GPU, into dist/",
                options="""
--target NAME   sm_90a, … (repeatable)
--bare          no planted faults, no mappings""",
                layer="test",
                compiles=True,
            ),
            "run": Task(
                "checks and measurements that need a GPU", options=gpu.RUN_OPTIONS, layer="cuda"
            ),
            "record": Task("take a gpu.json into docs/measurements", "FILE …"),
        },
    ),
    "build": Task(
        "in dist/: wheels and sources; `build c`: for C; `build vectors`: the vector set",
        layer=build.layer,
        compiles=build.compiles,
        run=build.run,
        subtasks={
            "wheels": Task(
                "wheels and sources of the packages: reference, golden, conformance, mojo",
                "[PACKAGE …]",
                "--accelerator NAME   with libraries for this GPU (repeatable); none: for none\n"
                "--target aarch64     the kernel's wheel alone, for ARM's 64-bit processors",
                layer=build.layer,
                compiles=build.compiles,
            ),
            "c": Task("the library for C and its header, for this machine", compiles=True),
            "vectors": Task("the vector sets: inputs, features, bounds, loaders, a verifier in C"),
            "sbom": Task("the bill of materials: what is in the packages, and what they need"),
            "rehearse": Task(
                "a release up to its publication: builds, checks and uses what would be published",
                compiles=True,
            ),
            "publish": Task("hand what is in dist/ to the index and to the release", "vVERSION"),
        },
    ),
    "system": Task("install programs that checks need: g++, valgrind, qemu, …", run=system.run),
    "lock": Task(
        "resolve ci/locks/*.in anew; the pins and tasks of pixi.toml",
        passed_to="uv",
        run=lambda arguments: lock.run(arguments, TASKS),
        subtasks={"pixi": Task("have pixi make a pixi.lock, where it is")},
    ),
}


def needs(arguments: list[str]) -> tuple[str, ...]:
    """Return the layers that the named task needs. Ends the program as ``find`` does."""
    name, task, rest = find(TASKS, arguments)
    require_compiler(name, task, rest)
    return layers(task, rest)


def main(arguments: list[str]) -> int:
    """Run the task that ``arguments`` name; return its exit status."""
    find(TASKS, arguments)
    run = TASKS[arguments[0]].run
    assert run is not None
    try:
        return run(arguments[1:])
    except KeyboardInterrupt:
        return 130
