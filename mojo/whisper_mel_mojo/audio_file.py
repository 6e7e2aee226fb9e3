"""Recordings as samples for the kernel (``whisper-mel-mojo[audio]``: every format and rate)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from whisper_mel_mojo.arguments import SAMPLE_RATE
from whisper_mel_mojo.decoders import (
    HOW_TO_INSTALL,
    DecodingError,
    Recording,
    open_recording,
    shown,
)

__all__ = ["SAMPLE_RATE", "AudioError", "AudioWarning", "decode_audio", "load_audio"]

RATES = (1_000, 1_000_000)
"""Lowest and highest rate in samples a second that a file can mean; others are spoiled headers."""
BLOCK = 131_072
"""Number of samples of all channels that are decoded at a time."""
LOUD = 2.0
"""Amplitude above which samples are probably integers that were only cast."""
CANCELLED = 0.01
"""Share of the channels' power, in the power of their mean, below which they cancel each other."""


class AudioError(ValueError):
    """Failure to decode a file; the message names it and says why."""


class AudioWarning(UserWarning):
    """A file was decoded, and may not be what it should be; the message names it and says why."""


def load_audio(path: str | Path, *, channel: int | None = None) -> NDArray[np.float32]:
    """Read the samples of a recording: float32 of shape ``(n,)``, mono, 16 000 a second.

    Plain WAV is read without any other package, every format that libsndfile knows (FLAC, Ogg, MP3
    …) with soundfile, others (m4a, mp4, webm …) with PyAV if it is installed. Other rates are
    converted by soxr at high quality. The file is decoded block by block: the memory needed is
    that of the result and a few blocks.

    ``channel`` is the number of the channel that is wanted, from 0; None averages all.

    Raises :class:`AudioError` for a file that cannot be decoded, has no samples, no such channel,
    or samples that are not finite, and ``ImportError`` if a package is missing. Warns
    (:class:`AudioWarning`) of a file that was cut off, of a second recording after the first, which
    alone is read, of channels that cancel each other, and of amplitudes above 2.
    """
    path = Path(path)
    return _told(*read_file(path, channel=channel), shown(path))


def decode_audio(
    file: Path | BinaryIO, name: str, *, channel: int | None = None
) -> NDArray[np.float32]:
    """Read a recording like :func:`load_audio`, or an open file; ``name`` is for messages."""
    if isinstance(file, Path):
        return _told(*read_file(file, name, channel=channel), name)
    return _told(*read_audio(file, name, channel=channel), name)


def _told(samples: NDArray[np.float32], notes: list[str], name: str) -> NDArray[np.float32]:
    for note in notes:
        warnings.warn(f"{name} {note}", AudioWarning, stacklevel=3)
    return samples


def read_file(
    path: Path, name: str | None = None, *, channel: int | None = None
) -> tuple[NDArray[np.float32], list[str]]:
    """Read a file like :func:`load_audio`; return its samples, and the warnings without its name.

    ``name`` is for messages, None for the path.
    """
    name = shown(path) if name is None else name
    try:
        if not path.is_file():
            raise AudioError(f"{name} {'is no file' if path.exists() else 'does not exist'}")
        with path.open("rb") as file:
            return read_audio(file, name, channel=channel)
    except OSError as error:
        raise AudioError(f"{name} cannot be read: {error.strerror or error}") from error


def read_audio(
    file: BinaryIO, name: str, *, channel: int | None = None
) -> tuple[NDArray[np.float32], list[str]]:
    """Read an open file like :func:`read_file`."""
    try:
        with open_recording(file) as recording:
            return read_recording(recording, name, channel=channel)
    except DecodingError as error:
        raise AudioError(f"{name} is {error}") from error


def read_recording(
    recording: Recording, name: str, *, channel: int | None = None
) -> tuple[NDArray[np.float32], list[str]]:
    """Read what is open already like :func:`read_file`."""
    if channel is not None and not 0 <= channel < recording.channels:
        raise AudioError(
            f"{name} has {recording.channels} channels: "
            f"expected channel=0 to {recording.channels - 1}, not {channel}"
        )
    if not RATES[0] <= recording.rate <= RATES[1]:
        raise AudioError(
            f"{name} has {recording.rate} samples a second: expected {RATES[0]} to {RATES[1]}"
        )
    heard = _Heard(channel)
    samples = resampled(heard.mono(recording), recording.rate)
    if heard.length == 0:
        raise AudioError(f"{name} has no samples")
    if heard.wrong:
        raise AudioError(f"{name}: {heard.wrong} of {heard.length} samples are NaN or infinite")
    return samples, list(heard.notes(recording))


def resampled(blocks: Iterator[NDArray[np.float32]], rate: int) -> NDArray[np.float32]:
    """Return the blocks as one array, converted from ``rate`` to 16 000 samples a second.

    It is what conversion of the whole recording at once gives, bit for bit.
    """
    if rate != SAMPLE_RATE:
        blocks = _converted(blocks, rate)
    result = np.empty(0, np.float32)
    length = 0
    for block in blocks:
        if length + block.size > result.size:
            # The memory grows in place, by an eighth: no second copy of the recording is ever made.
            result.resize(length + max(block.size, length // 8), refcheck=False)
        result[length : length + block.size] = block
        length += block.size
    result.resize(length, refcheck=False)
    return result


def _converted(blocks: Iterator[NDArray[np.float32]], rate: int) -> Iterator[NDArray[np.float32]]:
    try:
        import soxr
    except ImportError as error:
        raise ImportError(
            f"{error}: a recording of {rate} samples a second needs it: {HOW_TO_INSTALL}"
        ) from error
    stream: Any = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


class _Heard:
    """What is found out about a recording while it is decoded."""

    def __init__(self, channel: int | None) -> None:
        self.length = 0
        self.wrong = 0
        self._channel = channel
        self._loudest = 0.0
        self._power = np.zeros(2)  # of the mean of the channels, of the channels

    def mono(self, recording: Recording) -> Iterator[NDArray[np.float32]]:
        """Yield the recording's blocks, one channel of it or their mean, with NaN as zeros."""
        for block in recording.blocks(max(1, BLOCK // recording.channels)):
            yield self._mono(block)

    @np.errstate(over="ignore", invalid="ignore")  # of a recording that is refused
    def _mono(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        channels = block.shape[1]
        if channels == 1 or self._channel is not None:
            mono = np.ascontiguousarray(block[:, self._channel or 0])
        else:
            mono = block.mean(axis=1)
            self._power += np.dot(mono, mono), np.vdot(block, block) / channels
        self.length += mono.size
        wrong = ~np.isfinite(mono)
        if wrong.any():
            self.wrong += int(np.count_nonzero(wrong))
            mono = np.where(wrong, np.float32(0), mono)
        self._loudest = max(self._loudest, float(np.abs(mono).max()))
        return mono

    def notes(self, recording: Recording) -> Iterator[str]:
        """Yield what a user should know of the recording, which has been decoded."""
        if recording.length is not None and self.length < recording.length:
            yield f"was cut off: it says {recording.length} samples, and has {self.length}"
        elif recording.doubt:
            yield recording.doubt
        mean, channels = self._power
        if mean < CANCELLED * channels:
            yield (
                f"has channels that cancel each other: their mean has {mean / channels:.1%} of "
                "their power; channel=0 takes one of them"
            )
        if self._loudest > LOUD:
            yield f"has amplitudes up to {self._loudest:.6g}: full scale of float samples is 1"
