"""examples/featurize.py: no clip is lost, none is there twice, each as the kernel alone has it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from numpy.typing import NDArray
from programs import ran
from whisper_mel_mojo import log_mel
from whisper_mel_mojo.audio_file import load_audio

pytestmark = pytest.mark.torch

Array = NDArray[Any]

EXAMPLES = Path(__file__).parents[2] / "examples"
PAD_TO = 32_000


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program as a module."""
    monkeypatch.syspath_prepend(EXAMPLES)
    import featurize

    return featurize


def noise(seed: int, seconds: float, rate: int = 16_000) -> Array:
    samples = np.random.default_rng(seed).normal(0, 0.1, int(seconds * rate))
    return samples.astype(np.float32)


def corpus(folder: Path, clips: int) -> Path:
    """Generated clips of all kinds, among them a corrupt and a too long one."""
    folder.mkdir()
    for number in range(clips):
        rate = (16_000, 8_000, 44_100)[number % 3]
        samples = noise(number, 0.1 + 0.01 * (number % 40), rate)
        stereo = np.stack([samples, samples[::-1]], 1)
        form = ("wav", "flac")[number % 2]
        soundfile.write(folder / f"{number:04}.{form}", stereo, rate)
    (folder / "corrupt.wav").write_text("no audio")
    soundfile.write(folder / "long.wav", noise(0, 2.5), 16_000)
    (folder / "notes.txt").write_text("no clip at all")
    return folder


def command(sources: Path, output: Path, shard: int) -> list[str]:
    options = ["--output", str(output), "--pad-to", str(PAD_TO), "--shard", str(shard)]
    return [sys.executable, str(EXAMPLES / "featurize.py"), str(sources), *options]


def environment() -> dict[str, str]:
    return {name: it for name, it in os.environ.items() if name != "RAY_ADDRESS"}


def assert_complete(program: Any, sources: Path, output: Path) -> None:
    """Every clip once, bit for bit what the kernel makes of it alone; the others are listed."""
    clips = [*sources.glob("*.wav"), *sources.glob("*.flac")]
    wrong = {str(sources / "corrupt.wav"), str(sources / "long.wav")}
    names = [name for name, _ in program.read_features(output)]
    assert sorted(names) == sorted({str(it) for it in clips} - wrong)
    for name, features in program.read_features(output):
        assert np.array_equal(features, log_mel(load_audio(name), pad_to=PAD_TO)), name
    lines = (output / "skipped.jsonl").read_text().splitlines()
    skipped = {it["clip"]: it["reason"] for it in map(json.loads, lines)}
    assert skipped.keys() == wrong
    assert "no audio file" in skipped[str(sources / "corrupt.wav")]
    assert "40000 samples: expected at most pad_to=32000" in skipped[str(sources / "long.wav")]
    assert not list(output.glob(".*.partial"))


def changed(output: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in output.glob("[0-9]*")}


# --------------------------------------------------------------------------- without Ray


def one_shard(program: Any, output: Path, clips: list[str], **options: Any) -> dict[str, Any]:
    settings = {"form": "parquet", "n_mels": 80, "pad_to": PAD_TO, **options}
    done = program.write_shard({"shard": 0, "clips": clips}, str(output), **settings)
    report: dict[str, Any] = json.loads((output / "00000.json").read_text())
    assert done == {"shard": 0, "clips": len(clips), "skipped": len(report["skipped"])}
    manifest = {"format": settings["form"]}
    (output / "manifest.json").write_text(json.dumps(manifest))
    return report


@pytest.mark.parametrize("form", ["parquet", "npz"])
@pytest.mark.parametrize(("n_mels", "pad_to"), [(80, PAD_TO), (128, 0)])
def test_a_shard(program: Any, tmp_path: Path, form: str, n_mels: int, pad_to: int) -> None:
    """Of more clips than are decoded at a time."""
    sources = corpus(tmp_path / "sources", 20)
    clips = program.find_clips([sources], tmp_path / "out")
    report = one_shard(program, tmp_path, clips, form=form, n_mels=n_mels, pad_to=pad_to)
    features = dict(program.read_features(tmp_path))
    assert list(features) == report["clips"]
    assert sorted([*features, *report["skipped"]]) == clips
    assert len(features) == (20 if pad_to else 21)
    for name, values in features.items():
        assert np.array_equal(values, log_mel(load_audio(name), n_mels, pad_to=pad_to or None))


def test_rows_of_parquet(program: Any, tmp_path: Path) -> None:
    """Encoded files, samples of both kinds, and what is neither."""
    soundfile.write(tmp_path / "clip.flac", noise(1, 0.5), 16_000)
    encoded = (tmp_path / "clip.flac").read_bytes()
    pcm = (32768 * noise(2, 0.5)).astype(np.int16)
    columns = {
        "bytes": pa.array([encoded, b"no audio", None]),
        "struct": pa.array([{"bytes": encoded, "path": "clip.flac"}, {"bytes": None, "path": ""}]),
        "float": pa.array([noise(2, 0.5), [np.nan] * 300, [], None], pa.list_(pa.float32())),
        "int16": pa.array([pcm], pa.list_(pa.int16())),
        "int64": pa.array([[1, 2, 3]]),
        "text": pa.array(["speech"]),
    }
    for name, column in columns.items():
        pq.write_table(pa.table({"audio": column}), tmp_path / f"{name}.parquet")
    pq.write_table(pa.table({"sound": columns["text"]}), tmp_path / "other.parquet")
    (tmp_path / "broken.parquet").write_text("PAR1")
    output = tmp_path / "out"
    names = [*columns, "other", "broken"]
    clips = program.find_clips([tmp_path / f"{name}.parquet" for name in names], output)
    output.mkdir()
    report = one_shard(program, output, clips)
    found = {Path(name).name: values for name, values in program.read_features(output)}
    assert list(found) == [
        "bytes.parquet#0",
        "struct.parquet#0",
        "float.parquet#0",
        "int16.parquet#0",
    ]
    expected = log_mel(load_audio(tmp_path / "clip.flac"), pad_to=PAD_TO)
    assert np.array_equal(found["bytes.parquet#0"], expected)
    assert np.array_equal(found["struct.parquet#0"], expected)
    assert np.array_equal(found["float.parquet#0"], log_mel(noise(2, 0.5), pad_to=PAD_TO))
    assert np.array_equal(found["int16.parquet#0"], log_mel(pcm, pad_to=PAD_TO))
    reasons = {Path(name).name: reason for name, reason in report["skipped"].items()}
    for name, reason in {
        "bytes.parquet#1": "libsndfile",
        "bytes.parquet#2": "expected an encoded file, or samples",
        "struct.parquet#1": "expected an encoded file, or samples",
        "float.parquet#1": "nan",
        "float.parquet#2": "empty",
        "float.parquet#3": "expected an encoded file, or samples",
        "int64.parquet#0": "int64 samples: expected float, or int16",
        "text.parquet#0": "expected an encoded file, or samples",
        "other.parquet": "no Parquet file that has a column audio",
        "broken.parquet": "no Parquet file that has a column audio",
    }.items():
        assert reason in reasons.pop(name)
    assert not reasons


def test_names_that_look_like_rows(program: Any, tmp_path: Path) -> None:
    path = tmp_path / "take.flac#3"
    soundfile.write(path, noise(1, 0.5), 16_000, format="FLAC")
    report = one_shard(program, tmp_path, program.find_clips([path, path], tmp_path / "out"))
    assert report == {"clips": [str(path)], "skipped": {}}


def test_shards_are_no_sources(program: Any, tmp_path: Path) -> None:
    """The folder of a killed run may be in the one that is searched."""
    sources = corpus(tmp_path / "sources", 2)
    output = sources / "out"
    output.mkdir()
    clips = program.find_clips([sources], output)
    one_shard(program, output, clips)
    assert list(output.glob("*.parquet"))
    assert program.find_clips([sources], output) == clips


def test_what_cannot_begin(
    program: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(program, "compute", lambda options, clips: None)
    monkeypatch.setattr(program, "finish", lambda output, clips: 0)
    sources = corpus(tmp_path / "sources", 2)
    output = tmp_path / "out"
    (tmp_path / "empty").mkdir()

    def error(source: str, *options: str) -> str:
        assert program.main([str(tmp_path / source), "--output", str(output), *options]) == 2
        return capsys.readouterr().err

    assert "missing does not exist" in error("missing")
    assert "no audio in" in error("empty")
    assert not output.exists()
    assert program.main([str(sources), "--output", str(output)]) == 0
    assert program.main([str(sources), "--output", str(output)]) == 0
    assert "was begun with n_mels=80, this is n_mels=128" in error("sources", "--n-mels", "128")
    (sources / "corrupt.wav").unlink()
    assert "was begun with clips=4" in error("sources")
    with program.only_run(output):
        assert "another run is writing" in error("sources")


def test_a_report_that_lost_a_clip_is_an_error(program: Any, tmp_path: Path) -> None:
    report = {"clips": ["a", "b"], "skipped": {"c": "corrupt"}}
    (tmp_path / "00000.json").write_text(json.dumps(report))
    assert program.finish(tmp_path, ["a", "b", "c"]) == 0
    for clips in (["a", "b", "c", "d"], ["a", "b"]):
        with pytest.raises(program.CorpusError, match="do not add up"):
            program.finish(tmp_path, clips)
    (tmp_path / "00001.json").write_text(json.dumps({"clips": ["a"], "skipped": {}}))
    with pytest.raises(program.CorpusError, match="do not add up"):
        program.finish(tmp_path, ["a", "b", "c"])


@pytest.mark.filterwarnings("ignore:.use_:DeprecationWarning")  # of Ray, by Ray
@pytest.mark.parametrize(
    ("failures", "message", "starts"),
    [
        (2, "node timed out during startup", 3),
        (9, "node timed out during startup", 5),
        (9, "no such address", 1),
    ],
)
def test_ray_may_be_slow_to_start(
    program: Any, monkeypatch: pytest.MonkeyPatch, failures: int, message: str, starts: int
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    outcomes = [*(failures * [RuntimeError(message)]), None]
    init = Mock(side_effect=outcomes)
    monkeypatch.setattr(program.ray, "init", init)
    if failures > 2:
        with pytest.raises(program.CorpusError, match=message):
            program.start_ray()
    else:
        program.start_ray()
    assert init.call_count == starts
    assert init.call_args.kwargs["address"] == "local"


# --------------------------------------------------------------------------- with Ray


def test_a_corpus_is_computed_once(program: Any, tmp_path: Path) -> None:
    sources, output = corpus(tmp_path / "sources", 22), tmp_path / "out"
    arguments = command(sources, output, 6)
    first = ran(arguments, env=environment())
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"22 clips in {output}, 2 skipped (skipped.jsonl)\n"
    assert "24/24" in first.stderr, "progress"
    assert_complete(program, sources, output)
    before = changed(output)
    assert len(before) == 8
    assert program.main(arguments[2:]) == 0, "without Ray: there is nothing to do"
    assert changed(output) == before


def workers(root: int) -> list[int]:
    """Ray's processes that compute, of those that a process has started."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            parents[int(place.name)] = int(fields[1]), (place / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended

    def is_ours(process: int) -> bool:
        while process in parents and process != root:
            process = parents[process][0]
        return process == root

    return [it for it, (_, name) in parents.items() if b"write_shard" in name and is_ours(it)]


def wait_for(condition: Any, process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, "it ended before"
        time.sleep(0.005)


@pytest.mark.nightly
def test_killed_workers_and_a_killed_run(program: Any, tmp_path: Path) -> None:
    sources, output = corpus(tmp_path / "sources", 300), tmp_path / "out"
    arguments = command(sources, output, 1)

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            arguments, env=environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def reports() -> int:
        return len(list(output.glob("[0-9]*.json")))

    def kill_a_worker() -> bool:
        found = workers(process.pid) if reports() >= 5 else []
        if found:
            os.kill(found[0], signal.SIGKILL)
        return bool(found)

    with start() as process:
        wait_for(kill_a_worker, process)
        at_kill = reports()
        wait_for(lambda: reports() >= at_kill + 40, process)
        os.killpg(process.pid, signal.SIGKILL)
    assert at_kill + 40 <= reports() < 302, "killed in the middle, twice"
    before = changed(output)
    complete = [name for name in before if name.endswith("json")]
    with start() as process:
        out, _ = process.communicate(timeout=1800)
    assert process.returncode == 0
    assert out == f"300 clips in {output}, 2 skipped (skipped.jsonl)\n"
    assert_complete(program, sources, output)
    assert all(changed(output)[name] == before[name] for name in complete), "not computed again"
