"""transformers with PyTorch: ``WhisperFeatureExtractor`` on ``torch.stft``, in float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.peers import versions
from whisper_mel_conformance.peers.transformers import extract, extract_with_lengths


class _TransformersTorch:
    name = "transformers-torch"
    device = "cpu"
    versions = versions("transformers", "torch")
    capabilities: ClassVar[dict[str, Any]] = {"n_mels": (80, 128), "pad_to": True, "batch": True}

    def log_mel(
        self, audio: NDArray[Any], n_mels: int = 80, *, pad_to: int | None = None
    ) -> NDArray[np.float32]:
        return extract(audio, n_mels, pad_to)

    def with_lengths(
        self, audio: NDArray[Any], lengths: Sequence[int], n_mels: int = 80
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        return extract_with_lengths(audio, lengths, n_mels)


front_end = _TransformersTorch()
