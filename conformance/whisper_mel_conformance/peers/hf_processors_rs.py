"""hf-processors-rs: ``WhisperFeatureExtractor`` of transformers, written anew in Rust."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from hf_processors_rs import WhisperFeatureExtractor
from numpy.typing import NDArray

from whisper_mel_conformance.peers import versions


@lru_cache(maxsize=2)
def _extractor(n_mels: int) -> WhisperFeatureExtractor:
    return WhisperFeatureExtractor.from_dict(
        {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": n_mels}
    )


class _HfProcessorsRs:
    name = "hf-processors-rs"
    device = "cpu"
    versions = versions("hf-processors-rs")
    capabilities: ClassVar[dict[str, Any]] = {"n_mels": (80, 128), "pad_to": True, "batch": True}

    def log_mel(
        self, audio: NDArray[Any], n_mels: int = 80, *, pad_to: int | None = None
    ) -> NDArray[np.float32]:
        features: NDArray[np.float32] = _extractor(n_mels)(
            audio,
            sampling_rate=16000,
            padding="do_not_pad" if pad_to is None else "max_length",
            max_length=pad_to,
            truncation=False,
            return_tensors="np",
        )["input_features"]
        return features if audio.ndim == 2 else features[0]


front_end = _HfProcessorsRs()
