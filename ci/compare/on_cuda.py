"""Paths from host samples to features in a CUDA device's memory (state of tests: docs/gpu.md)."""

from __future__ import annotations

from typing import Any

import torch
from whisper.audio import log_mel_spectrogram
from whisper_mel_mojo import gpu


def mojo_gpu(audio: Any, n_mels: int = 80) -> torch.Tensor:
    """Compute ours: the samples are copied to the device, then one launch."""
    return gpu.log_mel(torch.from_numpy(audio).cuda(), n_mels)


def openai_whisper(audio: Any, n_mels: int = 80) -> torch.Tensor:
    """Compute openai-whisper's features, with its argument for the device."""
    return log_mel_spectrogram(audio, n_mels, device="cuda")
