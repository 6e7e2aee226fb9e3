"""The process in which a front-end runs.

:mod:`whisper_mel_conformance.client` starts it and speaks with it through a socket of its own, so
that a front-end may print what it likes.
"""

from __future__ import annotations

import ctypes
import dataclasses
import faulthandler
import os
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

from whisper_mel_conformance.frontend import load
from whisper_mel_conformance.probes import PROBES, Broken, Caller

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Load the front-end that the first message names, then answer probes until the end."""
    _die_with_parent()
    faulthandler.enable()
    connection = Connection(int(sys.argv[1]))
    request = connection.recv()
    try:
        loaded = load(request["source"])
    except BaseException as error:
        connection.send(("refused", _describe(error), 0))
        return
    if loaded.device == "cpu":
        # Others' drivers map far more than they use, as the address space of a device.
        _limit_memory(request["memory"])
    description = {
        "name": loaded.name,
        "device": loaded.device,
        "capabilities": dataclasses.asdict(loaded.capabilities),
        "versions": dict(loaded.versions),
    }
    connection.send(("value", description, 0))
    caller = Caller(loaded)
    while True:
        try:
            probe, arguments = connection.recv()
        except EOFError:
            return
        connection.send(answer(caller, probe, arguments))


def answer(caller: Caller, probe: str, arguments: dict[str, Any]) -> tuple[str, Any, int]:
    """How a probe ended (``"value"`` and other kinds), with what, and after how many calls."""
    before = caller.calls
    kind, value = _answer(caller, probe, arguments)
    return kind, value, caller.calls - before


def _answer(caller: Caller, probe: str, arguments: dict[str, Any]) -> tuple[str, Any]:
    try:
        return "value", PROBES[probe](caller, **arguments)
    except Broken as error:
        return "broken", str(error)
    except NotImplementedError as error:
        return "unsupported", str(error) or "NotImplementedError"
    except Exception as error:
        return "refused", _describe(error)
    except BaseException as error:  # SystemExit and the like: no answer to any input
        return "died", f"{type(error).__name__}: {error}"


def _describe(error: BaseException) -> dict[str, Any]:
    return {
        "types": [cls.__name__ for cls in type(error).__mro__],
        "message": str(error)[:2000],
        "traceback": "".join(traceback.format_exception(error))[-4000:],
    }


def _limit_memory(extra: int) -> None:
    """Let the process allocate ``extra`` bytes more than it has now, where that can be limited."""
    try:
        import resource

        with open("/proc/self/status") as file:
            data = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, (data + extra, resource.RLIM_INFINITY))
    except (ImportError, OSError, StopIteration, ValueError):
        print("whisper-mel-conformance: memory is not limited here", file=sys.stderr)


def _die_with_parent() -> None:
    """End with the process that judges, even if the front-end hangs (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:
            sys.exit("the judging process has ended")
