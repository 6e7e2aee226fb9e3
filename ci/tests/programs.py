"""Programs that tests run."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def ran(command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    """The program when it has ended, with all that it said; half an hour is a guard against
    hanging. ``options`` are those of ``subprocess.run``.
    """
    return subprocess.run(command, capture_output=True, text=True, timeout=1800, **options)


@contextmanager
def interruptible() -> Iterator[None]:
    """What is started here heeds SIGINT. A shell lets what it starts in the background ignore it,
    and processes inherit that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
