"""Arrays of the host through a CUDA device; the suite judges this as ``mojo-gpu``.

For arrays on the host, the kernel for CPUs is usually the better choice, because of the copies.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whisper_mel_mojo import gpu
from whisper_mel_mojo.arguments import (
    address,
    array_dtype,
    as_array,
    check_out,
    error_of,
    kernel_samples,
    plan,
)
from whisper_mel_mojo.gpu.arrays import BFLOAT16
from whisper_mel_mojo.gpu.cuda import LEGACY_STREAM, driver
from whisper_mel_mojo.library import NOT_FINITE, OVERFLOWED, Maximum, Smoothing

_DEVICE = 0


class Buffer:
    """Device memory as an array; it is freed with the object."""

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
    out: NDArray[Any] | None = None,
    maximum: Maximum = "clip",
    dtype: str = "float32",
) -> NDArray[Any]:
    """Compute features like :func:`whisper_mel_mojo.log_mel`, on the first CUDA device.

    ``maximum="chunk"`` is without smoothing only. Raises ``DeviceError`` if there is no device, and
    ``MemoryError`` if it has not enough memory.
    """
    given = as_array(audio)
    samples = np.ascontiguousarray(kernel_samples(given))
    shape = plan(samples.shape[-1], n_mels, pad_to, smoothing).shape
    shape = (*samples.shape[:-1], *shape)
    if out is None:
        out = np.empty(shape, array_dtype(dtype))
    else:
        check_out(out, shape, given, array_dtype(dtype))
    source = Buffer(samples.shape, samples.dtype)
    driver().to_device(_DEVICE, source.address, address(samples), source.size)
    features = Buffer(shape, BFLOAT16 if dtype == "bfloat16" else dtype)
    gpu.log_mel(
        *(source, n_mels),
        pad_to=pad_to,
        smoothing=smoothing,
        out=features,
        maximum=maximum,
        dtype=dtype,
    )
    driver().synchronize(_DEVICE, LEGACY_STREAM)
    driver().to_host(_DEVICE, address(out), features.address, features.size)
    require_finite(out, samples, given)
    return out


def require_finite(features: NDArray[Any], samples: NDArray[Any], given: NDArray[Any]) -> None:
    """Raise the ``ValueError`` of the kernel for CPUs if a sample is not finite, or a feature NaN.

    ``samples`` are those that a device was handed, ``given`` the caller's.
    """
    bad = np.flatnonzero(~np.isfinite(samples))
    if bad.size > 0 or np.isnan(features.astype(np.float32, copy=False)).any():
        status = NOT_FINITE if bad.size > 0 else OVERFLOWED
        raise error_of(status, given, int(bad[0]) if bad.size > 0 else 0)
