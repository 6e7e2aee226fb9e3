"""Streams: any cutting gives the offline features, bit for bit, and no memory grows but theirs."""

from __future__ import annotations

import ctypes
import tracemalloc
from functools import partial
from typing import Any

import numpy as np
import pytest
from clips import noise
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from whisper_mel_mojo import Stream, frontends, log_mel
from whisper_mel_mojo.library import library

Array = NDArray[Any]
SETTINGS = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MAXIMA = ("clip", 1.5, -3.0)


def final(n: int) -> int:
    """Frames that more than ``n`` samples don't change, as docs/streaming.md says."""
    return (n - 40) // 160 if n > 200 else 0


def levels(n: int, seed: int = 0) -> Array:
    """Noise that becomes louder and quieter, so that the maximum grows while it goes on."""
    return noise(n, seed) * np.float32(10) ** (3 * np.sin(np.arange(n) / 3000)).astype(np.float32)


def cut(audio: Array, sizes: list[int]) -> list[Array]:
    """Pieces of these sizes, again and again."""
    pieces, at, i = [], 0, 0
    while at < len(audio):
        size = sizes[i % len(sizes)]
        pieces.append(audio[at : at + size])
        at, i = at + size, i + 1
    return pieces


def same(a: Array, b: Array) -> None:
    assert a.dtype == b.dtype == np.float32
    assert a.shape == b.shape
    assert a.tobytes() == b.tobytes()


# Empty pieces, single samples, 10 ms, 200 ms, primes; one at least takes the stream on.
SIZES = st.lists(
    st.sampled_from([0, 1, 2, 7, 160, 199, 997, 3200, 20_011]) | st.integers(0, 1000),
    min_size=1,
    max_size=6,
).filter(lambda sizes: sum(sizes) >= 50 * len(sizes))


@SETTINGS
@given(
    n=st.integers(201, 12_000),
    sizes=SIZES,
    n_mels=st.sampled_from([80, 128]),
    maximum=st.sampled_from(MAXIMA),
    is_int16=st.booleans(),
)
def test_any_cutting(n: int, sizes: list[int], n_mels: int, maximum: Any, is_int16: bool) -> None:
    audio = levels(n)
    if is_int16:
        audio = np.round(audio / np.abs(audio).max() * 30_000).astype(np.int16)
    stream = Stream(n_mels, maximum=maximum)
    parts, pushed = [], 0
    for piece in cut(audio, sizes):
        parts.append(stream.push(piece))
        pushed += len(piece)
        assert (stream.n_samples, stream.n_frames) == (pushed, final(pushed))
        assert parts[-1].shape[1] <= final(pushed)
        if pushed > 200:
            same(stream.features(), log_mel(audio[:pushed], n_mels, maximum=maximum))
    if maximum == "clip":
        assert sum(part.shape[1] for part in parts) == 0
    else:
        assert sum(part.shape[1] for part in parts) == final(n)
    parts.append(stream.finish())
    same(np.concatenate(parts, axis=1), log_mel(audio, n_mels, maximum=maximum))


@pytest.mark.parametrize("maximum", MAXIMA)
def test_single_samples(maximum: Any) -> None:
    """Every length is a length at which the stream may end."""
    audio = levels(1500)
    stream = Stream(maximum=maximum)
    for i in range(len(audio)):
        stream.push(audio[i : i + 1])
        if i >= 200:
            same(stream.features(), log_mel(audio[: i + 1], maximum=maximum))
            padded = {"pad_to": i + 1 + 7 * (i % 50), "maximum": maximum}
            same(stream.features(pad_to=padded["pad_to"]), log_mel(audio[: i + 1], **padded))
    same(stream.features(), log_mel(audio, maximum=maximum))


def test_final_frames_are_final_and_others_are_not() -> None:
    """What docs/streaming.md says of frames: each of them, whatever comes next."""
    for n in range(201, 1000, 13):
        audio = levels(n)
        frames = final(n)
        one, other = (
            log_mel(np.append(audio, levels(400, seed) * 9), maximum=1.5) for seed in (1, 2)
        )
        same(one[:, :frames].copy(), other[:, :frames].copy())
        if n // 160 > frames:
            assert (one[:, frames] != other[:, frames]).any()


@pytest.mark.parametrize("maximum", MAXIMA)
def test_window(maximum: Any) -> None:
    """Short audio as padded; then the last frames of the whole, with a maximum of their own."""
    audio = levels(60_000)
    stream = Stream(maximum=maximum, keep=100)
    every = Stream(maximum=maximum)
    pushed = 0
    for piece in cut(audio, [1601, 3200, 40]):
        stream.push(piece)
        every.push(piece)
        pushed += len(piece)
        window = stream.window(100)
        same(window, every.window(100))
        if pushed <= 16_000:
            same(window, log_mel(audio[:pushed], pad_to=16_000, maximum=maximum))
        else:
            logs = log_mel(audio[:pushed], maximum=-100.0)[:, -100:]
            least = logs.max() - np.float32(2) if maximum == "clip" else (maximum - 4) / 4
            same(window, np.maximum(logs, np.float32(least)))
    with pytest.raises(ValueError, match="no longer kept: expected keep=None, or window"):
        stream.features()
    with pytest.raises(ValueError, match="frames=101: expected at most keep=100"):
        stream.window(101)
    same(every.features(), log_mel(audio, maximum=maximum))


@pytest.mark.parametrize("maximum", MAXIMA)
def test_memory_does_not_grow(maximum: Any) -> None:
    """With `out`, and frames kept for a window: pushes allocate nothing after the first ones."""
    audio = levels(3200)
    stream = Stream(maximum=maximum, keep=300)
    outs = {k: np.empty((80, 0 if maximum == "clip" else k), np.float32) for k in range(30)}
    window = np.empty((80, 300), np.float32)

    def pushed(seconds: int) -> int:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(5 * seconds):
            stream.push(audio, out=outs[stream.ready(3200)])
            stream.window(300, out=window)
        return tracemalloc.get_traced_memory()[1] - before

    tracemalloc.start()
    try:
        pushed(10)
        assert pushed(20) < 10_000  # less than a frame's samples and numbers of Python's
        kept = np.empty((80, 2000), np.float32)  # what a copy would be is seen
        assert tracemalloc.get_traced_memory()[1] > kept.nbytes
    finally:
        tracemalloc.stop()


def test_pieces_that_are_refused_change_nothing() -> None:
    audio = levels(5000)
    stream = Stream(maximum=1.5)
    parts = [stream.push(audio[:3000])]
    bad = audio[3000:].copy()
    bad[7] = np.nan
    with pytest.raises(ValueError, match=r"audio\[7\] is nan: expected finite samples"):
        stream.push(bad)
    with pytest.raises(ValueError, match=r"samples have shape \(2, 3\): expected \(n,\)"):
        stream.push(np.zeros((2, 3), np.float32))
    for some in (audio, audio[:0]):
        with pytest.raises(TypeError, match="audio has dtype float16"):
            stream.push(some.astype(np.float16))
    with pytest.raises(ValueError, match="n_samples=-1: expected at least 0"):
        stream.ready(-1)
    assert stream.push([]).shape == (80, 0)
    with pytest.raises(ValueError, match=r"out has shape \(80, 3\): expected \(80, 13\)"):
        stream.push(audio[3000:], out=np.empty((80, 3), np.float32))
    parts += [stream.push(audio[3000:]), stream.finish()]
    same(np.concatenate(parts, axis=1), log_mel(audio, maximum=1.5))
    with pytest.raises(ValueError, match="the stream is finished: expected no more samples"):
        stream.push(audio)
    same(stream.features(), log_mel(audio, maximum=1.5))


@pytest.mark.parametrize("maximum", MAXIMA)
def test_finished_twice_gives_the_same_again(maximum: Any) -> None:
    audio = levels(4010)  # the last of 25 frames is not final before
    stream = Stream(maximum=maximum)
    stream.push(audio)
    rest = stream.finish()
    same(rest, log_mel(audio, maximum=maximum)[:, 0 if maximum == "clip" else 24 :])
    same(stream.finish(), rest)


def test_power_that_overflows_ends_the_stream() -> None:
    stream = Stream(maximum=1.5)
    with pytest.raises(ValueError, match="overflows float32"):
        stream.push(np.full(1000, 1e20, np.float32))
    for call in (stream.features, stream.finish, partial(stream.push, np.zeros(10))):
        with pytest.raises(ValueError, match="overflows float32"):
            call()


def test_power_that_overflows_in_the_last_frame() -> None:
    stream = Stream(maximum=1.5)
    audio = np.zeros(480, np.float32)
    audio[470:] = 1e20
    stream.push(audio)
    with pytest.raises(ValueError, match="overflows float32"):
        stream.features()


@pytest.mark.parametrize(
    ("kind", "message", "arguments"),
    [
        (ValueError, "n_mels=79: expected 80 or 128", {"n_mels": 79}),
        (ValueError, "maximum='chunk': expected 'clip' or a number", {"maximum": "chunk"}),
        (ValueError, "maximum='batch': expected", {"maximum": "batch"}),
        (ValueError, "maximum=nan: expected a finite number", {"maximum": float("nan")}),
        (ValueError, "keep=-1: expected at least 0 frames", {"keep": -1}),
        (TypeError, "keep=1.5: expected an int", {"keep": 1.5}),
    ],
)
def test_wrong(kind: type[Exception], message: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(kind, match=message):
        Stream(**arguments)


def test_too_short() -> None:
    """As offline: 200 samples cannot be mirrored, but padded."""
    stream = Stream()
    for silence in (stream.window(25), stream.features(pad_to=4000)):
        same(silence, np.full((80, 25), -1.5, np.float32))
    stream.push(levels(200))
    for call in (stream.features, stream.finish):
        with pytest.raises(ValueError, match="audio has 200 samples: expected at least 201"):
            call()
    same(stream.features(pad_to=4000), log_mel(levels(200), pad_to=4000))
    with pytest.raises(ValueError, match="audio has 200 samples: expected at most pad_to=100"):
        stream.features(pad_to=100)
    stream.push(levels(201)[200:])
    same(stream.finish(), log_mel(levels(201)))


def test_a_stream_keeps_fewer_than_400_samples() -> None:
    """Read from the kernel's own memory: the third of its words after the form."""
    stream = Stream()
    words = ctypes.cast(stream._state, ctypes.POINTER(ctypes.c_int64))
    for size in (1, 199, 1, 160, 160, 5000, 39, 121, 1, 20_000):
        stream.push(levels(size))
        fields = words[:10]
        assert stream.n_samples in fields
        held = stream.n_samples - max(160 * stream.n_frames - 200, 0)
        assert held in fields
        assert held < 400


def test_no_memory_is_lost() -> None:
    """Streams are freed with their object; the kernel's memory for one is 20 to 40 KB."""
    made, ended = [], []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(library(), name)

        def stream_of(self, *arguments: Any) -> int:
            made.append(library().stream_of(*arguments))
            return int(made[-1])

        def stream_drop(self, state: int) -> None:
            ended.append(state)
            library().stream_drop(state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("whisper_mel_mojo.stream.library", Counting)
        for _ in range(3):
            Stream().push(levels(1000))
    assert len(made) == 3
    assert made == ended


def test_front_end_offers_it() -> None:
    stream = frontends.mojo_cpu().stream(n_mels=128, maximum=1.5)
    audio = levels(4000)
    joined = np.concatenate(
        [stream.push(audio[:900]), stream.push(audio[900:]), stream.finish()], 1
    )
    same(joined, log_mel(audio, 128, maximum=1.5))
