"""One-line replacements for the front-ends of Whisper's users.

They take and return what the originals do. NaN and infinity are not refused, but make their clip's
features NaN, and every clip of a batch has its own maximum (openai-whisper: one for the batch).

The class for transformers is ``whisper_mel_mojo.drop_in.transformers.WhisperFeatureExtractor``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

__all__ = ["faster_whisper_feature_extractor", "log_mel_spectrogram"]


def log_mel_spectrogram(
    audio: str | NDArray[Any] | torch.Tensor,
    n_mels: int = 80,
    padding: int = 0,
    device: str | torch.device | None = None,
) -> torch.Tensor:
    """``whisper.audio.log_mel_spectrogram`` of openai-whisper.

    Parameters and result are the original's: a path (decoded by openai-whisper, with ffmpeg), an
    array or a tensor of shape ``(n,)`` or ``(batch, n)``, of float64 and int16 PCM besides;
    ``padding`` zeros are counted, not appended. The features of CUDA tensors are computed there,
    others on the CPU; they lie on ``device``, else on the audio's, and have a gradient if the audio
    wants one. Raises as :func:`whisper_mel_mojo.log_mel`, but for samples that are not finite.
    """
    from whisper_mel_mojo.drop_in import openai_whisper

    return openai_whisper.log_mel_spectrogram(audio, n_mels, padding, device)


def faster_whisper_feature_extractor(*arguments: Any, **options: Any) -> Any:
    """A ``faster_whisper.feature_extractor.FeatureExtractor`` that computes by the kernel.

    ``model.feature_extractor = faster_whisper_feature_extractor(**model.feat_kwargs)``. Takes the
    original's arguments; raises ``ValueError`` for another rate, hop or size of transform.
    """
    from whisper_mel_mojo.drop_in.faster_whisper import FeatureExtractor

    return FeatureExtractor(*arguments, **options)
