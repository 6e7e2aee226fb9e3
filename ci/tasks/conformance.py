"""Judge front-ends; for `--matrix`, with every peer there is, install the JavaScript ones first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from . import checkout
from .paths import ROOT
from .process import become

PEERS = ROOT / "conformance" / "whisper_mel_conformance" / "peers"


def layers(arguments: list[str]) -> tuple[str, ...]:
    """The peers that `--matrix` adds need PyTorch, and more than everybody should have."""
    return ("default", "test", "peers") if "--matrix" in arguments else ("default",)


def run(arguments: list[str]) -> int:
    """`arguments` go to the suite's command line."""
    if "--matrix" in arguments:
        _install_javascript_peers()
    os.environ.update(checkout.variables())
    become(sys.executable, "-m", "whisper_mel_conformance", *arguments, *_beside(arguments))


def _beside(arguments: list[str]) -> list[str]:
    """What was measured in this checkout, for the report to show."""
    found = []
    for option, name in (("--benchmark", "cpu.json"), ("--mutants", "mutants.json")):
        path = ROOT / "docs" / "measurements" / name
        if path.exists() and arguments[:1] != ["repro"] and option not in arguments:
            found += [option, str(path)]
    return found


def _install_javascript_peers() -> None:
    """By npm, from the lock beside each. Without npm, or where that fails, they are not judged."""
    npm = shutil.which("npm")
    for lock in sorted(PEERS.glob("*/package-lock.json")):
        done = lock.parent / "node_modules" / ".package-lock.json"  # npm writes it last
        if done.exists() and done.stat().st_mtime >= lock.stat().st_mtime:
            continue
        if npm is None:
            print(f"npm is missing: {lock.parent.name} is not judged", file=sys.stderr)
        elif subprocess.call([npm, "ci", "--ignore-scripts", "--no-audit"], cwd=lock.parent):
            print(f"npm failed: {lock.parent.name} is not judged", file=sys.stderr)
