"""The kernel's C interface (described in ``mel_kernel.mojo``), loaded once."""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Any, Literal, NamedTuple

from whisper_mel_mojo.builder import built_library

NOT_FINITE = 11
OVERFLOWED = 12
Smoothing = Literal["valid", "same"]
SMOOTHING = {None: 0, "valid": 1, "same": 2}
Maximum = Literal["clip", "chunk"] | float
CLIP, FIXED, CHUNK = 0, 1, 2
"""Codes of ``maximum``: the clip's, a number, of every 30 s their own."""
DTYPES = {"float32": 0, "float16": 1, "bfloat16": 2}

_address = ctypes.c_void_p
_count = ctypes.c_ssize_t


LOG_MEL: list[Any] = [
    *(_address, _count, _count, _count, _count),  # audio, is_int16, clips, samples, stride
    *(_count, _count, _count),  # pad_to, n_mels, smoothing
    *(_address, _count),  # out, out_len
    *(_count, _address, _address),  # threads, pool, bad_sample
]


class Common(ctypes.Structure):
    """Arguments that many calls have in common, as ``whisper_mel_log_mel_alike`` reads them."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("is_int16", "clips", "samples", "pad_to", "n_mels")),
        *((name, ctypes.c_int64) for name in ("smoothing", "out_len", "pool", "maximum")),
        ("fixed", ctypes.c_double),
        ("dtype", ctypes.c_int64),
    )


class Library(NamedTuple):
    """The functions of the kernel, and the pool of threads of this process."""

    log_mel: Any
    log_mel_alike: Any
    message: Any
    pool: int
    stream_of: Any
    stream_drop: Any
    stream_ready: Any
    stream_take: Any
    stream_tail: Any


_loaded: ctypes.CDLL | None = None
_library: Library | None = None
_lock = threading.Lock()


def library() -> Library:
    """Return the kernel; build and load it first if necessary."""
    global _library, _loaded
    if _library is None:
        with _lock:
            if _loaded is None:
                _loaded = _load()
            if _library is None:
                pool = _loaded.whisper_mel_pool_new() or 0
                _library = Library(
                    _loaded.whisper_mel_log_mel,
                    _loaded.whisper_mel_log_mel_alike,
                    _loaded.whisper_mel_message,
                    pool,
                    _loaded.whisper_mel_stream_of,
                    _loaded.whisper_mel_stream_drop,
                    _loaded.whisper_mel_stream_ready,
                    _loaded.whisper_mel_stream_take,
                    _loaded.whisper_mel_stream_tail,
                )
    return _library


def _load() -> ctypes.CDLL:
    # ctypes releases the interpreter's lock during a call.
    loaded = ctypes.CDLL(str(built_library()))
    loaded.whisper_mel_pool_new.restype = _address
    loaded.whisper_mel_message.argtypes = [_count]
    loaded.whisper_mel_message.restype = ctypes.c_char_p
    loaded.whisper_mel_log_mel.argtypes = LOG_MEL
    loaded.whisper_mel_log_mel.restype = _count
    loaded.whisper_mel_log_mel_alike.argtypes = [
        *(_address, _address, _count, _address),  # common, audio, stride, out
        *(_count, _address),  # threads, bad_sample
    ]
    loaded.whisper_mel_log_mel_alike.restype = _count
    for name, arguments, result in (
        ("of", [_count, _count, ctypes.c_double], _address),
        ("drop", [_address], None),
        ("ready", [_address, _count], _count),
        ("take", [_address, _address, _count, _count, _address, _count, _address], _count),
        ("tail", [_address, _count, _address, _count], _count),
    ):
        function = getattr(loaded, f"whisper_mel_stream_{name}")
        function.argtypes, function.restype = arguments, result
    return loaded


def _after_fork_in_child() -> None:
    """Replace the library and the lock: the pool's threads exist only in the parent process."""
    global _library, _lock
    _library = None
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork_in_child)
