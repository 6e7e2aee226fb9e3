"""Peers that the kernel is timed against on the same device, as functions of CUDA tensors.

A peer takes float32 of shape ``(batch, n)`` on a device and returns features there, unless its note
says otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from whisper_mel_reference import mel_filterbank

Peer = Callable[[Any], Any]
NOTES = {
    "torch-stft": "the same steps as openai-whisper's in PyTorch, one maximum for each clip",
    "torch-compiled": "the same by torch.compile",
    "openai-whisper": "whisper.audio.log_mel_spectrogram; one maximum for the whole batch",
    "transformers-torch": "audio and features in the host's memory, which is how it is called",
    "torchaudio": "MelSpectrogram with Slaney's scale, logarithm and clamp by PyTorch",
    "flashmel": "MelSpectrogram in one launch (cuFFTDx); logarithm and clamp by PyTorch",
    "cupy": "frames, rfft and a matrix product by CuPy (cuFFT, cuBLAS)",
}
BASELINE = "openai-whisper"
SUBSTITUTE = "torch-stft"
"""The baseline of the goal's ratio if openai-whisper is not installed."""


def peers(n_mels: int, device: str) -> dict[str, Peer | str]:
    """Create each peer; a message stands for one that is absent.

    All but CuPy's and flashmel's work on CPUs.
    """
    made: dict[str, Peer | str] = {}
    for name, make in _MAKERS.items():
        try:
            made[name] = make(n_mels, device)
        except Exception as error:  # any error of a library excludes that library only
            made[name] = f"{type(error).__name__}: {str(error)[:300]}"
    return made


def torch_stft(n_mels: int, device: str) -> Peer:
    import torch

    window = torch.hann_window(400, device=device)
    filters = torch.tensor(mel_filterbank(n_mels), dtype=torch.float32, device=device)

    def log_mel(audio: Any) -> Any:
        spectrum = torch.stft(audio, 400, 160, window=window, return_complex=True)
        return _finished(torch, filters @ spectrum[..., :-1].abs().square())

    return log_mel


def _finished(torch: Any, energies: Any) -> Any:
    logs = torch.log10(torch.clamp(energies, min=1e-10))
    return (torch.maximum(logs, logs.amax((-2, -1), keepdim=True) - 8.0) + 4.0) / 4.0


def _compiled(n_mels: int, device: str) -> Peer:
    import torch

    peer: Peer = torch.compile(torch_stft(n_mels, device))
    return peer


def _openai(n_mels: int, device: str) -> Peer:
    from whisper.audio import log_mel_spectrogram

    return functools.partial(log_mel_spectrogram, n_mels=n_mels)


def _transformers(n_mels: int, device: str) -> Peer:
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=n_mels)

    def log_mel(audio: Any) -> Any:
        return extractor._torch_extract_fbank_features(audio, device)

    return log_mel


def _torchaudio(n_mels: int, device: str) -> Peer:
    import torch
    from torchaudio.transforms import MelSpectrogram

    transform = MelSpectrogram(
        16_000, 400, hop_length=160, n_mels=n_mels, norm="slaney", mel_scale="slaney"
    ).to(device)

    def log_mel(audio: Any) -> Any:
        return _finished(torch, transform(audio)[..., :-1])

    return log_mel


def _flashmel(n_mels: int, device: str) -> Peer:
    from flashmel import MelSpectrogram

    transform = MelSpectrogram(
        16_000, n_fft=400, hop_length=160, n_mels=n_mels, norm="slaney", mel_scale="slaney"
    )

    def log_mel(audio: Any) -> Any:
        import torch

        return _finished(torch, transform(audio)[..., :-1])

    return log_mel


def _cupy(n_mels: int, device: str) -> Peer:
    import cupy
    import torch

    # A matrix product of frames: PyTorch mirrors the ends, CuPy does the rest
    window = cupy.asarray(np.float32(np.hanning(401)[:-1]))
    filters = cupy.asarray(np.float32(mel_filterbank(n_mels)).T)
    frames_of = cupy.lib.stride_tricks.sliding_window_view

    def log_mel(audio: Any) -> Any:
        padded = cupy.asarray(torch.nn.functional.pad(audio, (200, 200), mode="reflect"))
        frames = frames_of(padded, 400, axis=-1)[:, ::160][:, :-1]
        spectrum = cupy.fft.rfft(frames * window, axis=-1)
        energies = (spectrum.real**2 + spectrum.imag**2) @ filters
        logs = cupy.log10(cupy.maximum(energies, np.float32(1e-10)))
        logs = cupy.maximum(logs, logs.max((-2, -1), keepdims=True) - np.float32(8))
        return (logs.transpose(0, 2, 1) + np.float32(4)) / np.float32(4)

    return log_mel


_MAKERS: dict[str, Callable[[int, str], Peer]] = {
    "torch-stft": torch_stft,
    "torch-compiled": _compiled,
    "openai-whisper": _openai,
    "transformers-torch": _transformers,
    "torchaudio": _torchaudio,
    "flashmel": _flashmel,
    "cupy": _cupy,
}
ON_HOST = {"transformers-torch"}
"""Peers that take NumPy arrays."""
