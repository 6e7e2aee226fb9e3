"""The front-end of Voxtral Realtime in Hugging Face's transformers, computed by the kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers.models.voxtral_realtime import feature_extraction_voxtral_realtime as original

from whisper_mel_mojo.arguments import HOP, form_of
from whisper_mel_mojo.features import compute

_N_FFT = 400
_LEAD = 120
"""Zeros before samples whose frames are not centred: the third frame begins with the samples."""


class VoxtralRealtimeFeatureExtractor(original.VoxtralRealtimeFeatureExtractor):  # type: ignore[misc]
    """transformers' ``VoxtralRealtimeFeatureExtractor``, computed by the kernel.

    ``VoxtralRealtimeFeatureExtractor.from_dict(processor.feature_extractor.to_dict())`` takes the
    place of a processor's. Arguments and results are the original's, masks included, but a clip
    with NaN or infinity has NaN features throughout.

    The original computes what this model does not use: other sizes, rates and numbers of bands
    than 80 and 128, the clip's own maximum (``global_log_mel_max=None``), clips that are too short
    for a frame, and other devices than the CPU.
    """

    def _torch_extract_fbank_features(
        self, waveform: torch.Tensor, device: Any = "cpu", center: bool = True
    ) -> torch.Tensor:
        n = waveform.shape[-1]
        shortest = _N_FFT // 2 + 1 if center else _N_FFT
        if str(device) != "cpu" or not self._is_the_models() or n < shortest:
            return super()._torch_extract_fbank_features(waveform, device, center)
        clips = waveform.numpy()
        first, count = 0, n // HOP
        if not center:
            clips = np.pad(clips, ((0, 0), (_LEAD, 0)))
            first, count = 2, (n - _N_FFT) // HOP
        form = form_of(self.global_log_mel_max, "float32")
        features = compute(clips, self.feature_size, None, None, None, None, form, nan=True)
        return torch.from_numpy(features[..., first : first + count])

    def _is_the_models(self) -> bool:
        """Return whether the kernel can compute these features."""
        sizes = (self.sampling_rate, self.hop_length, self.n_fft)
        has_maximum = self.global_log_mel_max is not None
        return sizes == (16_000, HOP, _N_FFT) and self.feature_size in (80, 128) and has_maximum
