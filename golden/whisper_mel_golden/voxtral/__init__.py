"""The goldens of Voxtral Realtime, whose maximum is fixed at 1.5.

They are what ``VoxtralRealtimeFeatureExtractor`` of transformers makes of some of the inputs, for
128 bands. The manifest beside them is as that of openai-whisper's goldens, with ``maximum``.
"""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import FrontEndSpec, compare

from whisper_mel_golden.cases import GoldenCase, golden_cases
from whisper_mel_golden.inputs import INPUTS
from whisper_mel_golden.machine import cpu_model
from whisper_mel_golden.manifest import write_manifest
from whisper_mel_golden.signals import render
from whisper_mel_golden.store import features_path, fingerprint, write_features

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
    import torch
    from transformers import VoxtralRealtimeFeatureExtractor

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # clips are short, and bits must not depend on the number of cores
    try:
        made = VoxtralRealtimeFeatureExtractor(feature_size=SPEC.n_mels)(
            np.asarray(audio, np.float32), sampling_rate=SPEC.sample_rate, return_tensors="np"
        )
    finally:
        torch.set_num_threads(threads)
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
        features, case_id = voxtral_features(audio), f"golden/voxtral-{name}/{SPEC.n_mels}"
        write_features(features_path(case_id, folder), features)
        inputs[name] = {
            "purpose": entry.purpose,
            "flags": list(entry.flags),
            "recipe": entry.recipe,
            "sha256": fingerprint(audio),
        }
        made[case_id] = {
            "input": name,
            "n_mels": SPEC.n_mels,
            "pad_to": None,
            "smoothing": None,
            "maximum": SPEC.maximum,
            "shape": list(features.shape),
            "sha256": fingerprint(features),
            "score": round(compare(features, audio, SPEC).score, 6),
        }
        print(f"{case_id}: score {made[case_id]['score']}", flush=True)
    versions = {name: metadata.version(name) for name in ("transformers", "torch", "numpy")}
    made_with = {
        **versions,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_model(),
    }
    write_manifest(
        {"schema": 1, "made_with": made_with, "recordings": {}, "inputs": inputs, "cases": made},
        folder,
    )
