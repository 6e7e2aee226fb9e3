"""What others get: wheels and source distributions, the library for C, the vector set. In dist/."""

from __future__ import annotations

import subprocess
import sys

from . import release, wheels
from .paths import ROOT
from .task import refuse


def layer(arguments: list[str]) -> str:
    """Only libraries for GPUs take MAX."""
    packages, accelerators = _wanted(arguments)
    return "test" if "mojo" in packages and accelerators else "default"


def compiles(arguments: list[str]) -> bool:
    """Of the packages, only the kernel's is compiled."""
    return "mojo" in _wanted(arguments)[0]


def _wanted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Packages and accelerators of ``[wheels] …``. Ends the program if they mean nothing."""
    try:
        return wheels.parse(arguments[1:] if arguments[:1] == ["wheels"] else arguments)
    except ValueError as error:
        refuse(f"build wheels: {error}")


def run(arguments: list[str]) -> int:
    """Builds what `arguments` name first; wheels, if nothing."""
    dist = ROOT / "dist"
    what, *rest = arguments or ["wheels"]
    if what == "c":
        return subprocess.call([sys.executable, "-m", "whisper_mel_mojo.c_library", str(dist)])
    if what == "vectors":
        return subprocess.call([sys.executable, "-m", "whisper_mel_golden", "vectors", str(dist)])
    if what == "publish":
        return release.publish(dist, rest)
    packages, accelerators = _wanted(rest)
    return wheels.build(dist, packages, accelerators)
