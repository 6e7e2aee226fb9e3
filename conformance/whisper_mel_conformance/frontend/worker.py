"""The process in which a front-end runs.

:mod:`whisper_mel_conformance.frontend.client` starts it and talks to it through a socket, so that
the front-end may use standard input and output freely.
"""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

from whisper_mel_conformance.frontend import wire
from whisper_mel_conformance.frontend.caller import Caller
from whisper_mel_conformance.frontend.errors import Broken
from whisper_mel_conformance.frontend.load import Loaded, load
from whisper_mel_conformance.frontend.operations import OPERATIONS
from whisper_mel_conformance.frontend.warden import end_with_parent

_LONG = 1000  # characters of a name or of a version
_MANY = 50  # number of versions


def main() -> None:
    """Load the front-end that the first message names, then answer requests until the end."""
    end_with_parent(signal.SIGKILL)
    _end_first()
    faulthandler.enable()
    connection = socket.socket(fileno=int(sys.argv[1]))
    request = wire.receive(connection)
    try:
        loaded = load(request["source"], request["model"])
        described = _description(loaded)
    except BaseException as error:
        wire.send(connection, ["refused", _describe(error), 0])
        return
    if loaded.device == "cpu":
        # Drivers of other devices map far more address space than they use.
        _limit_memory(request["memory"])
    wire.send(connection, ["value", described, 0])
    caller = Caller(loaded)
    while True:
        try:
            operation, arguments = wire.receive(connection)
        except EOFError:
            return
        wire.send(connection, answer(caller, operation, arguments))


def _description(loaded: Loaded) -> dict[str, Any]:
    """Return what the front-end declares, as plain data of limited size."""
    versions = list(loaded.versions.items())[:_MANY]
    return {
        "name": str(loaded.name)[:_LONG],
        "device": str(loaded.device)[:_LONG],
        "capabilities": dataclasses.asdict(loaded.capabilities),
        "versions": {str(name)[:_LONG]: str(version)[:_LONG] for name, version in versions},
    }


def answer(caller: Caller, operation: str, arguments: dict[str, Any]) -> tuple[str, Any, int]:
    """Perform an operation; return the kind of answer (``"value"``, …), its value, its calls."""
    before = caller.calls
    kind, value = _answer(caller, operation, arguments)
    return kind, value, caller.calls - before


def _answer(caller: Caller, operation: str, arguments: dict[str, Any]) -> tuple[str, Any]:
    try:
        return "value", OPERATIONS[operation](caller, **arguments)
    except Broken as error:
        return "broken", _words(error)
    except NotImplementedError as error:
        return "unsupported", _words(error) or "NotImplementedError"
    except (MemoryError, RecursionError, SystemError) as error:
        # The interpreter is at its end: nothing was refused.
        return "broken", f"{type(error).__name__}: {_words(error)}"
    except Exception as error:
        return "refused", _describe(error)
    except BaseException as error:  # SystemExit and the like answer no input
        return "died", f"{type(error).__name__}: {_words(error)}"


def _describe(error: BaseException) -> dict[str, Any]:
    try:
        trace = "".join(traceback.format_exception(error))[-4000:]
    except Exception:  # an exception class may override what is used here
        trace = ""
    return {
        "types": [cls.__name__ for cls in type(error).__mro__],
        "message": _words(error),
        "traceback": trace,
    }


def _words(error: BaseException) -> str:
    try:
        return str(error)[:2000]
    except Exception:  # an exception's __str__ may fail
        return "(an error without words)"


def _end_first() -> None:
    """Make this process the first to be ended if the machine has no memory left (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _limit_memory(extra: int) -> None:
    """Limit the process to ``extra`` more bytes than it has now, where the system can do that."""
    try:
        import resource

        with open("/proc/self/status") as file:
            data = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, (data + extra, resource.RLIM_INFINITY))
    except (ImportError, OSError, StopIteration, ValueError):
        print("whisper-mel-conformance: memory is not limited here", file=sys.stderr)
