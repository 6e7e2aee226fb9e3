"""What a report can only know from the checkout that made it: its commit and its locks.

They are handed on as environment variables, which reports and reproductions list among the flags.
"""

from __future__ import annotations

import hashlib
import subprocess

from .paths import LOCKS, ROOT


def checkout() -> dict[str, str]:
    """``WHISPER_MEL_COMMIT``, with ``-dirty`` if tracked files differ, and ``WHISPER_MEL_LOCKS``.

    The latter is the SHA-256 of all locks, one after the other, by name; the former is absent where
    there is no git.
    """
    locks = hashlib.sha256()
    for path in sorted(LOCKS.glob("*.txt")):
        locks.update(path.read_bytes())
    found = {"WHISPER_MEL_LOCKS": locks.hexdigest()}
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return found
    return {**found, "WHISPER_MEL_COMMIT": done.stdout.strip()}
