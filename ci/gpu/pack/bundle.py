"""The archive for machines that have a GPU, but neither compiler nor network.

It contains ``ci/gpu/run`` and ``ci/gpu/device``; ``packages``: our four, unpacked from wheels with
libraries for this CPU family and the wanted GPUs, Modular's run-time libraries in their usual
place, and other packages of the suite; ``libraries``: other mappings and planted faults;
``bundle.json``: the versions and the commit that it was made from.
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

from checkout.commit import commit
from checkout.paths import PACKAGES, ROOT
from release import run_time, wheels
from whisper_mel_mojo.builder import distributed_cpu
from whisper_mel_mojo.gpu.targets import NVIDIA

from gpu.pack import extras

LARGEST = 60_000_000
# Packages of the suite that the machine may lack; each works without its compiled parts.
_PURE = ("rich", "jinja2", "markupsafe", "pytest-xdist", "execnet")
KINDS: dict[str, Callable[[str], dict[str, extras.Built]]] = {
    "controls": extras.controls,
    "variants": extras.variants,
}


def default_targets() -> list[str]:
    """List the targets whose libraries go into the archive."""
    return [target.name for target in NVIDIA.values() if target.archive]


def make(to: Path, targets: Sequence[str], kinds: Sequence[str] = tuple(KINDS)) -> Path:
    """Make the archive in the folder ``to``; return its path.

    ``kinds`` are kinds of libraries beside the kernel's own. Raises ``BuildError`` if something
    cannot be compiled, ``ValueError`` for an archive that is too large or incomplete.
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
        unpack_packages(packages, targets)
        copy_pure(packages)
        run_time.copy(packages / run_time.FOLDER)
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


def unpack_packages(to: Path, targets: Sequence[str]) -> None:
    """Unpack our wheels as installers do, which registers the front-ends."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheels.make(folder, targets, [distributed_cpu()])
        for package in PACKAGES:
            if package.name != "mojo":
                command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", name]
                subprocess.run(command, cwd=package, check=True, stdout=subprocess.DEVNULL)
        for wheel in folder.glob("*.whl"):
            with zipfile.ZipFile(wheel) as packed:
                packed.extractall(to)


def copy_pure(to: Path) -> None:
    """Copy installed packages with their licences, without compiled parts, for any Python."""
    for name in _PURE:
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or []:
            inside = ".." not in file.parts and "__pycache__" not in file.parts
            if inside and file.suffix != ".so":
                (to / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(distribution.locate_file(file)), to / file)


def others(to: Path, builds: dict[str, extras.Built]) -> None:
    """Build other mappings or planted faults, with the path to the run-time libraries."""
    to.mkdir(parents=True)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        made = dict(zip(builds, pool.map(lambda built: built(), builds.values()), strict=True))
    for name, library in made.items():
        copy = Path(shutil.copyfile(library, to / f"{name}.so"))
        run_time.relocate(copy, f"$ORIGIN/../../../packages/{run_time.FOLDER}")


def copy_programs(to: Path) -> None:
    """Copy the command, and the folder of the programs that it runs."""
    ours = ROOT / "ci" / "gpu"
    shutil.copytree(ours / "device", to / "device", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "run"):
        shutil.copy(ours / name, to)


def facts(about: dict[str, Any], targets: Sequence[str]) -> dict[str, Any]:
    """Return the commit, the targets and the versions that the archive is made from."""
    packages = ("mojo-compiler", "max", "whisper-mel-mojo")
    return {
        **about,
        "targets": list(targets),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "variants": extras.VARIANTS,
    }
