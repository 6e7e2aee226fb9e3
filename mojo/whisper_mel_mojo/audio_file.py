"""Recordings as samples for the kernel (needs soundfile and soxr: ``whisper-mel-mojo[audio]``)."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000


class AudioError(ValueError):
    """A file cannot be decoded; the message names it and says why."""


def load_audio(path: str | Path) -> NDArray[np.float32]:
    """Read the samples of a recording: float32 of shape ``(n,)``, mono, 16 000 a second.

    Reads every format that libsndfile does (WAV, FLAC, Ogg, MP3 …). Channels are averaged; other
    rates are converted by soxr at high quality. Raises :class:`AudioError` for a file that
    libsndfile cannot decode, without samples, or with samples that are not finite, ``ImportError``
    without soundfile or soxr.
    """
    path = Path(path)
    if not path.is_file():
        raise AudioError(f"{path} {'is no file' if path.exists() else 'does not exist'}")
    return decode_audio(path, str(path))


def decode_audio(file: Path | BinaryIO, name: str) -> NDArray[np.float32]:
    """Read a recording like :func:`load_audio`, or an open file; ``name`` is for messages."""
    try:
        import soundfile
        import soxr
    except ImportError as error:
        raise ImportError(
            f'{error}: reading files needs it: pip install "whisper-mel-mojo[audio]"'
        ) from error
    try:
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        reason = getattr(error, "error_string", None) or error.strerror or error
        raise AudioError(f"{name} is no audio file that libsndfile reads: {reason}") from error
    if samples.size == 0:
        raise AudioError(f"{name} has no samples")
    wrong = np.count_nonzero(~np.isfinite(samples))
    if wrong:
        raise AudioError(f"{name}: {wrong} of {samples.size} samples are NaN or infinite")
    mono: NDArray[np.float32] = samples.mean(axis=1)
    if rate != SAMPLE_RATE:
        mono = soxr.resample(mono, rate, SAMPLE_RATE)
    return mono
