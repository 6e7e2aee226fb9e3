"""One verdict for all outputs: class, badge, colour, words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from documents import case, front_end, good, run
from whisper_mel_conformance.report import formats
from whisper_mel_conformance.report.documents import Document
from whisper_mel_conformance.report.facts import headline
from whisper_mel_conformance.report.page import page
from whisper_mel_conformance.report.terminal import summary
from whisper_mel_conformance.report.verdict import verdict


def counts(passed: int, known: int = 0, skipped: int = 0) -> dict[str, int]:
    return {"passed": passed, "failed": 0, "known": known, "skipped": skipped}


@pytest.mark.parametrize(
    ("grade", "families", "symbol", "colour"),
    [
        ("A", {"golden": counts(5), "batch": counts(0, skipped=3)}, "A", "brightgreen"),
        ("B", {"golden": counts(5)}, "B", "yellow"),
        ("A", {"golden": counts(5, known=4)}, "A*", "yellowgreen"),
        ("A", {"golden": counts(5, known=5)}, "fails*", "orange"),  # no minority
        ("A", {"golden": counts(1, known=1)}, "fails*", "orange"),
        ("A", {"golden": counts(0, skipped=9)}, "A", "brightgreen"),  # nothing is declared
        ("A", {"golden": counts(99), "errors": counts(0, known=1)}, "fails*", "orange"),  # lost
        ("B", {"golden": counts(9, known=1)}, "B*", "yellowgreen"),
        ("fails", {"golden": counts(99)}, "fails", "red"),
        ("-", {}, "-", "lightgrey"),
    ],
)
def test_a_star_is_for_a_minority_that_loses_no_family(
    grade: str, families: dict[str, dict[str, int]], symbol: str, colour: str
) -> None:
    found = verdict(grade, families)
    assert (found.symbol, found.badge_colour) == (symbol, colour)
    assert found.conforms == (not symbol.startswith(("fails", "-")))
    assert ("green" in colour) == (symbol in ("A", "A*", "B*"))
    assert ("red" in found.style) == (symbol == "fails")


def late() -> Document:
    """A front-end that is declared to fail most cases, as one whose frames are late."""
    cases = [case(f"boundary/length-{i}/80", "known", 9.0, "late") for i in range(20)]
    judged = front_end("late", [case("golden/silence/80", "passed", 0.3), *cases])
    return Document([run(judged)])


def test_all_outputs_have_the_same_verdict(tmp_path: Path) -> None:
    words = "fails, as declared: 20 cases"
    badge = json.loads(formats.badge(late()))
    assert (badge["message"], badge["color"]) == (words, "orange")
    assert json.loads(formats.badges(late())["badges/late.json"]) == badge
    assert headline(late()) == f"late {words}"
    assert f'<span class="class apart" title="{words}">fails*</span>' in page(late())
    table = [line for line in summary(late(), tmp_path).splitlines() if line.startswith("late ")]
    assert "fails*" in table[0]
    assert "| fails\\* |" in formats.markdown(late())
    assert 'name="class" value="fails*"' in formats.junit(late())


def test_a_front_end_that_few_cases_found_right_is_told_how_to_ask_all(tmp_path: Path) -> None:
    judged = front_end("mine", [case("golden/silence/80", "passed", 0.3)])
    assert headline(Document([run(judged)])) == "mine conforms: class A"
    brief = Document([run(judged, profile="brief")])
    assert headline(brief) == "mine conforms: class A, by the 1 case of --diagnose"
    command = "whisper-mel judge --frontend module:mine"
    assert f"\nall cases: {command}\n" in summary(brief, tmp_path)
    assert f"All cases: `{command}`" in formats.markdown(brief)
    assert f'Judge it by every case: <code class="command">{command}</code>' in page(brief)


def test_the_head_of_the_page_has_the_causes_of_what_fails() -> None:
    """Wherever it stands among the others; where more than six fail, the rest are counted."""

    def judged(i: int) -> dict[str, Any]:
        words = {"summary": [], "cause": f"cause {i}.", "fix": [], "evidence": []}
        found = {**words, "explanations": []}
        return front_end(f"wrong{i}", [case("golden/a/80", "failed", 9.0)], diagnosis=found)

    fine = [good(f"good{i}") for i in range(6)]
    for n, more in ((6, ""), (8, ">2 more</a>")):
        head, _, _ = page(Document([run(*fine, *map(judged, range(n)))])).partition("</header>")
        assert [i for i in range(n) if f"wrong{i}</a>: cause {i}." in head] == [*range(6)]
        assert more in head
        assert bool(more) == (" more</a>" in head)


def test_failures_that_are_not_stored_are_counted_and_can_be_made(tmp_path: Path) -> None:
    """Of two failures one has a reproduction; the other is named, and how to make its own."""
    stored, lacking = (case(f"golden/{id}/80", "failed", 9.0, "off") for id in ("a", "b"))
    stored["reproduction"], lacking["reproduction"] = "failures/mine/golden--a--80", None
    text = summary(Document([run(front_end("mine", [stored, lacking]))]), tmp_path)
    assert "mine has 1 failure without a reproduction, to keep the report small" in text
    assert "judge --frontend module:mine -k golden/b/80 makes that one" in text
