"""Wheels and sources of the packages. The kernel's wheel is for one platform, with its libraries.

Those for CPUs need libc only. Those that launch on GPUs need Modular's run-time libraries, which
the wheel's extra ``gpu`` installs beside it.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .paths import PACKAGES, ROOT

# For each kind of machine the CPU types that the package chooses among
CPUS = {"x86_64": ["x86-64-v4", "x86-64-v3", "x86-64"]}


def default_accelerators() -> list[str]:
    """Names of the table's targets that go into wheels."""
    from whisper_mel_mojo.gpu.targets import NVIDIA

    return [target.name for target in NVIDIA.values() if target.wheel]


def parse(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The names of packages and accelerators: of all packages, of all by default, if none is named.

    `--accelerator NAME`, several times for several; `none` stands for none. Raises ``ValueError``
    for a package that there is not.
    """
    known = [package.name for package in PACKAGES]
    packages: list[str] = []
    accelerators: list[str] = []
    left = iter(arguments)
    for argument in left:
        option, equals, value = argument.partition("=")
        if option == "--accelerator":
            accelerators.append(value if equals else next(left, ""))
        elif argument in known:
            packages.append(argument)
        else:
            raise ValueError(f"{argument}: expected a package, of {', '.join(known)}")
    if "none" in accelerators:
        if accelerators != ["none"]:
            raise ValueError(f"--accelerator none: expected no other beside it, {accelerators}")
        return packages or known, []
    return packages or known, accelerators or default_accelerators()


def build(dist: Path, packages: list[str], accelerators: list[str]) -> int:
    """Builds the packages of these names into `dist`, the kernel's for these accelerators.

    Returns 0; 2 and a message for an accelerator that there is not, 1 if one does not build.
    """
    from whisper_mel_mojo.gpu.targets import NVIDIA

    for name in accelerators if "mojo" in packages else []:
        if name not in NVIDIA:
            known = ", ".join(NVIDIA)
            print(f"--accelerator {name}: expected none, or of {known}", file=sys.stderr)
            return 2
    for name in packages:
        kinds = ["-t", "sdist"] if name == "mojo" else []
        command = ["hatchling", "build", "--directory", str(dist), *kinds]
        status = subprocess.call(command, cwd=ROOT / name)
        if status == 0 and name == "mojo":
            status = build_kernel(dist, accelerators)
        if status:
            return status
    return 0


def build_kernel(dist: Path, accelerators: list[str]) -> int:
    """Compiles, packs and labels the kernel's wheel; 1 and a message if that cannot be."""
    from whisper_mel_mojo.builder import BuildError

    with tempfile.TemporaryDirectory() as name:
        try:
            wheel = make(Path(name), accelerators, CPUS.get(platform.machine(), ["generic"]))
        except (BuildError, subprocess.CalledProcessError) as error:
            print(f"build wheels: {error}", file=sys.stderr)
            return 1
        return label(wheel, dist)


def make(folder: Path, accelerators: Sequence[str], cpus: Sequence[str]) -> Path:
    """Makes the wheel in a folder, with libraries for these GPUs and CPU types, best first.

    Raises ``BuildError`` or ``CalledProcessError``.
    """
    compile_libraries(folder / "prebuilt", accelerators, cpus)
    environment = {**os.environ, "WHISPER_MEL_PREBUILT": str(folder / "prebuilt")}
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT / "mojo", env=environment, check=True)
    (wheel,) = folder.glob("whisper_mel_mojo-*.whl")
    return wheel


def compile_libraries(folder: Path, accelerators: Sequence[str], cpus: Sequence[str]) -> None:
    """Compiles every library of the wheel, free of this machine's paths. Raises ``BuildError``.

    What launches on GPUs runs on the last of the CPU types.
    """
    from whisper_mel_mojo import builder
    from whisper_mel_mojo.gpu.launcher import LAUNCH
    from whisper_mel_mojo.gpu.targets import NVIDIA

    from . import run_time

    def add(name: str, cpu: str, *source: Any, place: str | None = None) -> None:
        print(f"compiling for {name}", flush=True)
        library = builder.prebuild(folder, *source, cpu=cpu)
        if sys.platform == "linux":
            run_time.relocate(library, place)
        builder.sign(library)

    def add_launch(name: str) -> None:
        place = f"$ORIGIN/../../{run_time.FOLDER}"
        add(name, cpus[-1], LAUNCH, *NVIDIA[name].options, place=place)

    for cpu in cpus:
        add(cpu, cpu)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(add_launch, accelerators))  # raises what one of them raises


def label(wheel: Path, dist: Path) -> int:
    """Puts the wheel into `dist`, tagged with the oldest glibc that its libraries run with."""
    from . import run_time

    if sys.platform != "linux":
        wheel.replace(dist / wheel.name)
        return 0
    command = [sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", str(dist)]
    # What the code for one CPU type needs is looked at when it is chosen.
    command += ["--disable-isa-ext-check", "--only-plat"]
    for library in run_time.NAMES:
        command += ["--exclude", library]
    return subprocess.call([*command, str(wheel)])
