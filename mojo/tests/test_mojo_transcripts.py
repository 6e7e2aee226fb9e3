"""End to end: a real Whisper hears by the kernel what it hears by the stacks' own front-ends."""

from __future__ import annotations

from importlib import import_module
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import tiny_en
import torch
import whisper
from faster_whisper import WhisperModel
from numpy.typing import NDArray
from whisper_mel_conformance.frontend.load import inspect_front_end
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_golden.speech import load_recording
from whisper_mel_mojo.drop_in import (
    faster_whisper,
    faster_whisper_feature_extractor,
    log_mel_spectrogram,
)

Array = NDArray[Any]

THIRTY_SECONDS = 480_000
MAX_DIFFERENCE = 1e-3
"""Of the encoder's outputs, whose standard deviation is 1.25: ours differ from those after the
original front-end by up to 8e-5, and so do those of faster-whisper's encoder from PyTorch's."""
SPEECH = {
    "cards": "8 of spades, 4 of",
    "sense-and-sensibility": "Mr. John Dashwood had then leisure to consider how much",
}


@pytest.fixture(scope="module", autouse=True)
def _offline_on_one_thread() -> Any:
    """Whatever asks for a network fails; waiting threads do not spin on busy machines."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def faster() -> WhisperModel:
    return WhisperModel(str(tiny_en.MODEL), "cpu", compute_type="float32", cpu_threads=1)


@pytest.fixture(scope="module")
def openai() -> whisper.Whisper:
    return tiny_en.openai_whisper()


def speech(name: str) -> Array:
    return load_recording(name).astype(np.float32) / np.float32(32768)


def faster_text(model: WhisperModel, audio: Array) -> str:
    segments, _ = model.transcribe(audio, beam_size=1, temperature=0)
    return " ".join(segment.text for segment in segments)


@pytest.mark.parametrize("name", SPEECH)
def test_faster_whisper_writes_the_same_text(
    faster: WhisperModel, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = speech(name)
    theirs = faster_text(faster, audio)
    ours = faster_whisper_feature_extractor(**faster.feat_kwargs)
    kernel = Mock(side_effect=faster_whisper.log_mel)
    monkeypatch.setattr(faster_whisper, "log_mel", kernel)
    monkeypatch.setattr(faster, "feature_extractor", ours)
    assert faster_text(faster, audio) == theirs
    assert kernel.called
    assert SPEECH[name] in theirs


@pytest.mark.filterwarnings("ignore:unclosed file .*tiktoken:ResourceWarning")  # openai-whisper's
@pytest.mark.parametrize(
    "name", ["cards", pytest.param("sense-and-sensibility", marks=pytest.mark.nightly)]
)
def test_openai_whisper_writes_the_same_text(
    openai: whisper.Whisper, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = speech(name)

    def text() -> str:
        return openai.transcribe(audio, fp16=False, temperature=0)["text"]

    theirs = text()
    ours = Mock(side_effect=log_mel_spectrogram)
    monkeypatch.setattr(import_module("whisper.transcribe"), "log_mel_spectrogram", ours)
    assert text() == theirs
    assert ours.called
    assert SPEECH[name] in theirs


class Encoders:
    """The outputs of both encoders for features of 30 s: the same weights, different code."""

    def __init__(self, faster: WhisperModel, openai: whisper.Whisper) -> None:
        self.faster, self.openai = faster, openai

    def __call__(self, features: Array) -> Array:
        given = np.ascontiguousarray(features[:, :3000], np.float32)
        with torch.no_grad():
            own = self.openai.encoder(torch.from_numpy(given)[None]).numpy()
        return np.stack([own, np.array(self.faster.encode(given))])


@pytest.fixture(scope="module")
def encoders(faster: WhisperModel, openai: whisper.Whisper) -> Encoders:
    return Encoders(faster, openai)


@pytest.fixture(scope="module")
def heard(encoders: Encoders) -> Array:
    """What the encoders make of real speech after openai-whisper's front-end."""
    audio = speech("cards")
    features = whisper.log_mel_spectrogram(audio, padding=THIRTY_SECONDS - audio.size)
    return encoders(features.numpy())


def differences(actual: Array, expected: Array) -> Array:
    """The largest one of each encoder."""
    return np.abs(actual - expected).max(axis=(1, 2, 3))


def test_the_weights_are_read_as_they_are_meant(heard: Array) -> None:
    """PyTorch's encoder, whose weights the tests have read, does what CTranslate2's does."""
    own, other = heard
    assert other.std() > 1
    assert np.abs(own - other).max() <= MAX_DIFFERENCE


def test_encoders_make_the_same_of_our_features(encoders: Encoders, heard: Array) -> None:
    audio = speech("cards")
    missing = THIRTY_SECONDS - audio.size
    features = log_mel_spectrogram(audio, padding=missing).numpy()
    assert np.array_equal(features, faster_whisper_feature_extractor()(audio, missing))
    assert (differences(encoders(features), heard) <= MAX_DIFFERENCE).all()


@pytest.mark.parametrize(
    "quirk",
    ["symmetric-window", "first-frame-dropped", "natural-logarithm", "no-centre"],
)
def test_encoders_hear_a_wrong_front_end(encoders: Encoders, heard: Array, quirk: str) -> None:
    audio = np.pad(speech("cards"), (0, THIRTY_SECONDS - speech("cards").size))
    features = inspect_front_end(CATALOGUE[quirk].make(), quirk).call(audio)
    silence = ((0, 0), (0, 3000 - features.shape[1]))
    features = np.pad(features, silence, constant_values=features.min())
    assert (differences(encoders(features), heard) > 10 * MAX_DIFFERENCE).all()


def test_encoders_hear_one_maximum_for_a_batch(encoders: Encoders, heard: Array) -> None:
    """openai-whisper's own fault: a quiet clip beside a loud one loses what is soft in it."""
    audio = np.zeros((2, THIRTY_SECONDS), np.float32)
    audio[0, : speech("cards").size] = speech("cards")
    audio[1] = np.sin(2 * np.pi / 16 * np.arange(THIRTY_SECONDS))  # 1 kHz, full scale
    theirs = whisper.log_mel_spectrogram(torch.from_numpy(audio))[0].numpy()
    ours = log_mel_spectrogram(torch.from_numpy(audio))[0].numpy()
    assert (differences(encoders(theirs), heard) > 10 * MAX_DIFFERENCE).all()
    assert (differences(encoders(ours), heard) <= MAX_DIFFERENCE).all()
