"""The judging side of a worker: starts it, asks it, replaces it when it dies."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.frontend import Capabilities, Loaded, peers
from whisper_mel_conformance.judging import Failure
from whisper_mel_conformance.probes import Caller
from whisper_mel_conformance.worker import answer

MEMORY_LIMIT = min(4 << 30, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
FIRST_CALL_PATIENCE = 6.0  # times the time-out: a front-end may be built at its first call
MAX_TIMEOUTS = 2  # then it is not called any more
MAX_DEATHS = 10

# Peers compute short clips by libraries whose idle threads spin: on a busy machine that makes them
# many times slower. What they compute is the same.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

# What libraries that front-ends are made of send home unless told not to (docs/privacy.md):
# ONNX Runtime once it is imported, Mojo and MAX when they compile.
_NO_REPORTS = {"ORT_DISABLE_TELEMETRY": "1", "MODULAR_TELEMETRY_ENABLED": "false"}

# Imports find in the worker what they find here, while the environment is left as it is.
_BOOTSTRAP = (
    "import sys; sys.path[:] = {path!r}; from whisper_mel_conformance.worker import main; main()"
)


class Refused(Exception):
    """The front-end raised an exception."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['types'][0]}: {error['message']}")
        self.types: list[str] = error["types"]
        self.message: str = error["message"]
        self.traceback: str = error["traceback"]


class Unsupported(Exception):
    """The front-end says that it cannot do this."""


class FrontEnd:
    """A front-end in a process of its own.

    ``timeout`` is in seconds a call. Attributes ``name``, ``device``, ``capabilities`` and
    ``versions`` are known once it is started; ``calls`` counts every call of ``log_mel``.
    """

    def __init__(self, source: str, *, timeout: float = 30.0) -> None:
        self.source = source
        self.name = source
        self.device = "cpu"
        self.capabilities = Capabilities()
        self.versions: dict[str, str] = {}
        self.calls = 0
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._log: IO[bytes] | None = None
        self._timeouts = self._deaths = 0
        self._given_up: str | None = None

    @property
    def given_up(self) -> bool:
        """Whether it has hung or crashed too often, and is not called any more."""
        return self._given_up is not None

    def start(self) -> None:
        """Load the front-end. Raises ``Refused`` with its exception, or ``Failure``; no process is
        left behind then."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  stop() closes it
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOTSTRAP.format(path=sys.path), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,
                # Memory that malloc gives out is filled, so that what a front-end forgets to
                # write is 3e38 (GNU libc; elsewhere the variable means nothing).
                env={
                    **_NO_REPORTS,
                    **os.environ,
                    **(_ONE_THREAD if self.source in peers() else {}),
                    "MALLOC_PERTURB_": "128",
                },
            )
        self._connection = Connection(ours.detach())
        setup = {"source": self.source, "memory": MEMORY_LIMIT}
        try:
            description = self._ask(setup, self._timeout * FIRST_CALL_PATIENCE)
        except BaseException:
            self.stop()
            raise
        self.name, self.device = description["name"], description["device"]
        self.capabilities = Capabilities(**description["capabilities"])
        self.versions = description["versions"]

    def call(self, audio: NDArray[Any], **options: Any) -> NDArray[np.float32]:
        """The features of ``audio``; options as of ``log_mel``, and ``layout``."""
        result: NDArray[np.float32] = self.probe("call", audio=audio, **options)
        return result

    def probe(self, probe: str, *, patience: float = 1.0, **arguments: Any) -> Any:
        """The answer of a probe, which may take ``patience`` times the time-out.

        Raises ``Refused``, ``Unsupported``, or ``Failure`` where the front-end crashed, hung or
        did what none may do.
        """
        if self._given_up:
            raise Failure(f"not called: {self._given_up}", hard=True)
        if self._connection is None:
            self.start()
        if self.calls == 0:
            patience = max(patience, FIRST_CALL_PATIENCE)
        return self._ask((probe, arguments), self._timeout * patience)

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def _ask(self, request: Any, timeout: float) -> Any:
        assert self._connection is not None
        end = time.monotonic() + timeout
        try:
            self._connection.send(request)
            if not self._connection.poll(max(end - time.monotonic(), 0.0)):
                self._timeouts += 1
                self._lose(f"no answer within {timeout:g} s", self._timeouts >= MAX_TIMEOUTS)
            kind, value, calls = self._connection.recv()
        except (EOFError, OSError):
            self._deaths += 1
            self._lose(f"the process {self._last_words()}", self._deaths >= MAX_DEATHS)
        self.calls += calls
        return self._unpack(kind, value)

    def _unpack(self, kind: str, value: Any) -> Any:
        if kind == "value":
            return value
        if kind == "unsupported":
            raise Unsupported(value)
        if kind == "refused":
            raise Refused(value)
        raise Failure(value, hard=kind == "died")

    def _lose(self, message: str, for_good: bool) -> None:
        self.stop()
        if for_good:
            self._given_up = f"{message}, as before"
        raise Failure(message, hard=True)

    def _last_words(self) -> str:
        assert self._process is not None
        assert self._log is not None
        status = self._process.wait(timeout=10)
        how = f"exited with status {status}"
        if status < 0:
            how = f"was killed by {signal.Signals(-status).name}"
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(size - 1500, 0))
        said = self._log.read().decode(errors="replace").strip()
        return f"{how}; it said: …{said}" if said else how


class InProcess(FrontEnd):
    """A front-end of our own, without a process: it must neither crash nor hang."""

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(loaded.name)
        self.capabilities = loaded.capabilities
        self._loaded = loaded

    def start(self) -> None:
        """Nothing is to be started."""

    def probe(self, probe: str, *, patience: float = 1.0, **arguments: Any) -> Any:
        """As that of :class:`FrontEnd`; ``patience`` means nothing here."""
        kind, value, calls = answer(Caller(self._loaded), probe, arguments)
        self.calls += calls
        return self._unpack(kind, value)
