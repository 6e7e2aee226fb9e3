"""``log_mel`` with the error behaviour of the libraries it replaces: NaN propagates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_mel_mojo.arguments import HOP, MIN_SAMPLES, integer
from whisper_mel_mojo.features import compute

# The originals mirror 200 samples at both ends of a clip. PyTorch uses one reflection and refuses
# shorter clips. NumPy reflects repeatedly and needs only one frame.
SHORTEST_BY_TORCH = MIN_SAMPLES
SHORTEST_BY_NUMPY = HOP


def log_mel(
    audio: NDArray[Any],
    n_mels: int,
    padding: int = 0,
    out: NDArray[np.float32] | None = None,
    *,
    shortest: int = SHORTEST_BY_TORCH,
) -> NDArray[np.float32]:
    """Compute :func:`whisper_mel_mojo.log_mel` of clips followed by ``padding`` zeros.

    ``shortest`` is the smallest number of samples, padding included, that the original accepts.
    Clips without samples are silence. Clips that are not finite, or whose power overflows, become
    NaN.

    Raises ``ValueError`` for shorter clips, and else ``TypeError`` and ``ValueError`` as that does.
    """
    padding = integer("padding", padding)
    pad_to = None
    if audio.ndim in (1, 2):  # the kernel refuses other ranks
        audio, padding = _long_enough(audio, padding, shortest)
        pad_to = audio.shape[-1] + padding if padding else None
    return compute(audio, n_mels, pad_to, None, out, None, nan=True)


def check_length(n_samples: int, padding: int, shortest: int) -> None:
    """Raise ``ValueError`` if the original computes no features of so many samples."""
    if padding < 0:
        raise ValueError(f"padding={padding}: expected at least 0")
    length = n_samples + padding
    if length < shortest:
        raise ValueError(
            f"audio has {length} samples, padding included: expected at least {shortest}"
        )


def _long_enough(audio: NDArray[Any], padding: int, shortest: int) -> tuple[NDArray[Any], int]:
    """Lengthen clips as the kernel needs; return them and the number of zeros that remain.

    NumPy reflects clips of 160 to 200 samples repeatedly. Their first frame equals that of the clip
    continued by its reflection up to 201 samples.
    """
    n = audio.shape[-1]
    length = n + padding
    check_length(n, padding, shortest)
    if n > 0 and length >= MIN_SAMPLES:
        return audio, padding
    zeros = min(padding, MIN_SAMPLES)
    clips = [(0, 0)] * (audio.ndim - 1)
    audio = np.pad(audio, [*clips, (0, zeros)])
    mirrored = max(MIN_SAMPLES - length, 0)
    return np.pad(audio, [*clips, (0, mirrored)], "reflect"), padding - zeros
