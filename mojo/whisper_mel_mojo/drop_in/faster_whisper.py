"""The front-end of faster-whisper, computed by the kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
from faster_whisper import feature_extractor as original
from numpy.typing import NDArray

from whisper_mel_mojo.arguments import as_array
from whisper_mel_mojo.drop_in.propagating import SHORTEST_BY_NUMPY, log_mel


class FeatureExtractor(original.FeatureExtractor):  # type: ignore[misc]
    """faster-whisper's ``feature_extractor.FeatureExtractor`` by the kernel; it can be pickled.

    Raises ``ValueError`` for a rate, hop or transform size other than Whisper's.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        kind = (self.sampling_rate, self.hop_length, self.n_fft)
        if kind != (16_000, 160, 400) or len(self.mel_filters) not in (80, 128):
            raise ValueError(
                f"sampling_rate, hop_length, n_fft={kind}, feature_size={len(self.mel_filters)}: "
                "expected (16000, 160, 400) and 80 or 128"
            )

    def __call__(
        self, waveform: NDArray[Any], padding: int = 160, chunk_length: int | None = None
    ) -> NDArray[np.float32]:
        if chunk_length is not None:
            self.n_samples = chunk_length * self.sampling_rate
            self.nb_max_frames = self.n_samples // self.hop_length
        samples = as_array(waveform, np.float32)
        n_mels = len(self.mel_filters)
        return log_mel(samples, n_mels, padding or 0, shortest=SHORTEST_BY_NUMPY)
