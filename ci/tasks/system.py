"""Install what some checks need and no wheel carries, by the system's own package manager.

Only Debian's and its descendants' is known. Elsewhere, and without the right to, the task fails and
names what is missing; the checks concerned are then skipped, with that reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess

PROGRAMS = {"g++": "g++", "valgrind": "valgrind"}  # each with the Debian package that it comes in


def run(arguments: list[str]) -> int:
    """Installs the missing ones; 0 if none is missing in the end."""
    missing = _missing()
    if missing and shutil.which("apt-get"):
        command = ["apt-get", "--quiet", "--yes"]
        if os.getuid() != 0:
            command = ["sudo", "--non-interactive", *command]
        packages = [PROGRAMS[name] for name in missing]
        try:
            # A fresh machine knows no packages until it is told of them.
            subprocess.call([*command, "update"])
            subprocess.call([*command, "install", "--no-install-recommends", *packages])
        except FileNotFoundError as error:  # no sudo
            print(error)
        missing = _missing()
    for name in missing:
        print(f"{name} is missing: install it (on Debian: apt-get install {PROGRAMS[name]})")
    return 1 if missing else 0


def _missing() -> list[str]:
    return [name for name in PROGRAMS if shutil.which(name) is None]
