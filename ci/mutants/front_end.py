"""A mutated kernel as a front-end: its library is at ``$WHISPER_MEL_MUTANT``."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from whisper_mel_mojo import library
from whisper_mel_mojo.frontends import FrontEnd
from whisper_mel_mojo.frontends import mojo_cpu as cpu
from whisper_mel_mojo.gpu import lockstep

_PATH = Path(os.environ["WHISPER_MEL_MUTANT"])

__all__ = ["cpu", "lockstep_block", "lockstep_cluster"]

if _PATH.name.startswith("lockstep"):
    run = functools.partial(lockstep.log_mel, path=_PATH)
    lockstep_block = FrontEnd("mutant", run)
    lockstep_cluster = FrontEnd("mutant", functools.partial(run, clusters=True))
else:

    def _built_library(source: Path | None = None, *options: str) -> Path:
        return _PATH

    library.built_library = _built_library
