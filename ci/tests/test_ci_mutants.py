"""The kernel's mutants are what they say, and a mutant shows where it must; the rest is nightly."""

from __future__ import annotations

import subprocess
import sys

import pytest
from mutants import cli as mutants
from mutants.cli import KERNEL, KernelMutant, kernel_mutants
from sanitize import cli as sanitize
from tasks.paths import ROOT
from whisper_mel_conformance.running import all_cases

MUTANTS = kernel_mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_a_mutation_applies_once_and_has_a_killer(mutant: KernelMutant) -> None:
    assert mutant.source() != KERNEL.read_text()
    assert mutant.killer in {case.id for case in all_cases("quick")}
    assert mutant.target in ("cpu", "lockstep_block", "lockstep_cluster")


def test_there_are_enough_of_them() -> None:
    ids = [mutant.id for mutant in MUTANTS if not mutant.equivalent]
    assert len(ids) >= 40
    assert len(set(ids)) == len(ids)


def test_text_that_does_not_occur_once_is_said() -> None:
    for old, count in (("no such text", 0), ("comptime", KERNEL.read_text().count("comptime"))):
        mutant = KernelMutant("broken", "cpu", old, "", "")
        with pytest.raises(ValueError, match=rf"broken: its text occurs {count} times"):
            mutant.source()


def test_planted_faults_of_the_sanitizers_apply() -> None:
    for mutant in (*sanitize.ADDRESS_CONTROLS.values(), sanitize.THREAD_CONTROL):
        assert mutant.source() != KERNEL.read_text()


def test_quirks_are_killed(capsys: pytest.CaptureFixture[str]) -> None:
    assert mutants.run(["-k", "symmetric-window"]) == 0
    assert "killed     symmetric-window" in capsys.readouterr().out
    assert mutants.run(["-k", "no such id"]) == 2


def test_a_survivor_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from whisper_mel_conformance.quirks import killing

    monkeypatch.setattr(killing, "MARGIN", 1e9)
    assert mutants.run(["-k", "symmetric-window"]) == 1
    assert "SURVIVES symmetric-window" in capsys.readouterr().out


def test_a_lane_that_misses_its_planted_fault_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from whisper_mel_conformance.quirks import killing

    right = killing.kill("symmetric-window", "numerics/silence/80")  # hides it
    assert right.status == "passed"
    monkeypatch.setattr(killing, "kill", lambda name: right)
    assert sanitize.run(["guard"]) == 1
    assert "the planted fault is missed: read-beyond-end" in capsys.readouterr().out


def test_a_lane_that_executes_nothing_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert sanitize._report("empty", lambda calls: 0, 1) == 1
    assert "nothing was executed" in capsys.readouterr().out


def test_a_lane_without_its_tool_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    for lane, words in (("racecheck", "there is no CUDA device"), ("address", "there is no gcc")):
        assert sanitize.run([lane]) == 3
        assert f"{lane}: cannot run here: {words}" in capsys.readouterr().out


def test_wrong_sizes_are_refused_by_the_interface() -> None:
    """The fuzzing itself, without a sanitizer, which is for the lane."""
    from whisper_mel_mojo.builder import built_library

    words = [str(built_library()), "whisper_mel_log_mel", "300", "7"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "ci" / "sanitize" / "sizes.py"), *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"refused": ' in done.stdout


def test_the_threads_do_not_race(capsys: pytest.CaptureFixture[str]) -> None:
    """The whole lane: no case of the suite can see a race that changes no value."""
    assert sanitize.run(["thread"]) == 0
    printed = capsys.readouterr().out
    assert "planted: no wait between the passes: found (data race)" in printed
    assert "cases executed, no finding" in printed
