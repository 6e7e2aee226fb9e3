"""One stage left free: what each fit finds by its clips, says, and makes of a clip not seen before.

The faults are planted in one stage of the reference, and given to the fits without a diagnosis.
"""

from __future__ import annotations

import whisper_mel_conformance.run.quiet_blas  # noqa: F401  before anything imports NumPy

# isort: split
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from mutants import outside
from mutants.outside import Array, Draw, Hook
from whisper_mel_conformance.cases.recipes import noise, render_audio, rising
from whisper_mel_conformance.diagnosis import linear, precision
from whisper_mel_conformance.diagnosis.answer import Answer
from whisper_mel_conformance.diagnosis.curve import (
    _of_octaves,
    _rises,
    _words_of_octaves,
    free_curve,
)
from whisper_mel_conformance.diagnosis.free import LEARNT, Explained, Free, explain_by
from whisper_mel_conformance.diagnosis.linear import free_input, free_window
from whisper_mel_conformance.diagnosis.positions import free_positions
from whisper_mel_conformance.diagnosis.precision import Imprecise, imprecise
from whisper_mel_conformance.diagnosis.weights import free_bank, may_be_slightly_off
from whisper_mel_conformance.quirks.path import Variation
from whisper_mel_conformance.quirks.quirk import QuirkyFrontEnd
from whisper_mel_reference import WHISPER

pytestmark = pytest.mark.slow

Stages = dict[str, Hook]
Learnt = Mapping[int, Mapping[str, Answer]]
UNSEEN = (noise(9000, 41, 0.3), rising(8000, 42))


def answer(name: str, stages: Stages, n_mels: int = 80, recipe: Any = None) -> Answer:
    audio = render_audio(LEARNT[name] if recipe is None else recipe)
    features = QuirkyFrontEnd([Variation(stages=stages)], "faulty").log_mel(audio, n_mels)
    return Answer(name, audio, WHISPER.replace(n_mels=n_mels), features)


class Answers(Mapping[str, Answer]):
    """The answers to all clips that fits may look at, each computed when it is."""

    def __init__(self, stages: Stages, n_mels: int) -> None:
        self._answer = lru_cache(maxsize=None)(lambda name: answer(name, stages, n_mels))

    def __getitem__(self, name: str) -> Answer:
        return self._answer(name)

    def __iter__(self) -> Iterator[str]:
        return iter(LEARNT)

    def __len__(self) -> int:
        return len(LEARNT)


def learnt(stages: Stages, *n_mels: int) -> Learnt:
    return {n: Answers(stages, n) for n in n_mels or (80,)}


def fitted(fit: Callable[[Learnt], Iterator[Free]], stages: Stages, *n_mels: int) -> Explained:
    """Return what a fit finds, which must make the answers to clips that it has not seen."""
    known = learnt(stages, *n_mels)
    unseen = [answer("", stages, n, recipe) for recipe in UNSEEN for n in known]
    found = explain_by([fit], known, unseen)
    assert found is not None
    assert found.n == len(unseen)
    return found


# --------------------------------------------------------------------------- frames


def _late(starts: Callable[[Array], Array]) -> Stages:
    def frames(views: Array, call: Any) -> Array:
        t = np.arange(len(views))
        samples = np.pad(call.seen["extended"], 2000)
        return samples[(2000 + 160 * t + starts(t))[:, None] + np.arange(400)]

    return {"frames": frames}


@pytest.mark.parametrize("by", [7, -7])
def test_frames_that_all_begin_late_are_found(by: int) -> None:
    free = fitted(free_positions, _late(lambda t: 0 * t + by)).free
    assert (free.stage, free.kind) == ("frames", "frames")
    assert free.cause == f"Frames begin {by} samples late."
    assert free.shown == "All of them do."


@pytest.mark.parametrize("by", [1, -1])
def test_frames_that_drift_are_found(by: int) -> None:
    free = fitted(free_positions, _late(lambda t: by * (t // 50))).free
    drift = by * 4 / 249
    assert free.cause == (
        f"Frames drift: each begins {160 + drift:.5g} samples after the one before, on average, "
        "not 160."
    )
    assert free.shown == (
        f"They begin 0 samples late at first, {by} from frame 50, {2 * by} from frame 100, "
        f"{3 * by} from frame 150, {4 * by} from frame 200, and {4 * by} at frame 249."
    )
    often = fitted(free_positions, _late(lambda t: by * (t // 45))).free
    assert f"{4 * by} from frame 180 …, and {5 * by} at frame 249." in often.shown
    leaps = fitted(free_positions, _late(lambda t: 7 + 4 * by * ((t + 9) // 10))).free
    assert f"each begins {160 + 100 * by / 249:.5g} samples after" in leaps.cause
    assert f"They begin 7 samples late at first, {7 + 4 * by} from frame 1," in leaps.shown
    soon = fitted(free_positions, _late(lambda t: by * np.minimum(t, 3))).free
    assert f"{by} from frame 1, {2 * by} from frame 2, {3 * by} from frame 3, and" in soon.shown


def test_frames_that_drift_far_are_found_up_to_200_samples() -> None:
    """Of 250 frames the last drifts, too: 300 samples in 249 steps are 1.205 each."""
    far = fitted(free_positions, _late(lambda t: np.where(t == 249, 150, t * 296 // 248 - 150)))
    assert "each begins 161.2 samples after the one before" in far.free.cause
    assert far.free.shown.endswith(", and 150 at frame 249.")
    most = fitted(free_positions, _late(lambda t: 196 + t // 50))
    assert most.free.shown.endswith("200 from frame 200, and 200 at frame 249.")
    assert not [*free_positions(learnt(_late(lambda t: 197 + t // 50)))]


def test_frames_that_begin_nowhere_or_where_they_should_are_not_explained() -> None:
    leap = _late(lambda t: 5 * (t // 50))  # by more than frames drift
    for stages in ({}, leap, outside.gaussian_window(Draw(1))):
        assert not [*free_positions(learnt(stages))]


# --------------------------------------------------------------------------- filterbank


def _bank(change: Callable[[Array], Array]) -> Stages:
    return {"bank": lambda weights, call: change(weights.copy()).astype(weights.dtype)}


def test_weights_are_found_and_shown() -> None:
    def some(weights: Array) -> Array:
        weights[40, 30] = 0.0125
        weights[3] = 0.0
        return weights

    free = fitted(free_bank, _bank(some)).free
    assert free.kind == "filterbank"
    assert free.cause == "The filterbank has other weights."
    assert free.shown.startswith("Weights differ in 2 of 80 bands, most these: 0.0125 where 0 is")
    assert "0.0125 where 0 is right, in band 40, bin 30" in free.shown
    assert free.shown.count(" where ") == 3
    assert "Take the bank that Whisper has" in free.fix


@pytest.mark.parametrize("fault", [outside.exclusive_bounds, outside.other_edges])
def test_weights_that_are_missing_are_found(fault: outside.Fault) -> None:
    """Light ones that the fit has where none are would add up, to 0.7 of the bound."""
    found = fitted(free_bank, fault(Draw(61_000)))
    assert found.free.kind == "filterbank"
    assert found.score < 0.55


def test_weights_that_are_slightly_off_are_measured_of_the_bands_that_are() -> None:
    def some(weights: Array) -> Array:
        if len(weights) == 128:
            weights[77] *= 1.01
        return weights

    free = fitted(free_bank, _bank(some), 80, 128).free
    assert "slightly off: by up to 1.00%, in band 77 of 128." in free.cause
    assert free.shown.startswith("Weights differ in 1 of 128 bands, most these: ")
    assert "Compute the bank in float64" in free.fix
    great = fitted(free_bank, _bank(lambda weights: weights * 1.06)).free
    assert great.cause == "The filterbank has other weights."


def test_what_no_weights_make_is_no_bank() -> None:
    assert not [*free_bank(learnt(outside.gaussian_window(Draw(1))))]
    assert not [*free_bank(learnt({"mel": lambda mel, call: mel**1.1}))]


@pytest.mark.parametrize(("factor", "slight"), [(1.0, True), (1.04, True), (1.07, False)])
def test_answers_may_be_slightly_off(factor: float, slight: bool) -> None:
    near = answer("", {"mel": lambda mel, call: mel * factor}, recipe=UNSEEN[0])
    assert may_be_slightly_off([near]) is slight
    assert may_be_slightly_off([answer("", {}, recipe=UNSEEN[0]), near]) is slight
    for features in (None, np.zeros((80, 3))):
        odd = Answer("", near.audio, near.spec, features)
        assert may_be_slightly_off([near, odd]) is False


# --------------------------------------------------------------------------- logarithm


def _log(curve: Callable[[Array], Array]) -> Stages:
    return {"log": lambda log, call: curve(call.seen["mel"]).astype(log.dtype)}


def test_another_curve_is_found_and_shown() -> None:
    free = fitted(free_curve, _log(lambda mel: 0.9 * np.log10(mel + 1e-4))).free
    assert free.kind == "logarithm"
    assert free.cause.startswith(
        "Logarithm and scaling are others: loud features grow by 0.225 for each factor of 10 in "
        "mel power (right: 0.25), and at a mel power of 1e-08 they are 0.9 off that line."
    )
    shown = free.shown.partition("right ones: ")[2]
    assert shown.startswith("0.1 (-1), 0.1") and " 1 (1), 1.45 (1.5); no range below" in shown


def test_a_range_is_measured() -> None:
    straight = _log(lambda mel: 0.8 * np.log10(np.maximum(mel, 1e-10)))
    free = fitted(free_curve, straight).free
    assert free.cause.endswith("grow by 0.2 for each factor of 10 in mel power (right: 0.25).")
    assert "the range below the maximum is 8 in Whisper's unit (right: 8)." in free.shown


def test_an_approximated_logarithm_is_measured() -> None:
    points = np.linspace(0.5, 1.0, 50)
    numbers = np.polyfit(points, np.log2(points), 4)

    def log(mel: Array) -> Array:
        mantissa, exponent = np.frexp(np.maximum(mel, 1e-10))
        return (np.polyval(numbers, mantissa) + exponent) * np.log10(2.0)

    off = np.abs(log(2.0 ** np.linspace(0, 1, 200)) - np.log10(2.0 ** np.linspace(0, 1, 200)))
    free = fitted(free_curve, _log(log)).free
    assert free.cause == (
        f"The logarithm is approximated: about {-np.log2(off.max()):.0f} bits after the point are "
        "right, and it is off in the same way in each octave."
    )
    assert f"off by up to {off.max() / 4:.2g}, at mel powers of " in free.shown


def test_another_scale_is_no_rough_approximation() -> None:
    """Where less than one bit is right, the slope is said: this was "about -5 bits"."""
    cause, _ = _words_of_octaves(lambda mel: 2.5 * np.log10(mel), 8.0)
    assert "loud features grow by 2.5 for each factor of 10" in cause
    cause, _ = _words_of_octaves(lambda mel: (np.log10(mel) + 4.001) / 4.0, 8.0)
    assert "about 10 bits after the point are right" in cause


def test_a_curve_must_rise_but_for_a_thousandth_of_its_range() -> None:
    """Of 500 steps from 1e-9 to 1e3, each of 0.024 decades."""
    for wave, rises in ((0.3, True), (0.4, True), (2.0, False)):
        for size in (1e-3, 1.0, 1e3):

            def curve(mel: Array, size: float = size, wave: float = wave) -> Array:
                return size * (np.log10(mel) + wave * np.sin(3.0 * np.log10(mel)))

            assert _rises(curve) is rises


def test_where_an_octave_has_no_values_a_logarithm_goes_straight_on() -> None:
    octaves = np.add.outer(np.arange(-20.0, 8.0), np.linspace(0.6, 0.99, 40)).ravel()
    mel = 2.0**octaves
    curve = _of_octaves(0.0)(mel, (np.log10(mel) + 4.0) / 4.0, np.full(mel.size, 1e-6))
    between = 2.0 ** np.linspace(-3.0, 3.0, 50)
    assert curve(between) == pytest.approx((np.log10(between) + 4.0) / 4.0, abs=1e-3)


def test_what_is_no_curve_of_the_mel_powers_is_not_explained() -> None:
    for stages in (outside.gaussian_window(Draw(1)), _log(lambda mel: np.sin(np.log(mel + 1e-9)))):
        assert not [*free_curve(learnt(stages))]


# --------------------------------------------------------------------------- input and window


def test_numbers_that_are_right_but_for_a_factor_are_found_without_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of samples that are half as large the mel powers are a fourth."""
    monkeypatch.setattr(linear, "_steps", lambda spectra, bank, numbers, *rest: numbers)
    half = {"audio": lambda x, call: x * x.dtype.type(0.5)}
    bands, seen = linear._noise(learnt(half))
    frames = seen.steps["frames"][linear._FRAMES]
    spectra = np.fft.rfft(frames * linear._HANN)[..., np.newaxis]
    numbers, score = linear._descend(spectra, bands, seen, np.array([3.0]))
    assert numbers == pytest.approx([0.5], rel=1e-4)
    assert score < 1.0
    nothing = seen._replace(usable=np.zeros_like(seen.usable))
    start = np.array([3.0])
    assert linear._descend(spectra, bands, nothing, start) == (start, np.inf)


def test_half_of_the_values_must_be_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    known = learnt({})
    bands, seen = linear._noise(known)
    monkeypatch.setattr(linear, "_descend", lambda spectra, bands, seen, start: (start, 0.5))
    some = np.arange(seen.usable.size).reshape(seen.usable.shape)
    for n, fits in ((some.size // 2, 1), (some.size // 2 - 1, 0)):
        monkeypatch.setattr(
            linear, "_noise", lambda learnt, n=n: (bands, seen._replace(usable=some < n))
        )
        assert len([*free_window(known)]) == fits
        assert len([*free_input(known)]) == 2 * fits


def test_a_window_is_symmetric_up_to_a_part_of_its_largest_value() -> None:
    values = 0.5 - 0.5 * np.cos(2.0 * np.pi * (np.arange(400) + 0.5) / 400.0)
    values[200] = values[199] = 2.0
    for off, form in ((2e-4, "It is symmetric about sample 199.5."), (3e-4, "It is not symmetric")):
        values[0], values[399] = off, 0.0
        cause, shown = linear._window_words(values)
        assert cause == "The window is another one than Hann's."
        assert shown.startswith(form)


def test_a_filter_and_an_offset_are_found() -> None:
    def box(samples: Array, call: Any) -> Array:
        mean = np.convolve(samples, [0.5, 0.0, 0.25])[: samples.size] + 0.01
        return mean.astype(samples.dtype)

    free = fitted(free_input, {"audio": box}).free
    assert free.kind == "input"
    assert free.cause.endswith("into frames: a short filter, 0.01 is added.")
    assert free.shown == (
        "As a filter, its taps: 0.5 (delay 0), 0.25 (delay 2); offset 0.01. Its gain is 0.75 at 0 "
        "Hz and 0.75 at 8,000 Hz."
    )


def test_a_filter_whose_second_tap_is_the_larger_is_found() -> None:
    """Its powers are those of the filter with the taps exchanged, but for a delay."""

    def change(samples: Array, call: Any) -> Array:
        return np.convolve(samples, [0.3, 1.0])[: samples.size].astype(samples.dtype)

    free = fitted(free_input, {"audio": change}).free
    assert free.shown.startswith("As a filter, its taps: 0.3 (delay 0), 1 (delay 1); offset 0.")


@pytest.mark.parametrize(
    ("at", "factor", "words"),
    [
        (4, 0.7, "the factor 0.7."),
        (6, 1.0, "a delay of 2 samples."),
        (2, 0.5, "the factor 0.5, a delay of -2 samples."),
    ],
)
def test_a_gain_and_a_delay_are_told_from_a_filter(at: int, factor: float, words: str) -> None:
    taps = np.zeros(9)
    taps[at] = factor

    def change(samples: Array, call: Any) -> Array:
        return np.convolve(samples, taps)[4 : 4 + samples.size].astype(samples.dtype)

    assert fitted(free_input, {"audio": change}).free.cause.endswith(f"into frames: {words}")


@pytest.mark.parametrize(
    ("centre", "form"),
    [
        (199.5, "It is symmetric about sample 199.5."),
        (200.0, "It is symmetric about sample 200, as a periodic window is."),
        (190.0, "It is not symmetric; its centre is at sample 190.0 (right: 200)."),
    ],
)
def test_another_window_is_found_and_shown(centre: float, form: str) -> None:
    at = (np.arange(400) - centre) / 50.0
    free = fitted(free_window, {"window": lambda w, call: np.exp(-0.5 * at**2)}).free
    assert free.kind == "window"
    assert free.shown.startswith(form)
    said = re.search(r"begin with (\S+), are (\S+) at sample 100 and (\S+) at 200", free.shown)
    assert said is not None
    values = [np.exp(-0.5 * at[i] ** 2) for i in (0, 100, 200)]
    assert [float(it) for it in said.groups()] == pytest.approx(values, rel=0.01)
    off = np.abs(np.exp(-0.5 * at**2) - (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)))
    largest = re.search(r"difference from Hann is -(\S+), at sample (\d+)\.", free.shown)
    assert largest is not None
    assert float(largest[1]) == pytest.approx(off.max(), rel=0.01)
    assert off[int(largest[2])] == pytest.approx(off.max(), rel=0.01)


def test_a_window_is_said_to_be_zero_where_it_is() -> None:
    """By its own largest value, 0.02 here."""
    hann = 0.02 * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(320) / 320))
    free = fitted(free_window, {"window": lambda w, call: np.pad(hann, 40)}).free
    assert " and are not zero from 41 to 359 (Hann: 0, 0.5, 1, from 1 to 399)." in free.shown


def test_a_wrong_sign_of_halves_is_told_from_a_window() -> None:
    halves = outside.wrong_sign_of_halves(Draw(1))
    wide = np.exp(-0.5 * ((np.arange(400) - 200.0) / 80.0) ** 2)
    both = fitted(free_window, {**halves, "window": lambda w, call: wide}).free
    assert " The window differs, too: It is symmetric about sample 200, as" in both.shown
    free = fitted(free_window, halves).free
    assert (free.stage, free.kind) == ("transform", "spectrum")
    assert free.cause.startswith("The transform's bins come in reverse order")
    assert "The window differs" not in free.shown


def test_what_is_neither_filter_nor_window_is_not_explained() -> None:
    for stages in ({"mel": lambda mel, call: mel**1.1}, outside.wrong_sign_of_folding(Draw(1))):
        for fit in (free_input, free_window):
            assert not [*fit(learnt(stages))]


# --------------------------------------------------------------------------- precision


def noisy(stages: Stages) -> Imprecise | None:
    known = learnt(stages)[80]
    unseen = [answer("", stages, 80, recipe) for recipe in (noise(30_000, 41, 0.3), *UNSEEN)]
    fitted = [known[name] for name in ("noise", "chirp", "ramp")]
    return imprecise(fitted, unseen, known["noise"], known["softer"])


FLAT = precision._Noise("the powers", (), lambda part, level: np.full(part.mel.shape, level), str)


def _part(error: Array, used: Any = True, bound: float = 1e-6) -> precision._Part:
    """Return values of 80 bands with these errors, and this bound of float32's."""
    one = np.ones(error.shape)
    every = np.broadcast_to(np.asarray(used), error.shape)
    return precision._Part(one, one, one, one, error, bound * one, every, np.ones((80, 201)))


def _drawn(seed: int, n_frames: int = 30) -> Array:
    return np.random.default_rng(seed).normal(0.0, 0.01, (80, n_frames))


def test_noise_has_its_size_on_each_clip_and_in_each_quarter_of_the_bands() -> None:
    def is_everywhere(*parts: precision._Part) -> bool:
        return precision._is_everywhere(FLAT, parts, 0.01)

    quarters = np.repeat(np.arange(4), 20)[:, np.newaxis]
    one, two = _drawn(1), _drawn(2)
    assert is_everywhere(_part(one), _part(two))
    assert is_everywhere(_part(2.0 * one), _part(two / 2.0))
    # Of eight groups one may be of another size, up to four times, and few values far off.
    for factor, fits in ((3.0, True), (5.0, False), (0.1, False)):
        assert is_everywhere(_part(np.where(quarters == 3, factor * one, one)), _part(two)) is fits
    assert not is_everywhere(*(_part(np.where(quarters == 2, 3.0 * it, it)) for it in (one, two)))
    for every, fits in ((40, True), (20, False)):
        far = one.copy()
        far.flat[::every] = 0.05
        assert is_everywhere(_part(far), _part(far)) is fits
    for bound, fits in ((0.029, True), (0.031, False)):  # of float32's noise a third is less
        off = [np.hypot(1.0, bound / 0.03) * it for it in (one, two)]
        assert is_everywhere(*(_part(it, bound=bound) for it in off)) is fits
    # Groups of forty values, six of them: fewer say nothing.
    assert is_everywhere(_part(one), _part(two, quarters < 2))
    assert not is_everywhere(_part(one), _part(two, quarters < 1))
    assert is_everywhere(*(_part(_drawn(seed, 2)) for seed in (1, 2)))
    fewer = (np.arange(80) % 20 != 7)[:, np.newaxis]
    assert not is_everywhere(*(_part(_drawn(seed, 2), fewer) for seed in (1, 2)))


def test_errors_by_chance_are_others_at_another_level_and_no_constant() -> None:
    one, two = _drawn(1), _drawn(2)
    for first, second, by_chance in (
        (one, two, True),
        (one, one, False),
        (one, -one, False),
        (one, 0.5 * one + two, True),
        (one + 0.02, two, True),
        (one + 0.05, two, False),
    ):
        found = precision._is_chance(FLAT, 0.01, _part(first), _part(second))
        assert found is by_chance
    outliers = [it.copy() for it in (one, two)]
    for it in outliers:
        it[5, :10] = 1.0
    assert precision._is_chance(FLAT, 0.01, *map(_part, outliers))
    half = np.arange(30) < 15
    mixed = np.where(half, two, one)
    assert precision._is_chance(FLAT, 0.01, _part(one, half), _part(mixed, half))
    assert not precision._is_chance(FLAT, 0.01, _part(one, half), _part(one))


def test_noise_that_is_larger_than_any_level_is_no_loss_of_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the model of mel powers alone."""
    of_mel = [it for it in precision._MODELS if it.kinds == ("filterbank", "logarithm")]
    monkeypatch.setattr(precision, "_MODELS", of_mel)

    def noise_of(size: float) -> Stages:
        def mel(mel: Array, call: Any) -> Array:
            drawn = np.random.default_rng(int(1e6 * mel.max())).normal(0.0, size, mel.shape)
            return mel * np.exp(drawn).astype(mel.dtype)

        return {"mel": mel}

    found = noisy(noise_of(0.03))
    assert found is not None
    assert "in the mel powers or an approx" in found.cause
    assert noisy(noise_of(0.07)) is None


def test_noise_of_float32_is_added() -> None:
    part = _part(_drawn(1), np.arange(30) < 10, bound=0.06)
    own, size = precision._sizes(FLAT, part, 0.015)
    assert own == pytest.approx(np.full(800, 0.015))
    assert size == pytest.approx(np.full(800, 0.025))


def test_noise_is_as_likely_as_its_size_is_right() -> None:
    """Whatever is off far beyond it counts little; nothing used is not likely."""
    parts = [_part(_drawn(seed)) for seed in (1, 2)]
    likely = {level: precision._likelihood(FLAT, parts, level) for level in (0.005, 0.01, 0.02)}
    assert max(likely, key=likely.__getitem__) == 0.01
    scaled = np.concatenate([part.error.ravel() for part in parts]) / 0.01
    right = np.log(np.exp(-0.5 * scaled**2) / 0.01 + 1e-3).mean()
    assert likely[0.01] == pytest.approx(right, rel=1e-6)
    assert precision._likelihood(FLAT, [_part(_drawn(1), False)], 0.01) == 0.0


def _spectrum(change: Callable[[Array], Array]) -> Stages:
    return {"spectrum": lambda s, call: change(s).astype(s.dtype)}


def _of_largest(bits: int) -> Stages:
    def change(s: Array) -> Array:
        step = np.abs(s).max(axis=1, keepdims=True) * 2.0**-bits * np.sqrt(12.0)
        return (np.round(s.real / step) + 1j * np.round(s.imag / step)) * step

    return _spectrum(change)


PRECISION: dict[str, tuple[Stages, set[str]]] = {
    "in the transform or the windowed frames: about 9 bits are left; errors are 2^-9": (
        _of_largest(9),
        {"window", "spectrum"},
    ),
    "in fixed point: about 9 bits are left; errors are those of samples with steps of 2^": (
        {"audio": lambda x, call: (np.round(x * 256) / 256).astype(x.dtype)},
        {"input", "window", "spectrum"},
    ),
    "in the spectrum's values or their powers: about 8 bits are left": (
        {"power": lambda power, call: outside.to_bits(power, 8)},
        {"spectrum"},
    ),
    "in the mel powers or an approximation of their logarithms: about 9 bits are left": (
        {"mel": lambda mel, call: outside.to_bits(mel, 9)},
        {"filterbank", "logarithm"},
    ),
    "in the logarithm: about 8 bits are left": (
        {"log": lambda log, call: outside.to_bits(log, 8)},
        {"logarithm"},
    ),
    "about 16 bits are left; errors are 2^-16.2 of the root of the windowed frame's energy": (
        outside.unreduced_bluestein(Draw(1)),
        {"window", "spectrum"},
    ),
    "about 11 bits are left; errors are 2^-10.8 of the root of the windowed frame's energy": (
        outside.coarse_sines(Draw(1)),  # the same for equal audio: they are tables
        {"window", "spectrum"},
    ),
    "about 10 bits are left; errors are 2^-11.5 of each bin's power, and less in bands": (
        outside.half_spectra(Draw(1)),
        {"spectrum"},
    ),
    "in the features: about 8 bits are left": (
        {"features": lambda y, call: outside.to_bits(y, 8)},
        {"output"},
    ),
}


@pytest.mark.parametrize("words", PRECISION)
def test_the_bits_that_a_stage_has_left_are_counted(words: str) -> None:
    stages, kinds = PRECISION[words]
    found = noisy(stages)
    assert found is not None
    assert words in found.cause
    assert found.kinds == kinds
    assert found.shown.endswith("noise of no other stage explains it as well.")


@lru_cache(maxsize=1)
def _waves() -> Array:
    return 1.0 + 1e-3 * np.sin(np.arange(80))[:, None]


SMOOTH: dict[str, Stages] = {
    "right": {},
    "waves": {"mel": lambda mel, call: mel * _waves()},
    "ramp": {"mel": lambda mel, call: mel * (1.0 + 1e-5 * np.arange(mel.shape[1]))},
    "constant": {"mel": lambda mel, call: mel * 1.01},
    "power": {"mel": lambda mel, call: mel**1.0005},
    "window": outside.gaussian_window(Draw(3)),
    "bank": _bank(lambda weights: weights * np.linspace(0.99, 1.01, 201)),
    "upper bands": {
        "mel": lambda mel, call: np.concatenate([mel[:40], outside.to_bits(mel[40:], 8)])
    },
    "upper bands more than others": {
        "mel": lambda mel, call: np.concatenate(
            [outside.to_bits(mel[:40], 11), outside.to_bits(mel[40:], 8)]
        )
    },
    "lowest bands": {
        "mel": lambda mel, call: np.concatenate([outside.to_bits(mel[:20], 8), mel[20:]])
    },
    "quiet clips": {
        "mel": lambda mel, call: mel if call.clip.max() > 0.5 else outside.to_bits(mel, 8)
    },
    "some frames": {"mel": lambda mel, call: mel * (1.0 + 0.01 * (np.arange(mel.shape[1]) == 30))},
}


@pytest.mark.parametrize("error", SMOOTH)
def test_errors_that_are_no_chance_are_no_loss_of_precision(error: str) -> None:
    assert noisy(SMOOTH[error]) is None


def test_stages_whose_noise_is_alike_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_ALIKE", 0.1)
    found = noisy({"features": lambda y, call: outside.to_bits(y, 8)})
    assert found is not None
    assert found.cause.startswith(
        "Too little precision in the features or in the mel powers or an approximation of their "
        "logarithms: about 8 bits are left"
    )
    assert found.shown.endswith("; these stages explain it alike.")
    assert found.kinds == {"output", "filterbank", "logarithm"}


def test_features_of_another_shape_have_no_precision() -> None:
    whole = answer("noise", {})
    short = Answer("noise", whole.audio, whole.spec, np.zeros((80, 249)))
    none = Answer("noise", whole.audio, whole.spec, None)
    for odd in (short, none):
        assert imprecise([whole], [odd], whole, whole) is None
