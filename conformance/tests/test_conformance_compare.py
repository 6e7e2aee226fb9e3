"""whisper-mel compare: what it prints of a recording, and that each column can tell."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from correct_front_ends import right
from whisper_mel_conformance.compare import cli, devices, worker
from whisper_mel_conformance.compare.pairing import Timing
from whisper_mel_conformance.frontend.load import inspect_front_end
from whisper_mel_golden.speech import SPEECH, load_recording, write_wav
from whisper_mel_reference import WHISPER, log_mel, truth

FRONT_ENDS = """
import os
import numpy as np
from whisper_mel_reference import WHISPER, log_mel

def right(audio, n_mels=80):
    return log_mel(audio, WHISPER.replace(n_mels=n_mels)).astype(np.float32)

def greedy(audio, n_mels=80):
    np.ones(50_000_000)  # 400 MB, far more than the pages of files that the system takes back
    return log_mel(audio, WHISPER.replace(n_mels=n_mels), dtype=np.float32)

def symmetric(audio, n_mels=80):
    spec = WHISPER.replace(n_mels=n_mels, window="hann-symmetric")
    return log_mel(audio, spec).astype(np.float32)

def cut(audio, n_mels=80):
    return symmetric(audio, n_mels)[:, :-1]

def crash(audio, n_mels=80):
    os._exit(7)

def broken(audio, n_mels=80):
    print("this must not come between results")
    raise KeyError("wisdom")
"""


def test_a_recording(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With front-ends of which each shows in a column: no timing is looked at. The first one, that
    the others are measured beside, is right."""
    module = tmp_path / "front_ends.py"
    module.write_text(FRONT_ENDS)
    names = ["right", "greedy", "symmetric", "cut", "crash", "broken"]
    chosen = [f"{module}:{name}" for name in names]
    write_wav(tmp_path / "speech.wav", load_recording("cards")[:16_000])
    arguments = [str(tmp_path / "speech.wav"), "--seconds", "0", "--output", str(tmp_path / "out")]
    arguments += [part for name in chosen for part in ("--frontend", name)]
    assert cli.main([*arguments, "--picture", chosen[2]]) == 0

    record = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert [*record["paths"]] == chosen
    first, greedy, symmetric, cut, crash, broken = record["paths"].values()
    assert first["class"] == greedy["class"] == "A"
    assert first["worst"] <= 1
    assert greedy["host_rise"] > 250e6
    assert max(it["host_rise"] for it in (first, symmetric)) < 100e6
    assert greedy["host_peak"] > first["host_peak"] + 100e6
    assert symmetric["class"] == "fails"
    assert symmetric["worst"] > 100
    assert symmetric["ratio"] > 0
    assert cut["class"] == "fails"
    assert cut["reason"] == "shape (80, 99), not (80, 100)"
    assert "ended with status 7" in crash["skipped"]
    assert broken["skipped"] == "failed: KeyError: 'wisdom'"
    assert all(it["copies"] is None and it["gpu_rise"] is None for it in (first, greedy))

    printed = capfd.readouterr().out
    assert "no CUDA device" in printed
    for name in names:
        assert name in printed
    assert "bounds" in printed, "where the symmetric window is worst"
    if importlib.util.find_spec("matplotlib"):
        assert (tmp_path / "out" / "compare.png").read_bytes().startswith(b"\x89PNG")
        assert f"shows {chosen[0]} beside {chosen[2]}" in printed
    else:
        assert 'no picture: pip install "whisper-mel-conformance[compare]"' in printed


def scripted(results: dict[str, Any], asked: list[Any]) -> Any:
    """A stand-in for the processes that measure: their results by the name of the path."""

    def run(module: str, title: str, task: Any) -> Any:
        asked.append(task)
        if title not in results:
            raise RuntimeError(f"{title} ended with status 1")
        if "skipped" not in results[title]:
            np.save(task["features"], np.zeros((80, 350), np.float32))
        yield dict(results[title])

    return run


MEASURED = {
    "copies": None,
    "gpu_rise": None,
    "host_peak": 1e8,
    "host_rise": None,
    "ms": 1.0,
    "ratio": 2.0,
    "undecided": False,
    "noisy": False,
}


def test_a_bad_first_front_end_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "run_worker", scripted({}, []))
    arguments = [str(SPEECH / "cards.wav"), "--frontend", "librosa", "--output", str(tmp_path)]
    assert cli.main(arguments) == 1
    printed = capsys.readouterr().out
    assert "librosa: failed: librosa ended with status 1" in printed
    assert "no picture: there are no features of another front-end" in printed
    (tmp_path / "file").touch()
    assert cli.main([*arguments[:-1], str(tmp_path / "file")]) == 2
    assert "file" in capsys.readouterr().err


def test_others_are_measured_beside_the_first_that_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without ``--frontend`` these are the peers, of which some are not installed."""
    absent = {"skipped": "is not installed (no module)"}
    results = {"a": absent, "b": MEASURED, "c": absent, "d": MEASURED}
    monkeypatch.setattr(cli, "peers", lambda which="all": [*results] if which == "all" else [])
    asked: list[Any] = []
    monkeypatch.setattr(cli, "run_worker", scripted(results, asked))
    arguments = [str(SPEECH / "cards.wav"), "--output", str(tmp_path)]
    assert cli.main(arguments) == 1, "zeros are not of class A"
    beside = [(it["path"], it["beside"]) for it in asked]
    assert beside == [("a", "a"), ("b", "b"), ("c", "b"), ("d", "b")]
    printed = capsys.readouterr().out
    assert "not installed: a, c\n" in printed
    assert "b: value[" in printed

    monkeypatch.setattr(cli, "require_known", lambda name: None)
    for words, names in (
        (["--frontend", "mine"], ["mine"]),
        (["--frontend", "mine", "--peers", "all"], ["mine", "a", "b", "c", "d"]),
    ):
        asked.clear()
        cli.main([*arguments, *words])
        assert [it["path"] for it in asked] == names


def test_what_reads_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """WAV as the goldens are is read without another package; one that reads more is used."""
    monkeypatch.setattr(cli, "entry_points", lambda group: ())
    expected = load_recording("cards") / np.float32(32768)
    np.testing.assert_array_equal(cli.read(SPEECH / "cards.wav"), expected)
    for name, content, reason in (
        ("music.mp3", b"ID3", "is damaged"),
        ("folder", None, "is no file"),
        ("absent.wav", None, "does not exist"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        elif name == "folder":
            path.mkdir()
        assert cli.main([str(path)]) == 2
        error = capsys.readouterr().err
        assert reason in error and error.count(str(path)) == 1
        assert ("whisper-mel-mojo[audio]" in error) == (content is not None)

    def reader(path: Path) -> Any:
        return expected[: len(path.name)]

    entry = SimpleNamespace(load=lambda: reader)
    monkeypatch.setattr(cli, "entry_points", lambda group: [entry] if group == cli.READERS else [])
    assert cli.read(Path("other.m4a")).size == len("other.m4a")


@pytest.mark.parametrize(
    ("able", "words"),
    [({"multiple_of": 1600}, "multiples of 1,600"), ({"max_samples": 1999}, "1,999 samples at")],
)
def test_who_would_fill_up_or_cut_the_recording_is_left_out(
    able: dict[str, Any], words: str
) -> None:
    front_end = inspect_front_end(SimpleNamespace(log_mel=right, capabilities=able), "some")
    with pytest.raises(NotImplementedError, match=words):
        worker.bind(front_end, np.zeros(2000, np.float32), 80)
    assert worker.bind(front_end, np.zeros(1600, np.float32), 80)().shape == (80, 10)


def test_what_is_declared_of_a_peer_is_said_beside_its_failure() -> None:
    """In the matrix that part is left out of its class; here it is not."""
    wrong = {"class": "fails", "reason": "shape (80, 3100), not (80, 100)", "worst": None}
    said = cli.why("whisper-cpp", wrong)
    assert said.startswith("shape (80, 3100), not (80, 100). Declared of it")
    assert "only its 30 s of zeros replace the mirrored end" in said
    assert cli.why("mojo-cpu", wrong) == wrong["reason"]


@pytest.mark.parametrize(
    ("name", "samples", "reason"),
    [
        ("missing.wav", None, "does not exist"),
        ("short.wav", 100, "needs at least 201"),
        ("empty.wav", 0, "has no samples"),
    ],
)
def test_what_cannot_be_compared(
    name: str,
    samples: int | None,
    reason: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / name
    if samples is not None:
        write_wav(path, np.ones(samples, np.int16))
    assert cli.main([str(path), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert reason in error
    assert not (tmp_path / "out").exists()


def test_an_unknown_front_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([str(SPEECH / "cards.wav"), "--frontend", "libros"]) == 2
    assert "no such name" in capsys.readouterr().err


def test_nan_and_noise_do_not_pass() -> None:
    audio = load_recording("cards")[:16_000] / np.float32(32768)
    exact = truth(audio, WHISPER)
    features = log_mel(audio, WHISPER).astype(np.float32)
    assert cli.judged(features, exact)["class"] == "A"
    features[3, 5] = np.nan
    assert cli.judged(features, exact)["class"] == "fails"
    assert cli.judged(features, exact)["worst"] is None


# --------------------------------------------------------------------------- devices


class Cuda:
    """Stands in for a device: counts its memory, knows what its driver traced."""

    def __init__(self, torch: Any, patch: pytest.MonkeyPatch) -> None:
        self.free = 1000
        self.trace: list[str] = []
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "get_device_name", lambda index: f"fake {index}")
        patch.setattr(torch.cuda, "mem_get_info", lambda: (self.free, 1000))
        patch.setattr(torch.cuda, "synchronize", lambda: self.trace.append("synchronize"))
        patch.setattr(torch.profiler, "profile", lambda activities: self)

    def __enter__(self) -> Cuda:
        self.trace = []
        return self

    def __exit__(self, *error: Any) -> None: ...

    def events(self) -> list[Any]:
        return [SimpleNamespace(name=name) for name in self.trace]


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is in the layer `test`")


@pytest.fixture
def cuda(torch: Any, monkeypatch: pytest.MonkeyPatch) -> Cuda:
    return Cuda(torch, monkeypatch)


def test_where_there_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "torch", None)
    assert devices.device() is None


def test_copies_are_counted_by_direction(cuda: Cuda) -> None:
    assert devices.device() == "fake 0"

    def call() -> None:
        cuda.trace += 2 * ["Memcpy HtoD (Pageable -> Device)"] + ["Memcpy DtoH (Device -> Pinned)"]
        cuda.trace += ["Memcpy DtoD (Device -> Device)", "kernel", "Memset (Device)"]

    assert devices.copies(call) == {"to the device": 2, "from it": 1}
    assert devices.copies(lambda: None) == {"to the device": 0, "from it": 0}


def test_the_devices_memory_is_watched(
    torch: Any, cuda: Cuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a call keeps, and what it only has for a while: until it has been looked at."""
    looks: list[int] = []

    def look() -> tuple[int, int]:
        looks.append(cuda.free)
        return cuda.free, 1000

    monkeypatch.setattr(torch.cuda, "mem_get_info", look)

    def call() -> None:
        cuda.free = 300
        while 300 not in looks:
            pass
        cuda.free = 900

    assert devices.memory_rise(call) == 700
    assert devices.memory_rise(lambda: setattr(cuda, "free", 850)) == 50


def test_where_there_is_a_device_it_is_in_the_table() -> None:
    result = {
        "copies": {"to the device": 1, "from it": 0},
        "gpu_rise": 4_200_000,
        "host_peak": 30_000_000,
        "host_rise": None,
        "ms": 1.25,
        "ratio": 2.0,
        "undecided": True,
        "noisy": True,
        "worst": 0.25,
        "class": "A",
    }
    cells = cli.row("mojo-gpu on CUDA", result)
    assert cells[:5] == ["mojo-gpu on CUDA", "1 to the device, 0 from it", "30.0", "?", "4.2"]
    assert cells[5:] == ["1.25", "2x = ~", "0.25", "A"]


@pytest.mark.parametrize(
    ("other", "is_undecided"),
    [
        ((1.0, 1.1, 0.9, 1.0, 1.2), True),
        ((1.0,) * 5, True),
        ((1.1, 1.2, 1.1, 1.2, 0.9), False),
        ((0.9, 0.8, 0.9, 0.8, 1.1), False),
    ],
)
def test_a_ratio_within_the_spread_is_no_difference(
    other: tuple[float, ...], is_undecided: bool
) -> None:
    """As of a front-end beside itself: some rounds are longer, some shorter."""
    assert Timing((1.0,) * 5, other, 0.0).is_undecided == is_undecided


# --------------------------------------------------------------------------- picture


@pytest.fixture
def picture() -> Any:
    name = "whisper_mel_conformance.compare.picture"
    return pytest.importorskip(name, reason="matplotlib is in the layer `test`")


@pytest.mark.parametrize("n", [1, 1999, 2000, 2001, 123_456])
def test_no_extreme_is_lost_between_pixels(n: int, picture: Any) -> None:
    values = np.zeros((2, n))
    values[1, n // 3] = 7
    shown = picture.largest(values)
    assert shown.shape == (2, min(n, picture.COLUMNS))
    assert shown[1].max() == 7
    assert shown[0].max() == 0
    assert (shown[1] == 7).sum() == 1


def test_what_is_not_finite_can_be_drawn(picture: Any) -> None:
    ours = np.ones((80, 10))
    theirs = ours.copy()
    theirs[0, :2] = np.nan, np.inf
    drawn = picture.draw(np.ones(1600), {"ours": ours, "theirs": theirs}, ours)
    assert drawn.startswith(b"\x89PNG")
