"""Arrays of the host through a CUDA device: what the conformance suite judges as ``mojo-gpu``.

Whoever has arrays on the host is better served by the kernel for CPUs, unless the copies are few.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whisper_mel_mojo import gpu
from whisper_mel_mojo.cuda import LEGACY_STREAM, driver
from whisper_mel_mojo.features import compute
from whisper_mel_mojo.library import NOT_FINITE, OVERFLOWED, SMOOTHING, Library, Smoothing, library

_DEVICE = 0


class Buffer:
    """Memory of the device, for as long as the object lives, as an array."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.size = int(np.prod(shape)) * self.dtype.itemsize
        self.address = driver().allocate(_DEVICE, self.size)

    def __del__(self) -> None:
        if hasattr(self, "address"):
            driver().free(_DEVICE, self.address)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, False),
            "version": 3,
            "stream": LEGACY_STREAM,
        }


def log_mel(
    audio: ArrayLike,
    n_mels: int = 80,
    *,
    pad_to: int | None = None,
    smoothing: Smoothing | None = None,
    out: NDArray[np.float32] | None = None,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """As :func:`whisper_mel_mojo.log_mel`, by the first CUDA device.

    Raises ``DeviceError`` if there is none, and ``MemoryError`` if it has not enough memory.
    """
    return compute(_load, audio, n_mels, pad_to, smoothing, out, threads)


def _load() -> Library:
    return Library(_through_the_device, library().message, 0)


_SMOOTHING: dict[int, Any] = {code: name for name, code in SMOOTHING.items()}


def _through_the_device(
    audio: int,
    is_int16: bool,
    clips: int,
    samples: int,
    stride: int,
    pad_to: int,
    n_mels: int,
    smoothing: int,
    out: int,
    out_len: int,
    threads: int,
    pool: int,
    bad_sample: int,
) -> int:
    """As ``whisper_mel_log_mel``."""
    dtype = np.dtype(np.int16 if is_int16 else np.float32)
    source = Buffer((clips, samples), dtype)
    for clip in range(clips):
        row = audio + dtype.itemsize * clip * stride
        to = source.address + dtype.itemsize * clip * samples
        driver().to_device(_DEVICE, to, row, dtype.itemsize * samples)
    trim = 2 if _SMOOTHING[smoothing] == "valid" else 0
    features = Buffer((clips, n_mels - trim, max(samples, pad_to) // 160 - trim), np.float32)
    gpu.log_mel(
        source, n_mels, pad_to=pad_to or None, smoothing=_SMOOTHING[smoothing], out=features
    )
    driver().synchronize(_DEVICE, LEGACY_STREAM)
    driver().to_host(_DEVICE, out, features.address, features.size)
    values = np.ctypeslib.as_array((ctypes.c_float * (features.size // 4)).from_address(out))
    damaged = np.isnan(values.reshape(clips, -1)[:, 0]).nonzero()[0]
    if damaged.size == 0:
        return 0
    if not is_int16:
        for clip in damaged:
            row = audio + dtype.itemsize * int(clip) * stride
            given = np.ctypeslib.as_array((ctypes.c_float * samples).from_address(row))
            bad = (~np.isfinite(given)).nonzero()[0]
            if bad.size > 0:
                place = int(clip) * samples + int(bad[0])
                ctypes.c_int64.from_address(bad_sample).value = place
                return NOT_FINITE
    return OVERFLOWED
