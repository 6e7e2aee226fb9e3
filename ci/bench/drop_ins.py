"""Drop-ins and their originals, called as their users call them: factories of front-ends.

Audio of shape ``(clips, n)`` is handed to transformers as a list of clips.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

from whisper_mel_conformance.peers import leave_out_torchaudio_library, versions

leave_out_torchaudio_library()  # which transformers imports


@dataclasses.dataclass(frozen=True)
class Used:
    """A front-end whose result is what its users get: an array, or a tensor of PyTorch."""

    log_mel: Callable[[Any], Any]
    versions: dict[str, str]
    capabilities: ClassVar[dict[str, Any]] = {"batch": True}


def transformers() -> Used:
    from whisper_mel_mojo.drop_in.transformers import WhisperFeatureExtractor

    return _extracting(WhisperFeatureExtractor())


def transformers_original() -> Used:
    from transformers import WhisperFeatureExtractor

    return _extracting(WhisperFeatureExtractor())


def _extracting(extractor: Any) -> Used:
    def log_mel(audio: Any) -> Any:
        return extractor(list(audio), sampling_rate=16_000, return_tensors="pt")["input_features"]

    return Used(log_mel, versions("transformers", "torch"))


def faster_whisper() -> Used:
    from whisper_mel_mojo.drop_in import faster_whisper_feature_extractor

    return _faster(faster_whisper_feature_extractor())


def faster_whisper_original() -> Used:
    from faster_whisper.feature_extractor import FeatureExtractor

    return _faster(FeatureExtractor())


def _faster(extractor: Any) -> Used:
    return Used(extractor, versions("faster-whisper", "numpy"))


def openai_whisper() -> Used:
    from whisper_mel_mojo.drop_in import log_mel_spectrogram

    return Used(log_mel_spectrogram, _of_openai())


def openai_whisper_original() -> Used:
    from whisper.audio import log_mel_spectrogram

    return Used(log_mel_spectrogram, _of_openai())


def _of_openai() -> dict[str, str]:
    return versions("openai-whisper", "torch")
