"""Numbers of quirks that are fitted, and the steps by which a search chooses among quirks."""

from __future__ import annotations

import whisper_mel_conformance.run.quiet_blas  # noqa: F401  before anything imports NumPy

# isort: split
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from daily import by_day
from whisper_mel_conformance.cases.recipes import noise, render_audio, rising
from whisper_mel_conformance.diagnosis import fit, search
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
from whisper_mel_conformance.diagnosis.variants import combine
from whisper_mel_conformance.quirks import CATALOGUE
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


def test_numbers_are_looked_for_between_three_of_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twelve, then of twelve around the best, whichever of them that is."""
    low, start, high = gain(1.0).parameter.grid[4:7]
    monkeypatch.setattr(fit, "_least_squares", lambda models, it, least: (it, least))
    for right in np.geomspace(low, high, 41):
        monkeypatch.setattr(
            fit, "loss", lambda models, it, right=right: abs(math.log(it[0].number / right))
        )
        [found], least = fit._zoomed([], (gain(start),), math.inf, scan=False)
        assert least == abs(math.log(found.number / right))
        assert least < 1.01 * math.log(high / low) / (11 * 11)


def test_numbers_stay_where_no_step_helps() -> None:
    model, start = Model(answer(gain(0.5))), (gain(0.3),)
    assert fit._least_squares([model], start, 1.0, lambda *_: 1.0) == (start, 1.0)
    assert fit._least_squares([model], start, 0.0, lambda *_: math.nan) == (start, 0.0)
    assert fit._least_squares([model], (HANN,), 1.0) == ((HANN,), 1.0)


# --------------------------------------------------------------------------- the search

CHOSEN = (
    *("float-as-int16", "int16-unscaled", "gain", "pre-emphasis", "pad-zero", "symmetric-window"),
    *("magnitude", "htk-mel", "no-mel-norm", "natural-logarithm", "logarithm-scaled"),
    *("offset", "divisor"),
)


@pytest.fixture(autouse=True)
def _catalogue_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of few quirks, as of all, those that make the features are found, and soon."""
    monkeypatch.setattr(search, "path_quirks", lambda: [CATALOGUE[id] for id in CHOSEN])


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
    search_of = searched(Variant("pad-zero"), HANN)
    assert found(search_of.singles()) == []
    assert found(search_of.combined()) == [{"pad-zero", "symmetric-window"}]
    assert search_of.tried[2] > 0


def test_a_search_ends_when_its_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_WORK", 100)
    search_of = searched(HANN, stages={"features": odd})
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
    assert searched(stages={"features": odd})._completed([some]) == [some]


def test_a_limit_depends_on_how_wrong_an_answer_is() -> None:
    """Right answers stay right, slightly wrong ones may stay so where others are far worse."""
    search_of = searched(HANN)
    search_of._worst = 1000.0
    for score, limit in ((4.0, 4.0), (4.1, 8.0), (8.0, 8.0), (8.1, 1.0), (90.0, 9.0), (1e3, 16.0)):
        assert search_of._limit(SimpleNamespace(score=score)) == pytest.approx(limit)  # type: ignore[arg-type]
    search_of._worst = 16.0
    for score, limit in ((3.0, 4.0), (4.1, 1.0), (8.0, 1.0), (16.0, 1.6)):
        assert search_of._limit(SimpleNamespace(score=score)) == pytest.approx(limit)  # type: ignore[arg-type]


def test_a_number_between_two_is_guessed_by_how_far_the_answer_is() -> None:
    """Offsets add up, so that the answer is a part of the way; else nothing is promised."""
    models = [Model(answer(Variant("offset", 2.5)))]
    first, second = (Variant("offset", 1.0),), (Variant("offset", 3.0),)
    left, guessed = search._between(models, first, second)
    assert guessed[0].value == pytest.approx(2.5, rel=1e-4)
    assert left == pytest.approx(loss(models, guessed), abs=0.01)
    for outside, second in ((0.5, (Variant("offset", 3.0),)), (4.0, (Variant("offset", 2.0),))):
        models = [Model(answer(Variant("offset", outside)))]
        assert search._between(models, first, second) == (math.inf, second)
    hops = [(Variant("hop", n),) for n in (160, 161)]
    assert search._between(models, *hops) == (math.inf, hops[1])


def test_what_is_clamped_tells_nothing_of_how_much_agrees() -> None:
    """Values at the lowest of a prediction, or of an answer, are alike for any quirk."""
    loud_and_quiet = {"parts": [noise(1600, 5, 0.9), noise(1600, 6, 5e-5)]}
    for quirk in ("no-range", "no-logarithm"):
        search_of = Search([answer(Variant(quirk), recipe=loud_and_quiet)])
        assert search_of._part_that_agrees(()) == (1.0 if quirk == "no-range" else 0.0)
    shorter = Search([answer(Variant("hop", 128))])
    assert shorter._part_that_agrees(()) == 0.0
    assert shorter._part_that_agrees((Variant("hop", 128),)) == 1.0


def test_the_answers_that_quirks_explain_least_are_looked_at() -> None:
    """Those of another shape are none of them."""
    parts = [answer(gain(value), recipe=NOISE) for value in (0.9, 0.1, 0.5, 0.3)]
    search_of = Search([*parts, answer(Variant("hop", 128), recipe=NOISE)])
    looked_at = [model.answer for model in search_of._least_explained(())]
    assert looked_at == [parts[1], parts[3], parts[2]]


def test_beside_what_explains_an_answer_alone_others_are_tried() -> None:
    """Samples of int16 show what is wrong with them alone, and the window, too."""
    both = (Variant("int16-unscaled"), HANN)
    search_of = Search([answer(*both), answer(*both, recipe={**NOISE, "dtype": "int16"})])
    assert search_of.singles() == []
    assert search_of._explained == {0: [HANN]}
    assert found(search_of._beside_explained()) == [{it.id for it in both}]
    assert searched(HANN)._beside_explained() == []


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


def odd(y: Any, call: Any) -> Any:
    """Return features that no quirks make."""
    return np.sin(9 * y)


def test_whole_numbers_are_scanned_in_the_last_step_fitted_ones_tried_in_a_narrow_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fitted: dict[bool, set[int]] = {}  # numbers of quirks, by whether whole ones are scanned

    def refine(models: Any, variants: Variants, *, scan: bool) -> Variants:
        fitted.setdefault(scan, set()).add(len(variants))
        return variants

    monkeypatch.setattr(search, "refine", refine)
    monkeypatch.setattr(search.Search, "_before_curves", lambda *_: iter(()))
    some = ("gain", "symmetric-window", "magnitude", "no-mel-norm", "divisor")
    monkeypatch.setattr(search, "path_quirks", lambda: [CATALOGUE[id] for id in some])
    for plan, more, last in ((search._NARROW, 1, 4), (search._WIDE, 0, 3)):
        fitted.clear()
        search_of = searched(stages={"features": odd})
        search_of._alone = {("gain",): (3.0, (gain(0.37),))}
        assert search_of._step_by_step(plan) == []
        assert max(fitted[True]) == last > max(fitted[False])
        assert search_of.tried[1] == len(search_of._everything) + more


def test_the_best_of_what_leaves_nothing_is_made_simpler(monkeypatch: pytest.MonkeyPatch) -> None:
    worse, best = Explanation((HANN, gain(0.5)), 0.9), Explanation((HANN,), 0.5)
    monkeypatch.setattr(search.Search, "_simpler", lambda self, it: [it])
    for close in ([best], [worse, best]):
        monkeypatch.setattr(search.Search, "_very_close", lambda self, some, close=close: close)
        assert searched(HANN)._step_by_step(search._WIDE) == [best]


def test_pairs_that_numbers_could_bring_near_are_fitted_though_others_are_nearer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An offset of 0 is far from 3.2, but all that is left is a shift and a scale."""
    search_of = searched(Variant("offset", 3.2), Variant("divisor", 5.3))
    fitted: list[Variants] = []

    def refined(self: Search, pairs: Any, screen: Any) -> Any:
        assert screen == search_of._wrong[:1]
        fitted.extend(pairs)
        return iter(())

    monkeypatch.setattr(search, "_REFINED", 1)
    monkeypatch.setattr(search.Search, "_refined", refined)
    numbers = [it for it in search_of._everything if it.value is not None]
    pairs = list(combine(numbers, numbers))
    assert [*search_of._best(pairs, search_of._wrong[:1])] == []
    assert [{it.id for it in pair} for pair in fitted] == [
        {"offset", "divisor"},
        {"gain", "divisor"},
    ]
    assert search_of.tried[2] == len(pairs)


def test_pairs_are_scanned_that_become_promising(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "refine", lambda models, variants, *, scan: variants)
    left = {0.5: PROMISING - 0.01, 0.6: PROMISING, 0.7: 9.0}
    monkeypatch.setattr(search, "loss", lambda models, it: left[it[0].number])
    pairs = [(gain(value),) for value in left]
    assert [*searched(HANN)._scanned(pairs, [])] == pairs[:1]


QUIET = noise(1700, 9, 3e-4)
STEPS: dict[str, tuple[Variants, Any, float]] = {
    "a number beside a window": ((gain(0.37), HANN), RISING, 0.06),
    "a floor that quiet clips alone show": ((HANN, Variant("floor", 3e-6)), QUIET, 0.01),
}
"""Two quirks, what is asked for besides noise, and the part of the work that finding them takes."""


@pytest.mark.parametrize("name", STEPS)
def test_quirks_are_found_step_by_step_with_little_work(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "path_quirks", lambda: [CATALOGUE[id] for id in (*CHOSEN, "floor")])
    quirks, other, work = STEPS[name]
    search_of = Search([answer(*quirks, recipe=it) for it in (NOISE, other)])
    [best] = search_of._step_by_step(search._WIDE)
    assert {it.id: it.value for it in best.variants} == {
        it.id: None if it.value is None else pytest.approx(it.value, rel=1e-3) for it in quirks
    }
    assert search_of._done() < work


HIDDEN: dict[str, tuple[Variants, float]] = {
    "three": (
        (Variant("float-as-int16"), Variant("no-mel-norm"), Variant("natural-logarithm")),
        0.2,
    ),
    "four": (
        (
            *(Variant("pad-zero"), HANN),
            *(Variant("htk-mel"), Variant("natural-logarithm")),
        ),
        0.12,
    ),
    "two numbers": ((Variant("offset", 3.2), Variant("divisor", 5.3)), 0.06),
    "a number": ((Variant("pre-emphasis", 0.93), Variant("magnitude")), 0.07),
}
"""Quirks that hide each other, and the part of the work in which they must be found."""


@pytest.mark.parametrize("name", by_day(HIDDEN, ["four", "two numbers"]))
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
