"""The kernel in other mappings, and with planted faults: of the archive, or built where there is a
compiler.
"""

from __future__ import annotations

import os
from pathlib import Path

from whisper_mel_mojo.accelerators import accelerator
from whisper_mel_mojo.builder import BuildError

from gpu.driver import DEVICE, device
from gpu.sections import NotHere

LIBRARIES = Path(__file__).resolve().parents[2] / "libraries"
"""Only in the archive."""


def architecture() -> str:
    """Of the device that is here, as ``sm_90a``."""
    try:
        return accelerator(device().capability(DEVICE)).name
    except BuildError as error:
        raise NotHere(str(error)) from None


def launching(path: Path) -> dict[str, str]:
    """The environment in which ``gpu.log_mel`` launches what is in this library."""
    return {**os.environ, "WHISPER_MEL_LAUNCH_LIBRARY": str(path)}


def library(kind: str, name: str) -> Path:
    """``kind``: ``controls`` or ``variants``, for this machine's device. Raises ``NotHere``."""
    target = architecture()
    if not LIBRARIES.is_dir():
        from gpu import build

        return getattr(build, kind)(target)[name]()
    path = LIBRARIES / target / kind / f"{name}.so"
    if not path.exists():
        raise NotHere(f"the archive holds no {kind} for {target}")
    return path


def names(kind: str) -> list[str]:
    """What there is of a kind, for this machine's device."""
    target = architecture()
    if not LIBRARIES.is_dir():
        from gpu import build

        return list(getattr(build, kind)(target))
    return sorted(path.stem for path in (LIBRARIES / target / kind).glob("*.so"))
