"""What quirks make of a clip, computed or guessed; in which orders, with which numbers.

Each step alone, within milliseconds; ``test_conformance_diagnosis.py`` has them all together.
"""

from __future__ import annotations

import whisper_mel_conformance.run.quiet_blas  # noqa: F401  before anything imports NumPy

# isort: split
import itertools
import math
from typing import Any

import numpy as np
import pytest
from whisper_mel_conformance.cases.recipes import noise, render_audio
from whisper_mel_conformance.diagnosis import answer as answers
from whisper_mel_conformance.diagnosis import guess, variants
from whisper_mel_conformance.diagnosis.answer import Answer, Model, Variant
from whisper_mel_conformance.diagnosis.free import Free
from whisper_mel_conformance.diagnosis.guess import likely
from whisper_mel_conformance.diagnosis.variants import (
    added,
    coarse,
    combine,
    curves,
    every_value,
    in_orders,
    of_grid,
    values,
    with_one_more,
)
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_conformance.quirks.path import Variation
from whisper_mel_conformance.quirks.quirk import Parameter, QuirkyFrontEnd
from whisper_mel_reference import WHISPER

Array = Any

HANN, MAGNITUDE, POWER = map(Variant, ("symmetric-window", "magnitude", "half-precision-power"))
COARSE_POWER = Variant("bfloat16-power")
HALF = Variant("gain", 0.5)
HOP = Variant("hop", 128)


def answer(*quirks: Variant, n: int = 4000, audio: Array = None, **spec: Any) -> Answer:
    """Return an answer as a front-end with these quirks gives it."""
    samples = render_audio(noise(n, 33, 0.2)) if audio is None else audio
    source = QuirkyFrontEnd([quirk.variation for quirk in quirks], "faulty")
    return Answer("clip", samples, WHISPER.replace(**spec), source.log_mel(samples, **spec))


# --------------------------------------------------------------------------- combinations


def test_quirks_are_put_in_the_order_of_the_path_or_in_both() -> None:
    assert in_orders(MAGNITUDE, HANN) == in_orders(HANN, MAGNITUDE) == [(HANN, MAGNITUDE)]
    both = [(POWER, COARSE_POWER), (COARSE_POWER, POWER)]  # both round the stage ``power``
    assert in_orders(POWER, COARSE_POWER) == in_orders(COARSE_POWER, POWER) == both
    assert with_one_more((HANN, POWER), MAGNITUDE) == (HANN, MAGNITUDE, POWER)
    assert with_one_more((), HANN) == (HANN,)


def test_any_two_different_quirks_are_combined_once() -> None:
    some = [HALF, Variant("gain", 2.0), HANN, POWER, COARSE_POWER]
    pairs = [*combine(some, some)]
    wanted = {frozenset(it) for it in itertools.combinations(some, 2) if it[0].id != it[1].id}
    assert {frozenset(pair) for pair in pairs} == wanted
    assert len(pairs) == len({*pairs}) == len(wanted) + 1
    assert (HANN, POWER) in pairs
    assert (POWER, HANN) not in pairs


def test_quirks_are_added_that_a_combination_lacks() -> None:
    assert [*added([(HANN,), (MAGNITUDE,)], [HALF, HANN])] == [
        (HALF, HANN),
        (HALF, MAGNITUDE),
        (HANN, MAGNITUDE),
    ]
    assert [*added([(HALF,)], [Variant("gain", 2.0)])] == []


def test_curves_are_quirks_with_a_real_number_behind_the_mel_powers() -> None:
    """And those of mel powers alone. No others: no gain, no whole number, none without one."""
    assert {it.id for it in curves()} == {
        *("logarithm-scaled", "epsilon-added", "floor", "range-width", "fixed-maximum"),
        *("offset", "divisor", "features-standardised", "bands-standardised"),
        "filled-to-3000-frames",
    }


# --------------------------------------------------------------------------- values


def whole(*grid: float) -> Parameter:
    return Parameter("samples", grid[0], grid, whole=True)


def test_whole_numbers_are_tried_besides_those_of_the_grid_where_they_are_few() -> None:
    assert values(whole(3, 8, 14)) == [3, 7, 8, 11, 14]
    assert [*every_value(whole(3, 8, 14))] == [*range(3, 15)]
    assert values(whole(200, 210, 500))[:4] == [200, 204, 208, 210]
    assert [*every_value(whole(200, 210, 500))] == [*range(200, 501)]
    for many in (whole(0, 10, 301), whole(-200, 0, 101)):
        assert values(many) == every_value(many) == many.grid
    real = Parameter("factor", 2.0, (1.0, 2.0, 8.0))
    assert values(real) == real.grid


def test_four_values_of_a_grid_are_tried_in_pairs_the_usual_one_for_its_neighbour() -> None:
    model = Model(answer())
    assert coarse(CATALOGUE["magnitude"], model) == [MAGNITUDE]
    assert coarse(CATALOGUE["bank-of-22050-hertz"], model) == of_grid(
        CATALOGUE["bank-of-22050-hertz"]
    )
    for id, places in (("divisor", [1, 3, 6, 8]), ("highest-frequency", [3, 10, 16, 23])):
        parameter = CATALOGUE[id].parameter
        assert parameter is not None
        wanted = [parameter.grid[place] for place in places]
        nearest = min(range(4), key=lambda i: abs(wanted[i] - parameter.example))
        wanted[nearest] = parameter.example
        assert [it.value for it in coarse(CATALOGUE[id], model)] == wanted
    assert variants._thinned([7, 8, 9]) == [7, 8, 9]
    assert variants._thinned([7]) == [7]
    assert variants._thinned([]) == []


def test_whole_numbers_are_tried_that_make_as_many_frames() -> None:
    """None of four values makes them: all that do, or four of these; else the four."""
    hop = CATALOGUE["hop"]
    assert hop.parameter is not None
    made = [it.value for it in coarse(hop, Model(answer(Variant("hop", 93))))]
    assert made
    assert not {*made} & {*hop.parameter.grid}
    assert all(4000 // it == 4000 // 93 for it in made if it is not None)
    four = [it.value for it in coarse(hop, Model(answer(HOP)))]  # 128 makes them
    assert len(four) == 4
    assert {*four} - {128} < {*hop.parameter.grid}
    none = Model(Answer("clip", answer().audio, WHISPER, np.zeros((80, 7))))
    assert next(it.value for it in coarse(hop, none)) in hop.parameter.grid


def test_all_values_of_a_grid_are_tried() -> None:
    gain = CATALOGUE["gain"]
    assert gain.parameter is not None
    assert [it.value for it in of_grid(gain)] == [*gain.parameter.grid]
    assert of_grid(CATALOGUE["magnitude"]) == [MAGNITUDE]


# --------------------------------------------------------------------------- answers


def test_how_far_an_answer_is_off_is_measured_in_bounds() -> None:
    right = answer()
    assert 0.0 < right.score <= 1.0
    assert right.actual is not None
    off = right.expected.copy()
    off[0, 3, 4] += 7.5 * right.bound[0, 3, 4]
    assert right.score_of_features(off) == pytest.approx(7.5)
    off[0, 3, 4] = np.nan
    assert right.score_of_features(off) == math.inf
    assert right.score_of_features(off[..., 1:]) == right.score_of_features(None) == math.inf


def test_quirks_are_written_with_their_numbers() -> None:
    assert str(HALF) == "gain (factor 0.5)"
    assert str(HANN) == "symmetric-window"


def test_a_trend_is_taken_away_where_features_are_no_larger_than_a_million() -> None:
    known = np.linspace(-1.0, 2.0, 31)
    bent = 0.3 + 0.7 * known
    assert answers._without_trend(bent, known, with_slope=True) == pytest.approx(0.0 * known)
    assert answers._without_trend(bent, known, with_slope=False) == pytest.approx(
        0.7 * (known - 0.5)
    )
    odd = bent.copy()
    odd[5], known[6] = np.nan, np.inf
    left = answers._without_trend(odd, known, with_slope=True)
    finite = np.isfinite(odd) & np.isfinite(known)
    assert left[finite] == pytest.approx(0.0 * left[finite], abs=1e-12)
    for largest in (1e6, -1e6):
        known[6] = largest
        assert answers._without_trend(bent, known, with_slope=True) is bent
    none = np.array([np.nan])
    assert answers._without_trend(none, none, with_slope=True) is none


def test_of_many_frames_the_first_the_last_and_some_others_are_compared() -> None:
    assert answers._some_frames(150) == slice(None)
    some = answers._some_frames(1000)
    assert isinstance(some, np.ndarray)
    assert {*range(50), *range(950, 1000)} < {*some.tolist()}
    assert 120 < some.size < 160
    long = Model(answer(n=160 * 200))
    predicted = long.features(())
    assert predicted is not None
    compared = answers._some_frames(200)
    assert isinstance(compared, np.ndarray)
    assert long.differences(predicted).size == 80 * compared.size


def test_the_bound_of_another_shape_is_one_number() -> None:
    right, short = answer(), answer(HOP)
    assert np.array_equal(Model(right).bound, right.bound)
    assert Model(short).bound == pytest.approx(short.bound.mean())


# --------------------------------------------------------------------------- what quirks make


def test_features_and_bounds_of_quirks_are_those_of_a_front_end_that_has_them() -> None:
    for spec in ({}, {"smoothing": "valid"}, {"n_mels": 128}):
        for quirks in ((), (HALF,), (HANN, MAGNITUDE), (HOP,)):
            own = answer(*quirks, **spec)
            model = Model(own)
            made = model.features(quirks)
            assert made is not None
            assert made == pytest.approx(own.actual, abs=2e-5)
            assert model.features(quirks) is made
            assert model.score_of(quirks) <= 1.0
            assert model.features((*quirks, Variant("frame-length", 480))) is not made
    right = answer()
    with_bound = Model(right).predict((), with_bound=True)
    assert with_bound is not None
    assert with_bound[0] == pytest.approx(right.expected, abs=1e-9)
    assert np.median(with_bound[1] / right.bound) == pytest.approx(1.0, abs=0.02)
    without = Model(right).predict((), with_bound=False)
    assert without is not None
    assert without[1] is right.bound


def test_features_of_another_shape_are_told_only_where_they_are_asked_for() -> None:
    model = Model(answer())
    assert model.features((HOP,)) is None
    assert model.score_of((HOP,)) == math.inf
    other = model.predict((HOP,), with_bound=False)
    assert other is not None
    assert other[0].shape == (1, 80, 4000 // 128)
    dropped = (Variant("two-frames-dropped"),)
    fewest = Model(answer(*dropped, n=16_000, smoothing="valid"))  # of 101, four are lost
    made = fewest.predict(dropped, with_bound=False)
    assert made is not None
    assert made[0].shape == (1, 78, 97)


def test_what_is_mostly_not_a_number_explains_silence_alone() -> None:
    """Anything is as near to it."""
    made = Variation(stages={"features": lambda y, call: np.full_like(y, np.nan)})
    nothing = (Free("features", "They are lost.", "None is left.", made, "Keep them."),)
    silent, sounding = Model(answer(audio=np.zeros(1600, np.float32))), Model(answer())
    assert silent.score_of(nothing) == 0.0
    assert silent.features(nothing) is not None
    assert sounding.score_of(nothing) == math.inf
    assert sounding.features(nothing) is None
    assert not sounding._says_nothing(np.where(np.arange(25) < 12, np.nan, 1.0))
    assert sounding._says_nothing(np.where(np.arange(25) < 13, np.nan, 1.0))
    assert not sounding._says_nothing(np.full(25, np.inf))


def test_evaluations_are_counted_long_ones_as_several() -> None:
    """26 frames are computed, one of which is dropped; silent ones cost less, filled ones, too."""
    model = Model(answer())
    model.features((HALF,))
    assert model.work == 3 * 2
    model.features((HALF,))
    assert model.work == 3 * 2
    model.features((HALF, Variant("floor", 1e-9)))
    assert model.work == 3 * 2 + 2
    silent = Model(answer(audio=np.zeros(160 * 510, np.float32)))
    silent.features(())
    assert silent.work == 3 * (1 + 511 // 25 + 511 // 170)
    filled = (Variant("filled-to-3000-frames", -1.0),)
    long = Model(answer(*filled))
    long.features(filled)
    assert long.work == 3 * 2 + (3000 - 26) // 400


def test_mel_powers_that_were_used_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(answer())
    windows = [Variant(id) for id in CATALOGUE if id.endswith("-window")][:4]
    [plain] = model.mels(())
    assert plain.low is plain.high is plain.exact
    monkeypatch.setattr(answers, "_KEPT", 3 * plain.exact.nbytes)
    for quirk in (windows[0], windows[1], windows[0], windows[2]):
        model.mels((quirk,))
    assert [front for front, _ in model._fronts] == [(windows[i],) for i in (1, 0, 2)]
    both = (HALF, windows[0])
    assert model.mels(both) is model.mels(both)
    assert model.mels((windows[0],)) is model.mels((windows[0], MAGNITUDE)[:1])


def test_how_far_an_answer_is_on_the_way_is_a_part_of_it() -> None:
    model = Model(answer())
    for start, end, part in ((-1.0, 3.0, 0.25), (1.0, 2.0, 0.0), (-2.0, -1.0, 1.0)):
        ends = [model.actual + it for it in (start, end)]
        assert model.part_of_way(ends[0], ends[1]) == pytest.approx(part)
    assert math.isnan(model.part_of_way(model.actual, model.actual * np.nan))


# --------------------------------------------------------------------------- guesses

QUIRKS = tuple(
    map(Variant, ("symmetric-window", "pad-zero", "magnitude", "no-mel-norm", "natural-logarithm"))
)
GAINS = tuple(Variant("gain", 10.0**i) for i in range(-2, 3))


def test_pairs_are_guessed_by_what_each_quirk_changes() -> None:
    """The right ones come first; numbers between two are guessed, too."""
    for pair in ((QUIRKS[1], QUIRKS[0]), (QUIRKS[0], QUIRKS[3])):
        assert likely(Model(answer(*pair)), QUIRKS)[0] == pair
    louder = (Variant("gain", 10.0**0.4), QUIRKS[0])
    some = [QUIRKS[0], *GAINS, Variant("pre-emphasis", 0.5), Variant("pre-emphasis", 0.97)]
    first = likely(Model(answer(*louder)), some)[0]
    assert (first[0].id, first[1]) == ("gain", QUIRKS[0])
    assert first[0].number == pytest.approx(10.0**0.4, rel=0.1)
    # Of more values the nearest is taken; none is put beside a quirk of the other list.
    ten = (GAINS[3], QUIRKS[0])
    rough, finer = [GAINS[0], GAINS[4], QUIRKS[0]], [GAINS[3], QUIRKS[0]]
    assert likely(Model(answer(*ten)), rough, finer)[0] == ten
    assert likely(Model(answer(*ten)), rough)[0] != ten


def test_what_numbers_could_bring_near_is_kept_besides() -> None:
    """Of a window and a gain a constant is left, if the gain is another one than any here."""
    guessed = guess._Guess(Model(answer(Variant("gain", 2.3), HANN)))
    near: guess.Losses = {}
    freed: guess.Losses = {}
    some = [HANN, *GAINS]
    assert all(map(guessed.is_possible, some))
    guessed.keep_nearest(some, near, freed)
    [pair] = near
    assert [*freed] == [pair] == [("gain", "symmetric-window")]
    assert freed[pair][0] < near[pair][0] < 3.0


def test_what_cannot_be_guessed_is_kept_where_its_shape_may_be_right() -> None:
    """A quirk behind the mel powers is no sum of changes; those of another shape are left out."""
    behind = QUIRKS[4]
    both = (QUIRKS[0], behind)
    assert likely(Model(answer(*both)), [QUIRKS[0], behind, HOP]) == [both]
    assert likely(Model(answer(HOP, behind)), [QUIRKS[0], behind, HOP]) == [
        (HOP, QUIRKS[0]),
        (HOP, behind),
    ]
    smoothed = Model(answer(*QUIRKS[:2], smoothing="same"))
    assert likely(smoothed, QUIRKS[:2]) == [(QUIRKS[1], QUIRKS[0])]


def test_pairs_of_many_frames_come_last() -> None:
    hops = [Variant("hop", 80), Variant("hop", 320)]
    longer = Model(answer(Variant("hop", 80)))
    guessed = guess._Guess(longer)
    assert [guessed._shape(it) for it in hops] == [(1, 80, 50), (1, 80, 12)]
    assert [guessed.frames((it, HANN)) for it in hops] == [51, 13]
    assert guessed.has_shape((hops[0], HANN))
    assert not guessed.has_shape((hops[1], HANN))
    assert guessed.has_shape((hops[1], Variant("one-band-missing")))
    assert guessed.has_shape(tuple(hops))
    assert not guessed.has_shape((HANN, MAGNITUDE))


def test_the_least_loss_of_the_same_quirks_is_kept() -> None:
    losses: guess.Losses = {}
    for value, loss in ((1.0, 3.0), (2.0, 2.0), (3.0, 2.0), (4.0, 2.5)):
        guess.keep_least(losses, loss, (Variant("gain", value), HANN))
    guess.keep_least(losses, 9.0, (HANN,))
    assert losses == {
        ("gain", "symmetric-window"): (2.0, (Variant("gain", 2.0), HANN)),
        ("symmetric-window",): (9.0, (HANN,)),
    }


def test_a_constant_and_what_is_proportional_are_taken_away() -> None:
    known = np.array([[0.0, 1.0, 2.0, 5.0], [1.0, 1.0, 1.0, 1.0]])
    difference = np.array([2.0, 0.5, 7.0, 0.0])[:, np.newaxis] * known[:1] + 3.0
    left = guess._without_trend(difference[:2], known)
    assert left[0] == pytest.approx(np.zeros(4))
    assert left[1] == pytest.approx(0.5 * known[0] - 0.75)  # of a constant there is no slope
    assert guess._loss(np.array([[0.0, math.e - 1.0], [0.0, 0.0]])).tolist() == [0.5, 0.0]
