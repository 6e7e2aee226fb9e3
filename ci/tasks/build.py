"""Build wheels and source distributions."""

from __future__ import annotations

import subprocess

from .paths import PACKAGES, ROOT


def run(arguments: list[str]) -> int:
    """Builds every package into dist/; `arguments` (as `-t wheel`) go to hatchling."""
    command = ["hatchling", "build", "--directory", str(ROOT / "dist"), *arguments]
    return max(subprocess.call(command, cwd=package) for package in PACKAGES)
