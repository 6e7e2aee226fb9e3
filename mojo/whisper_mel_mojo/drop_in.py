"""One-line replacements for the front-ends of Whisper's users.

They take and return what the originals do. NaN and infinity are not refused, but make their clip's
features NaN, and every clip of a batch has its own maximum (openai-whisper: one for the batch).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from whisper_mel_mojo.features import log_mel

if TYPE_CHECKING:
    import torch


def _propagating(audio: NDArray[Any], n_mels: int, padding: int) -> NDArray[np.float32]:
    """The features; NaN where samples are not finite."""
    length = audio.shape[-1] + padding
    out = np.zeros((*audio.shape[:-1], n_mels, length // 160), np.float32)
    try:
        return log_mel(audio, n_mels, pad_to=length if padding else None, out=out)
    except ValueError:
        if not np.isnan(out).any():  # then it was the arguments
            raise
        return out


def log_mel_spectrogram(
    audio: str | NDArray[Any] | torch.Tensor,
    n_mels: int = 80,
    padding: int = 0,
    device: str | torch.device | None = None,
) -> torch.Tensor:
    """``whisper.audio.log_mel_spectrogram`` of openai-whisper.

    Parameters and result are the original's: a path (decoded by openai-whisper, with ffmpeg), an
    array or a tensor of shape ``(n,)`` or ``(batch, n)``; ``padding`` zeros are counted, not
    appended. The features are computed on the CPU, lie on ``device``, else on the audio's, and have
    no gradient. Raises as :func:`whisper_mel_mojo.log_mel`, but for samples that are not finite.
    """
    import torch

    if isinstance(audio, str):
        from whisper.audio import load_audio

        audio = load_audio(audio)
    where = torch.device("cpu")
    if isinstance(audio, torch.Tensor):
        where = audio.device
        audio = audio.detach().cpu().numpy()
    features = torch.from_numpy(_propagating(audio, n_mels, max(padding, 0)))
    return features.to(where if device is None else device)


def faster_whisper_feature_extractor(*arguments: Any, **options: Any) -> Any:
    """A ``faster_whisper.feature_extractor.FeatureExtractor`` that computes by the kernel.

    ``model.feature_extractor = faster_whisper_feature_extractor(**model.feat_kwargs)``. Takes the
    original's arguments; raises ``ValueError`` for another rate, hop or size of transform.
    """
    from faster_whisper.feature_extractor import FeatureExtractor

    class _Extractor(FeatureExtractor):  # type: ignore[misc]
        def __call__(
            self, waveform: NDArray[Any], padding: int = 160, chunk_length: int | None = None
        ) -> NDArray[np.float32]:
            if chunk_length is not None:
                self.n_samples = chunk_length * self.sampling_rate
                self.nb_max_frames = self.n_samples // self.hop_length
            samples = np.asarray(waveform, np.float32)
            return _propagating(samples, len(self.mel_filters), padding or 0)

    extractor = _Extractor(*arguments, **options)
    kind = (extractor.sampling_rate, extractor.hop_length, extractor.n_fft)
    if kind != (16_000, 160, 400) or len(extractor.mel_filters) not in (80, 128):
        raise ValueError(
            f"sampling_rate, hop_length, n_fft={kind}, feature_size={len(extractor.mel_filters)}: "
            "expected (16000, 160, 400) and 80 or 128"
        )
    return extractor
