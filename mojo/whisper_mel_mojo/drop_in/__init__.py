"""One-line replacements for the front-ends of Whisper's users.

They take and return what the originals do. NaN and infinity are not refused, but make their clip's
features NaN, and every clip of a batch has its own maximum (openai-whisper: one for the batch).

The class for transformers is ``whisper_mel_mojo.drop_in.transformers.WhisperFeatureExtractor``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from whisper_mel_mojo.drop_in.propagating import log_mel

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
    array or a tensor of shape ``(n,)`` or ``(batch, n)``; ``padding`` zeros are counted, not
    appended. The features of CUDA tensors are computed there, others on the CPU; they lie on
    ``device``, else on the audio's, and have no gradient. Raises as
    :func:`whisper_mel_mojo.log_mel`, but for samples that are not finite.
    """
    import torch

    if isinstance(audio, str):
        from whisper.audio import load_audio

        audio = load_audio(audio)
    n = audio.shape[-1] if audio.ndim else 0
    pad_to = n + padding if padding > 0 else None
    if isinstance(audio, torch.Tensor) and audio.is_cuda:
        from whisper_mel_mojo import torch as operator

        features = operator.log_mel(audio.detach(), n_mels, pad_to=pad_to)
        return features if device is None else features.to(device)
    where = torch.device("cpu")
    if isinstance(audio, torch.Tensor):
        where = audio.device
        audio = audio.detach().cpu().numpy()
    return torch.from_numpy(log_mel(audio, n_mels, pad_to)).to(where if device is None else device)


def faster_whisper_feature_extractor(*arguments: Any, **options: Any) -> Any:
    """A ``faster_whisper.feature_extractor.FeatureExtractor`` that computes by the kernel.

    ``model.feature_extractor = faster_whisper_feature_extractor(**model.feat_kwargs)``. Takes the
    original's arguments; raises ``ValueError`` for another rate, hop or size of transform.
    """
    from whisper_mel_mojo.drop_in.faster_whisper import FeatureExtractor

    return FeatureExtractor(*arguments, **options)
