"""faster-whisper: its own ``FeatureExtractor`` on NumPy, in float32."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor
from numpy.typing import NDArray

from whisper_mel_conformance.peers import versions

LIGHT = True


@lru_cache(maxsize=2)
def _extractor(n_mels: int) -> FeatureExtractor:
    return FeatureExtractor(feature_size=n_mels)


class _FasterWhisper:
    name = "faster-whisper"
    device = "cpu"
    versions = versions("faster-whisper", "numpy")
    capabilities: ClassVar[dict[str, Any]] = {"n_mels": (80, 128), "pad_to": True}

    def log_mel(
        self, audio: NDArray[Any], n_mels: int = 80, *, pad_to: int | None = None
    ) -> NDArray[np.float32]:
        # `padding` counts zeros. Its default of 160 is for the transcriber, not for the front-end.
        missing = 0 if pad_to is None else pad_to - audio.size
        features: NDArray[np.float32] = _extractor(n_mels)(audio, padding=missing)
        return features


front_end = _FasterWhisper()
