"""What all formats of a report show: verdicts, counts, commands, the worst of the failures."""

from __future__ import annotations

from typing import Any

import pytest
from documents import bad, benchmark, case, document, front_end, good, run
from whisper_mel_conformance.report import facts
from whisper_mel_conformance.report.documents import Document
from whisper_mel_conformance.report.facts import Count, Entry

CHECKOUT: dict[str, Any] = {"environment": {"flags": {facts.CHECKOUT: "x"}}}
ELSEWHERE: dict[str, Any] = {"environment": {"flags": {}}}


def entry(data: dict[str, Any], **more: Any) -> Entry:
    [found] = facts.entries(Document([run(data, **{**ELSEWHERE, **more})]))
    return found


def some(passed: int = 0, failed: int = 0, known: int = 0, **more: Any) -> dict[str, Any]:
    statuses = ["passed"] * passed + ["failed"] * failed + ["known"] * known
    cases = [case(f"golden/{i}", status, 0.5) for i, status in enumerate(statuses)]
    return front_end("some", cases or [case("golden/0", "skipped")], **more)


RIGHT = some(passed=1)
NONE = {**some(), "worst": None, "class": "-"}


@pytest.mark.parametrize(
    ("count", "state", "words"),
    [
        (Count(), "skipped", "0 passed"),
        (Count(passed=3), "passed", "3 passed"),
        (Count(passed=3, known=1, skipped=2), "known", "3 passed, 1 failed as declared, 2 skipped"),
        (Count(passed=1, failed=1, known=1), "failed", "1 passed, 1 failed, 1 failed as declared"),
    ],
)
def test_a_count_has_a_state(count: Count, state: str, words: str) -> None:
    assert (count.state, str(count)) == (state, words)


def test_counts_are_by_family() -> None:
    one = entry(good())
    assert one.family("golden") == Count(passed=1)
    assert one.family("batch") == Count(skipped=1)
    assert one.family("gold") == Count()
    assert one.total == Count(passed=2, skipped=1)
    assert (one.name, one.version, one.worst, one.worst_value) == (
        "good",
        "library 1.0",
        "0.25",
        0.25,
    )


def test_nothing_scored_is_the_least() -> None:
    none = entry(NONE)
    assert (none.worst, none.worst_value) == ("–", -1.0)
    infinite = entry(some(failed=1, worst={"case": "golden/0", "score": "inf"}))
    assert (infinite.worst, infinite.worst_value) == ("∞", 1e300)


def test_what_cannot_be_replayed_is_said() -> None:
    lost = some(passed=1, failed=2)
    lost["cases"][0]["message"] = "a remark"
    lost["cases"][1]["message"] = "no remark"
    assert entry(lost).remarks == ["a remark"]
    lost["cases"][2]["reproduction"] = None
    assert entry(lost).remarks == [
        "a remark",
        "has 1 failure without a reproduction, to keep the report small: whisper-mel judge "
        "--frontend module:some -k golden/2 makes that one",
    ]
    assert entry(lost).replay(lost["cases"][2]) is None


def test_commands_are_as_where_the_run_was_made() -> None:
    data = some(failed=1)
    for more, judge, repro in (
        (CHECKOUT, "./dev conformance", "./dev repro"),
        (ELSEWHERE, "whisper-mel judge", "whisper-mel repro"),
    ):
        one = entry(data, folder="x y", **more)
        assert one.replay(data["cases"][0]) == f"{repro} 'x y/failures/x/golden--0' --trust"
        assert one.command_for_all == f"{judge} --frontend module:some"
        assert one.command == f"{judge} --frontend module:some --profile quick"
    there = "whisper-mel repro failures/x/golden--0 --trust"
    assert entry(data, folder=".").replay(data["cases"][0]) == there
    assert entry(data, seed=7).command.endswith("--profile quick --seed 7")
    assert entry(data, profile="brief").command.endswith("--frontend module:some --diagnose")
    assert facts.replay_command("a", "librosa", None) == "whisper-mel repro a"


def test_the_worst_come_first() -> None:
    scores = {
        "a/1": 5.0,
        "a/2": "nan",
        "b/1": 7.0,
        "b/2": None,
        "c/1": "inf",
        "c/2": 1e9,
        "c/3": 8.0,
    }
    cases = [case(id, "failed", score) for id, score in scores.items()]
    one = entry(front_end("x", [*cases, case("d/1", "passed", 1e99)]))
    ids = [found["id"] for found in one.worst_first]
    assert {*ids[:2]} == {"a/2", "c/1"}
    assert ids[2:] == ["c/2", "c/3", "b/1", "a/1", "b/2"]
    assert sorted(found["id"] for found in one.examples(2)) == ["a/2", "c/1"]
    assert [found["id"] for found in one.examples(9)][2:] == ["b/1"]
    assert list(one.failed_by_family.items()) == [("c", 3), ("a", 2), ("b", 2)]


def test_each_cause_has_its_fix() -> None:
    found = {"cause": "one\ntwo", "fix": ["repair"], "evidence": ["seen"]}
    assert facts.findings(found) == [
        *(("Cause", "one"), ("Fix", "repair"), ("Cause", "two"), ("Evidence", "seen")),
    ]
    assert facts.findings({"summary": ["of old"]}) == [("Diagnosis", "of old")]
    assert entry(some(failed=1, diagnosis=found)).causes == ["one", "two"]
    assert entry(some(failed=1)).findings == []


def test_speed_is_that_of_the_front_end() -> None:
    row = {"id": "other/30s/80", "ours": "ours", "ours_ms": 2.0, "other": "other", "other_ms": 9.0}
    rows = [{**row, "id": "other/1s/80", "ours_ms": 5.0}, row, *benchmark()["rows"]]
    names = ("other", "ours", "good", "none")
    judged = run(*(front_end(name, [case("golden/1", "passed", 0.1)]) for name in names))
    judged["front_ends"].append(front_end("ours", [case("golden/1", "passed")], device="cuda"))
    made = Document([judged], [{"rows": rows}])
    speeds = [one.milliseconds for one in facts.entries(made)]
    assert speeds == [9.0, 2.0, 0.4, None, None]
    assert [one.number for one in facts.entries(made)] == [0, 1, 2, 3, 4]


def test_families_are_in_their_order() -> None:
    cases = [case("numerics/1", "passed"), case("golden/1", "passed"), case("none/1", "passed")]
    assert facts.families(Document([run(front_end("x", cases))])) == ["golden", "numerics"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([], "No front-end was judged"),
        ([some(passed=2)], "some conforms: class A"),
        ([some(passed=1, failed=2, known=1)], "some fails 2 of 4 cases"),
        ([some(passed=3, known=1)], "some conforms: class A, 1 declared"),
        ([some(passed=1, known=2)], "some fails, as declared: 2 cases"),
        ([NONE], "some not judged"),
        (
            [some(passed=1), some(passed=3, known=1), some(failed=1)],
            "3 front-ends: 1 conform, 1 has known, declared differences, 1 fails unexpectedly",
        ),
        (
            [*[some(passed=3, known=1), some(passed=1, known=3), some(failed=1)] * 2, RIGHT, NONE],
            "8 front-ends: 1 conform, 4 have known, declared differences, 2 fail unexpectedly, "
            "1 not judged",
        ),
    ],
)
def test_the_headline_says_what_became_of_all(data: list[dict[str, Any]], sentence: str) -> None:
    assert facts.headline(Document([run(*data)])) == sentence


def test_the_headline_says_that_few_cases_were_asked() -> None:
    brief = Document([run(some(passed=2), profile="brief", **ELSEWHERE)])
    assert facts.headline(brief) == "some conforms: class A, by the 2 cases of --diagnose"
    assert facts.commands_for_all(brief) == ["whisper-mel judge --frontend module:some"]
    failing = Document([run(some(failed=1), profile="brief", **ELSEWHERE)])
    assert facts.headline(failing) == "some fails 1 of 1 case"
    assert facts.commands_for_all(failing) == []
    assert facts.commands_for_all(Document([run(some(passed=2), **ELSEWHERE)])) == []


def test_problems_are_told_where_nothing_else_is_wrong() -> None:
    right, wrong = (run(data, problems=["x"]) for data in (some(passed=1), some(failed=1)))
    assert facts.headline(Document([right])) == "some conforms: class A; the run has problems"
    assert facts.headline(Document([wrong])) == "some fails 1 of 1 case"
    assert facts.problems(Document([right, wrong])) == ["x", "x"]
    several = Document([right, run(some(passed=1))])
    assert facts.headline(several).endswith("0 fail unexpectedly; the run has problems")


def test_only_what_was_judged_without_a_fault_is_right() -> None:
    assert facts.is_right(Document([run(some(passed=1))]))
    assert not facts.is_right(Document([run()]))
    assert not facts.is_right(Document([run(some(failed=1))]))
    assert not facts.is_right(Document([run(some(passed=1), problems=["x"])]))
    assert [one.name for one in facts.failing(document())] == [bad()["name"]]


def test_a_long_text_is_cut() -> None:
    assert facts.shortened("12345", 5) == "12345"
    assert facts.shortened("123456", 5) == "1234…"
