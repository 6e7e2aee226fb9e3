"""Features from a data loader: every row, in the order that was asked for, whatever the workers."""

from __future__ import annotations

import itertools
import os
import pickle
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from corpora import noise
from daily import by_day
from torch.utils.data import DataLoader, get_worker_info
from whisper_mel_mojo import log_mel
from whisper_mel_mojo.corpus.files import read_json, write_json
from whisper_mel_mojo.data import Features
from whisper_mel_mojo.featurize import main

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # on two CPUs
]

ROWS = 22


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of 22 clips in four shards, of several row groups each."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        corpora.without_ray(patch)
        audio = [noise(number, 0.2) for number in range(ROWS)]
        pq.write_table(pa.table({"audio": audio, "number": range(ROWS)}), folder / "all.parquet")
        given = ["--window", "12", "--shard", "6"]  # 384 kB each: three are a row group
        assert main([str(folder / "all.parquet"), "-o", str(folder / "out"), *given]) == 0
    return folder / "out"


@pytest.fixture
def features(output: Path) -> Features:
    return Features(output, columns=["number"])


def numbers(batches: Any) -> list[int]:
    return [int(it) for batch in batches for it in batch["number"]]


def test_rows_are_read_one_by_one(features: Features) -> None:
    assert len(features) == ROWS
    for number in (0, 21, 5, 6, -1, -22):
        row = features[number]
        assert row.keys() == {"features", "number"}
        assert row["number"] == number % ROWS
        expected = log_mel(noise(number % ROWS, 0.2), pad_to=192_000)
        assert np.array_equal(row["features"], expected)
        row["features"][:] = 0  # it belongs to whoever asked for it
    assert [it["number"] for it in features] == features.column("number") == list(range(ROWS))
    assert [it["number"] for it in features[3:9:2]] == [3, 5, 7]
    for wrong in (22, -23):
        with pytest.raises(IndexError, match=f"index={wrong}: expected one of 22 rows"):
            features[wrong]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda it: it.order(start=-1), "start=-1: expected 0 to 22"),
        (lambda it: it.stream(4, start=23), "start=23: expected 0 to 22"),
        (lambda it: it.order(seed=-1), "seed=-1, epoch=0: expected integers from 0"),
        (lambda it: it.order(seed=1, epoch=-1), "seed=1, epoch=-1: expected integers"),
        (lambda it: it.stream(0), "batch_size=0: expected at least 1"),
        (lambda it: it.stream(1, rank=2, ranks=2), "rank=2, ranks=2: expected a rank from 0"),
        (lambda it: it.stream(1, rank=-1, ranks=2), "rank=-1, ranks=2: expected"),
        (lambda it: it.stream(1, ranks=0), "rank=0, ranks=0: expected"),
        (lambda it: it.column("speaker"), r"column 'speaker': expected one of \['clip'"),
        (lambda it: Features(it._folder, columns="clip"), "columns='clip': expected a list of"),
    ],
)
def test_wrong_arguments_are_named(features: Features, call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(features)
    for wrong in (1.0, "1", None, [1]):
        with pytest.raises(TypeError, match="integer"):
            features[wrong]


def test_features_may_be_named_with_the_columns(output: Path) -> None:
    (row, *_) = Features(output, columns=["features", "number"])
    assert row.keys() == {"features", "number"}
    assert row["features"].shape == (80, 1200)


def test_only_the_row_group_is_read(output: Path, features: Features) -> None:
    (shard, *_) = sorted((output / "shards").iterdir())
    parquet = pq.ParquetFile(shard)
    assert [parquet.metadata.row_group(it).num_rows for it in range(2)] == [3, 3]


def test_orders_are_permutations_that_a_seed_decides(features: Features) -> None:
    assert features.order() == list(range(ROWS))
    first = features.order(seed=1)
    assert sorted(first) == list(range(ROWS))
    assert first == features.order(seed=1) != features.order(seed=2)
    assert features.order(seed=1, epoch=1) not in (first, features.order(seed=2))
    assert features.order(seed=1, start=5) == first[5:]


@pytest.mark.parametrize(
    ("context", "workers"), by_day([("fork", 1), ("fork", 3), ("spawn", 2)], [("fork", 3)])
)
def test_workers(features: Features, context: str, workers: int) -> None:
    """However they are started, both styles give the order, from where it is to begin."""
    settings: Any = {"batch_size": 4, "num_workers": workers, "multiprocessing_context": context}
    order = features.order(seed=3, start=4)
    first = features[order[0]]["features"]  # this process has a file open
    batches = list(DataLoader(features, sampler=order, **settings))
    assert numbers(batches) == order
    assert numbers(DataLoader(features.stream(4, seed=3, start=4), **settings)) == order
    assert torch.equal(batches[0]["features"][0], torch.from_numpy(first))


def test_without_workers(features: Features) -> None:
    assert numbers(DataLoader(features, batch_size=5)) == list(range(ROWS))
    assert sorted(numbers(DataLoader(features, batch_size=5, shuffle=True))) == list(range(ROWS))
    stream = features.stream(5, seed=1)
    assert len(stream) == ROWS
    assert numbers(DataLoader(stream, batch_size=5)) == features.order(seed=1)
    assert [it["number"] for it in stream] == features.order(seed=1)


def test_ranks_share_an_epoch(features: Features) -> None:
    """Equally many batches each, none twice."""
    parts = [
        numbers(DataLoader(features.stream(3, seed=1, rank=rank, ranks=2), batch_size=3))
        for rank in range(2)
    ]
    order = features.order(seed=1)
    batches = [order[at : at + 3] for at in range(0, 18, 3)]
    assert parts == [list(itertools.chain(*batches[rank::2])) for rank in range(2)]


def test_a_forked_process_opens_its_own_files(features: Features) -> None:
    features[0]
    child = os.fork()
    if not child:
        files = dict(features._files)
        same = features[0]["number"] == 0 and features._files[0] is files[0]
        os._exit(1 if same else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_it_is_pickled_without_its_files(features: Features) -> None:
    features[0]
    assert get_worker_info() is None
    copy = pickle.loads(pickle.dumps(features))
    assert copy[7]["number"] == 7


def test_few_files_are_open_at_a_time(features: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whisper_mel_mojo.data.OPEN", 2)
    for number in (0, 6, 12, 18, 0, 21):
        assert features[number]["number"] == number
        assert len(features._files) <= 2


def test_what_is_no_finished_output_is_said(output: Path, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"manifest.json does not exist: expected an output"
    ):
        Features(tmp_path)
    with pytest.raises(ValueError, match=r"columns=\['speaker'\]: no 'speaker' in"):
        Features(output, columns=["speaker"])
    written = tmp_path / "manifest.json"
    whole = read_json(output / "manifest.json")
    write_json(written, whole | {"complete": False})
    with pytest.raises(ValueError, match="is not finished: the same command continues it"):
        Features(tmp_path)
    write_json(written, whole)
    for content in (written.read_text()[:-9], "", written.read_text().replace("6", "5")):
        written.write_text(content)
        with pytest.raises(ValueError, match=r"manifest.json is cut off or spoiled"):
            Features(tmp_path)
    write_json(written, whole)
    (tmp_path / "shards").mkdir()
    for shard in (output / "shards").iterdir():
        (tmp_path / "shards" / shard.name).write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"bytes, and had .* makes it anew"):
        Features(tmp_path)[0]
