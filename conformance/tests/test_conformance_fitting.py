"""Numbers of quirks that are fitted, and the steps by which a search chooses among quirks."""

from __future__ import annotations

import whisper_mel_conformance.run.quiet_blas  # noqa: F401  before anything imports NumPy

# isort: split
import math
from typing import Any

import numpy as np
import pytest
from whisper_mel_conformance.cases.recipes import noise, render_audio, rising
from whisper_mel_conformance.diagnosis import search
from whisper_mel_conformance.diagnosis.answer import Answer, Model, Variant, Variants
from whisper_mel_conformance.diagnosis.fit import (
    PROMISING,
    distance,
    loss,
    loss_of,
    moved,
    next_to,
    refine,
)
from whisper_mel_conformance.diagnosis.search import Explanation, Search
from whisper_mel_conformance.quirks.path import Variation
from whisper_mel_conformance.quirks.quirk import QuirkyFrontEnd
from whisper_mel_reference import WHISPER

pytestmark = pytest.mark.slow

RISING, NOISE = rising(2000, 31), noise(1700, 32, 0.2)
HANN = Variant("symmetric-window")


def gain(value: float) -> Variant:
    return Variant("gain", value)


def answer(*variants: Variant, recipe: Any = RISING, stages: Any = None) -> Answer:
    """Return an answer as a front-end with these quirks gives it."""
    audio = render_audio(recipe)
    variations = [variant.variation for variant in variants]
    if stages is not None:
        variations.append(Variation(stages=stages))
    return Answer("clip", audio, WHISPER, QuirkyFrontEnd(variations, "faulty").log_mel(audio))


# --------------------------------------------------------------------------- losses


def test_far_differences_count_little_more_than_near_ones() -> None:
    assert loss_of(np.zeros(5)) == 0.0
    assert loss_of(np.array([math.e - 1, 1 - math.e, 0.0, 0.0])) == pytest.approx(0.5)


def test_losses_of_several_answers_are_averaged() -> None:
    models = [Model(answer(gain(0.5), recipe=it)) for it in (RISING, NOISE)]
    each = [loss([model], ()) for model in models]
    assert loss(models, ()) == pytest.approx(sum(each) / 2)
    assert loss(models, (gain(0.5),)) < PROMISING < loss(models, (gain(0.6),))
    far = [model.differences(model.answer.expected) for model in models]
    assert distance(models, ()) == pytest.approx(np.square(np.concatenate(far)).mean())
    longer = (Variant("hop", 128),)
    assert loss(models, longer) == distance(models, longer) == math.inf


# --------------------------------------------------------------------------- numbers

SHORT = Variant("short-window", 320)


def test_combinations_that_differ_in_one_number_are_neighbours() -> None:
    assert next_to((gain(1.0),), (gain(2.0),)) == 0
    assert next_to((HANN, gain(1.0)), (HANN, gain(2.0))) == 1
    assert next_to((gain(1.0), SHORT), (gain(2.0), Variant("short-window", 330))) is None
    assert next_to((gain(1.0),), (gain(1.0),)) is None
    assert next_to((gain(1.0),), (Variant("offset", 1.0),)) is None
    assert next_to((HANN,), (Variant("magnitude"),)) is None
    assert next_to((gain(1.0),), (gain(2.0), HANN)) is None
    rates = [(Variant("bank-of-another-rate", rate),) for rate in (8000, 22_050)]
    assert next_to(*rates) is None


@pytest.mark.parametrize(
    ("first", "second", "part", "expected"),
    [
        (gain(0.01), gain(100.0), 0.5, 1.0),  # the grid is wide: by factors
        (Variant("offset", 1.0), Variant("offset", 3.0), 0.25, 1.5),
        (SHORT, Variant("short-window", 331), 0.5, 326),
        (Variant("epsilon-added", 1e-8), Variant("epsilon-added", 1e-6), 0.5, 1e-7),
    ],
)
def test_a_number_is_moved_a_part_of_the_way(
    first: Variant, second: Variant, part: float, expected: float
) -> None:
    found, other = moved((first, HANN), (second, HANN), part)
    assert other == HANN
    assert found.id == first.id
    assert found.value == pytest.approx(expected)
    assert isinstance(found.value, int) == first.parameter.whole
    assert moved((first,), (second,), 0.0)[0].value == pytest.approx(first.number)


OFFSET, DIVISOR = Variant("offset", 4.0), Variant("divisor", 4.0)


@pytest.mark.parametrize(
    ("right", "start", "work"),
    [
        ((gain(0.37),), (gain(0.5),), 120),
        ((gain(3.3e-4),), (gain(100.0),), 220),
        ((Variant("offset", 3.21),), (OFFSET,), 50),
        ((Variant("power-exponent", 1.66),), (Variant("power-exponent", 0.5),), 120),
        ((Variant("short-window", 351),), (SHORT,), 80),
        ((Variant("short-window", 351),), (Variant("short-window", 350),), 66),
        ((gain(0.37), Variant("divisor", 5.3)), (gain(1.0), DIVISOR), 150),
        ((SHORT, Variant("divisor", 5.3)), (Variant("short-window", 340), DIVISOR), 340),
    ],
)
def test_numbers_are_found_from_far_away_with_few_evaluations(
    right: Variants, start: Variants, work: int
) -> None:
    model = Model(answer(*right))
    found = refine([model], start, scan=False)
    assert [it.id for it in found] == [it.id for it in start]
    assert [it.value for it in found] == pytest.approx([it.value for it in right], rel=1e-4)
    assert loss([model], found) < 0.2
    assert model.work <= work


def test_whole_numbers_far_away_are_found_by_trying_many() -> None:
    right, start = (Variant("delayed-input", 233),), (Variant("delayed-input", -320),)
    model = Model(answer(*right, recipe=NOISE))
    assert refine([model], start, scan=True) == right
    assert refine([model], start, scan=False) != right
    last = (Variant("delayed-input", -320),)  # the first of the grid
    far = Model(answer(*last, recipe=NOISE))
    assert refine([far], (Variant("delayed-input", 160),), scan=True) == last


def test_what_has_no_number_or_is_found_stays_as_it_is() -> None:
    model = Model(answer(HANN))
    assert refine([model], (HANN,), scan=True) == (HANN,)
    listed = (Variant("bank-of-another-rate", 8000),)
    assert refine([model], listed, scan=True) == listed
    [found] = refine([Model(answer(gain(0.5)))], (gain(0.5),), scan=True)
    assert found.value == pytest.approx(0.5, rel=1e-5)


def test_numbers_stay_within_their_grids() -> None:
    """Of a front-end that is louder than any gain of the grid makes it."""
    louder = answer(stages={"audio": lambda x, call: x * x.dtype.type(1e7)})
    [found] = refine([Model(louder)], (gain(10.0),), scan=True)
    assert found.value == pytest.approx(1e5)


# --------------------------------------------------------------------------- the search


def found(explanations: list[Explanation]) -> list[set[str]]:
    return [{variant.id for variant in it.variants} for it in explanations]


def searched(*variants: Variant, stages: Any = None) -> Search:
    return Search([answer(*variants, recipe=it, stages=stages) for it in (RISING, NOISE)])


def test_one_quirk_is_found_with_its_number() -> None:
    [explanation] = searched(HANN).singles()
    assert explanation.variants == (HANN,)
    assert explanation.score <= 1.0
    [explanation, *_] = searched(gain(0.37)).singles()
    assert explanation.variants[0].id == "gain"
    assert explanation.variants[0].value == pytest.approx(0.37, rel=1e-5)


def test_a_quirk_must_leave_right_answers_right() -> None:
    """A clip of zeros shows nothing, one of noise that the other's window is no quirk of it."""
    wrong, right = answer(HANN), answer(recipe=NOISE)
    assert found(Search([wrong]).singles()) == [{"symmetric-window"}]
    assert found(Search([wrong, right]).singles()) == []


def test_two_quirks_are_found_and_counted() -> None:
    search_of = searched(HANN, Variant("magnitude"))
    assert found(search_of.singles()) == []
    assert found(search_of.combined()) == [{"symmetric-window", "magnitude"}]
    assert search_of.tried[2] > 0


HIDDEN: dict[str, tuple[Variants, float]] = {
    "three": (
        (Variant("float-as-int16"), Variant("no-mel-norm"), Variant("natural-logarithm")),
        0.4,
    ),
    "four": (
        (
            *(Variant("pad-zero"), HANN),
            *(Variant("htk-mel"), Variant("natural-logarithm")),
        ),
        0.3,
    ),
    "two numbers": ((Variant("offset", 3.2), Variant("divisor", 5.3)), 0.3),
    "a number": ((Variant("pre-emphasis", 0.93), Variant("magnitude")), 0.3),
}
"""Quirks that hide each other, and the part of the work in which they must be found."""


@pytest.mark.parametrize("name", HIDDEN)
def test_quirks_that_hide_each_other_are_found_with_little_work(name: str) -> None:
    quirks, work = HIDDEN[name]
    search_of = searched(*quirks)
    search_of.singles()
    [best, *_] = search_of.combined()
    assert {it.id for it in best.variants} == {it.id for it in quirks}
    for variant in best.variants:
        [right] = [it.value for it in quirks if it.id == variant.id]
        assert variant.value == (None if right is None else pytest.approx(right, rel=1e-3))
    assert search_of._done() < work


def test_a_search_ends_when_its_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_WORK", 100)
    search_of = searched(HANN, stages={"features": lambda y, call: np.sin(9 * y)})
    assert search_of.singles() == search_of.combined() == []
    assert 100 < sum(model.work for model in search_of._models) < 1000


def test_quirks_of_all_answers_but_a_few_are_kept() -> None:
    """Of the first three answers none may be left out, of the others two at most."""
    clips = [noise(1700 + 10 * i, 32 + i, 0.2) for i in range(6)]
    wrong = [answer(HANN, recipe=it) for it in clips[:3]]
    odd = [answer(HANN, gain(0.5), recipe=it) for it in clips[3:]]
    for n in (1, 2):
        search_of = Search([*wrong, *odd[:n]])
        assert search_of._checked((HANN,)) == []
        best = search_of.partial
        assert best is not None
        assert best.variants == (HANN,)
        assert best.but == odd[:n]
    for answers in ([*wrong, *odd], [*odd[:1], *wrong]):
        search_of = Search(answers)
        assert search_of._checked((HANN,)) == []
        assert search_of.partial is None


def test_a_part_that_quirks_explain_is_found_beside_what_nothing_does() -> None:
    """The last 16 bands are off, besides; of quirks that explain nothing more none is named."""

    def bands(y: Any, call: Any) -> Any:
        y = y.copy()
        y[-16:] += 0.05 * np.sin(40 * y[-16:] + np.arange(16)[:, None])
        return y

    pair = (HANN, Variant("magnitude"))
    search_of = searched(*pair, stages={"features": bands})
    search_of._reached = [(HANN,), pair, (*pair, gain(1.0)), (Variant("hop", 128), HANN)]
    peeled = search_of.peeled()
    assert peeled is not None
    variants, part, before = peeled
    assert set(variants) == set(pair)
    assert part == pytest.approx(0.8, abs=0.05)
    assert before < 0.1
    search_of._reached = [(HANN,), (Variant("no-mel-norm"), Variant("htk-mel"))]
    assert search_of.peeled() is None
    search_of._reached = []
    assert search_of.peeled() is None


def test_an_explanation_is_made_simpler_where_as_good_a_one_is() -> None:
    """Without a quirk that does nothing, and by a quirk without a number for one with one."""
    idle = Explanation((HANN, Variant("offset", 1.0)), 0.5)
    assert found(searched(HANN)._simpler(idle)) == [{"symmetric-window"}]
    scaled = Explanation((HANN, Variant("logarithm-scaled", math.log(10.0))), 0.5)
    search_of = searched(HANN, Variant("natural-logarithm"))
    assert found(search_of._simpler(scaled)) == [{"symmetric-window", "natural-logarithm"}]
    own = Explanation((HANN, gain(0.37)), 0.5)
    assert searched(HANN, gain(0.37))._simpler(own) == [own]


def test_a_quirk_is_added_to_an_explanation_that_leaves_something() -> None:
    """If nothing is left with it; one that leaves no more than a careless front-end does stays."""
    search_of = searched(HANN, Variant("magnitude"))
    some, careless = Explanation((HANN,), 9.0), Explanation((HANN,), 3.9)
    assert found(search_of._completed([some])) == [{"symmetric-window", "magnitude"}]
    assert search_of._completed([careless]) == [careless]
    assert search_of._completed([]) == []
    assert searched(stages={"features": lambda y, call: np.sin(9 * y)})._completed([some]) == [some]


def ranked(*found: Explanation) -> list[str]:
    return [str(it) for it in search._ranked(found)]


def test_quirks_without_a_number_come_before_fitted_ones_then_the_better_score() -> None:
    half = Explanation((gain(0.5),), 0.1)
    window, padding = Explanation((HANN,), 0.9), Explanation((Variant("pad-zero"),), 0.8)
    assert ranked(half, window, padding) == ["pad-zero", "symmetric-window", "gain (factor 0.5)"]
    both = Explanation((HANN, gain(0.5)), 0.3)
    turned = Explanation((gain(0.4), HANN), 0.2)
    assert ranked(both, turned) == [str(turned)]
    assert ranked() == []
    for score, named in ((3.9, 2), (4.1, 1)):
        other = Explanation((HANN,), score)
        assert len(ranked(Explanation((Variant("pad-zero"),), 0.99), other)) == named
    assert ranked(Explanation((Variant("pad-zero"),), 0.01), window) == [
        "pad-zero",
        "symmetric-window",
    ]


def test_the_least_losses_are_kept_two_of_equal_ones() -> None:
    each = [(gain(float(i)),) for i in range(5)]
    losses: search.Losses = {}
    for variants, value in zip(each, [3.0, 1.0, 1.0, 1.0, 2.0], strict=True):
        losses[str(variants),] = value, variants
    assert search._least(losses, 4) == [each[1], each[2], each[4], each[0]]
    assert search._least(losses, 1) == [each[1]]


def test_rankings_are_taken_in_turn_each_combination_once() -> None:
    a, b, c = (gain(1.0),), (gain(2.0),), (gain(3.0),)
    assert search._in_turn([a, b], [b, c], []) == [a, b, c]
    assert search._in_turn([a, b, c], [c]) == [a, c, b]
