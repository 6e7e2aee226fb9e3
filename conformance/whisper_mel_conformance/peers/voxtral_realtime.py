"""Voxtral Realtime's extractor in transformers: a fixed maximum, on ``torch.stft``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.peers import leave_out_torchaudio_library, versions

leave_out_torchaudio_library()

from transformers import VoxtralRealtimeFeatureExtractor  # noqa: E402

MODEL = "voxtral-realtime"

_MAXIMUM = 1.5


@lru_cache(maxsize=1)
def _extractor() -> VoxtralRealtimeFeatureExtractor:
    return VoxtralRealtimeFeatureExtractor()


def _extract(clips: list[NDArray[Any]], pad_to: int | None, **options: Any) -> Any:
    """Call it as its processor does, for a whole recording (``center=True``, the default)."""
    if pad_to is not None:
        options.update(padding="max_length", max_length=pad_to)
    return _extractor()(clips, sampling_rate=16000, return_tensors="np", **options)


class _VoxtralRealtime:
    name = "voxtral-realtime"
    device = "cpu"
    versions = versions("transformers", "torch")
    capabilities: ClassVar[dict[str, Any]] = {
        "n_mels": (128,),
        "maximum": (_MAXIMUM,),
        "pad_to": True,
        "batch": True,
    }

    def log_mel(
        self,
        audio: NDArray[Any],
        n_mels: int = 128,
        *,
        pad_to: int | None = None,
        maximum: float = _MAXIMUM,
    ) -> NDArray[np.float32]:
        # torch takes no memory with negative strides: it is copied.
        samples = np.require(audio, requirements=["C"])
        clips = list(samples) if audio.ndim == 2 else [samples]
        features: NDArray[np.float32] = _extract(clips, pad_to)["input_features"]
        return features if audio.ndim == 2 else features[0]

    def with_lengths(
        self, audio: NDArray[Any], lengths: Sequence[int], n_mels: int = 128
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        clips = [clip[:length] for clip, length in zip(audio, lengths, strict=True)]
        made = _extract(clips, audio.shape[1], return_attention_mask=True)
        return made["input_features"], made["attention_mask"].astype(np.int32)


front_end = _VoxtralRealtime()
