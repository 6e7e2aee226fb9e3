"""openai-whisper, the origin: ``whisper.audio.log_mel_spectrogram`` (PyTorch, MKL's FFT)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from whisper.audio import log_mel_spectrogram

from whisper_mel_conformance.peers import versions


class _OpenAIWhisper:
    name = "openai-whisper"
    device = "cpu"
    versions = versions("openai-whisper", "torch")
    capabilities: ClassVar[dict[str, Any]] = {"n_mels": (80, 128), "pad_to": True, "batch": True}

    def log_mel(
        self, audio: NDArray[Any], n_mels: int = 80, *, pad_to: int | None = None
    ) -> NDArray[np.float32]:
        missing = 0 if pad_to is None else pad_to - audio.shape[-1]
        # torch cannot wrap memory with negative strides or read-only memory: these are copied.
        samples = torch.from_numpy(np.require(audio, requirements=["C", "W"]))
        return log_mel_spectrogram(samples, n_mels, padding=missing).numpy()


front_end = _OpenAIWhisper()


def on_cuda(audio: NDArray[np.float32], n_mels: int = 80) -> torch.Tensor:
    """Return features in a CUDA device's memory, with openai-whisper's argument for the device."""
    return log_mel_spectrogram(audio, n_mels, device="cuda")
