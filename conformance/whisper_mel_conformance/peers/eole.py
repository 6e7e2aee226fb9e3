"""eole: ``log_mel_spectrogram`` of its audio corpora, on PyTorch with a filterbank of its own."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from eole.inputters.audio_utils import MelSpectrogram, log_mel_spectrogram
from numpy.typing import NDArray

from whisper_mel_conformance.peers import versions


@lru_cache(maxsize=2)
def _transform(n_mels: int) -> MelSpectrogram:
    """Return the transform that eole's corpora and predictor make."""
    return MelSpectrogram(
        sample_rate=16000,
        n_fft=400,
        hop_length=160,
        n_mels=n_mels,
        power=2.0,
        norm="slaney",
        mel_scale="slaney",
        f_max=8000.0,
    )


class _Eole:
    name = "eole"
    device = "cpu"
    versions = versions("eole", "torch")
    capabilities: ClassVar[dict[str, Any]] = {"n_mels": (80, 128), "pad_to": True}

    def log_mel(
        self, audio: NDArray[Any], n_mels: int = 80, *, pad_to: int | None = None
    ) -> NDArray[np.float32]:
        samples = torch.from_numpy(np.require(audio, requirements=["C", "W"]))
        if pad_to is not None:  # as its corpora do with what is shorter than 30 s, and longer
            samples = torch.nn.functional.pad(samples, (0, pad_to - len(samples)))
        frames = len(samples) // 160
        return log_mel_spectrogram(samples, _transform(n_mels), frames).numpy()


front_end = _Eole()
