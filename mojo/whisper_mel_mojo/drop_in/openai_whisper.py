"""The front-end of openai-whisper, computed by the kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from whisper_mel_mojo import torch as operator
from whisper_mel_mojo.arguments import as_array
from whisper_mel_mojo.drop_in import propagating


def log_mel_spectrogram(audio: Any, n_mels: int, padding: int, device: Any) -> Tensor:
    """Compute ``whisper_mel_mojo.drop_in.log_mel_spectrogram``, which describes the arguments."""
    if isinstance(audio, str):
        from whisper.audio import load_audio

        audio = load_audio(audio)
    padding = padding if padding > 0 else 0
    if not isinstance(audio, Tensor):
        samples = as_array(audio)
        if samples.dtype == np.float16:
            samples = samples.astype(np.float32)
        features = torch.from_numpy(propagating.log_mel(samples, n_mels, padding))
        return features if device is None else features.to(device)

    where = audio.device if device is None else torch.device(device)
    if audio.dtype in (torch.float16, torch.bfloat16):
        audio = audio.float()
    if audio.ndim and audio.shape[-1] == 0 and padding:
        audio, padding = torch.nn.functional.pad(audio, (0, 1)), padding - 1
    compute = _by_operator if audio.is_cuda or audio.is_meta else _on_cpu
    features = compute(audio, n_mels, padding)
    return features if features.device == where else features.to(where)


def _by_operator(audio: Tensor, n_mels: int, padding: int) -> Tensor:
    n = audio.shape[-1] if audio.ndim else 0
    if audio.ndim in (1, 2):
        propagating.check_length(n, padding, propagating.SHORTEST_BY_TORCH)
    return operator.log_mel(audio, n_mels, pad_to=n + padding if padding else None)


def _on_cpu(audio: Tensor, n_mels: int, padding: int) -> Tensor:
    samples = audio.cpu()
    if samples.requires_grad and torch.is_grad_enabled():
        features: Tensor = _Propagating.apply(samples, n_mels, padding)
        return features
    return _values(samples, n_mels, padding)


def _values(audio: Tensor, n_mels: int, padding: int) -> Tensor:
    return torch.from_numpy(propagating.log_mel(audio.numpy(force=True), n_mels, padding))


class _Propagating(torch.autograd.Function):  # type: ignore[misc]
    """:func:`propagating.log_mel` of tensors, with the operator's gradient."""

    @staticmethod
    def forward(audio: Tensor, n_mels: int, padding: int) -> Tensor:
        return _values(audio, n_mels, padding)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int, int], output: Tensor) -> None:
        audio, ctx.n_mels, ctx.padding = inputs
        ctx.save_for_backward(audio)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        [audio] = ctx.saved_tensors
        pad_to = audio.shape[-1] + ctx.padding
        return operator.audio_gradient(gradient, audio, ctx.n_mels, pad_to, None), None, None
