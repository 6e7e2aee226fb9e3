"""onnx-asr: the NumPy preprocessor that its Whisper models use on a CPU; always 30 s."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from onnx_asr.preprocessors.numpy_preprocessor import WhisperPreprocessorNumpy

from whisper_mel_conformance.peers import versions

LIGHT = True

_THIRTY_SECONDS = 480_000


@lru_cache(maxsize=2)
def _preprocessor(n_mels: int) -> WhisperPreprocessorNumpy:
    return WhisperPreprocessorNumpy(f"whisper{n_mels}")


class _OnnxAsr:
    name = "onnx-asr"
    device = "cpu"
    versions = versions("onnx-asr", "numpy")
    capabilities: ClassVar[dict[str, Any]] = {
        "n_mels": (80, 128),
        "pad_to": True,
        "batch": True,
        "max_samples": _THIRTY_SECONDS,
        "multiple_of": _THIRTY_SECONDS,
    }

    def log_mel(
        self, audio: NDArray[Any], n_mels: int = 80, *, pad_to: int | None = None
    ) -> NDArray[np.float32]:
        clips = np.atleast_2d(audio)
        lengths = np.full(len(clips), clips.shape[1], np.int64)
        features, _ = _preprocessor(n_mels)(clips, lengths)
        return features if audio.ndim == 2 else features[0]


front_end = _OnnxAsr()
