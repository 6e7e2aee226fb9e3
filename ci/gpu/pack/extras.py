"""The kernel in other mappings, and with planted faults; needs a compiler, but no GPU."""

from __future__ import annotations

import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from planted.kernel import KernelMutant
from whisper_mel_mojo.builder import SOURCE, built_for, distributed_cpu
from whisper_mel_mojo.gpu.launcher import LAUNCH
from whisper_mel_mojo.gpu.targets import NVIDIA

Built = Callable[[], Path]

CONTROLS = {
    "overrun": KernelMutant(
        "overrun",
        "gpu",
        "        else:\n            self.clip.values()[unsafe_offset=at] = value",
        "        else:\n            self.clip.values()[unsafe_offset=at + 1] = value",
        "memcheck",
    ),
    "race": KernelMutant(
        "race",
        "gpu",
        "            cluster_sync()\n        elif wait_for != NOBODY:\n            barrier()",
        "            cluster_sync()\n"
        "        elif wait_for != NOBODY and phase != COLUMNS:\n            barrier()",
        "racecheck",
    ),
    "barrier": KernelMutant(
        "barrier",
        "gpu",
        "            cluster_sync()\n        elif wait_for != NOBODY:\n            barrier()",
        "            cluster_sync()\n        elif phase == MAXIMA:\n"
        "            if self.thread < 40:\n                barrier()\n"
        "        elif wait_for != NOBODY:\n            barrier()",
        "synccheck",
    ),
}
"""Faults planted in copies of the kernel; ``killer`` is the tool that must find each."""

VARIANTS = {
    "as-shipped": {},
    "5-blocks": {"KIND": 0, "BLOCKS": 5},
    "6-blocks": {"KIND": 0, "BLOCKS": 6},
    "8-blocks": {"KIND": 0, "BLOCKS": 8},
    "12-blocks": {"KIND": 0, "BLOCKS": 12},
    "16-blocks": {"KIND": 0, "BLOCKS": 16},
    "always-few": {"KIND": 1, "BLOCKS": 16},
}
"""Mappings to be timed, by the options ``-D`` of ``mel_kernel.mojo``."""


def options_of(variant: str) -> tuple[str, ...]:
    """Return the compiler's options for a mapping."""
    pairs = VARIANTS[variant].items()
    return tuple(word for name, value in pairs for word in ("-D", f"{name}={value}"))


def variants(target: str) -> dict[str, Built]:
    """Return functions that build each mapping of a target, by name."""
    kind = NVIDIA[target]
    if not kind.clusters:
        return {"as-shipped": functools.partial(built, LAUNCH, *kind.options)}
    return {
        name: functools.partial(built, LAUNCH, *kind.options, *options_of(name))
        for name in VARIANTS
    }


def controls(target: str) -> dict[str, Built]:
    """Return functions that build each planted fault, by name."""
    return {name: functools.partial(built_control, target, name) for name in CONTROLS}


def built_control(target: str, name: str) -> Path:
    """Build the library that launches a copy of the kernel with a planted fault."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / SOURCE.name
        copy.write_text(CONTROLS[name].source(), encoding="utf-8")
        launch = Path(shutil.copy(LAUNCH, folder))
        return built(launch, *NVIDIA[target].options)


def built(source: Path, *options: str) -> Path:
    """Build a library for any machine with such a device, in the cache."""
    return built_for(distributed_cpu(), source, options)
