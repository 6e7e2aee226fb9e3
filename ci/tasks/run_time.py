"""Modular's run-time libraries, which launch what the kernel's libraries for GPUs hold.

On Linux: ``patchelf`` and ``readelf`` read and write where those are looked for.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from whisper_mel_mojo.gpu.launcher import RUN_TIME, run_time

FOLDER = "modular/lib"
"""Where Modular's wheels put them, in site-packages."""
NAMES = (*RUN_TIME, "libMSupportGlobals.so", "libAsyncRTRuntimeGlobals.so")
_OF_THE_SYSTEM = {"libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1"}
_OF_THE_SYSTEM |= {"ld-linux-x86-64.so.2", "libdl.so.2", "libpthread.so.0", "librt.so.1"}


def copy(to: Path) -> None:
    """Copies them into a folder. Raises ``FileNotFoundError`` where they are not installed."""
    folder = run_time()
    if folder is None:
        raise FileNotFoundError(f"the package max is not installed: {', '.join(NAMES)} are missing")
    to.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        shutil.copyfile(folder / name, to / name)
        require_closed(to / name)


def relocate(library: Path, to: str | None) -> None:
    """Lets a library look for them in ``to`` (as ``$ORIGIN/..``; None: nowhere), not where they
    were at its making. Raises ``ValueError`` if it needs others.
    """
    # RPATH, which comes before LD_LIBRARY_PATH: others may have other versions of Modular's there.
    # Only what is replaced is erased, too: the file is to name no folder of this machine.
    _patch("--force-rpath", "--set-rpath", to or "$ORIGIN", str(library))
    if to is None:
        _patch("--remove-rpath", str(library))
    require_closed(library)


def _patch(*arguments: str) -> None:
    subprocess.run(["patchelf", *arguments], check=True)


def require_closed(library: Path) -> None:
    """Raises ``ValueError`` if a library needs anything but these and what every system has."""
    unknown = set(entries(library, "NEEDED")) - _OF_THE_SYSTEM - set(NAMES)
    if unknown:
        raise ValueError(f"{library} needs {', '.join(sorted(unknown))}, which nobody packs")


def entries(library: Path, kind: str) -> list[str]:
    """Entries of a kind in a library's dynamic section, as ``readelf`` reads it."""
    listing = subprocess.run(
        ["readelf", "--dynamic", str(library)], capture_output=True, text=True, check=True
    ).stdout
    found: list[str] = re.findall(rf"\({kind}\).*\[(.*)\]", listing)
    return found
