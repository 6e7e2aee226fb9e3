"""Build wheels and source distributions, or the library for C."""

from __future__ import annotations

import shutil
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
        return _build_c() if arguments == ["c"] else _refuse(arguments)
    command = ["hatchling", "build", "--directory", str(dist), *arguments]
    return max(subprocess.call(command, cwd=package) for package in PACKAGES)


def _build_c() -> int:
    from whisper_mel_mojo.builder import C_SOURCE, BuildError, built_c_library

    try:
        library = built_c_library()
    except BuildError as error:
        print(f"build c: {error}", file=sys.stderr)
        return 1
    dist = ROOT / "dist"
    dist.mkdir(exist_ok=True)
    for source, name in (
        (library, "libwhispermel.so"),
        (C_SOURCE.with_suffix(".h"), "whisper_mel.h"),
    ):
        new = dist / f"{name}.new"  # renamed into place: programs that run keep the file they have
        shutil.copyfile(source, new)
        new.replace(dist / name)
        print(dist / name)
    return 0


def _refuse(arguments: list[str]) -> int:
    print(f"build {' '.join(arguments)}: nothing may follow c\n{USAGE}", file=sys.stderr)
    return 2
