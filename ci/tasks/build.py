"""Build wheels and source distributions, or the library for C."""

from __future__ import annotations

import subprocess
import sys

from .paths import PACKAGES, ROOT

USAGE = "usage: ./dev build [-t wheel|sdist]   or   ./dev build c"


def run(arguments: list[str]) -> int:
    """Builds every package into dist/; `arguments` (as `-t wheel`) go to hatchling.

    `c` alone: libwhispermel.so for this machine and whisper_mel.h, also into dist/.
    """
    dist = ROOT / "dist"
    if arguments[:1] == ["c"]:
        if arguments != ["c"]:
            print(f"build {' '.join(arguments)}: nothing may follow c\n{USAGE}", file=sys.stderr)
            return 2
        return subprocess.call([sys.executable, "-m", "whisper_mel_mojo.c_library", str(dist)])
    command = ["hatchling", "build", "--directory", str(dist), *arguments]
    return max(subprocess.call(command, cwd=package) for package in PACKAGES)
