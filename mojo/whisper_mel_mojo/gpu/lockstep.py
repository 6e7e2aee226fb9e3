"""The GPU's program run on a CPU, thread after thread (``lockstep.mojo``, ``docs/gpu.md``)."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whisper_mel_mojo.builder import SOURCE, built_library
from whisper_mel_mojo.features import compute
from whisper_mel_mojo.library import LOG_MEL, Library, Smoothing, library

LOCKSTEP = SOURCE.with_name("lockstep.mojo")


class Session(ctypes.Structure):
    """A run's options and its counts of faults: ``Session`` in ``lockstep.mojo``."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            *("clusters", "order", "lengths"),
            *("phases", "races", "unwritten", "outside", "omitted"),
            *("phase", "word", "thread", "other"),
        )
    ]

    @property
    def faults(self) -> int:
        """The number of wrong accesses, and of values that were not written."""
        return self.races + self.unwritten + self.outside + self.omitted

    def __str__(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name, *_ in self._fields_)


def log_mel(
    audio: ArrayLike,
    n_mels: int = 80,
    *,
    pad_to: int | None = None,
    smoothing: Smoothing | None = None,
    out: NDArray[np.float32] | None = None,
    threads: int | None = None,
    clusters: bool = False,
    lengths: ArrayLike | None = None,
    order: int = 0,
    session: Session | None = None,
    path: Path | None = None,
) -> NDArray[np.float32]:
    """Compute features like :func:`whisper_mel_mojo.log_mel`, by the GPU's program.

    Parameters
    ----------
    threads : checked, without effect.
    clusters : whether to run as on devices whose blocks can read each other's shared memory.
    lengths : number of samples of each clip of a batch; later samples are not read. As on a device,
        no error is raised for clips: the features of one that is too short or not finite, or
        whose length is not between 1 and the batch's, are NaN.
    order : the order of a phase's threads: 0 forwards, 1 backwards; others are seeds of a shuffle.
    session : the object that faults are added to; without it they raise ``RuntimeError``.
    path : the path of the library; None means to build it at first use.
    """
    strict = session is None
    session = session or Session()
    session.clusters = clusters
    session.order = order
    counts: NDArray[Any] | None = None
    if lengths is not None:
        counts = np.ascontiguousarray(lengths, np.int64)
        batch = np.shape(audio)
        if counts.shape != batch[:-1]:
            raise ValueError(f"lengths={lengths!r}: expected one for each clip")
    session.lengths = 0 if counts is None else counts.ctypes.data

    def load() -> Library:
        return Library(_function(path), library().message, ctypes.addressof(session))

    features = compute(load, audio, n_mels, pad_to, smoothing, out, threads)
    if strict and session.faults > 0:
        raise RuntimeError(f"faults in the kernel: {session}")
    return features


@lru_cache
def _function(path: Path | None) -> Any:
    # Cached here, because built_library() reads and hashes the library and its sources.
    function = ctypes.CDLL(str(path or built_library(LOCKSTEP))).whisper_mel_lockstep
    function.argtypes = LOG_MEL
    function.restype = ctypes.c_ssize_t
    return function
