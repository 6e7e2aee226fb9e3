"""transformers without PyTorch: ``WhisperFeatureExtractor`` on NumPy, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.peers import leave_out_torchaudio_library, versions

leave_out_torchaudio_library()

from transformers.models.whisper import feature_extraction_whisper  # noqa: E402

LIGHT = True


@lru_cache(maxsize=2)
def extractor(n_mels: int) -> feature_extraction_whisper.WhisperFeatureExtractor:
    return feature_extraction_whisper.WhisperFeatureExtractor(feature_size=n_mels)


def extract(audio: NDArray[Any], n_mels: int, pad_to: int | None) -> NDArray[np.float32]:
    """Compute the features by ``WhisperFeatureExtractor.__call__``, without its default 30 s."""
    options = {"padding": False} if pad_to is None else {"padding": "max_length"}
    batch = extractor(n_mels)(
        audio,
        sampling_rate=16000,
        truncation=False,
        max_length=pad_to,
        return_tensors="np",
        **options,
    )
    features: NDArray[np.float32] = batch["input_features"]
    return features if audio.ndim == 2 else features[0]


def extract_with_lengths(
    audio: NDArray[Any], lengths: Sequence[int], n_mels: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Compute the features of clips that it pads itself, and the mask of their frames."""
    clips = [clip[:length] for clip, length in zip(audio, lengths, strict=True)]
    batch = extractor(n_mels)(
        clips,
        sampling_rate=16000,
        truncation=False,
        padding="max_length",
        max_length=audio.shape[1],
        return_attention_mask=True,
        return_tensors="np",
    )
    return batch["input_features"], batch["attention_mask"]


class _Transformers:
    name = "transformers"
    device = "cpu"
    versions = versions("transformers", "numpy")
    capabilities: ClassVar[dict[str, Any]] = {"n_mels": (80, 128), "pad_to": True, "batch": True}

    def log_mel(
        self, audio: NDArray[Any], n_mels: int = 80, *, pad_to: int | None = None
    ) -> NDArray[np.float32]:
        # It uses PyTorch wherever that is installed; this adapter judges the path without it.
        feature_extraction_whisper.is_torch_available = lambda: False
        return extract(audio, n_mels, pad_to)

    def with_lengths(
        self, audio: NDArray[Any], lengths: Sequence[int], n_mels: int = 80
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        feature_extraction_whisper.is_torch_available = lambda: False
        return extract_with_lengths(audio, lengths, n_mels)


front_end = _Transformers()
