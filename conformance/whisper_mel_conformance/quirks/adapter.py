"""Quirks around the signal path: memory, shape, state, batches, threads, processes.

Each is a factory of a front-end of its own; :func:`right` computes what they spoil.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from whisper_mel_reference import WHISPER
from whisper_mel_reference import log_mel as reference

from whisper_mel_conformance.quirks.quirk import Quirk

Array = Any
Factory = Callable[[], Any]

ADAPTER: list[Quirk] = []
_SINCE = "2026-11-24"


def right(audio: Array, n_mels: int = 80, **options: Any) -> Array:
    """Float32 features as they should be."""
    spec = WHISPER.replace(n_mels=n_mels, **options)
    return reference(np.ascontiguousarray(audio), spec, dtype=np.float32)


def _quirk(
    id: str, kind: str, killer: str, mechanism: str, effect: str, *seen: str, since: str = _SINCE
) -> Callable[[Factory], Factory]:
    """The factory below makes front-ends that have this quirk."""

    def register(factory: Factory) -> Factory:
        quirk = Quirk(id, kind, mechanism, effect, killer, seen, since, front_end=factory)
        ADAPTER.append(quirk)
        return factory

    return register


def _altered(
    id: str,
    kind: str,
    killer: str,
    mechanism: str,
    effect: str,
    *seen: str,
    change: Callable[[Array, Array, int], Array],
) -> None:
    """A quirk that changes right features: ``change(features, audio, n_mels)``."""

    def factory() -> Any:
        return lambda audio, n_mels=80: change(right(audio, n_mels), audio, n_mels)

    _quirk(id, kind, killer, mechanism, effect, *seen)(factory)


# --------------------------------------------------------------------------- semantics


def _last_frame_off(y: Array, x: Array, m: int) -> Array:
    y[:, -1] += 1e-3
    return y


_altered(
    "last-frame-off",
    "frames",
    "boundary/length-400/80",
    "The last frame is off by 1e-3: a tail that is computed elsewhere.",
    "1e-3 in one frame",
    change=_last_frame_off,
)


_altered(
    "13-frames-wrong",
    "frames",
    "boundary/every-frame-count/80",
    "Clips of 13 frames are wrong: an edge of a tile.",
    "only at that length",
    change=lambda y, x, m: y[:, ::-1] if y.shape[1] == 13 else y,
)


_altered(
    "remainder-159-wrong",
    "frames",
    "boundary/every-remainder/80",
    "Clips whose length is 159 beyond a hop are wrong.",
    "only at those lengths",
    change=lambda y, x, m: y + np.float32(0.01) if len(x) % 160 == 159 else y,
)


_altered(
    "128-bands-wrong",
    "filterbank",
    "boundary/length-400/128",
    "Only 80 bands were ever tried.",
    "128 bands are off",
    "https://github.com/ggml-org/whisper.cpp/pull/1457",
    "https://github.com/microsoft/onnxruntime/pull/25675",
    change=lambda y, x, m: y + np.float32(1e-3) if m == 128 else y,
)


_altered(
    "two-seconds-wrong",
    "frames",
    "boundary/lengths-up-to-3-seconds/80",
    "Clips of about 2 s are wrong: an edge of a tile.",
    "only at those lengths",
    change=lambda y, x, m: y + np.float32(0.01) if 31_000 < len(x) < 32_000 else y,
)


_altered(
    "float64-features",
    "shape",
    "boundary/length-401/80",
    "Features are float64.",
    "another dtype",
    change=lambda y, x, m: y.astype(np.float64),
)


_altered(
    "list-of-lists",
    "shape",
    "boundary/length-401/80",
    "Features are a list of lists.",
    "no array",
    change=lambda y, x, m: y.tolist(),
)


_altered(
    "all-zero",
    "shape",
    "boundary/length-401/80",
    "Features are all zero: a launch that failed silently.",
    "nothing was computed",
    "https://github.com/ggml-org/whisper.cpp/issues/2226",
    change=lambda y, x, m: np.zeros_like(y),
)


_altered(
    "first-frame-repeated",
    "frames",
    "boundary/61-seconds/80",
    "Frames after 30 s are copies of the first.",
    "long clips are off",
    change=lambda y, x, m: np.where(np.arange(y.shape[1]) >= 3000, y[:, :1], y),
)


_altered(
    "cut-to-30-seconds",
    "frames",
    "boundary/61-seconds/80",
    "Audio after 30 s is cut off without being asked.",
    "3000 frames at most",
    change=lambda y, x, m: y[:, :3000],
)


# --------------------------------------------------------------------------- bad input


@_quirk(
    "nan-swallowed",
    "errors",
    "errors/nan-at-2000",
    "NaN samples are read as 0, or lost in a maximum that ignores them.",
    "plausible features of broken audio",
    "https://github.com/huggingface/transformers/issues/47885",
    "https://github.com/Dat-cool-repo/hf-processors-rs",
    "https://github.com/microsoft/onnxruntime-extensions/blob/main/shared/api/speech_features.hpp",
)
def _nan_swallowed() -> Any:
    return lambda audio, n_mels=80: right(np.nan_to_num(audio), n_mels)


@_quirk(
    "infinity-swallowed",
    "errors",
    "errors/inf-at-2000",
    "Infinite samples are read as full scale.",
    "plausible features of broken audio",
)
def _infinity_swallowed() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        return right(np.nan_to_num(audio, nan=np.nan, posinf=1.0, neginf=-1.0), n_mels)

    return f


@_quirk(
    "broken-after-error",
    "errors",
    "errors/nan-at-2000",
    "What an error leaves behind spoils the next call.",
    "the next clip is off",
)
def _broken_after_error() -> Any:
    broken: list[int] = []

    def f(audio: Array, n_mels: int = 80) -> Array:
        if not np.isfinite(audio).all():
            broken.append(1)
            raise ValueError("not finite")
        return right(audio, n_mels) + np.float32(0.1 * len(broken))

    return f


@_quirk(
    "crash-on-empty",
    "errors",
    "boundary/length-0",
    "Empty audio ends the process.",
    "the process is lost",
    "https://github.com/ggml-org/whisper.cpp/pull/3956",
)
def _crash_on_empty() -> Any:
    return lambda audio, n_mels=80: right(audio, n_mels) if len(audio) else os.abort()


@_quirk(
    "nan-on-short",
    "errors",
    "boundary/length-160",
    "Clips shorter than the mirrored part give NaN.",
    "NaN is handed to the model",
    "https://github.com/ggml-org/whisper.cpp/pull/3925",
    "https://github.com/openai/whisper/pull/2161",
)
def _nan_on_short() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        return right(audio, n_mels) if len(audio) > 200 else np.full((n_mels, 1), np.nan, "f4")

    return f


@_quirk(
    "overflow-as-silence",
    "errors",
    "errors/overflow-1e+19",
    "Powers that overflow are raised to the floor: max(1e-10, NaN) is 1e-10 in C++.",
    "the loudest audio reads as silence",
)
def _overflow_as_silence() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        return right(audio if np.abs(audio).max(initial=0) < 1e17 else 0 * audio, n_mels)

    return f


@_quirk(
    "cut-to-pad",
    "errors",
    "errors/longer-than-pad_to",
    "Clips longer than pad_to are cut.",
    "audio is lost silently",
)
def _cut_to_pad() -> Any:
    def f(audio: Array, n_mels: int = 80, pad_to: int | None = None) -> Array:
        return right(audio[:pad_to], n_mels, pad_to=pad_to)

    return f


# --------------------------------------------------------------------------- state and buffers


@_quirk(
    "previous-result",
    "state",
    "determinism/interleaved",
    "Each call returns the result of the one before.",
    "another clip's features",
)
def _previous_result() -> Any:
    last: list[Array] = []

    def f(audio: Array, n_mels: int = 80) -> Array:
        last.append(right(audio, n_mels))
        return last[-2] if len(last) > 1 else last[-1]

    return f


@_quirk(
    "one-buffer",
    "memory",
    "buffers/results-kept/80",
    "All results share one buffer.",
    "results change while later calls run",
)
def _one_buffer() -> Any:
    buffer = np.empty(128 * 5000, np.float32)

    def f(audio: Array, n_mels: int = 80) -> Array:
        y = right(audio, n_mels)
        out = buffer[: y.size].reshape(y.shape)
        out[...] = y
        return out

    return f


@_quirk(
    "ring-of-buffers",
    "memory",
    "buffers/64-results-kept",
    "Results come from a ring of 32 buffers.",
    "a result changes after 32 further calls",
)
def _ring_of_buffers() -> Any:
    ring: list[Array] = []

    def f(audio: Array, n_mels: int = 80) -> Array:
        y = right(audio, n_mels)
        ring.append(y)
        if len(ring) > 32 and ring[-33].shape == y.shape:
            ring[-33][...] = y
            ring[-1] = ring[-33]
        return ring[-1]

    return f


@_quirk(
    "cache-given-away",
    "memory",
    "buffers/results-spoiled/80",
    "Results are the cache's own memory.",
    "what a caller does to a result is seen by the next",
)
def _cache_given_away() -> Any:
    cache: dict[tuple[bytes, int], Array] = {}

    def f(audio: Array, n_mels: int = 80) -> Array:
        key = audio.tobytes(), n_mels
        if key not in cache:
            cache[key] = right(audio, n_mels)
        return cache[key]

    return f


@_quirk(
    "cached-by-address",
    "state",
    "buffers/input-reused/80",
    "Results are cached by the audio's address.",
    "a buffer that is used again has its first features",
)
def _cached_by_address() -> Any:
    cache: dict[tuple[int, int, int], tuple[Array, Array]] = {}

    def f(audio: Array, n_mels: int = 80) -> Array:
        key = id(audio), len(audio), n_mels
        if key not in cache:
            cache[key] = audio, right(audio, n_mels)
        return cache[key][1].copy()

    return f


@_quirk(
    "cached-by-length",
    "state",
    "determinism/interleaved",
    "Results are cached by the clip's length.",
    "another clip's features",
)
def _cached_by_length() -> Any:
    cache: dict[tuple[int, int], Array] = {}

    def f(audio: Array, n_mels: int = 80) -> Array:
        if (len(audio), n_mels) not in cache:
            cache[len(audio), n_mels] = right(audio, n_mels)
        return cache[len(audio), n_mels].copy()

    return f


@_quirk(
    "cached-by-beginning",
    "state",
    "determinism/one-sample-apart",
    "Results are cached by the clip's first 1000 samples.",
    "another clip's features",
)
def _cached_by_beginning() -> Any:
    cache: dict[tuple[bytes, int, int], Array] = {}

    def f(audio: Array, n_mels: int = 80) -> Array:
        key = audio[:1000].tobytes(), len(audio), n_mels
        if key not in cache:
            cache[key] = right(audio, n_mels)
        return cache[key].copy()

    return f


@_quirk(
    "band-unwritten",
    "memory",
    "boundary/length-401/80",
    "The last band is never written.",
    "whatever was in memory before",
    "https://github.com/ggml-org/whisper.cpp/issues/2226",
)
def _band_unwritten() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        y = right(audio, n_mels)
        out = np.empty_like(y)
        out[:-1] = y[:-1]
        return out

    return f


@_quirk(
    "input-modified",
    "memory",
    "boundary/length-401/80",
    "The audio is modified in place.",
    "the caller's audio is off",
)
def _input_modified() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        y = right(audio, n_mels)
        audio -= audio.mean()
        return y

    return f


@_quirk(
    "first-call-wrong",
    "state",
    "boundary/length-401/80",
    "The first call is made before the tables are.",
    "the first clip is off",
)
def _first_call_wrong() -> Any:
    calls: list[int] = []

    def f(audio: Array, n_mels: int = 80) -> Array:
        calls.append(1)
        return right(audio, n_mels) + np.float32(len(calls) == 1)

    return f


@_quirk(
    "sometimes-wrong",
    "state",
    "determinism/many-times",
    "Every 97th call is wrong.",
    "a clip is off now and then",
)
def _sometimes_wrong() -> Any:
    calls: list[int] = []

    def f(audio: Array, n_mels: int = 80) -> Array:
        calls.append(1)
        return right(audio, n_mels) + np.float32(len(calls) % 97 == 0)

    return f


@_quirk(
    "dithered",
    "state",
    "determinism/repeated/80",
    "Noise is added, another one in every call (Kaldi's dither).",
    "equal calls differ",
)
def _dithered() -> Any:
    random = np.random.default_rng()

    def f(audio: Array, n_mels: int = 80) -> Array:
        y = right(audio, n_mels)
        return y + (1e-7 * random.standard_normal(y.shape)).astype(np.float32)

    return f


def _address(audio: Array) -> int:
    return int(audio.ctypes.data)


@_quirk(
    "alignment-assumed",
    "memory",
    "buffers/offset-20-400",
    "Audio is loaded as if it were aligned to 16 bytes.",
    "off, depending on the address",
)
def _alignment_assumed() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        return right(audio, n_mels) + np.float32(0.1 * (_address(audio) % 16 != 0))

    return f


@_quirk(
    "strides-ignored",
    "memory",
    "buffers/stride-2-400",
    "Strided audio is read as if it were contiguous.",
    "other samples' features",
    "https://github.com/pytorch/audio/issues/3856",
    "https://github.com/pytorch/pytorch/issues/120403",
)
def _strides_ignored() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        n = audio.size
        if audio.strides == (8,):
            audio = np.ctypeslib.as_array((ctypes.c_float * n).from_address(_address(audio)))
        return right(np.nan_to_num(audio), n_mels)

    return f


@_quirk(
    "direction-ignored",
    "memory",
    "buffers/reversed-400",
    "Reversed audio is read forwards.",
    "the clip's features in the wrong order",
)
def _direction_ignored() -> Any:
    return lambda audio, n_mels=80: right(audio[::-1] if audio.strides[0] < 0 else audio, n_mels)


@_quirk(
    "read-beyond-end",
    "memory",
    "buffers/guard-behind/80",
    "The sample behind the clip is read.",
    "a crash where no memory follows",
    "https://github.com/ggml-org/whisper.cpp/pull/3956",
)
def _read_beyond_end() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        ctypes.string_at(_address(audio) + audio.nbytes, 4)
        return right(audio, n_mels)

    return f


@_quirk(
    "read-before-start",
    "memory",
    "buffers/guard-before/80",
    "The sample before the clip is read.",
    "a crash where no memory precedes",
)
def _read_before_start() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        ctypes.string_at(_address(audio) - 4, 4)
        return right(audio, n_mels)

    return f


def _with_out(
    write: Callable[[Array, Array], Any],
    accepts: Callable[[Array, Array], bool] = lambda out, y: False,
) -> Any:
    """A front-end that hands ``out`` and the features to ``write``; of those that do not fit it
    refuses all but what it ``accepts``."""

    def f(audio: Array, n_mels: int = 80, *, out: Array = None) -> Array:
        y = right(audio, n_mels)
        if out is None:
            return y
        if accepts(out, y):
            return write(out, y)
        if out.shape != y.shape or out.dtype != y.dtype or not out.flags.c_contiguous:
            raise ValueError("out: expected a float32 array of the features' shape")
        if not out.flags.writeable or np.may_share_memory(out, audio):
            raise ValueError("out: expected writeable memory of its own")
        return write(out, y)

    return f


@_quirk(
    "out-frame-unwritten",
    "memory",
    "buffers/out-canaries-1600/80",
    "The last frame of out is not written.",
    "whatever was in memory before",
)
def _out_frame_unwritten() -> Any:
    def write(out: Array, y: Array) -> Array:
        out[:, :-1] = y[:, :-1]
        return out

    return _with_out(write)


@_quirk(
    "write-beyond-out",
    "memory",
    "buffers/out-canaries-1600/80",
    "One value is written behind out.",
    "somebody else's memory is overwritten",
)
def _write_beyond_out() -> Any:
    def write(out: Array, y: Array) -> Array:
        out[...] = y
        ctypes.memset(_address(out) + out.nbytes, 0, 4)
        return out

    return _with_out(write)


@_quirk(
    "out-ignored",
    "API",
    "buffers/out-canaries-1600/80",
    "out is accepted and not used.",
    "the caller looks at unwritten memory",
)
def _out_ignored() -> Any:
    return _with_out(lambda out, y: y)


@_quirk(
    "larger-out-accepted",
    "API",
    "buffers/bad-out-shape",
    "An out with room for more frames is taken, and filled as far as the features go.",
    "the caller's last frame is whatever was in memory before",
    since="2026-11-25",
)
def _larger_out_accepted() -> Any:
    def write(out: Array, y: Array) -> Array:
        out[:, : y.shape[1]] = y
        return out

    return _with_out(write, lambda out, y: out.ndim == 2 and out.shape[1] > y.shape[1])


@_quirk(
    "flat-out-accepted",
    "API",
    "buffers/bad-out-rank",
    "Of out only the size is checked: a vector is filled band by band.",
    "features without their shape",
    since="2026-11-25",
)
def _flat_out_accepted() -> Any:
    def write(out: Array, y: Array) -> Array:
        out.reshape(y.shape)[...] = y
        return out

    return _with_out(write, lambda out, y: out.ndim == 1 and out.size == y.size)


@_quirk(
    "read-only-out-written",
    "API",
    "buffers/bad-out-read-only",
    "A read-only out is written to by its address.",
    "values that nobody was to change are overwritten",
    since="2026-11-25",
)
def _read_only_out_written() -> Any:
    def write(out: Array, y: Array) -> Array:
        ctypes.memmove(_address(out), _address(y), y.nbytes)
        return out

    return _with_out(write, lambda out, y: not out.flags.writeable)


@_quirk(
    "out-unchecked",
    "API",
    "buffers/bad-out-overlap",
    "An out that overlaps the audio is written to.",
    "the caller's audio is overwritten",
)
def _out_unchecked() -> Any:
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


@_quirk(
    "first-clip-for-all",
    "batch",
    "batch/three/80",
    "All clips of a batch have the first one's features.",
    "another clip's features",
)
def _first_clip_for_all() -> Any:
    return Batches(lambda audio, n_mels: np.stack([right(audio[0], n_mels)] * len(audio)))


@_quirk(
    "sixteen-clips",
    "batch",
    "batch/seventeen/80",
    "Clips after the sixteenth of a batch are not computed.",
    "zeros",
)
def _sixteen_clips() -> Any:
    def stack(audio: Array, n_mels: int) -> Array:
        y = right(audio, n_mels)
        y[16:] = 0.0
        return y

    return Batches(stack)


# --------------------------------------------------------------------------- processes


@_quirk(
    "main-thread-only",
    "concurrency",
    "concurrency/one-thread/80",
    "Tables are made for the main thread only.",
    "off in any other thread",
)
def _main_thread_only() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        main = threading.current_thread() is threading.main_thread()
        return right(audio, n_mels) + np.float32(not main)

    return f


@_quirk(
    "shared-scratch",
    "concurrency",
    "concurrency/four-threads/80",
    "Scratch memory is shared by all threads.",
    "clips are mixed",
    "https://github.com/kaldi-asr/kaldi/issues/3036",
)
def _shared_scratch() -> Any:
    scratch: list[Array] = [np.zeros(1)]

    def f(audio: Array, n_mels: int = 80) -> Array:
        scratch[0] = audio
        time.sleep(0.001)
        return right(scratch[0], n_mels)

    return f


@_quirk(
    "deadlock",
    "concurrency",
    "concurrency/four-threads/80",
    "Two calls at the same time wait for each other.",
    "no answer",
)
def _deadlock() -> Any:
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


@_quirk(
    "crash",
    "process",
    "boundary/length-401/80",
    "The process is ended by a signal.",
    "the process is lost",
    "https://github.com/ggml-org/whisper.cpp/issues/2230",
)
def _crash() -> Any:
    return lambda audio, n_mels=80: ctypes.string_at(0)


@_quirk(
    "hang",
    "process",
    "boundary/length-401/80",
    "A call never returns.",
    "no answer",
)
def _hang() -> Any:
    return lambda audio, n_mels=80: time.sleep(3600)


@_quirk(
    "exit",
    "process",
    "boundary/length-401/80",
    "A call ends the process.",
    "the process is lost",
)
def _exit() -> Any:
    return lambda audio, n_mels=80: os._exit(0)


@_quirk(
    "memory-eaten",
    "process",
    "boundary/length-401/80",
    "A call needs 64 GiB.",
    "an exception, or the machine is lost",
)
def _memory_eaten() -> Any:
    return lambda audio, n_mels=80: right(np.ones(1 << 34, np.float32), n_mels)


@_quirk(
    "memory-leak",
    "process",
    "memory/left-behind-short/80",
    "Each call leaves 80 kB behind.",
    "memory runs out",
)
def _memory_leak() -> Any:
    kept: list[Array] = []

    def f(audio: Array, n_mels: int = 80) -> Array:
        kept.append(np.ones(20_000, np.float32))
        return right(audio, n_mels)

    return f


@_quirk(
    "file-leak",
    "process",
    "memory/left-behind-short/80",
    "Each call leaves an open file behind.",
    "files run out",
)
def _file_leak() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        os.open(os.devnull, os.O_RDONLY)
        return right(audio, n_mels)

    return f


@_quirk(
    "thread-leak",
    "process",
    "memory/left-behind-short/80",
    "Each call leaves a thread behind.",
    "threads run out",
)
def _thread_leak() -> Any:
    def f(audio: Array, n_mels: int = 80) -> Array:
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
        return right(audio, n_mels)

    return f
