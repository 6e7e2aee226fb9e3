"""The commit and the locks of this checkout, which results record."""

from __future__ import annotations

import hashlib
import subprocess
from typing import Any

from checkout.paths import LOCKS, ROOT


def commit() -> dict[str, Any]:
    """Return ``commit``, and ``dirty``: whether tracked files differ from it; both None without
    git.
    """
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}
    name, _, dirty = done.stdout.strip().partition("-")
    return {"commit": name, "dirty": bool(dirty)}


def variables() -> dict[str, str]:
    """Return environment variables that identify the checkout; reports list them among the flags.

    ``WHISPER_MEL_LOCKS`` is the SHA-256 of all locks, joined in the order of their names.
    ``WHISPER_MEL_COMMIT`` ends in ``-dirty`` if tracked files differ, and is absent without git.
    """
    locks = hashlib.sha256()
    for path in sorted(LOCKS.glob("*.txt")):
        locks.update(path.read_bytes())
    found = {"WHISPER_MEL_LOCKS": locks.hexdigest()}
    made_of = commit()
    if made_of["commit"]:
        found["WHISPER_MEL_COMMIT"] = made_of["commit"] + ("-dirty" if made_of["dirty"] else "")
    return found
