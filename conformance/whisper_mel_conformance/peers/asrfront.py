"""asrfront: ``whisper.log_mel``, in C with an FFT of its own."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from asrfront import whisper
from numpy.typing import NDArray

from whisper_mel_conformance.peers import versions

_THIRTY_SECONDS = 480_000


class _Asrfront:
    name = "asrfront"
    device = "cpu"
    versions = versions("asrfront")
    capabilities: ClassVar[dict[str, Any]] = {
        "n_mels": (80, 128),
        "pad_to": True,
        "dtypes": ("float32", "float64", "int16"),
        "batch": True,
    }

    def log_mel(
        self, audio: NDArray[Any], n_mels: int = 80, *, pad_to: int | None = None
    ) -> NDArray[np.float32]:
        if pad_to not in (None, _THIRTY_SECONDS):
            raise NotImplementedError("pads to 30 s only")
        pads = pad_to is not None
        if audio.ndim == 2:
            batch = whisper.log_mel_batch(audio, n_mels, pad_or_trim=pads)
            return np.stack(batch) if isinstance(batch, list) else batch
        return whisper.log_mel(audio, n_mels, pad_or_trim=pads)


front_end = _Asrfront()
