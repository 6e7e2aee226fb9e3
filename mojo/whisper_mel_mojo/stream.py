"""Features of audio that comes in pieces: no frame is transformed twice but those at the end."""

from __future__ import annotations

import ctypes
import weakref
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whisper_mel_mojo.arguments import (
    HOP,
    PLAIN,
    RANGE,
    address,
    as_array,
    check_out,
    error_of,
    form_of,
    integer,
    kernel_samples,
    plan,
)
from whisper_mel_mojo.library import CHUNK, FIXED, OVERFLOWED, Library, library

_ROOM = 512  # frames for which there is room at first, beside those that are kept


class Stream:
    """Log-Mel features of a stream: after any piece those of all audio so far, or of a window.

    A stream keeps the frames, and fewer than 400 samples. It is for one thread at a time.

    Parameters
    ----------
    n_mels : 80 or 128 (the large-v3 family).
    maximum : values more than 8 below it, in units of log10, are raised to 8 below. It is
        ``"clip"``, the maximum of all frames so far, or of the window; or a number, with which
        frames are final as soon as their samples are there.
    keep : number of final frames that are kept, for :meth:`window` (30 s are 3000); 0 for
        :meth:`push` alone; None: all, for :meth:`features`.

    Raises
    ------
    TypeError, ValueError
        as :func:`whisper_mel_mojo.log_mel` for ``n_mels`` and ``maximum``; or ``keep`` is negative.
    BuildError
        the kernel could not be compiled (first call only).
    """

    def __init__(
        self,
        n_mels: int = 80,
        *,
        maximum: Literal["clip"] | float = "clip",
        keep: int | None = None,
    ) -> None:
        plan(480_000, n_mels, None, None)
        self._form = form_of(maximum, "float32")
        if self._form.maximum == CHUNK:
            raise ValueError("maximum='chunk': expected 'clip' or a number for a stream")
        if keep is not None and integer("keep", keep) < 0:
            raise ValueError(f"keep={keep}: expected at least 0 frames, or None for all")
        self.n_mels = int(n_mels)
        self._keep = keep
        self._kernel: Library = library()
        self._state = self._kernel.stream_of(n_mels, self._form.maximum, self._form.fixed)
        if not self._state:
            raise MemoryError("out of memory")
        weakref.finalize(self, self._kernel.stream_drop, self._state)
        self._logs = np.empty((self.n_mels, 2 * (keep or 0) + _ROOM), np.float32)
        self._begin = self._end = 0  # columns of the frames that are kept
        self._samples = self._frames = 0
        self._finished = self._damaged = False

    @property
    def n_samples(self) -> int:
        """Number of samples so far."""
        return self._samples

    @property
    def n_frames(self) -> int:
        """Number of frames so far that more audio does not change."""
        return self._frames

    def ready(self, n_samples: int) -> int:
        """Return the number of frames that become final with so many more samples."""
        if integer("n_samples", n_samples) < 0:
            raise ValueError(f"n_samples={n_samples}: expected at least 0")
        return int(self._kernel.stream_ready(self._state, n_samples))

    def push(
        self, samples: ArrayLike, *, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Take the next samples; return the frames that became final.

        ``samples`` is of shape ``(n,)``, n from 0: float32 or float64 with full scale 1, or int16
        PCM. ``out`` is a C-contiguous float32 array of shape ``(n_mels, ready(n))``; None means a
        new array. Returns float32 of shape ``(n_mels, k)``; with ``maximum="clip"`` k is 0, since
        no value is final before the end.

        Raises ``TypeError`` and ``ValueError`` as :func:`whisper_mel_mojo.log_mel`; nothing is
        taken then. ``ValueError`` also if the stream is finished, or if power overflows float32:
        then it cannot be continued.
        """
        self._check(0, self._logs, 0)
        if self._finished:
            raise ValueError("the stream is finished: expected no more samples")
        given = as_array(samples)
        if given.ndim != 1:
            raise ValueError(f"samples have shape {given.shape}: expected (n,)")
        # Of no samples the type is checked by one in their place.
        piece = kernel_samples(given if given.size > 0 else np.zeros(1, given.dtype))[: given.size]
        count = self.ready(piece.size)
        shape = (self.n_mels, count if self._form.maximum == FIXED else 0)
        if out is not None:
            check_out(out, shape, given)
        self._make_room(count)
        if piece.size > 0:
            self._take(piece, given)
        self._end += count
        self._frames += count
        fresh = self._logs[:, self._end - shape[1] : self._end]
        if self._keep is not None:
            self._begin = max(self._begin, self._end - self._keep)
        if out is None:
            return fresh.copy()
        out[...] = fresh
        return out

    def _take(self, piece: NDArray[Any], given: NDArray[Any]) -> None:
        bad_sample = ctypes.c_int64()
        status = self._kernel.stream_take(
            *(self._state, address(piece), piece.dtype == np.int16, piece.size),
            *(address(self._logs) + 4 * self._end, self._logs.shape[1]),
            ctypes.addressof(bad_sample),
        )
        self._check(status, given, bad_sample.value)
        self._samples += piece.size

    def _check(self, status: int, given: NDArray[Any], bad_sample: int) -> None:
        """Raise the error of a status; once power has overflowed, always."""
        self._damaged = self._damaged or status == OVERFLOWED
        if self._damaged:
            raise ValueError(
                "audio has amplitudes so large that its power overflows float32 (expected at most "
                "about 1e17)"
            )
        if status != 0:
            raise error_of(status, given, bad_sample)

    def _make_room(self, count: int) -> None:
        """Make room for so many frames: move those that are kept, or to twice as much memory."""
        kept = self._end - self._begin
        if self._end + count <= self._logs.shape[1]:
            return
        old = self._logs
        if self._keep is None or 2 * kept + count > old.shape[1]:
            self._logs = np.empty((self.n_mels, 2 * (kept + count) + _ROOM), np.float32)
        for row, values in zip(self._logs, old, strict=True):  # of a whole matrix a copy is made
            row[:kept] = values[self._begin : self._end]
        self._begin, self._end = 0, kept

    def finish(self, *, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Return the rest of the features; there can be no more samples then.

        With a fixed maximum it is the frames after those that :meth:`push` returned; with
        ``"clip"`` all that are kept and the rest. Called again, it returns the same again. Raises
        ``ValueError`` for fewer than 201 samples, and there can be more then.
        """
        kept = 0 if self._form.maximum == FIXED else self._end - self._begin
        features = self._joined(kept, 0, out)
        self._finished = True
        return features

    def features(
        self, *, pad_to: int | None = None, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Return ``log_mel(audio, n_mels, pad_to=pad_to, maximum=maximum)`` of all audio so far.

        ``out`` is as there. Only the frames after those that are final, at most two without
        ``pad_to``, are computed. Before the first sample they are silence, with ``pad_to``. Raises
        ``ValueError`` as there, or if frames are no longer kept.
        """
        if self._frames > self._end - self._begin:
            raise ValueError(
                f"keep={self._keep}: the first {self._frames - self._end + self._begin} frames are "
                "no longer kept: expected keep=None, or window()"
            )
        self._check(0, self._logs, 0)
        length = plan(self._samples, self.n_mels, pad_to, None).length
        return self._joined(self._frames, 0 if pad_to is None else length, out)

    def window(
        self, frames: int = 3000, *, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Return what a model hears now: the last ``frames`` frames, of shape ``(n_mels, frames)``.

        While the audio is no longer than that, it is ``features(pad_to=160 * frames)``. Later it is
        the last frames of all audio so far, with a maximum of their own if it is ``"clip"``: the
        window's first frames hear what was before it, as in the whole audio.

        Raises ``ValueError`` if ``frames`` is below 2, or so many frames are not kept.
        """
        if integer("frames", frames) < 2:
            raise ValueError(f"frames={frames}: expected at least 2")
        if self._keep is not None and self._keep < frames:
            raise ValueError(f"frames={frames}: expected at most keep={self._keep}")
        if self._samples <= HOP * frames:
            return self._joined(self._frames, HOP * frames, out)
        rest = self._samples // HOP - self._frames
        return self._joined(frames - rest, 0, out)

    def _joined(
        self, kept: int, pad_to: int, out: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        """Return the last ``kept`` final frames and the rest, raised to their maximum's range."""
        self._check(0, self._logs, 0)
        plan(self._samples, self.n_mels, pad_to or None, None)
        rest = max(self._samples, pad_to) // HOP - self._frames
        shape = (self.n_mels, kept + rest)
        if out is None:
            out = np.empty(shape, np.float32)
        else:
            check_out(out, shape, self._logs)
        out[:, :kept] = self._logs[:, self._end - kept : self._end]
        if rest > 0:
            status = self._kernel.stream_tail(
                self._state, pad_to, address(out) + 4 * kept, shape[1]
            )
            self._check(status, self._logs, 0)
        if self._form == PLAIN and out.size > 0:
            np.maximum(out, out.max() - RANGE, out=out)
        return out
