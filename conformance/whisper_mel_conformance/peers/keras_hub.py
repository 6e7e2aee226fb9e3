"""KerasHub: its layer ``WhisperAudioConverter``, on NumPy as in an environment without TensorFlow.

It pads to a whole number of seconds (default: 30) and returns frames by bands.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras defaults to TensorFlow

from keras_hub.layers import WhisperAudioConverter

from whisper_mel_conformance.peers import versions

_SECOND = 16000


@lru_cache(maxsize=8)
def _converter(n_mels: int, seconds: int) -> Any:
    return WhisperAudioConverter(num_mels=n_mels, max_audio_length=seconds)


class _KerasHub:
    name = "keras-hub"
    device = "cpu"
    versions = versions("keras-hub", "keras", "numpy")
    capabilities: ClassVar[dict[str, Any]] = {
        "n_mels": (80, 128),
        "pad_to": True,
        "batch": True,
        "multiple_of": _SECOND,
    }

    def log_mel(
        self, audio: NDArray[Any], n_mels: int = 80, *, pad_to: int | None = None
    ) -> NDArray[np.float32]:
        length = audio.shape[-1] if pad_to is None else pad_to
        features = np.asarray(_converter(n_mels, length // _SECOND)(audio))
        return np.ascontiguousarray(features.swapaxes(-2, -1))


front_end = _KerasHub()
