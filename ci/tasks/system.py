"""Install what some checks need and no wheel carries, by the system's own package manager.

Only Debian's and its descendants' is known. Elsewhere, and without the right to, the task fails and
names what is missing; the checks concerned are then skipped, with that reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess

# Debian's packages, and the programs of which one is enough: Google's Chrome is as good as Debian's
# Chromium (100 MB), which the report's page is looked at with.
PACKAGES = {
    "g++": ("g++",),
    "valgrind": ("valgrind",),
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
}


def run(arguments: list[str]) -> int:
    """Installs the missing ones; 0 if none is missing in the end."""
    missing = _missing()
    if missing and shutil.which("apt-get"):
        command = ["apt-get", "--quiet", "--yes"]
        if os.getuid() != 0:
            command = ["sudo", "--non-interactive", *command]
        try:
            # A fresh machine knows no packages until it is told of them.
            subprocess.call([*command, "update"])
            # One by one: a descendant of Debian may lack one of them.
            for name in missing:
                subprocess.call([*command, "install", "--no-install-recommends", name])
        except FileNotFoundError as error:  # no sudo
            print(error)
        missing = _missing()
    for name in missing:
        print(f"{name} is missing: install it (on Debian: apt-get install {name})")
    return 1 if missing else 0


def _missing() -> list[str]:
    return [name for name, programs in PACKAGES.items() if not any(map(shutil.which, programs))]
