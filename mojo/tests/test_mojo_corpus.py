"""What ``whisper-mel featurize`` makes of inputs of all kinds, and whether it is still valid."""

from __future__ import annotations

import base64
import errno
import io
import json
import os
import resource
import shutil
import socket
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import soxr
from corpora import WINDOW, assert_complete, corpus, featurize, noise, reasons, reports, times
from numpy.typing import NDArray
from programs import ran
from whisper_mel_conformance.__main__ import main as whisper_mel
from whisper_mel_mojo import log_mel
from whisper_mel_mojo.audio_file import load_audio
from whisper_mel_mojo.corpus import files, run, worker
from whisper_mel_mojo.corpus.inputs import Clip
from whisper_mel_mojo.corpus.manifest import Output, Settings, Task
from whisper_mel_mojo.data import Features
from whisper_mel_mojo.featurize import _parser, main

pytestmark = pytest.mark.torch

Array = NDArray[Any]


@pytest.fixture(autouse=True)
def _without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    corpora.without_ray(monkeypatch)


def rows_of(output: Path, *columns: str) -> dict[str, dict[str, Any]]:
    """The rows of an output by the name of the clip's file and row."""
    rows = Features(output, columns=["clip", *columns])
    return {Path(row["clip"]).name: row for row in rows}


# --------------------------------------------------------------------------- rows


def test_a_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources, output = corpus(tmp_path / "sources", 20), tmp_path / "out"
    assert featurize(sources, output) == 0
    assert capsys.readouterr().out == (
        f"21 clips in {output} (23 rows), 1 skipped, 1 files not heard, 0 notes (skipped.jsonl)\n"
    )
    assert_complete(sources, output)
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["complete"]
    assert sum(it["rows"] for it in manifest["shards"]) == manifest["rows"] == 23
    for shard in manifest["shards"]:
        path = output / "shards" / shard["file"]
        assert files.stamp(path) == {name: shard[name] for name in ("size", "mtime_ns", "sha256")}
        assert pq.ParquetFile(path).metadata.num_rows == shard["rows"]
    inputs = {path: was for report in reports(output) for path, was in report["inputs"].items()}
    assert len(inputs) == 22
    assert all(files.stamp(path) == was for path, was in inputs.items())


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(
    ("n_mels", "window", "overlap"), [(80, 2, 0.5), (128, 2.0025, 0), (80, 0, 0)]
)
def test_settings(tmp_path: Path, dtype: str, n_mels: int, window: float, overlap: float) -> None:
    """Windows overlap, or clips stay as long as they are; the shape is in Parquet's schema."""
    sources, output = tmp_path / "sources", tmp_path / "out"
    sources.mkdir()
    clips = {f"{number}.wav": noise(number, seconds) for number, seconds in enumerate((0.3, 5.1))}
    for name, samples in clips.items():
        soundfile.write(sources / name, samples, 16_000, "FLOAT")
    given = ["--window", f"{window}", "--overlap", f"{overlap}", "--n-mels", f"{n_mels}"]
    assert main([str(sources), "-o", str(output), *given, "--dtype", dtype]) == 0
    length, step = int(window * 16_000), int((window - overlap) * 16_000)
    expected = [
        (name, start, log_mel(samples[start : start + length], n_mels, pad_to=length).astype(dtype))
        if window
        else (name, 0, log_mel(samples, n_mels).astype(dtype))
        for name, samples in clips.items()
        for start in (range(0, max(1, samples.size - length + step), step) if window else [0])
    ]
    rows = list(Features(output, columns=["clip", "clip_start"]))
    assert [(Path(it["clip"]).name, it["clip_start"]) for it in rows] == [it[:2] for it in expected]
    for row, (_, _, features) in zip(rows, expected, strict=True):
        assert row["features"].dtype == dtype
        assert np.array_equal(row["features"], features)
    (shard,) = (output / "shards").iterdir()
    column = pq.read_schema(shard).field("features")
    frames = length // 160 or None
    assert json.loads(column.metadata[b"shape"]) == [n_mels, frames]
    values = pa.list_(pa.field("item", pa.type_for_alias(dtype), False), frames or -1)
    assert column.type == pa.list_(pa.field("item", values, False), n_mels)


@pytest.mark.parametrize(
    ("length", "overlap", "starts"),
    [
        (1, 0, [0]),
        (10, 0, [0]),
        (11, 0, [0, 10]),
        (11, 4, [0, 6]),
        (16, 4, [0, 6]),
        (17, 4, [0, 6, 12]),
    ],
)
def test_windows(length: int, overlap: int, starts: list[int]) -> None:
    """Ten samples each: all are in one, and each window has some that no earlier one has."""
    assert list(worker.starts_of(length, 10, overlap)) == starts


NO_SOUND = "expected an encoded file (bytes), samples (a list, or array and sampling_rate), or path"
REFUSED = {
    "bytes.parquet#1": "libsndfile",
    "bytes.parquet#2": f"is null: {NO_SOUND}",
    "struct.parquet#2": "missing.flac) does not exist",
    "struct.parquet#3": NO_SOUND,
    "struct.parquet#4": "ValueError: embedded null byte",
    "struct.parquet#5": f"is null: {NO_SOUND}",
    "array.parquet#2": "sampling_rate=0: expected a positive integer",
    "array.parquet#3": NO_SOUND,
    "float.parquet#1": "300 of 300 samples are NaN or infinite",
    "float.parquet#2": "has no samples",
    "float.parquet#3": f"is null: {NO_SOUND}",
    "int64.parquet#0": "samples of int64: expected float, or int16",
    "text.parquet#0": "speech) does not exist",
    "text.parquet#2": f"is null: {NO_SOUND}",
    "other.parquet": "no Parquet file that has a column audio",
    "broken.parquet": "no Parquet file that has a column audio",
}
"""Rows and files of the test below that are no clips, and why."""


def columns_of(encoded: bytes, pcm: Array) -> dict[str, Any]:
    """Columns of all kinds: encoded files, paths, arrays with their rate, samples, and none."""
    sound = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    array = pa.struct({"array": pa.list_(pa.float64()), "sampling_rate": pa.int64()})
    hf = [{"array": noise(2, 0.5), "sampling_rate": rate} for rate in (16_000, 8_000, 0)]
    return {
        "bytes": pa.array([encoded, b"no audio", None]),
        "struct": pa.array(
            [
                {"bytes": encoded, "path": "elsewhere.flac"},
                {"bytes": None, "path": "clip.flac"},
                {"bytes": None, "path": "missing.flac"},
                {"bytes": None, "path": None},
                {"bytes": None, "path": "zero\0.flac"},
                None,
            ],
            sound,
        ),
        "array": pa.array([*hf, {"array": None, "sampling_rate": 16_000}], array),
        "float": pa.array([noise(2, 0.5), [np.nan] * 300, [], None], pa.list_(pa.float32())),
        "large": pa.array([noise(2, 0.5)], pa.large_list(pa.float32())),
        "int16": pa.array([pcm], pa.list_(pa.int16())),
        "int64": pa.array([[1, 2, 3]]),
        "text": pa.array(["speech", "clip.flac", None]),
    }


def test_rows_of_parquet(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.flac", noise(1, 0.5), 16_000)
    pcm = (32768 * noise(2, 0.5)).astype(np.int16)
    columns = columns_of((tmp_path / "clip.flac").read_bytes(), pcm)
    sources, output = tmp_path / "sources", tmp_path / "out"
    sources.mkdir()
    shutil.copy(tmp_path / "clip.flac", sources)
    for name, column in columns.items():
        pq.write_table(pa.table({"audio": column}), sources / f"{name}.parquet", row_group_size=2)
    pq.write_table(pa.table({"sound": columns["text"]}), sources / "other.parquet")
    (sources / "broken.parquet").write_text("PAR1")
    assert featurize(sources, output) == 0
    flac = log_mel(load_audio(tmp_path / "clip.flac"), pad_to=WINDOW)
    plain = log_mel(noise(2, 0.5), pad_to=WINDOW)
    low = log_mel(soxr.resample(noise(2, 0.5), 8_000, 16_000), pad_to=WINDOW)
    expected = {
        "array.parquet#0": plain,
        "array.parquet#1": low,
        "bytes.parquet#0": flac,
        "clip.flac": flac,
        "float.parquet#0": plain,
        "int16.parquet#0": log_mel(pcm, pad_to=WINDOW),
        "large.parquet#0": plain,
        "struct.parquet#0": flac,
        "struct.parquet#1": flac,
        "text.parquet#1": flac,
    }
    found = rows_of(output)
    assert sorted(found) == sorted(expected)
    for name, features in expected.items():
        assert np.array_equal(found[name]["features"], features), name
    said = reasons(output)
    for name, reason in REFUSED.items():
        assert reason in said.pop(name), name
    assert not said


def test_columns_are_carried_along(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In every row of a clip, with their types; what has none of them has null."""
    sources, output = tmp_path / "sources", tmp_path / "out"
    sources.mkdir()
    soundfile.write(sources / "plain.wav", noise(1, 0.5), 16_000)
    audio = pa.array([noise(1, 0.5), noise(2, 4.5)], pa.list_(pa.float32()))
    words = pa.array([["a", "b"], None])
    table = pa.table({"id": [7, 8], "text": ["first", "second"], "audio": audio, "words": words})
    pq.write_table(table, sources / "all.parquet")
    pq.write_table(table.select(["audio", "text"]), sources / "some.parquet")
    assert featurize(sources, output) == 0
    rows = list(Features(output, columns=["clip", "clip_start", "id", "text", "words"]))
    found = [(Path(it["clip"]).name, it["id"], it["text"], it["words"]) for it in rows]
    assert found == [
        ("all.parquet#0", 7, "first", ["a", "b"]),
        *3 * [("all.parquet#1", 8, "second", None)],
        ("plain.wav", None, None, None),
        ("some.parquet#0", None, "first", None),
        *3 * [("some.parquet#1", None, "second", None)],
    ]
    for names, missing in {"text": "id", "text,id": "words", "": "text"}.items():
        chosen = tmp_path / f"chosen {names}"
        assert featurize(sources, chosen, "--columns", names) == 0
        Features(chosen, columns=[it for it in names.split(",") if it])
        with pytest.raises(ValueError, match=f"no '{missing}' in"):
            Features(chosen, columns=[missing])
    capsys.readouterr()
    assert featurize(sources, tmp_path / "none", "--columns", "speaker") == 2
    assert "--columns speaker: no Parquet file" in capsys.readouterr().err
    pq.write_table(pa.table({"audio": audio, "id": ["7", "8"]}), sources / "text.parquet")
    assert featurize(sources, tmp_path / "none") == 2
    assert "column 'id' is int64 in" in capsys.readouterr().err
    assert featurize(sources, tmp_path / "fits", "--columns", "text") == 0
    capsys.readouterr()
    pq.write_table(pa.table({"audio": audio, "clip": ["7", "8"]}), sources / "text.parquet")
    assert featurize(sources, tmp_path / "none") == 2
    assert "column 'clip' has a name that the output uses" in capsys.readouterr().err


def test_tar_files(tmp_path: Path) -> None:
    """Of WebDataset: two files for each row."""
    sources, output = corpus(tmp_path / "sources", 7), tmp_path / "out"
    table = pa.table({"audio": [noise(1, 0.5)], "text": ["first"], "hash": [b"\xff\0"]})
    pq.write_table(table, sources / "rows.parquet")
    assert featurize(sources, output, "--format", "tar", "--dtype", "float16") == 0
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((output / "shards").iterdir()):
        with tarfile.open(path) as archive:
            for member in archive:
                key, _, kind = member.name.partition(".")
                content = io.BytesIO(archive.extractfile(member).read())  # type: ignore[union-attr]
                row = found.setdefault(key, {})
                row[kind] = np.load(content) if kind == "npy" else json.load(content)
    assert len(found) == 11
    for row in found.values():
        clip, start = row["json"]["clip"], row["json"]["clip_start"]
        samples = noise(1, 0.5) if clip.endswith("#0") else load_audio(clip)
        features = log_mel(samples[start : start + WINDOW], pad_to=WINDOW)
        assert np.array_equal(row["npy"], features.astype(np.float16))
    (row,) = (it["json"] for it in found.values() if it["json"]["text"])
    assert (row["text"], base64.b64decode(row["hash"])) == ("first", b"\xff\0")
    with pytest.raises(ValueError, match="tar files: the package webdataset reads them"):
        Features(output)


def test_names_that_look_like_rows(tmp_path: Path) -> None:
    path = tmp_path / "take.flac#3"
    soundfile.write(path, noise(1, 0.5), 16_000, format="FLAC")
    assert featurize(path, tmp_path / "out") == 0
    assert list(rows_of(tmp_path / "out")) == ["take.flac#3"]


def test_an_output_is_no_source(tmp_path: Path) -> None:
    """Though its folder may be in the one that is searched."""
    sources = corpus(tmp_path / "sources", 2)
    (tmp_path / "link").symlink_to(sources)
    output = sources / "out"
    assert featurize(tmp_path / "link", output) == 0
    before = times(output)
    assert featurize(tmp_path / "link", output) == 0
    assert times(output) == before
    assert len(Features(output)) == 2 + 3


# --------------------------------------------------------------------------- bad inputs


def test_files_that_are_not_heard_are_listed(tmp_path: Path) -> None:
    sources, output = corpus(tmp_path / "sources", 1), tmp_path / "out"
    (sources / "README").write_text("no suffix")
    os.mkfifo(sources / "pipe.wav")
    (sources / "dangling.wav").symlink_to("nowhere")
    (sources / "linked").symlink_to(tmp_path)
    place = os.getcwd()
    os.chdir(sources)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.wav")
    os.chdir(place)
    assert featurize(sources, output) == 0
    assert reasons(output, "not heard") == {
        "README": "has no suffix, which is not known as audio",
        "dangling.wav": "cannot be reached: No such file or directory",
        "linked": "is a link to a folder, which may be a source of its own",
        "notes.txt": "has .txt, which is not known as audio",
        "pipe.wav": "is a fifo, and no file",
        "socket.wav": "is a socket, and no file",
    }


def test_what_cannot_be_read_is_skipped(tmp_path: Path) -> None:
    """One by one: the rest is made."""
    sources, output = corpus(tmp_path / "sources", 9), tmp_path / "out"
    (sources / "unreadable.wav").symlink_to("/proc/self/mem")
    whole = (sources / "0001.flac").read_bytes()
    (sources / "cut.flac").write_bytes(whole[: len(whole) // 2])
    soundfile.write(sources / "quiet.wav", np.zeros(0), 16_000)
    cut = (sources / "long.wav").read_bytes()
    (sources / "cut.wav").write_bytes(cut[:40_000])
    assert featurize(sources, output) == 0
    said = reasons(output)
    for name, reason in {
        "corrupt.wav": "no audio file",
        "cut.flac": "lost sync",
        "quiet.wav": "has no samples",
        "unreadable.wav": "cannot be read: Input/output error",
    }.items():
        assert reason in said.pop(name)
    assert not said
    assert len(rows_of(output)) == 11
    notes = reasons(output, "note")
    assert notes == {"cut.wav": "was cut off: it says 72000 samples, and has 19978"}


MEMORY = """
import resource, sys
import corpora, numpy, pytest
from pathlib import Path
corpora.without_ray(pytest.MonkeyPatch())
corpora.log_mel(numpy.zeros(400, numpy.float32))  # compiled without the limit
now = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line)
limit = int(now.split()[1]) * 1024 + (200 << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
sys.exit(corpora.featurize(Path(sys.argv[1]), Path(sys.argv[2])))
"""


def test_a_clip_that_is_larger_than_memory_is_skipped(tmp_path: Path) -> None:
    sources, output = corpus(tmp_path / "sources", 3), tmp_path / "out"
    head = (sources / "long.wav").read_bytes()[:40] + (1 << 30).to_bytes(4, "little")
    with (sources / "huge.wav").open("wb") as file:  # a hole: it takes no space
        file.write(head)
        file.truncate(1 << 30)
    done = ran([sys.executable, "-c", MEMORY, sources, output], cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    assert reasons(output)["huge.wav"].startswith("out of memory")
    assert len(rows_of(output)) == 4


def test_names_that_are_not_utf8_keep_their_bytes(tmp_path: Path) -> None:
    folder = os.fsencode(corpus(tmp_path / "sources", 1))
    names = [folder + b"/caf\xe9.wav", folder + b"/\xff.parquet", folder + b"/bad\xe9.wav"]
    shutil.copy(folder + b"/long.wav", names[0])
    pq.write_table(pa.table({"audio": [noise(1, 0.5)]}), tmp_path / "plain.parquet")
    os.rename(tmp_path / "plain.parquet", names[1])
    with open(names[2], "w") as file:
        file.write("no audio")
    output = tmp_path / "out"
    assert featurize(tmp_path / "sources", output) == 0
    rows = rows_of(output, "clip_path", "clip_row")
    assert rows[r"caf\xe9.wav"]["clip_path"] == names[0]
    assert rows[r"\xff.parquet#0"]["clip_path"] == names[1]
    assert [rows[it]["clip_row"] for it in (r"caf\xe9.wav", r"\xff.parquet#0")] == [None, 0]
    inputs = {os.fsencode(path) for report in reports(output) for path in report["inputs"]}
    assert inputs >= {*names}
    (bad,) = (it for it in corpora.lines(output) if it["path"].endswith("\udce9.wav"))
    assert os.fsencode(bad["path"]) == names[2]
    assert r"bad\xe9.wav is no audio file" in bad["reason"]
    before = times(output)
    assert featurize(tmp_path / "sources", output) == 0
    assert times(output) == before


def test_what_nobody_expected_costs_one_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard whose worker raises, or dies, is divided into its clips."""
    sources, output = corpus(tmp_path / "sources", 9), tmp_path / "out"
    plain = worker.rows_of

    def rows_of(heard: Any, settings: Any) -> Any:
        if heard.clip.path.endswith("0004.wav"):
            raise RuntimeError("nobody expected this")
        return plain(heard, settings)

    monkeypatch.setattr(worker, "rows_of", rows_of)
    assert featurize(sources, output) == 0
    said = reasons(output)
    assert said.pop("0004.wav") == "RuntimeError: nobody expected this"
    assert said.keys() == {"corrupt.wav"}
    assert len(Features(output)) == 8 + 3
    monkeypatch.undo()
    corpora.without_ray(monkeypatch)
    assert featurize(sources, output) == 0
    assert len(Features(output)) == 8 + 3, "nothing has changed"
    shutil.copytree(output, tmp_path / "retried")
    assert featurize(sources, tmp_path / "retried", "--retry") == 0
    assert_complete(sources, tmp_path / "retried")
    soundfile.write(sources / "0004.wav", noise(99, 0.3), 16_000)
    assert featurize(sources, output) == 0
    assert_complete(sources, output)


def test_a_shard_is_begun_twice_at_most(tmp_path: Path) -> None:
    """Whoever died did not say so, and Ray has the next one try."""
    sources, output = corpus(tmp_path / "sources", 1), Output(tmp_path / "out")
    output.make()
    settings = Settings(80, WINDOW, 0, None, "float32", "parquet", None, {})
    task = Task("000000-0", [Clip(str(sources / "0000.wav"), None)]).as_row()
    begun = output.reports / f"000000-0{files.BEGUN}"
    for died, error in ((2, worker.DIED), (1, "")):
        begun.write_bytes(died * b".")
        made = worker.make_shard(task, output.folder, settings, pa.schema([]))
        assert made == {"name": "000000-0", "clips": 1, "error": error, "ends": False}
    assert not begun.exists()
    assert len(reports(output.folder)) == 1


# --------------------------------------------------------------------------- validity


def made(output: Path, before: dict[str, int]) -> list[Path]:
    """The shards that are new or written anew."""
    now = times(output)
    return [output / "shards" / it for it in now if now[it] != before.get(it) and "parquet" in it]


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Path, Path]:
    """Sources of 24 clips, and the output of four shards that was made of them."""
    sources, output = corpus(tmp_path / "sources", 22), tmp_path / "out"
    assert featurize(sources, output) == 0
    return sources, output


def shard_of(output: Path, name: str) -> tuple[Path, Path]:
    """The shard that has a clip, and its report."""
    (report,) = (it for it in reports(output) if any(name in path for path, _ in it["clips"]))
    return output / "shards" / report["shard"][
        "file"
    ], output / "reports" / f"{report['name']}.json"


def touch(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))


def change_input(sources: Path, output: Path) -> Path:
    soundfile.write(sources / "0003.flac", noise(99, 0.3), 16_000)
    touch(sources / "0003.flac")
    return sources / "0003.flac"


def change_bit(path: Path, place: int) -> Path:
    """Change a bit of the byte at ``place``; the size stays, the time does not."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    touch(path)
    return path


def change_input_of_the_same_size(sources: Path, output: Path) -> Path:
    return change_bit(sources / "0000.wav", 100)


def cut_shard(sources: Path, output: Path) -> Path:
    path, _ = shard_of(output, "0003")
    path.write_bytes(path.read_bytes()[:-100])
    return path


def spoil_shard(sources: Path, output: Path) -> Path:
    path, _ = shard_of(output, "0003")
    return change_bit(path, path.stat().st_size // 2)


def remove_shard(sources: Path, output: Path) -> Path:
    path, _ = shard_of(output, "0003")
    path.unlink()
    return path


def cut_report(sources: Path, output: Path) -> Path:
    _, path = shard_of(output, "0003")
    path.write_bytes(path.read_bytes()[:-100])
    return path


def spoil_report(sources: Path, output: Path) -> Path:
    _, path = shard_of(output, "0003")
    path.write_text(path.read_text().replace('"rows": 6', '"rows": 5'))
    return path


def remove_input(sources: Path, output: Path) -> Path:
    (sources / "0003.flac").unlink()
    return sources / "0003.flac"


CHANGES: dict[Any, str] = {
    change_input: "bytes, and had",
    change_input_of_the_same_size: "has other content",
    cut_shard: "bytes, and had",
    spoil_shard: "has other content",
    remove_shard: "is gone (No such file or directory)",
    cut_report: "is cut off or spoiled",
    spoil_report: "is cut off or spoiled",
    remove_input: "is no longer there",
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_no_longer_valid_is_named_and_made_anew(
    finished: tuple[Path, Path], change: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """By --verify and by a run; what is valid stays."""
    sources, output = finished
    assert main(["-o", str(output), "--verify"]) == 0
    assert capsys.readouterr().out == f"{output} is valid: 24 clips\n"
    path = change(sources, output)
    before = times(output)
    assert main(["-o", str(output), "--verify"]) == 1
    verified = capsys.readouterr().err
    assert f"{path} " in verified
    assert CHANGES[change] in verified
    assert "is not valid" in verified
    assert times(output) == before, "it has changed nothing"
    assert featurize(sources, output) == 0
    said = capsys.readouterr().err
    assert f"{path} " in said
    assert CHANGES[change] in said
    assert len(made(output, before)) == 1
    assert_complete(sources, output)
    assert main(["-o", str(output), "--verify"]) == 0


def test_a_cut_manifest_is_named_and_made_anew(
    finished: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """From the reports, with the settings that are in them."""
    sources, output = finished
    path = output / "manifest.json"
    whole = path.read_text()
    before = times(output)
    for content in (
        whole[:-100],
        "",
        "[]",
        '{"format": 1}',
        whole.replace('"rows": 6', '"rows": 5'),
    ):
        path.write_text(content)
        assert main([str(sources), "-o", str(output), "--verify"]) == 1
        assert f"{path} is cut off or spoiled" in capsys.readouterr().err
        assert main([str(sources), "-o", str(output)]) == 0
        assert f"{path} is cut off or spoiled" in capsys.readouterr().err
        assert path.read_text() == whole
    assert times(output) == before
    files.write_json(path, files.read_json(path) | {"format": 2})
    assert main([str(sources), "-o", str(output), "--verify"]) == 1
    assert f"{path} has format 2: expected 1\n" in capsys.readouterr().err
    path.write_text("")
    assert featurize(sources, output, "--n-mels", "128") == 2
    assert "was begun with n_mels=80, this is n_mels=128" in capsys.readouterr().err


def places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of a JSON value, of lists the first entry's."""
    some = content.items() if isinstance(content, dict) else enumerate(content[:1])
    for name, inner in some:
        yield (*at, name)
        if isinstance(inner, (dict, list)):
            yield from places(inner, (*at, name))


STRANGE: tuple[Any, ...] = (
    None,
    -1,
    2**70,
    "../../x",
    "\0",
    "\ud800",
    [],
    [[1]],
    {"a": 1},
    float("nan"),
)


@pytest.mark.parametrize("kind", ["manifest", "report"])
def test_what_a_stranger_has_written_is_named(
    finished: tuple[Path, Path], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a seal of its own, but other values than a run writes: no traceback."""
    sources, output = finished
    path = output / "manifest.json" if kind == "manifest" else shard_of(output, "0003")[1]
    written = path.read_text()
    right = files.read_json(path)
    for i, at in enumerate(places(right)):
        for value in STRANGE[i % 2 :: 2]:
            content = json.loads(written)
            inner = content
            for name in at[:-1]:
                inner = inner[name]
            if inner[at[-1]] == value:
                continue
            inner[at[-1]] = value
            del content["sha256"]
            files.write_json(path, content)
            assert main([str(sources), "-o", str(output), "--verify"]) in (0, 1, 2), (at, value)
    assert f"{path} has values that featurize does not write" in capsys.readouterr().err
    for content in ({}, {"format": 1}, right | {"settings": {}}):
        files.write_json(path, content)
        assert main([str(sources), "-o", str(output), "--verify"]) == 1
    path.write_bytes(files._sealed(b'\n "format": ' + b"[" * 100_000))
    assert main([str(sources), "-o", str(output), "--verify"]) == 1
    assert f"{path} is no JSON" in capsys.readouterr().err


def test_what_has_no_end_is_not_read(finished: tuple[Path, Path]) -> None:
    """Pipes in place of files, and a device that a report names: none is waited for."""
    sources, output = finished
    path, other = (shard_of(output, name)[1] for name in ("0003", "0020"))
    report = files.read_json(path)
    described = {"size": 0, "mtime_ns": 1, "sha256": "0" * 64}
    files.write_json(path, report | {"inputs": report["inputs"] | {"/dev/zero": described}})
    pipes = output / "manifest.json", other
    for pipe in pipes:
        pipe.unlink()
        os.mkfifo(pipe)
    verify = [str(sources), "-o", str(output), "--verify"]
    command = [sys.executable, "-m", "whisper_mel_mojo.featurize", *verify]
    done = ran(command)
    assert done.returncode == 1
    for said in ("/dev/zero is no file any more", *(f"{pipe} is no file" for pipe in pipes)):
        assert said in done.stderr


def test_what_size_and_time_do_not_show_takes_a_hash(finished: tuple[Path, Path]) -> None:
    sources, output = finished
    path = sources / "0000.wav"
    status = path.stat()
    change_input_of_the_same_size(sources, output)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    before = times(output)
    assert featurize(sources, output) == 0
    assert times(output) == before
    assert featurize(sources, output, "--verify") == 1
    assert featurize(sources, output, "--rehash") == 0
    assert len(made(output, before)) == 1
    assert_complete(sources, output)


def test_what_is_only_touched_or_copied_is_valid(
    finished: tuple[Path, Path], tmp_path: Path
) -> None:
    sources, output = finished
    for path in (sources / "0000.wav", *(output / "shards").iterdir()):
        touch(path)
    before = times(output)
    assert featurize(sources, output) == 0
    assert not made(output, before)
    for report in reports(output):
        stamps = [report["shard"]["stamp"], *report["inputs"].values()]
        paths = [output / "shards" / report["shard"]["file"], *report["inputs"]]
        now = [Path(path).stat().st_mtime_ns for path in paths]
        assert now == [it["mtime_ns"] for it in stamps], "it is not hashed again"


def test_rows_that_were_made_before_and_after_a_change(tmp_path: Path) -> None:
    """Of one Parquet file: each shard has what the file was when it was read."""
    source, output = tmp_path / "rows.parquet", tmp_path / "out"
    audio = [noise(number, 0.2) for number in range(12)]
    pq.write_table(pa.table({"audio": audio}), source)
    assert featurize(source, output) == 0
    (first, second) = sorted((output / "reports").iterdir())
    before = times(output)
    report = json.loads(first.read_text())
    report["inputs"][str(source)]["sha256"] = 64 * "0"
    report["inputs"][str(source)]["mtime_ns"] -= 1
    files.write_json(first, report)
    assert featurize(source, output) == 0
    assert times(output)[second.name] == before[second.name]
    assert len(made(output, before)) == 1


def test_files_are_added_and_removed(
    finished: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    sources, output = finished
    capsys.readouterr()
    soundfile.write(sources / "0000a.wav", noise(50, 0.2), 16_000)
    pq.write_table(pa.table({"audio": [noise(51, 0.2)] * 3}), sources / "rows.parquet")
    (sources / "0021.flac").unlink()
    before = times(output)
    assert featurize(sources, output) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"{sources / '0021.flac'} is no longer there"
    assert said[1:3] == [f"{sources / name} is new" for name in ("0000a.wav", "rows.parquet")]
    rows = rows_of(output)
    assert len(rows) == 21 + 1 + 1 + 3
    assert "0021.flac" not in rows
    assert len(before.keys() & times(output).keys()) == 6, "three shards and their reports"
    (sources / "rows.parquet").unlink()
    (sources / "0000a.wav").unlink()
    assert featurize(sources, output) == 0
    assert_complete(sources, output)


def test_what_killed_runs_leave_is_removed(finished: tuple[Path, Path]) -> None:
    """A shard without a report, files that are not whole, clips in two shards."""
    sources, output = finished
    shard, report = shard_of(output, "0003")
    stray = output / "shards" / "000009-01234567.parquet"
    shutil.copy(shard, stray)
    (output / "shards" / ".x.parquet.0.partial").touch()
    (output / "reports" / ".x.json.0.partial").touch()
    twin = json.loads(report.read_text())
    twin["name"], twin["shard"]["file"] = "000008-01234567", "000008-01234567.parquet"
    shutil.copy2(shard, output / "shards" / twin["shard"]["file"])
    files.write_json(output / "reports" / "000008-01234567.json", twin)
    assert featurize(sources, output, "--verify") == 1
    assert featurize(sources, output) == 0
    assert_complete(sources, output)
    assert len(times(output)) == 8


def test_a_report_that_comes_too_late_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a worker that goes on when its run was killed and the next one has begun."""
    sources, output = corpus(tmp_path / "sources", 2), tmp_path / "out"
    plain = run.make_shards

    def make_shards(*given: Any) -> Any:
        yield from plain(*given)
        for folder, kind in (("shards", "parquet"), ("reports", "json")):
            (path,) = (output / folder).iterdir()
            shutil.copy2(path, path.with_name(f"000009-01234567.{kind}"))

    monkeypatch.setattr(run, "make_shards", make_shards)
    assert featurize(sources, output) == 0
    assert len(times(output)) == 2
    assert featurize(sources, output, "--verify") == 0


def test_what_is_not_ours_stays(finished: tuple[Path, Path]) -> None:
    """In the folders of the output: a note, a folder, a file of another program."""
    sources, output = finished
    ours = times(output)
    foreign = [output / it for it in ("shards/README.md", "reports/notes.json")]
    foreign.append(output / "shards" / f"{next(iter(ours))}.dvc")
    for path in foreign:
        path.write_text("{}")
    (output / "shards" / ".ipynb_checkpoints").mkdir()
    assert featurize(sources, output, "--verify") == 0
    (sources / "0003.flac").unlink()
    assert featurize(sources, output) == 0
    assert all(it.exists() for it in (*foreign, output / "shards" / ".ipynb_checkpoints"))
    assert len(Features(output)) == 24


def test_verify_changes_nothing(
    finished: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It makes no folder, and needs no right to write."""
    sources, output = finished
    shutil.rmtree(output / "shards")
    plain = Path.open

    def read_only(path: Path, mode: str = "r", *more: Any, **others: Any) -> Any:
        if mode[0] != "r":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return plain(path, mode, *more, **others)

    monkeypatch.setattr(Path, "open", read_only)
    assert featurize(sources, output, "--verify") == 1
    assert not (output / "shards").exists()


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", none)
    assert featurize(corpus(tmp_path / "sources", 1), tmp_path / "out") == 0


def test_a_path_is_followed_once_it_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = tmp_path / "rows.parquet", tmp_path / "out"
    pq.write_table(pa.table({"audio": [{"path": "late.wav"}, {"path": "there.wav"}]}), source)
    soundfile.write(tmp_path / "there.wav", noise(1, 0.2), 16_000)
    assert featurize(source, output) == 0
    assert reasons(output).keys() == {"rows.parquet#0"}
    before = times(output)
    assert featurize(source, output) == 0
    assert times(output) == before
    soundfile.write(tmp_path / "late.wav", noise(2, 0.2), 16_000)
    capsys.readouterr()
    assert featurize(source, output) == 0
    assert f"{tmp_path / 'late.wav'} is there now\n" in capsys.readouterr().err
    assert len(Features(output)) == 2


def test_columns_of_files_that_come_and_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All columns there are, or those that were chosen; all shards have the same."""
    sources, output, chosen = tmp_path / "sources", tmp_path / "out", tmp_path / "chosen"
    sources.mkdir()
    soundfile.write(sources / "plain.wav", noise(1, 0.5), 16_000)
    table = pa.table({"audio": [noise(2, 0.5)], "text": ["first"], "id": [7]})
    nothing = pa.table({"audio": [noise(3, 0.5)], "text": pa.nulls(1)})
    for name, content in (("a", nothing), ("b", table), ("c", nothing)):
        pq.write_table(content, sources / f"{name}.parquet")
    assert featurize(sources, chosen, "--columns", "text", "--shard", "1") == 0
    (sources / "b.parquet").rename(tmp_path / "b.parquet")
    assert featurize(sources, output, "--shard", "1") == 0
    (tmp_path / "b.parquet").rename(sources / "b.parquet")
    capsys.readouterr()
    assert featurize(sources, output) == 0
    now = "columns to carry along are text (string), id (int64), were text (null)"
    assert capsys.readouterr().err.splitlines().count(now) == 1
    found = rows_of(output, "text", "id")
    assert [it["text"] for it in found.values()] == [None, "first", None, None]
    assert found["b.parquet#0"]["id"] == 7
    assert featurize(sources, chosen) == 0
    (sources / "b.parquet").unlink()
    for folder in (output, chosen):
        assert featurize(sources, folder) == 0
        assert [it["text"] for it in rows_of(folder, "text").values()] == 3 * [None]
        assert main(["-o", str(folder), "--verify"]) == 0
    with pytest.raises(ValueError, match="no 'id' in"):
        Features(chosen, ["id"])


def test_a_clip_that_is_not_accounted_for_is_an_error(
    finished: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sources, output = finished
    (sources / "0003.flac").unlink()
    monkeypatch.setattr(run, "_make", lambda *_: "")
    assert featurize(sources, output) == 2
    assert "the reports do not account for every clip once" in capsys.readouterr().err


# --------------------------------------------------------------------------- the run


def test_what_cannot_begin_is_said_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources, output = corpus(tmp_path / "sources", 2), tmp_path / "out"
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")

    def error(source: str, *options: str, to: Path = output) -> str:
        assert featurize(tmp_path / source, to, *options) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        assert said.err.startswith("featurize: ")
        return said.err

    assert "missing does not exist" in error("missing")
    assert "no audio in" in error("empty")
    assert "sources is the output" in error("sources", to=sources)
    assert "pipe: it is a fifo, and no file" in error("pipe")
    assert "file is a file: expected a folder" in error("sources", to=tmp_path / "file")
    assert "cannot go on: " in error("sources", to=tmp_path / "file" / "in it")
    assert "no output was begun there" in error("sources", "--verify", to=tmp_path / "new")
    assert "expected a window of 0 or at least 0.1 s" in error("sources", "--window", "0.05")
    assert "an overlap that is shorter" in error("sources", "--overlap", "2")
    assert main(["-o", str(tmp_path / "new")]) == 2
    assert "expected at least one SOURCE" in capsys.readouterr().err
    assert featurize(sources, output) == 0
    capsys.readouterr()
    assert "was begun with n_mels=80, this is n_mels=128" in error("sources", "--n-mels", "128")
    with Output(output).locked(to_read=False):
        assert "another run is writing" in error("sources")
        assert "another run is writing" in error("sources", "--verify")
    with Output(output).locked(to_read=True):
        assert "another run is writing" in error("sources")
        assert featurize(sources, output, "--verify") == 0


@pytest.mark.parametrize(
    ("option", "values", "expected"),
    [
        (
            "--window",
            ("-1", "0.00001", "nan", "sNaN", "inf", "1e400", "abc", ""),
            "seconds, from 0",
        ),
        ("--shard", ("0", "-1", "1.5", "x", ""), "an integer from 1"),
        ("--cpus", ("0", "x"), "an integer from 1"),
        ("--channel", ("-1", "x"), "an integer from 0"),
    ],
)
def test_values_of_options_are_checked(
    option: str, values: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in values:
        with pytest.raises(SystemExit):
            main(["-o", "nowhere", f"{option}={wrong}"])
        said = capsys.readouterr().err.splitlines()[-1]
        assert f"argument {option}: {wrong}: expected {expected}" in said


def test_seconds_are_decimal() -> None:
    """2.01 times 16000 is no integer in binary."""
    for window in range(10, 400):
        options = _parser().parse_args(["-o", "nowhere", "--window", f"{window / 100:.2f}"])
        assert options.window == 160 * window


def test_what_is_not_given_is_as_before(tmp_path: Path) -> None:
    sources, output = corpus(tmp_path / "sources", 2), tmp_path / "out"
    assert featurize(sources, output, "--n-mels", "128", "--overlap", "0.5", "--channel", "0") == 0
    before = times(output)
    assert main(["-o", str(output)]) == 0
    assert times(output) == before
    (row, *_) = Features(output)
    left = load_audio(sources / "0000.wav", channel=0)
    assert np.array_equal(row["features"], log_mel(left, 128, pad_to=WINDOW))


def test_a_full_disk_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a sentence, and without leaving anything; later it goes on."""
    sources, output = corpus(tmp_path / "sources", 20), tmp_path / "out"
    log_mel(np.zeros(400, np.float32))  # compiled without the limit
    # Else Python would store the first 16 KiB of the bytecode of what is imported first here.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, limits[1]))
    try:
        status = featurize(sources, output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 2
    said = capsys.readouterr().err
    assert f"featurize: cannot write to {output}: File too large" in said
    assert not list(output.rglob("*.partial"))
    assert featurize(sources, output) == 0
    assert_complete(sources, output)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    (sources / "0003.flac").unlink()
    monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(full))
    assert featurize(sources, output) == 2
    assert "featurize: cannot go on: No space left on device\n" in capsys.readouterr().err


def test_ctrl_c_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "make_shards", interrupted)
    assert featurize(corpus(tmp_path / "sources", 2), tmp_path / "out") == 130
    assert "featurize: interrupted; the same command continues\n" in capsys.readouterr().err


def test_figures_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources, output = corpus(tmp_path / "sources", 2), tmp_path / "out"
    assert featurize(sources, output, "--stats") == 0
    out = capsys.readouterr().out
    assert out.startswith("4 clips in ")
    sizes = [path.stat().st_size for path in (output / "shards").iterdir()]
    assert f" {sum(sizes) / 5:,.0f} bytes a row\n" in out
    assert featurize(sources, output, "--stats") == 0
    assert "bytes a row" not in capsys.readouterr().out, "nothing was made"


def test_it_is_a_command_of_whisper_mel(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        whisper_mel(["featurize", "--help"])
    assert ended.value.code == 0
    assert "usage: whisper-mel featurize" in capsys.readouterr().out
