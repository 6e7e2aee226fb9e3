"""The replacements beside the originals, on real speech."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import whisper
from faster_whisper.feature_extractor import FeatureExtractor
from numpy.typing import NDArray
from whisper.audio import log_mel_spectrogram as openai
from whisper_mel_golden.signals import render
from whisper_mel_mojo.drop_in import faster_whisper_feature_extractor, log_mel_spectrogram
from whisper_mel_reference import CLASS_A, WHISPER, error_bound, score

Array = NDArray[Any]


def speech(n: int = 48_000) -> Array:
    return render({"signal": "speech", "n": n, "recording": "sense-and-sensibility"})


def assert_alike(ours: Array, theirs: Array, audio: Array, n_mels: int, padding: int) -> None:
    """Ours is of class A, and as near to the original as two of class A may be."""
    pad_to = audio.size + padding if padding else None
    spec = WHISPER.replace(n_mels=n_mels, pad_to=pad_to)
    assert ours.dtype == theirs.dtype == np.float32
    assert ours.shape == theirs.shape
    assert score(ours, audio, spec) <= CLASS_A
    assert (np.abs(ours - theirs) <= 2 * error_bound(audio, spec)).all()


@pytest.mark.parametrize("padding", [0, 160, 480_000])
@pytest.mark.parametrize("n_mels", [80, 128])
def test_openai_whisper(n_mels: int, padding: int) -> None:
    audio = speech()
    theirs = openai(audio, n_mels, padding=padding)
    for given in (audio, torch.from_numpy(audio)):
        ours = log_mel_spectrogram(given, n_mels, padding, device="cpu")
        assert ours.device == theirs.device
        assert_alike(ours.numpy(), theirs.numpy(), audio, n_mels, padding)


def test_openai_whisper_reads_files(monkeypatch: pytest.MonkeyPatch) -> None:
    audio = speech()
    monkeypatch.setattr(whisper.audio, "load_audio", {"speech.flac": audio}.__getitem__)
    assert torch.equal(log_mel_spectrogram("speech.flac"), log_mel_spectrogram(audio))


def test_openai_whisper_batches_have_a_maximum_for_each_clip() -> None:
    batch = np.stack([speech(), 1e-3 * speech()])
    ours = log_mel_spectrogram(torch.from_numpy(batch), padding=160)
    for clip, features in zip(batch, ours, strict=True):
        assert torch.equal(features, log_mel_spectrogram(clip, padding=160))


@pytest.mark.parametrize("n_mels", [80, 128])
def test_faster_whisper(n_mels: int) -> None:
    audio = speech()
    original = FeatureExtractor(feature_size=n_mels)
    ours = faster_whisper_feature_extractor(feature_size=n_mels)
    assert isinstance(ours, FeatureExtractor)
    assert_alike(ours(audio), original(audio), audio, n_mels, 160)
    for padding in (0, 480_000 - audio.size):
        theirs = original(audio, padding=padding, chunk_length=20)
        assert_alike(ours(audio, padding, chunk_length=20), theirs, audio, n_mels, padding)
    assert (ours.n_samples, ours.nb_max_frames) == (original.n_samples, original.nb_max_frames)
    assert ours.n_samples == 320_000


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_goes_through(value: float) -> None:
    batch = np.stack([speech(), speech()])
    batch[1, 1000] = value
    ours = log_mel_spectrogram(batch, padding=160)
    assert ours[1].isnan().all()
    assert torch.equal(ours[0], log_mel_spectrogram(batch[0], padding=160))
    assert np.isnan(faster_whisper_feature_extractor()(batch[1])).all()


def test_errors() -> None:
    with pytest.raises(ValueError, match="n_mels=81: expected 80 or 128"):
        log_mel_spectrogram(speech(), 81)
    with pytest.raises(ValueError, match="expected at least 201"):
        log_mel_spectrogram(speech(100), padding=100)
    for wrong in ({"feature_size": 64}, {"hop_length": 320}, {"sampling_rate": 8000}):
        with pytest.raises(ValueError, match=r"expected \(16000, 160, 400\) and 80 or 128"):
            faster_whisper_feature_extractor(**wrong)
