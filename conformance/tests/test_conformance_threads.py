"""Checks of threads run a front-end with several threads, whatever the judge's environment says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from whisper_mel_conformance.cases.catalogue import CHECKS, find
from whisper_mel_conformance.frontend import client
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Refused
from whisper_mel_conformance.run.judge import judge_case
from whisper_mel_conformance.run.result import Result

pytestmark = pytest.mark.slow

FORK = "concurrency/fork/80"

# A parallel loop of OpenMP, whose threads a forked child does not have.
LOOP = """
#include <omp.h>
#include <pthread.h>
static int threads = 0;
static void in_child(void) { threads = 1; }
void prepare(void) { pthread_atfork(NULL, NULL, in_child); }
float sum(const float *x, int n) {
    float total = 0;
    PRAGMA
    for (int i = 0; i < n; i++) total += x[i];
    return total;
}
void keep_one(void) { omp_set_num_threads(1); }
"""
PARALLEL = "#pragma omp parallel for reduction(+ : total)"

# Right features, computed beside what ``BEFORE`` says.
CALL = """
import ctypes, os
import numpy as np
from whisper_mel_conformance.quirks.table import right
library = ctypes.CDLL({library!r})
library.sum.restype = ctypes.c_float
{more}
def f(audio, n_mels=80):
    x = np.ascontiguousarray(audio, np.float32)
    library.sum(x.ctypes.data_as(ctypes.POINTER(ctypes.c_float)), len(x))
    {before}
    return right(audio, n_mels)
"""

TORCH = """
import os, torch
import numpy as np
from whisper_mel_conformance.quirks.table import right
{more}
def f(audio, n_mels=80):
    (torch.ones(1 << 20) * 2).sum()
    return right(audio, n_mels)
"""

Judged = Callable[..., Result]


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Judged]:
    """The result of a case for Python code, where the judge's environment says one thread."""
    for name in client.THREAD_SETTINGS:
        monkeypatch.setenv(name, "1")
    started: list[FrontEnd] = []

    def judge_code(text: str, case: str = FORK, kind: type[FrontEnd] = FrontEnd) -> Result:
        path = tmp_path / "code.py"
        path.write_text(text)
        started.append(kind(f"{path}:f", timeout=1800.0))
        return judge_case(started[-1], find(case), profile="quick", seed=0)

    yield judge_code
    for front_end in started:
        front_end.stop()


@pytest.fixture
def openmp(tmp_path: Path) -> Callable[..., str]:
    """The text of a front-end with a loop in C."""

    def text(pragma: str, more: str = "", before: str = "") -> str:
        source, library = tmp_path / "loop.c", tmp_path / "loop.so"
        source.write_text(LOOP.replace("PRAGMA", pragma))
        command = ["gcc", "-O1", "-fopenmp", "-shared", "-fPIC", "-o", str(library), str(source)]
        subprocess.run(command, check=True)
        return CALL.format(library=str(library), more=more, before=before)

    return text


class Hanging(FrontEnd):
    """One whose forked child never answers: a second is enough for that, whatever else takes."""

    def perform(self, operation: str, **arguments: Any) -> Any:
        if operation == "forked":
            arguments["seconds"] = 1.0
        return super().perform(operation, **arguments)


@pytest.mark.compiles
def test_threads_of_openmp_that_a_child_lacks_are_found(
    judged: Judged, openmp: Callable[..., str]
) -> None:
    result = judged(openmp(PARALLEL), kind=Hanging)
    assert result.status == "failed"
    assert result.message.startswith("in a forked child: no answer within 1 s")


@pytest.mark.compiles
@pytest.mark.parametrize(
    ("pragma", "more"),
    [
        ("", ""),
        (f"{PARALLEL} num_threads(1)", ""),
        (f"{PARALLEL} num_threads(threads ? threads : omp_get_max_threads())", "library.prepare()"),
        (PARALLEL, "os.register_at_fork(after_in_child=library.keep_one)"),
    ],
    ids=["no threads", "one thread", "pthread_atfork", "register_at_fork"],
)
def test_who_needs_no_threads_in_a_child_passes(
    judged: Judged, openmp: Callable[..., str], pragma: str, more: str
) -> None:
    result = judged(openmp(pragma, more))
    assert (result.status, result.message) == ("passed", "")


@pytest.mark.compiles
def test_a_number_of_threads_that_a_call_sets_is_seen(
    judged: Judged, openmp: Callable[..., str]
) -> None:
    assert judged(openmp(PARALLEL), "state/unchanged").status == "passed"
    result = judged(openmp(PARALLEL, before="library.keep_one()"), "state/unchanged")
    assert result.status == "failed"
    assert "omp_get_max_threads" in result.message


@pytest.mark.torch
def test_threads_of_torch_that_a_child_lacks_are_found(judged: Judged) -> None:
    pytest.importorskip("torch")
    result = judged(TORCH.format(more=""), kind=Hanging)
    assert result.status == "failed"
    assert "in a forked child: no answer" in result.message
    fix = "os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))"
    assert judged(TORCH.format(more=fix)).status == "passed"


SAYS = """
import os
def f(audio):
    raise ValueError(os.environ.get("OMP_NUM_THREADS", "unset"))
"""


@pytest.mark.parametrize(("cpus", "threads"), [(1, "2"), (2, "2"), (7, "7")])
def test_threads_are_as_many_as_cpus_and_at_least_two(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpus: int, threads: str
) -> None:
    """What one check allows, the next does not inherit."""
    monkeypatch.setattr(client, "_usable_cpus", lambda: cpus)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    path = tmp_path / "says.py"
    path.write_text(SAYS)
    front_end = FrontEnd(f"{path}:f", timeout=1800.0)
    front_end.allow_threads(["OMP_NUM_THREADS"])
    assert front_end._threads()["OPENBLAS_NUM_THREADS"] == "1"
    asked = {"recipe": {"signal": "tone", "n": 400}, "n_mels": 80}
    said = []
    try:
        for check, more in (("repeats", {"times": 2}), ("scored", {}), ("repeats", {"times": 2})):
            with pytest.raises(Refused) as caught:
                CHECKS[check](front_end, **asked, **more)
            said.append(caught.value.message)
    finally:
        front_end.stop()
    assert said == [threads, "5", threads]


def test_checks_of_threads_are_known() -> None:
    """A new check that asks several times, in threads or in processes has to be thought of here."""
    assert {name for name, check in CHECKS.items() if check.threads} == {
        *("finished", "forked", "growth", "in_modes", "in_threads", "repeats", "unchanged")
    }
