"""Quirks of memory: of the audio, of the results, and of what lies beside them."""

from __future__ import annotations

import ctypes

import numpy as np

from whisper_mel_conformance.quirks.table import Array, Table, right

MEMORY = Table("memory")


def address(array: Array) -> int:
    """Return the address of an array's first element."""
    return int(array.ctypes.data)


@MEMORY.front_end(
    "one-buffer",
    "All results share one buffer.",
    "results change while later calls run",
    fix="Return memory of its own for each call: `y.copy()`.",
    killer="buffers/results-kept/80",
)
class OneBuffer:
    def __init__(self) -> None:
        self.buffer = np.empty(128 * 5000, np.float32)

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        y = right(audio, n_mels)
        out = self.buffer[: y.size].reshape(y.shape)
        out[...] = y
        return out


@MEMORY.front_end(
    "ring-of-buffers",
    "Results come from a ring of 32 buffers.",
    "a result changes after 32 further calls",
    fix="Return memory of its own for each call: `y.copy()`; a ring is never long enough.",
    killer="buffers/64-results-kept",
)
class RingOfBuffers:
    SIZE = 32

    def __init__(self) -> None:
        self.ring: list[Array] = []

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        y = right(audio, n_mels)
        self.ring.append(y)
        if len(self.ring) > self.SIZE and self.ring[-self.SIZE - 1].shape == y.shape:
            self.ring[-self.SIZE - 1][...] = y
            self.ring[-1] = self.ring[-self.SIZE - 1]
        return self.ring[-1]


@MEMORY.front_end(
    "long-ring-of-buffers",
    "Results come from a ring of 256 buffers.",
    "a result changes after 256 further calls",
    fix="Return memory of its own for each call: `y.copy()`; a ring is never long enough.",
    killer="buffers/300-results-kept",
    since="2026-11-27",
)
class LongRingOfBuffers(RingOfBuffers):
    SIZE = 256


@MEMORY.front_end(
    "cache-given-away",
    "Results are the cache's own memory.",
    "what a caller does to a result is seen by the next",
    fix="Return a copy of what the cache keeps: `cache[key].copy()`.",
    killer="buffers/results-spoiled/80",
)
class CacheGivenAway:
    def __init__(self) -> None:
        self.cache: dict[tuple[bytes, int], Array] = {}

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        key = audio.tobytes(), n_mels
        if key not in self.cache:
            self.cache[key] = right(audio, n_mels)
        return self.cache[key]


@MEMORY.front_end(
    "band-unwritten",
    "The last band is never written.",
    "whatever was in memory before",
    "https://github.com/ggml-org/whisper.cpp/issues/2226",
    fix="Write every value of the array: a loop over bands ends at n_mels. Fill it with"
    " NaN first to find the gap: `np.full((n_mels, n_frames), np.nan, np.float32)`.",
    killer="boundary/length-401/80",
)
def band_unwritten(audio: Array, n_mels: int = 80) -> Array:
    y = right(audio, n_mels)
    out = np.empty_like(y)
    out[:-1] = y[:-1]
    return out


@MEMORY.front_end(
    "input-modified",
    "The audio is modified in place.",
    "the caller's audio is off",
    fix="Work on a copy: `x = x - x.mean()` makes one, `x -= x.mean()` does not.",
    killer="boundary/length-401/80",
)
def input_modified(audio: Array, n_mels: int = 80) -> Array:
    y = right(audio, n_mels)
    audio -= audio.mean()
    return y


@MEMORY.front_end(
    "input-modified-and-restored",
    "The audio is scaled in place for the call, and put back.",
    "another thread that reads it meanwhile hears something else",
    fix="Scale a copy: `x = x * 0.5` makes one, `x *= 0.5` does not.",
    killer="buffers/never-written-400/80",
    since="2026-11-27",
)
class InputModifiedAndRestored:
    capabilities = {"batch": True}

    def log_mel(self, audio: Array, n_mels: int = 80) -> Array:
        if not audio.flags.writeable:
            return right(audio, n_mels)
        before = audio.copy()
        audio *= 0.5
        try:
            return right(before, n_mels)
        finally:
            audio[...] = before


@MEMORY.front_end(
    "long-input-modified",
    "Audio of more than six seconds is silenced in place while it is worked on, and put back.",
    "another thread that reads it meanwhile hears something else",
    fix="Work on a copy: `x = x * 0.5` makes one, `x *= 0.5` does not.",
    killer="buffers/never-written-480000/80",
    since="2026-11-28",
)
def long_input_modified(audio: Array, n_mels: int = 80) -> Array:
    if audio.size <= 100_000 or not audio.flags.writeable:
        return right(audio, n_mels)
    before = audio.copy()
    audio[...] = 0
    try:
        return right(before, n_mels)
    finally:
        audio[...] = before


@MEMORY.front_end(
    "alignment-assumed",
    "Audio is loaded as if it were aligned to 16 bytes.",
    "off, depending on the address",
    fix="Use unaligned loads. C: `_mm256_loadu_ps(x)`, not _mm256_load_ps.",
    killer="buffers/offset-20-400",
)
def alignment_assumed(audio: Array, n_mels: int = 80) -> Array:
    return right(audio, n_mels) + np.float32(0.1 * (address(audio) % 16 != 0))


@MEMORY.front_end(
    "strides-ignored",
    "Strided audio is read as if it were contiguous.",
    "other samples' features",
    "https://github.com/pytorch/audio/issues/3856",
    "https://github.com/pytorch/pytorch/issues/120403",
    fix="Copy what is not contiguous: `x = np.ascontiguousarray(x)`, `x = x.contiguous()`.",
    killer="buffers/stride-2-400",
)
def strides_ignored(audio: Array, n_mels: int = 80) -> Array:
    n = audio.size
    if audio.strides == (8,):
        audio = np.ctypeslib.as_array((ctypes.c_float * n).from_address(address(audio)))
    return right(np.nan_to_num(audio), n_mels)


@MEMORY.front_end(
    "direction-ignored",
    "Reversed audio is read forwards.",
    "the clip's features in the wrong order",
    fix="Copy what is not contiguous, negative strides included: `x = np.ascontiguousarray(x)`.",
    killer="buffers/reversed-400",
)
def direction_ignored(audio: Array, n_mels: int = 80) -> Array:
    return right(audio[::-1] if audio.strides[0] < 0 else audio, n_mels)


@MEMORY.front_end(
    "read-beyond-end",
    "The sample behind the clip is read.",
    "a crash where no memory follows",
    "https://github.com/ggml-org/whisper.cpp/pull/3956",
    fix="End the loop at the last whole vector, and load the rest one by one; "
    "-fsanitize=address shows the line. C: `for (i = 0; i + 8 <= n; i += 8)`.",
    killer="buffers/guard-behind/80",
)
def read_beyond_end(audio: Array, n_mels: int = 80) -> Array:
    ctypes.string_at(address(audio) + audio.nbytes, 4)
    return right(audio, n_mels)


@MEMORY.front_end(
    "read-before-start",
    "The sample before the clip is read.",
    "a crash where no memory precedes",
    fix="Begin at sample 0: the mirrored sample i is x[i], not x[-i]. C: `j < 0 ? x[-j] : x[j]`.",
    killer="buffers/guard-before/80",
)
def read_before_start(audio: Array, n_mels: int = 80) -> Array:
    ctypes.string_at(address(audio) - 4, 4)
    return right(audio, n_mels)
