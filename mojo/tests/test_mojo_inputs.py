"""What every door makes of every kind of audio: the table in docs/using.md.

``python mojo/tests/test_mojo_inputs.py`` prints it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faster_whisper.feature_extractor import FeatureExtractor
from max.dtype import DType
from max.graph import DeviceRef, Graph, TensorType
from numpy.typing import NDArray
from whisper.audio import log_mel_spectrogram as openai
from whisper_mel_conformance.peers import leave_out_torchaudio_library
from whisper_mel_golden.signals import render
from whisper_mel_mojo import log_mel
from whisper_mel_mojo import max as max_operation
from whisper_mel_mojo.drop_in import faster_whisper_feature_extractor, log_mel_spectrogram
from whisper_mel_mojo.torch import log_mel as operator
from whisper_mel_reference import CLASS_A, WHISPER, score

leave_out_torchaudio_library()

from transformers import WhisperFeatureExtractor as Original  # noqa: E402
from whisper_mel_mojo.drop_in.transformers import WhisperFeatureExtractor  # noqa: E402

Array = NDArray[Any]
Door = Callable[[Any], Any]

DOCUMENT = Path(__file__).parents[2] / "docs/using.md"
BEGIN = "<!-- inputs: the table that mojo/tests/test_mojo_inputs.py prints -->\n"
END = "<!-- inputs: end of the table -->\n"

PCM = np.round(32768 * render({"signal": "noise", "n": 1000, "gain": 0.1})).astype(np.int16)
CLIP = PCM.astype(np.float32) / np.float32(32768)
BATCH = np.stack([CLIP, np.float32(2**-14) * CLIP])
TENSOR = torch.from_numpy(CLIP)

INPUTS: dict[str, Any] = {
    "float32": CLIP,
    "float64": CLIP.astype(np.float64),
    "int16": PCM,
    "float16": CLIP.astype(np.float16),
    "bfloat16": TENSOR.bfloat16(),
    "negative strides": CLIP[::-1].copy()[::-1],
    "masked array": np.ma.masked_array(CLIP),
    "list of numbers": CLIP.tolist(),
    "tensor": TENSOR,
    "… with a gradient": TENSOR.clone().requires_grad_(),
    "… on `meta`": TENSOR.to("meta"),
    "`(batch, n)`": BATCH,
    "`(batch, 1, n)`": BATCH[:, np.newaxis],
    "`(0,)`": CLIP[:0],
}


def by_operator(audio: Any) -> torch.Tensor:
    return operator(torch.from_numpy(audio) if isinstance(audio, np.ndarray) else audio)


def by_max(audio: Any) -> Any:
    """What a graph says of audio of this dtype and shape, or None if it isn't an array."""
    if not isinstance(audio, np.ndarray) and audio is not INPUTS["bfloat16"]:
        return None
    dtype = DType[str(audio.dtype).removeprefix("torch.")]
    with Graph("inputs", input_types=[TensorType(dtype, audio.shape, DeviceRef.CPU())]) as graph:
        features = max_operation.log_mel(graph.inputs[0].tensor)
    assert features.dtype == DType.float32
    return "yes"


def by_transformers(extractor: Any, audio: Any) -> Any:
    options = {"padding": False, "return_tensors": "np"}
    features = extractor(audio, sampling_rate=16_000, **options).input_features
    return features if np.ndim(audio) > 1 else features[0]


DOORS: dict[str, tuple[Door, ...]] = {
    "`log_mel`": (log_mel,),
    "operator": (by_operator,),
    "MAX": (by_max,),
    "openai-whisper": (log_mel_spectrogram, openai),
    "faster-whisper": tuple(
        partial(extractor, padding=0)
        for extractor in (faster_whisper_feature_extractor(), FeatureExtractor())
    ),
    "transformers": tuple(
        partial(by_transformers, made()) for made in (WhisperFeatureExtractor, Original)
    ),
}
"""Ours and, where there is one, the original."""


def outcome(door: Door, audio: Any) -> str:
    """What becomes of it, in words."""
    try:
        features = door(audio)
    except Exception as error:
        return f"`{type(error).__name__}`"
    if features is None:
        return "–"
    if isinstance(features, str):
        return features
    assert str(features.dtype).removeprefix("torch.") == "float32"
    if getattr(features, "is_meta", False):
        assert features.shape == (80, 6)
        return "shape"
    gradient = ", gradient" if getattr(features, "requires_grad", False) else ""
    actual = features.detach().numpy() if isinstance(features, torch.Tensor) else features
    return meaning(actual, audio) + gradient


def meaning(features: Array, audio: Any) -> str:
    if isinstance(audio, torch.Tensor):
        audio = audio.detach().float().numpy()
    given = np.asarray(audio)
    numbers = given.astype(np.float32)
    if worst(features, numbers / 32768 if given.dtype == np.int16 else numbers) <= CLASS_A:
        return "yes"
    if worst(features, numbers) <= CLASS_A:
        return "not scaled"
    own = log_mel(numbers)
    if np.allclose(features, np.maximum(own, own.max() - 2), atol=1e-4):
        return "one maximum"
    raise AssertionError(f"features that nothing explains: {features}")


def worst(features: Array, clips: Array) -> float:
    pairs = zip(features, clips, strict=True) if clips.ndim == 2 else [(features, clips)]
    return max(score(actual, clip, WHISPER) for actual, clip in pairs)


def cell(doors: tuple[Door, ...], audio: Any) -> str:
    ours, *theirs = (outcome(door, audio) for door in doors)
    return ours if theirs in ([], [ours]) else f"{ours}; original: {theirs[0]}"


def table() -> str:
    rows = [["audio", *DOORS], ["---"] * (1 + len(DOORS))]
    for name, audio in INPUTS.items():
        rows.append([name, *(cell(doors, audio) for doors in DOORS.values())])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def test_the_table_in_the_documentation_is_true() -> None:
    _, found = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
    section, _ = found.split(END)
    assert section == table()


_NAMED = r"\baudio\b|raw_speech|numpy array|\bTensor\b|ScalarType|meta tensor"
"""What a message names: ours the argument, the originals' what they were given."""


@pytest.mark.parametrize("door", DOORS)
def test_what_is_refused_is_named(door: str) -> None:
    messages = [refusal(DOORS[door][0], audio) for audio in INPUTS.values()]
    for message in filter(None, messages):
        assert re.search(_NAMED, message)
    assert any(messages)


def refusal(door: Door, audio: Any) -> str | None:
    try:
        door(audio)
    except Exception as error:
        return str(error)
    return None


if __name__ == "__main__":
    print(table(), end="")
