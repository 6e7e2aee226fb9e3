"""Whisper's log-Mel front-end in pure NumPy: its specification, its stages, its error bound.

``FrontEndSpec`` specifies a front-end (``FrontEndSpec.for_model`` that of a model) and ``log_mel``
computes its features, in float64 or float32. ``stages`` returns every intermediate result.
``error_bound`` is the admissible error of each float32 feature, and ``truth`` computes features and
bound at once. ``score`` divides the error of an implementation by the bound.
"""

from whisper_mel_reference.bound import (
    BOUND_VERSION,
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
from whisper_mel_reference.spec import MODELS, WHISPER, FrontEndSpec

__all__ = [
    "BOUND_VERSION",
    "CLASS_A",
    "CLASS_B",
    "MAX_AMPLITUDE",
    "MODELS",
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
