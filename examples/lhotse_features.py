"""Features of the kernel in lhotse: an extractor to use in place of ``WhisperFbank``.

    cuts.compute_and_store_features(MelExtractor(), storage_path="features")

``WhisperFbank`` fills up features with a frame of zeros where lhotse counts one more frame than
Whisper does. This one repeats the last frame there, as lhotse demands that number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from lhotse.features.base import FeatureExtractor, register_extractor
from lhotse.utils import compute_num_frames_from_samples
from numpy.typing import NDArray
from whisper_mel_mojo import log_mel


@dataclass
class MelConfig:
    """The number of bands, 80 or 128, and of threads."""

    n_mels: int = 80
    threads: int = 1

    def to_dict(self) -> dict[str, Any]:
        return vars(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> MelConfig:
        return MelConfig(**data)


@register_extractor
class MelExtractor(FeatureExtractor):  # type: ignore[misc]  # lhotse is untyped
    """Whisper's features, frames by bands, as lhotse stores them."""

    name = "whisper-mel"
    config_type = MelConfig
    frame_shift = 0.01

    def feature_dim(self, sampling_rate: int) -> int:
        return self.config.n_mels

    def extract(self, samples: NDArray[Any], sampling_rate: int) -> NDArray[np.float32]:
        mono = np.asarray(samples).reshape(-1)
        features = log_mel(
            mono, self.config.n_mels, sampling_rate=sampling_rate, threads=self.config.threads
        )
        frames = compute_num_frames_from_samples(mono.size, self.frame_shift, sampling_rate)
        return np.pad(features.T, ((0, frames - features.shape[1]), (0, 0)), "edge")
