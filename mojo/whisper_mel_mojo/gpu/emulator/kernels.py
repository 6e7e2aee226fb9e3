"""The kernels of one target, compiled and executed; chosen as a launch does."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whisper_mel_mojo.arguments import (
    array_dtype,
    as_array,
    check_out,
    form_of,
    kernel_samples,
    plan,
)
from whisper_mel_mojo.gpu.checks import check_form
from whisper_mel_mojo.gpu.code import LLVM_IR, Code, kept_code
from whisper_mel_mojo.gpu.emulator.program import Program
from whisper_mel_mojo.gpu.host import require_finite
from whisper_mel_mojo.gpu.targets import DIRECT, FEW, FORMED, MANY, SMOOTHED, TARGETS
from whisper_mel_mojo.library import DTYPES, FIXED, Maximum, Smoothing

FEWEST = 7
"""The largest number of clips that are few."""


@lru_cache
def texts(target: str, n_mels: int, folder: Path | None = None) -> Code:
    """Return a target's kernels as ``compiled`` does, with line tables: PTX, or else LLVM IR."""
    is_ptx = TARGETS[target].capability is not None
    return kept_code(target, n_mels, folder, ("-g1", *(() if is_ptx else LLVM_IR)))


class Kernels:
    """All kernels of a target, which are compiled together when one is first called.

    ``folder`` has the sources (None: the package); ``options`` are those of ``Program``.
    """

    def __init__(self, target: str, n_mels: int, folder: Path | None = None, *options: str) -> None:
        self.target, self.n_mels, self.folder, self.options = target, n_mels, folder, options
        self.program = lru_cache(self._program)

    def _program(self, kind: int) -> Program:
        return Program(self.text(kind), *self.options)

    def text(self, kind: int) -> str:
        """Return the mapping of a kernel, then its code with line tables."""
        return texts(self.target, self.n_mels, self.folder)[self.n_mels, kind]

    def kind_for(
        self,
        audio: NDArray[Any],
        smoothing: str | None,
        maximum: Maximum = "clip",
        dtype: str = "float32",
    ) -> int:
        """Return the kind of kernel that a call takes: ``kind_of`` in ``mel_kernel.mojo``."""
        fixed = form_of(maximum, dtype).maximum == FIXED
        if fixed and smoothing is None:
            return DIRECT + DTYPES[dtype]
        if fixed or dtype != "float32":
            return FORMED
        if smoothing is not None:
            return SMOOTHED
        return FEW if FEW in self.kinds and len(np.atleast_2d(audio)) <= FEWEST else MANY

    @cached_property
    def kinds(self) -> tuple[int, ...]:
        return TARGETS[self.target].kernels

    def log_mel(self, audio: NDArray[Any], **options: Any) -> NDArray[Any]:
        """Compute features like :meth:`Program.log_mel`, by the kernel that a launch takes."""
        form = {name: options[name] for name in ("maximum", "dtype") if name in options}
        kind = self.kind_for(audio, options.get("smoothing"), **form)
        return self.program(kind).log_mel(audio, self.n_mels, **options)


def executed(target: str) -> Callable[..., NDArray[Any]]:
    """Return a function like ``log_mel`` that executes a target's kernels; compile them first.

    ``$FAKE_DRIVER_ORDER`` is the order of threads. The function raises ``Finding`` if the emulator
    finds something, and ``NotImplementedError`` for what only the kernel for CPUs can do. Raises
    ``BuildError``.
    """
    by_bands = {n_mels: Kernels(target, n_mels) for n_mels in (80, 128)}
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(lambda n_mels: texts(target, n_mels), by_bands))
    for kernels in by_bands.values():
        for kind in (*kernels.kinds, FORMED, *(DIRECT + dtype for dtype in DTYPES.values())):
            kernels.program(kind)

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
        form = form_of(maximum, dtype)
        check_form(form, smoothing)
        given = as_array(audio)
        samples = kernel_samples(given)
        planned = plan(samples.shape[-1], n_mels, pad_to, smoothing)
        if out is not None:
            shape = (*samples.shape[:-1], *planned.shape)
            check_out(out, shape, given, array_dtype(form.dtype))
        features = by_bands[planned.n_mels].log_mel(
            samples,
            pad_to=pad_to,
            smoothing=smoothing,
            order="",
            maximum=maximum,
            dtype=form.dtype,
        )
        require_finite(features, samples, given)
        if out is None:
            return features
        out[...] = features
        return out

    return log_mel
