"""The judge's side of a worker: starts it, asks it, replaces it when it dies.

Nothing that the front-end's process sends is executed, and its form, size and time are checked. See
:mod:`whisper_mel_conformance.frontend.wire`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.frontend import wire
from whisper_mel_conformance.frontend.caller import Caller
from whisper_mel_conformance.frontend.errors import Failure, Refused, Unsupported
from whisper_mel_conformance.frontend.load import Capabilities, Loaded, peers
from whisper_mel_conformance.frontend.operations import ANSWERS
from whisper_mel_conformance.frontend.output import Output, signal_name
from whisper_mel_conformance.frontend.warden import MARK, end_marked
from whisper_mel_conformance.frontend.wire import printable
from whisper_mel_conformance.frontend.worker import answer

MEMORY_LIMIT = min(4 << 30, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
FIRST_CALL_PATIENCE = 6.0  # times the time-out: a front-end may be built at its first call
MAX_TIMEOUTS = 2  # after so many time-outs, or so many deaths, it is not called any more
MAX_DEATHS = 10

_NAME_LENGTH = 200  # characters of a name or of a version
_MESSAGE_LENGTH = 2000
_LEAST_ANSWER = 256 << 20  # limit of bytes of an answer: at least this,
_TIMES_THE_REQUEST = 8  # or so many times the size of the request

_DYING = 60.0  # seconds that a process may take to end after it closed its connection
_IN_WORDS = ("unsupported", "broken", "died")  # kinds of answers that are sentences

THREAD_SETTINGS = tuple(
    f"{library}_NUM_THREADS" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA", "RAYON")
)
"""Environment variables by which libraries know how many threads they may have."""

# These switch off telemetry of libraries that front-ends are built on (docs/privacy.md): ONNX
# Runtime sends it once imported, Mojo and MAX when they compile.
_NO_REPORTS = {"ORT_DISABLE_TELEMETRY": "1", "MODULAR_TELEMETRY_ENABLED": "false"}

# The worker imports from the same sys.path; the environment variables stay as they are.
_BOOTSTRAP = (
    "import sys; sys.path[:] = {path!r}\n"
    "from whisper_mel_conformance.frontend.warden import watch; watch(int(sys.argv[1]))\n"
    "from whisper_mel_conformance.frontend.worker import main; main()"
)


class FrontEnd:
    """A front-end in a process of its own.

    ``timeout`` is the time limit of a call in seconds. It may be changed later, but for the limit
    of loading, which is ``FIRST_CALL_PATIENCE`` times the first one. ``model``, if given, is what
    it is judged by (see :class:`Capabilities`). ``name``, ``device``, ``capabilities`` and
    ``versions`` are known once it is started. ``calls`` counts the calls of ``log_mel``.
    """

    def __init__(
        self, source: str, *, timeout: float = 30.0, model: Mapping[str, Any] | None = None
    ) -> None:
        self.source = source
        self.model = model
        self.name = source
        self.device = "cpu"
        self.capabilities = Capabilities()
        self.versions: dict[str, str] = {}
        self.calls = 0
        self.timeout = timeout
        self._loading = timeout * FIRST_CALL_PATIENCE
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._output: Output | None = None
        self._timeouts = self._deaths = 0
        self._given_up: str | None = None
        self._is_described = False
        self._threaded: Collection[str] = ()
        self._mark = ""

    @classmethod
    def of(cls, described: Mapping[str, Any], *, timeout: float) -> FrontEnd:
        """Create a front-end from the description of :meth:`described`, without starting it."""
        model = described["capabilities"]["model"]
        front_end = cls(described["source"], timeout=timeout, model=model)
        front_end._describe(described)
        return front_end

    def described(self) -> dict[str, Any]:
        """Return where it was loaded from and what it declares, as plain data."""
        return {
            "source": self.source,
            "name": self.name,
            "device": self.device,
            "capabilities": asdict(self.capabilities),
            "versions": self.versions,
        }

    @property
    def given_up(self) -> bool:
        """True if it has hung or crashed too often and is not called any more."""
        return self._given_up is not None

    def allow_threads(self, libraries: Collection[str]) -> None:
        """Let libraries of the front-end compute on several threads, from the next call on.

        ``libraries`` are of ``THREAD_SETTINGS``. They get a thread for each CPU, at least two, and
        others get one; if there are none, the caller's environment says it. The front-end's process
        ends if it began otherwise.
        """
        if {*libraries} != {*self._threaded}:
            self.stop()
            self._threaded = libraries

    def _threads(self) -> dict[str, str]:
        """Return the environment that says how many threads libraries may have.

        Peers compute short clips with libraries whose idle threads spin, which makes them many
        times slower on a busy machine: where threads are not what is looked at, they have one.
        """
        if not self._threaded and self.source not in peers():
            return {}
        several = dict.fromkeys(self._threaded, str(max(2, _usable_cpus())))
        return {**dict.fromkeys(THREAD_SETTINGS, "1"), **several}

    def start(self) -> None:
        """Load the front-end in a new process.

        Raises ``Refused`` with the front-end's exception, or ``Failure``; the process has ended
        then.
        """
        ours, theirs = socket.socketpair()
        self._mark = secrets.token_hex(8)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOTSTRAP.format(path=sys.path), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # GNU libc fills memory that malloc gives out, so that a feature which the front-end
                # forgets to write is 3e38. Elsewhere the variable has no effect.
                env={
                    **_NO_REPORTS,
                    **os.environ,
                    **self._threads(),
                    "MALLOC_PERTURB_": "128",
                    MARK: self._mark,
                },
            )
        assert self._process.stdout is not None
        self._output = Output(self._process.stdout)
        self._connection = ours
        setup = {"source": self.source, "memory": MEMORY_LIMIT, "model": self.model}
        try:
            self._describe(self._ask(setup, self._loading))
        except BaseException:
            self.stop()
            raise

    def _describe(self, description: Any) -> None:
        """Store the front-end's description, once: a restarted front-end keeps its name and claims.

        Raises ``Failure`` if the description is not usable.
        """
        if self._is_described:
            return
        try:
            name, device = (_words(description[key]) for key in ("name", "device"))
            versions = {_words(k): _words(v) for k, v in description["versions"].items()}
            capabilities = Capabilities(**description["capabilities"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            what = printable(str(error), _MESSAGE_LENGTH)
            raise Failure(f"the description of the front-end is not usable: {what}") from error
        if not name.strip():
            raise Failure("the front-end's name is empty: expected a name, or none")
        if capabilities.model != self.model:
            raise Failure("the front-end says by which model it is judged: only the user can")
        self.name, self.device, self.versions = name, device, versions
        self.capabilities = capabilities
        self._is_described = True

    def call(self, audio: NDArray[Any], **options: Any) -> NDArray[np.float32]:
        """Return the features of ``audio``; options are those of ``log_mel``, and ``layout``."""
        result: NDArray[np.float32] = self.perform("call", audio=audio, **options)
        return result

    def perform(self, operation: str, *, patience: float = 1.0, **arguments: Any) -> Any:
        """Ask for an operation; return its answer.

        The time limit is ``patience`` times the time-out. Raises ``Refused``, ``Unsupported``, or
        ``Failure`` if the front-end crashed, hung or broke the calling contract.
        """
        if self._given_up:
            raise Failure(f"not called: {self._given_up}", hard=True)
        if self._connection is None:
            self.start()
        if self.calls == 0:
            patience = max(patience, FIRST_CALL_PATIENCE)
        value = self._ask([operation, arguments], self.timeout * patience)
        if not ANSWERS[operation](value, arguments):
            self._die(f"sent a wrong kind of answer to {operation}: {printable(repr(value), 200)}")
        return value

    def stop(self) -> None:
        """End the front-end's process, if there is one, and whatever it has started."""
        if self._process is not None:
            self._process.terminate()  # the warden, which ends all others
            self._process.send_signal(signal.SIGCONT)  # a front-end may have stopped it
            try:
                self._process.wait(timeout=_DYING)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
            if self._process.returncode == -signal.SIGKILL:  # the warden, and it alone
                end_marked(self._mark)
            self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._output is not None:
            self._output.close()
            self._output = None

    def _ask(self, request: Any, timeout: float) -> Any:
        """Send a request and return the worker's answer; ``timeout`` in seconds covers both
        messages.
        """
        assert self._connection is not None
        end = time.monotonic() + timeout
        try:
            size = wire.send(self._connection, request, timeout)
            limit = max(_LEAST_ANSWER, _TIMES_THE_REQUEST * size)
            reply = wire.receive(self._connection, end - time.monotonic(), limit)
        except TimeoutError:
            self._hang(f"no answer within {timeout:g} s")
        except wire.Malformed as error:
            self._die(f"sent an invalid message ({printable(str(error), 200)})")
        except (EOFError, OSError):
            self._end()
        kind, value = self._checked(reply)
        return self._unpack(kind, value)

    def _checked(self, reply: Any) -> tuple[str, Any]:
        """Return the kind and the value of a reply, and count its calls; end a worker that sent
        another.
        """
        if not (isinstance(reply, list) and len(reply) == 3 and _is_count(reply[2])):
            self._die("sent an invalid answer")
        kind, value, calls = reply
        if not _is_of_kind(kind, value):
            self._die("sent an invalid answer")
        self.calls += calls
        return kind, value

    def _unpack(self, kind: str, value: Any) -> Any:
        if kind == "value":
            return value
        if kind == "refused":
            types = [_words(name) for name in value["types"]]
            raise Refused(types, _text(value["message"]), _text(value["traceback"], 4000))
        if kind == "unsupported":
            raise Unsupported(_text(value))
        raise Failure(_text(value), hard=kind == "died")

    def _hang(self, message: str) -> NoReturn:
        self._timeouts += 1
        # Who has never answered had the patience for a first call.
        self._lose(message, self._timeouts >= MAX_TIMEOUTS or self.calls == 0)

    def _end(self) -> NoReturn:
        """Say how the process ended, and what it printed last."""
        assert self._process is not None
        assert self._output is not None
        try:
            status = self._process.wait(timeout=_DYING)
        except subprocess.TimeoutExpired:
            self._hang("the process closed its connection and continued")
        how = f"exited with status {status}"
        if status < 0:
            how = f"was killed by {signal_name(-status)}"
        said = printable(self._output.end(1500), 1500, lines=True).strip()
        self._die(f"{how}; it said: …{said}" if said else how)

    def _die(self, how: str) -> NoReturn:
        self._deaths += 1
        self._lose(f"the process {how}", self._deaths >= MAX_DEATHS)

    def _lose(self, message: str, for_good: bool) -> NoReturn:
        self.stop()
        if for_good:
            self._given_up = f"{message}, as before"
        raise Failure(message, hard=True)


def _usable_cpus() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _text(value: str, limit: int = _MESSAGE_LENGTH) -> str:
    return printable(value, limit, lines=True)


def _words(value: Any) -> str:
    """Return a name or a version on one line; raise ``TypeError`` for other than text."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r}: expected text")
    return printable(value, _NAME_LENGTH)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 40


def _is_of_kind(kind: Any, value: Any) -> bool:
    """Return whether an answer of this kind can have this value."""
    if kind != "refused":
        return kind == "value" or (kind in _IN_WORDS and isinstance(value, str))
    return (
        isinstance(value, dict)
        and isinstance(value.get("types"), list)
        and len(value["types"]) > 0
        and all(isinstance(name, str) for name in value["types"])
        and all(isinstance(value.get(key), str) for key in ("message", "traceback"))
    )


class InProcess(FrontEnd):
    """A front-end in the judging process: only for trusted ones, which neither crash nor hang."""

    def __init__(self, loaded: Loaded) -> None:
        super().__init__(loaded.name)
        self.capabilities = loaded.capabilities
        self._loaded = loaded

    def start(self) -> None:
        """Do nothing: there is no process to start."""

    def allow_threads(self, libraries: Collection[str]) -> None:
        """Do nothing: libraries have the threads that they began with."""

    def perform(self, operation: str, *, patience: float = 1.0, **arguments: Any) -> Any:
        """Perform an operation as :meth:`FrontEnd.perform` does; ``patience`` has no effect."""
        kind, value, calls = answer(Caller(self._loaded), operation, arguments)
        self.calls += calls
        return self._unpack(kind, value)
