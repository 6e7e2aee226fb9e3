"""Programs that take a task over."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def become(*command: str) -> NoReturn:
    """Run a program in place of this one: Ctrl-C and SIGTERM are its own to deal with."""
    sys.stdout.flush()
    os.execvp(command[0], command)
