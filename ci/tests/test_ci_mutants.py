"""The kernel's mutants are what they say, and a mutant shows where it must; the rest is nightly."""

from __future__ import annotations

import ast
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from checkout.paths import MEASUREMENTS, ROOT
from daily import by_day
from mutants import cli as mutants
from mutants import trial
from mutants.matrix import Row, idle, read, write
from planted import quirks
from planted.kernel import KERNEL, LANE, KernelMutant, kernel_mutants
from programs import ran
from sanitize import cli as sanitize
from sanitize import native
from whisper_mel_conformance.cases.case import Case
from whisper_mel_conformance.cases.catalogue import all_cases
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_conformance.run.result import Result

CI = ROOT / "ci"
LANES = {"address", "thread", "valgrind", "arm", "riscv"}
MUTANTS = list(kernel_mutants().values())


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_a_mutation_applies_once_and_has_a_killer(mutant: KernelMutant) -> None:
    assert mutant.source() != KERNEL.read_text()
    lanes = {f"{LANE}{lane}" for lane in LANES}
    assert mutant.killer in {*lanes, *(case.id for case in all_cases("quick"))}
    assert mutant.target in ("cpu", "sm_80", "sm_90a", "aarch64", "riscv64")


def test_there_are_enough_of_them() -> None:
    ids = [mutant.id for mutant in MUTANTS if not mutant.equivalent]
    assert len(ids) >= 40
    assert len(set(ids)) == len(ids)


def _valgrind_error(kind: str, allocated_by: str, by: str = "/libkernel.so") -> str:
    inner = f"<frame><obj>/libc.so.6</obj><fn>{allocated_by}</fn></frame>"
    place = f"<obj>{by}</obj><fn>f</fn><file>mel_kernel.mojo</file><line>7</line>"
    return f"<error><kind>{kind}</kind><stack>{inner}<frame>{place}</frame></stack></error>"


def test_threads_that_wait_are_no_leak(tmp_path: Path) -> None:
    """All else that the library has a part in is a finding, also where it makes a thread."""
    report = tmp_path / "valgrind.xml"
    thread = "pthread_create@@GLIBC_2.34"
    report.write_text(
        "<valgrindoutput>"
        + _valgrind_error("Leak_PossiblyLost", thread)
        + _valgrind_error("Leak_PossiblyLost", "malloc")
        + _valgrind_error("InvalidRead", thread)
        + _valgrind_error("Leak_DefinitelyLost", "malloc", by="/python")
        + "</valgrindoutput>"
    )
    assert native.findings(report, Path("/libkernel.so")) == [
        "Leak_PossiblyLost at mel_kernel.mojo:7",
        "InvalidRead at mel_kernel.mojo:7",
    ]


def test_text_that_does_not_occur_once_is_said() -> None:
    for old, count in (("no such text", 0), ("comptime", KERNEL.read_text().count("comptime"))):
        mutant = KernelMutant("broken", "cpu", old, "", "")
        with pytest.raises(ValueError, match=rf"broken: its text occurs {count} times"):
            mutant.source()


def test_each_lane_has_its_planted_faults() -> None:
    assert {mutant.id for mutant in MUTANTS if mutant.lane} == set(native.CONTROLS)
    assert {mutant.lane for mutant in MUTANTS if mutant.lane} == LANES


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows go elsewhere, and one thread multiplies, as the command says: see ``quiet_blas``."""
    for name in ("REPORT", "RECORD"):
        monkeypatch.setattr(mutants, name, tmp_path / name)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")


def test_one_thread_multiplies_in_the_command() -> None:
    """Idle threads of BLAS spin: a diagnosis took three times the processor time."""
    program = (
        "import os, mutants.cli, numpy as np; a = np.ones((500, 500)); a @ a;"
        " print(len(os.listdir('/proc/self/task')))"
    )
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS")}
    said = ran([sys.executable, "-c", program], cwd=CI, env=inherited)
    assert said.stdout.split() == ["1"]


def quirks_by_day() -> list[str]:
    """All that need no process of their own, and one for each check."""
    checks = {id: quirks.quick_cases()[quirk.killer].check for id, quirk in CATALOGUE.items()}
    first = {check: id for id, check in reversed(checks.items())}
    return [id for id, it in CATALOGUE.items() if it.vary is not None or first[checks[id]] == id]


@pytest.mark.slow
@pytest.mark.parametrize("name", by_day(CATALOGUE, quirks_by_day()))
def test_a_quirk_is_rejected_by_its_case(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quirks, "_SHORT_TIMEOUT", 0.2)  # those that hang do so for ever
    result = quirks.kill(name)
    assert result.status == "failed", result
    assert result.message
    assert result.score is None or result.score >= quirks.MARGIN


def run(*words: str) -> int:
    """``./dev mutants`` in this process alone."""
    return mutants.run([*words, "-n", "0"])


@pytest.mark.slow
def test_quirks_are_killed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-k", "symmetric-window") == 0
    assert "killed     symmetric-window" in capsys.readouterr().out
    assert run("-k", "no such id") == 2


@pytest.mark.slow
@pytest.mark.nightly
def test_the_rows_are_the_same_in_any_number_of_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("-k", "hann") == 0
    file, printed = mutants.REPORT.read_text(), capsys.readouterr().out
    assert len(read(mutants.REPORT)) > 1
    monkeypatch.setattr(quirks, "MARGIN", 1e9)  # in this process only, which judges none now
    assert mutants.run(["-k", "hann", "-n", "2"]) == 0
    assert mutants.REPORT.read_text() == file
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(printed.splitlines())


@pytest.mark.slow
def test_a_survivor_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quirks, "MARGIN", 1e9)
    assert run("-k", "symmetric-window") == 1
    assert "BARELY KILLED symmetric-window" in capsys.readouterr().out
    few = ("numerics/silence/80", "numerics/dc/80")
    cases = {case.id: case for case in all_cases("quick") if case.id in few}
    monkeypatch.setattr(quirks, "quick_cases", lambda: cases)
    monkeypatch.setitem(CATALOGUE, "floor", replace(CATALOGUE["floor"], killer=few[1]))
    assert run("-k", "floor") == 1
    assert f"KILLED BY ANOTHER floor: {few[1]} {few[0]}" in capsys.readouterr().out
    del cases[few[0]]
    assert run("-k", "floor") == 1
    assert "SURVIVES floor" in capsys.readouterr().out


@pytest.mark.slow
def test_the_record_is_added_to() -> None:
    assert run("-k", "symmetric-window", "--record") == 0
    assert run("-k", "pad-zero", "--record") == 0
    assert set(read(mutants.RECORD)) == {"symmetric-window", "pad-zero"}


@pytest.mark.slow
def test_a_run_resumes_with_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    few = ("numerics/rising-noise/80", "numerics/dc/80", "numerics/silence/80")
    cases = {case.id: case for case in all_cases("quick") if case.id in few}
    monkeypatch.setattr(quirks, "quick_cases", lambda: cases)
    signs = dict.fromkeys(few[:2], "x")  # dc/80's is not true: it shows that nobody asked again
    known = Row("symmetric-window", "quirk", few[0], "killed", 9.0, "", cases=signs)
    write({known.id: known}, few, mutants.REPORT)
    judged: list[str] = []
    judge = trial._judge

    def noted(row: Row, front_end: FrontEnd, case: Case) -> Result:
        judged.append(case.id)
        return judge(row, front_end, case)

    monkeypatch.setattr(trial, "_judge", noted)
    for _ in range(2):  # the second time nothing is missing
        assert run("--full", "--resume", "-k", "symmetric-window") == 0
        assert judged == [few[0], few[2]]
    assert read(mutants.REPORT)[known.id].cases == {**signs, few[2]: "."}


@pytest.mark.parametrize(
    ("name", "processes", "status"), [("SIGINT", "0", 130), ("SIGTERM", "2", 143)]
)
def test_a_signal_leaves_the_rows_that_are_there(
    name: str,
    processes: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    number = signal.Signals[name]
    before = signal.getsignal(number)

    def write_and_end(rows: Mapping[str, Row], cases: Sequence[str], path: Path) -> None:
        write(rows, cases, path)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(mutants, "write", write_and_end)
    assert mutants.run(["-k", "hann", "-n", processes]) == status
    assert signal.getsignal(number) == before
    [row] = read(mutants.REPORT).values()
    assert row.verdict == "killed"
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith("NOT TRIED ")
    assert row.id not in last


def test_a_mutant_without_a_row_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of ours, or of the process that tried it."""
    monkeypatch.setattr(trial, "planned", lambda word, **options: [trial.Trial("nonesuch")])
    assert run() == 1
    printed = capsys.readouterr().out
    assert "KeyError: 'nonesuch'" in printed
    assert printed.endswith("\nNOT TRIED nonesuch\n")


def test_a_number_of_processes_is_demanded(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        mutants.run(["-n", "-1"])
    assert "'-1': expected a number of processes, 0 or more" in capsys.readouterr().err


def test_idle_cases_are_those_that_reject_nothing_of_their_own(tmp_path: Path) -> None:
    gross = Row("gross", "quirk", "a", "killed", 9.0, "", cases={"a": "x", "b": "x", "c": "x"})
    fine = Row("fine", "kernel", "b", "killed", 9.0, "", cases={"a": ".", "b": "x", "c": "-"})
    path = tmp_path / "matrix.json"
    write({"gross": gross, "fine": fine}, ["a", "b", "c", "new"], path)
    rows = read(path)
    assert rows["fine"].cases == fine.cases  # and nothing is said of the new case
    assert idle(rows, ["a", "b", "c", "new"]) == ["a", "c", "new"]


RECORD = MEASUREMENTS / "mutants.json"


def test_the_record_is_sound() -> None:
    data = json.loads(RECORD.read_text())
    schema = json.loads((CI / "mutants" / "mutants.schema.json").read_text())
    jsonschema.validate(data, schema)
    rows = read(RECORD)
    assert {row.verdict for row in rows.values()} <= {"killed", "equivalent"}
    assert all(row.killer in row.cases for row in rows.values() if not row.killer.startswith(LANE))


@pytest.mark.nightly
def test_the_record_is_of_all_mutants_and_cases() -> None:
    """After a change of mutants or cases: ``./dev mutants --full --record --resume``.

    Until then docs/quirks.md names those that were not tried yet.
    """
    rows, cases = read(RECORD), {case.id for case in all_cases("quick")}
    assert set(rows) == {*CATALOGUE, *kernel_mutants()}
    assert {case for row in rows.values() for case in row.cases} == cases


def test_a_lane_that_misses_its_planted_fault_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = quirks.kill("symmetric-window", "numerics/silence/80")  # hides it
    assert right.status == "passed"
    monkeypatch.setattr(quirks, "kill", lambda name, case: right)
    assert sanitize.run(["guard"]) == 1
    assert "the planted fault is missed: read-beyond-end" in capsys.readouterr().out


MISSED = """
import sys
from planted import quirks
from sanitize import cli

class Result:
    status, message = "passed", ""

quirks.kill = lambda name, case: Result()
sys.exit(cli.run(["guard"]))
"""


def test_a_fault_is_missed_also_where_python_leaves_assertions_out() -> None:
    done = ran([sys.executable, "-O", "-c", MISSED], cwd=CI)
    assert done.returncode == 1, done.stderr
    assert "the planted fault is missed: read-beyond-end" in done.stdout
    for path in sorted((CI / "sanitize").glob("*.py")):
        nodes = ast.walk(ast.parse(path.read_text()))
        assert not any(isinstance(node, ast.Assert) for node in nodes), path


def test_a_fault_of_the_lane_is_no_finding() -> None:
    def lane(calls: int) -> int:
        raise AssertionError

    with pytest.raises(AssertionError):
        sanitize._report("broken", lane, 1)


def test_a_lane_that_executes_nothing_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert sanitize._report("empty", lambda calls: 0, 1) == 1
    assert "nothing was executed" in capsys.readouterr().out


def test_a_lane_without_its_tool_says_so() -> None:
    """In a process of its own: here a stand-in for the CUDA driver may have been loaded."""
    for lane, words in (("racecheck", "there is no CUDA device"), ("address", "there is no gcc")):
        program = f"from sanitize.cli import run; raise SystemExit(run([{lane!r}]))"
        env = {"PATH": "", "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(Path.home())}
        done = ran([sys.executable, "-c", program], env=env)
        assert done.returncode == 3, done.stderr
        assert f"{lane}: cannot run here: {words}" in done.stdout


@pytest.mark.compiles
def test_wrong_sizes_are_refused_by_the_interface() -> None:
    """The fuzzing itself, without a sanitizer, which is for the lane."""
    from whisper_mel_mojo.builder import built_library

    words = [str(built_library()), "whisper_mel_log_mel", "300", "7"]
    done = ran([sys.executable, str(native.SIZES), *words])
    assert done.returncode == 0, done.stderr
    assert '"refused": ' in done.stdout


@pytest.mark.compiles
def test_arrays_of_all_kinds_are_taken_or_refused() -> None:
    """The same for the Python extension."""
    from whisper_mel_mojo.builder import built_library

    words = [*native.ARRAYS, str(built_library()), "300", "7"]
    done = ran([sys.executable, *words], cwd=CI)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["accepted"] == 600
    assert counts["refused"] > 250


@pytest.mark.compiles
@pytest.mark.nightly
def test_the_threads_do_not_race(capsys: pytest.CaptureFixture[str]) -> None:
    """The whole lane: no case of the suite can see a race that changes no value."""
    assert sanitize.run(["thread"]) == 0
    printed = capsys.readouterr().out
    assert "planted: no-wait-between-the-passes: found (data race)" in printed
    assert "cases executed, no finding" in printed


# --------------------------------------------------------------------------- of the suite itself

TRIED = """
import sys
sys.path.insert(0, {ci!r})
from mutants import python
module = "whisper_mel_conformance.cases.judging"
print("unchanged", python._killed(module, None, sys.argv[1]))
for place in range(len(list(python._changes(python._tree(module))))):
    tree = python._tree(module)
    said = list(python._changes(tree))[place]()
    if said.endswith(("score < limit", "became 65")):
        print(said, python._killed(module, tree, sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.nightly
def test_a_mutant_of_the_suite_is_found_by_a_test_that_looks_at_it(tmp_path: Path) -> None:
    (tmp_path / "test_grade.py").write_text(
        "from whisper_mel_conformance.cases.judging import grade\n"
        "def test_the_limit_is_class_a() -> None: assert grade(1.0) == 'A'\n"
    )
    code = TRIED.format(ci=str(ROOT / "ci"))
    done = ran([sys.executable, "-c", code, str(tmp_path / "test_grade.py")], cwd=tmp_path)
    unchanged, *lines = done.stdout.splitlines()
    assert unchanged == "unchanged False"
    # The same comparison is in two functions, and the test looks at one of them.
    compared = [line for line in lines if "score <= limit" in line]
    assert [line.split()[-1] for line in compared] == ["True", "False"]
    assert len(lines) > len(compared)
    assert all(line.endswith("False") for line in lines if line not in compared)
