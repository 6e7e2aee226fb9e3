"""Recordings: every rate and format comes as what the kernel takes; the rest is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from whisper_mel_golden.speech import SPEECH, load_recording
from whisper_mel_mojo import log_mel
from whisper_mel_mojo.audio_file import AudioError, load_audio

Array = NDArray[Any]


def tone(rate: int, seconds: float = 1.0) -> Array:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)


def test_what_needs_no_conversion_is_bit_for_bit() -> None:
    audio = load_audio(SPEECH / "cards.wav")
    assert audio.dtype == np.float32
    assert np.array_equal(audio, load_recording("cards") / np.float32(32768))
    assert np.array_equal(log_mel(audio), log_mel(load_recording("cards")))


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
@pytest.mark.parametrize(("form", "error"), [("wav", 1e-4), ("flac", 1e-4), ("ogg", 0.05)])
def test_other_rates_are_resampled(rate: int, form: str, error: float, tmp_path: Path) -> None:
    path = tmp_path / f"tone.{form}"
    soundfile.write(path, tone(rate), rate)
    audio = load_audio(path)
    assert abs(audio.size - 16_000) <= 1
    middle = slice(1000, 15_000)  # the filter rings where the tone begins and ends
    assert np.abs(audio[middle] - tone(16_000)[middle]).max() <= error


def test_channels_are_averaged(tmp_path: Path) -> None:
    left = tone(16_000)
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([left, np.zeros_like(left), -0.5 * left], 1), 16_000, "FLOAT")
    assert np.abs(load_audio(path) - left / 6).max() <= 1e-6


def test_what_cannot_be_heard_is_named(tmp_path: Path) -> None:
    nan = tone(16_000)
    nan[[3, 5]] = np.nan, np.inf
    soundfile.write(tmp_path / "nan.wav", nan, 16_000, "FLOAT")
    soundfile.write(tmp_path / "none.wav", nan[:0], 16_000)
    soundfile.write(tmp_path / "cut.flac", tone(16_000), 16_000)
    content = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.wav").write_text("no audio " * 100)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "folder.wav").mkdir()
    for name, reason in {
        "nan.wav": "2 of 16000 samples are NaN or infinite",
        "none.wav": "has no samples",
        "cut.flac": "no audio file that libsndfile reads: .*lost sync",
        "text.wav": "no audio file that libsndfile reads: Format not recognised",
        "empty.wav": "no audio file that libsndfile reads",
        "folder.wav": "is no file",
        "missing.wav": "does not exist",
    }.items():
        with pytest.raises(AudioError, match=reason) as raised:
            load_audio(tmp_path / name)
        assert str(tmp_path / name) in str(raised.value)
