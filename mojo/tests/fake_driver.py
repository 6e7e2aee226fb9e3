"""Runs programs with the stand-in for the CUDA driver in the place of the driver."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from programs import ran
from whisper_mel_mojo.gpu.emulator.driver import NAMES, built_driver, translator

_ASSEMBLER = "assembler"


def make(folder: Path) -> Path:
    """The folder, with the stand-ins for the driver's libraries in it, and for MAX's assembler:
    what reaches the driver is the PTX.
    """
    for name in NAMES:
        (folder / name).symlink_to(built_driver(name))
    assembler = folder / _ASSEMBLER
    assembler.write_text('#!/bin/sh\n[ "$2" = -o ] && cp "$1" "$3"\n')
    assembler.chmod(0o755)
    return folder


def environment(driver: Path, *, computes: bool = False) -> dict[str, str]:
    """In which programs find the stand-in; ``computes``: kernels are executed."""
    # What an emulated kernel has set in this process is not for the program.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("FAKE_DRIVER_")}
    result = {
        **inherited,
        "LD_LIBRARY_PATH": str(driver),
        "FAKE_DRIVER_LOG": str(driver / "log"),
        "MODULAR_NVPTX_COMPILER_PATH": str(driver / _ASSEMBLER),
    }
    if computes:
        result["FAKE_DRIVER_TRANSLATOR"] = translator()
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
