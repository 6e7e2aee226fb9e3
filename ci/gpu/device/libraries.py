"""Libraries of the kernel in other mappings and with planted faults, from the archive or built in a
checkout.
"""

from __future__ import annotations

import os
from pathlib import Path

from whisper_mel_mojo.builder import BuildError
from whisper_mel_mojo.gpu.targets import target_of

from gpu.device import ROOT
from gpu.device.driver import DEVICE, device
from gpu.device.plan import NotHere

LIBRARIES = ROOT / "libraries"
"""The folder of libraries, which only the archive has."""


def architecture() -> str:
    """Return this device's target, such as ``sm_90a``."""
    try:
        return target_of(device().capability(DEVICE)).name
    except BuildError as error:
        raise NotHere(str(error)) from None


def launching(path: Path) -> dict[str, str]:
    """Return the environment in which ``gpu.log_mel`` launches the kernel of this library."""
    return {**os.environ, "WHISPER_MEL_LAUNCH_LIBRARY": str(path)}


def library(kind: str, name: str) -> Path:
    """Return the path of a library for this device; ``kind`` is ``controls`` or ``variants``.

    Raises ``NotHere`` if the archive has none.
    """
    target = architecture()
    if not LIBRARIES.is_dir():
        from gpu.pack import extras

        return getattr(extras, kind)(target)[name]()
    path = LIBRARIES / target / kind / f"{name}.so"
    if not path.exists():
        raise NotHere(f"the archive holds no {kind} for {target}")
    return path


def names(kind: str) -> list[str]:
    """List the names of all libraries of a kind for this device."""
    target = architecture()
    if not LIBRARIES.is_dir():
        from gpu.pack import extras

        return list(getattr(extras, kind)(target))
    return sorted(path.stem for path in (LIBRARIES / target / kind).glob("*.so"))
