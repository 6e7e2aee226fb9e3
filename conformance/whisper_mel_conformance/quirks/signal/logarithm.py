"""Quirks of the logarithm of mel powers, and of what is added to them."""

from __future__ import annotations

import numpy as np

from whisper_mel_conformance.quirks.path import Call, Hook, Variation
from whisper_mel_conformance.quirks.quirk import Parameter
from whisper_mel_conformance.quirks.signal.common import (
    BELOW_ALL,
    ELBRUNO_6,
    LOG10,
    Array,
    below_maximum,
    rounded_to_bfloat16,
    rounded_to_half,
)
from whisper_mel_conformance.quirks.table import Table

LOGARITHM = Table("logarithm")


def _times(factor: float) -> Hook:
    return lambda log, call: log * log.dtype.type(factor)


def _undone(log: Array, call: Call) -> Array:
    return log.dtype.type(10.0) ** log


LOGARITHM.add(
    "natural-logarithm",
    "The logarithm is the natural one instead of that to the base of 10.",
    "up to 3.3",
    ELBRUNO_6,
    fix=f"Base 10: {LOG10}, `torch.log10(mel.clamp(min=1e-10))`. C: `log10f(fmaxf(mel, 1e-10f))`.",
    spec={"log": "ln"},
)
LOGARITHM.add(
    "logarithm-to-base-2",
    "The logarithm is to the base of 2 instead of 10.",
    "up to 6",
    fix=f"Base 10: {LOG10}. C: `log2f(mel) * 0.30103f`.",
    log=_times(float(np.log2(10.0))),
)
LOGARITHM.add(
    "decibels",
    "Ten times the logarithm, with the range of 8 that is meant for it alone.",
    "up to 22",
    "https://github.com/kitzeslab/opensoundscape/pull/802",
    fix=f"Without the factor 10: {LOG10}.",
    log=_times(10.0),
)
LOGARITHM.add(
    "decibels-over-80",
    "Ten times the logarithm, and a range of 80 (librosa's power_to_db).",
    "up to 22",
    fix=f"Without the factor 10, and with a range of 8: {LOG10} instead of librosa.power_to_db.",
    since="2026-11-25",
    spec={"dynamic_range": 80.0},
    log=_times(10.0),
)
LOGARITHM.add(
    "decibels-of-amplitude",
    "Twenty times the logarithm of at least 1e-5, and a range of 80 (librosa's amplitude_to_db).",
    "up to 30",
    fix=f"Of powers, without a factor: {LOG10} instead of librosa.amplitude_to_db.",
    since="2026-11-25",
    spec={"dynamic_range": 80.0, "floor": 1e-5},
    log=_times(20.0),
)
LOGARITHM.add(
    "decibels-below-maximum",
    "Decibels below the clip's maximum, 80 at most, unscaled (power_to_db with ref=np.max).",
    "-80 … 0 instead of -1.5 … 1.5",
    fix=f"Subtract no maximum: {LOG10} instead of librosa.power_to_db, then `y = "
    "(np.maximum(log, log.max() - 8.0) + 4.0) / 4.0`.",
    since="2026-11-25",
    spec={"dynamic_range": 80.0, "offset": 0.0, "divisor": 1.0},
    log=_times(10.0),
    clamped=below_maximum,
)
LOGARITHM.add(
    "decibels-unscaled",
    "Decibels as they are: no range, no scaling (torchaudio's AmplitudeToDB).",
    "-100 … 40 instead of -1.5 … 1.5",
    fix="`log = np.log10(np.maximum(mel, 1e-10))` instead of AmplitudeToDB, then `y = "
    "(np.maximum(log, log.max() - 8.0) + 4.0) / 4.0`.",
    since="2026-11-25",
    spec={"dynamic_range": BELOW_ALL, "offset": 0.0, "divisor": 1.0},
    log=_times(10.0),
)
LOGARITHM.add_family(
    "logarithm-scaled",
    "The logarithm is multiplied by a number: to some other base, or of some power.",
    "the range of levels is stretched or squeezed, but not the floor",
    Parameter("factor", 0.5, (0.25, 0.5, 0.9, 1.1, 2.0, 4.0, 10.0, 20.0)),
    lambda factor: Variation(stages={"log": _times(factor)}),
    fix=f"Base 10, without a factor, of powers: {LOG10}.",
    since="2026-11-25",
)
LOGARITHM.add(
    "half-precision-logarithm",
    "Logarithms are float16.",
    "1e-3",
    fix="Keep logarithms in float32 up to the end: `np.log10(mel.astype(np.float32))`.",
    since="2026-11-25",
    log=rounded_to_half,
)
LOGARITHM.add(
    "bfloat16-logarithm",
    "Logarithms are bfloat16.",
    "4e-3",
    fix="Keep logarithms in float32 up to the end: `torch.log10(mel.float())`.",
    since="2026-11-25",
    log=rounded_to_bfloat16,
)
LOGARITHM.add(
    "no-logarithm",
    "No logarithm is taken.",
    "quiet bands are all alike, loud ones far off",
    fix=f"Take it: {LOG10}.",
    since="2026-11-25",
    log=_undone,
)
LOGARITHM.add(
    "mel-powers",
    "The mel powers as they are: no logarithm, range or scaling.",
    "0 … 1e4 instead of -1.5 … 1.5",
    fix="`log = np.log10(np.maximum(mel, 1e-10))`, then `y = (np.maximum(log, log.max()"
    " - 8.0) + 4.0) / 4.0`.",
    since="2026-11-25",
    spec={"dynamic_range": BELOW_ALL, "offset": 0.0, "divisor": 1.0},
    log=_undone,
)
LOGARITHM.add(
    "logarithm-of-one-plus",
    "The logarithm is log10(1 + x) instead of log10(max(x, 1e-10)).",
    "quiet bands are all alike",
    fix=f"Raise to the floor instead of adding 1: {LOG10}.",
    mel=lambda mel, call: mel + mel.dtype.type(1.0),
)
LOGARITHM.add(
    "natural-logarithm-of-one-plus",
    "The logarithm is ln(1 + x), as log1p has it.",
    "quiet bands are all alike",
    fix=f"Base 10, and the floor instead of adding 1: {LOG10}, not log1p.",
    since="2026-11-25",
    spec={"log": "ln"},
    mel=lambda mel, call: mel + mel.dtype.type(1.0),
)
LOGARITHM.add_family(
    "epsilon-added",
    "A small number is added to mel powers instead of raising them to at least 1e-10.",
    "only bands near it are higher: 0.05 at most for 1e-10",
    Parameter("epsilon", 1e-6, (1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)),
    lambda e: Variation(stages={"mel": lambda mel, call: mel + mel.dtype.type(e)}),
    "https://github.com/vrtnis/whisper-mel-mojo",
    fix=f"Raise to the floor instead of adding to it: {LOG10}.",
)
LOGARITHM.add_family(
    "floor",
    "Mel powers are raised to at least another number than 1e-10.",
    "silence and near silence only",
    Parameter(
        "floor",
        1e-12,
        (1e-30, 1e-20, 1e-16, 1e-14, 1e-12, 1e-11, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1.0),
    ),
    lambda floor: Variation({"floor": float(floor)}),
    fix=f"The floor is 1e-10: {LOG10}.",
    killer="numerics/silence/80",
)
