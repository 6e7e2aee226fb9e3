"""Wheels and sources of the packages; the kernel's wheel is for one platform and has its libraries.

Libraries for CPUs need libc only. Libraries that launch on GPUs need Modular's run-time libraries,
which the wheel's extra ``gpu`` installs beside it.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from checkout.paths import PACKAGES, ROOT

if TYPE_CHECKING:
    from whisper_mel_mojo.emulated.machines import Machine

# CPU types, for each kind of machine, among which the package chooses
CPUS = {"x86_64": ["x86-64-v4", "x86-64-v3", "x86-64"]}

# Processors of another kind, for which the kernel's wheel can be built here
TARGETS = ("aarch64",)


# Packages that others cannot be installed without, which are built with them
NEEDED = {"golden": ["reference"], "conformance": ["reference", "golden"]}


class Wanted(NamedTuple):
    """What is to be built.

    ``accelerators``: None for those of wheels. ``target``: a processor of another kind, empty for
    this one.
    """

    packages: list[str]
    accelerators: list[str] | None
    target: str = ""


def default_accelerators() -> list[str]:
    """List the targets whose libraries are in wheels."""
    from whisper_mel_mojo.gpu.targets import NVIDIA

    return [target.name for target in NVIDIA.values() if target.wheel]


def parse(arguments: list[str]) -> Wanted:
    """Return the packages, by default all, with those that they need, and the accelerators.

    `--accelerator NAME` may be repeated; `none` stands for none. `--target NAME` stands for the
    kernel's wheel alone, without accelerators. Raises ``ValueError`` for an unknown package or
    target, and for what does not go together.
    """
    known = [package.name for package in PACKAGES]
    packages: list[str] = []
    accelerators: list[str] = []
    targets: list[str] = []
    left = iter(arguments)
    for argument in left:
        option, equals, value = argument.partition("=")
        if option == "--accelerator":
            accelerators.append(value if equals else next(left, ""))
        elif option == "--target":
            targets.append(value if equals else next(left, ""))
        elif argument in known:
            packages.append(argument)
        else:
            raise ValueError(f"{argument}: expected a package, of {', '.join(known)}")
    needed = {name for package in packages for name in (package, *NEEDED.get(package, []))}
    wanted = [name for name in known if name in needed] or known
    if targets:
        if len(targets) > 1 or targets[0] not in TARGETS:
            raise ValueError(f"--target {', '.join(targets)}: expected one of {', '.join(TARGETS)}")
        if packages not in ([], ["mojo"]) or accelerators not in ([], ["none"]):
            raise ValueError(f"--target {targets[0]}: it is for mojo alone, without accelerators")
        return Wanted(["mojo"], [], targets[0])
    if "none" in accelerators:
        if accelerators != ["none"]:
            raise ValueError(f"--accelerator none: expected no other beside it, {accelerators}")
        return Wanted(wanted, [])
    return Wanted(wanted, accelerators or None)


def build(dist: Path, packages: list[str], accelerators: list[str] | None) -> int:
    """Build these packages into `dist`, the kernel's for these accelerators; None: those of wheels.

    Returns 0; after a message, 2 for an unknown accelerator and 1 if a build fails.
    """
    from whisper_mel_mojo.gpu.targets import NVIDIA

    if accelerators is None:
        accelerators = default_accelerators()
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
    """Compile, pack and label the kernel's wheel; return 1 after a message if that fails."""
    cpus = CPUS.get(platform.machine(), ["generic"])
    return _made(dist, lambda folder: make(folder, accelerators, cpus))


def build_for(dist: Path, target: str) -> int:
    """Build the kernel's wheel for a processor of another kind, like :func:`build_kernel`."""
    from whisper_mel_mojo.emulated.machines import MACHINES

    return _made(dist, lambda folder: make_for(folder, MACHINES[target]))


def _made(dist: Path, make_wheel: Callable[[Path], Path]) -> int:
    """Make a wheel and label it; return 1 after a message if that fails."""
    from whisper_mel_mojo.builder import BuildError

    with tempfile.TemporaryDirectory() as name:
        try:
            wheel = make_wheel(Path(name))
        except (BuildError, subprocess.CalledProcessError) as error:
            print(f"build wheels: {error}", file=sys.stderr)
            return 1
        return label(wheel, dist)


def make_for(folder: Path, machine: Machine) -> Path:
    """Make another machine's wheel in a folder, with its library for CPUs; return its path.

    Raises ``BuildError`` or ``CalledProcessError``.
    """
    from whisper_mel_mojo import builder

    from release import run_time

    made = folder / "kernel.so"
    machine.compile_kernel(made)
    library = builder.prebuild(folder / "prebuilt", cpu=machine.cpu, made=made)
    run_time.require_closed(library)
    environment = {"WHISPER_MEL_PLATFORM": f"linux_{machine.name}"}
    return _packed(folder, environment)


def make(folder: Path, accelerators: Sequence[str], cpus: Sequence[str]) -> Path:
    """Make the wheel in a folder, with libraries for these GPUs and CPU types, the best first.

    Raises ``BuildError`` or ``CalledProcessError``.
    """
    compile_libraries(folder / "prebuilt", accelerators, cpus)
    return _packed(folder, {})


def _packed(folder: Path, variables: dict[str, str]) -> Path:
    """Pack the wheel with the libraries in the folder ``prebuilt``; return its path."""
    environment = {**os.environ, "WHISPER_MEL_PREBUILT": str(folder / "prebuilt"), **variables}
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT / "mojo", env=environment, check=True)
    (wheel,) = folder.glob("whisper_mel_mojo-*.whl")
    return wheel


def compile_libraries(folder: Path, accelerators: Sequence[str], cpus: Sequence[str]) -> None:
    """Compile every library of the wheel, free of this machine's paths; raise ``BuildError``.

    Libraries that launch on GPUs are compiled for the last of the CPU types.
    """
    from whisper_mel_mojo import builder
    from whisper_mel_mojo.gpu.launcher import LAUNCH
    from whisper_mel_mojo.gpu.targets import NVIDIA

    from release import run_time

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
        list(pool.map(add_launch, accelerators))  # list() raises an exception of any


def label(wheel: Path, dist: Path) -> int:
    """Move the wheel to `dist`, tagged with the oldest glibc that its libraries run with."""
    from release import run_time

    if sys.platform != "linux":
        wheel.replace(dist / wheel.name)
        return 0
    command = [sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", str(dist)]
    # The package checks what a CPU type's library needs when it chooses one.
    command += ["--disable-isa-ext-check", "--only-plat"]
    for library in run_time.NAMES:
        command += ["--exclude", library]
    return subprocess.call([*command, str(wheel)])
