"""End to end: a real Whisper hears by the kernel what it hears by the stacks' own front-ends."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import tiny_en
import torch
import whisper
from daily import by_day
from faster_whisper import BatchedInferencePipeline, WhisperModel
from faster_whisper.feature_extractor import FeatureExtractor
from numpy.typing import NDArray
from whisper_mel_conformance.frontend.load import inspect_front_end
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_golden.speech import load_recording
from whisper_mel_mojo.drop_in import (
    faster_whisper,
    faster_whisper_feature_extractor,
    log_mel_spectrogram,
)

pytestmark = pytest.mark.torch

Array = NDArray[Any]

THIRTY_SECONDS = 480_000
MAX_DIFFERENCE = 1e-3
"""Of the encoder's outputs, whose standard deviation is 1.25: ours differ from those after the
original front-end by up to 8e-5, and so do those of faster-whisper's encoder from PyTorch's."""


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


CARDS = speech("cards")
SILENCE = np.zeros(80_000, np.float32)
GREEDY: dict[str, Any] = {"beam_size": 1, "temperature": 0}
TWO_CLIPS = [{"start": 0, "end": 2}, {"start": 2, "end": 2.001}]


def long() -> Array:
    """43 s: two recordings with two seconds of silence between them, and the first again."""
    return np.concatenate([CARDS, SILENCE[:32_000], speech("sense-and-sensibility"), CARDS, CARDS])


Pipeline = Callable[[Any, Array], Any]
"""Calls a host's pipeline, with a model, on audio."""


def faster_whisper_with(**options: Any) -> Pipeline:
    return lambda model, audio: model.transcribe(audio, **{**GREEDY, **options})


def batched(**options: Any) -> Pipeline:
    return lambda model, audio: BatchedInferencePipeline(model).transcribe(
        audio, beam_size=1, batch_size=2, **options
    )


BY_FASTER_WHISPER: dict[str, tuple[Array, Pipeline, str]] = {
    "plain": (CARDS, faster_whisper_with(), "8 of spades, 4 of"),
    "words": (CARDS, faster_whisper_with(word_timestamps=True), "8 of spades"),
    "beams": (CARDS, faster_whisper_with(beam_size=5), "seven of hearts"),
    "sampled": (CARDS, faster_whisper_with(beam_size=5, temperature=[0.0, 0.2]), "spades"),
    "prompt": (CARDS, faster_whisper_with(initial_prompt="A card game."), "Eight of spades"),
    "language": (CARDS, faster_whisper_with(language="en"), "8 of spades"),
    "no timestamps": (CARDS, faster_whisper_with(without_timestamps=True), "spades"),
    "chunk_length": (CARDS, faster_whisper_with(chunk_length=10), "8 of spades"),
    "float64": (CARDS.astype(np.float64), faster_whisper_with(), "8 of spades"),
    "clips": (CARDS, faster_whisper_with(clip_timestamps="0.5,1.5"), "Spades"),
    "clips, 1 ms": (CARDS, faster_whisper_with(clip_timestamps=[0, 1, 2, 2.001]), "spades"),
    "VAD": (CARDS, faster_whisper_with(vad_filter=True), "spades"),
    "long": (long(), faster_whisper_with(), "Mr. John Dashwood had then leisure"),
    "long, VAD, words": (
        *(long(), faster_whisper_with(vad_filter=True, word_timestamps=True), "John Dashwood"),
    ),
    "silence": (SILENCE, faster_whisper_with(), ""),
    "silence, VAD": (SILENCE, faster_whisper_with(vad_filter=True), ""),
    **{f"{n} samples": (CARDS[:n], faster_whisper_with(), "") for n in (0, 1, 40, 41, 199, 1600)},
    "0 samples, VAD": (SILENCE[:0], faster_whisper_with(vad_filter=True), ""),
    "batched": (CARDS, batched(), "spades"),
    "batched, no VAD": (CARDS, batched(vad_filter=False), "8 of spades"),
    "batched, words": (CARDS, batched(word_timestamps=True), "8 of spades"),
    "batched, clips, 1 ms": (CARDS, batched(clip_timestamps=TWO_CLIPS), "Eight of spades"),
    "batched, long": (long(), batched(), "John Dashwood"),
    "batched, silence": (SILENCE, batched(), ""),
    "batched, 0 samples": (SILENCE[:0], batched(vad_filter=False), ""),
}


FASTER_BY_DAY = {"plain", "clips, 1 ms", "VAD", "0 samples", "batched, 0 samples"}
"""Scenarios that each ask something new of the front-end; long ones do so at night."""


@pytest.mark.parametrize("scenario", by_day(BY_FASTER_WHISPER, FASTER_BY_DAY))
def test_faster_whisper_writes_the_same(
    faster: WhisperModel, scenario: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio, pipeline, words = BY_FASTER_WHISPER[scenario]

    def transcript() -> tuple[list[Any], Any]:
        segments, information = pipeline(faster, audio)
        heard = [
            (it.start, it.end, it.text, [(w.start, w.end, w.word) for w in it.words or []])
            for it in segments
        ]
        return heard, (information.duration, information.duration_after_vad, information.language)

    kernel = Mock(side_effect=faster_whisper.log_mel)
    monkeypatch.setattr(faster_whisper, "log_mel", kernel)
    transcripts = []
    for make in (faster_whisper_feature_extractor, FeatureExtractor):  # both new: calls change them
        monkeypatch.setattr(faster, "feature_extractor", make(**faster.feat_kwargs))
        transcripts.append(transcript())
    ours, theirs = transcripts
    assert ours == theirs
    assert words in " ".join(text for _, _, text, _ in theirs[0])
    assert bool(words) == bool(theirs[0])
    assert kernel.called or not words


BY_OPENAI_WHISPER: dict[str, tuple[Any, dict[str, Any], str]] = {
    "plain": (CARDS, {}, "8 of spades, 4 of"),
    "float16": (CARDS.astype(np.float16), {}, "8 of spades"),
    "clips": (torch.from_numpy(CARDS), {"clip_timestamps": "0.5,1.5"}, "Spades"),
    "silence": (SILENCE, {}, ""),
    **{f"{n} samples": (CARDS[:n], {}, "") for n in (0, 1, 200)},
    "words": (CARDS, {"word_timestamps": True}, "8 of spades"),
    "language": (CARDS, {"language": "en", "initial_prompt": "A card game."}, "of spades"),
    "long": (long(), {}, "Mr. John Dashwood had then leisure"),
}
OPENAI_BY_DAY = {"plain", "0 samples"}


@pytest.mark.filterwarnings("ignore:unclosed file .*tiktoken:ResourceWarning")  # openai-whisper's
@pytest.mark.parametrize("scenario", by_day(BY_OPENAI_WHISPER, OPENAI_BY_DAY))
def test_openai_whisper_writes_the_same(
    openai: whisper.Whisper, scenario: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio, options, words = BY_OPENAI_WHISPER[scenario]

    def transcript() -> list[Any]:
        segments = openai.transcribe(audio, fp16=False, temperature=0, **options)["segments"]
        return [(it["start"], it["end"], it["text"], it.get("words")) for it in segments]

    theirs = transcript()
    ours = Mock(side_effect=log_mel_spectrogram)
    monkeypatch.setattr(import_module("whisper.transcribe"), "log_mel_spectrogram", ours)
    heard = transcript()
    assert ours.called
    assert [it[:3] for it in heard] == [it[:3] for it in theirs]
    assert [times(it[3]) for it in heard] == [times(it[3]) for it in theirs]
    assert words in " ".join(it[2] for it in theirs)
    assert bool(words) == bool(theirs)


def times(words: list[dict[str, Any]] | None) -> list[Any]:
    return [(it["start"], it["end"], it["word"]) for it in words or []]


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
    by_day(
        ["symmetric-window", "first-frame-dropped", "natural-logarithm", "no-centre"],
        ["symmetric-window"],
    ),
)
def test_encoders_hear_a_wrong_front_end(encoders: Encoders, heard: Array, quirk: str) -> None:
    audio = np.pad(speech("cards"), (0, THIRTY_SECONDS - speech("cards").size))
    features = inspect_front_end(CATALOGUE[quirk].make(), quirk).call(audio)
    silence = ((0, 0), (0, 3000 - features.shape[1]))
    features = np.pad(features, silence, constant_values=features.min())
    assert (differences(encoders(features), heard) > 10 * MAX_DIFFERENCE).all()


@pytest.mark.nightly
def test_encoders_hear_one_maximum_for_a_batch(encoders: Encoders, heard: Array) -> None:
    """openai-whisper's own fault: a quiet clip beside a loud one loses what is soft in it."""
    audio = np.zeros((2, THIRTY_SECONDS), np.float32)
    audio[0, : speech("cards").size] = speech("cards")
    audio[1] = np.sin(2 * np.pi / 16 * np.arange(THIRTY_SECONDS))  # 1 kHz, full scale
    theirs = whisper.log_mel_spectrogram(torch.from_numpy(audio))[0].numpy()
    ours = log_mel_spectrogram(torch.from_numpy(audio))[0].numpy()
    assert (differences(encoders(theirs), heard) > 10 * MAX_DIFFERENCE).all()
    assert (differences(encoders(ours), heard) <= MAX_DIFFERENCE).all()
