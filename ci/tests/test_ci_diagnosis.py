"""How often the diagnosis is right is counted rightly; on a few drawn front-ends it is."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from daily import by_day
from mutants import diagnosis as measured
from mutants.draws import GROUPS, PATH, Call, Conditional, Drawn, When, calls, drawn
from whisper_mel_conformance.cases.recipes import noise, rising
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis.answer import Variant
from whisper_mel_conformance.diagnosis.asked import Part
from whisper_mel_conformance.diagnosis.condition import Condition
from whisper_mel_conformance.diagnosis.outcome import Diagnosis
from whisper_mel_conformance.diagnosis.requests import samples
from whisper_mel_conformance.diagnosis.search import Explanation
from whisper_mel_conformance.frontend.client import InProcess
from whisper_mel_conformance.frontend.load import inspect_front_end
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_conformance.quirks.quirk import QuirkyFrontEnd

Quirks = Mapping[str, float | None]
SEED = 20_000
"""Of the tests. Whoever changes the diagnosis looks at other seeds."""


def _about(ids: Quirks, named: list[Quirks], kinds: str) -> dict[str, bool]:
    """Return what is said of a diagnosis that names these, of a front-end with those quirks."""
    variants = tuple(Variant(*pair) for pair in ids.items())
    source = QuirkyFrontEnd([variant.variation for variant in variants], "drawn")
    fault = Drawn("", source, variants, frozenset(CATALOGUE[id].kind for id in ids))
    said = [Explanation(tuple(Variant(*pair) for pair in each.items()), 1.0) for each in named]
    diagnosis = Diagnosis(said, "", kinds=frozenset(kinds.split()))
    front_end = InProcess(inspect_front_end(source, "drawn"))
    return measured.about(fault, diagnosis, front_end, random.Random(1))


RIGHT = {"right": True, "misleads": False}
WRONG = {"right": False, "misleads": False}
MISLEADING = {"right": False, "misleads": True}


@pytest.mark.slow
def test_a_diagnosis_is_right_if_it_names_what_was_drawn_or_what_makes_the_same() -> None:
    gain, window = {"gain": 0.5}, {"symmetric-window": None}
    assert _about(gain, [gain], "input") == RIGHT
    # A gain of the samples and one of the window make the same features.
    assert _about({"gain": 0.05}, [{"transform-by-root-n": None}], "spectrum") == RIGHT
    assert _about(gain, [{"transform-by-root-n": None}], "spectrum") == MISLEADING
    assert _about(gain, [{"mean-removed": None}], "input") == WRONG
    assert _about(gain, [window, gain], "window") == MISLEADING  # not the first
    assert _about({**gain, **window}, [gain], "input") == WRONG
    assert _about({**gain, **window}, [{**gain, "pad-zero": None}], "input padding") == MISLEADING
    assert _about(gain, [], "") == WRONG  # nothing known
    assert _about(gain, [], "window") == MISLEADING  # a stage that was left free
    assert _about(gain, [], "window input") == WRONG  # one of two


@pytest.mark.parametrize("group", GROUPS)
def test_draws_depend_on_nothing_but_their_numbers(group: str) -> None:
    words = [drawn(group, SEED, i).words for i in range(6)]
    assert words == [drawn(group, SEED, i).words for i in range(6)]
    assert words != [drawn(group, SEED + 1, i).words for i in range(6)]


def test_every_quirk_is_drawn_before_one_comes_again() -> None:
    ids = [drawn("single", SEED, i).variants[0].id for i in range(len(PATH))]
    assert sorted(ids) == sorted(quirk.id for quirk in PATH)


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_condition_is_right_if_it_is_true_of_the_same_calls(more: int) -> None:
    when = When("n > 1000", lambda call: call.n > 1000, (999, 1000, 1001))
    part = Part("", lambda request: request.audio().shape[-1] > 1000 + more, lambda it: it)
    diagnosis = Diagnosis([], "", condition=Condition([part], ""))
    source = Conditional([CATALOGUE["frames-reversed"].variation()], when.holds)
    front_end = InProcess(inspect_front_end(source, "drawn"))
    assert measured._states(diagnosis, when, front_end, random.Random(2)) is (more == 0)
    assert not measured._states(Diagnosis([], ""), when, front_end, random.Random(2))


def test_a_fault_need_not_show_in_each_call_that_has_it() -> None:
    """Of one frame the order is right."""
    when = When("", lambda call: True, (240, 319, 320))
    source = Conditional([CATALOGUE["frames-reversed"].variation()], when.holds)
    front_end = InProcess(inspect_front_end(source, "drawn"))

    def states(least: int) -> bool:
        """Return whether it is right to say: of so many frames or more."""

        def holds(request: Request) -> bool:
            return request.spec().n_frames(samples(request)) >= least

        diagnosis = Diagnosis([], "", condition=Condition([Part("", holds, lambda it: it)], ""))
        return measured._states(diagnosis, when, front_end, random.Random(4))

    assert [states(least) for least in (1, 2, 3)] == [True, True, False]


def test_drawn_calls_are_calls() -> None:
    when = When("", lambda call: True, (777,))
    drawn_calls = [Call.of(request) for request in calls(when, random.Random(3))]
    assert {call.clips for call in drawn_calls} >= {0, 1, 2, 3}
    assert {call.pad_to == call.n for call in drawn_calls} == {True, False}
    assert any(call.n == 777 for call in drawn_calls)
    late = Request({"parts": [noise(500, 1, 1e-3), {"signal": "dc", "n": 1}]})
    assert Call.of(late).loudest == 500
    assert Call.of(Request(rising(500), layout="offset-4")).audio.ctypes.data % 8 == 4


def test_what_is_missed_is_counted() -> None:
    def row(group: str, right: bool, misleads: bool = False) -> Any:
        return {"group": group, "right": right, "misleads": misleads, "seconds": 1.0}

    rows = [row("single", i > 0) for i in range(40)] + [row("outside", True)]
    one = measured.counted(rows, "single")
    assert (one["n"], one["right"], one["misleads"]) == (40, 39, 0)
    assert one["low"] == pytest.approx(0.871, abs=1e-3)
    assert one["high"] == pytest.approx(0.996, abs=1e-3)
    assert not measured.is_missed(one)
    assert measured.is_missed(measured.counted([*rows, row("single", False)], "single"))
    assert measured.is_missed(measured.counted([row("outside", True, True)], "outside"))


@pytest.mark.slow
def test_groups_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others stay; rows that are not right are there with what was said."""
    path = tmp_path / "diagnosis.json"
    monkeypatch.setattr(measured, "RECORD", path)
    path.write_text(json.dumps({"pair": {"n": 1}, "single": {"n": 7}}))
    assert measured.run("no such group", 1, SEED, processes=1, record=True) == 2
    status = measured.run("single", 1, SEED, processes=1, record=True)
    made = json.loads(path.read_text())
    assert list(made) == ["single", "pair"]
    assert made["pair"] == {"n": 1}
    assert made["single"]["n"] == 1
    assert made["single"]["seed"] == SEED
    assert status == 1 - made["single"]["right"]
    assert len(made["single"]["wrong"]) == status


@pytest.mark.slow
@pytest.mark.parametrize("group", by_day(GROUPS, ["single", "condition"]))
def test_the_diagnosis_is_right_about_what_is_drawn(group: str) -> None:
    row = measured.told(group, SEED, 0)
    assert row["right"], row
    assert not row["misleads"], row


@pytest.mark.nightly
@pytest.mark.parametrize("group", GROUPS)
def test_the_diagnosis_is_right_as_often_as_wanted(group: str) -> None:
    assert measured.run(group, 40, SEED + 1, processes=1, record=False) == 0
