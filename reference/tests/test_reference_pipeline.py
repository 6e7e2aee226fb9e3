"""The reference against independent statements of what it computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from whisper_mel_reference import WHISPER, log_mel, mel_filterbank, stages
from whisper_mel_reference.spec import PadMode, Window


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return 0.1 * np.random.default_rng(1).standard_normal(4000).astype(np.float32)


def by_definition(audio: np.ndarray, n_mels: int) -> np.ndarray:
    """Whisper's features, one scalar formula after the other: no FFT, no blocks, no strides."""
    n = len(audio)
    j = np.arange(400)
    window = np.sin(np.pi * j / 400) ** 2
    angles = np.exp(-2j * np.pi * np.outer(np.arange(201), j) / 400)
    columns = []
    for t in range(n // 160):
        index = np.abs(160 * t - 200 + j)
        index = np.where(index >= n, 2 * (n - 1) - index, index)
        spectrum = angles @ (audio.astype(np.float64)[index] * window)
        columns.append(mel_filterbank(n_mels).astype(np.float64) @ np.abs(spectrum) ** 2)
    log = np.log10(np.maximum(np.array(columns).T, 1e-10))
    return (np.maximum(log, log.max() - 8) + 4) / 4


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("n", [201, 319, 320, 4000])
def test_equals_the_definition(noise: np.ndarray, n: int, n_mels: int) -> None:
    audio = noise[:n]
    got = log_mel(audio, WHISPER.replace(n_mels=n_mels))
    assert got.shape == (n_mels, n // 160) and got.dtype == np.float64
    np.testing.assert_allclose(got, by_definition(audio, n_mels), rtol=0, atol=1e-9)


def test_long_clips_equal_the_definition() -> None:
    """They are computed in several parts."""
    audio = 0.1 * np.random.default_rng(2).standard_normal(160 * 600).astype(np.float32)
    np.testing.assert_allclose(log_mel(audio), by_definition(audio, 80), rtol=0, atol=1e-9)


def test_float32_rounds_every_stage(noise: np.ndarray) -> None:
    exact, rounded = stages(noise), stages(noise, dtype=np.float32)
    assert list(exact) == list(rounded)
    for name, values in rounded.items():
        assert values.dtype == (np.complex64 if name == "spectrum" else np.float32), name
        assert values.shape == exact[name].shape
        # The same quantity (so a stage cannot be swapped), and truly rounded (so not float64).
        np.testing.assert_allclose(values, exact[name], rtol=1e-3, atol=1e-3, err_msg=name)
        assert name == "frames" or np.any(values != exact[name]), name


def test_stages_are_what_they_are_called(noise: np.ndarray) -> None:
    s = stages(noise)
    shapes = {"frames": (25, 400), "windowed": (25, 400), "spectrum": (25, 201), "power": (25, 201)}
    assert {k: v.shape for k, v in s.items()} == shapes | dict.fromkeys(
        ("mel", "log", "clamped", "features"), (80, 25)
    )
    np.testing.assert_array_equal(s["frames"][2], noise[120:520])
    np.testing.assert_array_equal(s["frames"][0][:200], noise[200:0:-1])
    np.testing.assert_allclose(s["power"], np.abs(s["spectrum"]) ** 2, rtol=1e-14)
    np.testing.assert_allclose(s["log"], np.log10(np.maximum(s["mel"], 1e-10)))
    np.testing.assert_array_equal(s["clamped"], np.maximum(s["log"], s["log"].max() - 8))
    np.testing.assert_allclose(s["features"], log_mel(noise), rtol=0, atol=1e-13)


def test_pad_to_is_zeros_before_the_transform(noise: np.ndarray) -> None:
    padded = np.concatenate([noise, np.zeros(9000 - len(noise), np.float32)])
    np.testing.assert_array_equal(
        log_mel(noise, WHISPER.replace(pad_to=np.int64(9000))), log_mel(padded)
    )
    assert log_mel(noise[:5], WHISPER.replace(pad_to=480000)).shape == (80, 3000)
    # Not the same as none: without it the last frame mirrors the clip.
    assert np.abs(log_mel(padded)[:, 24] - log_mel(noise)[:, 24]).max() > 1e-3


def test_int16_is_divided_by_32768() -> None:
    pcm = np.array([-32768, 32767, 1, -1] * 200, np.int16)
    np.testing.assert_array_equal(log_mel(pcm), log_mel(pcm.astype(np.float64) / 32768))


def test_batch_clips_do_not_know_each_other(noise: np.ndarray) -> None:
    batch = np.stack([noise, 1e-4 * noise, noise * np.logspace(-6, 0, 4000)])
    got = log_mel(batch)
    assert got[2].max() - got[2].min() == 2  # its range is cut
    for clip, features in zip(batch, got, strict=True):
        np.testing.assert_array_equal(features, log_mel(clip))


def test_lengths_leave_silence_behind_a_clip(noise: np.ndarray) -> None:
    batch = np.stack([noise, noise])
    got = log_mel(batch, lengths=[4000, 1000])
    np.testing.assert_array_equal(got[0], log_mel(noise))
    own = log_mel(noise[:1000])
    np.testing.assert_array_equal(got[1, :, :6], own)
    silence = log_mel(noise[:1000], WHISPER.replace(pad_to=4000))[0, -1]
    assert silence < own.min()  # otherwise it would say nothing about the fill
    np.testing.assert_allclose(got[1, :, 6:], silence, rtol=0, atol=1e-12)


def test_smoothing_is_the_mean_of_the_neighbours(noise: np.ndarray) -> None:
    plain = log_mel(noise)
    valid = log_mel(noise, WHISPER.replace(smoothing="valid"))
    same = log_mel(noise, WHISPER.replace(smoothing="same"))
    assert valid.shape == (78, 23) and same.shape == (80, 25)
    for i, j in [(0, 0), (0, 24), (79, 0), (79, 24), (0, 7), (40, 0), (33, 11)]:
        hood = plain[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
        assert same[i, j] == pytest.approx(hood.mean(), abs=1e-14)
    np.testing.assert_allclose(valid, same[1:-1, 1:-1], rtol=0, atol=1e-14)


def test_audio_is_not_modified(noise: np.ndarray) -> None:
    audio = noise.copy()
    audio.flags.writeable = False
    log_mel(audio)
    log_mel(audio, WHISPER.replace(pad_to=8000), dtype=np.float32)
    np.testing.assert_array_equal(audio, noise)


# --------------------------------------------------------------------------- what Whisper is not


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("hann-periodic", np.hanning(401)[:-1]),
        ("hann-symmetric", np.hanning(400)),
        ("hamming-periodic", np.hamming(401)[:-1]),
        ("povey", np.hanning(400) ** 0.85),
        ("rectangular", np.ones(400)),
    ],
)
def test_windows(name: Window, weights: np.ndarray) -> None:
    seen = stages(np.ones(800), WHISPER.replace(window=name))["windowed"][2]
    np.testing.assert_allclose(seen, weights, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("mode", "before", "behind"),
    [
        ("reflect", slice(200, 0, -1), slice(-2, -42, -1)),
        ("symmetric", slice(199, None, -1), slice(-1, -41, -1)),
        ("edge", [0] * 200, [-1] * 40),
    ],
)
def test_padding(noise: np.ndarray, mode: PadMode, before: Any, behind: Any) -> None:
    frames = stages(noise, WHISPER.replace(pad_mode=mode))["frames"]
    np.testing.assert_array_equal(frames[0, :200], noise[before])
    np.testing.assert_array_equal(frames[-1, -40:], noise[behind])


def test_padding_by_zeros_and_none(noise: np.ndarray) -> None:
    frames = stages(noise[:200], WHISPER.replace(pad_mode="zero"))["frames"]
    assert frames.shape == (1, 400) and not frames[0, :200].any()
    for drop, count in ((True, 22), (False, 23)):
        spec = WHISPER.replace(centre=False, drop_last_frame=drop)
        frames = stages(noise, spec)["frames"]
        assert frames.shape == (count, 400)
        np.testing.assert_array_equal(frames[-1], noise[160 * (count - 1) :][:400])


def test_magnitude_and_natural_logarithm(noise: np.ndarray) -> None:
    s = stages(noise, WHISPER.replace(power=1.0, log="ln"))
    np.testing.assert_allclose(s["power"], np.abs(s["spectrum"]), rtol=1e-14)
    np.testing.assert_allclose(s["log"], np.log(np.maximum(s["mel"], 1e-10)))


# --------------------------------------------------------------------------- exact properties


def test_a_delay_by_one_hop_shifts_the_frames(noise: np.ndarray) -> None:
    delayed = np.concatenate([np.zeros(160, np.float32), noise])
    a, b = stages(noise)["mel"], stages(delayed)["mel"]
    np.testing.assert_array_equal(a[:, 2:23], b[:, 3:24])


def test_a_gain_of_two_adds_a_constant(noise: np.ndarray) -> None:
    a, b = stages(noise)["log"], stages(noise * np.float32(1024))["log"]
    assert a.min() > -10  # nothing at the floor
    np.testing.assert_allclose(b - a, 2 * np.log10(1024), rtol=0, atol=1e-12)


def test_the_dropped_frame_does_not_count_for_the_maximum() -> None:
    audio = np.zeros(1680, np.float32)  # ten frames and half a hop
    audio[:1000] = 1e-3 * np.random.default_rng(0).standard_normal(1000)
    loud = audio.copy()
    loud[-1] = 1.0
    kept = stages(loud, WHISPER)["mel"].max()
    every = stages(loud, WHISPER.replace(drop_last_frame=False))["mel"].max()
    assert every > 100 * kept
    assert log_mel(loud).max() == pytest.approx((np.log10(kept) + 4) / 4)


# --------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("audio", "error", "says"),
    [
        (np.zeros(0, np.float32), ValueError, r"audio is empty.*expected at least one sample"),
        (np.zeros((0, 400)), ValueError, r"audio is empty \(shape \(0, 400\)\)"),
        (np.zeros(200, np.float32), ValueError, r"audio has 200 samples.*at least 201"),
        (np.zeros((1, 1, 400)), ValueError, r"audio has shape \(1, 1, 400\): expected \(n,\)"),
        (np.float32(0), ValueError, r"audio has shape \(\)"),
        (np.zeros(400, np.int32), TypeError, r"audio has dtype int32: expected float32"),
        (np.zeros(400, np.uint8), TypeError, r"audio has dtype uint8"),
        (np.zeros(400, bool), TypeError, r"audio has dtype bool"),
        (np.zeros(400, np.complex64), TypeError, r"audio has dtype complex64"),
        (np.r_[np.zeros(400), np.nan, np.inf], ValueError, r"audio\[400\] is nan: expected finite"),
        (np.r_[np.zeros(7), -np.inf, np.zeros(400)], ValueError, r"audio\[7\] is -inf"),
        ([[0.0] * 300, [0.0] * 299 + [np.inf]], ValueError, r"audio\[\(1, 299\)\] is inf"),
    ],
)
def test_bad_audio_is_named(audio: object, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        log_mel(audio)  # type: ignore[arg-type]


def test_bad_arguments_are_named(noise: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"dtype=float16: expected float64 or float32"):
        log_mel(noise, dtype=np.float16)
    with pytest.raises(ValueError, match=r"audio has 4000 samples: expected at most pad_to=3999"):
        log_mel(noise, WHISPER.replace(pad_to=3999))
    with pytest.raises(ValueError, match=r"smoothing='valid' needs at least 3"):
        log_mel(noise[:350], WHISPER.replace(smoothing="valid"))
    with pytest.raises(ValueError, match=r"lengths=\[1\]: expected a batch"):
        log_mel(noise, lengths=[1])
    with pytest.raises(ValueError, match=r"lengths has 1 entries: expected 2"):
        log_mel(np.stack([noise, noise]), lengths=[4000])
    with pytest.raises(ValueError, match=r"lengths\[1\]=4001: expected at most 4000"):
        log_mel(np.stack([noise, noise]), lengths=[4000, 4001])
    with pytest.raises(ValueError, match=r"lengths\[0\]=0: expected at least 1"):
        log_mel(np.stack([noise, noise]), lengths=[0, 4000])
    with pytest.raises(TypeError, match=r"lengths\[0\]=1.5: expected an int"):
        log_mel(noise[np.newaxis], lengths=[1.5])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"audio has shape \(2, 4000\): expected one clip"):
        stages(np.stack([noise, noise]))


def test_float32_overflow_is_an_error_and_float64_goes_on(noise: np.ndarray) -> None:
    loud = noise * np.float32(1e20)
    with pytest.raises(ValueError, match=r"power overflows float32"):
        log_mel(loud, dtype=np.float32)
    with pytest.raises(ValueError, match=r"power overflows float32"):  # in a few frames, too
        log_mel(np.concatenate([noise, loud[:400], noise]), dtype=np.float32)
    with pytest.raises(ValueError, match=r"power overflows float32"):
        stages(loud, dtype=np.float32)
    np.testing.assert_allclose(log_mel(loud) - log_mel(noise), 10, atol=1e-6)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("window", "hann", ValueError),
        ("n_mels", 0, ValueError),
        ("n_mels", 80.0, TypeError),
        ("hop", True, TypeError),
        ("pad_to", -1, ValueError),
        ("floor", 0.0, ValueError),
        ("floor", float("nan"), ValueError),
        ("smoothing", "full", ValueError),
        ("power", 3.0, ValueError),
        ("f_max", 9000.0, ValueError),
        ("offset", float("inf"), ValueError),
        ("offset", float("nan"), ValueError),
    ],
)
def test_bad_spec_is_named(field: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"{field}={value!r}"):
        WHISPER.replace(**{field: value})


@pytest.mark.parametrize("mask", [False, [True] + 399 * [False]])
def test_masked_arrays_are_refused(mask: Any) -> None:
    with pytest.raises(TypeError, match="audio is a masked array: expected samples without a mask"):
        log_mel(np.ma.masked_array(np.ones(400, np.float32), mask))
