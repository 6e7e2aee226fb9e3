"""Checks of what ``gpu.log_mel`` is called with.

Those of arrays raise ``TypeError`` for another dtype, ``ValueError`` for another shape or layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from whisper_mel_mojo.arguments import Form, hint_for_half
from whisper_mel_mojo.gpu.arrays import BFLOAT16, DeviceArray
from whisper_mel_mojo.library import CHUNK


def check_form(form: Form, smoothing: str | None) -> None:
    """Raise ``NotImplementedError`` for what only the kernel for CPUs can do."""
    if form.maximum == CHUNK and smoothing is not None:
        raise NotImplementedError(
            f"smoothing={smoothing!r} with maximum='chunk': expected None on a device; the CPU's "
            "log_mel smoothes across chunks"
        )


def check_audio(audio: DeviceArray) -> None:
    """Require float32 or int16 samples of a clip or a batch, those of a clip side by side."""
    if audio.dtype not in (np.float32, np.int16):
        kind = name_of(audio.dtype)
        raise TypeError(
            f"audio has dtype {kind}: expected float32 or int16 (PCM)" + hint_for_half(kind)
        )
    if len(audio.shape) not in (1, 2):
        raise ValueError(f"audio has shape {audio.shape}: expected (n,) or (batch, n)")
    if 0 in audio.shape:
        raise ValueError(f"audio is empty (shape {audio.shape}): expected at least one sample")
    if audio.shape[-1] > 1 and audio.strides[-1] != 1:
        raise ValueError(
            f"audio has strides {audio.strides}: expected the samples of a clip side by side"
        )


def name_of(dtype: np.dtype[Any]) -> str:
    return "bfloat16" if dtype == BFLOAT16 else str(dtype)


def check_out(out: DeviceArray, shape: tuple[int, ...], audio: DeviceArray, dtype: str) -> None:
    """Require writable, contiguous memory of this shape and dtype, apart from the audio."""
    if name_of(out.dtype) != dtype:
        raise TypeError(f"out has dtype {name_of(out.dtype)}: expected {dtype}")
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}: expected {shape}")
    if not out.is_contiguous:
        raise ValueError(f"out has strides {out.strides}: expected a C-contiguous array")
    if out.read_only:
        raise ValueError("out is read-only: expected a writable array")
    _check_apart(out, audio, "audio")


def check_lengths(lengths: DeviceArray, audio: DeviceArray, out: DeviceArray) -> None:
    """Require a contiguous int64 for each clip of a batch, apart from the features."""
    if lengths.dtype != np.int64:
        raise TypeError(f"lengths has dtype {lengths.dtype}: expected int64")
    if audio.shape[:-1] != lengths.shape or not lengths.shape or not lengths.is_contiguous:
        raise ValueError(
            f"lengths has shape {lengths.shape} and strides {lengths.strides}: "
            f"expected {audio.shape[:-1]}, contiguous, for a batch"
        )
    _check_apart(out, lengths, "lengths")


def check_aligned(arrays: Mapping[str, DeviceArray]) -> None:
    """Require addresses that are multiples of the size of an element."""
    for name, array in arrays.items():
        if array.address % array.dtype.itemsize != 0:
            raise ValueError(f"{name} is at address {array.address:#x}: expected it to be aligned")


def _check_apart(out: DeviceArray, other: DeviceArray, name: str) -> None:
    (begin, end), (first, after) = out.extent, other.extent
    if begin < after and first < end:
        raise ValueError(f"out overlaps {name}: expected memory of its own")
