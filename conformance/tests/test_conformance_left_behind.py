"""Processes and files that front-ends leave: found and named, and ended with the judge."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from daily import by_day
from whisper_mel_conformance.cases.catalogue import find
from whisper_mel_conformance.frontend import warden
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure
from whisper_mel_conformance.frontend.warden import children
from whisper_mel_conformance.run.judge import judge_case

pytestmark = pytest.mark.slow

CLIP = np.ones(400, np.float32)

# A daemon as it is made: two forks and a session of its own. It notes its number.
DAEMON = """
import os, sys, time
def daemon(path):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for fd in range(3):
                os.close(fd)
            open(path, "a").write(f"{os.getpid()}\\n")
            time.sleep(3600)
        os._exit(0)
    os.wait()
"""
IN_PROCESS = """
from whisper_mel_conformance.quirks.table import right
def f(audio, n_mels=80):
    daemon({path!r})
    return right(audio, n_mels)
"""
PROGRAM = """
import json
import numpy as np
from whisper_mel_conformance.quirks.table import right
def answer(source, target, n_mels):
    daemon({path!r})
    try:
        y = right(np.fromfile(source, "<f4"), int(n_mels))
        y.tofile(target)
        print(json.dumps({{"shape": y.shape}}), flush=True)
    except ValueError as error:
        print(json.dumps({{"error": str(error)}}), flush=True)
"""
ONCE = "answer(*sys.argv[1:])\n"
SERVING = """
for line in sys.stdin:
    asked = json.loads(line)
    answer(asked["in"], asked["out"], asked["n_mels"])
"""

Load = Callable[[str], FrontEnd]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """A front-end that leaves a daemon, plugged in one of three ways."""
    started: list[FrontEnd] = []

    def load_kind(kind: str) -> FrontEnd:
        path, numbers = tmp_path / f"{kind}.py", str(tmp_path / "numbers")
        body = {"in-process": IN_PROCESS, "once": PROGRAM + ONCE, "serving": PROGRAM + SERVING}
        path.write_text(DAEMON + body[kind].format(path=numbers))
        words = " {in} {out} {n_mels}" if kind == "once" else ""
        source = f"{path}:f" if kind == "in-process" else f"cmd:{sys.executable} {path}{words}"
        started.append(FrontEnd(source, timeout=1800.0))
        started[-1].start()
        return started[-1]

    yield load_kind
    for front_end in started:
        front_end.stop()


def running(folder: Path) -> list[int]:
    """The daemons that are still there. A zombie has ended: whose child it is may not care."""
    pids = [int(line) for line in (folder / "numbers").read_text().split()]
    files = [(pid, Path(f"/proc/{pid}/stat")) for pid in pids]
    return [pid for pid, file in files if file.exists() and ") Z " not in file.read_text()]


def wait_until(nothing_is_left: Callable[[], bool]) -> None:
    """Wait for what has been killed, which takes its time on a busy machine."""
    end = time.monotonic() + 1800
    while not nothing_is_left():
        assert time.monotonic() < end, "something is left"
        time.sleep(0.01)


@pytest.mark.parametrize(
    "kind", by_day(["in-process", "once", "serving"], ["in-process", "serving"])
)
def test_daemons_are_named_and_ended(load: Load, kind: str, tmp_path: Path) -> None:
    front_end = load(kind)
    result = judge_case(front_end, find("memory/daemons"), profile="quick", seed=0)
    assert result.status == "failed"
    name = "a fork of the front-end" if kind == "in-process" else f"{kind}.py"
    assert name in result.message
    front_end.call(CLIP)  # by another process
    assert running(tmp_path)
    front_end.stop()
    assert not running(tmp_path)


@pytest.mark.parametrize("has_lists", [True, False])
def test_descendants_are_found(has_lists: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child and a grandchild, where the system lists children and where it does not."""
    monkeypatch.setattr(warden, "_HAS_LISTS", has_lists and warden._HAS_LISTS)
    command = ["sh", "-c", "sleep 3600 & echo $!; wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        try:
            of_this, of_the_child = map(warden.descendants, (os.getpid(), child.pid))
        finally:
            os.kill(grandchild, signal.SIGKILL)
    assert {child.pid, grandchild} <= {*of_this}
    assert of_the_child == [grandchild]


# Reads a file that is there by its relative path, and leaves another.
NOTES = """
import json, sys
import numpy as np
from whisper_mel_conformance.quirks.table import right
def f(audio, n_mels=80):
    assert open("model.txt").read() == "a model"
    {leave}
    return right(audio, n_mels)
if __name__ == "__main__":
    y = f(np.fromfile(sys.argv[1], "<f4"), int(sys.argv[3]))
    y.tofile(sys.argv[2])
    print(json.dumps(dict(shape=y.shape)))
"""


@pytest.mark.parametrize("leave", ["pass", "open('notes.txt', 'a').write('.')"])
@pytest.mark.parametrize("source", ["notes.py:f", "cmd:./notes {in} {out} {n_mels}"])
def test_files_in_the_working_directory_are_named(
    source: str, leave: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The front-end finds there what it needs, and what it leaves is gone afterwards."""
    monkeypatch.chdir(tmp_path)
    Path("model.txt").write_text("a model")
    Path("notes.py").write_text(NOTES.format(leave=leave))
    Path("notes").write_text(f'#!/bin/sh\nexec "{sys.executable}" notes.py "$@"\n')
    Path("notes").chmod(0o700)
    front_end = FrontEnd(source, timeout=1800.0)
    try:
        result = judge_case(front_end, find("memory/files-left"), profile="quick", seed=0)
    finally:
        front_end.stop()
    if leave == "pass":
        assert (result.status, result.message) == ("passed", "")
    else:
        assert result.status == "failed"
        assert result.message == "calls leave files in the working directory: notes.txt"
    left = {path.name for path in tmp_path.iterdir()} - {"__pycache__"}  # Python's own
    assert left == {"model.txt", "notes.py", "notes"}


# A process that is replaced by its child all the time, for ten minutes.
RESTLESS = """
import os, time
from whisper_mel_conformance.quirks.table import right
has_begun = False
def f(audio, n_mels=80):
    global has_begun
    if not has_begun and os.fork() == 0:
        os.setsid()
        end = time.monotonic() + 600
        while time.monotonic() < end and not os.fork():
            open({path!r}, "w").write(str(os.getpid()))
        os._exit(0)
    has_begun = True
    return right(audio, n_mels)
"""


def test_what_never_stays_is_found_and_ended(tmp_path: Path) -> None:
    last = tmp_path / "last"
    (tmp_path / "restless.py").write_text(RESTLESS.format(path=str(last)))
    front_end = FrontEnd(f"{tmp_path / 'restless.py'}:f", timeout=1800.0)
    try:
        front_end.start()
        result = judge_case(front_end, find("memory/daemons"), profile="quick", seed=0)
        assert result.status == "failed"
        assert "processes running" in result.message
        front_end.call(CLIP)
    finally:
        front_end.stop()
    then = last.read_text()
    time.sleep(0.3)
    assert last.read_text() == then, "it goes on"


LEAKING_PROCESSES = """
import subprocess
from whisper_mel_conformance.quirks.table import right

def f(audio, n_mels=80):
    process = subprocess.Popen(["sleep", "3600"])
    with open({path!r}, "a") as file:
        print(process.pid, file=file)
    return right(audio, n_mels)
"""


def test_processes_that_pile_up_are_ended_with_their_case(tmp_path: Path) -> None:
    path = tmp_path / "leaking.py"
    path.write_text(LEAKING_PROCESSES.format(path=str(tmp_path / "numbers")))
    front_end = FrontEnd(f"{path}:f", timeout=1800.0)
    front_end.start()
    try:
        result = judge_case(front_end, find("memory/left-behind-short/80"), profile="quick", seed=0)
        assert "each call leaves 1 processes behind" in result.message
        times = result.arguments["times"]
        assert len((tmp_path / "numbers").read_text().split()) == 3 * times, "it went on calling"
        wait_until(lambda: not running(tmp_path))
    finally:
        front_end.stop()


# Thirty processes that are replaced by their children all the time, in the group of the first.
COMETS = """
import os, sys, time
from whisper_mel_conformance.frontend import warden
warden._PATIENCE = 0.0  # no process is killed by its own number
begun, begin = os.pipe()
group = os.fork()
if group == 0:
    os.setpgid(0, 0)
    for _ in range(30):
        if os.fork() == 0:
            end = time.monotonic() + 600
            while time.monotonic() < end and not os.fork():
                os.write(begin, b".")
            if time.monotonic() > end:
                open("survived", "w")
            os._exit(0)
    time.sleep(3600)
seen = b""
while len(seen) < 200:
    seen += os.read(begun, 1)
warden._end_all(group)
os.close(begin)
while os.read(begun, 1000):  # until nobody has the other end
    pass
"""


def test_those_that_fork_all_the_time_end_at_once(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", COMETS], cwd=tmp_path, check=True)
    assert not list(tmp_path.iterdir())


def test_a_group_of_any_size_is_killed_by_one_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    first = subprocess.Popen(["sleep", "600"], process_group=0)
    more = [subprocess.Popen(["sleep", "600"], process_group=first.pid) for _ in range(20)]
    sent: list[int] = []
    kill = os.killpg

    def counted(group: int, number: int) -> None:
        sent.append(group)
        kill(group, number)

    monkeypatch.setattr(os, "killpg", counted)
    looks = iter([[process.pid for process in (first, *more)], []])
    warden._kill(lambda: next(looks))
    assert sent == [first.pid]
    assert {process.wait() for process in (first, *more)} == {-signal.SIGKILL}


def test_what_cannot_be_ended_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warden, "_PATIENCE", 0.05)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    warden._kill(lambda: [gone.pid])


# Ends its warden, which cannot end others then.
KILLING = """
import signal, tempfile
import numpy as np
calls = []
def f(audio, n_mels=80):
    calls.append(n_mels)
    if len(calls) == 2:  # the daemon is there
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(3600)
    daemon({path!r})
    tempfile.mkstemp()
    open({path!r} + ".folder", "w").write(tempfile.gettempdir())
    while not os.path.exists({path!r}) or not os.path.getsize({path!r}):
        time.sleep(0.01)
    return np.zeros((n_mels, 3), np.float32)
"""


def test_a_killed_warden_s_work_is_done(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers"
    (tmp_path / "killing.py").write_text(DAEMON + KILLING.format(path=str(numbers)))
    front_end = FrontEnd(f"{tmp_path}/killing.py:f", timeout=1800.0)
    try:
        front_end.call(CLIP)
        front_end.timeout = 1.0  # the daemon holds the connection: nothing says that it has ended
        with pytest.raises(Failure, match="no answer within 1 s"):
            front_end.call(CLIP)
    finally:
        front_end.stop()
    assert len(numbers.read_text().split()) == 1
    wait_until(lambda: not running(tmp_path))  # nobody waits for one whose warden is gone
    folder = Path((tmp_path / "numbers.folder").read_text())
    assert folder.name.startswith("whisper-mel-")
    assert not folder.exists()


@pytest.mark.parametrize("kind", ["in-process", "serving"])
def test_a_crash_leaves_no_daemon(load: Load, kind: str, tmp_path: Path) -> None:
    front_end = load(kind)
    front_end.call(CLIP)
    [daemon] = running(tmp_path)
    stat = Path(f"/proc/{daemon}/stat").read_text()
    warden = int(stat.rpartition(")")[2].split()[1])
    [worker] = (pid for pid in children(warden) if pid != daemon)
    os.kill(worker, signal.SIGSEGV)
    with pytest.raises(Failure, match="SIGSEGV"):
        front_end.call(CLIP)
    assert not running(tmp_path)


JUDGE = """
import sys, time
import numpy as np
from whisper_mel_conformance.frontend.client import FrontEnd
front_end = FrontEnd(sys.argv[1], timeout=1800.0)
front_end.call(np.ones(400, np.float32))
print("called", flush=True)
time.sleep(3600)
"""


def test_daemons_and_folders_end_with_the_judge(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = load("serving").source
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    judge = subprocess.Popen(
        [sys.executable, "-c", JUDGE, source], stdout=subprocess.PIPE, text=True
    )
    assert judge.stdout is not None
    assert judge.stdout.readline() == "called\n"
    assert running(tmp_path)
    assert list((tmp_path / "temporary").iterdir())
    judge.kill()
    judge.communicate()
    wait_until(lambda: not running(tmp_path) and not any((tmp_path / "temporary").iterdir()))


def test_a_killed_program_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither that of its input and output, nor what it has made itself."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    program = "import tempfile, time; tempfile.mkdtemp(); time.sleep(3600)"
    (tmp_path / "prog.py").write_text(program)
    front_end = FrontEnd(f"cmd:{sys.executable} {tmp_path / 'prog.py'} {{in}} {{out}}")
    front_end.start()
    front_end.timeout = 0.2
    with pytest.raises(Failure, match="no answer within"):
        front_end.call(CLIP)
    assert not list((tmp_path / "temporary").iterdir())
