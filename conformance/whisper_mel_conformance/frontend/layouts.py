"""The same samples in different memory: strides, alignment, guard pages, canaries."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_LINE = 64  # bytes: offsets are counted from such an alignment
_CANARIES = 64  # values on each side of an output
_LOUD = 12345.0


def lay_out(audio: Array, layout: str) -> Array:
    """Copy ``audio`` to new memory that is laid out as ``layout`` (a key of ``LAYOUTS``) says.

    Values between and beside the samples are louder than any sample, so that reading a wrong one
    shows (NaN would be refused or ignored). Memory before or behind a guarded array cannot be read
    at all.
    """
    if layout == "masked":  # no layout of LAYOUTS: the samples are no longer the same
        return np.ma.masked_array(np.array(audio), np.arange(audio.size) % 7 == 3)
    if layout.startswith("offset-"):
        copy = _at_offset(audio, int(layout.removeprefix("offset-")))
    else:
        copy = LAYOUTS[layout](audio)
    if layout not in ("read-only", "big-endian"):
        copy[...] = audio
    return copy


def _poisoned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    return np.full(shape, _LOUD if dtype.kind == "f" else np.iinfo(dtype).max, dtype)


def _at_offset(audio: Array, offset: int) -> Array:
    """Allocate an array that begins ``offset`` bytes after an aligned address."""
    buffer = _poisoned(((audio.nbytes + 3 * _LINE) // audio.itemsize,), audio.dtype)
    start = -buffer.ctypes.data % _LINE + offset
    return np.ndarray(audio.shape, audio.dtype, buffer=buffer.data.cast("B"), offset=start)


def _strided(audio: Array, step: int) -> Array:
    return _poisoned((*audio.shape[:-1], audio.shape[-1] * step), audio.dtype)[..., ::step]


def _rows_apart(batch: Array) -> Array:
    """Allocate contiguous clips with other rows between them and more samples behind each."""
    clips, n = batch.shape
    return _poisoned((2 * clips, n + 7), batch.dtype)[::2, :n]


def _read_only(audio: Array) -> Array:
    copy = np.array(audio)
    copy.flags.writeable = False
    return copy


def _guarded(shape: tuple[int, ...], dtype: np.dtype[Any], at_end: bool) -> Array:
    """Allocate an array beside a page without access: behind its end, or before its start."""
    n_bytes = int(np.prod(shape)) * dtype.itemsize
    pages = -(-n_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, pages + 2 * mmap.PAGESIZE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    for address in (base, base + mmap.PAGESIZE + pages):
        if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE), 0):
            raise OSError(ctypes.get_errno(), "mprotect failed")
    offset = mmap.PAGESIZE + (pages - n_bytes if at_end else 0)
    return np.ndarray(shape, dtype, buffer=memory, offset=offset)


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "plain": np.array,
    "read-only": _read_only,
    "stride-2": lambda audio: _strided(audio, 2),
    "stride-5": lambda audio: _strided(audio, 5),
    "reversed": lambda audio: np.array(audio)[..., ::-1],
    "column": lambda audio: _poisoned((*audio.shape, 3), audio.dtype)[..., 1],
    "fortran": lambda audio: np.array(audio, order="F"),
    "rows-apart": _rows_apart,
    "rows-backwards": lambda batch: np.array(batch)[::-1],
    "big-endian": lambda audio: audio.astype(audio.dtype.newbyteorder(">")),
    "guard-before": lambda audio: _guarded(audio.shape, audio.dtype, at_end=False),
    "guard-behind": lambda audio: _guarded(audio.shape, audio.dtype, at_end=True),
}
"""Functions that allocate memory like the audio's, by layout; ``offset-<bytes>`` is another layout.
"""

OF_BATCHES = ("fortran", "rows-apart", "rows-backwards")
"""Layouts that exist for batches only."""


def output_memory(
    shape: tuple[int, ...], memory: str, sentinel: np.float32
) -> tuple[Array, list[Array]]:
    """Allocate an output, and list the arrays beside it that must keep the sentinel.

    ``memory`` is ``canaries`` or a guarded layout.
    """
    if memory.startswith("guard-"):
        return _guarded(shape, np.dtype(np.float32), memory == "guard-behind"), []
    size = int(np.prod(shape))
    buffer = np.full(size + 2 * _CANARIES, sentinel)
    out = buffer[_CANARIES : _CANARIES + size].reshape(shape)
    return out, [buffer[:_CANARIES], buffer[_CANARIES + size :]]
