"""What others get: wheels and source distributions, the library for C, the vector set. In dist/."""

from __future__ import annotations

import subprocess
import sys

from . import release, wheels
from .paths import PACKAGES, ROOT

USAGE = """usage: ./dev build [wheels] [--accelerator NAME]…   wheels, and sources, of the packages
       ./dev build c          the library for C and its header, for this machine's architecture
       ./dev build vectors    the vector set: inputs, features, bounds, a verifier in C
       ./dev build publish vVERSION   hands what is in dist/ to the index and to the release"""


def run(arguments: list[str]) -> int:
    """Builds what `arguments` name first; wheels, if nothing."""
    dist = str(ROOT / "dist")
    if arguments == ["c"]:
        return subprocess.call([sys.executable, "-m", "whisper_mel_mojo.c_library", dist])
    if arguments == ["vectors"]:
        return subprocess.call([sys.executable, "-m", "whisper_mel_golden", "vectors", dist])
    if arguments[:1] == ["publish"]:
        return release.publish(ROOT / "dist", arguments[1:])
    what, *rest = arguments or ["wheels"]
    try:
        if what != "wheels":
            raise ValueError(f"build {' '.join(arguments)}: expected wheels, c, vectors or publish")
        accelerators = wheels.parse(rest)
    except ValueError as error:
        print(f"{error}\n{USAGE}", file=sys.stderr)
        return 2
    for package in PACKAGES:
        kinds = ["-t", "sdist"] if package.name == "mojo" else []
        command = ["hatchling", "build", "--directory", dist, *kinds]
        status = subprocess.call(command, cwd=package)
        if status:
            return status
    return wheels.build(ROOT / "dist", accelerators)
