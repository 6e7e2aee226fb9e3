"""The task that installs programs for some checks with the system's package manager.

It knows only the package manager of Debian and its descendants. Elsewhere, or without permission,
it fails and names what is missing; checks that need it are then skipped for that reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess

# Packages, and programs or files one of which is enough. A browser looks at the report's page:
# Chrome will do in place of Chromium (100 MB).
PACKAGES = {
    "g++": ("g++",),
    "valgrind": ("valgrind",),
    "gcc-aarch64-linux-gnu": ("aarch64-linux-gnu-gcc",),
    "libc6-dev-arm64-cross": ("/usr/aarch64-linux-gnu/lib/crt1.o",),
    "gcc-riscv64-linux-gnu": ("riscv64-linux-gnu-gcc",),
    "libc6-dev-riscv64-cross": ("/usr/riscv64-linux-gnu/lib/crt1.o",),
    "qemu-user": ("qemu-aarch64",),
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
}


def run(arguments: list[str]) -> int:
    """Install the missing packages; return 0 if none is missing in the end."""
    missing = _missing()
    if missing and shutil.which("apt-get"):
        command = ["apt-get", "--quiet", "--yes"]
        if os.getuid() != 0:
            command = ["sudo", "--non-interactive", *command]
        try:
            # A fresh machine has no list of packages.
            subprocess.call([*command, "update"])
            # One by one, because a descendant of Debian may lack one of them.
            for name in missing:
                subprocess.call([*command, "install", "--no-install-recommends", name])
        except FileNotFoundError as error:  # no sudo
            print(error)
        missing = _missing()
    for name in missing:
        print(f"{name} is missing: install it (on Debian: apt-get install {name})")
    return 1 if missing else 0


def _missing() -> list[str]:
    return [name for name, needed in PACKAGES.items() if not any(map(_exists, needed))]


def _exists(needed: str) -> bool:
    return os.path.exists(needed) if os.path.isabs(needed) else shutil.which(needed) is not None
