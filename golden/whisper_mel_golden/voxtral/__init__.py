"""The goldens of Voxtral Realtime, whose maximum is fixed at 1.5.

They are what ``VoxtralRealtimeFeatureExtractor`` of transformers makes of some of the inputs, for
128 bands. The manifest beside them is as that of openai-whisper's goldens, with ``maximum``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import FrontEndSpec

from whisper_mel_golden import machine
from whisper_mel_golden.cases import GoldenCase, golden_cases
from whisper_mel_golden.inputs import INPUTS
from whisper_mel_golden.make import input_fields, write_golden
from whisper_mel_golden.manifest import write_manifest
from whisper_mel_golden.signals import render

FOLDER = Path(__file__).parent
SPEC = FrontEndSpec.for_model("voxtral-realtime")
INPUT_IDS = (
    *("reading", "reading-quiet", "noise-ramp", "noise-unscaled", "noise-below-floor"),
    *("noise-then-silence", "tone-in-noise", "silence", "length-401"),
)
"""Inputs whose own maximum is above and below 1.5, or silence."""


def cases(folder: Path = FOLDER) -> list[GoldenCase]:
    """List these goldens, in the manifest's order."""
    return golden_cases(folder)


def voxtral_features(audio: NDArray[np.generic]) -> NDArray[np.float32]:
    """Compute the features of a clip with transformers and torch, on the CPU."""
    from transformers import VoxtralRealtimeFeatureExtractor

    with machine.one_thread():
        made = VoxtralRealtimeFeatureExtractor(feature_size=SPEC.n_mels)(
            np.asarray(audio, np.float32), sampling_rate=SPEC.sample_rate, return_tensors="np"
        )
    features: NDArray[np.float32] = made["input_features"][0]
    return features


def make(folder: Path = FOLDER) -> None:
    """Make these goldens anew, and their manifest.

    Raises ``ImportError`` if torch or transformers is not installed.
    """
    inputs: dict[str, Any] = {}
    made: dict[str, Any] = {}
    for name in INPUT_IDS:
        entry = INPUTS[name]
        audio = render(entry.recipe)
        inputs[name] = input_fields(entry, audio)
        case_id = f"golden/voxtral-{name}/{SPEC.n_mels}"
        made[case_id] = write_golden(case_id, entry, audio, voxtral_features(audio), SPEC, folder)
    made_with = machine.made_with("transformers", "torch", "numpy")
    write_manifest(
        {"schema": 1, "made_with": made_with, "recordings": {}, "inputs": inputs, "cases": made},
        folder,
    )
