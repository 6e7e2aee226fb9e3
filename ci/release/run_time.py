"""Modular's run-time libraries, which the kernel's libraries for GPUs need for launches.

On Linux, ``patchelf`` and ``readelf`` write and read the paths where a library looks for them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from whisper_mel_mojo.gpu.launcher import RUN_TIME, run_time

FOLDER = "modular/lib"
"""The folder in site-packages where Modular's wheels install them."""
NAMES = (*RUN_TIME, "libMSupportGlobals.so", "libAsyncRTRuntimeGlobals.so")
_OF_THE_SYSTEM = {"libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1"}
_OF_THE_SYSTEM |= {"ld-linux-x86-64.so.2", "libdl.so.2", "libpthread.so.0", "librt.so.1"}
_OF_THE_SYSTEM |= {"ld-linux-aarch64.so.1", "ld-linux-riscv64-lp64d.so.1"}


def copy(to: Path) -> None:
    """Copy the run-time libraries to a folder; raise ``FileNotFoundError`` if they are not
    installed.
    """
    folder = run_time()
    if folder is None:
        raise FileNotFoundError(f"the package max is not installed: {', '.join(NAMES)} are missing")
    to.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        shutil.copyfile(folder / name, to / name)
        require_closed(to / name)


def relocate(library: Path, to: str | None) -> None:
    """Set where a library looks for the run-time libraries.

    ``to`` is such as ``$ORIGIN/..``; None means nowhere. Raises ``ValueError`` if the library needs
    others.
    """
    # RPATH takes precedence over LD_LIBRARY_PATH, where other versions of Modular's may be. A path
    # is replaced before it is removed, so that its text, a folder of this machine, is gone too.
    _patch("--force-rpath", "--set-rpath", to or "$ORIGIN", str(library))
    if to is None:
        _patch("--remove-rpath", str(library))
    require_closed(library)


def _patch(*arguments: str) -> None:
    subprocess.run(["patchelf", *arguments], check=True)


def require_closed(library: Path) -> None:
    """Raise ``ValueError`` if a library needs others than these and those of every system."""
    unknown = set(entries(library, "NEEDED")) - _OF_THE_SYSTEM - set(NAMES)
    if unknown:
        raise ValueError(f"{library} needs {', '.join(sorted(unknown))}, which nobody packs")


def entries(library: Path, kind: str) -> list[str]:
    """List the entries of a kind in a library's dynamic section, as ``readelf`` prints them."""
    listing = subprocess.run(
        ["readelf", "--dynamic", str(library)], capture_output=True, text=True, check=True
    ).stdout
    found: list[str] = re.findall(rf"\({kind}\).*\[(.*)\]", listing)
    return found
