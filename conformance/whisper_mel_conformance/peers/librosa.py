"""librosa: ``librosa.feature.melspectrogram`` with Whisper's parameters, then the logarithm."""

from __future__ import annotations

from typing import Any, ClassVar

import librosa
import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.peers import versions

LIGHT = True


class _Librosa:
    name = "librosa"
    device = "cpu"
    versions = versions("librosa", "numpy")
    capabilities: ClassVar[dict[str, Any]] = {
        "n_mels": (80, 128),
        "dtypes": ("float32", "float64"),
        "batch": True,
    }

    def log_mel(self, audio: NDArray[Any], n_mels: int = 80) -> NDArray[np.float32]:
        mel = librosa.feature.melspectrogram(
            y=audio, sr=16000, n_fft=400, hop_length=160, n_mels=n_mels, pad_mode="reflect"
        )
        log = np.log10(np.maximum(mel[..., :-1], 1e-10))
        log = np.maximum(log, log.max(axis=(-2, -1), keepdims=True) - 8.0)
        return ((log + 4.0) / 4.0).astype(np.float32)


front_end = _Librosa()
