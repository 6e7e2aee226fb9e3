"""lhotse: its feature extractor ``WhisperFbank`` (PyTorch), which returns frames by bands."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from lhotse.features.whisper_fbank import WhisperFbank, WhisperFbankConfig
from numpy.typing import NDArray

from whisper_mel_conformance.peers import versions


@lru_cache(maxsize=2)
def _extractor(n_mels: int) -> WhisperFbank:
    return WhisperFbank(WhisperFbankConfig(num_filters=n_mels))


class _Lhotse:
    name = "lhotse"
    device = "cpu"
    versions = versions("lhotse", "torch")
    capabilities: ClassVar[dict[str, Any]] = {"n_mels": (80, 128)}

    def log_mel(self, audio: NDArray[Any], n_mels: int = 80) -> NDArray[np.float32]:
        samples = np.require(audio, requirements=["C", "W"])
        features: NDArray[np.float32] = _extractor(n_mels).extract(samples, 16000).T
        return np.ascontiguousarray(features)


front_end = _Lhotse()
