"""The machine and the software of a measurement, without names of machines and users."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from whisper_mel_conformance.report.environment import cpu


def machine() -> dict[str, Any]:
    return {
        "cpu": cpu(),
        "cpus": len(os.sched_getaffinity(0)),
        "caches": _caches(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()),
        "load": os.getloadavg()[0],
    }


def _caches() -> dict[str, str]:
    """Return cache sizes by name, such as ``L1d``; empty where the system does not tell."""
    found = {}
    for cache in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (
            (cache / name).read_text().strip() for name in ("level", "type", "size")
        )
        suffix = {"Data": "d", "Instruction": "i"}.get(kind, "")
        found[f"L{level}{suffix}"] = size
    return found


def versions() -> dict[str, str]:
    """Return versions of Python and of the kernel's tools; the rows have those of the peers."""
    found = {"python": platform.python_version()}
    for name in ("numpy", "mojo-compiler", "whisper-mel-mojo"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def library() -> dict[str, Any]:
    """Return how the kernel was built; build it if necessary."""
    from whisper_mel_mojo import builder

    return {
        "file": builder.built_library().name,
        "target": builder.target_cpu(),
        "options": list(builder.FLAGS),
    }
