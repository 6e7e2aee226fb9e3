"""The adapter of a mutated kernel; a copy of this file lies beside its library."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from whisper_mel_mojo import frontends, library
from whisper_mel_mojo.frontends import FrontEnd, mojo_ptx
from whisper_mel_mojo.frontends import mojo_cpu as cpu

__all__ = ["aarch64", "cpu", "riscv64", "sm_80", "sm_90a"]

_KERNEL = Path(__file__).with_name("mel_kernel.so")


def _executed(target: str) -> FrontEnd:
    """Create the front-end of the code for a GPU, executed on this CPU."""
    os.environ["WHISPER_MEL_ACCELERATOR"] = target
    os.environ["WHISPER_MEL_LAUNCH_LIBRARY"] = str(Path(__file__).with_name("launch.so"))
    return mojo_ptx()


def _emulated(machine: str) -> FrontEnd:
    """Create the front-end of the library for another processor, executed by qemu."""
    return frontends.emulated_on(machine, _KERNEL)


aarch64 = functools.partial(_emulated, "aarch64")
riscv64 = functools.partial(_emulated, "riscv64")
sm_80 = functools.partial(_executed, "sm_80")
sm_90a = functools.partial(_executed, "sm_90a")


def _built_library(source: Path | None = None, *options: str) -> Path:
    return _KERNEL


if _KERNEL.exists():
    library.built_library = _built_library
