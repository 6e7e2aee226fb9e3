"""Front-ends that the suite must accept. Those that it must reject are the catalogue of quirks."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from whisper_mel_conformance.quirks.table import right
from whisper_mel_reference import WHISPER, mel_filterbank
from whisper_mel_reference import log_mel as reference

__all__ = [
    "Everything",
    "half_transforms",
    "judge",
    "naive_dft",
    "other_order",
    "parent",
    "right",
]

Array = Any


@lru_cache(maxsize=1)
def _dft() -> Array:
    return np.exp(-2j * np.pi * (np.outer(np.arange(400), np.arange(201)) % 400) / 400)


def judge() -> int:
    """The process that judges this front-end: the parent of its warden."""
    return parent(os.getppid())


def parent(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("PPid:")[2].split()[0])


def naive_dft(audio: Array, n_mels: int = 80) -> Array:
    """A matrix product in float64."""
    x = np.asarray(audio, np.float64)
    if x.ndim != 1 or not x.size >= 201 or not np.isfinite(x).all():
        raise ValueError("audio: expected a clip")
    padded = np.pad(x, 200, mode="reflect")
    t, j = np.arange(x.size // 160), np.arange(400)
    window = np.sin(np.pi * j / 400) ** 2
    framed = padded[160 * t[:, None] + j] * window
    power = np.abs(framed @ _dft()) ** 2
    log = np.log10(np.maximum(mel_filterbank(n_mels).astype(np.float64) @ power.T, 1e-10))
    return ((np.maximum(log, log.max() - 8) + 4) / 4).astype(np.float32)


def other_order(audio: Array, n_mels: int = 80) -> Array:
    """Complex FFT of frames in float32, bands summed from the top, Fortran order."""
    x = np.array(audio, np.float32)
    if x.ndim != 1:
        raise ValueError("audio: expected a clip")
    padded = np.pad(x, 200, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][: x.size // 160]
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)).astype(np.float32)
    spectrum = np.fft.fft((frames * window).astype(np.complex64))[:, 200::-1]
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    mel = mel_filterbank(n_mels)[:, ::-1].copy() @ power.T
    log = np.log10(np.maximum(mel, np.float32(1e-10)))
    return np.asfortranarray((np.maximum(log, log.max() - 8) + 4) / 4, np.float32)


def half_transforms(audio: Array, n_mels: int = 80) -> Array:
    """Float32 throughout: two transforms of 200 points, one window half folded onto the other,
    binary logarithms, bands summed one after the other."""
    x = np.array(audio, np.float32)
    if x.ndim != 1:
        raise ValueError("audio: expected a clip")
    padded = np.pad(x, 200, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][: x.size // 160]
    windowed = frames * np.square(np.sin(np.pi * np.arange(400) / 400)).astype(np.float32)
    even, odd = (np.fft.fft(windowed[:, i::2].astype(np.complex64)) for i in (0, 1))
    k = np.arange(201)
    turn = np.exp(-2j * np.pi * k / 400).astype(np.complex64)
    spectrum = even[:, k % 200] + turn * odd[:, k % 200]
    power = spectrum.real * spectrum.real + spectrum.imag * spectrum.imag
    bank = mel_filterbank(n_mels)
    mel = np.stack([np.einsum("tk,k->t", power, row) for row in bank])
    log = np.log2(np.maximum(mel, np.float32(1e-10))) * np.float32(np.log10(2.0))
    return np.maximum(log, log.max() - 8) * np.float32(0.25) + np.float32(1.0)


class Everything:
    """Claims all of Whisper's own definition, and keeps the error policy."""

    name = "everything"
    capabilities = {
        "dtypes": ("float32", "float64", "int16"),
        "batch": True,
        "errors": "strict",
        "required_class": "A",
    }

    def log_mel(
        self,
        audio: Array,
        n_mels: int = 80,
        *,
        pad_to: int | None = None,
        smoothing: Any = None,
        out: Array = None,
        threads: int | None = None,
    ) -> Array:
        if isinstance(audio, np.ma.MaskedArray):
            raise TypeError("audio is a masked array: expected samples without a mask")
        if n_mels not in (80, 128):
            raise ValueError(f"n_mels={n_mels}: expected 80 or 128")
        if threads is not None and threads < 1:
            raise ValueError(f"threads={threads}: expected at least 1")
        if audio.dtype.kind == "f":
            peak = np.abs(audio, dtype=np.float64).max(initial=0)
            if 1e16 < peak < np.inf:
                raise ValueError(f"audio has amplitudes up to {peak}: expected at most 1e16")
        spec = WHISPER.replace(n_mels=n_mels, pad_to=pad_to, smoothing=smoothing)
        native = audio.astype(audio.dtype.newbyteorder("="), copy=False)
        y = reference(native, spec, dtype=np.float64).astype(np.float32)
        if out is None:
            return y
        if out.shape != y.shape or out.dtype != y.dtype or not out.flags.c_contiguous:
            raise ValueError(f"out has shape {out.shape}: expected {y.shape}, C-contiguous")
        if not out.flags.writeable or np.may_share_memory(out, audio):
            raise ValueError("out is read-only or overlaps audio: expected memory of its own")
        out[...] = y
        return out
