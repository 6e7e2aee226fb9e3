"""A stage is named only by a fit, and too little precision by its noise.

The front-ends here are not in the catalogue. Their numbers are drawn; who changes the fits tries
other seeds, and changes ``HELD_OUT`` after having looked at what these draw.
"""

from __future__ import annotations

import whisper_mel_conformance.run.quiet_blas  # noqa: F401  before anything imports NumPy

# isort: split
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from daily import by_day
from mutants import outside
from mutants.outside import Array, Draw, Hook
from whisper_mel_conformance.diagnosis import causes, search
from whisper_mel_conformance.diagnosis.curve import _words_of_octaves
from whisper_mel_conformance.diagnosis.diagnose import diagnose
from whisper_mel_conformance.diagnosis.free import LEARNT, learn
from whisper_mel_conformance.frontend.client import InProcess
from whisper_mel_conformance.frontend.load import inspect_front_end
from whisper_mel_conformance.quirks.path import Call, Variation
from whisper_mel_conformance.quirks.quirk import QuirkyFrontEnd

pytestmark = pytest.mark.slow

HELD_OUT = 61_000


@pytest.fixture
def _catalogue_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of these is in the catalogue, nor a pair of what is: little of it need be tried."""
    monkeypatch.setattr(search, "_WORK", 5000)


def front_end(*hooks: dict[str, Hook]) -> InProcess:
    source = QuirkyFrontEnd([Variation(stages=stages) for stages in hooks], "faulty")
    return InProcess(inspect_front_end(source, "faulty"))


STAGE_IS_NAMED = (
    *(outside.exclusive_bounds, outside.other_edges, outside.box_filter, outside.offset),
    *(outside.wrong_sign_of_halves, outside.gaussian_window, outside.soft_floor),
    *(outside.curved_logarithm, outside.polynomial_logarithm, outside.drifting_frames),
    *(outside.half_spectra, outside.mel_powers_in_few_bits, outside.few_bits_of_audio),
    *(outside.unreduced_bluestein, outside.coarse_sines, outside.rounded_spectrum),
)
ONE_EACH = [*{frozenset(outside.FAULTS[fault]): fault for fault in STAGE_IS_NAMED}.values()]


@pytest.mark.usefixtures("_catalogue_is_short")
@pytest.mark.parametrize(
    "fault", by_day(STAGE_IS_NAMED, ONE_EACH), ids=lambda fault: fault.__name__
)
def test_the_stage_of_a_fault_is_named(fault: Callable[[Draw], dict[str, Hook]]) -> None:
    diagnosis = diagnose(front_end(fault(Draw(HELD_OUT))))
    assert diagnosis.explanations == []
    assert diagnosis.kinds & outside.FAULTS[fault], diagnosis.sentences


@pytest.mark.usefixtures("_catalogue_is_short")
def test_where_no_stage_explains_a_fault_none_is_named() -> None:
    diagnosis = diagnose(front_end(outside.wrong_sign_of_folding(Draw(HELD_OUT))))
    assert not diagnosis.kinds
    assert "Values are off on “loud”" in diagnosis.evidence[0]


# --------------------------------------------------------------------------- what is shown


def _said(stages: dict[str, Hook]) -> str:
    return " ".join(diagnose(front_end(stages)).sentences)


@pytest.mark.usefixtures("_catalogue_is_short")
def test_what_was_found_is_shown_with_numbers() -> None:
    def box(samples: Array, call: Call) -> Array:
        mean = np.convolve(samples, [0.5, 0.0, 0.25])[: samples.size] + 0.01
        return mean.astype(samples.dtype)

    text = _said({"audio": box})
    assert "a short filter, 0.01 is added." in text
    assert "taps: 0.5 (delay 0), 0.25 (delay 2); offset 0.01." in text
    assert "gain is 0.75 at 0 Hz and 0.75 at 8,000 Hz" in text

    def frames(views: Array, call: Call) -> Array:
        starts = 160 * np.arange(len(views)) + np.arange(len(views)) // 50
        samples = np.pad(call.seen["extended"], (0, 400))
        return samples[starts[:, None] + np.arange(400)]

    text = _said({"frames": frames})
    assert "0 samples late at first, 1 from frame 50, 2 from frame 100" in text

    at = (np.arange(400) - 199.5) / 80.0
    text = _said({"window": lambda w, call: np.exp(-0.5 * at**2).astype(w.dtype)})
    assert "It is symmetric about sample 199.5." in text
    assert f"begin with {np.exp(-0.5 * at[0] ** 2):.3g}," in text

    def log(values: Array, call: Call) -> Array:
        return (0.9 * np.log10(call.seen["mel"] + 1e-4)).astype(values.dtype)

    text = _said({"log": log})
    assert "grow by 0.225 for each factor of 10 in mel power (right: 0.25)" in text
    assert "the range below the maximum is 8 in" in text or "no range" in text

    text = _said(outside.polynomial_logarithm(Draw(1)))
    assert "is off in the same way in each octave" in text

    def bank(weights: Array, call: Call) -> Array:
        weights = weights.copy()
        weights[40, 30] = 0.0125
        return weights

    text = _said({"bank": bank})
    assert "differ in 1 of" in text
    assert "0.0125 where 0 is right, in band 40, bin 30" in text


def test_another_scale_is_no_rough_approximation() -> None:
    """Where less than one bit is right, the slope is said: this was "about -5 bits"."""
    cause, _ = _words_of_octaves(lambda mel: 2.5 * np.log10(mel), 8.0)
    assert "loud features grow by 2.5 for each factor of 10" in cause
    cause, _ = _words_of_octaves(lambda mel: (np.log10(mel) + 4.001) / 4.0, 8.0)
    assert "about 10 bits after the point are right" in cause


@pytest.mark.usefixtures("_catalogue_is_short")
@pytest.mark.parametrize("bits", by_day([7, 9, 11], [9]))
def test_the_bits_that_are_left_are_counted(bits: int) -> None:
    def few(values: Array, call: Call) -> Array:
        return outside.to_bits(values, bits)

    assert f"about {bits} bits are left" in _said({"mel": few})

    def audio(samples: Array, call: Call) -> Array:
        scale = 2.0 ** (bits - 1)
        return (np.round(samples * scale) / scale).astype(samples.dtype)

    assert f"or the spectrum, in fixed point: about {bits} bits are left" in _said({"audio": audio})


@pytest.mark.usefixtures("_catalogue_is_short")
def test_what_explains_only_what_it_was_fitted_to_is_not_named() -> None:
    """A front-end with another window in the clips that fits see, and another fault in the rest."""
    learnt = [recipe["n"] for recipe in LEARNT.values()]

    def window(weights: Array, call: Call) -> Array:
        return np.bartlett(400).astype(weights.dtype) if call.clip.size in learnt else weights

    def spectrum(s: Array, call: Call) -> Array:
        return (
            s if call.clip.size in learnt else s * (1.0 + 0.1 * np.sin(np.arange(len(s))))[:, None]
        )

    assert not diagnose(front_end({"window": window, "spectrum": spectrum})).kinds
    triangle: dict[str, Hook] = {"window": lambda w, call: np.bartlett(400)}
    assert diagnose(front_end(triangle)).kinds == {"window"}


def _epsilon(values: Array, call: Call) -> Array:
    return np.log10(call.seen["mel"] + 1e-6).astype(values.dtype)


SMOOTH: dict[str, dict[str, Hook]] = {
    "epsilon": {"log": _epsilon},
    "gain": {"audio": lambda x, call: x * x.dtype.type(1.0003)},
    "waves": {"mel": lambda mel, call: mel * (1.0 + 1e-3 * np.sin(np.arange(len(mel))))[:, None]},
    "ramp": {"mel": lambda mel, call: mel * (1.0 + 1e-5 * np.arange(mel.shape[1]))},
    "power": {"mel": lambda mel, call: mel**1.0005},
    "pedestal": {"window": lambda w, call: w + w.dtype.type(1e-3)},
    "leak": {"power": lambda power, call: power + 1e-6 * power.max(axis=1, keepdims=True)},
    "window": outside.gaussian_window(Draw(3)),
    "bounds": outside.exclusive_bounds(Draw(3)),
}


@pytest.mark.usefixtures("_catalogue_is_short")
@pytest.mark.parametrize("error", by_day(SMOOTH, ["epsilon", "waves", "window"]))
def test_errors_that_are_smooth_are_no_noise(error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small as they are: no fit explains them, as none is tried here. The first is a quirk."""
    monkeypatch.setattr(causes, "FITS", ())
    monkeypatch.setattr(causes, "may_be_slightly_off", lambda answers: False)
    found = diagnose(front_end(SMOOTH[error]))
    names = {variant.id for it in found.explanations for variant in it.variants}
    assert names == {"epsilon-added"} if error == "epsilon" else not found.kinds


def test_a_front_end_that_takes_no_further_clips_has_no_stage_named() -> None:
    """What it may not be asked is not asked."""
    source = QuirkyFrontEnd([Variation(stages=outside.gaussian_window(Draw(4)))], "faulty")
    source.capabilities = {**source.capabilities, "max_samples": 20_000}
    able = inspect_front_end(source, "faulty").capabilities

    def ask(name: str, request: Any) -> Any:
        raise AssertionError(f"{name} was asked for")

    assert LEARNT["noise"]["n"] == 40_000
    assert learn(ask, able, able.n_mels) == {}


ODD: dict[str, Callable[[Array, int], Array]] = {
    "huge": lambda y, n: y * 1e6,
    "turned": lambda y, n: -y,
    "tiny": lambda y, n: y * 1e-20,
    "long ones constant": lambda y, n: y * 0.0 + 1.0 if n > 15_000 else y + 0.5,
    "long ones alike": lambda y, n: y * 0.0 + y[:, :1] if n > 15_000 else y + 0.5,
    "long ones not finite": lambda y, n: y * np.nan if n > 15_000 else y + 0.5,
    "drawn": lambda y, n: np.random.default_rng(n).normal(size=y.shape),
}
"""What front-ends make of right features of ``n`` samples, which no fit explains."""


@pytest.mark.usefixtures("_catalogue_is_short")
@pytest.mark.parametrize("odd", by_day(ODD, ["huge", "long ones alike", "drawn"]))
def test_odd_features_have_no_stage_named(odd: str) -> None:
    change: Hook = lambda y, call: ODD[odd](y, call.clip.size).astype(y.dtype)  # noqa: E731
    diagnosis = diagnose(front_end({"features": change}))
    assert diagnosis.explanations or not diagnosis.kinds
