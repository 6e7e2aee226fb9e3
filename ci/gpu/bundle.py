"""Makes the archive for machines with a GPU, and without a compiler or the internet.

In it: ``ci/gpu`` with ``run``; the four packages, unpacked from their wheels, with libraries for
this CPU family and the wanted devices; ``libraries``: other mappings and planted faults; Modular's
run-time libraries; ``bundle.json``: what it is made of.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tasks.checkout import commit
from tasks.paths import PACKAGES, ROOT
from whisper_mel_mojo.accelerators import NVIDIA
from whisper_mel_mojo.builder import prebuild, sign
from whisper_mel_mojo.gpu import LAUNCH
from whisper_mel_mojo.lockstep import LOCKSTEP

from gpu import build, closure

TARGETS = ("sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a")
LARGEST = 60_000_000
_NOT_PACKED = {"bundle.py", "build.py", "closure.py", "keeping.py"}
_NOT_PACKED |= {"targets.py", "budget.toml"}
# What the suite needs beside what is there: each works without what of it is compiled.
_PURE = ("rich", "jinja2", "markupsafe")
KINDS: dict[str, Callable[[str], dict[str, build.Built]]] = {
    "controls": build.controls,
    "variants": build.variants,
}


def make(to: Path, targets: Sequence[str] = TARGETS, kinds: Sequence[str] = tuple(KINDS)) -> Path:
    """The archive's path, in the folder ``to``. ``kinds``: of libraries beside the kernel's own.

    Raises ``BuildError`` if something cannot be compiled, ``ValueError`` for an archive that is
    too large or not complete.
    """
    unknown = set(targets) - set(NVIDIA)
    if unknown:
        raise ValueError(f"--target {unknown.pop()}: expected of {', '.join(NVIDIA)}")
    about = commit()
    name = f"whisper-mel-gpu-{(about['commit'] or 'unknown')[:12]}"
    name += "-changed" if about["dirty"] else ""
    to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to) as scratch:
        folder = Path(scratch) / name
        packages = folder / "packages"
        unpack_packages(packages)
        copy_pure(packages)
        fill(packages / "whisper_mel_mojo" / "prebuilt", targets)
        for target in targets:
            for kind in kinds:
                others(folder / "libraries" / target / kind, KINDS[kind](target))
        copy_programs(folder / "ci" / "gpu")
        (folder / "bundle.json").write_text(json.dumps(facts(about, targets), indent=1) + "\n")
        archive = Path(scratch) / f"{name}.tar.gz"
        with tarfile.open(archive, "w:gz") as packed:
            packed.add(folder, name)
        if archive.stat().st_size > LARGEST:
            raise ValueError(f"{archive.name} has {archive.stat().st_size} bytes: over {LARGEST}")
        return archive.replace(to / archive.name)


def unpack_packages(to: Path) -> None:
    """As installers do, so that the front-ends are registered."""
    with tempfile.TemporaryDirectory() as wheels:
        for package in PACKAGES:
            command = [
                sys.executable,
                "-m",
                "hatchling",
                "build",
                "--target",
                "wheel",
                "--directory",
                wheels,
            ]
            subprocess.run(command, cwd=package, check=True, stdout=subprocess.DEVNULL)
        for wheel in Path(wheels).glob("*.whl"):
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(to)


def copy_pure(to: Path) -> None:
    """Packages as they are installed here, with their licences, for whichever Python is there."""
    for name in _PURE:
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or []:
            inside = ".." not in file.parts and "__pycache__" not in file.parts
            if inside and file.suffix != ".so":
                (to / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(distribution.locate_file(file)), to / file)


def fill(prebuilt: Path, targets: Sequence[str]) -> None:
    """The kernel for CPUs (it has the messages), in lockstep, and for each device."""
    made = [prebuild(prebuilt, source) for source in (None, LOCKSTEP)]
    closure.copy(prebuilt)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        options = [NVIDIA[target].options for target in targets]
        made += pool.map(lambda it: prebuild(prebuilt, LAUNCH, *it), options)
    for library in made:
        closure.relocate(library, "$ORIGIN")
        sign(library)


def others(to: Path, builds: dict[str, build.Built]) -> None:
    """Other mappings or planted faults, which find the run-time libraries in the package."""
    to.mkdir(parents=True)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        made = dict(zip(builds, pool.map(lambda built: built(), builds.values()), strict=True))
    for name, library in made.items():
        copy = Path(shutil.copyfile(library, to / f"{name}.so"))
        closure.relocate(copy, "$ORIGIN/../../../packages/whisper_mel_mojo/prebuilt")


def copy_programs(to: Path) -> None:
    """What runs there, of this folder."""
    to.mkdir(parents=True)
    for file in sorted((ROOT / "ci" / "gpu").iterdir()):
        if file.is_file() and file.name not in _NOT_PACKED:
            shutil.copy(file, to)


def facts(about: dict[str, Any], targets: Sequence[str]) -> dict[str, Any]:
    """Of what and by what the archive was made."""
    packages = ("mojo-compiler", "max", "whisper-mel-mojo")
    return {
        **about,
        "targets": list(targets),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "variants": build.VARIANTS,
    }
