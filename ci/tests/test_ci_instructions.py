"""The kernel's instructions stay within their budget, and the guard sees when they don't."""

from __future__ import annotations

import platform
import re
import shutil
from pathlib import Path

import pytest
from bench import instructions
from bench.instructions import BUDGET, CASES, DRIVER, NotCounted, judge, load_budget

counted = pytest.mark.skipif(
    platform.machine() != "x86_64" or shutil.which("valgrind") is None,
    reason="counting instructions takes an x86-64 machine with valgrind (./dev system)",
)


@pytest.mark.compiles
@counted
def test_the_kernel_keeps_its_budget() -> None:
    counts = instructions.count(instructions.built_kernel())
    assert judge(counts, load_budget()) == []


@pytest.mark.compiles
@counted
def test_a_kernel_that_does_its_work_twice_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = tmp_path / DRIVER.name
    source = DRIVER.read_text()
    [call] = re.findall(r"compute\(audio[^;]*;", source)
    twice.write_text(source.replace(call, f"{call} status |= {call}"))
    monkeypatch.setattr(instructions, "CASES", {"80": CASES["80"]})
    counts = instructions.count(instructions.built_kernel(), twice)
    [problem] = judge(counts, {"80": load_budget()["80"]})
    assert "find what made the kernel slower" in problem


@pytest.mark.compiles
@counted
def test_a_count_of_nothing_is_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the entry function had another name."""
    monkeypatch.setattr(instructions, "CASES", {"80": CASES["80"]})
    monkeypatch.setattr(instructions, "ENTRY", "another_name")
    with pytest.raises(NotCounted, match="saw no instruction of another_name"):
        instructions.count(instructions.built_kernel())


@pytest.mark.compiles
@counted
def test_a_call_that_fails_is_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "CASES", {"81": (81, 0)})
    with pytest.raises(NotCounted, match="whisper_mel_log_mel: status 2"):
        instructions.count(instructions.built_kernel())


def test_without_valgrind_it_is_said_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(instructions, "built_kernel", lambda: Path("library"))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert instructions.run(record=False) == 1
    assert "./dev system" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        (1_000_000, None),
        (1_099_999, None),
        (1_100_001, "find what made the kernel slower"),
        (900_001, None),
        (899_999, "lower the budget"),
    ],
)
def test_ten_percent_more_fails_and_less_asks_for_another_budget(
    number: int, problem: str | None
) -> None:
    found = judge({"80": number}, {"80": 1_000_000})
    assert len(found) == (problem is not None)
    assert not problem or problem in found[0]


def test_every_case_has_a_budget() -> None:
    assert load_budget().keys() == CASES.keys()
    [problem] = judge({"80": 1, "128": 1}, {"80": 1})
    assert "the budget is for ['80']" in problem


def test_recording_makes_the_counts_the_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    budget = tmp_path / BUDGET.name
    shutil.copy(BUDGET, budget)
    counts = dict.fromkeys(CASES, 1234)
    monkeypatch.setattr(instructions, "BUDGET", budget)
    monkeypatch.setattr(instructions, "count", lambda library: counts)
    monkeypatch.setattr(instructions, "built_kernel", lambda: Path("library"))
    assert instructions.run(record=False) == 1
    assert load_budget(budget) == load_budget(BUDGET)
    assert instructions.run(record=True) == 0
    assert load_budget(budget) == counts
    assert "1,234 instructions" in capsys.readouterr().out
