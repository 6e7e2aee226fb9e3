"""Quirks of ``out``, the array that features are written to."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from whisper_mel_conformance.quirks.memory import MEMORY, address
from whisper_mel_conformance.quirks.table import Array, Table, right

API = Table("API")


def _into_out(
    accepts: Callable[[Array, Array], bool] = lambda out, y: False,
) -> Callable[[Callable[[Array, Array], None]], Callable[..., Array]]:
    """Make a front-end of a function that writes features, its second argument, to ``out``.

    An ``out`` that does not fit is refused unless ``accepts`` returns True for it.
    """

    def made(write: Callable[[Array, Array], None]) -> Callable[..., Array]:
        def front_end(audio: Array, n_mels: int = 80, *, out: Array = None) -> Array:
            y = right(audio, n_mels)
            if out is None:
                return y
            if not accepts(out, y):
                _require_fit(out, y, audio)
            write(out, y)
            return out

        return front_end

    return made


def _require_fit(out: Array, y: Array, audio: Array) -> None:
    if out.shape != y.shape or out.dtype != y.dtype or not out.flags.c_contiguous:
        raise ValueError("out: expected a float32 array of the features' shape")
    if not out.flags.writeable or np.may_share_memory(out, audio):
        raise ValueError("out: expected writeable memory of its own")


@MEMORY.front_end(
    "out-frame-unwritten",
    "The last frame of out is not written.",
    "whatever was in memory before",
    fix="Write all `out.shape[1]` frames: the loop ends one too early.",
    killer="buffers/out-canaries-1600/80",
)
@_into_out()
def out_frame_unwritten(out: Array, y: Array) -> None:
    out[:, :-1] = y[:, :-1]


@MEMORY.front_end(
    "write-beyond-out",
    "One value is written behind out.",
    "somebody else's memory is overwritten",
    fix="End the loop at the last frame; store a rest that is narrower than a vector one by one.",
    killer="buffers/out-canaries-1600/80",
)
@_into_out()
def write_beyond_out(out: Array, y: Array) -> None:
    out[...] = y
    ctypes.memset(address(out) + out.nbytes, 0, 4)


@API.front_end(
    "out-ignored",
    "out is accepted and not used.",
    "the caller looks at unwritten memory",
    fix="Write to it and return it: `out[...] = y`, or leave the parameter out.",
    killer="buffers/out-canaries-1600/80",
)
def out_ignored(audio: Array, n_mels: int = 80, *, out: Array = None) -> Array:
    y = right(audio, n_mels)
    if out is not None:
        _require_fit(out, y, audio)
    return y


@API.front_end(
    "larger-out-accepted",
    "An out with room for more frames is taken, and filled as far as the features go.",
    "the caller's last frame is whatever was in memory before",
    fix='Refuse it: `if out.shape != (n_mels, n_frames): raise ValueError("out: wrong shape")`.',
    killer="buffers/bad-out-shape",
    since="2026-11-25",
)
@_into_out(accepts=lambda out, y: out.ndim == 2 and out.shape[1] > y.shape[1])
def larger_out_accepted(out: Array, y: Array) -> None:
    out[:, : y.shape[1]] = y


@API.front_end(
    "flat-out-accepted",
    "Of out only the size is checked: a vector is filled band by band.",
    "features without their shape",
    fix='Refuse it: `if out.shape != (n_mels, n_frames): raise ValueError("out: wrong shape")`.',
    killer="buffers/bad-out-rank",
    since="2026-11-25",
)
@_into_out(accepts=lambda out, y: out.ndim == 1 and out.size == y.size)
def flat_out_accepted(out: Array, y: Array) -> None:
    out.reshape(y.shape)[...] = y


@API.front_end(
    "read-only-out-written",
    "A read-only out is written to by its address.",
    "values that nobody was to change are overwritten",
    fix='Refuse it: `if not out.flags.writeable: raise ValueError("out: read-only")`.',
    killer="buffers/bad-out-read-only",
    since="2026-11-25",
)
@_into_out(accepts=lambda out, y: not out.flags.writeable)
def read_only_out_written(out: Array, y: Array) -> None:
    ctypes.memmove(address(out), address(y), y.nbytes)


@API.front_end(
    "out-unchecked",
    "An out that overlaps the audio is written to.",
    "the caller's audio is overwritten",
    fix='Refuse it: `if np.may_share_memory(out, x): raise ValueError("out: overlaps audio")`.',
    killer="buffers/bad-out-overlap",
)
@_into_out(accepts=lambda out, y: True)
def out_unchecked(out: Array, y: Array) -> None:
    out[...] = y


@API.front_end(
    "columns-first",
    "Features are right, and in Fortran's order, although the error policy is promised.",
    "programs that take the memory as it is read them in the wrong order",
    fix="Return rows in memory: `np.ascontiguousarray(y)`.",
    killer="buffers/result/80",
    since="2026-11-27",
)
class ColumnsFirst:
    capabilities = {"errors": "strict"}

    def log_mel(self, audio: Array, n_mels: int = 80) -> Array:
        return np.asfortranarray(right(audio, n_mels))


@API.front_end(
    "foreign-byte-order",
    "Features are big-endian.",
    "another dtype",
    fix="Return the order of this machine: `y.astype(np.float32)`.",
    killer="boundary/length-401/80",
    since="2026-11-27",
)
def foreign_byte_order(audio: Array, n_mels: int = 80) -> Array:
    return right(audio, n_mels).astype(">f4")


@API.front_end(
    "mask-ignored",
    "The mask of a masked array is ignored, although the error policy is promised.",
    "samples that do not count are heard",
    fix="Refuse masked arrays before `np.asarray(x)` drops the mask: "
    '`if np.ma.isMaskedArray(x): raise TypeError("audio: masked")`.',
    killer="errors/masked",
    since="2026-11-27",
)
class MaskIgnored:
    capabilities = {"errors": "strict"}

    def log_mel(self, audio: Array, n_mels: int = 80) -> Array:
        return right(np.asarray(audio), n_mels)
