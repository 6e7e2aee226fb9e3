"""The task that resolves ci/locks/*.in into hash-pinned *.txt, for Python 3.10 to 3.14.

One universal resolution serves every platform that Mojo runs on. The locks name no address of an
index. torch has locks of its own: torch.txt (from torch.in) holds the package index's build and its
dependencies; torch-cpu.txt is written by hand, since not every index has the CPU wheel's hash. The
pins are then copied to pixi.toml.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping

from checkout.paths import LOCKS

from . import pixi
from .task import Task

UV = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.10"]
UV += ["--generate-hashes", "--no-emit-index-url", "--no-header", "--no-annotate"]
# Each takes over the pins of those before it, on top of which it is installed.
LOCK_FILES = ["default", "golden", "docs", "test", "torch", "peers", "cuda", "site"]


def run(arguments: list[str], tasks: Mapping[str, Task]) -> int:
    """Write the locks, and pixi.toml with the tasks, anew; print what changed.

    `arguments` (as `--upgrade`) go to uv; `pixi` alone lets pixi make a pixi.lock, where it is.
    """
    if arguments == ["pixi"]:
        return pixi.solve()
    before = {name: pins(name) for name in LOCK_FILES}
    constraints: list[str] = []
    for name in LOCK_FILES:
        command = [*UV, f"{name}.in", f"--output-file={name}.txt", *constraints, "--excludes=-"]
        excluded = "\n".join(package for package in left_out() if package != name)
        status = subprocess.run([*command, *arguments], cwd=LOCKS, input=excluded, text=True)
        if status.returncode:
            return status.returncode
        print("\n".join([f"ci/locks/{name}.txt", *changes(before[name], pins(name))]), flush=True)
        constraints.append(f"--constraint={name}.txt")
    print(f"pixi.toml: {'written' if pixi.write(tasks) else 'as it was'}")
    return 0


def left_out() -> list[str]:
    """List the dependencies that no lock holds: ``PACKAGE  # without DEPENDENCY …`` in a *.in."""
    text = "\n".join(path.read_text() for path in LOCKS.glob("*.in"))
    found = re.findall(r"^[^#\n]+# without (.+)$", text, re.MULTILINE)
    return sorted({word for words in found for word in words.split()})


def pins(name: str) -> dict[str, str]:
    """Return the version of each package in a lock; several, with commas, for several Pythons."""
    path = LOCKS / f"{name}.txt"
    found: dict[str, list[str]] = {}
    for package, version in re.findall(
        r"^([\w.-]+)==([^\s;]+)", path.read_text() if path.exists() else "", re.MULTILINE
    ):
        found.setdefault(package, []).append(version)
    return {package: ", ".join(versions) for package, versions in found.items()}


def changes(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """List a line for each package whose version differs: ``  numpy: 2.4.5 → 2.4.6``."""
    return [
        f"  {package}: {old.get(package, '(none)')} → {new.get(package, '(none)')}"
        for package in sorted(old.keys() | new.keys())
        if old.get(package) != new.get(package)
    ]
