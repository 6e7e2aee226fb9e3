"""The process between the judge and a front-end's: whatever that leaves running ends with it.

It is the parent of the front-end's process and, as a subreaper, of every process that loses its
parent there: daemons cannot leave it (Linux; elsewhere there is no such process). It also makes the
folder of their temporary files, and removes it. It imports no front-end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

MARK = "WHISPER_MEL_MARK"
"""Environment variable with the mark of a front-end's processes, which the judge chooses."""
_WARDEN = "WHISPER_MEL_WARDEN"
_FOLDER = "TMPDIR"

_PATIENCE = 30.0  # seconds for which what is left is killed; some forks faster than that

_HAS_LISTS = os.path.exists("/proc/thread-self/children")
_SIGNALS = {signal.SIGTERM, signal.SIGCHLD}
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def end_with_parent(number: int) -> None:
    """Make the end of the parent process send signal ``number`` to this one (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() == 1:
            sys.exit("the judging process has ended")


def watch(connection: int) -> None:
    """Fork. Return in the child; the parent becomes the warden and ends as the child does.

    SIGTERM ends both. ``connection`` is the descriptor of the child's connection to the judge,
    which only the child may hold.
    """
    if sys.platform != "linux":
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    end_with_parent(signal.SIGTERM)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    os.environ[_WARDEN] = str(os.getpid())
    # What torch.compile keeps for its next process is no temporary file.
    kept = os.path.join(tempfile.gettempdir(), f"torchinductor_{os.getuid()}")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", kept)
    os.environ[_FOLDER] = folder_of(os.environ[MARK])
    os.mkdir(os.environ[_FOLDER], 0o700)
    tempfile.tempdir = None  # known anew from the environment
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)  # a group without the warden, which kills it
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    os.close(connection)
    status = _ended(child)
    _end_all(child)
    shutil.rmtree(os.environ[_FOLDER], ignore_errors=True)
    _exit_as(status)


def folder_of(mark: str) -> str:
    """Return the folder of the temporary files of processes with this mark."""
    return os.path.join(tempfile.gettempdir(), f"whisper-mel-{mark}")


def end_marked(mark: str) -> None:
    """Do the work of a warden that was killed: kill the processes with this mark (Linux).

    Their temporary files are removed. Who has cleared its environment has no mark.
    """
    word = f"{MARK}={mark}".encode()
    _kill(lambda: [pid for pid in _parents() if word in _environment_of(pid)])
    shutil.rmtree(folder_of(mark), ignore_errors=True)


def _environment_of(pid: int) -> list[bytes]:
    """List the environment variables that a process was started with; none if it cannot be seen."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def daemons() -> list[str]:
    """List the processes whose parents have ended, each by its number and command line.

    Raises ``NotImplementedError`` in a process that has no warden.
    """
    warden = os.getppid()
    if os.environ.get(_WARDEN) != str(warden):
        raise NotImplementedError("no process watches over this one")
    return [_described(pid) for pid in children(warden) if pid != os.getpid()]


def temporary_files() -> int:
    """Count the files and folders among temporary files; 0 in a process that has no warden."""
    if _WARDEN not in os.environ:
        return 0
    return sum(len(folders) + len(files) for _, folders, files in os.walk(os.environ[_FOLDER]))


def descendants(pid: int) -> list[int]:
    """List the processes that were started by ``pid`` and by those, zombies among them."""
    found = children(pid)
    for one in found:  # grows while it is read
        found += children(one)
    return found


def children(pid: int) -> list[int]:
    """List the processes whose parent is ``pid``; none where the system does not tell.

    Most systems have the list in a file for each thread: it takes no look at every process, and
    misses none that is replaced meanwhile.
    """
    if _HAS_LISTS:
        with contextlib.suppress(OSError):  # a thread has ended meanwhile
            return [
                int(child)
                for path in Path(f"/proc/{pid}/task").glob("*/children")
                for child in path.read_text().split()
            ]
    return [child for child, parent in _parents().items() if parent == pid]


def _parents() -> dict[int, int]:
    """Return the parent of every process."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            # The name, in parentheses, may hold anything.
            fields = entry.read_text(errors="replace").rpartition(")")[2].split()
            found[int(entry.parent.name)] = int(fields[1])
    return found


def _described(pid: int) -> str:
    """Return a process's number and command line, or that it is a fork of this one."""
    try:
        words, own = (Path(f"/proc/{of}/cmdline").read_bytes() for of in (pid, "self"))
    except OSError:
        return f"{pid} (ended meanwhile)"
    line = words.replace(b"\0", b" ").decode(errors="replace").strip()
    return f"{pid} ({'a fork of the front-end' if words == own else line[:300]})"


def _ended(child: int) -> int | None:
    """Wait for the end of a child; return its status, or None if this process is to end first."""
    while signal.sigwait(_SIGNALS) != signal.SIGTERM:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == child:
                    return status
                if pid == 0:
                    break
    return None


def _end_all(group: int) -> None:
    """Kill a group of processes, at once, and every descendant.

    Those of a killed one become children of this process.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)

    def left() -> list[int]:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        return descendants(os.getpid())

    _kill(left)


def _kill(left: Callable[[], Iterable[int]]) -> None:
    """Kill the processes that ``left`` lists, until there are none or ``_PATIENCE`` is over.

    A process may have forked and ended before it is killed. Its group is killed all at once.
    """
    end = time.monotonic() + _PATIENCE
    while (pids := left()) and time.monotonic() < end:
        groups = {os.getpgrp()}  # this process's own is spared
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                group = os.getpgid(pid)
                os.kill(pid, signal.SIGKILL)
                if group not in groups:
                    groups.add(group)
                    os.killpg(group, signal.SIGKILL)


def _exit_as(status: int | None) -> NoReturn:
    """End with the exit status of the child, or by the signal that ended it."""
    if status is not None and os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
    os._exit(0 if status is None else os.waitstatus_to_exitcode(status))
