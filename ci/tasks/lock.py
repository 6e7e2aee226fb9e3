"""Resolve ci/locks/*.in into hash-pinned *.txt without addresses, for Python 3.10 to 3.14.

One universal resolution serves every platform that Mojo runs on. torch has locks of its own:
torch.txt (from torch.in) holds the package index's build and what it loads; torch-cpu.txt is
written by hand, since the CPU wheel's hash cannot be had from every index. The pins are then
carried over to pixi.toml.
"""

from __future__ import annotations

import re
import subprocess

from . import pixi
from .paths import LOCKS

UV = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.10"]
UV += ["--generate-hashes", "--no-emit-index-url", "--no-header", "--no-annotate"]
# In this order, each takes the pins of those before it: they are installed on top of each other.
LOCK_FILES = ["default", "golden", "docs", "test", "torch", "peers", "cuda"]
# triton (1 GB, which log-Mel never touches) comes with openai-whisper and torch; torch itself is
# only in its own lock. keras-hub asks for the others, for TensorFlow and for downloads.
LEFT_OUT = ["torch", "triton", "tensorflow-text", "kagglehub", "kagglesdk"]


def run(arguments: list[str]) -> int:
    """Regenerates the locks and pixi.toml, and prints what changed.

    `arguments` (as `--upgrade`) go to uv; `pixi` alone: pixi makes a pixi.lock, where it is.
    """
    if arguments == ["pixi"]:
        return pixi.solve()
    before = {name: pins(name) for name in LOCK_FILES}
    constraints: list[str] = []
    for name in LOCK_FILES:
        command = [*UV, f"{name}.in", f"--output-file={name}.txt", *constraints, "--excludes=-"]
        left_out = "\n".join(package for package in LEFT_OUT if package != name)
        status = subprocess.run([*command, *arguments], cwd=LOCKS, input=left_out, text=True)
        if status.returncode:
            return status.returncode
        print("\n".join([f"ci/locks/{name}.txt", *changes(before[name], pins(name))]), flush=True)
        constraints.append(f"--constraint={name}.txt")
    print(f"pixi.toml: {'written' if pixi.write() else 'as it was'}")
    return 0


def pins(name: str) -> dict[str, str]:
    """Package -> its version in a lock; several, with commas, where it depends on the Python."""
    path = LOCKS / f"{name}.txt"
    found: dict[str, list[str]] = {}
    for package, version in re.findall(
        r"^([\w.-]+)==([^\s;]+)", path.read_text() if path.exists() else "", re.MULTILINE
    ):
        found.setdefault(package, []).append(version)
    return {package: ", ".join(versions) for package, versions in found.items()}


def changes(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """A line for each package whose versions differ: ``  numpy: 2.4.5 → 2.4.6``."""
    return [
        f"  {package}: {old.get(package, '(none)')} → {new.get(package, '(none)')}"
        for package in sorted(old.keys() | new.keys())
        if old.get(package) != new.get(package)
    ]
