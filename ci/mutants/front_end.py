"""The adapter of a mutated kernel; a copy of this file lies beside its library."""

from __future__ import annotations

import functools
from pathlib import Path

from whisper_mel_mojo import library
from whisper_mel_mojo.frontends import FrontEnd
from whisper_mel_mojo.frontends import mojo_cpu as cpu
from whisper_mel_mojo.gpu import lockstep

__all__ = ["cpu", "lockstep_block", "lockstep_cluster"]

_KERNEL = Path(__file__).with_name("mel_kernel.so")
_run = functools.partial(lockstep.log_mel, path=Path(__file__).with_name("lockstep.so"))

lockstep_block = FrontEnd("mutant", _run)
lockstep_cluster = FrontEnd("mutant", functools.partial(_run, clusters=True))


def _built_library(source: Path | None = None, *options: str) -> Path:
    return _KERNEL


if _KERNEL.exists():
    library.built_library = _built_library
