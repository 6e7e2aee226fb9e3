"""The output of a process, and the name of the signal that ended it."""

from __future__ import annotations

import re
import signal
import threading
from typing import IO

_KEPT = 64 << 10


class Output:
    """The last bytes that a pipe delivers; earlier ones are read and dropped.

    A thread reads until no process has the pipe open.
    """

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._kept = bytearray()
        self.total = 0
        """Number of bytes printed so far."""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while data := self._pipe.read1(_KEPT):  # type: ignore[attr-defined]
            self.total += len(data)
            self._kept += data
            del self._kept[:-_KEPT]
        self._pipe.close()

    def end(self, characters: int, timeout: float = 5.0) -> str:
        """Return the last characters; wait up to ``timeout`` seconds for those underway.

        Python's list of extension modules, with which the report of a crash ends, is left out.
        """
        self._thread.join(timeout)
        text = bytes(self._kept).decode(errors="replace")
        return re.sub(r"\nExtension modules: .*", "", text)[-characters:]

    def close(self) -> None:
        """Wait up to a second until the end of the pipe is read."""
        self._thread.join(1.0)


def signal_name(number: int) -> str:
    """Return the name of a signal, such as ``SIGSEGV``; real-time signals have a number only."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
