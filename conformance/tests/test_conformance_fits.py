"""A stage is named only by a fit, and too little precision by its noise.

The front-ends here are not in the catalogue. Their numbers are drawn; who changes the fits tries
other seeds, and changes ``HELD_OUT`` after having looked at what these draw.
"""

from __future__ import annotations

import whisper_mel_conformance.run.quiet_blas  # noqa: F401  before anything imports NumPy

# isort: split
import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from daily import by_day
from whisper_mel_conformance.diagnosis import diagnose as diagnosing
from whisper_mel_conformance.diagnosis import search
from whisper_mel_conformance.diagnosis.diagnose import Diagnosis, diagnose
from whisper_mel_conformance.diagnosis.free import LEARNT, learn
from whisper_mel_conformance.frontend.client import InProcess
from whisper_mel_conformance.frontend.load import inspect_front_end
from whisper_mel_conformance.quirks.path import Call, Variation
from whisper_mel_conformance.quirks.quirk import QuirkyFrontEnd
from whisper_mel_reference.filterbank import hz_to_mel, mel_to_hz

pytestmark = pytest.mark.slow

Array = Any
Draw = random.Random
Hook = Callable[[Array, Call], Array]

HELD_OUT = 61_000

NAMED = {
    "The filterbank": {"filterbank"},
    "The audio is changed": {"input"},
    "Frames ": {"frames"},
    "Logarithm and scaling": {"logarithm"},
    "The logarithm is approximated": {"logarithm"},
    "The window is another": {"window"},
    "The transform's bins": {"transform"},
    "Too little precision in the transform": {"transform"},
    "Too little precision in the audio": {"input"},
    "Too little precision in the spectrum": {"powers"},
    "Too little precision in the mel powers or an approximation": {"mel powers", "logarithm"},
    "Too little precision in the logarithm": {"logarithm"},
    "Too little precision in the features": {"features"},
    "Nothing known": set(),
}
"""The stages that a cause that begins so names."""


def stages_of(diagnosis: Diagnosis) -> set[str]:
    [stages] = [stages for words, stages in NAMED.items() if diagnosis.cause.startswith(words)]
    return stages


@pytest.fixture
def _catalogue_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of these is in the catalogue, nor a pair of what is: little of it need be tried."""
    monkeypatch.setattr(search, "_WORK", 500)


def front_end(*hooks: dict[str, Hook]) -> InProcess:
    source = QuirkyFrontEnd([Variation(stages=stages) for stages in hooks], "faulty")
    return InProcess(inspect_front_end(source, "faulty"))


# --------------------------------------------------------------------------- the gallery


def exclusive_bounds(draw: Draw) -> dict[str, Hook]:
    """Bins from the first to before the last of each band, and none at its last."""

    def bank(weights: Array, call: Call) -> Array:
        weights = weights.copy()
        for row in weights:
            inside = np.flatnonzero(row > 0)
            if inside.size > 1:
                row[inside[-1]] = 0
        return weights

    return {"bank": bank}


def other_edges(draw: Draw) -> dict[str, Hook]:
    low, high, by = draw.uniform(20.0, 90.0), draw.uniform(7000.0, 7600.0), draw.uniform(5.0, 25.0)

    def bank(weights: Array, call: Call) -> Array:
        ends = hz_to_mel(low, "htk"), hz_to_mel(high, "htk")
        edges = mel_to_hz(np.linspace(*ends, len(weights) + 2), "htk")
        edges += np.linspace(0.0, by, edges.size)
        bins, width = np.arange(201) * 40.0, np.diff(edges)[:, None]
        rising, falling = (
            (bins - edges[:-2, None]) / width[:-1],
            (edges[2:, None] - bins) / width[1:],
        )
        norm = 2.0 / (edges[2:] - edges[:-2])[:, None]
        made = np.maximum(np.minimum(rising, falling), 0.0) * norm
        return made.astype(weights.dtype)

    return {"bank": bank}


def box_filter(draw: Draw) -> dict[str, Hook]:
    n = draw.choice([2, 3, 4, 5])

    def audio(samples: Array, call: Call) -> Array:
        mean = np.convolve(samples, np.full(n, 1.0 / n))
        return mean[n // 2 : n // 2 + samples.size].astype(samples.dtype)

    return {"audio": audio}


def offset(draw: Draw) -> dict[str, Hook]:
    by = draw.uniform(0.003, 0.05)
    return {"audio": lambda samples, call: samples + samples.dtype.type(by)}


def halves(windowed: Array, sign: float) -> Array:
    """Transform real samples by a complex transform of half the length."""
    n = windowed.shape[-1] // 2
    both, k = np.fft.fft(windowed[:, ::2] + 1j * windowed[:, 1::2]), np.arange(n + 1)
    a, b = both[:, k % n], np.conj(both[:, -k % n])
    return (a + b) / 2.0 + sign * 0.5j * np.exp(-1j * np.pi * k / n) * (a - b)


def wrong_sign_of_halves(draw: Draw) -> dict[str, Hook]:
    return {"spectrum": lambda s, call: halves(call.seen["windowed"], 1.0).astype(s.dtype)}


def wrong_sign_of_folding(draw: Draw) -> dict[str, Hook]:
    """Cosines of differences of samples n and 400 - n, not of their sums; or sines of their sums;
    or both."""
    turns = 2.0 * np.pi * (np.outer(np.arange(201), np.arange(201)) % 400) / 400
    even, odd = draw.choice([(-1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])

    def spectrum(s: Array, call: Call) -> Array:
        x = call.seen["windowed"].astype(np.float64)
        first, mirrored = x[:, :201], np.zeros((len(x), 201))
        mirrored[:, 1:200] = x[:, :200:-1]
        cosines, sines = (
            (first + even * mirrored) @ np.cos(turns),
            (first + odd * mirrored) @ np.sin(turns),
        )
        return (cosines - 1j * sines).astype(s.dtype)

    return {"spectrum": spectrum}


def gaussian_window(draw: Draw) -> dict[str, Hook]:
    width = draw.uniform(50.0, 110.0)
    at = (np.arange(400) - draw.choice([199.5, 200.0])) / width
    return {"window": lambda w, call: np.exp(-0.5 * at**2).astype(w.dtype)}


def soft_floor(draw: Draw) -> dict[str, Hook]:
    base, least = draw.uniform(3.0, 20.0), 10.0 ** draw.uniform(-7.0, -4.0)

    def log(values: Array, call: Call) -> Array:
        return (np.log(call.seen["mel"] + least) / np.log(base)).astype(values.dtype)

    return {"log": log}


def curved_logarithm(draw: Draw) -> dict[str, Hook]:
    """With a floor at which it breaks off."""
    curve, least = draw.uniform(0.01, 0.05), 10.0 ** draw.uniform(-8.0, -6.0)

    def log(values: Array, call: Call) -> Array:
        right = np.log10(np.maximum(call.seen["mel"], least))
        return (right - curve * right * right).astype(values.dtype)

    return {"log": log}


def polynomial_logarithm(draw: Draw) -> dict[str, Hook]:
    points = np.linspace(0.5, 1.0, 50)
    numbers = np.polyfit(points, np.log2(points), draw.choice([3, 4, 5]))

    def log(values: Array, call: Call) -> Array:
        mantissa, exponent = np.frexp(np.maximum(call.seen["mel"], 1e-10))
        return ((np.polyval(numbers, mantissa) + exponent) * np.log10(2.0)).astype(values.dtype)

    return {"log": log}


def drifting_frames(draw: Draw) -> dict[str, Hook]:
    every, by = draw.randrange(20, 80), draw.choice([-1, 1])

    def frames(views: Array, call: Call) -> Array:
        t = np.arange(len(views))
        samples = np.pad(call.seen["extended"], 400)
        starts = 400 + t * call.spec.hop + by * (t // every)
        return samples[starts[:, None] + np.arange(views.shape[1])]

    return {"frames": frames}


def half_spectra(draw: Draw) -> dict[str, Hook]:
    def spectrum(s: Array, call: Call) -> Array:
        return (s.real.astype(np.float16) + 1j * s.imag.astype(np.float16)).astype(s.dtype)

    return {"spectrum": spectrum}


def _to_bits(values: Array, bits: int) -> Array:
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent).astype(values.dtype)


def mel_powers_in_few_bits(draw: Draw) -> dict[str, Hook]:
    """As bfloat16, which has 8."""
    bits = draw.choice([7, 8, 8, 9])
    return {"mel": lambda mel, call: _to_bits(mel, bits)}


def few_bits_of_audio(draw: Draw) -> dict[str, Hook]:
    steps = 2.0 ** (draw.choice([7, 8, 9, 10]) - 1)
    return {"audio": lambda x, call: (np.round(x * steps) / steps).astype(x.dtype)}


def unreduced_bluestein(draw: Draw) -> dict[str, Hook]:
    n, size = np.arange(400, dtype=np.float32), draw.choice([1024, 800, 2048])
    angles = (np.float32(np.pi / 400) * n * n).astype(np.float32)
    chirp = np.exp(-1j * angles).astype(np.complex64)
    filter = np.zeros(size, np.complex64)
    filter[:400], filter[size - 399 :] = chirp.conj(), chirp[:0:-1].conj()

    def spectrum(s: Array, call: Call) -> Array:
        x = (call.seen["windowed"] * chirp).astype(np.complex64)
        made = np.fft.ifft(np.fft.fft(x, size) * np.fft.fft(filter))[:, :400] * chirp
        return made[:, :201].astype(s.dtype)

    return {"spectrum": spectrum}


def coarse_sines(draw: Draw) -> dict[str, Hook]:
    """A matrix of sines and cosines in fixed point, as a convolution that was exported may have."""
    scale = 2.0 ** draw.choice([8, 9, 10, 12])
    exact = np.exp(-2j * np.pi * (np.outer(np.arange(400), np.arange(201)) % 400) / 400)
    coarse = (np.round(exact.real * scale) + 1j * np.round(exact.imag * scale)) / scale
    return {"spectrum": lambda s, call: (call.seen["windowed"] @ coarse).astype(s.dtype)}


GALLERY: dict[Callable[[Draw], dict[str, Hook]], str] = {
    exclusive_bounds: "filterbank",
    other_edges: "filterbank",
    box_filter: "input",
    offset: "input",
    wrong_sign_of_halves: "transform",
    wrong_sign_of_folding: "transform",
    gaussian_window: "window",
    soft_floor: "logarithm",
    curved_logarithm: "logarithm",
    polynomial_logarithm: "logarithm",
    drifting_frames: "frames",
    half_spectra: "powers",
    mel_powers_in_few_bits: "mel powers",
    few_bits_of_audio: "input",
    unreduced_bluestein: "transform",
    coarse_sines: "transform",
}
"""Faults and the stages in which they are."""
ONE_EACH = [*{stage: fault for fault, stage in GALLERY.items()}.values(), wrong_sign_of_folding]


@pytest.mark.usefixtures("_catalogue_is_short")
@pytest.mark.parametrize("fault", by_day(GALLERY, ONE_EACH), ids=lambda fault: fault.__name__)
def test_the_stage_of_a_fault_is_named(fault: Callable[[Draw], dict[str, Hook]]) -> None:
    diagnosis = diagnose(front_end(fault(Draw(HELD_OUT))))
    assert diagnosis.explanations == []
    if fault is wrong_sign_of_folding:
        assert stages_of(diagnosis) == set()
        assert "Values are off on “loud”" in diagnosis.evidence[0]
    else:
        assert GALLERY[fault] in stages_of(diagnosis), diagnosis.sentences


def _pairs(every: bool) -> list[tuple[Any, Any]]:
    pairs = list(itertools.combinations(GALLERY, 2))
    return pairs if every else Draw(HELD_OUT + 1).sample(pairs, 2)


@pytest.mark.usefixtures("_catalogue_is_short")
@pytest.mark.parametrize(
    "every",
    [
        pytest.param(False, id="some"),
        pytest.param(True, id="all", marks=pytest.mark.nightly),
    ],
)
def test_two_faults_have_no_misleading_name(every: bool) -> None:
    """That of one of them is right: it may hide the other."""
    draw, misled = Draw(HELD_OUT + 2), []
    for first, second in _pairs(every):
        diagnosis = diagnose(front_end(first(draw), second(draw)))
        named = stages_of(diagnosis)
        if named and not named & {GALLERY[first], GALLERY[second]}:
            misled.append((first.__name__, second.__name__, diagnosis.cause))
    assert not misled, misled


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

    text = _said(polynomial_logarithm(Draw(1)))
    assert "is off in the same way in each octave" in text

    def bank(weights: Array, call: Call) -> Array:
        weights = weights.copy()
        weights[40, 30] = 0.0125
        return weights

    text = _said({"bank": bank})
    assert "differ in 1 of" in text
    assert "0.0125 where 0 is right, in band 40, bin 30" in text


@pytest.mark.usefixtures("_catalogue_is_short")
@pytest.mark.parametrize("bits", by_day([7, 9, 11], [9]))
def test_the_bits_that_are_left_are_counted(bits: int) -> None:
    def few(values: Array, call: Call) -> Array:
        return _to_bits(values, bits)

    assert f"about {bits} bits are left" in _said({"mel": few})

    def audio(samples: Array, call: Call) -> Array:
        scale = 2.0 ** (bits - 1)
        return (np.round(samples * scale) / scale).astype(samples.dtype)

    assert f"in the audio: about {bits} bits are left" in _said({"audio": audio})


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

    assert stages_of(diagnose(front_end({"window": window, "spectrum": spectrum}))) == set()
    assert stages_of(diagnose(front_end({"window": lambda w, call: np.bartlett(400)}))) == {
        "window"
    }


@pytest.mark.usefixtures("_catalogue_is_short")
def test_errors_that_are_smooth_are_no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small as they are: a fault that no fit explains, here because none is tried."""
    monkeypatch.setattr(diagnosing, "FITS", ())
    monkeypatch.setattr(diagnosing, "may_be_slightly_off", lambda answers: False)

    def log(values: Array, call: Call) -> Array:
        return np.log10(call.seen["mel"] + 1e-6).astype(values.dtype)

    smooth: list[dict[str, Hook]] = [
        {"log": log},
        {"audio": lambda x, call: x * x.dtype.type(1.0003)},
        {"mel": lambda mel, call: mel * (1.0 + 1e-3 * np.sin(np.arange(len(mel))))[:, None]},
        {"mel": lambda mel, call: mel * (1.0 + 1e-5 * np.arange(mel.shape[1]))},
        {"mel": lambda mel, call: mel**1.0005},
        {"window": lambda w, call: w + w.dtype.type(1e-3)},
        {"power": lambda power, call: power + 1e-6 * power.max(axis=1, keepdims=True)},
    ]
    for stages in (*smooth, gaussian_window(Draw(3)), exclusive_bounds(Draw(3))):
        assert stages_of(diagnose(front_end(stages))) == set()


def test_a_front_end_that_takes_no_further_clips_has_no_stage_named() -> None:
    """What it may not be asked is not asked."""
    source = QuirkyFrontEnd([Variation(stages=gaussian_window(Draw(4)))], "faulty")
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
    assert diagnosis.explanations or not stages_of(diagnosis)
