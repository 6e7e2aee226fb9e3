"""What a process prints, and how it ended."""

from __future__ import annotations

import signal
import threading
from typing import IO

_KEPT = 64 << 10


class Output:
    """The end of what is printed to a pipe, however much that is: the rest is read and forgotten.

    A thread reads until nothing has the pipe open any more.
    """

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._kept = bytearray()
        self.total = 0
        """Bytes printed so far."""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while data := self._pipe.read1(_KEPT):  # type: ignore[attr-defined]
            self.total += len(data)
            self._kept += data
            del self._kept[:-_KEPT]
        self._pipe.close()

    def end(self, characters: int, timeout: float = 1.0) -> str:
        """The last characters; waits for those underway, ``timeout`` seconds at most."""
        self._thread.join(timeout)
        return bytes(self._kept).decode(errors="replace")[-characters:]

    def close(self) -> None:
        """Read to the end, unless something has the pipe open still."""
        self._thread.join(1.0)


def signal_name(number: int) -> str:
    """``SIGSEGV`` and the like; real-time signals have a number only."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
