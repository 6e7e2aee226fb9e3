"""The quick checks: lint, and the tests that need neither a compiler nor PyTorch."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from checkout.paths import ROOT

from . import lint

SUBSET = "not compiles and not torch and not slow and not nightly"
FOLDERS = ("reference", "golden", "conformance")
"""Folders whose tests need the layer `default` only."""
# pytest's options without a value; a word after any other option may be its value, not a path.
_FLAGS = re.compile(r"-[xvqsl]+|-r\w+|--(lf|ff|nf|sw|co|collect-only|pdb|verbose|quiet)")


def layer(arguments: list[str]) -> str:
    """Return the layer that the tests need which pytest runs with these arguments."""
    paths = [
        word
        for before, word in zip(["-x", *arguments], arguments, strict=False)
        if not word.startswith("-")
        and (not before.startswith("-") or "=" in before or _FLAGS.fullmatch(before))
    ]
    folders = {re.split("/|::", word.removeprefix("./"))[0] for word in paths}
    return "default" if folders and folders <= set(FOLDERS) else "test"


# What pytest does in one process only, or for the person who sits before it.
_ALONE = {"-s", "--capture=no", "--pdb", "--trace", "--co", "--collect-only"}


def _processors() -> int:
    """Return the number of processors that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# One process more than processors: while a test waits, another one works.
SPREAD = ["-n", str(_processors() + 1), "--dist", "loadgroup", "--slow-first"]


def command(arguments: list[str]) -> list[str]:
    """Return the call of pytest with these arguments: its tests are spread over all processors
    unless the arguments say otherwise.

    Tests that are marked as one ``xdist_group`` run in one process, one after the other; the large
    groups begin first.
    """
    alone = any(word in _ALONE or word.endswith("no:xdist") or "::" in word for word in arguments)
    return ["pytest", *([] if alone else SPREAD), *arguments]


def quiet() -> None:
    """Make libraries compute on one thread: tests occupy all processors, and idle threads spin."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def run(arguments: list[str]) -> int:
    """Run lint and the tests; return 1 if either fails."""
    wrong = lint.run([])
    quiet()
    tests = command(["-q", "-m", SUBSET, *FOLDERS, "ci"])
    return 1 if subprocess.call(tests, cwd=ROOT) or wrong else 0
