"""torchaudio: ``transforms.MelSpectrogram`` with Whisper's parameters, then the logarithm.

Its defaults are another mel scale (HTK) and no norm; Whisper's features need both arguments.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from whisper_mel_conformance.peers import leave_out_torchaudio_library, versions

leave_out_torchaudio_library()

from torchaudio.transforms import MelSpectrogram  # noqa: E402


@lru_cache(maxsize=2)
def _transform(n_mels: int) -> Any:
    return MelSpectrogram(
        sample_rate=16000,
        n_fft=400,
        hop_length=160,
        n_mels=n_mels,
        norm="slaney",
        mel_scale="slaney",
    )


class _Torchaudio:
    name = "torchaudio"
    device = "cpu"
    versions = versions("torchaudio", "torch")
    capabilities: ClassVar[dict[str, Any]] = {"n_mels": (80, 128), "batch": True}

    def log_mel(self, audio: NDArray[Any], n_mels: int = 80) -> NDArray[np.float32]:
        samples = torch.from_numpy(np.require(audio, requirements=["C", "W"]))
        mel = _transform(n_mels)(samples)[..., :-1]
        log = mel.clamp(min=1e-10).log10()
        log = torch.maximum(log, log.amax(dim=(-2, -1), keepdim=True) - 8.0)
        features: NDArray[np.float32] = ((log + 4.0) / 4.0).numpy()
        return features


front_end = _Torchaudio()
