"""The run as pytest spreads it: the same verdict in one process or in several, and no case lost."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import correct_front_ends
import pytest
from daily import by_day
from running import CORRECT, FEW, QUIRKS, conformance, module, report_of
from whisper_mel_conformance import collecting
from whisper_mel_conformance.cases.catalogue import CHECKS, all_cases
from whisper_mel_conformance.cases.properties import Property
from whisper_mel_conformance.folder import MARKER, own_folder, remove_own_folder, slug
from whisper_mel_conformance.frontend.client import FrontEnd, InProcess
from whisper_mel_conformance.frontend.load import Capabilities, inspect_front_end
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_conformance.report.render import OUTPUTS, require_own
from whisper_mel_conformance.run import judge as judging
from whisper_mel_conformance.run.known import KnownFailure, of_peers
from whisper_mel_conformance.run.result import Result, unpack
from whisper_mel_conformance.run.run import Run
from whisper_mel_conformance.run.setup import Setup, of_text, prepare

PYTEST = ("-p", "whisper_mel_conformance.plugin", "-p", "xdist.plugin", "--pyargs")


def verdict(report: dict[str, Any]) -> Any:
    """All of a report that does not depend on time or place, nor on when a heap settles."""
    cases = [
        (f["name"], f["class"], f["calls"] > 0, case["id"], case["status"], case["score"])
        for f in report["front_ends"]
        for case in f["cases"]
    ]
    worst = [(f["name"], f["worst"], f["diagnosis"]) for f in report["front_ends"]]
    return cases, worst, report["problems"]


# --------------------------------------------------------------------------- processes


@pytest.mark.slow
@pytest.mark.parametrize("n", by_day("24", "2"))
def test_the_verdict_is_the_same_in_any_number_of_processes(n: str, tmp_path: Path) -> None:
    names = ("--frontend", f"{CORRECT}:right", "--frontend", f"{QUIRKS}:offset")
    words = (*names, "-k", "length-401 or left-behind-short/80 or property/gain")
    done = conformance(*words, "-n", "0", folder=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    report = report_of(tmp_path)
    _, wrong = report["front_ends"]
    assert len(wrong["cases"]) > 5
    [explanation] = wrong["diagnosis"]["explanations"]  # its number is fitted, to the last bit
    assert [quirk["id"] for quirk in explanation["quirks"]] == ["offset"]
    done = module(
        *("pytest", *PYTEST, "whisper_mel_conformance", "-n", n, "--junitxml", "junit.xml"),
        *("--mel-frontend", f"{CORRECT}:right", "--frontend", f"{QUIRKS}:offset"),
        *("-k", words[-1], "--mel-report", "by-pytest"),
        folder=tmp_path,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert verdict(report_of(tmp_path, "by-pytest")) == verdict(report)
    theirs = ET.parse(tmp_path / "junit.xml").findall(".//testcase")
    assert len(theirs) == sum(len(f["cases"]) for f in report["front_ends"])
    assert "reproduction: by-pytest/failures/" in (tmp_path / "junit.xml").read_text()


@pytest.mark.nightly
def test_machines_are_other_interpreters(tmp_path: Path) -> None:
    """As ``--tx ssh=…`` would: each is given the setup, and sends back what it has judged."""
    done = module(
        *("pytest", *PYTEST, "whisper_mel_conformance", "--dist", "load", "-k", FEW),
        *("--tx", f"popen//python={sys.executable}", "--tx", f"popen//python={sys.executable}"),
        *("--mel-frontend", f"{QUIRKS}:all-zero", "--mel-report", "there"),
        folder=tmp_path,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    [front_end] = report_of(tmp_path, "there")["front_ends"]
    assert front_end["counts"]["failed"] == 5
    assert [*(tmp_path / "there" / "failures").glob("*/*/case.json")]


@pytest.mark.slow
@pytest.mark.parametrize("name", by_day(["SIGINT", "SIGTERM"], ["SIGINT"]))
def test_a_signal_ends_a_run_of_several_processes_with_a_report(name: str, tmp_path: Path) -> None:
    source = tmp_path / "ends.py"
    source.write_text(ENDS_THE_RUN.format(tests=str(CORRECT.parent), name=name))
    some = "boundary/length-4 or length-10319/80"
    words = ("--frontend", f"{source}:f", "-k", some, "-n", "2", "--timeout", "1800")
    done = conformance(*words, folder=tmp_path)
    assert done.returncode == {"SIGINT": 130, "SIGTERM": 143}[name], done.stdout + done.stderr
    report = report_of(tmp_path)
    assert report["interrupted"] == name
    [front_end] = report["front_ends"]
    assert front_end["counts"]["failed"] == 0
    assert front_end["class"] == "-"


# At a certain clip it sends a signal to the process that collects: its judge's parent.
ENDS_THE_RUN = """
import os, signal, sys, time
sys.path.insert(0, {tests!r})
from correct_front_ends import judge, parent, right
def f(audio, n_mels=80):
    if len(audio) == 160 * 64 + 79:
        os.kill(parent(judge()), signal.{name})
        time.sleep(3600)
    return right(audio, n_mels)
"""

KILLS_ITS_JUDGE = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from correct_front_ends import judge, right
def f(audio, n_mels=80):
    if len(audio) == 1601:
        os.kill(judge(), signal.SIGKILL)
    return right(audio, n_mels)
"""


@pytest.mark.slow
def test_a_case_whose_process_was_killed_is_a_failure(tmp_path: Path) -> None:
    source = tmp_path / "kills.py"
    source.write_text(KILLS_ITS_JUDGE.format(tests=str(CORRECT.parent)))
    words = ("--frontend", f"{source}:f", "-k", "boundary/length-401 or every-remainder/80")
    done = conformance(*words, "-n", "2", folder=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    [front_end] = report_of(tmp_path)["front_ends"]
    assert front_end["class"] == "fails"
    failed = [case for case in front_end["cases"] if case["status"] == "failed"]
    assert [case["id"] for case in failed] == ["boundary/every-remainder/80"]
    assert front_end["counts"]["passed"] == 2
    assert all("internal error of the suite" in case["message"] for case in failed)


def test_an_error_in_the_diagnosis_costs_the_cause_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("a stage")

    monkeypatch.setattr(collecting, "diagnose", broken)
    front_end = InProcess(inspect_front_end(correct_front_ends.right, "test"))
    found = collecting._diagnosed(front_end, ["golden/reading/80"])
    assert "internal error of the suite" in found.cause
    assert "KeyError: 'a stage'" in found.evidence[0]
    assert "test_conformance_engine.py" in found.evidence[0]


@pytest.mark.slow
def test_pytest_ways_of_choosing_cases_work(tmp_path: Path) -> None:
    words = ("--frontend", f"{QUIRKS}:all-zero", "-k", FEW)
    listed = conformance(*words, "--collect-only", "-q", folder=tmp_path)
    assert listed.returncode == 0, listed.stdout + listed.stderr
    assert "all-zero:numerics/rising-noise/80]" in listed.stdout
    assert not (tmp_path / "report").exists()
    first = conformance(*words, "-x", folder=tmp_path)
    assert first.returncode == 1, first.stdout + first.stderr
    report = report_of(tmp_path)
    [front_end] = report["front_ends"]
    assert front_end["counts"]["failed"] == 1
    assert "planned cases were not judged (stopping after 1 failures)" in report["problems"][0]
    again = conformance(*words, "--lf", folder=tmp_path)
    assert again.returncode == 1, again.stdout + again.stderr
    [same] = report_of(tmp_path)["front_ends"]
    assert [case["id"] for case in same["cases"]] == [
        case["id"] for case in front_end["cases"] if case["status"] == "failed"
    ]


@pytest.mark.nightly
def test_the_first_failure_ends_all_processes(tmp_path: Path) -> None:
    """By day one, above."""
    words = ("--frontend", f"{QUIRKS}:all-zero", "-k", FEW, "-x", "-n", "2")
    done = conformance(*words, folder=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    report = report_of(tmp_path)
    assert report["interrupted"] is None
    assert "(stopping after 1 failures)" in " ".join(report["problems"])


# --------------------------------------------------------------------------- no case is lost


class _Tame(FrontEnd):
    """A front-end that is never asked: the checks are replaced."""

    def __init__(self) -> None:
        super().__init__("tame")
        self.capabilities = Capabilities(
            n_mels=(80, 128),
            batch=True,
            pad_to=True,
            maximum=("clip", "fixed"),
            stream=("clip", "fixed"),
            lengths=True,
            out=True,
            errors="strict",
        )

    def start(self) -> None:
        pass


@pytest.mark.parametrize("name", [*CHECKS])
@pytest.mark.parametrize("error", [IndexError("list index"), AssertionError(), MemoryError()])
def test_an_error_of_the_suite_is_a_failed_case(
    monkeypatch: pytest.MonkeyPatch, name: str, error: Exception
) -> None:
    def crash(*given: Any, **more: Any) -> float:
        raise error

    monkeypatch.setitem(CHECKS, name, replace(CHECKS[name], function=crash))
    cases = [case for case in all_cases("nightly") if case.check == name]
    for one in {isinstance(case, Property): case for case in reversed(cases)}.values():
        result = judging.judge_case(_Tame(), one, profile="quick", seed=0)
        assert result.status == "failed", one.id
        assert "internal error of the suite" in result.message
        assert type(error).__name__ in result.message
        assert "in crash" in result.message  # the traceback


def run_of(*cases: str) -> Run:
    description = {**_Tame().described(), "name": "f"}
    run = Run(Setup([description], [], named=["f"]))
    run.plan([("f", case) for case in cases])
    return run


def test_a_run_without_a_result_for_each_planned_case_does_not_conform() -> None:
    run = run_of("boundary/a", "boundary/b")
    run.add(Result("f", "boundary/a", "passed", score=0.1, calls=1))
    assert run.class_of("f") == "-"
    assert any("1 of 2 planned cases were not judged" in p for p in run.problems())
    run.fail_missing()
    assert run.class_of("f") == "fails"
    [failed] = run.of("f", "failed")
    assert failed.case == "boundary/b"
    complete = run_of("boundary/a")
    complete.add(Result("f", "boundary/a", "passed", score=0.1, calls=1))
    complete.fail_missing()
    assert complete.class_of("f") == "A"
    assert not any("not judged" in p for p in complete.problems())


def test_of_two_results_of_a_case_the_failure_counts() -> None:
    for statuses in (("passed", "failed"), ("failed", "passed")):
        run = run_of("boundary/a")
        for status in statuses:
            run.add(Result("f", "boundary/a", status, score=0.1, calls=1))
        assert run.class_of("f") == "fails"


def test_a_score_that_is_no_number_is_the_worst() -> None:
    run = run_of("boundary/a", "boundary/b")
    run.add(Result("f", "boundary/a", "failed", score=float("nan")))
    run.add(Result("f", "boundary/b", "failed", score=9.0))
    worst = run.worst("f")
    assert worst is not None
    assert worst.case == "boundary/a"


def test_results_and_setups_survive_the_way() -> None:
    import numpy as np

    result = Result(
        *("f", "boundary/a", "failed", "message", float("inf"), 0.5, 3, {"recipe": {"n": 1}}),
        arrays={"actual": np.arange(3.0)},
        declared=4,
    )
    again = unpack(result.pack())
    assert {**vars(again), "arrays": 0} == {**vars(result), "arrays": 0}
    assert again.arrays["actual"].tolist() == [0.0, 1.0, 2.0]
    setup = prepare([f"{QUIRKS}:all-zero"])
    assert of_text(setup.text()).known == setup.known
    assert of_text(setup.text()).text() == setup.text()
    assert len(setup.known) > 0


def test_a_peer_that_no_selected_case_is_for_is_no_problem() -> None:
    """The front-end that the user named is one, and a peer that runs none of all cases."""
    ids = [case.id for case in all_cases("quick")]
    setup = prepare([f"{QUIRKS}:all-zero"])
    [name] = setup.named

    def problems(planned: list[str]) -> list[str]:
        run = Run(setup)
        run.plan((name, id) for id in planned)
        for id in planned:
            run.add(Result(name, id, "skipped"))
        return run.problems()

    assert problems(ids[:3]) == [f"{name} was never called"]
    setup.named = []
    assert problems(ids[:3]) == []
    assert problems(ids) == [f"{name} was never called"]


@pytest.mark.slow
def test_a_failing_case_asks_no_more_than_a_passing_one() -> None:
    """So a run that fails takes about as long as one that passes, but for its diagnosis."""
    right = InProcess(inspect_front_end(correct_front_ends.right, "right"))
    wrong = InProcess(inspect_front_end(CATALOGUE["symmetric-window"].make(), "wrong"))
    calls = []
    for case in all_cases("brief"):
        if CHECKS[case.check].alone or case.check == "forked":
            continue
        passed, failed = (
            judging.judge_case(f, case, profile="brief", seed=0) for f in (right, wrong)
        )
        if (passed.status, failed.status) == ("passed", "failed"):
            assert failed.calls <= passed.calls, case.id
            calls.append(failed.calls)
    assert len(calls) > 10 and max(calls) > 1


# --------------------------------------------------------------------------- whose declarations

ZEROS = """
import numpy as np
class F:
    name = {name!r}
    def log_mel(self, audio, n_mels=80):
        return np.zeros((n_mels, max(len(audio) // 160, 1)), np.float32)
"""


@pytest.mark.parametrize("name", sorted({entry.front_end for entry in of_peers()}))
def test_a_name_alone_has_nothing_declared(name: str) -> None:
    entries = [entry for entry in of_peers() if entry.front_end == name]
    assert entries
    for entry in entries:
        assert entry.is_about("anything", name)
        for source in (f"mine.py:{name}", f"cmd:{name}", "mine.py:f", f"module:{name}"):
            assert not entry.is_about(name, source)


@pytest.mark.slow
def test_zeros_under_a_peers_name_fail(tmp_path: Path) -> None:
    source = tmp_path / "zeros.py"
    source.write_text(ZEROS.format(name="kaldi-native-fbank"))
    words = ("--frontend", f"{source}:F", "-k", "boundary/length-401")
    done = conformance(*words, folder=tmp_path)
    assert done.returncode == 1, done.stdout
    [front_end] = report_of(tmp_path)["front_ends"]
    assert front_end["class"] == "fails"
    assert front_end["counts"]["known"] == 0


def test_a_users_declaration_is_about_a_name() -> None:
    entry = KnownFailure.of_json({**of_peers()[0].as_json(), "of_adapter": False})
    assert entry.is_about(entry.front_end, "mine.py:f")
    assert not entry.is_about("another", "mine.py:f")


# --------------------------------------------------------------------------- names and paths

NAMES = (
    "..",
    ".",
    "",
    "/",
    "a/b",
    "../../x",
    "-rf",
    ".hidden",
    "a\x00b",
    "\ud800",
    "CON",
    "ä",
    "x" * 300,
)


def test_every_name_has_a_file_name_of_its_own() -> None:
    made = [slug(name) for name in (*NAMES, "a_b", "plain-1.0")]
    assert len(set(made)) == len(made)
    for name in made:
        assert name == Path(name).name
        assert name[0] not in ".-"
        assert len(name) <= 120
        assert name.isascii()
    assert slug("plain-1.0") == "plain-1.0"
    assert all(slug(name) == name for name in made)  # of a slug it is the slug


@pytest.mark.slow
def test_a_front_end_called_dots_removes_nothing(tmp_path: Path) -> None:
    source = tmp_path / "zeros.py"
    source.write_text(ZEROS.format(name=".."))
    (tmp_path / "precious").write_text("mine")
    for _ in range(2):
        words = ("--frontend", f"{source}:F", "-k", "boundary/length-401/80", "--report", ".")
        done = conformance(*words, folder=tmp_path)
        assert done.returncode == 1, done.stdout + done.stderr
        assert (tmp_path / "precious").read_text() == "mine"
        assert source.exists()
    assert len([*(tmp_path / "failures").glob("*/*/case.json")]) == 1


@pytest.mark.parametrize("theirs", [*OUTPUTS, "badges/mine.json"])
def test_a_file_that_the_suite_did_not_write_is_named(theirs: str, tmp_path: Path) -> None:
    (tmp_path / theirs).parent.mkdir(exist_ok=True)
    (tmp_path / theirs).write_text("mine")
    message = f"it has {theirs.partition('/')[0]}, which no run has written"
    with pytest.raises(ValueError, match=message):
        require_own(tmp_path)


@pytest.mark.slow
def test_nothing_is_removed_that_the_suite_did_not_write(tmp_path: Path) -> None:
    for name in (*OUTPUTS, "badges"):
        (tmp_path / name).write_text("mine")
    words = ("--frontend", f"{QUIRKS}:all-zero", "-k", "nonesuch", "--report", ".")
    done = conformance(*words, folder=tmp_path)
    assert done.returncode == 2
    assert "it has report.json, which no run has written" in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {*OUTPUTS, "badges"}
    assert {path.read_text() for path in tmp_path.iterdir()} == {"mine"}


def test_folders_have_a_marker_before_they_are_removed(tmp_path: Path) -> None:
    own = own_folder(tmp_path / "own")
    (own / "file").touch()
    remove_own_folder(own)
    assert not own.exists()
    remove_own_folder(own)  # nothing to remove
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "file").touch()
    link = tmp_path / "link"
    link.symlink_to(own_folder(tmp_path / "target"))
    for path in (theirs, link):
        with pytest.raises(ValueError, match="not the suite's own"):
            remove_own_folder(path)
    with pytest.raises(ValueError, match="not the suite's own"):
        own_folder(theirs)
    assert (theirs / "file").exists()
    assert (tmp_path / "target" / MARKER).exists()
    require_own(tmp_path / "target")
