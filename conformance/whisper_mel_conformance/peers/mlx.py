"""The adapter of mlx-whisper and mlx-audio: ``log_mel_spectrogram`` on MLX's CPU backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.peers import versions


class Mlx:
    device = "cpu"
    capabilities: ClassVar[dict[str, Any]] = {"n_mels": (80, 128), "pad_to": True}

    def __init__(self, name: str, log_mel_spectrogram: Callable[..., Any]) -> None:
        self.name = name
        self.versions = versions(name, "mlx")
        self._spectrogram = log_mel_spectrogram

    def log_mel(
        self, audio: NDArray[Any], n_mels: int = 80, *, pad_to: int | None = None
    ) -> NDArray[np.float32]:
        missing = 0 if pad_to is None else pad_to - audio.size
        samples = mx.array(np.ascontiguousarray(audio))
        return np.ascontiguousarray(np.array(self._spectrogram(samples, n_mels, missing)).T)
