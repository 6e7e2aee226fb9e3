"""The maximum that features are clamped by: the clip's, each chunk's, or a number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from whisper_mel_reference import MODELS, WHISPER, FrontEndSpec, log_mel, score, stages, truth
from whisper_mel_reference.bound import last_error

FIXED = WHISPER.replace(maximum=1.5)
CHUNK = WHISPER.replace(maximum="chunk")


def noise(n: int, seed: int, gain: float = 1.0) -> Any:
    return gain * np.random.default_rng(seed).uniform(-1, 1, n)


def scaled(log: Any, top: Any) -> Any:
    return (np.maximum(log, top - 8.0) + 4.0) / 4.0


def clip_of_chunks(*gains: float, more: int = 0) -> Any:
    """30 s of noise for each gain, and ``more`` samples of the last."""
    parts = [noise(480_000, i, gain) for i, gain in enumerate(gains)]
    return np.concatenate([*parts, noise(more, 99, gains[-1])])


@pytest.mark.parametrize("gain", [30.0, 0.3, 1e-4])
def test_a_number_takes_the_place_of_the_clips_maximum(gain: float) -> None:
    audio = np.concatenate([noise(4000, 1, gain), np.zeros(4000)])
    log = stages(audio)["log"]
    np.testing.assert_array_equal(log_mel(audio, FIXED), scaled(log, 1.5))
    assert (log_mel(audio, FIXED) != log_mel(audio)).any()
    own = WHISPER.replace(maximum=float(log.max()))
    np.testing.assert_array_equal(log_mel(audio, own), log_mel(audio))


def test_values_above_a_number_stay() -> None:
    loud = log_mel(noise(4000, 1, 1e4), FIXED)
    assert loud.min() > (1.5 + 4.0) / 4.0


def test_each_chunk_has_its_own_maximum() -> None:
    audio = clip_of_chunks(1e-4, 1.0, 1e-4, more=777)
    log = stages(audio)["log"]
    tops = np.repeat([log[:, i : i + 3000].max() for i in (0, 3000, 6000, 9000)], 3000)
    expected = scaled(log, tops[: log.shape[1]])
    np.testing.assert_allclose(log_mel(audio, CHUNK), expected, atol=1e-12)
    short = audio[:480_000]
    np.testing.assert_array_equal(log_mel(short, CHUNK), log_mel(short))


def test_frames_at_the_edges_of_chunks_hear_both() -> None:
    audio = clip_of_chunks(1e-4, 1.0)
    apart = np.concatenate([log_mel(part) for part in np.split(audio, 2)], axis=1)
    whole = log_mel(audio, CHUNK)
    off = np.flatnonzero((np.abs(whole - apart) > 1e-9).any(axis=0))
    assert 2999 in off
    assert 3000 in off
    assert CHUNK.chunk_frames == 3000


@pytest.mark.parametrize("smoothing", [None, "same", "valid"])
@pytest.mark.parametrize("maximum", ["clip", "chunk", 1.5, -3.0])
def test_float32_is_within_the_bound(maximum: Any, smoothing: Any) -> None:
    spec = WHISPER.replace(maximum=maximum, smoothing=smoothing, n_mels=128)
    audio = clip_of_chunks(1e-4, 1.0, more=777).astype(np.float32)
    exact = truth(audio, spec)
    np.testing.assert_array_equal(exact.features, log_mel(audio, spec))
    assert score(log_mel(audio, spec, dtype=np.float32), audio, spec) < 1.0


def test_what_a_number_clamps_has_no_error_but_the_last_roundings() -> None:
    audio = np.concatenate([noise(4000, 1, 1e-4), noise(4000, 2)]).astype(np.float32)
    features, bound = truth(audio, WHISPER.replace(maximum=9.0))
    clamped = features == (9.0 - 8.0 + 4.0) / 4.0
    assert clamped.any()
    np.testing.assert_array_equal(bound[clamped], last_error(features)[clamped])


@pytest.mark.parametrize(
    ("spec", "where", "value"),
    [
        (WHISPER, slice(1000, None), None),
        (WHISPER.replace(maximum=6.0), slice(1000, None), (6.0 - 8.0 + 4.0) / 4.0),
        (FIXED, slice(1000, None), (1.5 - 8.0 + 4.0) / 4.0),
        # Behind the chunk that the clip ends in, there is nothing but silence.
        (CHUNK, slice(3000, None), -1.5),
    ],
)
def test_silence_behind_a_clip_of_a_batch(spec: FrontEndSpec, where: slice, value: Any) -> None:
    batch = np.stack([noise(500_000, 1, 30.0), noise(500_000, 2)])
    features, bound = truth(batch, spec, lengths=[160_000, 500_000])
    np.testing.assert_array_equal(features, log_mel(batch, spec, lengths=[160_000, 500_000]))
    np.testing.assert_array_equal(features[0, :, :1000], log_mel(batch[0, :160_000], spec))
    behind = features[0, :, where]
    assert (behind == (behind[0, 0] if value is None else value)).all()
    if spec is CHUNK:
        own = log_mel(batch[0, :160_000]).max() - 2.0
        np.testing.assert_allclose(features[0, :, 1000:3000], own, atol=1e-12)
    assert np.isfinite(bound).all()


@pytest.mark.parametrize("value", ["file", None, True, float("nan"), float("inf"), [1.5], 1j])
def test_another_maximum_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"maximum=.*expected 'clip', 'chunk' or a finite number"):
        WHISPER.replace(maximum=value)


def test_a_number_is_kept_as_a_float() -> None:
    assert type(WHISPER.replace(maximum=np.float32(1.5)).maximum) is float
    assert WHISPER.replace(maximum=2) == WHISPER.replace(maximum=2.0)


# --------------------------------------------------------------------------- models


@pytest.mark.parametrize("name", [*MODELS, "Qwen2.5-Omni", "qwen2_5_omni", "GLM-ASR"])
def test_a_model_is_found_by_its_name(name: str) -> None:
    spec = FrontEndSpec.for_model(name)
    assert spec in MODELS.values()
    # Models differ in these three only: everything else is Whisper's.
    assert spec.replace(n_mels=80, maximum="clip", pad_to=None) == WHISPER


def test_models_are_what_they_are() -> None:
    assert FrontEndSpec.for_model("voxtral-realtime") == WHISPER.replace(n_mels=128, maximum=1.5)
    assert FrontEndSpec.for_model("qwen3-asr") == WHISPER.replace(n_mels=128)
    assert FrontEndSpec.for_model("whisper") == WHISPER.replace(pad_to=480_000)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model='parakeet': expected one of whisper, .*qwen3-asr"):
        FrontEndSpec.for_model("parakeet")
    for wrong in (None, 80):
        with pytest.raises(TypeError, match=f"model={wrong}: expected a name"):
            FrontEndSpec.for_model(wrong)  # type: ignore[arg-type]
