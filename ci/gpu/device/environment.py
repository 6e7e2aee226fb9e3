"""The machine and the software of a run; ``python -m gpu.device.environment`` prints them as JSON.

No name of the machine or its user is included. Clocks are read, never set.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
from typing import Any

from gpu.device.driver import device
from gpu.device.plan import NotHere

_PACKAGES = ("numpy", "torch", "transformers", "openai-whisper", "torchaudio", "cupy-cuda13x")
_QUERY = {
    "driver": "driver_version",
    "sm_mhz": "clocks.sm",
    "memory_mhz": "clocks.mem",
    "sm_mhz_limit": "clocks.max.sm",
    "power_limit_w": "power.limit",
    "temperature_c": "temperature.gpu",
    "others_using_it": "utilization.gpu",
}
_MULTIPROCESSORS = 16  # CUdevice_attribute


def environment() -> dict[str, Any]:
    """Return the device (or None, and why), its driver and clocks, and all versions."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "versions": versions(),
        "clocks": clocks(),
        "device": None,
        "capability": None,
        "cuda": None,
        "multiprocessors": None,
        "memory_gib": None,
        "why_no_device": None,
    }
    try:
        cuda = device()
    except NotHere as reason:
        return {**found, "why_no_device": str(reason)}
    return {
        **found,
        "device": cuda.name(),
        "capability": list(cuda.capability(0)),
        "cuda": cuda.version(),
        "multiprocessors": cuda.attribute(_MULTIPROCESSORS),
        "memory_gib": round(cuda.free_memory() / 2**30, 1),
    }


def versions() -> dict[str, str]:
    """Return versions of installed packages that are compared with."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def clocks() -> dict[str, str]:
    """Return driver, clocks, power and temperature from nvidia-smi; empty if that is missing."""
    command = ["nvidia-smi", "--id=0", "--format=csv,noheader,nounits"]
    command.append(f"--query-gpu={','.join(_QUERY.values())}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return {}
    values = done.stdout.strip().splitlines()[0].split(", ")
    return dict(zip(_QUERY, values, strict=False))


if __name__ == "__main__":
    print(json.dumps(environment()))
