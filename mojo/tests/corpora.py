"""Corpora of generated clips, and ``whisper-mel featurize`` without Ray."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from whisper_mel_mojo import log_mel
from whisper_mel_mojo.audio_file import load_audio
from whisper_mel_mojo.corpus import run, worker
from whisper_mel_mojo.data import Features
from whisper_mel_mojo.featurize import main

Array = NDArray[Any]

WINDOW = 32_000
"""Samples of ``--window 2``."""


def noise(seed: int, seconds: float, rate: int = 16_000) -> Array:
    samples = np.random.default_rng(seed).normal(0, 0.1, int(seconds * rate))
    return samples.astype(np.float32)


def corpus(folder: Path, clips: int) -> Path:
    """Generated clips of all kinds, among them a corrupt one and a long one."""
    folder.mkdir()
    for number in range(clips):
        rate = (16_000, 8_000, 44_100)[number % 3]
        samples = noise(number, 0.1 + 0.01 * (number % 40), rate)
        stereo = np.stack([samples, samples[::-1]], 1)
        form = ("wav", "flac")[number % 2]
        soundfile.write(folder / f"{number:04}.{form}", stereo, rate)
    (folder / "corrupt.wav").write_text("no audio")
    soundfile.write(folder / "long.wav", noise(0, 4.5), 16_000)
    (folder / "notes.txt").write_text("no clip at all")
    return folder


def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process make all shards, one after the other."""

    @contextmanager
    def no_ray(cpus: int | None) -> Iterator[int]:
        yield 1

    def make_shards(tasks: Any, output: Any, settings: Any, columns: Any) -> Iterator[Any]:
        for task in tasks:
            plain = task.as_row()
            yield worker.make_shard(plain, output.folder.absolute(), settings, columns)

    monkeypatch.setattr(run, "running_ray", no_ray)
    monkeypatch.setattr(run, "make_shards", make_shards)


def featurize(sources: Path, output: Path, *options: str) -> int:
    """Run the command with windows of two seconds and shards of six clips."""
    settings = ("--output", str(output), "--window", "2", "--shard", "6")
    return main([str(sources), *settings, *options])


def reports(output: Path) -> list[dict[str, Any]]:
    return [json.loads(it.read_text()) for it in sorted((output / "reports").glob("*.json"))]


def lines(output: Path) -> list[dict[str, Any]]:
    return [json.loads(it) for it in (output / "skipped.jsonl").read_text().splitlines()]


def reasons(output: Path, kind: str = "skipped") -> dict[str, str]:
    """Why clips were skipped, by the name of their file and their row."""
    found = [it for it in lines(output) if it["kind"] == kind]
    rows = ["" if it["row"] is None else f"#{it['row']}" for it in found]
    return {Path(it["path"]).name + row: it["reason"] for it, row in zip(found, rows, strict=True)}


def assert_complete(sources: Path, output: Path) -> None:
    """Every window once, bit for bit what the kernel makes of it; the others are listed."""
    rows = list(Features(output, columns=["clip", "clip_start", "clip_samples"]))
    starts: dict[str, list[int]] = {}
    for row in rows:
        starts.setdefault(row["clip"], []).append(row["clip_start"])
    clips = {str(it) for it in (*sources.glob("*.wav"), *sources.glob("*.flac"))}
    assert starts.keys() == clips - {str(sources / "corrupt.wav")}
    assert starts.pop(str(sources / "long.wav")) == [0, WINDOW, 2 * WINDOW]
    assert all(it == [0] for it in starts.values())
    for row in rows:
        window = load_audio(row["clip"])[row["clip_start"] :][:WINDOW]
        assert row["clip_samples"] == window.size
        assert np.array_equal(row["features"], log_mel(window, pad_to=WINDOW)), row["clip"]
    assert "no audio file" in reasons(output)["corrupt.wav"]
    assert reasons(output, "not heard").keys() == {"notes.txt"}
    assert not list(output.rglob("*.partial"))


def times(output: Path) -> dict[str, int]:
    """When each shard and report was written."""
    files = [*(output / "shards").iterdir(), *(output / "reports").iterdir()]
    return {path.name: path.stat().st_mtime_ns for path in files}
