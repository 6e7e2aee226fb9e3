"""What a measurement was made on and with. Nothing that names the machine or its user."""

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
    """Sizes by name, as ``L1d``; empty where the system doesn't tell."""
    found = {}
    for cache in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (
            (cache / name).read_text().strip() for name in ("level", "type", "size")
        )
        suffix = {"Data": "d", "Instruction": "i"}.get(kind, "")
        found[f"L{level}{suffix}"] = size
    return found


def versions() -> dict[str, str]:
    """Of Python and of what the kernel is made and called with; the peers' come with the rows."""
    found = {"python": platform.python_version()}
    for name in ("numpy", "mojo-compiler", "whisper-mel-mojo"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def library() -> dict[str, Any]:
    """How the kernel was built; builds it if need be."""
    from whisper_mel_mojo import builder

    return {
        "file": builder.built_library().name,
        "target": builder.target_cpu(),
        "options": list(builder.FLAGS),
    }
