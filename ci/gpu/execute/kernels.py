"""The kernels of one target and number of bands, compiled and executed; chosen as a launch does."""

from __future__ import annotations

from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_mojo.features import form_of
from whisper_mel_mojo.gpu.emulator.program import Program
from whisper_mel_mojo.gpu.targets import DIRECT, FEW, FORMED, MANY, NVIDIA, SMOOTHED
from whisper_mel_mojo.library import DTYPES, FIXED, Maximum

from gpu.compile.code import compiled

FEWEST = 8
"""The largest number of clips that are few."""


@lru_cache
def texts(
    target: str, n_mels: int, folder: Path | None = None, forms: bool = False
) -> dict[tuple[int, int], str]:
    """Return what ``compiled`` does, with line tables; it is compiled once in a process.

    ``forms``: the kernels for other forms than the plain one, instead of those for that.
    """
    more = ("-D", "FORMS") if forms else ()
    return compiled(target, n_mels, folder=folder, options=("-g1", *more))


class Kernels:
    """All kernels of a target.

    Those for the plain form are compiled together when one is first called, and so are the others.
    ``folder`` has the sources (None: the package); ``options`` are those of ``Program``.
    """

    def __init__(self, target: str, n_mels: int, folder: Path | None = None, *options: str) -> None:
        self.target, self.n_mels, self.folder, self.options = target, n_mels, folder, options
        self.program = lru_cache(self._program)

    def _program(self, kind: int) -> Program:
        return Program(self.text(kind), *self.options)

    def text(self, kind: int) -> str:
        """Return the mapping of a kernel, then its code with line tables."""
        return texts(self.target, self.n_mels, self.folder, kind >= FORMED)[self.n_mels, kind]

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
        return NVIDIA[self.target].kernels

    def log_mel(self, audio: NDArray[Any], **options: Any) -> NDArray[Any]:
        """Compute features like :meth:`Program.log_mel`, by the kernel that a launch takes."""
        form = {name: options[name] for name in ("maximum", "dtype") if name in options}
        kind = self.kind_for(audio, options.get("smoothing"), **form)
        return self.program(kind).log_mel(audio, self.n_mels, **options)
