"""Builds the stand-in for the CUDA driver (``fake_driver.c``), and runs programs with it."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

from programs import ran
from whisper_mel_mojo.builder import built_library
from whisper_mel_mojo.gpu.lockstep import LOCKSTEP


def make(folder: Path) -> Path:
    """The folder, with the stand-ins for the driver's libraries in it."""
    package = importlib.util.find_spec("modular")
    assert package
    assert package.submodule_search_locations
    places = map(Path, package.submodule_search_locations)
    bindings = next(
        library for place in places for library in place.rglob("libAsyncRTMojoBindings.so")
    ).read_bytes()
    names = set(re.findall(rb"\0((?:cu|nvml)[A-Z]\w+)(?=\0)", bindings))
    stubs = [
        f'__attribute__((weak)) int {name}() {{ note("{name}"); return 0; }}'
        for name in sorted(name.decode() for name in names)
    ]
    (folder / "stubs.c").write_text("void note(const char *);\n" + "\n".join(stubs))
    command = ["gcc", "-shared", "-fPIC", "-w", "-o", "libcuda.so.1"]
    sources = [str(Path(__file__).with_name("fake_driver.c")), "stubs.c"]
    subprocess.run([*command, *sources], cwd=folder, check=True)
    (folder / "libnvidia-ml.so.1").symlink_to("libcuda.so.1")
    return folder


def environment(driver: Path, *, computes: bool = False) -> dict[str, str]:
    """In which programs find the stand-in; ``computes``: kernels are run in lockstep."""
    result = {
        **os.environ,
        "LD_LIBRARY_PATH": str(driver),
        "FAKE_DRIVER_LOG": str(driver / "log"),
    }
    if computes:
        result["FAKE_DRIVER_LOCKSTEP"] = str(built_library(LOCKSTEP))
    return result


def run(driver: Path, program: str, *arguments: str, computes: bool = False) -> str:
    """What a Python program writes. It must neither fail nor complain."""
    (driver / "log").write_text("")
    result = ran(
        [sys.executable, "-c", program, *arguments], env=environment(driver, computes=computes)
    )
    complaints = [
        line for line in result.stderr.splitlines() if not line.startswith("whisper-mel: compiling")
    ]
    assert (result.returncode, complaints) == (0, []), result.stderr
    return result.stdout


def log(driver: Path) -> list[str]:
    return (driver / "log").read_text().splitlines()
