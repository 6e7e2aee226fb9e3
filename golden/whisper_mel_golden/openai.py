"""The pinned openai-whisper, whose output the goldens are."""

from __future__ import annotations

from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from whisper_mel_golden import machine

VERSION = "20250625"


def installed_version() -> str | None:
    """Return openai-whisper's version, or None where it or torch is not installed."""
    try:
        metadata.version("torch")
        return metadata.version("openai-whisper")
    except metadata.PackageNotFoundError:
        return None


def require() -> None:
    """Raise ``RuntimeError`` if the pinned openai-whisper is not installed."""
    found = installed_version()
    if found != VERSION:
        raise RuntimeError(
            f"goldens come from openai-whisper {VERSION}, here is {found or 'none'}: "
            "install whisper-mel-golden[make]"
        )


def whisper_features(
    audio: NDArray[np.generic], n_mels: int, pad_to: int | None, smoothing: str | None
) -> NDArray[np.float32]:
    """Compute the features of a clip with openai-whisper and torch, on the CPU.

    int16 is divided by 32768, as openai-whisper's ``load_audio`` does. Smoothing is torch's
    ``avg_pool2d``: ``valid`` without padding, ``same`` with padding that is not counted.
    """
    import torch
    from whisper.audio import log_mel_spectrogram

    samples = audio.astype(np.float32)
    if audio.dtype == np.int16:
        samples /= 32768.0
    padding = 0 if pad_to is None else pad_to - samples.size
    with machine.one_thread():
        features = log_mel_spectrogram(samples, n_mels, padding=padding, device="cpu")
        if smoothing is not None:
            pad = {"valid": 0, "same": 1}[smoothing]
            features = torch.nn.functional.avg_pool2d(
                features[None], 3, stride=1, padding=pad, count_include_pad=False
            )[0]
    result: NDArray[np.float32] = features.numpy()
    return result


def made_with() -> dict[str, str]:
    """Return the versions and the processor that goldens made here come from."""
    return machine.made_with("openai-whisper", "torch", "numpy")
