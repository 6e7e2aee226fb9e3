"""mlx-whisper: ``audio.log_mel_spectrogram`` on MLX, here on its CPU backend."""

from __future__ import annotations

from typing import Any, ClassVar

import mlx.core as mx
import numpy as np
from mlx_whisper.audio import log_mel_spectrogram
from numpy.typing import NDArray

from whisper_mel_conformance.peers import versions


class _MlxWhisper:
    name = "mlx-whisper"
    device = "cpu"
    versions = versions("mlx-whisper", "mlx")
    capabilities: ClassVar[dict[str, Any]] = {"n_mels": (80, 128), "pad_to": True}

    def log_mel(
        self, audio: NDArray[Any], n_mels: int = 80, *, pad_to: int | None = None
    ) -> NDArray[np.float32]:
        missing = 0 if pad_to is None else pad_to - audio.size
        samples = mx.array(np.ascontiguousarray(audio))
        return np.ascontiguousarray(np.array(log_mel_spectrogram(samples, n_mels, missing)).T)


front_end = _MlxWhisper()
