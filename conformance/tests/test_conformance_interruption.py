"""Runs that are ended early, or that find no room: nothing is lost, half written or left behind."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from programs import ran
from running import FEW, QUIRKS, conformance, report_of
from whisper_mel_conformance import folder as report_folder
from whisper_mel_conformance.folder import ROOM, claim, whole_folder, write_whole

# At its third call it sends a signal to the process that judges it, and then hangs.
ENDING = """
import os, pathlib, sys, time
sys.path.insert(0, {tests!r})
from correct_front_ends import judge, right
calls = []
def f(audio, n_mels=80):
    calls.append(1)
    if len(calls) == 3:
        pathlib.Path({pid!r}).write_text(str(os.getpid()))
        os.kill(judge(), {signal})
        time.sleep(3600)
    return right(audio, n_mels)
"""


def ended_by(number: int, folder: Path) -> tuple[Any, int]:
    """A run that its front-end ends by a signal, and the front-end's process."""
    source, pid = folder / "ending.py", folder / "pid"
    tests = str(Path(__file__).parent)
    source.write_text(ENDING.format(tests=tests, pid=str(pid), signal=number))
    words = ("--frontend", f"{source}:f", "-k", "rising-noise", "--timeout", "1800")
    done = conformance(*words, folder=folder)
    return done, int(pid.read_text())


def is_running(pid: int) -> bool:
    """Whether there is the process, and it is no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_what_was_judged_is_reported(name: str, status: int, tmp_path: Path) -> None:
    done, worker = ended_by(signal.Signals[name], tmp_path)
    assert done.returncode == status, done.stdout + done.stderr
    report = report_of(tmp_path)
    assert report["interrupted"] == name
    assert report["problems"][0].startswith(f"interrupted by {name} after 2 cases")
    [front_end] = report["front_ends"]
    assert front_end["counts"] == {"passed": 2, "failed": 0, "skipped": 0, "known": 0}
    assert front_end["class"] == "-"  # of two cases nothing follows
    assert "interrupted" in (tmp_path / "report" / "summary.md").read_text()
    assert not is_running(worker)
    os.close(claim(tmp_path / "report"))  # nobody has the folder


WRONG = """
import os, pathlib, sys, time
sys.path.insert(0, {tests!r})
from correct_front_ends import judge
from whisper_mel_reference import WHISPER, log_mel
calls = []
def f(audio, n_mels=80):
    calls.append(1)
    if len(calls) == 3 and not pathlib.Path({ended!r}).exists():
        pathlib.Path({ended!r}).touch()
        os.kill(judge(), 2)
        time.sleep(3600)
    spec = WHISPER.replace(n_mels=n_mels, window="hann-symmetric")
    return log_mel(audio, spec, dtype="float32")
"""


@pytest.mark.slow
def test_what_failed_before_ctrl_c_is_diagnosed(tmp_path: Path) -> None:
    tests = str(Path(__file__).parent)
    (tmp_path / "wrong.py").write_text(WRONG.format(tests=tests, ended=str(tmp_path / "ended")))
    words = ("--frontend", "wrong.py:f", "-k", "rising-noise", "-n", "0", "--timeout", "1800")
    done = conformance(*words, folder=tmp_path)
    assert done.returncode == 130, done.stdout + done.stderr
    assert "[symmetric-window]" in done.stdout
    assert "torch.hann_window(400)" in done.stdout
    report = report_of(tmp_path)
    assert report["interrupted"] == "SIGINT"
    assert report["front_ends"][0]["diagnosis"]["cause"].startswith("The Hann window is symmetric")


@pytest.mark.slow
def test_a_killed_run_leaves_nothing_behind(tmp_path: Path) -> None:
    done, worker = ended_by(signal.SIGKILL, tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "report" / "report.json").exists()
    end = time.monotonic() + 1800
    while is_running(worker):
        assert time.monotonic() < end, "the front-end's process goes on"
        time.sleep(0.01)
    os.close(claim(tmp_path / "report"))


@pytest.mark.slow
def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    report = tmp_path / "report"
    lock = claim(report)
    (report / "report.json").write_text("of the first run")
    second = conformance("--frontend", f"{QUIRKS}:all-zero", "-k", FEW, folder=tmp_path)
    os.close(lock)
    assert second.returncode == 2
    assert "report folder report: another run is writing there" in second.stderr
    assert (report / "report.json").read_text() == "of the first run"
    assert list(report.iterdir()) == [report / "report.json"]


# --------------------------------------------------------------------------- no room


def _small_files(size: int) -> Callable[[], None]:
    """As on a full disk: no file can be larger than this."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.slow
def test_a_full_disk_is_said_before_the_run(tmp_path: Path) -> None:
    prepare = _small_files(ROOM // 2)
    words = ("--frontend", f"{QUIRKS}:all-zero", "-k", FEW)
    done = conformance(*words, folder=tmp_path, preexec_fn=prepare)
    assert done.returncode == 2
    assert "report folder report: cannot be written to: File too large" in done.stderr
    assert "8 MiB" in done.stderr
    assert list((tmp_path / "report").iterdir()) == []


@pytest.mark.parametrize("kind", ["read-only", "a file", "below a file"])
def test_a_folder_that_cannot_be_written_is_said(kind: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    folders = {
        "read-only": Path("/proc/self"),  # not even root can make a file there
        "a file": tmp_path / "file",
        "below a file": tmp_path / "file" / "report",
    }
    with pytest.raises(ValueError, match=f"report folder {folders[kind]}: cannot be written to: "):
        claim(folders[kind])
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.slow
def test_a_disk_that_fills_up_during_the_run_fails_it(tmp_path: Path) -> None:
    program = (
        "import sys, resource; from whisper_mel_conformance import folder, __main__; "
        "folder.ROOM = 1; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "
        "sys.exit(__main__.main(sys.argv[1:]))"
    )
    words = ("--frontend", f"{QUIRKS}:symmetric-window", "-k", FEW)
    # Else Python would store the first 100 bytes of the bytecode of what is imported first here.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = ran([sys.executable, "-c", program, *words], cwd=tmp_path, env=environment)
    assert done.returncode == 1, done.stderr
    assert "PROBLEM the reproduction of symmetric-window" in done.stdout
    assert "PROBLEM the report could not be written: File too large" in done.stdout
    left = [path for path in (tmp_path / "report").rglob("*") if path.is_file()]
    assert {path.name for path in left} == {report_folder.MARKER}


def test_nothing_is_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_whole(path, b"whole")

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(report_folder.os, "replace", full)
        with pytest.raises(OSError, match="No space"):
            write_whole(path, b"other")
        with pytest.raises(OSError, match="No space"), whole_folder(tmp_path / "new") as new:
            (new / "part").write_text("part")
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]
