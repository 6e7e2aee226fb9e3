"""Quirks of streams: audio that is pushed in pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from whisper_mel_reference import WHISPER

from whisper_mel_conformance.quirks.table import Array, Table, right

STREAM = Table("stream")

_REACH, _HOP, _N_FFT = WHISPER.reach, WHISPER.hop, WHISPER.n_fft
_SPAN = np.float32(WHISPER.dynamic_range / WHISPER.divisor)
_BELOW_ALL = -30.0  # a maximum that clamps nothing


class Stream:
    """A right stream, made of the reference: what the quirks below spoil.

    Samples are kept from the first one that the next frame hears, and features until they are
    final: at once with a fixed maximum, else at the end.
    """

    def __init__(self, n_mels: int, maximum: str | float) -> None:
        self.n_mels = n_mels
        self.maximum = maximum
        self.heard = np.empty(0, np.float32)  # extended on the left, from the next frame on
        self.received = self.given = 0
        self.waiting: list[Array] = []

    def push(self, samples: Array) -> Array:
        """Take further samples; return the frames that have become final."""
        self.append(samples)
        return self.final(self.frames())

    def finish(self) -> Array:
        """Return the remaining frames. Raises ``ValueError`` for fewer than 201 samples."""
        if self.received <= _REACH:
            raise ValueError(f"audio has {self.received} samples: expected at least {_REACH + 1}")
        self.heard = np.concatenate([self.heard, self.heard[-2 : -2 - _REACH : -1]])
        rest = self.frames()
        waiting = [*self.waiting, rest[:, : rest.shape[1] - max(self.excess(), 0)]]
        every = np.concatenate(waiting, axis=1)
        return every if self.maximum != "clip" else np.maximum(every, every.max() - _SPAN)

    def append(self, samples: Array) -> None:
        """Keep samples; once there are enough of them, mirror the beginning."""
        before, self.received = self.received, self.received + len(samples)
        self.heard = np.concatenate([self.heard, samples])
        if before <= _REACH < self.received:
            self.heard = np.concatenate([self.heard[_REACH:0:-1], self.heard])

    def frames(self) -> Array:
        """Compute all frames that are complete, and forget the samples that no other one hears."""
        if self.received <= _REACH or self.heard.size < _N_FFT:
            return np.empty((self.n_mels, 0), np.float32)
        maximum = _BELOW_ALL if self.maximum == "clip" else self.maximum
        fields = {"centre": False, "drop_last_frame": False, "maximum": maximum}
        made: Array = right(self.heard, self.n_mels, **fields)
        self.heard = self.heard[made.shape[1] * _HOP :]
        self.given += made.shape[1]
        return made

    def final(self, frames: Array) -> Array:
        """Return what is final of new frames; keep the rest."""
        if self.maximum != "clip":
            return frames
        self.waiting.append(frames)
        return frames[:, :0]

    def excess(self) -> int:
        """Count the frames beyond the last one that is kept."""
        return self.given - self.received // _HOP


class Streaming:
    """A right front-end that streams; of the quirks, ``Kind`` is another class."""

    Kind: ClassVar[type[Any]] = Stream

    def log_mel(self, audio: Array, n_mels: int = 80, *, maximum: str | float = "clip") -> Array:
        """Compute float32 features."""
        return right(audio, n_mels, maximum=maximum)

    def stream(self, n_mels: int = 80, *, maximum: str | float = "clip") -> Any:
        """Begin a stream."""
        return self.Kind(n_mels, maximum)


def _stream(
    id: str, mechanism: str, effect: str, *seen: str, fix: str, killer: str
) -> Callable[[type[Stream]], type[Stream]]:
    """Decorate a wrong kind of stream: the quirk is a front-end that streams by it."""

    def add(kind: type[Stream]) -> type[Stream]:
        front_end = type(kind.__name__, (Streaming,), {"Kind": kind})
        words = {"fix": fix, "killer": killer, "since": "2026-11-27"}
        STREAM.front_end(id, mechanism, effect, *seen, **words)(front_end)
        return kind

    return add


@_stream(
    "stream-of-clips",
    "Each piece that is pushed is computed as a clip of its own, with mirrored ends.",
    "two frames at each seam, up to 1; fewer frames",
    "https://github.com/dscripka/openWakeWord/issues/315",
    fix="Keep the last 400 samples of what was pushed: a frame at the seam hears both pieces. "
    "Mirror the clip's own ends only.",
    killer="stream/fixed-200-ms/80",
)
class StreamOfClips(Stream):
    def push(self, samples: Array) -> Array:
        self.received += len(samples)
        if len(samples) <= _REACH:
            return np.empty((self.n_mels, 0), np.float32)
        return right(samples, self.n_mels, maximum=self.maximum)

    def finish(self) -> Array:
        return np.empty((self.n_mels, 0), np.float32)


@_stream(
    "stream-remainder-dropped",
    "What is left of a piece behind its last whole hop is dropped.",
    "frames drift, by a part of a hop with each piece",
    fix="Keep the samples behind the last whole hop for the next push: `kept = x[len(x) // 160 * "
    "160:].copy()`.",
    killer="stream/fixed-of-a-prime/80",
)
class StreamRemainderDropped(Stream):
    def append(self, samples: Array) -> None:
        super().append(samples[: len(samples) // _HOP * _HOP])


@_stream(
    "stream-last-frame-missing",
    "The end of a stream gives no frames: those that hear the mirrored end are missing.",
    "one or two frames fewer",
    fix="At the end, mirror the last 200 samples and compute the rest, up to n // 160 frames.",
    killer="stream/fixed-lengths",
)
class StreamLastFrameMissing(Stream):
    def finish(self) -> Array:
        rest = super().finish()
        return rest[:, :-1] if self.maximum == "clip" else rest[:, :0]


@_stream(
    "stream-last-frame-extra",
    "The last frame of a stream, which is dropped from whole clips, is kept.",
    "one frame more",
    fix="Give n // 160 frames in all: drop the last one at the end.",
    killer="stream/fixed-10-ms/80",
)
class StreamLastFrameExtra(Stream):
    def excess(self) -> int:
        return 0


@_stream(
    "stream-running-maximum",
    "Frames are given at once, clamped by the maximum of what was heard so far.",
    "frames before something loud: up to 0.7",
    fix="With the clip's maximum no frame is final before the end: keep the logarithms, and clamp "
    "when the clip is over. Or take a fixed maximum, with which all are final at once.",
    killer="stream/clip-loud-later",
)
class StreamRunningMaximum(Stream):
    top = np.float32(-np.inf)

    def final(self, frames: Array) -> Array:
        if self.maximum != "clip" or not frames.size:
            return super().final(frames)
        self.top = max(self.top, frames.max())
        return np.maximum(frames, self.top - _SPAN)

    def finish(self) -> Array:
        rest = super().finish()
        if self.maximum != "clip" or not rest.size:
            return rest
        return np.maximum(rest, max(self.top, rest.max()) - _SPAN)


@_stream(
    "stream-state-shared",
    "Two streams share the samples that are kept between pushes.",
    "each hears the other's samples at its seams",
    fix="Keep the samples in the stream's own object, not in a global or in a default argument.",
    killer="stream/fixed-side-by-side",
)
class StreamStateShared(Stream):
    shared: ClassVar[dict[int, Array]] = {}

    def append(self, samples: Array) -> None:
        if self.received > _REACH:
            self.heard = self.shared.get(self.n_mels, self.heard)[-self.heard.size :]
        super().append(samples)

    def frames(self) -> Array:
        made = super().frames()
        self.shared[self.n_mels] = self.heard
        return made


@_stream(
    "stream-keeps-callers-memory",
    "The samples that are kept between pushes are the caller's array, not a copy.",
    "a caller that records into one buffer: wrong at each seam",
    fix="Copy what is kept: `kept = x[-400:].copy()`.",
    killer="stream/fixed-buffer-reused",
)
class StreamKeepsCallersMemory(Stream):
    kept = np.empty(0, np.float32)

    def push(self, samples: Array) -> Array:
        if self.received > _REACH:
            count = min(len(self.kept), self.heard.size)
            self.heard[self.heard.size - count :] = self.kept[len(self.kept) - count :]
        self.kept = samples
        return super().push(samples)


@_stream(
    "stream-result-reused",
    "All pushes give the same memory.",
    "frames change with the next push",
    fix="Return memory of its own for each push: `y.copy()`.",
    killer="stream/fixed-10-ms/80",
)
class StreamResultReused(Stream):
    def push(self, samples: Array) -> Array:
        made = super().push(samples)
        if not hasattr(self, "memory"):
            self.memory = np.empty((self.n_mels, 4096), np.float32)
        self.memory[:, : made.shape[1]] = made
        return self.memory[:, : made.shape[1]]


@_stream(
    "stream-frames-late",
    "All frames come at the end, though the maximum is fixed.",
    "nothing to hear before the stream is over",
    fix="With a fixed maximum, give each frame as soon as 160 t + 200 samples are there.",
    killer="stream/fixed-prompt",
)
class StreamFramesLate(Stream):
    def final(self, frames: Array) -> Array:
        self.waiting.append(frames)
        return frames[:, :0]


@_stream(
    "stream-keeps-everything",
    "All samples of a stream are kept.",
    "memory grows as long as somebody speaks",
    fix="Keep the last 400 samples, and forget the rest.",
    killer="stream/fixed-memory",
)
class StreamKeepsEverything(Stream):
    def push(self, samples: Array) -> Array:
        self.__dict__.setdefault("every", []).append(samples.copy())
        return super().push(samples)


@_stream(
    "stream-of-nothing",
    "A stream that ends before 201 samples gives a frame of what was not there.",
    "a frame of zeros or of old memory",
    fix="Raise `ValueError`, or give no frame: fewer than 201 samples cannot be mirrored.",
    killer="stream/fixed-of-160",
)
class StreamOfNothing(Stream):
    def finish(self) -> Array:
        if self.received <= _REACH:
            return np.zeros((self.n_mels, self.received // _HOP), np.float32)
        return super().finish()
