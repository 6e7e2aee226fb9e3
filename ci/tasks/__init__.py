"""The project's tasks: what each does and which layers of the environment it needs.

This module is imported by ./dev before there is an environment: standard library only.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from . import bench, build, conformance, gpu, lint, lock, system
from .paths import ROOT
from .process import become

__all__ = ["TASKS", "Task", "find", "main"]

DEFAULT = ("default",)
TEST = ("default", "test")
LAYERS = {"test": TEST, "peers": (*TEST, "peers"), "cuda": (*TEST, "cuda")}  # by what `env` is told


@dataclass(frozen=True)
class Task:
    """One task: ``run(arguments)`` returns the exit status, ``layers(arguments)`` what it needs."""

    summary: str
    run: Callable[[list[str]], int]
    layers: Callable[[list[str]], tuple[str, ...]] = lambda arguments: DEFAULT


def _alone(name: str, task: Callable[[list[str]], int]) -> Callable[[list[str]], int]:
    """A task that takes no arguments: says so instead of ignoring them."""

    def run(arguments: list[str]) -> int:
        if arguments:
            sys.exit(f"{name} {' '.join(arguments)}: expected no arguments")
        return task(arguments)

    return run


def _env_layers(arguments: list[str]) -> tuple[str, ...]:
    if not arguments:
        return DEFAULT
    if len(arguments) > 1 or arguments[0] not in LAYERS:
        sys.exit(f"env {' '.join(arguments)}: expected nothing or one of {', '.join(LAYERS)}")
    return LAYERS[arguments[0]]


def _env(arguments: list[str]) -> int:
    """Nothing is left to do: ./dev has made the environment."""
    print(f"{sys.prefix}: Python {sys.version.split()[0]}")
    return 0


def _test(arguments: list[str]) -> int:
    # The script, not `python -m pytest`: that would put the root, with its folder `mojo`, first
    # on sys.path.
    os.chdir(ROOT)
    become("pytest", *arguments)


def _golden(arguments: list[str]) -> int:
    if arguments[:1] != ["calibrate"]:
        become(sys.executable, "-m", "whisper_mel_golden", *arguments)
    status: int = importlib.import_module("calibration.calibrate").run(arguments[1:])
    return status


def _docs(arguments: list[str]) -> int:
    status: int = importlib.import_module("docs.cli").run(arguments)
    return status


def _repro(arguments: list[str]) -> int:
    return conformance.run(["repro", *arguments])


def _mutants(arguments: list[str]) -> int:
    status: int = importlib.import_module("mutants.cli").run(arguments)  # late: it needs packages
    return status


def _sanitize(arguments: list[str]) -> int:
    status: int = importlib.import_module("sanitize.cli").run(arguments)
    return status


def _compare(arguments: list[str]) -> int:
    status: int = importlib.import_module("compare.cli").main(arguments)
    return status


TASKS = {
    "env": Task(
        "make the environment; `env test` with torch and MAX, `env peers`, `env cuda`",
        _env,
        _env_layers,
    ),
    "test": Task("the project's own tests; arguments go to pytest", _test, lambda arguments: TEST),
    "lint": Task("ruff, mypy, the format of Mojo sources, the workflows", _alone("lint", lint.run)),
    "conformance": Task(
        "judge front-ends: --frontend, --matrix (all peers), …; `conformance report` merges",
        conformance.run,
        conformance.layers,
    ),
    "golden": Task(
        "make, verify or list the goldens; calibrate the error bound",
        _golden,
        lambda arguments: TEST if arguments[:1] in (["make"], ["calibrate"]) else DEFAULT,
    ),
    "docs": Task("write the generated parts of README and docs; --check compares them", _docs),
    "bench": Task(
        "time the kernel against other front-ends; `bench instructions` counts",
        bench.run,
        bench.layers,
    ),
    "compare": Task(
        "front-ends on a recording: copies, memory, time, score, picture",
        _compare,
        lambda arguments: TEST,
    ),
    "mutants": Task("what the suite must reject: quirks, --kernel, --full", _mutants),
    "sanitize": Task("address, thread, guard … lanes, planted faults first", _sanitize),
    "repro": Task("replay a failing case: --shrink, --issue, --keep NAME --link URL", _repro),
    "gpu": Task(
        "the kernel for GPUs: compile, driver, reproduce; bundle, run, record",
        gpu.run,
        lambda arguments: TEST,
    ),
    "build": Task(
        "in dist/: wheels and sources; `build c`: for C; `build vectors`: the vector set",
        build.run,
    ),
    "system": Task(
        "install programs that checks need: g++, valgrind, chromium", _alone("system", system.run)
    ),
    "lock": Task("resolve ci/locks/*.in anew; the pins and tasks of pixi.toml", lock.run),
}


def find(arguments: list[str]) -> Task:
    """The task that `arguments` name first; otherwise ends the program with the list of tasks."""
    if arguments and arguments[0] in TASKS:
        return TASKS[arguments[0]]
    listing = "\n".join(f"  {name:12} {task.summary}" for name, task in TASKS.items())
    usage = f"usage: ./dev TASK [arguments]\n{listing}"
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage)
        sys.exit(0)
    sys.exit(f"unknown task {arguments[0]!r}\n{usage}")


def main(arguments: list[str]) -> int:
    """Runs the task that `arguments` name first; returns its exit status."""
    try:
        return find(arguments).run(arguments[1:])
    except KeyboardInterrupt:
        return 130
