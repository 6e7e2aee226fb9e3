"""Recordings as blocks of samples: WAV by ourselves, the rest by libsndfile or by PyAV."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from whisper_mel_mojo.endings import ending
from whisper_mel_mojo.wav import open_wav

HOW_TO_INSTALL = 'pip install "whisper-mel-mojo[audio]"'


TIMED = {"mov", "matroska", "asf", "avi", "flv", "wav", "flac"}
"""FFmpeg's names of formats that say how long they last; of others it guesses."""


class DecodingError(ValueError):
    """The reason why no decoder reads a file: words that follow others such as "FILE is"."""


class Recording(Protocol):
    """An open recording.

    ``rate`` is in samples a second; ``length`` is the number of samples of each channel that the
    file announces, None if it announces none. ``doubt`` is what should be known of its end, where
    that is seen at once, or an empty string.
    """

    rate: int
    channels: int
    length: int | None
    doubt: str

    def blocks(self, frames: int) -> Iterator[NDArray[np.float32]]:
        """Yield the samples: float32 of shape ``(n, channels)``, ``n`` of about ``frames``."""
        ...


@contextmanager
def open_recording(file: BinaryIO) -> Iterator[Recording]:
    """Open what the first of the three decoders reads that knows it.

    Raises :class:`DecodingError` if none does, or later, while it is decoded, and
    ``ImportError`` if a decoder is needed that is not installed.
    """
    with ExitStack() as opened:
        yield _opened(file, opened)


def _opened(file: BinaryIO, opened: ExitStack) -> Recording:
    if wav := open_wav(file):
        return wav
    reasons, absent = [], []
    for decoder in (_Libsndfile, _PyAV):
        file.seek(0)
        try:
            return decoder(file, opened)
        except ImportError as error:
            absent.append(error)
        except DecodingError as error:
            reasons.append(str(error))
    if not reasons:
        raise ImportError(
            f"{absent[0]}: reading files that are no plain WAV needs it: {HOW_TO_INSTALL}"
        ) from absent[0]
    advice = " (PyAV reads more formats, m4a, mp4 and webm among them: pip install av)"
    raise DecodingError(
        f"no audio file that {'; nor one that '.join(reasons)}{advice * bool(absent)}"
    )


class _Libsndfile:
    """A recording that libsndfile reads."""

    def __init__(self, file: BinaryIO, opened: ExitStack) -> None:
        import soundfile

        self.doubt, announces_length = ending(file)
        self._error = soundfile.LibsndfileError
        try:
            self._file: Any = opened.enter_context(soundfile.SoundFile(file))
        except (self._error, OSError) as error:
            raise DecodingError(f"libsndfile reads: {_reason(error)}") from error
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        guesses = self._file.subtype.startswith("MPEG") and not announces_length
        is_unknown = guesses or self._file.frames == 2**63 - 1
        self.length: int | None = None if is_unknown else self._file.frames
        self._file.seekable = lambda: False  # it would seek before and after every block

    def blocks(self, frames: int) -> Iterator[NDArray[np.float32]]:
        # One seek, to the beginning: without it Opus keeps what its encoder has put before the
        # first sample. No others: MP3 is wrong after them. FLAC of unknown length does not seek.
        seeks = self._file.format != "FLAC"
        while True:
            try:
                if seeks:
                    self._file.seek(0)
                    seeks = False
                block = self._file.read(frames, dtype="float32", always_2d=True)
            except (self._error, OSError) as error:
                raise DecodingError(
                    f"no audio file that libsndfile reads: {_reason(error)}"
                ) from error
            if not len(block):
                return
            yield block


class _PyAV:
    """A recording that PyAV (FFmpeg) reads: the first stream of sound in a file."""

    def __init__(self, file: BinaryIO, opened: ExitStack) -> None:
        import av

        self.doubt = ending(file).doubt
        self._error = av.FFmpegError
        try:
            self._container: Any = opened.enter_context(av.open(file))
        except (self._error, OSError) as error:
            raise DecodingError(f"PyAV reads: {_reason(error)}") from error
        # A stream that FFmpeg has no decoder for has no rate.
        audio = self._container.streams.audio
        streams = [it for it in audio if getattr(it, "rate", 0) and it.channels]
        if not streams:
            raise DecodingError("PyAV reads: it has no stream of sound")
        self._stream = streams[0]
        self._resampler: Any = av.AudioResampler(
            format="fltp", layout=self._stream.layout, rate=self._stream.rate
        )
        self.rate: int = self._stream.rate
        self.channels: int = self._stream.channels
        says_duration = TIMED & {*self._container.format.name.split(",")}
        duration = self._container.duration if says_duration else None
        seconds = duration and duration / av.time_base
        # The announced time is not exact: encoders add samples at both ends.
        self.length = seconds and int(max(0, 0.98 * seconds - 0.1) * self.rate)

    def blocks(self, frames: int) -> Iterator[NDArray[np.float32]]:
        try:
            for decoded in self._container.decode(self._stream):
                for frame in self._resampler.resample(decoded):
                    yield frame.to_ndarray().T
        except (self._error, OSError) as error:
            raise DecodingError(f"no audio file that PyAV reads: {_reason(error)}") from error


def _reason(error: Any) -> str:
    """Return what a decoder says, without the name that it has for the file."""
    return str(getattr(error, "error_string", None) or error.strerror or error)


def shown(name: str | bytes | os.PathLike[str]) -> str:
    r"""Return a file's name for messages: bytes that are not UTF-8 as ``\xe9``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
