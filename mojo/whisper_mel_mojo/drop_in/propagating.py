"""The kernel with the manners of the originals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_mel_mojo import features


def log_mel(
    audio: NDArray[Any],
    n_mels: int,
    pad_to: int | None = None,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """As :func:`whisper_mel_mojo.log_mel`, with two exceptions: clips whose samples are not finite,
    or overflow, become NaN, and clips of no samples are taken, if they are padded.
    """
    if pad_to and audio.shape[-1:] == (0,):
        audio = np.zeros((*audio.shape[:-1], 1), np.float32)
    samples = features.kernel_samples(audio)
    if out is None:
        shape = features.plan(samples.shape[-1], n_mels, pad_to, None).shape
        out = np.empty((*samples.shape[:-1], *shape), np.float32)
    first = out[..., :1, :1]  # of each clip: NaN is all of it or nothing
    first[...] = 0
    try:
        return features.log_mel(samples, n_mels, pad_to=pad_to, out=out)
    except ValueError:
        if not np.isnan(first).any():  # then it was the arguments
            raise
        return out
