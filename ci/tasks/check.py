"""The quick checks: lint, and the tests that need neither a compiler nor PyTorch."""

from __future__ import annotations

import re
import subprocess

from . import lint
from .paths import ROOT

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


def run(arguments: list[str]) -> int:
    """Run lint and the tests; return 1 if either fails."""
    wrong = lint.run([])
    command = ["pytest", "-q", "-n", "auto", "--dist", "loadfile", "-m", SUBSET, *FOLDERS, "ci"]
    return 1 if subprocess.call(command, cwd=ROOT) or wrong else 0
