"""The triangular mel filterbank, bit for bit the one that Whisper's models were trained with."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_mel_reference.spec import WHISPER, FrontEndSpec, require_count

# Slaney's scale (Auditory Toolbox, Technical Report 1998-010, "MakeERBFilters / mfcc"): linear
# below 1000 Hz, 200/3 Hz to a mel, then logarithmic, 27 mel to a factor of 6.4.
_HZ_PER_MEL = 200.0 / 3.0
_LOG_FROM_HZ = 1000.0
_LOG_FROM_MEL = _LOG_FROM_HZ / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(hz: float, scale: str) -> float:
    """Convert hertz to mel; ``slaney`` as above, ``htk`` 2595 log10(1 + f / 700)."""
    if scale == "htk":
        return float(2595.0 * np.log10(1.0 + hz / 700.0))
    if hz < _LOG_FROM_HZ:
        return hz / _HZ_PER_MEL
    return float(_LOG_FROM_MEL + np.log(hz / _LOG_FROM_HZ) / _LOG_STEP)


def mel_to_hz(mel: NDArray[np.float64], scale: str) -> NDArray[np.float64]:
    """Convert mel to hertz, the inverse of :func:`hz_to_mel`, for arrays."""
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    linear = _HZ_PER_MEL * mel
    logarithmic = _LOG_FROM_HZ * np.exp(_LOG_STEP * (mel - _LOG_FROM_MEL))
    return np.where(mel >= _LOG_FROM_MEL, logarithmic, linear)


def mel_filterbank(n_mels: int = 80, spec: FrontEndSpec = WHISPER) -> NDArray[np.float32]:
    """Return the weights of the mel bands, float32, ``(n_mels, n_fft // 2 + 1)``, read-only.

    Bit-equal to openai-whisper's ``mel_filters.npz`` for 80 and 128 bands. Those weights were
    rounded twice, and so are these: the triangle to float32, then its product with the float64
    norm ``2 / (f[i+2] - f[i])`` (a single rounding differs in the last bit of many weights).
    """
    n_mels = require_count("n_mels", n_mels, at_least=1)
    bins = spec.n_fft // 2 + 1, spec.sample_rate / spec.n_fft
    return _filterbank(n_mels, *bins, spec.mel_scale, spec.mel_norm, spec.f_min, spec.f_max)


@lru_cache(maxsize=256)
def _filterbank(
    n_mels: int, n_bins: int, apart: float, scale: str, norm: str | None, f_min: float, f_max: float
) -> NDArray[np.float32]:
    """Compute the weights for bins that lie so many hertz ``apart``."""
    low, high = (hz_to_mel(hz, scale) for hz in (f_min, f_max))
    edges = mel_to_hz(np.linspace(low, high, n_mels + 2), scale)
    below = edges[:, np.newaxis] - np.arange(n_bins) * apart
    width = np.diff(edges)[:, np.newaxis]
    triangles = np.minimum(-below[:-2] / width[:-1], below[2:] / width[1:])
    # np.maximum would give 0.0 where a band's lower edge is a bin; Whisper's weights have -0.0.
    weights: NDArray[Any] = np.where(triangles < 0.0, 0.0, triangles).astype(np.float32)
    if norm == "slaney":
        area = 2.0 / (edges[2:] - edges[:-2])
        weights = (weights * area[:, np.newaxis]).astype(np.float32)
    weights.flags.writeable = False
    return weights
