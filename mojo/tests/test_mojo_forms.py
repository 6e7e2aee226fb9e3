"""Over what the maximum is taken, and half precision: every way to ask for them, bit for bit."""

from __future__ import annotations

import ctypes
import importlib.util
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import noise
from daily import by_day
from numpy.typing import NDArray
from whisper_mel_mojo import c_library, log_mel
from whisper_mel_mojo.arguments import array_dtype
from whisper_mel_mojo.builder import SOURCE, built_for
from whisper_mel_mojo.library import DTYPES as CODES
from whisper_mel_mojo.library import LOG_MEL, Maximum

Array = NDArray[Any]
NOWHERE = -100.0  # a maximum that raises nothing
MAXIMA: tuple[Maximum, ...] = ("clip", "chunk", 1.5, -2.5, 7)
HALVES = {"float16": np.dtype(np.float16)}
if importlib.util.find_spec("ml_dtypes"):
    HALVES["bfloat16"] = array_dtype("bfloat16")
DTYPES = ("float32", *HALVES)
CHUNK = 3000


def uneven(n: int, seed: int = 0) -> Array:
    """Noise whose level changes by up to 80 dB every 100 ms, and by 20 to 60 dB every 30 s."""
    levels = 10 ** np.random.default_rng(seed).uniform(-5, -1, n // 1600 + 1)
    levels *= np.resize(np.repeat([1, 0.001, 0.1], 300), len(levels))
    return noise(n, seed, 1.0) * np.repeat(levels, 1600)[:n].astype(np.float32)


def raised(logs: Array, maximum: Maximum) -> Array:
    """Features before smoothing, made of those to which nothing was raised."""
    if maximum == "chunk":
        parts = [logs[..., i : i + CHUNK] for i in range(0, logs.shape[-1], CHUNK)]
        return np.concatenate([raised(part, "clip") for part in parts], axis=-1)
    most = logs.max((-2, -1), keepdims=True) if maximum == "clip" else None
    least = most - np.float32(2) if most is not None else np.float32((float(maximum) - 4) / 4)
    return np.maximum(logs, least)


def smoothed(features: Array, smoothing: str | None) -> Array:
    """The mean of each neighbourhood, added up in the kernel's order."""
    if smoothing is None:
        return features
    bands, frames = features.shape
    padded = np.pad(features, 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    sums = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    there = [3 - (np.arange(n) == 0) - (np.arange(n) == n - 1) for n in (bands, frames)]
    means = sums * (np.float32(1) / np.outer(*there).astype(np.float32))
    return means if smoothing == "same" else means[1:-1, 1:-1]


def same_bits(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("maximum", MAXIMA)
@pytest.mark.parametrize("n", [201, 16_007, 480_000, 480_160, 1_450_001])
def test_raised_smoothed_and_rounded(n: int, maximum: Maximum) -> None:
    audio = uneven(n)
    for n_mels, pad_to in ((80, None), (128, n + 70_000)):
        logs = log_mel(audio, n_mels, pad_to=pad_to, maximum=NOWHERE, threads=1)
        for smoothing in (None, "same", "valid") if logs.shape[1] > 2 else (None,):
            expected = smoothed(raised(logs, maximum), smoothing)
            for threads in (1, 2, 5):
                options: dict[str, Any] = {
                    "pad_to": pad_to,
                    "smoothing": smoothing,
                    "threads": threads,
                    "maximum": maximum,
                }
                assert same_bits(log_mel(audio, n_mels, **options), expected), options
                for name, dtype in HALVES.items():
                    halves = log_mel(audio, n_mels, **options, dtype=name)
                    assert same_bits(halves, expected.astype(dtype)), (options, name)


def test_maxima_differ() -> None:
    """Otherwise the tests above would compare what is the same anyway."""
    audio = uneven(1_450_001)
    features = [log_mel(audio, maximum=maximum) for maximum in MAXIMA]
    for a, b in itertools.combinations(features, 2):
        assert np.abs(a - b).max() > 0.1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("maximum", MAXIMA)
def test_batches_and_int16(maximum: Maximum, dtype: str) -> None:
    """Clips of a batch are as alone; there are more of them than threads share."""
    batch = np.stack([uneven(4100, seed) for seed in range(20)])
    pcm = np.round(batch * 32767).astype(np.int16)
    for audio, smoothing in itertools.product((batch, pcm, batch[::-2]), (None, "valid")):
        options: dict[str, Any] = {"maximum": maximum, "dtype": dtype, "smoothing": smoothing}
        alone = np.stack([log_mel(clip, **options) for clip in audio])
        for threads in (1, 2):
            assert same_bits(log_mel(audio, **options, threads=threads), alone)


@pytest.mark.parametrize("dtype", DTYPES)
def test_chunks_of_a_batch(dtype: str) -> None:
    batch = np.stack([uneven(500_000, seed) for seed in range(2)])
    for smoothing, threads in itertools.product((None, "same"), (1, 3)):
        options: dict[str, Any] = {"maximum": "chunk", "dtype": dtype, "smoothing": smoothing}
        alone = np.stack([log_mel(clip, **options, threads=1) for clip in batch])
        assert same_bits(log_mel(batch, **options, threads=threads), alone)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("maximum", MAXIMA)
@pytest.mark.parametrize("smoothing", [None, "valid", "same"])
def test_lengths(smoothing: Any, maximum: Maximum, dtype: str) -> None:
    """After a clip's end there is what silence is in its last chunk, then in chunks without it."""
    batch = np.stack([uneven(970_000, 3), uneven(970_000, 4)])
    lengths = [970_000, 480_900]
    wanted = array_dtype(dtype)
    result = log_mel(
        batch, maximum=maximum, dtype=dtype, smoothing=smoothing, lengths=lengths, threads=2
    )
    edge = 1 if smoothing == "valid" else 0
    options: dict[str, Any] = {"maximum": maximum, "dtype": dtype, "smoothing": smoothing}
    assert same_bits(result[0], log_mel(batch[0], **options))
    own = log_mel(batch[1, :480_900], **options)
    assert same_bits(np.ascontiguousarray(result[1, :, : own.shape[1]]), own)
    logs = log_mel(batch[1, :480_900], maximum=NOWHERE)
    silent = np.full((1, 970_000 // 160), np.float32(-1.5))
    least: Any = np.float32((float(maximum) - 4) / 4) if not isinstance(maximum, str) else None
    if least is None:
        least = np.full_like(silent, logs.max() - np.float32(2))
        if maximum == "chunk":
            least[:, :3000] = logs[:, :3000].max() - np.float32(2)
            least[:, 3000:6000] = logs[:, 3000:].max() - np.float32(2)
            least[:, 6000:] = -3
    silent = np.maximum(silent, least).astype(wanted)
    rest = np.ascontiguousarray(result[1, :, own.shape[1] :])
    expected = silent[:, own.shape[1] + edge : 970_000 // 160 - edge]
    assert same_bits(rest, np.ascontiguousarray(np.broadcast_to(expected, rest.shape)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_out(dtype: str) -> None:
    audio = uneven(5000)
    expected = log_mel(audio, dtype=dtype)
    out = np.empty_like(expected)
    assert log_mel(audio, dtype=dtype, out=out) is out
    assert same_bits(out, expected)
    other = "float16" if dtype != "float16" else "float32"
    with pytest.raises(TypeError, match=f"out has dtype {other}: expected {dtype}"):
        log_mel(audio, dtype=dtype, out=np.empty(expected.shape, array_dtype(other)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [None, "valid"])
@pytest.mark.parametrize("maximum", MAXIMA)
def test_damaged_clips_are_nan(maximum: Maximum, smoothing: Any, dtype: str) -> None:
    """The whole clip, whatever its maximum, and no other clip."""
    batch = np.stack([uneven(490_000, seed) for seed in range(3)])
    expected = log_mel(batch, maximum=maximum, smoothing=smoothing, dtype=dtype)
    for value, at, threads in ((np.nan, 489_999, 1), (np.inf, 5, 2), (1e20, 300_000, 1)):
        damaged = batch.copy()
        damaged[1, at] = value
        out = np.zeros_like(expected)
        with pytest.raises(ValueError, match=r"expected finite samples|overflows float32"):
            log_mel(
                *(damaged,),
                maximum=maximum,
                smoothing=smoothing,
                dtype=dtype,
                out=out,
                threads=threads,
            )
        assert np.isnan(out[1].astype(np.float32)).all()
        assert same_bits(out[::2].copy(), expected[::2].copy())


def halfway(dtype: np.dtype[Any]) -> Array:
    """Float32 values from -1.5 on: all that the type has, those halfway between two of them, and
    the neighbours of these; but none so small that 4 and they are more than float64 holds."""
    bits = np.arange(2**16, dtype=np.uint16)
    values = bits.view(dtype).astype(np.float32)
    values = np.sort(values[np.isfinite(values)])
    middle = ((values[1:].astype(np.float64) + values[:-1]) / 2).astype(np.float32)
    below, above = (np.nextafter(middle, np.float32(sign * np.inf)) for sign in (-1, 1))
    every = np.concatenate([values, middle, below, above])
    return every[(every >= -1.5) & (every < 2e37) & ((np.abs(every) > 2.0**-26) | (every == 0))]


@pytest.mark.parametrize(
    "target", by_day(["x86-64", "x86-64-v3", "x86-64-v4"], ["x86-64-v3", "x86-64-v4"])
)
@pytest.mark.parametrize("dtype", HALVES)
def test_rounding_of_every_number(dtype: str, target: str) -> None:
    """Silence is raised to any number that is wanted, which is then rounded."""
    from whisper_mel_mojo.builder import _runnable_cpus

    if target not in _runnable_cpus():
        pytest.skip(f"this CPU does not run {target}")
    function = ctypes.CDLL(str(built_for(target, SOURCE, ()))).whisper_mel_log_mel_as
    form = ctypes.c_ssize_t, ctypes.c_double, ctypes.c_ssize_t  # maximum, fixed, dtype
    function.argtypes, function.restype = [*LOG_MEL, *form], ctypes.c_ssize_t
    silence, out = np.zeros(240, np.float32), np.empty(80, np.uint16)
    values = halfway(HALVES[dtype])
    fixed = 4 + 4 * values.astype(np.float64)
    assert (((fixed - 4) / 4).astype(np.float32) == values).all()
    some = np.random.default_rng(0).choice(len(values), 20_000, replace=False)
    chosen = fixed[some]
    rounded = np.empty(len(chosen), np.uint16)
    for i, value in enumerate(chosen):
        arguments = (silence.ctypes.data, 0, 1, 240, 240, 0, 80, 0, out.ctypes.data, 80, 1, 0, 0)
        assert function(*arguments, 1, float(value), CODES[dtype]) == 0
        rounded[i] = out[79]
    with np.errstate(over="ignore"):
        expected = values[some].astype(HALVES[dtype]).view(np.uint16)
    np.testing.assert_array_equal(rounded, expected)


def test_voxtral_realtime() -> None:
    """Its extractor computes in float32, so that values at the floor of 1e-10 may differ more."""
    from whisper_mel_conformance.peers import leave_out_torchaudio_library

    leave_out_torchaudio_library()
    from transformers import VoxtralRealtimeFeatureExtractor

    extractor = VoxtralRealtimeFeatureExtractor()
    for gain in (1.0, 0.01, 1e-4):  # the clip's maximum is above 1.5, and below
        audio = uneven(48_000) * np.float32(gain)
        theirs = extractor(audio, sampling_rate=16_000, return_tensors="np")["input_features"][0]
        ours = log_mel(audio, 128, maximum=1.5)
        assert theirs.shape == ours.shape
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=5e-5)
        assert not np.abs(log_mel(audio, 128) - theirs).max() < 0.01  # the clip's would not do


WRONG: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (ValueError, "maximum='batch': expected 'clip', 'chunk' or a number", {"maximum": "batch"}),
    (ValueError, "maximum=nan: expected a finite number", {"maximum": float("nan")}),
    (ValueError, "maximum=inf: expected a finite number", {"maximum": float("inf")}),
    (ValueError, r"maximum=1e\+300: expected a finite number", {"maximum": 1e300}),
    (TypeError, "maximum=True: expected 'clip'", {"maximum": True}),
    (TypeError, "maximum=None: expected 'clip'", {"maximum": None}),
    (TypeError, r"maximum=\[1.5\]: expected 'clip'", {"maximum": [1.5]}),
    (ValueError, "dtype='half': expected 'float32', 'float16' or 'bfloat16'", {"dtype": "half"}),
    (TypeError, "dtype=None: expected 'float32'", {"dtype": None}),
]


@pytest.mark.parametrize(("kind", "message", "options"), WRONG)
@pytest.mark.parametrize("door", [log_mel, c_library.log_mel], ids=["python", "c"])
def test_wrong(door: Any, kind: type[Exception], message: str, options: dict[str, Any]) -> None:
    with pytest.raises(kind, match=message):
        door(noise(1000), **options)


def test_half_precision_audio_is_refused() -> None:
    for dtype in HALVES.values():
        with pytest.raises(TypeError, match=r"audio has dtype .*float16.*half precision are not"):
            log_mel(noise(1000).astype(dtype))


def test_bfloat16_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ImportError, match=r"pip install 'whisper-mel-mojo\[bfloat16\]'"):
        log_mel(noise(1000), dtype="bfloat16")
    assert log_mel(noise(1000), dtype="float16").dtype == np.float16


def test_c() -> None:
    audio = uneven(500_000)
    for samples in (audio, (audio * 32767).astype(np.int16)):
        for maximum, dtype in itertools.product(MAXIMA, DTYPES):
            options: dict[str, Any] = {"maximum": maximum, "dtype": dtype, "threads": 2}
            assert same_bits(c_library.log_mel(samples, **options), log_mel(samples, **options))


@pytest.mark.parametrize(
    ("status", "message", "change"),
    [
        ("BAD_MAXIMUM", "maximum=3: expected 0 (clip), 1 (fixed) or 2 (chunk)", {"maximum": 3}),
        ("BAD_MAXIMUM", "maximum=-1: expected 0 (clip)", {"maximum": -1}),
        ("BAD_MAXIMUM", "fixed=nan: expected a finite maximum", {"maximum": 1, "fixed": np.nan}),
        ("BAD_DTYPE", "dtype=3: expected 0 (float32), 1 (float16)", {"dtype": 3}),
        ("BAD_OUT", "out_len=479: expected at least", {"out_len": 479, "dtype": 1}),
    ],
)
def test_c_errors(status: str, message: str, change: dict[str, Any]) -> None:
    library = c_library.load()
    audio, out = noise(1000), np.full(480, 7, np.float32)
    right = {"out_len": 480, "threads": 1, "maximum": 0, "fixed": 0.0, "dtype": 0}
    result = library.whisper_mel_log_mel_f32_as(
        *(audio.ctypes.data, 1, 1000, 1000, 0, 80, 0, out.ctypes.data),
        *{**right, **change}.values(),
    )
    header = Path(c_library.C_SOURCE).with_suffix(".h").read_text()
    assert f"WHISPER_MEL_{status} = {result}" in header
    assert library.whisper_mel_last_error().decode().startswith(message)
    assert (out == 7).all()


# --------------------------------------------------------------------------- PyTorch

pytest_torch = pytest.mark.torch


@pytest_torch
@pytest.mark.parametrize("maximum", MAXIMA)
def test_torch(maximum: Maximum) -> None:
    import torch
    from whisper_mel_mojo.torch import LogMel
    from whisper_mel_mojo.torch import log_mel as operator

    audio = uneven(500_000)
    for dtype in DTYPES:
        expected = torch.from_numpy(log_mel(audio, maximum=maximum)).to(getattr(torch, dtype))
        samples = torch.from_numpy(audio)
        assert torch.equal(operator(samples, maximum=maximum, dtype=dtype), expected)
        assert torch.equal(log_mel(samples, maximum=maximum, dtype=dtype), expected)
        assert torch.equal(LogMel(maximum=maximum, dtype=dtype)(samples), expected)
        batch = log_mel(samples[None], lengths=[500_000], maximum=maximum, dtype=dtype)
        assert torch.equal(batch[0], expected)
        on_meta = operator(samples.to("meta"), maximum=maximum, dtype=dtype)
        assert (on_meta.shape, on_meta.dtype) == (expected.shape, expected.dtype)
    with pytest.raises(ValueError, match=r"audio\[7\] is nan"):
        operator(torch.where(torch.arange(1000) == 7, torch.nan, 0.0), maximum=1.5)
    with pytest.raises(TypeError, match="half precision are not converted"):
        operator(samples.half())


@pytest_torch
@pytest.mark.parametrize("smoothing", [None, "same"])
@pytest.mark.parametrize("maximum", [*MAXIMA, -1.2])
def test_torch_gradient(maximum: Maximum, smoothing: Any) -> None:
    """Against a difference quotient, along a direction, of a loss that weights all values."""
    import torch
    from whisper_mel_mojo.torch import log_mel as operator

    n = 481_600 if maximum == "chunk" else 3200
    audio = torch.from_numpy(uneven(n)).to(torch.float64)
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(n, generator=generator, dtype=torch.float64) * audio.abs()
    options: dict[str, Any] = {"maximum": maximum, "smoothing": smoothing}
    weights = torch.randn(80, n // 160, generator=generator, dtype=torch.float64)

    def loss(samples: Any) -> Any:
        return (operator(samples, **options).to(torch.float64) * weights).sum()

    audio.requires_grad_()
    [gradient] = torch.autograd.grad(loss(audio), audio)
    slope = (gradient * direction).sum().item()
    step = 1e-3
    with torch.no_grad():
        quotient = (loss(audio + step * direction) - loss(audio - step * direction)) / (2 * step)
    assert slope == pytest.approx(quotient.item(), rel=0.02, abs=0.02 * weights.norm().item())
