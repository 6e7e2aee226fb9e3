"""``make`` reproduces the goldens, all or nothing; without openai-whisper it says so."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from whisper_mel_golden import __main__, golden_cases, inputs, load_manifest, make, openai, voxtral
from whisper_mel_golden.speech import load_recording, recordings
from whisper_mel_golden.store import DATA
from whisper_mel_golden.voices import VOICES, resample
from whisper_mel_reference import CLASS_A

INPUTS = ("length-480", "length-1-padded", "noise-pcm-faint")

needs_whisper = pytest.mark.skipif(
    openai.installed_version() != openai.VERSION,
    reason=f"needs openai-whisper {openai.VERSION} and torch",
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with one old file, and a catalogue of three inputs."""
    chosen = {name: inputs.INPUTS[name] for name in INPUTS}
    monkeypatch.setattr(make, "INPUTS", chosen)
    monkeypatch.setattr(make, "espeak_version", lambda: None)
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "old").touch()
    return folder


def _tree(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@needs_whisper
def test_make_reproduces_the_committed_goldens(data: Path) -> None:
    make.make(data=data)
    committed = {case.id: case for case in golden_cases()}
    fresh = {case.id: case for case in golden_cases(data)}
    assert {case.input_id for case in fresh.values()} == {*INPUTS}
    assert len(fresh) == 2 * (3 + 1 + 1)
    for case_id, case in fresh.items():
        assert case.input_sha256 == committed[case_id].input_sha256
        assert case.expected().shape == committed[case_id].expected().shape
        assert case.score <= CLASS_A
    if load_manifest(data)["made_with"] == load_manifest()["made_with"]:
        assert all(case.sha256 == committed[name].sha256 for name, case in fresh.items())
    assert not (data / "old").exists()
    assert [path.name for path in data.parent.iterdir()] == ["data"]  # no scratch is left


@needs_whisper
def test_make_of_some_inputs_keeps_the_others(data: Path, capsys: Any) -> None:
    make.make(data=data)
    before = _tree(data)
    capsys.readouterr()
    make.make(["length-480"], data=data)
    assert _tree(data) == before
    made = [line for line in capsys.readouterr().out.splitlines() if line.startswith("golden/")]
    assert len(made) == 6
    assert all(line.startswith("golden/length-480/") for line in made)


@needs_whisper
def test_make_of_some_inputs_needs_the_others(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make.make(data=data)
    more = {name: inputs.INPUTS[name] for name in ("click-first", *INPUTS)}
    monkeypatch.setattr(make, "INPUTS", more)
    with pytest.raises(RuntimeError, match="golden/click-first/80 has not been made"):
        make.make(["length-480"], data=data)
    monkeypatch.setattr(openai, "made_with", lambda: {"torch": "1.0"})
    with pytest.raises(RuntimeError, match="the other goldens were made with"):
        make.make(["length-480"], data=data)


@needs_whisper
def test_a_failure_on_the_way_changes_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(audio: Any, n_mels: int, *variant: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(openai, "whisper_features", fails)
    with pytest.raises(KeyboardInterrupt):
        make.make(data=data)
    assert _tree(data.parent) == {"data/old": b""}


KILLED = """
import os, signal, sys
from pathlib import Path
from whisper_mel_golden import make
data, moment = Path(sys.argv[1]), sys.argv[2]
rename = Path.rename
def kill_after(*arguments):
    rename(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
with make._scratch(data) as folder:
    make.write_features(folder / "data" / "features" / "half.f32.xz", make.np.zeros(3, "f4"))
    if moment == "making":
        os.kill(os.getpid(), signal.SIGKILL)
    Path.rename = kill_after
    make._replace(data, folder / "data", folder / "old")
"""


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["making", "replacing"])
def test_what_a_killed_run_leaves_is_in_one_folder_and_removed_by_the_next(
    moment: str, data: Path
) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(data), moment])
    assert done.returncode == -signal.SIGKILL
    assert {path.name for path in data.parent.iterdir()} - {"data"} == {make.SCRATCH}
    assert data.exists() == (moment == "making")
    with make._scratch(data) as folder:
        assert _tree(data) == {"old": b""}
        assert not list(folder.iterdir())
    assert _tree(data.parent) == {"data/old": b""}
    assert not folder.exists()


def test_goldens_are_made_by_one_run_at_a_time(data: Path) -> None:
    with (
        make._scratch(data) as folder,
        pytest.raises(RuntimeError, match=r"goldens are being made in .* already"),
        make._scratch(data),
    ):
        pass
    assert not folder.exists()


def test_a_failed_replacement_restores_the_old(tmp_path: Path) -> None:
    current = tmp_path / "data"
    current.mkdir()
    (current / "old").touch()
    with pytest.raises(FileNotFoundError):
        make._replace(current, tmp_path / "nothing", tmp_path / "backup")
    assert _tree(tmp_path) == {"data/old": b""}


@pytest.mark.parametrize("missing", ["openai-whisper", "torch"])
def test_without_openai_whisper_make_says_so(
    missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def version(name: str) -> str:
        if name == missing:
            raise metadata.PackageNotFoundError(name)
        return openai.VERSION

    monkeypatch.setattr(metadata, "version", version)
    before = (DATA / "manifest.json").stat().st_mtime_ns
    assert __main__.main(["make"]) == 1
    assert "goldens come from openai-whisper 20250625, here is none" in capsys.readouterr().err
    assert (DATA / "manifest.json").stat().st_mtime_ns == before


def test_an_unknown_input_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["make", "noise-5db"]) == 1
    assert "input 'noise-5db' is not in the catalogue" in capsys.readouterr().err


def test_list_shows_every_golden(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    every = (*golden_cases(), *voxtral.cases())
    assert [line.split()[0] for line in lines] == [case.id for case in every]


# --------------------------------------------------------------------------- voices


def _speech_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    speech = folder / "speech"
    shutil.copytree(DATA / "speech", speech)
    monkeypatch.setattr(make, "SPEECH", speech)
    monkeypatch.setattr(make, "recordings", lambda: recordings(speech))
    return speech


def test_voices_are_kept_or_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    speech = _speech_folder(tmp_path, monkeypatch)
    german, hindi = (load_recording(f"voice-{name}") for name in ("german", "hindi"))
    monkeypatch.setattr(make, "speak", lambda voice: german if "de" in voice.espeak else hindi)
    monkeypatch.setattr(make, "espeak_version", lambda: "espeak 9")
    (speech / "voice-hindi.wav").unlink()
    before = _tree(speech)
    make.renew_voices(tmp_path)
    said = capsys.readouterr().out.splitlines()
    assert "voice-hindi: rendered by espeak 9" in said
    assert "voice-german: espeak 9 renders the same" in said
    assert "voice-french: kept, espeak 9 renders it differently" in said
    added = {**_tree(speech)}
    assert added.pop("voice-hindi.wav") == (DATA / "speech" / "voice-hindi.wav").read_bytes()
    assert added == before
    assert [path.name for path in tmp_path.iterdir()] == ["speech"]


def test_without_espeak_voices_are_kept_and_a_missing_one_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    speech = _speech_folder(tmp_path, monkeypatch)
    monkeypatch.setattr(make, "espeak_version", lambda: None)
    make.renew_voices(tmp_path)
    assert capsys.readouterr().out.count("kept (espeak-ng is not installed)") == len(VOICES)
    (speech / "voice-hindi.wav").unlink()
    with pytest.raises(RuntimeError, match="recording voice-hindi is missing"):
        make.renew_voices(tmp_path)


@pytest.mark.parametrize("frequency", [100.0, 1234.5, 6500.0])
def test_resampled_tones_are_tones(frequency: float) -> None:
    tone = np.sin(2 * np.pi * frequency / 22_050 * np.arange(22_050))
    expected = np.sin(2 * np.pi * frequency / 16_000 * np.arange(16_000))
    inner = slice(100, -100)
    assert np.abs(resample(tone, 22_050, 16_000) - expected)[inner].max() < 1e-4


def test_resampling_removes_what_would_alias() -> None:
    tone = np.sin(2 * np.pi * 9000 / 22_050 * np.arange(22_050))
    assert np.abs(resample(tone, 22_050, 16_000))[100:-100].max() < 1e-4
