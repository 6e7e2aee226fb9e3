"""The kernel's values: against the reference within its bound, and bits that must not vary."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from clips import noise
from numpy.typing import NDArray
from whisper_mel_golden.cases import GoldenCase, golden_cases
from whisper_mel_golden.signals import render
from whisper_mel_mojo import log_mel
from whisper_mel_reference import CLASS_A, WHISPER, score

Array = NDArray[Any]
SECOND = 16000

SIGNALS: dict[str, dict[str, Any]] = {
    "silence": {"signal": "silence"},
    "dc": {"signal": "dc"},
    "nyquist": {"signal": "nyquist"},
    "ramp": {"signal": "ramp"},
    "tone": {"signal": "tone", "frequency": 1000.0},
    "square": {"signal": "square"},
    "chirp": {"signal": "chirp"},
    "noise": {"signal": "noise", "distribution": "normal", "gain": 0.1},
    "noise near the floor": {"signal": "noise", "gain": 1.2e-5},
    "noise far below the floor": {"signal": "noise", "gain": 1e-30},
    "denormal noise": {"signal": "noise", "gain": 1e-41},
    "loud noise": {"signal": "noise", "gain": 1e15},
    "noise ramp": {"signal": "noise_ramp"},
    "on and off": {"signal": "on_off"},
    "tone in noise": {"signal": "tone_in_noise"},
    "clicks": {"signal": "clicks"},
    "click train": {"signal": "click_train", "period": 401},
    "loud tail": {"signal": "loud_tail"},
    **{f"click at {at}": {"signal": "click", "at": 3000 + at} for at in (0, 1, 2, 3)},
    **{f"click at {at}": {"signal": "click", "at": 3000 + at} for at in (396, 397, 398, 399)},
}


def require_class_a(actual: Array, audio: Array, **spec: Any) -> None:
    assert actual.dtype == np.float32
    assert score(actual, audio, WHISPER.replace(**spec)) <= CLASS_A


@pytest.mark.parametrize("case", golden_cases(), ids=lambda case: case.id)
def test_goldens(case: GoldenCase) -> None:
    actual = log_mel(
        case.audio(),
        case.n_mels,
        pad_to=case.pad_to,
        smoothing=case.smoothing,  # type: ignore[arg-type]
    )
    require_class_a(
        actual, case.audio(), n_mels=case.n_mels, pad_to=case.pad_to, smoothing=case.smoothing
    )


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("n_mels", [80, 128])
def test_signals(name: str, n_mels: int) -> None:
    audio = render({"n": SECOND + 80, **SIGNALS[name]})
    require_class_a(log_mel(audio, n_mels), audio, n_mels=n_mels)


@pytest.mark.parametrize("smoothing", [None, "valid", "same"])
@pytest.mark.parametrize("n_mels", [80, 128])
def test_every_number_of_frames_in_the_last_group(n_mels: int, smoothing: Any) -> None:
    """Frame counts 1 to 50, so all remainders of 4, 8 and 16, each with a length that shifts."""
    for n_frames in range(1 if smoothing != "valid" else 3, 51):
        n = max(201, 160 * n_frames + n_frames * 37 % 160)
        audio = noise(n, seed=n)
        actual = log_mel(audio, n_mels, smoothing=smoothing)
        require_class_a(actual, audio, n_mels=n_mels, smoothing=smoothing)


@pytest.mark.parametrize("n", [*range(201, 206), *range(358, 363), *range(398, 403), 479, 480, 481])
def test_short_clips(n: int) -> None:
    audio = noise(n, seed=n)
    require_class_a(log_mel(audio), audio)


@pytest.mark.parametrize("smoothing", [None, "valid", "same"])
@pytest.mark.parametrize("extra", [0, 1, 119, 120, 160, 200, 361, 1280, 1281, 5000, 50_000])
def test_padding(extra: int, smoothing: Any) -> None:
    for n in (1, 200, 1000, 2000, 5001):
        pad_to = n + extra
        if pad_to < 480:
            continue
        audio = noise(n, seed=n)
        actual = log_mel(audio, pad_to=pad_to, smoothing=smoothing)
        require_class_a(actual, audio, pad_to=pad_to, smoothing=smoothing)
        filled = np.zeros(pad_to, np.float32)
        filled[:n] = audio
        np.testing.assert_array_equal(actual, log_mel(filled, smoothing=smoothing))


def test_int16_is_divided_by_32768() -> None:
    audio = render({"signal": "noise", "n": SECOND + 3, "dtype": "int16"})
    assert audio.dtype == np.int16
    require_class_a(log_mel(audio), audio)
    for values in (audio, np.full_like(audio, -32768), np.full_like(audio, 32767)):
        np.testing.assert_array_equal(
            log_mel(values), log_mel(values.astype(np.float32) / np.float32(32768))
        )


def test_float64_is_rounded_once() -> None:
    audio = noise(SECOND).astype(np.float64) / 3.0
    np.testing.assert_array_equal(log_mel(audio), log_mel(audio.astype(np.float32)))


@pytest.mark.parametrize("smoothing", [None, "valid", "same"])
@pytest.mark.parametrize("threads", [1, 3])
def test_each_clip_of_a_batch_is_as_if_alone(threads: int, smoothing: Any) -> None:
    for clips, n in [(1, 30_000), (2, 30_000), (5, 12_345), (40, 1000)]:
        batch = np.stack([noise(n, seed, 10.0**-seed) for seed in range(clips)])
        together = log_mel(batch, smoothing=smoothing, threads=threads)
        for clip, features in zip(batch, together, strict=True):
            np.testing.assert_array_equal(features, log_mel(clip, smoothing=smoothing, threads=1))


@pytest.mark.parametrize("smoothing", [None, "valid", "same"])
@pytest.mark.parametrize("n_mels", [80, 128])
def test_bits_do_not_depend_on_the_number_of_threads(n_mels: int, smoothing: Any) -> None:
    for n, pad_to in [(5 * SECOND + 77, None), (SECOND, 5 * SECOND), (160 * 1025, None)]:
        audio = noise(n)
        alone = log_mel(audio, n_mels, pad_to=pad_to, smoothing=smoothing, threads=1)
        for threads in (2, 3, 7, 64, 1000):
            actual = log_mel(audio, n_mels, pad_to=pad_to, smoothing=smoothing, threads=threads)
            np.testing.assert_array_equal(actual, alone)


def test_bits_do_not_depend_on_alignment() -> None:
    audio = noise(SECOND)
    expected = log_mel(audio)
    memory = np.empty(audio.size + 64, np.float32)
    features = np.empty(expected.size + 64, np.float32)
    for shift in range(33):
        memory[shift : shift + audio.size] = audio
        out = features[shift : shift + expected.size].reshape(expected.shape)
        log_mel(memory[shift : shift + audio.size], out=out)
        np.testing.assert_array_equal(out, expected)


def test_bits_do_not_depend_on_the_lane() -> None:
    """A delay by one hop moves every frame to the next lane, and its values with it."""
    audio = noise(160 * 60)
    audio[2000:2400] *= 10  # the maximum, which all shifted clips have
    expected = log_mel(audio)
    for hops in range(1, 33):
        shifted = log_mel(np.concatenate([np.zeros(160 * hops, np.float32), audio]))
        np.testing.assert_array_equal(shifted[:, hops + 2 :], expected[:, 2:])


def test_repeats_are_equal_and_the_input_is_untouched() -> None:
    audio = noise(3 * SECOND)
    copy = audio.copy()
    first = log_mel(audio)
    for _ in range(20):
        np.testing.assert_array_equal(log_mel(audio), first)
    np.testing.assert_array_equal(audio, copy)


def test_the_maximum_counts_wherever_it_is() -> None:
    """One loud tone burst in any frame, first and last included, lifts all that is quiet."""
    for n_frames, threads in itertools.product((63, 64, 65, 255, 257), (1, 2)):
        n = 160 * n_frames
        for at in (0, 1, n_frames // 2, n_frames - 2, n_frames - 1):
            audio = noise(n, gain=1e-5)
            middle = 160 * at
            audio[max(middle - 40, 0) : middle + 40] = 1.0
            require_class_a(log_mel(audio, threads=threads), audio)


def test_more_than_thirty_seconds() -> None:
    audio = render({"signal": "noise_ramp", "n": 45 * SECOND + 123})
    require_class_a(log_mel(audio, 128, threads=2), audio, n_mels=128)


def test_an_hour() -> None:
    """All is silent but the last second, whose features are known from a short clip."""
    tail = render({"signal": "noise", "n": SECOND, "dtype": "int16"})
    audio = np.zeros(3600 * SECOND, np.int16)
    audio[-SECOND:] = tail
    features = log_mel(audio)
    short = log_mel(np.concatenate([np.zeros(SECOND, np.int16), tail]))
    np.testing.assert_array_equal(features[:, -200:], short)
    assert features[:, :-200].max() == features[:, :-200].min() == short[0, 0]


def test_clips_four_gigabytes_apart() -> None:
    """Offsets beyond 32 bits, in samples and in bytes; almost all of the memory is never used."""
    memory = np.zeros(2**31 + 2 * SECOND, np.int16)
    memory[-SECOND:] = render({"signal": "noise", "n": SECOND, "dtype": "int16"})
    stride = (memory.size - SECOND) * memory.itemsize
    batch = np.lib.stride_tricks.as_strided(memory, (2, SECOND), (stride, 2))
    features = log_mel(batch)
    np.testing.assert_array_equal(features[0], log_mel(np.zeros(SECOND, np.int16)))
    np.testing.assert_array_equal(features[1], log_mel(memory[-SECOND:]))


# --------------------------------------------------------------------- do these tests bite?


@pytest.mark.parametrize(
    "fault",
    [
        lambda features: features + np.float32(1e-5),
        lambda features: np.roll(features, 1, axis=1),
        lambda features: np.zeros_like(features),
        lambda features: np.where(np.arange(features.shape[1]) == 7, features + 1e-3, features),
        lambda features: np.where(features == features.max(), np.nan, features),
    ],
    ids=["offset", "late by a frame", "zeros", "one frame", "NaN"],
)
def test_a_fault_is_no_longer_class_a(fault: Any) -> None:
    audio = noise(SECOND)
    actual = fault(log_mel(audio)).astype(np.float32)
    with pytest.raises(AssertionError):
        require_class_a(actual, audio)
