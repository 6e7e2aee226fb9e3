"""Whisper's log-Mel front-end in pure NumPy: its specification, its stages, its error bound.

``FrontEndSpec`` says what a front-end computes, ``log_mel`` computes it in float64 or float32,
``stages`` shows every intermediate, ``error_bound`` says how far a float32 implementation may be
off in each value, ``truth`` gives features and bound at once, and ``score`` divides an
implementation's error by the bound.
"""

from whisper_mel_reference.bound import (
    CLASS_A,
    CLASS_B,
    MAX_AMPLITUDE,
    Comparison,
    Truth,
    compare,
    error_bound,
    score,
    truth,
)
from whisper_mel_reference.filterbank import mel_filterbank
from whisper_mel_reference.pipeline import log_mel, stages
from whisper_mel_reference.spec import WHISPER, FrontEndSpec

__all__ = [
    "CLASS_A",
    "CLASS_B",
    "MAX_AMPLITUDE",
    "WHISPER",
    "Comparison",
    "FrontEndSpec",
    "Truth",
    "compare",
    "error_bound",
    "log_mel",
    "mel_filterbank",
    "score",
    "stages",
    "truth",
]
