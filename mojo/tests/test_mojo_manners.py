"""Mistakes are named for what they are; ragged batches, tensors, version, missing extras."""

from __future__ import annotations

import builtins
import importlib.metadata
import io
import re
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import whisper_mel_mojo
from programs import ran
from whisper_mel_mojo import audio_file, features, log_mel
from whisper_mel_reference import CLASS_A, WHISPER, score
from whisper_mel_reference import log_mel as reference

CLIP = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000).astype(np.float32)
STEREO = np.stack([CLIP, CLIP], axis=1)


@pytest.mark.parametrize(
    ("audio", "more", "kind", "words"),
    [
        (CLIP, {"sampling_rate": 44_100}, ValueError, "sampling_rate=44100: expected 16000"),
        (STEREO, {}, ValueError, "2 channels, average them first: audio.mean(axis=1)"),
        ("speech.wav", {}, TypeError, "audio='speech.wav': expected samples"),
        (Path("speech.wav"), {}, TypeError, "load_audio reads them from a file"),
        (
            [[0.1] * 300, [0.1] * 400],
            {},
            ValueError,
            "has clips of different lengths. Call",
        ),
        (STEREO[:, :1], {}, ValueError, "(16000, 1): expected (n,) or (batch, n). If this is one"),
        ("x" * 1000, {}, TypeError, "xxx: expected samples. whisper"),
        (bytes(4000), {}, TypeError, "audio is of type bytes: expected samples, of 16-bit PCM"),
        (bytearray(4000), {}, TypeError, "np.frombuffer(audio, np.int16)"),
        (
            memoryview(bytes(4000)),
            {},
            TypeError,
            "audio is of type memoryview: expected samples, of 16",
        ),
        ((x for x in CLIP), {}, TypeError, "audio is of type generator: expected an array"),
        (io.BytesIO(), {}, TypeError, "audio is of type BytesIO: expected an array of samples"),
        (CLIP, {"pad_to": 30}, ValueError, "pad_to=30, a number of samples: 30 s are 480000"),
        (CLIP, {"pad_to": 3000}, ValueError, "pad_to=3000, a number of samples (30 s: 480000)"),
        (CLIP, {"pad_to": 30.0}, TypeError, "a number of samples (30 s: 480000)"),
        (
            CLIP,
            {"lengths": [5]},
            ValueError,
            "expected with audio of shape (batch, n), not (16000,)",
        ),
        (
            [CLIP, CLIP[:9]],
            {},
            ValueError,
            "a list, cannot be read as an array: it",
        ),
        (
            (CLIP, 16_000),
            {},
            ValueError,
            "Give the samples alone: audio[0]",
        ),
        ((16_000, CLIP), {}, ValueError, "Give the samples alone: audio[1]"),
        (torch.tensor(CLIP).to_sparse(), {}, TypeError, "layout torch.sparse_coo: expected"),
        (None, {}, TypeError, "audio is None: expected samples"),
        (
            {"array": CLIP, "sampling_rate": 16_000},
            {},
            TypeError,
            "audio is a mapping: expected samples, such as audio['array']",
        ),
        ({"path": "a.wav"}, {}, TypeError, "audio is a mapping: expected samples"),
        (CLIP.astype(np.int32), {}, TypeError, "float32 by (audio / 2**31).astype(np.float32)"),
        (CLIP.astype(np.uint8), {}, TypeError, "int16 by (audio.astype(np.int16) - 128) * 256"),
        (CLIP, {"pad_to": 0}, ValueError, "pad_to=0: expected at least 201 samples, or None"),
        (CLIP, {"pad_to": -1}, ValueError, "pad_to=-1: expected at least 201 samples, or None"),
        (
            CLIP[None],
            {"lengths": [1, 2]},
            ValueError,
            "lengths has 2 for a batch of 1",
        ),
        (CLIP[None], {"lengths": [16_001]}, ValueError, "lengths[0]=16001: expected 1 to 16000"),
        (CLIP[None], {"lengths": [0]}, ValueError, "lengths[0]=0: expected 1 to 16000"),
        (
            CLIP[None],
            {"lengths": [100]},
            ValueError,
            "clip 0, lengths[0]=100: audio has 100 samples",
        ),
        (
            CLIP[None],
            {"lengths": [1.5]},
            TypeError,
            "lengths[0]=1.5: expected an int, not float, a number of samples",
        ),
    ],
)
def test_a_mistake_is_named(audio: Any, more: dict[str, Any], kind: Any, words: str) -> None:
    with pytest.raises(kind, match=re.escape(words)) as caught:
        log_mel(audio, **more)
    assert len(str(caught.value)) < 400


def test_a_batch_of_few_samples_is_no_stereo() -> None:
    """Two clips, and many clips of more samples than there are channels anywhere."""
    assert log_mel(STEREO.T).shape == (2, 80, 100)
    assert log_mel(np.zeros((300, 9), np.float32), pad_to=480).shape == (300, 80, 3)
    assert log_mel(CLIP, sampling_rate=16_000).shape == (80, 100)


@pytest.mark.parametrize("smoothing", [None, "same", "valid"])
@pytest.mark.parametrize("pad_to", [None, 8000])
@pytest.mark.parametrize("n_mels", [80, 128])
def test_ragged_batches_are_the_reference_s(
    smoothing: Any, pad_to: int | None, n_mels: int
) -> None:
    lengths = [6400, 500, 3199, 480, 4001]
    batch = np.full((5, 6400), np.nan, np.float32)
    for i, (row, n) in enumerate(zip(batch, lengths, strict=True)):
        row[:n] = CLIP[i * 100 : i * 100 + n] * 10.0**-i
    whole = np.nan_to_num(batch)
    spec = WHISPER.replace(smoothing=smoothing, pad_to=pad_to, n_mels=n_mels)
    out = np.empty(reference(whole, spec).shape, np.float32)
    made = log_mel(
        batch, n_mels, lengths=lengths, smoothing=smoothing, pad_to=pad_to, out=out, threads=1
    )
    assert made is out
    assert score(made, whole, spec, lengths=lengths) <= CLASS_A
    assert (
        not score(
            log_mel(whole, n_mels, smoothing=smoothing, pad_to=pad_to), whole, spec, lengths=lengths
        )
        <= CLASS_A
        or pad_to is not None
    )


LOUD = """
import sys, warnings
import numpy as np
from whisper_mel_mojo import log_mel
loud = np.array(eval(sys.argv[1]), sys.argv[2])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(3):
        log_mel(np.resize(loud, 16000))
print([f"{w.category.__name__}: {w.message} at {w.filename}" for w in caught])
"""


@pytest.mark.parametrize(
    ("values", "dtype", "warns"),
    [
        ("[1000, -12345, 3]", "float32", True),
        ("[1000, -12345, 3]", "float64", True),
        ("[1000, -12345, 3]", "int16", False),
        ("[1.9, -0.3]", "float32", False),
        ("[1e9]", "float32", False),
    ],
)
def test_int16_in_a_float_is_warned_of_once(values: str, dtype: str, warns: bool) -> None:
    done = ran([sys.executable, "-c", LOUD, values, dtype], check=True).stdout
    assert done.count("UserWarning") == warns
    if warns:
        assert "amplitudes up to 1.23e+04: full scale of float audio is 1" in done
        assert "at <string>" in done  # at the call, not within the kernel's code


def test_later_calls_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_unheard", 2)
    log_mel(CLIP)
    assert features._unheard == 1
    log_mel(CLIP)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        log_mel(CLIP * 1000)
    assert caught == []
    assert features._unheard == 0


def test_a_tensor_gives_a_tensor() -> None:
    tensor = torch.from_numpy(CLIP).requires_grad_()
    made: Any = log_mel(tensor, 128)
    assert isinstance(made, torch.Tensor)
    np.testing.assert_array_equal(made.detach().numpy(), log_mel(CLIP, 128))
    made.sum().backward()
    assert tensor.grad is not None
    batch = torch.from_numpy(np.stack([CLIP, CLIP]))
    ragged: Any = log_mel(batch, lengths=[16_000, 800])
    assert isinstance(ragged, torch.Tensor)
    expected = log_mel(batch.numpy(), lengths=[16_000, 800])
    np.testing.assert_array_equal(ragged.numpy(), expected)
    out = np.empty((80, 100), np.float32)
    assert log_mel(torch.from_numpy(CLIP), out=out) is out


def test_other_threads_run_while_an_hour_is_computed() -> None:
    """A call gives the interpreter's lock back: this thread counts while another computes."""
    hour = np.zeros(3600 * 16_000, np.int16)
    log_mel(CLIP)  # the kernel is built and loaded
    started = threading.Event()

    def compute() -> None:
        started.set()
        log_mel(hour, threads=1)

    computing = threading.Thread(target=compute)
    held = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)  # nobody is made to give the lock: who has it must let it go
    try:
        computing.start()
        started.wait()
        counted = 0
        while computing.is_alive():
            counted += 1
            time.sleep(0)
    finally:
        sys.setswitchinterval(held)
        computing.join()
    assert counted > 10


def test_it_has_a_version() -> None:
    assert whisper_mel_mojo.__version__ == importlib.metadata.version("whisper-mel-mojo")
    with pytest.raises(AttributeError, match="has no attribute 'nonesuch'"):
        whisper_mel_mojo.nonesuch  # noqa: B018


def test_a_missing_extra_is_named_with_its_install_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(800), 8_000)
    plain = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == "soxr":
            raise ImportError("No module named 'soxr'")
        return plain(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=re.escape('pip install "whisper-mel-mojo[audio]"')):
        audio_file.load_audio(tmp_path / "a.wav")
