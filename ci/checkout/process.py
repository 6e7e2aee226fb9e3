"""Replacement of this process by another program."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def become(*command: str) -> NoReturn:
    """Replace this process by a program, which then receives Ctrl-C and SIGTERM itself."""
    sys.stdout.flush()
    os.execvp(command[0], command)
