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
from pathlib import Path

from .paths import PACKAGES, ROOT

# For each kind of machine the CPU types that the package chooses among
CPUS = {"x86_64": ["x86-64-v4", "x86-64-v3", "x86-64"]}
# By default, of what accelerators.py lists: A100, RTX 30 and A10, RTX 40 and L4, H100, B200, RTX 50
ACCELERATORS = ["sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"]
# From site-packages/whisper_mel_mojo/prebuilt to where Modular's wheels put their libraries
RUN_TIME = "$ORIGIN/../../modular/lib"


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
    return packages or known, accelerators or ACCELERATORS


def build(dist: Path, packages: list[str], accelerators: list[str]) -> int:
    """Builds the packages of these names into `dist`, the kernel's for these accelerators.

    Returns 0; 2 and a message for an accelerator that there is not, 1 if one does not build.
    """
    from whisper_mel_mojo.accelerators import NVIDIA

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
        folder = Path(name)
        try:
            compile_libraries(folder / "prebuilt", accelerators)
        except BuildError as error:
            print(f"build wheels: {error}", file=sys.stderr)
            return 1
        environment = {**os.environ, "WHISPER_MEL_PREBUILT": str(folder / "prebuilt")}
        command = ["hatchling", "build", "-t", "wheel", "--directory", str(folder)]
        status = subprocess.call(command, cwd=ROOT / "mojo", env=environment)
        if status:
            return status
        (wheel,) = folder.glob("*.whl")
        return label(wheel, dist)


def compile_libraries(folder: Path, accelerators: list[str]) -> None:
    """Every library of the wheel, free of this machine's paths. Raises ``BuildError``."""
    from whisper_mel_mojo import builder, gpu
    from whisper_mel_mojo.accelerators import NVIDIA

    cpus = CPUS.get(platform.machine(), ["generic"])
    for cpu in cpus:
        print(f"compiling for {cpu}", flush=True)
        _finish(builder.prebuild(folder, cpu=cpu), None)
    for name in accelerators:
        print(f"compiling for {name}", flush=True)
        options = NVIDIA[name].options
        library = builder.prebuild(folder, gpu.LAUNCH, *options, cpu=cpus[-1])
        _finish(library, RUN_TIME)


def _finish(library: Path, folder: str | None) -> None:
    """Tells a library where Modular's are, if it needs them, and signs it."""
    from gpu import closure
    from whisper_mel_mojo import builder

    if sys.platform == "linux":
        closure.relocate(library, folder)
    builder.sign(library)


def label(wheel: Path, dist: Path) -> int:
    """Puts the wheel into `dist`, tagged with the oldest glibc that its libraries run with."""
    from gpu import closure

    if sys.platform != "linux":
        wheel.replace(dist / wheel.name)
        return 0
    command = [sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", str(dist)]
    # What the code for one CPU type needs is looked at when it is chosen.
    command += ["--disable-isa-ext-check", "--only-plat"]
    for library in closure.NAMES:
        command += ["--exclude", library]
    return subprocess.call([*command, str(wheel)])
