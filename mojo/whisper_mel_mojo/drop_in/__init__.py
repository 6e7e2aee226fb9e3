"""One-line replacements for the front-ends of Whisper's users.

They have the originals' arguments and results. A clip with NaN or infinity has NaN features and is
not refused. Every clip of a batch has its own maximum (openai-whisper: one for the batch). The
class for transformers is ``whisper_mel_mojo.drop_in.transformers.WhisperFeatureExtractor``.
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
    """Compute features like openai-whisper's ``whisper.audio.log_mel_spectrogram``.

    Parameters and result are the original's: ``audio`` is a path (decoded by openai-whisper, with
    ffmpeg), or an array or tensor of shape ``(n,)`` or ``(batch, n)``, which may also be float64 or
    int16 PCM. ``padding`` zeros are counted, not appended. Features of CUDA tensors are computed on
    their device, others on the CPU. They are returned on ``device``, else on the audio's device,
    and have a gradient if the audio requires one. Raises as :func:`whisper_mel_mojo.log_mel`, but
    not for samples that are not finite.
    """
    from whisper_mel_mojo.drop_in import openai_whisper

    return openai_whisper.log_mel_spectrogram(audio, n_mels, padding, device)


def faster_whisper_feature_extractor(*arguments: Any, **options: Any) -> Any:
    """Create a ``faster_whisper.feature_extractor.FeatureExtractor`` that uses the kernel.

    ``model.feature_extractor = faster_whisper_feature_extractor(**model.feat_kwargs)``. Takes the
    original's arguments; raises ``ValueError`` for another rate, hop or transform size.
    """
    from whisper_mel_mojo.drop_in.faster_whisper import FeatureExtractor

    return FeatureExtractor(*arguments, **options)
