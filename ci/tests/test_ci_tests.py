"""How the project's own tests are run: in which order, and what is said of their cost."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml
from checkout.paths import ROOT
from daily import by_day
from programs import ran
from tasks import check

TESTS = """
import os, subprocess, sys, time
import pytest

BUSY = "import time\\nwhile time.process_time() < 0.3: pass"

def test_quick():
    pass

@pytest.mark.slow
def test_slow():
    exec(BUSY.replace("<", f"< {time.process_time()} +"))

@pytest.mark.xdist_group("group")
def test_grouped():
    subprocess.run([sys.executable, "-c", BUSY], check=True)
"""
GROUPED = """
import os
import pytest

@pytest.mark.xdist_group("group")
@pytest.mark.parametrize("number", range(8))
def test_grouped(number):
    with open("processes", "a") as file:
        print(os.getpid(), file=file)
"""


def spread_over(processes: int) -> list[str]:
    """The options with which all tests are run, with so many processes."""
    n, _, *others = check.SPREAD
    return [n, str(processes), *others]


@pytest.mark.slow
def test_a_group_is_run_by_one_process(tmp_path: Path) -> None:
    """What its tests share is made once."""
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (tmp_path / "test_a.py").write_text(GROUPED)
    words = spread_over(2)
    done = ran([sys.executable, "-m", "pytest", *words], cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    processes = (tmp_path / "processes").read_text().split()
    assert (len(processes), len({*processes})) == (8, 1)


@pytest.mark.slow
def test_what_takes_long_comes_first_and_its_cost_is_shown(tmp_path: Path) -> None:
    """The cost of a test is that of its processes, too."""
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (tmp_path / "test_a.py").write_text(TESTS)
    words = spread_over(1)
    done = ran([sys.executable, "-m", "pytest", "-v", "--cost", *words], cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    order = re.findall(r"PASSED test_a\.py::test_(\w+)", done.stdout)
    assert order == ["grouped", "slow", "quick"]
    costs = {name: float(cost) for cost, name in re.findall(r"([\d.]+) (test_a\S*)", done.stdout)}
    assert costs["test_a.py::test_slow"] >= 0.3
    assert costs["test_a.py::test_grouped"] >= 0.3
    assert costs["test_a.py"] >= costs["test_a.py::test_slow"] + costs["test_a.py::test_grouped"]
    assert costs["test_a.py::test_quick"] < 0.3


def test_the_day_and_the_night_have_all_tests(pytestconfig: pytest.Config) -> None:
    """By default nothing is left out but what is nightly, and the nightly workflow runs both."""
    options = pytestconfig.getini("addopts")
    chosen = [it for it in options if it not in ("-ra", "--durations=5")]
    assert chosen == ["-m", "not nightly"]
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "nightly.yml").read_text())
    jobs = workflow["jobs"]["checks"]["strategy"]["matrix"]["include"]
    assert {"test", "test -m nightly"} <= {job["command"] for job in jobs}


def test_what_is_not_chosen_for_the_day_is_nightly() -> None:
    one, other = by_day([("a", 1), "b"], ["b"])
    assert [mark.name for mark in one.marks] == ["nightly"]
    assert (one.values, other.values, [*other.marks]) == (("a", 1), ("b",), [])
    for wrong in (["c"], ["a", "c"], []):
        with pytest.raises(AssertionError, match="expected of"):
            by_day(["a", "b"], wrong)
