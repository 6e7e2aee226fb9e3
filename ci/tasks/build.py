"""Building of releases in dist/: wheels and source distributions, the library for C, the vector
set.
"""

from __future__ import annotations

import subprocess
import sys

from checkout.paths import ROOT
from release import publication, rehearsal, sbom, wheels

from .task import refuse


def layer(arguments: list[str]) -> str:
    """Return the layer that a build needs; only libraries for GPUs need MAX."""
    wanted = _wanted(arguments)
    return "test" if "mojo" in wanted.packages and wanted.accelerators != [] else "default"


def compiles(arguments: list[str]) -> bool:
    """Return whether a build needs a C compiler; only the kernel's package does."""
    return "mojo" in _wanted(arguments).packages


def _wanted(arguments: list[str]) -> wheels.Wanted:
    """Return what ``[wheels] …`` asks for; end the program if it is invalid."""
    try:
        return wheels.parse(arguments[1:] if arguments[:1] == ["wheels"] else arguments)
    except ValueError as error:
        refuse(f"build wheels: {error}")


def run(arguments: list[str]) -> int:
    """Build what the first argument names; without arguments the wheels."""
    dist = ROOT / "dist"
    what, *rest = arguments or ["wheels"]
    if what == "c":
        return subprocess.call([sys.executable, "-m", "whisper_mel_mojo.c_library", str(dist)])
    if what == "vectors":
        return subprocess.call([sys.executable, "-m", "whisper_mel_golden", "vectors", str(dist)])
    if what == "sbom":
        print(sbom.write(dist))
        return 0
    if what == "rehearse":
        return rehearsal.run()
    if what == "publish":
        return publication.publish(dist, rest)
    wanted = _wanted(rest)
    if wanted.target:
        return wheels.build_for(dist, wanted.target)
    return wheels.build(dist, wanted.packages, wanted.accelerators)
