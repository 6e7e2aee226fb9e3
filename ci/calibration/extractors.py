"""Measurement of transformers' extractors: which models hear exactly Whisper's features.

``./dev golden models`` writes ``docs/measurements/models.json``: the score of each model's own
extractor, by the specification that ``FrontEndSpec.for_model`` gives. ``./dev docs`` shows it in
``docs/models.md``. The extractors are made from their classes' defaults: no weights are loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np
from checkout.paths import MEASUREMENTS
from numpy.typing import NDArray
from whisper_mel_golden.inputs import INPUTS
from whisper_mel_golden.signals import render
from whisper_mel_reference import CLASS_A, MODELS, truth
from whisper_mel_reference.bound import compare_with

from calibration import calibrate

RECORD = MEASUREMENTS / "models.json"
COMMAND = "./dev golden models"
CLIPS = ("reading", "noise-ramp", "noise-unscaled", "tone-in-noise", "end-of-479999")
"""Inputs of the goldens that the extractors are measured on: up to 30 s, 0.5 s at least."""


@dataclass(frozen=True)
class Model:
    """A model whose extractor is measured.

    Attributes
    ----------
    name : its name in ``MODELS``.
    extractor : the extractor's class in transformers.
    note : what its processor does besides, in a clause; empty if nothing.
    options : arguments of the call.
    """

    name: str
    extractor: str = "WhisperFeatureExtractor"
    note: str = ""
    options: dict[str, Any] = field(default_factory=dict)


_NOT_PADDED = {"padding": "longest"}
_WINDOWS = "each 30 s of a longer clip are a clip of their own"

EXTRACTORS = (
    Model("whisper", note="80 bands: all models before large-v3"),
    Model("whisper-large-v3", note="its turbo and distil-whisper's large-v3, too"),
    Model("qwen2-audio"),
    Model(
        "qwen2.5-omni",
        note="zeros up to 300 s, and the features cut by the mask: the last frames hear zeros",
        options=_NOT_PADDED,
    ),
    Model("qwen3-omni-moe", options=_NOT_PADDED),
    Model(
        "qwen3-asr",
        "Qwen3ASRFeatureExtractor",
        "zeros up to 0.5 s; features filled with 0 up to a multiple of 100 frames",
        options={**_NOT_PADDED, "n_window": 0},
    ),
    Model("voxtral", note="zeros up to a multiple of 30 s; one maximum for the whole clip"),
    Model(
        "voxtral-realtime",
        "VoxtralRealtimeFeatureExtractor",
        "maximum fixed at 1.5; silence before and behind a clip comes from mistral-common",
    ),
    Model("audioflamingo3", note=_WINDOWS),
    Model("musicflamingo", note=_WINDOWS),
    Model("glmasr", note=_WINDOWS),
    Model("moss-transcribe-diarize", "MossTranscribeDiarizeFeatureExtractor", _WINDOWS),
    Model(
        "dots3-note",
        "Dots3NoteFeatureExtractor",
        "each 60 s are a clip of their own; features cut to a multiple of 8 frames",
    ),
)


def features_of(model: Model, audio: NDArray[Any]) -> NDArray[np.float32]:
    """Return what the model's extractor makes of a clip of at most 30 s, ``(n_mels, n_frames)``."""
    import transformers

    make: Callable[..., Any] = getattr(transformers, model.extractor)
    extractor = make(feature_size=MODELS[model.name].n_mels)
    made = extractor(audio, sampling_rate=16_000, return_tensors="pt", **model.options)
    features: NDArray[np.float32] = made["input_features"][0].numpy()
    return features


def score_of(model: Model, audio: NDArray[Any]) -> float:
    """Score the frames that the extractor keeps, by the model's specification.

    Raises ``ValueError`` if it gives more frames than specified, or none.
    """
    spec = MODELS[model.name]
    exact = truth(audio, spec)
    features = features_of(model, audio)
    count = features.shape[1]
    if not 0 < count <= exact.features.shape[1]:
        raise ValueError(f"{model.name}: {count} frames: expected 1 to {exact.features.shape[1]}")
    return compare_with(features, exact.features[:, :count], exact.bound[:, :count]).score


def measure() -> dict[str, Any]:
    """Score every extractor on every clip; return the content of the record."""
    clips = {name: render(INPUTS[name].recipe) for name in CLIPS}
    return {
        "command": COMMAND,
        "made_with": {name: metadata.version(name) for name in ("transformers", "torch")},
        "clips": list(clips),
        "scores": {
            model.name: round(max(score_of(model, audio) for audio in clips.values()), 3)
            for model in EXTRACTORS
        },
    }


def read() -> dict[str, Any]:
    """Read the record."""
    return calibrate.read(RECORD)


def run(arguments: list[str]) -> int:
    """Run ``./dev golden models``, which takes no arguments; return 1 if a score is no class A."""
    if arguments:
        sys.exit(f"golden models {' '.join(arguments)}: expected no arguments")
    record = measure()
    calibrate.write(record, RECORD)
    print(f"written: {RECORD}; `./dev docs` shows it in docs/models.md")
    return 0 if all(score <= CLASS_A for score in record["scores"].values()) else 1
