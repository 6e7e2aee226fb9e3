"""The error bound holds for rounding noise, and bites on anything else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from whisper_mel_reference import (
    CLASS_A,
    CLASS_B,
    WHISPER,
    FrontEndSpec,
    compare,
    error_bound,
    log_mel,
    mel_filterbank,
    score,
    stages,
    truth,
)
from whisper_mel_reference.bound import compare_with, half_ulp, spectrum_error

Signal = Callable[[np.random.Generator], np.ndarray]
SECOND = np.arange(16000)


def _tone(rng: np.random.Generator) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * rng.uniform(50, 7900) / 16000 * SECOND)


def _chirp(rng: np.random.Generator) -> np.ndarray:
    return 0.9 * np.sin(np.pi * 8000 / 16000**2 * SECOND**2 + rng.uniform(0, 6))


def _ramp(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(16000) * 10 ** np.linspace(-4.5, -0.5, 16000)


def _on_off(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(16000) * np.where(SECOND // 400 % 2, 0.3, 1e-5)


def _clicks(rng: np.random.Generator) -> np.ndarray:
    audio = np.zeros(16000)
    audio[rng.integers(0, 16000, 30)] = 1.0
    audio[[200 + 160 * 3 + 1, 200 + 160 * 50 + 399]] = -1.0
    return audio


SIGNALS: dict[str, Signal] = {
    "noise": lambda rng: 0.1 * rng.standard_normal(16000),
    "near-floor": lambda rng: 1.2e-5 * rng.standard_normal(16000),
    "tone": _tone,
    "chirp": _chirp,
    "noise-ramp": _ramp,
    "on-off": _on_off,
    "clicks": _clicks,
    "dc": lambda rng: np.full(16000, 0.5),
    "nyquist": lambda rng: 0.9 * (-1.0) ** SECOND,
    "square": lambda rng: np.sign(_tone(rng)),
    "loud": lambda rng: 1e15 * rng.standard_normal(16000),
}
SPECS = {
    "80": WHISPER,
    "128": WHISPER.replace(n_mels=128),
    "valid": WHISPER.replace(smoothing="valid"),
    "same": WHISPER.replace(smoothing="same"),
    "pad-to": WHISPER.replace(pad_to=20000),
    "magnitude-ln": WHISPER.replace(power=1.0, log="ln"),
}


@pytest.fixture(params=SIGNALS)
def audio(request: pytest.FixtureRequest) -> np.ndarray:
    return SIGNALS[request.param](np.random.default_rng(7)).astype(np.float32)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_float32_pipeline_is_class_a(audio: np.ndarray, spec: FrontEndSpec) -> None:
    assert score(log_mel(audio, spec, dtype=np.float32), audio, spec) <= 0.8 * CLASS_A


@pytest.mark.parametrize("n_mels", [80, 128])
def test_noise_of_the_size_that_is_derived_is_admissible(audio: np.ndarray, n_mels: int) -> None:
    """Every spectrum value off by as much as a careful FFT may be, in a random direction."""
    rng = np.random.default_rng(3)
    spec = WHISPER.replace(n_mels=n_mels)
    exact = stages(audio, spec)
    norm = np.linalg.norm(exact["windowed"], axis=1, keepdims=True)
    turn = np.exp(2j * np.pi * rng.random(exact["spectrum"].shape))
    spectrum = exact["spectrum"] + 2**-24 * 8 * norm * turn
    log = np.log10(np.maximum(mel_filterbank(n_mels) @ (np.abs(spectrum) ** 2).T, 1e-10))
    actual = ((np.maximum(log, log.max() - 8) + 4) / 4).astype(np.float32)
    assert score(actual, audio, spec) <= CLASS_A


def test_the_bound_is_that_of_the_document(audio: np.ndarray) -> None:
    """docs/error-bound.md, one formula after the other."""
    assert (CLASS_A, CLASS_B) == (1, 4)
    s = stages(audio)
    norms = np.linalg.norm(s["windowed"], axis=1), np.linalg.norm(s["frames"], axis=1)
    delta = 2**-24 * (12 * norms[0] + 1.5 * np.abs(s["spectrum"]).max(axis=1) + 4 * norms[1])
    mel, weights = s["mel"], mel_filterbank(80).sum(axis=1, dtype=np.float64)[:, np.newaxis]
    error = 2 * np.sqrt(mel * weights) * delta + weights * delta**2 + 8 * 2**-24 * mel
    logs = [np.log10(np.maximum(m, 1e-10)) for m in (mel - error, mel, mel + error)]
    low, exact, high = (np.maximum(log, log.max() - 8) for log in logs)
    last = 8 * 2**-24 * np.maximum(np.abs((exact + 4) / 4), 1)
    expected = np.maximum(high - exact, exact - low) / 4 + last
    np.testing.assert_allclose(error_bound(audio), expected, rtol=1e-6)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_five_bounds_anywhere_are_too_much(audio: np.ndarray, spec: FrontEndSpec) -> None:
    features, bound = log_mel(audio, spec), error_bound(audio, spec)
    assert bound.shape == features.shape and (bound > 0).all()
    assert compare(features + 5 * bound, audio, spec).score == pytest.approx(5, rel=1e-3)
    rng = np.random.default_rng(5)
    for _ in range(20):
        index = tuple(int(rng.integers(n)) for n in features.shape)
        for sign in (-1, 1):
            actual = features.copy()
            actual[index] += sign * 5 * bound[index]
            found = compare_with(actual, features, bound)
            assert found.index == index
            assert found.score == pytest.approx(5, rel=1e-3) and found.score > CLASS_B
            assert f"value{list(index)}" in found.reason


def test_the_bound_is_tight_where_it_can_be() -> None:
    """On noise no value may be off by more than ten units in the last place."""
    noise = SIGNALS["noise"](np.random.default_rng(7)).astype(np.float32)
    assert np.median(error_bound(noise)) < 1.5e-6
    # Beside a loud tone, the quiet bands are as uncertain as the FFT leaves them.
    tone = SIGNALS["tone"](np.random.default_rng(7)).astype(np.float32)
    assert error_bound(tone).max() > 1e-5


def test_what_is_cut_off_is_as_uncertain_as_the_maximum() -> None:
    audio = np.zeros(16000, np.float32)
    audio[7000:9000] = 0.1 * np.random.default_rng(1).standard_normal(2000)
    features = log_mel(audio)
    before_rounding = error_bound(audio) - 8 * 2**-24 * np.maximum(np.abs(features), 1)
    maximum = before_rounding.flat[features.argmax()]
    assert maximum > 1e-7
    np.testing.assert_allclose(before_rounding[:, :40], maximum, rtol=1e-6)


def test_smoothing_takes_the_mean_of_the_bounds(audio: np.ndarray) -> None:
    plain = error_bound(audio)
    for smoothing, at in (("same", 0), ("valid", 1)):
        spec = WHISPER.replace(smoothing=smoothing)
        features, bound = log_mel(audio, spec), error_bound(audio, spec)
        for i, j in [(0, 0), (0, 50), (77, 97), (33, 11)]:
            top, left = i + at, j + at
            mean = plain[max(top - 1, 0) : top + 2, max(left - 1, 0) : left + 2].mean()
            last = 8 * 2**-24 * max(abs(features[i, j]), 1)
            assert bound[i, j] == pytest.approx(mean + last, rel=1e-6)


@pytest.mark.parametrize("name", ["noise", "noise-ramp", "on-off", "chirp", "clicks", "near-floor"])
def test_one_wrong_frame_fails(name: str) -> None:
    """One frame replaced by its neighbour (stationary signals, whose frames agree, left out)."""
    audio = SIGNALS[name](np.random.default_rng(7)).astype(np.float32)
    actual = log_mel(audio)
    actual[:, 50] = actual[:, 51]
    assert not score(actual, audio) <= CLASS_B


def test_a_frame_too_early_fails() -> None:
    audio = SIGNALS["noise"](np.random.default_rng(7)).astype(np.float32)
    assert not score(np.roll(log_mel(audio), 1, axis=1), audio) <= CLASS_B


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_single_value_that_is_not_finite_fails(audio: np.ndarray, value: float) -> None:
    actual = log_mel(audio, dtype=np.float32)
    actual[79, 99] = value
    found = compare(actual, audio)
    assert found.score == np.inf and found.index == (79, 99)
    assert not score(actual, audio) <= CLASS_B


@pytest.mark.parametrize("constant", [0.0, -1.5, np.nan])
def test_a_constant_fails(audio: np.ndarray, constant: float) -> None:
    assert not score(np.full((80, 100), constant, np.float32), audio) <= CLASS_B


@pytest.mark.parametrize(
    "change",
    [
        {"window": "hann-symmetric"},
        {"window": "hamming-periodic"},
        {"pad_mode": "zero"},
        {"mel_scale": "htk"},
        {"mel_norm": None},
        {"log": "ln"},
        {"power": 1.0},
        {"floor": 1e-9},
        {"dynamic_range": 7.99},
        {"f_max": 7999.0},
    ],
    ids=lambda change: "-".join(map(str, *change.items())),
)
def test_another_front_end_fails(change: dict[str, object]) -> None:
    rng = np.random.default_rng(11)
    worst = max(
        score(log_mel(audio, WHISPER.replace(**change)), audio)
        for audio in (make(rng).astype(np.float32) for make in SIGNALS.values())
    )
    assert worst > 10 * CLASS_B


@pytest.mark.parametrize("name", ["noise", "noise-ramp", "tone", "chirp", "on-off"])
def test_half_precision_fails(name: str) -> None:
    audio = SIGNALS[name](np.random.default_rng(7)).astype(np.float32)
    assert not score(log_mel(audio).astype(np.float16), audio) <= CLASS_B


def test_padding_frames_of_a_batch_are_scored() -> None:
    rng = np.random.default_rng(2)
    batch = rng.standard_normal((2, 4000)).astype(np.float32)
    features = log_mel(batch, lengths=[4000, 1000], dtype=np.float32)
    assert score(features, batch, lengths=[4000, 1000]) <= CLASS_A
    features[1, 5, 20] += 1e-3
    assert compare(features, batch, lengths=[4000, 1000]).index == (1, 5, 20)
    assert not score(features, batch, lengths=[4000, 1000]) <= CLASS_B


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_truth_is_features_and_bound_to_the_bit(audio: np.ndarray, spec: FrontEndSpec) -> None:
    clip = audio[:4000]
    for given, lengths in ((clip, None), (np.stack([clip, clip[::-1]]), [4000, 1000])):
        exact = truth(given, spec, lengths=lengths)
        for values, expected in (
            (exact.features, log_mel(given, spec, lengths=lengths)),
            (exact.bound, error_bound(given, spec, lengths=lengths)),
        ):
            np.testing.assert_array_equal(values.view(np.int64), expected.view(np.int64))


def test_bad_input_is_named() -> None:
    audio = np.zeros(400, np.float32)
    with pytest.raises(ValueError, match=r"actual has shape \(80, 3\): expected \(80, 2\)"):
        score(np.zeros((80, 3)), audio)
    with pytest.raises(ValueError, match=r"amplitudes up to 1e\+17: expected at most 1e\+16"):
        error_bound(np.full(400, 1e17))
    with pytest.raises(ValueError, match=r"audio\[3\] is nan"):
        score(np.zeros((80, 2)), np.r_[0.0, 0.0, 0.0, np.nan, np.zeros(400)])


@pytest.mark.parametrize(
    ("dtype", "value", "half"),
    [
        ("float16", 1.0, 2.0**-11),
        ("float16", -1.999, 2.0**-11),
        ("float16", 0.75, 2.0**-12),
        ("float16", 2.0**-14, 2.0**-25),
        ("float16", 0.0, 2.0**-25),  # subnormals lie as far apart as the smallest normal numbers
        ("bfloat16", 1.0, 2.0**-8),
        ("bfloat16", 0.75, 2.0**-9),
        ("bfloat16", 0.0, 2.0**-134),
    ],
)
def test_rounding_to_half_precision_changes_half_a_last_place(
    dtype: str, value: float, half: float
) -> None:
    assert half_ulp(np.array([value]), dtype) == [half]


def test_numpy_rounds_to_half_precision_as_it_is_said() -> None:
    exact = np.random.default_rng(9).uniform(-4.0, 4.0, 10_000)
    rounded = exact.astype(np.float16)
    part = np.abs(rounded - exact) / half_ulp(rounded, "float16")
    assert 0.999 < part.max() <= 1.0
    with pytest.raises(ValueError, match="dtype='float8': expected one of float32, float16"):
        half_ulp(exact, "float8")


def test_a_window_s_error_grows_with_its_weights() -> None:
    frames, none = np.ones((3, 400)), np.zeros((3, 400))
    errors = [spectrum_error(frames, none, np.zeros(3), gain=gain) for gain in (1.0, 2.0, 4.0)]
    np.testing.assert_allclose(errors[1], 2.0 * errors[0])
    np.testing.assert_allclose(errors[2], 4.0 * errors[0])
