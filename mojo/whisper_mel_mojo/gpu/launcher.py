"""Builder, loader and caller of ``launch.mojo``, the library that launches the kernel."""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from whisper_mel_mojo.arguments import Form
from whisper_mel_mojo.builder import SOURCE, built_library
from whisper_mel_mojo.gpu.arrays import DeviceArray
from whisper_mel_mojo.gpu.cuda import DeviceError, driver
from whisper_mel_mojo.gpu.targets import Target, target_of
from whisper_mel_mojo.library import DTYPES, SMOOTHING, Smoothing, library

LAUNCH = SOURCE.with_name("launch.mojo")
RUN_TIME = ("libKGENCompilerRTShared.so", "libAsyncRTMojoBindings.so")
"""Modular's libraries that a launch needs."""
_LAUNCH_TYPES: list[Any] = [
    *13 * [ctypes.c_ssize_t],  # those of whisper_mel_launch, then the form's
    *(ctypes.c_double, ctypes.c_ssize_t),
]
_FIRST_OF_LAUNCH = 100  # lower statuses are the kernel's own
_NOT_AN_ERROR_OF_THE_DRIVER = 110
_ORDER = "CUDA_DEVICE_ORDER"
"""A variable that Modular's library sets in C's environment when it first opens a device."""
_lock = threading.Lock()
_opened: set[int] = set()
"""Devices on which a launch has been tried."""


def launch(
    arrays: Mapping[str, DeviceArray],
    n_mels: int,
    pad_to: int,
    smoothing: Smoothing | None,
    stream: int,
    form: Form,
) -> None:
    """Launch the kernel on a stream, after the work that makes the arrays.

    ``arrays`` are ``audio``, ``out`` and, for a ragged batch, ``lengths``, already checked.
    ``pad_to`` is 0 for no padding. Raises what :func:`whisper_mel_mojo.gpu.log_mel` raises for a
    device and its memory.
    """
    audio, out, lengths = arrays["audio"], arrays["out"], arrays.get("lengths")
    device = _device_of(audio)
    launching = _library(device)
    for made_on in {array.stream for array in arrays.values()}:
        if made_on not in (None, stream):
            driver().wait(device, stream, made_on)
    is_batch = len(audio.shape) == 2
    samples = audio.shape[-1]
    with _lock:
        status = launching.whisper_mel_launch_as(
            audio.address,
            audio.dtype == np.int16,
            audio.shape[0] if is_batch else 1,
            samples,
            audio.strides[0] if is_batch else samples,
            pad_to,
            n_mels,
            SMOOTHING[smoothing],
            out.address,
            math.prod(out.shape),
            lengths.address if lengths else 0,
            stream,
            *(form.maximum, form.fixed, DTYPES[form.dtype]),
        )
        if device not in _opened:
            _opened.add(device)
            _put_back(_ORDER)
        if status != 0:
            raise _error(launching, status, arrays)


def _put_back(name: str) -> None:
    """Give a variable of C's environment, which child processes inherit, the value that Python's
    ``os.environ`` has."""
    value = os.environ.get(name)
    if value is None:
        os.unsetenv(name)
    else:
        os.putenv(name, value)


def _device_of(audio: DeviceArray) -> int:
    """Return the number of the device whose memory holds the audio."""
    asked = driver()  # before the lock: a forked process inherits it as it is
    device = asked.device_of(audio.address) if audio.device is None else audio.device
    if device is None:
        raise ValueError(
            f"audio at {audio.address:#x} is not in a device's memory, or has been freed"
        )
    return device


@lru_cache
def _library(device: int) -> ctypes.CDLL:
    """Load the library for a device.

    It is ``$WHISPER_MEL_LAUNCH_LIBRARY``, which times other mappings and plants faults; or by
    default the one that is built for the device's target.
    """
    chosen = os.environ.get("WHISPER_MEL_LAUNCH_LIBRARY")
    if chosen:
        return opened(Path(chosen))
    return _loaded(target_of(driver().capability(device)))


@lru_cache
def _loaded(target: Target) -> ctypes.CDLL:
    return opened(built_library(LAUNCH, *target.options))


def opened(path: Path) -> ctypes.CDLL:
    """Load a compiled ``launch.mojo``, with its functions' types."""
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError:
        # It was compiled in another environment, where it looks for libraries that this one has,
        # too.
        folder = run_time()
        if folder is None:
            raise
        for name in RUN_TIME:
            ctypes.CDLL(str(folder / name))
        loaded = ctypes.CDLL(str(path))
    loaded.whisper_mel_launch_as.argtypes = _LAUNCH_TYPES
    loaded.whisper_mel_launch_as.restype = ctypes.c_ssize_t
    loaded.whisper_mel_launch_message.argtypes = [ctypes.c_ssize_t]
    loaded.whisper_mel_launch_message.restype = ctypes.c_char_p
    return loaded


def run_time() -> Path | None:
    """Find the folder with the libraries of ``RUN_TIME``; None if they are not installed."""
    package = importlib.util.find_spec("modular")
    places = package.submodule_search_locations if package else None
    folders = (Path(place, "lib") for place in places or ())
    return next((it for it in folders if all((it / name).exists() for name in RUN_TIME)), None)


def _error(launching: ctypes.CDLL, status: int, arrays: Mapping[str, DeviceArray]) -> Exception:
    """Return the exception for a status of ``whisper_mel_launch_as``."""
    if status < _FIRST_OF_LAUNCH:
        return ValueError(library().message(status).decode())
    message = launching.whisper_mel_launch_message(status).decode()
    if status < _NOT_AN_ERROR_OF_THE_DRIVER:
        return DeviceError(message)
    where = ", ".join(
        f"{name} {array.dtype}{list(array.shape)} at {array.address:#x}"
        for name, array in arrays.items()
    )
    return ValueError(f"{message} ({where})")
