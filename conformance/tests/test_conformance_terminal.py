"""The run in a terminal: bars where there is one, plain lines elsewhere, eighty columns."""

from __future__ import annotations

import importlib.metadata
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documents import document, good, run
from running import CORRECT
from whisper_mel_conformance.__main__ import main
from whisper_mel_conformance.cases.catalogue import CASES_VERSION
from whisper_mel_conformance.report.documents import Document
from whisper_mel_conformance.report.formats import markdown
from whisper_mel_conformance.report.terminal import summary
from whisper_mel_golden import vectors
from whisper_mel_reference import BOUND_VERSION

COMMAND = [sys.executable, "-m", "whisper_mel_conformance", "-k", "length-401/80"]


def test_the_table_fits_into_80_columns() -> None:
    names = ["x" * 60, "[bold]brackets[/bold]", "short"]
    text = summary(Document([run(*map(good, names))]), Path("report"), width=80)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "[bold]" in text
    assert (
        "3 front-ends: 3 conform, 0 have known, declared differences, 0 fail unexpectedly\n" in text
    )
    assert "\x1b" not in text


def test_cause_and_fix_come_first_and_few_failures() -> None:
    """Of forty failures the worst of each family is shown, with its command."""
    text = summary(document(failures=40), Path("report"), width=40)
    lines = [line.strip() for line in text.splitlines()]
    starts = [line.split()[0] for line in lines if line.split()]
    order = [starts.index(word) for word in ("Cause", "Fix", "Evidence", "Failed", "FAILED")]
    assert order == sorted(order)
    assert [line.split(":")[0] for line in lines if line.startswith("FAILED")] == [
        "FAILED numerics/dc/80",
        "FAILED boundary/length-39/80",
    ]
    assert "Failed   41 cases: boundary 40, numerics 1" in text
    one = document(failures=0)
    assert "Failed   1 case: numerics 1" in summary(one, Path("report"), width=40)
    assert ": 1 failure (numerics 1)" in markdown(one).replace("\\", "")
    assert "whisper-mel repro failures/x/boundary--length-39--80" in text
    assert "PROBLEM" in text
    assert "1 fails unexpectedly" in text


@pytest.mark.slow
def test_a_run_whose_output_nobody_reads_ends_as_any_other(tmp_path: Path) -> None:
    """As of `whisper-mel judge … | head -1`: no traceback, a report, the verdict's status."""
    read, write = os.pipe()
    os.close(read)
    command = [*COMMAND, "-n", "0", "--frontend", f"{CORRECT}:right"]
    done = subprocess.run(
        command, stdout=write, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "report" / "index.html").exists()


def test_all_versions_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the package, and of what verdicts depend on and that has a version of its own."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    own = f"cases {CASES_VERSION}, vectors {vectors.VERSION}, bound {BOUND_VERSION}"
    package = importlib.metadata.version("whisper-mel-conformance")
    assert capsys.readouterr().out == f"whisper-mel-conformance {package}, {own}\n"


def test_quiet_says_only_what_is_wrong() -> None:
    assert summary(Document([run(good())]), Path("report"), quiet=True) == ""
    text = summary(document(), Path("report"), quiet=True)
    assert "FAILED" in text
    assert "front-end  " not in text


def test_colour_is_for_terminals() -> None:
    assert "\x1b[" in summary(document(), Path("report"), colour=True)
    assert "\x1b" not in summary(document(), Path("report"), colour=False)


def in_a_terminal(folder: Path, *more: str, **environment: str) -> str:
    """What a run writes to a terminal of 100 columns."""
    leader, follower = pty.openpty()
    plain = {k: v for k, v in os.environ.items() if k not in ("CI", "NO_COLOR", "PYTEST_ADDOPTS")}
    settings = {**plain, "TERM": "xterm-256color", "COLUMNS": "100", **environment}
    words = [*COMMAND, "--frontend", f"{CORRECT}:right", *more]
    process = subprocess.Popen(words, cwd=folder, env=settings, stdout=follower, stderr=follower)
    os.close(follower)
    written = b""
    while True:
        try:
            part = os.read(leader, 1 << 16)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not part:
            break
        written += part
    os.close(leader)
    assert process.wait() == 0, written
    return written.decode()


BAR = re.compile("━|╸")


@pytest.mark.slow
def test_a_terminal_gets_bars(tmp_path: Path) -> None:
    """From a run on all processors, as it is by default."""
    text = in_a_terminal(tmp_path)
    assert BAR.search(text)
    assert "2/2" in text
    assert "conforms" in text
    assert re.search(r"\x1b\[[0-9;]*3[0-9]m", text)  # a colour


@pytest.mark.slow
def test_ci_gets_no_bars_and_no_color_no_colours(tmp_path: Path) -> None:
    text = in_a_terminal(tmp_path, "-n", "0", CI="true", NO_COLOR="1")
    assert not BAR.search(text)
    assert "\x1b[" not in text
    assert re.search(r"right: 2 passed in [0-9.]+ s\r\n", text)


@pytest.mark.slow
def test_quiet_is_quiet(tmp_path: Path) -> None:
    assert in_a_terminal(tmp_path, "-n", "0", "--quiet").strip() == ""
