"""Front-ends with one fault each, and correct ones: what the suite must reject, and accept.

Every fault is a factory, so that ``FILE.py:NAME`` names a fresh front-end. ``FAULTS`` says which
case is expected to reject it.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from whisper_mel_reference import WHISPER, mel_filterbank, stages
from whisper_mel_reference import log_mel as reference

Array = Any
FAULTS: dict[str, tuple[Callable[[], Any], str]] = {}


def right(audio: Array, n_mels: int = 80, **options: Any) -> Array:
    """Float32 features as they should be."""
    spec = WHISPER.replace(n_mels=n_mels, **options)
    return reference(np.ascontiguousarray(audio), spec, dtype=np.float32)


def fault(case: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """The factory below must be rejected by this case."""

    def register(factory: Callable[[], Any]) -> Callable[[], Any]:
        FAULTS[factory.__name__] = factory, case
        return factory

    return register


def altered(case: str, name: str, change: Callable[[Array, Array, int], Array]) -> None:
    """A fault that changes right features: ``change(features, audio, n_mels)``."""

    def factory() -> Any:
        def f(audio: Array, n_mels: int = 80) -> Array:
            return change(right(audio, n_mels), audio, n_mels)

        return f

    factory.__name__ = name
    globals()[name] = factory
    FAULTS[name] = factory, case


def respecified(case: str, name: str, **changes: Any) -> None:
    """A fault that computes another specification."""

    def factory() -> Any:
        return lambda audio, n_mels=80: right(audio, n_mels, **changes)

    factory.__name__ = name
    globals()[name] = factory
    FAULTS[name] = factory, case


# --------------------------------------------------------------------------- semantics

respecified("numerics/rising-noise/80", "symmetric_window", window="hann-symmetric")
respecified("numerics/rising-noise/80", "zero_padding", pad_mode="zero")
respecified("numerics/rising-noise/80", "edge_repeated", pad_mode="symmetric")
respecified("numerics/rising-noise/80", "htk_mel", mel_scale="htk")
respecified("numerics/rising-noise/80", "no_norm", mel_norm=None)
respecified("numerics/rising-noise/80", "natural_log", log="ln")
respecified("numerics/rising-noise/80", "magnitude", power=1.0)
respecified("numerics/silence/80", "lower_floor", floor=1e-12)
respecified("numerics/tone-440/80", "no_clamp", dynamic_range=80.0)
respecified("boundary/length-479/80", "last_frame_kept", drop_last_frame=False)


def _from_mel(audio: Array, n_mels: int, maximum: Callable[[Array], Any]) -> Array:
    log = stages(np.ascontiguousarray(audio), WHISPER.replace(n_mels=n_mels))["log"]
    return ((np.maximum(log, maximum(log) - 8.0) + 4.0) / 4.0).astype(np.float32)


@fault("boundary/loud-tail-60/80")
def maximum_over_padded_frames() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        spec = WHISPER.replace(n_mels=n_mels, drop_last_frame=False)
        with_last = stages(np.ascontiguousarray(audio), spec)["log"].max()
        return _from_mel(audio, n_mels, lambda log: with_last)

    return f


@fault("numerics/on-off-1000/80")
def maximum_of_each_frame() -> Any:
    return lambda audio, n_mels=80: _from_mel(audio, n_mels, lambda log: log.max(axis=0))


@fault("numerics/maximum-in-any-frame")
def maximum_of_64_frames() -> Any:
    return lambda audio, n_mels=80: _from_mel(audio, n_mels, lambda log: log[:, :64].max())


@fault("numerics/silence/80")
def maximum_starts_at_zero() -> Any:
    return lambda audio, n_mels=80: _from_mel(audio, n_mels, lambda log: max(log.max(), 0.0))


@fault("numerics/rising-noise-e3/80")
def clipped_to_full_scale() -> Any:
    return lambda audio, n_mels=80: right(np.clip(audio, -1, 1), n_mels)


@fault("numerics/near-floor-noise/80")
def quantised_to_16_bits() -> Any:
    return lambda audio, n_mels=80: right(np.rint(audio * 32768) / np.float32(32768), n_mels)


@fault("numerics/rising-noise/80")
def float16_features() -> Any:
    return lambda audio, n_mels=80: right(audio, n_mels).astype(np.float16).astype(np.float32)


@fault("numerics/chirp/80")
def tf32_bank() -> Any:
    bank = (mel_filterbank(80).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)

    def f(audio: Array) -> Array:
        power = stages(np.ascontiguousarray(audio))["power"]
        log = np.log10(np.maximum(bank @ power.T, 1e-10))
        return ((np.maximum(log, log.max() - 8) + 4) / 4).astype(np.float32)

    return f


@fault("numerics/quiet-noise-int16/80")
def pcm_by_32767() -> Any:
    class FrontEnd:
        capabilities = {"dtypes": ("float32", "int16")}

        def log_mel(self, audio: Array, n_mels: int = 80) -> Array:
            scaled = audio / 32767.0 if audio.dtype == np.int16 else audio
            return right(scaled, n_mels)

    return FrontEnd()


def _last_frame_off(y: Array, x: Array, m: int) -> Array:
    y[:, -1] += 1e-3
    return y


altered("boundary/length-400/80", "last_frame_off", _last_frame_off)
altered(
    "boundary/every-frame-count/80",
    "wrong_at_13_frames",
    lambda y, x, m: y[:, ::-1] if y.shape[1] == 13 else y,
)
altered(
    "boundary/every-remainder/80",
    "wrong_at_remainder_159",
    lambda y, x, m: y + np.float32(0.01) if len(x) % 160 == 159 else y,
)
altered(
    "boundary/length-400/128",
    "wrong_at_128_bands",
    lambda y, x, m: y + np.float32(1e-3) if m == 128 else y,
)
altered(
    "boundary/lengths-up-to-3-seconds/80",
    "wrong_around_two_seconds",
    lambda y, x, m: y + np.float32(0.01) if 31_000 < len(x) < 32_000 else y,
)
altered("boundary/length-401/80", "transposed", lambda y, x, m: y.T)
altered("boundary/length-401/80", "float64_features", lambda y, x, m: y.astype(np.float64))
altered("boundary/length-401/80", "a_list", lambda y, x, m: y.tolist())
altered("boundary/length-401/80", "all_zero", lambda y, x, m: np.zeros_like(y))
altered(
    "boundary/61-seconds/80",
    "wrong_after_30_seconds",
    lambda y, x, m: np.where(np.arange(y.shape[1]) >= 3000, y[:, :1], y),
)
altered("boundary/61-seconds/80", "cut_to_30_seconds", lambda y, x, m: y[:, :3000])

# --------------------------------------------------------------------------- bad input


@fault("errors/nan-at-2000")
def nan_swallowed() -> Any:
    return lambda audio, n_mels=80: right(np.nan_to_num(audio), n_mels)


@fault("errors/inf-at-2000")
def infinity_swallowed() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        return right(np.nan_to_num(audio, nan=np.nan, posinf=1.0, neginf=-1.0), n_mels)

    return f


@fault("errors/nan-at-2000")
def broken_after_an_error() -> Any:
    broken: list[int] = []

    def f(audio: Array, n_mels: int = 80) -> Array:
        if not np.isfinite(audio).all():
            broken.append(1)
            raise ValueError("not finite")
        return right(audio, n_mels) + np.float32(0.1 * len(broken))

    return f


@fault("boundary/length-0")
def crashes_on_empty() -> Any:
    return lambda audio, n_mels=80: right(audio, n_mels) if len(audio) else os.abort()


@fault("boundary/length-160")
def nan_on_short() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        return right(audio, n_mels) if len(audio) > 200 else np.full((n_mels, 1), np.nan, "f4")

    return f


@fault("errors/overflow-1e+19")
def overflow_reads_as_silence() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        return right(audio if np.abs(audio).max(initial=0) < 1e17 else 0 * audio, n_mels)

    return f


@fault("errors/longer-than-pad_to")
def cuts_to_pad_to() -> Any:
    def f(audio: Array, n_mels: int = 80, pad_to: int | None = None) -> Array:
        return right(audio[:pad_to], n_mels, pad_to=pad_to)

    return f


@fault("boundary/pad-37-to-1637/80")
def pads_after_the_transform() -> Any:
    def f(audio: Array, n_mels: int = 80, pad_to: int | None = None) -> Array:
        y = right(audio, n_mels)
        more = 0 if pad_to is None else pad_to // 160 - y.shape[1]
        return np.pad(y, ((0, 0), (0, more)), constant_values=y.min())

    return f


# --------------------------------------------------------------------------- state and buffers


@fault("determinism/interleaved")
def previous_result() -> Any:
    last: list[Array] = []

    def f(audio: Array, n_mels: int = 80) -> Array:
        last.append(right(audio, n_mels))
        return last[-2] if len(last) > 1 else last[-1]

    return f


@fault("buffers/results-kept/80")
def same_buffer_every_time() -> Any:
    buffer = np.empty(128 * 5000, np.float32)

    def f(audio: Array, n_mels: int = 80) -> Array:
        y = right(audio, n_mels)
        out = buffer[: y.size].reshape(y.shape)
        out[...] = y
        return out

    return f


@fault("buffers/64-results-kept")
def ring_of_32_buffers() -> Any:
    ring: list[Array] = []

    def f(audio: Array, n_mels: int = 80) -> Array:
        y = right(audio, n_mels)
        ring.append(y)
        if len(ring) > 32 and ring[-33].shape == y.shape:
            ring[-33][...] = y
            ring[-1] = ring[-33]
        return ring[-1]

    return f


@fault("buffers/results-spoiled/80")
def gives_away_its_cache() -> Any:
    cache: dict[tuple[bytes, int], Array] = {}

    def f(audio: Array, n_mels: int = 80) -> Array:
        key = audio.tobytes(), n_mels
        if key not in cache:
            cache[key] = right(audio, n_mels)
        return cache[key]

    return f


@fault("buffers/input-reused/80")
def cached_by_identity() -> Any:
    cache: dict[tuple[int, int, int], tuple[Array, Array]] = {}

    def f(audio: Array, n_mels: int = 80) -> Array:
        key = id(audio), len(audio), n_mels
        if key not in cache:
            cache[key] = audio, right(audio, n_mels)
        return cache[key][1].copy()

    return f


@fault("determinism/interleaved")
def cached_by_length() -> Any:
    cache: dict[tuple[int, int], Array] = {}

    def f(audio: Array, n_mels: int = 80) -> Array:
        if (len(audio), n_mels) not in cache:
            cache[len(audio), n_mels] = right(audio, n_mels)
        return cache[len(audio), n_mels].copy()

    return f


@fault("determinism/one-sample-apart")
def cached_by_the_first_thousand() -> Any:
    cache: dict[tuple[bytes, int, int], Array] = {}

    def f(audio: Array, n_mels: int = 80) -> Array:
        key = audio[:1000].tobytes(), len(audio), n_mels
        if key not in cache:
            cache[key] = right(audio, n_mels)
        return cache[key].copy()

    return f


@fault("boundary/length-401/80")
def partly_unwritten() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        y = right(audio, n_mels)
        out = np.empty_like(y)
        out[:-1] = y[:-1]
        return out

    return f


@fault("boundary/length-401/80")
def input_modified() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        y = right(audio, n_mels)
        audio -= audio.mean()
        return y

    return f


@fault("boundary/length-401/80")
def first_call_wrong() -> Any:
    calls: list[int] = []

    def f(audio: Array, n_mels: int = 80) -> Array:
        calls.append(1)
        return right(audio, n_mels) + np.float32(len(calls) == 1)

    return f


@fault("determinism/many-times")
def every_97th_call_wrong() -> Any:
    calls: list[int] = []

    def f(audio: Array, n_mels: int = 80) -> Array:
        calls.append(1)
        return right(audio, n_mels) + np.float32(len(calls) % 97 == 0)

    return f


@fault("determinism/repeated/80")
def dithered() -> Any:
    random = np.random.default_rng()

    def f(audio: Array, n_mels: int = 80) -> Array:
        y = right(audio, n_mels)
        return y + (1e-7 * random.standard_normal(y.shape)).astype(np.float32)

    return f


def _address(audio: Array) -> int:
    return int(audio.ctypes.data)


@fault("buffers/offset-20-400")
def wrong_if_unaligned() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        return right(audio, n_mels) + np.float32(0.1 * (_address(audio) % 16 != 0))

    return f


@fault("buffers/stride-2-400")
def ignores_strides() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        n = audio.size
        if audio.strides == (8,):
            audio = np.ctypeslib.as_array((ctypes.c_float * n).from_address(_address(audio)))
        return right(np.nan_to_num(audio), n_mels)

    return f


@fault("buffers/reversed-400")
def ignores_direction() -> Any:
    return lambda audio, n_mels=80: right(audio[::-1] if audio.strides[0] < 0 else audio, n_mels)


@fault("buffers/guard-behind/80")
def reads_beyond_the_end() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        ctypes.string_at(_address(audio) + audio.nbytes, 4)
        return right(audio, n_mels)

    return f


@fault("buffers/guard-before/80")
def reads_before_the_start() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        ctypes.string_at(_address(audio) - 4, 4)
        return right(audio, n_mels)

    return f


def _with_out(write: Callable[[Array, Array], Any]) -> Any:
    def f(audio: Array, n_mels: int = 80, *, out: Array = None) -> Array:
        y = right(audio, n_mels)
        if out is None:
            return y
        if out.shape != y.shape or out.dtype != y.dtype or not out.flags.c_contiguous:
            raise ValueError("out: expected a float32 array of the features' shape")
        if not out.flags.writeable or np.may_share_memory(out, audio):
            raise ValueError("out: expected writeable memory of its own")
        return write(out, y)

    return f


@fault("buffers/out-canaries-1600/80")
def out_partly_written() -> Any:
    def write(out: Array, y: Array) -> Array:
        out[:, :-1] = y[:, :-1]
        return out

    return _with_out(write)


@fault("buffers/out-canaries-1600/80")
def writes_beyond_out() -> Any:
    def write(out: Array, y: Array) -> Array:
        out[...] = y
        ctypes.memset(_address(out) + out.nbytes, 0, 4)
        return out

    return _with_out(write)


@fault("buffers/out-canaries-1600/80")
def out_ignored() -> Any:
    return _with_out(lambda out, y: y)


@fault("buffers/bad-out-overlap")
def out_may_overlap() -> Any:
    def f(audio: Array, n_mels: int = 80, *, out: Array = None) -> Array:
        y = right(audio, n_mels)
        if out is None:
            return y
        out[...] = y
        return out

    return f


# --------------------------------------------------------------------------- batches


class Batches:
    """Claims batches; what it makes of the clips is up to ``stack``."""

    capabilities = {"batch": True}

    def __init__(self, stack: Callable[[Array, int], Array]) -> None:
        self._stack = stack

    def log_mel(self, audio: Array, n_mels: int = 80) -> Array:
        return right(audio, n_mels) if audio.ndim == 1 else self._stack(audio, n_mels)


@fault("batch/quiet-beside-loud/80")
def maximum_of_the_batch() -> Any:
    def stack(audio: Array, n_mels: int) -> Array:
        top = max(stages(clip, WHISPER.replace(n_mels=n_mels))["log"].max() for clip in audio)
        return np.stack([_from_mel(clip, n_mels, lambda log: top) for clip in audio])

    return Batches(stack)


@fault("batch/three/80")
def first_clip_for_all() -> Any:
    return Batches(lambda audio, n_mels: np.stack([right(audio[0], n_mels)] * len(audio)))


@fault("batch/seventeen/80")
def sixteen_clips_at_most() -> Any:
    def stack(audio: Array, n_mels: int) -> Array:
        y = right(audio, n_mels)
        y[16:] = 0.0
        return y

    return Batches(stack)


# --------------------------------------------------------------------------- processes


@fault("concurrency/one-thread/80")
def wrong_in_a_thread() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        main = threading.current_thread() is threading.main_thread()
        return right(audio, n_mels) + np.float32(not main)

    return f


@fault("concurrency/four-threads/80")
def shared_scratch() -> Any:
    scratch: list[Array] = [np.zeros(1)]

    def f(audio: Array, n_mels: int = 80) -> Array:
        scratch[0] = audio
        time.sleep(0.001)
        return right(scratch[0], n_mels)

    return f


@fault("concurrency/four-threads/80")
def deadlocks_in_threads() -> Any:
    busy = threading.Lock()

    def f(audio: Array, n_mels: int = 80) -> Array:
        if not busy.acquire(blocking=False):
            time.sleep(3600)
        try:
            time.sleep(0.001)
            return right(audio, n_mels)
        finally:
            busy.release()

    return f


@fault("boundary/length-401/80")
def crashes() -> Any:
    return lambda audio, n_mels=80: ctypes.string_at(0)


@fault("boundary/length-401/80")
def hangs() -> Any:
    return lambda audio, n_mels=80: time.sleep(3600)


@fault("boundary/length-401/80")
def exits() -> Any:
    return lambda audio, n_mels=80: os._exit(0)


@fault("boundary/length-401/80")
def eats_memory() -> Any:
    return lambda audio, n_mels=80: right(np.ones(1 << 34, np.float32), n_mels)


@fault("memory/left-behind-short/80")
def leaks_memory() -> Any:
    kept: list[Array] = []

    def f(audio: Array, n_mels: int = 80) -> Array:
        kept.append(np.ones(20_000, np.float32))
        return right(audio, n_mels)

    return f


@fault("memory/left-behind-short/80")
def leaks_files() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        os.open(os.devnull, os.O_RDONLY)
        return right(audio, n_mels)

    return f


@fault("memory/left-behind-short/80")
def leaks_threads() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
        return right(audio, n_mels)

    return f


# --------------------------------------------------------------------------- correct ones


@lru_cache(maxsize=1)
def _dft() -> Array:
    return np.exp(-2j * np.pi * (np.outer(np.arange(400), np.arange(201)) % 400) / 400)


def naive_dft(audio: Array, n_mels: int = 80) -> Array:
    """A matrix product in float64."""
    x = np.asarray(audio, np.float64)
    if x.ndim != 1 or not x.size >= 201 or not np.isfinite(x).all():
        raise ValueError("audio: expected a clip")
    padded = np.pad(x, 200, mode="reflect")
    t, j = np.arange(x.size // 160), np.arange(400)
    window = np.sin(np.pi * j / 400) ** 2
    framed = padded[160 * t[:, None] + j] * window
    power = np.abs(framed @ _dft()) ** 2
    log = np.log10(np.maximum(mel_filterbank(n_mels).astype(np.float64) @ power.T, 1e-10))
    return ((np.maximum(log, log.max() - 8) + 4) / 4).astype(np.float32)


def other_order(audio: Array, n_mels: int = 80) -> Array:
    """Complex FFT of frames in float32, bands summed from the top, Fortran order."""
    x = np.array(audio, np.float32)
    if x.ndim != 1:
        raise ValueError("audio: expected a clip")
    padded = np.pad(x, 200, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][: x.size // 160]
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)).astype(np.float32)
    spectrum = np.fft.fft((frames * window).astype(np.complex64))[:, 200::-1]
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    mel = mel_filterbank(n_mels)[:, ::-1].copy() @ power.T
    log = np.log10(np.maximum(mel, np.float32(1e-10)))
    return np.asfortranarray((np.maximum(log, log.max() - 8) + 4) / 4, np.float32)


class Everything:
    """Claims all there is, and keeps the error policy."""

    name = "everything"
    capabilities = {
        "dtypes": ("float32", "float64", "int16"),
        "batch": True,
        "errors": "strict",
        "required_class": "A",
    }

    def log_mel(
        self,
        audio: Array,
        n_mels: int = 80,
        *,
        pad_to: int | None = None,
        smoothing: Any = None,
        out: Array = None,
        threads: int | None = None,
    ) -> Array:
        if n_mels not in (80, 128):
            raise ValueError(f"n_mels={n_mels}: expected 80 or 128")
        if threads is not None and threads < 1:
            raise ValueError(f"threads={threads}: expected at least 1")
        if audio.dtype.kind == "f":
            peak = np.abs(audio, dtype=np.float64).max(initial=0)
            if 1e16 < peak < np.inf:
                raise ValueError(f"audio has amplitudes up to {peak}: expected at most 1e16")
        spec = WHISPER.replace(n_mels=n_mels, pad_to=pad_to, smoothing=smoothing)
        native = audio.astype(audio.dtype.newbyteorder("="), copy=False)
        y = reference(native, spec, dtype=np.float64).astype(np.float32)
        if out is None:
            return y
        if out.shape != y.shape or out.dtype != y.dtype or not out.flags.c_contiguous:
            raise ValueError(f"out has shape {out.shape}: expected {y.shape}, C-contiguous")
        if not out.flags.writeable or np.may_share_memory(out, audio):
            raise ValueError("out is read-only or overlaps audio: expected memory of its own")
        out[...] = y
        return out
