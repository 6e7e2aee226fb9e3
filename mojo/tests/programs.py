"""Programs that tests run."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def ran(command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    """The program when it has ended, with all that it said; half an hour is a guard against
    hanging. ``options`` are those of ``subprocess.run``.
    """
    return subprocess.run(command, capture_output=True, text=True, timeout=1800, **options)
