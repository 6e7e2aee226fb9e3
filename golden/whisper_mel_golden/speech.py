"""The recordings of this package: 16 kHz mono PCM, as committed in ``data/speech``."""

from __future__ import annotations

import wave
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import WHISPER

SPEECH = Path(__file__).parent / "data" / "speech"


def recordings(folder: Path = SPEECH) -> tuple[str, ...]:
    """List the names of the recordings, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.wav")))


def load_recording(name: str) -> NDArray[np.int16]:
    """Read the samples of a recording: int16, shape ``(n,)``, read-only.

    Raises ``ValueError`` if there is no such recording, or what :func:`read_wav` raises.
    """
    if name not in recordings():
        raise ValueError(f"recording={name!r}: expected one of {', '.join(recordings())}")
    return read_wav(SPEECH / f"{name}.wav")


@lru_cache(maxsize=32)
def read_wav(path: Path) -> NDArray[np.int16]:
    """Read the samples of a WAV file; ``ValueError`` if it is not 16-bit mono at 16 kHz."""
    try:
        with wave.open(str(path)) as file:
            form = file.getnchannels(), file.getsampwidth(), file.getframerate()
            samples = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path} is damaged, or no WAV file: {error}") from error
    if form != (1, 2, WHISPER.sample_rate):
        raise ValueError(f"{path} has {form}: expected 1 channel of 2 bytes at 16000 Hz")
    return np.frombuffer(samples, "<i2")


def write_wav(path: Path, samples: NDArray[np.int16]) -> None:
    """Write a WAV file that :func:`read_wav` can read."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(WHISPER.sample_rate)
        file.writeframes(samples.astype("<i2").tobytes())
