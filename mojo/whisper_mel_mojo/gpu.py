"""``log_mel`` for arrays in a CUDA device's memory: one launch, no copy, nobody waits.

NVIDIA only. AMD's and Apple's devices are compiled for (``./dev gpu compile``), but there is no way
to call them from Python yet. No GPU has run any of it: see ``docs/gpu.md``.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
import sys
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from whisper_mel_mojo.accelerators import Accelerator, accelerator
from whisper_mel_mojo.builder import SOURCE, built_library
from whisper_mel_mojo.cuda import LEGACY_STREAM, DeviceError, driver
from whisper_mel_mojo.device_array import DeviceArray, device_array
from whisper_mel_mojo.features import plan
from whisper_mel_mojo.library import SMOOTHING, Smoothing, library

__all__ = ["DeviceError", "log_mel"]

LAUNCH = SOURCE.with_name("launch.mojo")
RUN_TIME = ("libKGENCompilerRTShared.so", "libAsyncRTMojoBindings.so")
"""Modular's libraries that launching takes."""
_FLOAT32, _INT16, _INT64 = map(np.dtype, (np.float32, np.int16, np.int64))
_FIRST_OF_LAUNCH = 100  # statuses below are the kernel's own
_NOT_AN_ERROR_OF_THE_DRIVER = 110


def log_mel(
    audio: Any,
    n_mels: int = 80,
    *,
    pad_to: int | None = None,
    smoothing: Smoothing | None = None,
    lengths: Any = None,
    out: Any = None,
    stream: Any = None,
) -> Any:
    """As :func:`whisper_mel_mojo.log_mel`, from device memory to device memory.

    Nothing is copied, and after the first call for a device, which builds the kernel if need be
    and loads it, nothing is allocated but a missing ``out``, and nothing waited for: as with every
    CUDA library, the result is there when the stream has got so far, and until then all arrays
    must stay. Arrays are PyTorch's CUDA tensors, CuPy's, or whatever else has
    ``__cuda_array_interface__`` (version 2 or 3) or ``__dlpack__``.

    Parameters
    ----------
    audio : float32 or int16 PCM of shape ``(n,)`` or ``(batch, n)``, the samples of a clip
        contiguous.
    n_mels, pad_to, smoothing : as there.
    lengths : int64 array of shape ``(batch,)`` on the same device: the samples of each clip that
        count, at least 1 and at most ``n``. Frames beyond a clip's own hold what silence has in it.
    out : float32 array of the features' shape, C-contiguous, on the same device; by default a new
        one of PyTorch or CuPy, if ``audio`` is of theirs.
    stream : on which the kernel is launched: an address, or an object with ``__cuda_stream__``,
        ``cuda_stream`` (PyTorch) or ``ptr`` (CuPy). By default PyTorch's or CuPy's current stream
        if ``audio`` is of theirs, else the one that its interface names, else the legacy default
        stream. It waits for the streams on which the arrays are made, if that is known; who uses
        the result on another one has to wait for it. To be given together with ``out``.

    Returns
    -------
    ``out``, or a new array of shape ``(n_mels, n_frames)`` or ``(batch, n_mels, n_frames)``.
    A clip that contains NaN or infinity, is too short, has a length that is impossible, or whose
    power overflows float32, is NaN: nobody waits who could be told.

    Raises
    ------
    TypeError
        an argument is not in a CUDA device's memory, or has another dtype or type.
    ValueError
        as :func:`whisper_mel_mojo.log_mel` does for shapes and numbers; an address is not the
        device's memory as the driver knows it, has been freed, or is of another device; or an
        allocation is shorter than the array in it claims. Nothing is launched then.
    DeviceError
        there is no CUDA device, or its driver refuses the launch.
    BuildError
        the kernel could not be compiled (first call only), or the device is none of those that it
        is compiled for.
    """
    if stream is not None and out is None:
        raise TypeError("out=None: expected an array when a stream is given")
    handle = _handle(stream) if stream is not None else _current_stream(audio)
    samples = _array("audio", audio, handle or LEGACY_STREAM)
    handle = handle or samples.stream or LEGACY_STREAM
    if samples.dtype not in (_FLOAT32, _INT16):
        raise TypeError(f"audio has dtype {samples.dtype}: expected float32 or int16 (PCM)")
    if len(samples.shape) not in (1, 2):
        raise ValueError(f"audio has shape {samples.shape}: expected (n,) or (batch, n)")
    if 0 in samples.shape:
        raise ValueError(f"audio is empty (shape {samples.shape}): expected at least one sample")
    n_samples = samples.shape[-1]
    if n_samples > 1 and samples.strides[-1] != 1:
        raise ValueError(
            f"audio has strides {samples.strides}: expected the samples of a clip side by side"
        )
    n_mels, length, _, shape = plan(n_samples, n_mels, pad_to, smoothing)
    shape = (*samples.shape[:-1], *shape)
    result = _empty_like(audio, shape) if out is None else out
    features = _array("out", result, handle)
    _check_out(features, shape, samples)
    counts = None if lengths is None else _array("lengths", lengths, handle)
    if counts is not None:
        if counts.dtype != _INT64:
            raise TypeError(f"lengths has dtype {counts.dtype}: expected int64")
        if samples.shape[:-1] != counts.shape or not counts.shape or not counts.is_contiguous:
            raise ValueError(
                f"lengths has shape {counts.shape} and strides {counts.strides}: "
                f"expected {samples.shape[:-1]}, contiguous, for a batch"
            )
        _check_apart(features, counts, "lengths")
    arrays = {"audio": samples, "out": features, "lengths": counts}
    for name, array in arrays.items():
        if array is not None and array.address % array.dtype.itemsize != 0:
            raise ValueError(f"{name} is at address {array.address:#x}: expected it to be aligned")

    device = samples.device
    if device is None:
        device = driver().device_of(samples.address)
        if device is None:
            raise ValueError(
                f"audio at {samples.address:#x} is not in a device's memory, or has been freed"
            )
    launch = _library(device)
    for made_on in {array.stream for array in arrays.values() if array is not None}:
        if made_on not in (None, handle):
            driver().wait(device, handle, made_on)
    with _lock:
        status = launch.whisper_mel_launch(
            samples.address,
            samples.dtype == _INT16,
            samples.shape[0] if len(samples.shape) == 2 else 1,
            n_samples,
            samples.strides[0] if len(samples.shape) == 2 else n_samples,
            0 if pad_to is None else length,
            n_mels,
            SMOOTHING[smoothing],
            features.address,
            math.prod(shape),
            0 if counts is None else counts.address,
            handle,
        )
        if status != 0:
            raise _error(launch, status, arrays)
    return result


_lock = threading.Lock()
_launch_types: list[Any] = 12 * [ctypes.c_ssize_t]


@lru_cache
def _library(device: int) -> ctypes.CDLL:
    """What launches on a device: ``$WHISPER_MEL_LAUNCH_LIBRARY``, where other mappings of the
    kernel are timed and faults are planted, or what is built for the device's kind.
    """
    chosen = os.environ.get("WHISPER_MEL_LAUNCH_LIBRARY")
    if chosen:
        return _opened(Path(chosen))
    return _loaded(accelerator(driver().capability(device)))


@lru_cache
def _loaded(kind: Accelerator) -> ctypes.CDLL:
    return _opened(built_library(LAUNCH, *kind.options))


def _opened(path: Path) -> ctypes.CDLL:
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError:
        # It was compiled in another environment, and looks there for what this one has, too.
        folder = run_time()
        if folder is None:
            raise
        for name in RUN_TIME:
            ctypes.CDLL(str(folder / name))
        loaded = ctypes.CDLL(str(path))
    loaded.whisper_mel_launch.argtypes = _launch_types
    loaded.whisper_mel_launch.restype = ctypes.c_ssize_t
    loaded.whisper_mel_launch_message.argtypes = [ctypes.c_ssize_t]
    loaded.whisper_mel_launch_message.restype = ctypes.c_char_p
    return loaded


def run_time() -> Path | None:
    """The folder that has what such a library needs, ``RUN_TIME``; None: it is not installed."""
    package = importlib.util.find_spec("modular")
    places = package.submodule_search_locations if package else None
    folders = (Path(place, "lib") for place in places or ())
    return next((it for it in folders if all((it / name).exists() for name in RUN_TIME)), None)


def _error(launch: ctypes.CDLL, status: int, arrays: dict[str, DeviceArray | None]) -> Exception:
    if status < _FIRST_OF_LAUNCH:
        return ValueError(library().message(status).decode())
    message = launch.whisper_mel_launch_message(status).decode()
    if status < _NOT_AN_ERROR_OF_THE_DRIVER:
        return DeviceError(message)
    where = ", ".join(
        f"{name} {array.dtype}{list(array.shape)} at {array.address:#x}"
        for name, array in arrays.items()
        if array is not None
    )
    return ValueError(f"{message} ({where})")


def _check_out(out: DeviceArray, shape: tuple[int, ...], audio: DeviceArray) -> None:
    if out.dtype != _FLOAT32:
        raise TypeError(f"out has dtype {out.dtype}: expected float32")
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}: expected {shape}")
    if not out.is_contiguous:
        raise ValueError(f"out has strides {out.strides}: expected a C-contiguous array")
    if out.read_only:
        raise ValueError("out is read-only: expected a writable array")
    _check_apart(out, audio, "audio")


def _check_apart(out: DeviceArray, other: DeviceArray, name: str) -> None:
    (begin, end), (first, after) = out.extent, other.extent
    if begin < after and first < end:
        raise ValueError(f"out overlaps {name}: expected memory of its own")


# PyTorch and CuPy are never imported here: whoever has an array of theirs has imported them.


def _is_of(module: str, class_name: str, array: Any) -> bool:
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(array, getattr(loaded, class_name, ()))


def _is_cuda_tensor(array: Any) -> bool:
    return _is_of("torch", "Tensor", array) and array.is_cuda


def _array(name: str, array: Any, stream: int) -> DeviceArray:
    result = device_array(name, array, stream)
    if _is_cuda_tensor(array):  # PyTorch's interface tells neither
        return result._replace(device=array.device.index, stream=_current_stream(array))
    return result


def _current_stream(audio: Any) -> int:
    """Of the library that the array belongs to; 0: nobody knows."""
    if _is_cuda_tensor(audio):
        handle: int = sys.modules["torch"].cuda.current_stream(audio.device).cuda_stream
        return handle or LEGACY_STREAM
    if _is_of("cupy", "ndarray", audio):
        return sys.modules["cupy"].cuda.get_current_stream().ptr or LEGACY_STREAM
    return 0


def _empty_like(audio: Any, shape: tuple[int, ...]) -> Any:
    if _is_of("torch", "Tensor", audio):
        return audio.new_empty(shape, dtype=sys.modules["torch"].float32)
    if _is_of("cupy", "ndarray", audio):
        return sys.modules["cupy"].empty(shape, _FLOAT32)
    raise TypeError(
        f"out=None: expected an array, since audio is a {type(audio).__name__}, neither PyTorch's "
        "nor CuPy's"
    )


def _handle(stream: Any) -> int:
    if isinstance(stream, int) and not isinstance(stream, bool):
        handle = stream
    elif hasattr(stream, "__cuda_stream__"):
        _, handle = stream.__cuda_stream__()
    elif hasattr(stream, "cuda_stream"):
        handle = stream.cuda_stream
    elif hasattr(stream, "ptr"):
        handle = stream.ptr
    else:
        raise TypeError(
            f"stream is a {type(stream).__name__}: expected an address, or an object with "
            "__cuda_stream__, cuda_stream or ptr"
        )
    handle = int(handle)
    if handle < 0:
        raise ValueError(f"stream={handle}: expected the address of a CUDA stream")
    return handle or LEGACY_STREAM
