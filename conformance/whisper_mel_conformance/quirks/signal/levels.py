"""The logarithm, and the range below the maximum."""

from __future__ import annotations

from typing import Any

import numpy as np

from whisper_mel_conformance.quirks.path import Call, Hook, Variation
from whisper_mel_conformance.quirks.quirk import Parameter
from whisper_mel_conformance.quirks.signal.table import (
    CPP_1148,
    ELBRUNO_6,
    TINYGRAD,
    Array,
    Table,
    rounded_to_bfloat16,
    rounded_to_half,
)

LEVELS = Table()


# --------------------------------------------------------------------------- logarithm


_NEVER = 1e9


def _times(factor: float) -> Hook:
    return lambda log, call: log * log.dtype.type(factor)


def _undone(log: Array, call: Call) -> Array:
    return log.dtype.type(10.0) ** log


def _below_maximum(clamped: Array, call: Call) -> Array:
    return clamped - call.seen["top"]


LEVELS.add(
    "natural-logarithm",
    "logarithm",
    "The natural logarithm instead of that to the base of 10.",
    "up to 3.3",
    ELBRUNO_6,
    spec={"log": "ln"},
)
LEVELS.add(
    "logarithm-to-base-2",
    "logarithm",
    "The logarithm to the base of 2.",
    "up to 6",
    log=_times(float(np.log2(10.0))),
)
LEVELS.add(
    "decibels",
    "logarithm",
    "Ten times the logarithm, with the range of 8 that is meant for it alone.",
    "up to 22",
    "https://github.com/kitzeslab/opensoundscape/pull/802",
    log=_times(10.0),
)
LEVELS.add(
    "decibels-over-80",
    "logarithm",
    "Ten times the logarithm, and a range of 80 (librosa's power_to_db).",
    "up to 22",
    since="2026-11-25",
    spec={"dynamic_range": 80.0},
    log=_times(10.0),
)
LEVELS.add(
    "decibels-of-amplitude",
    "logarithm",
    "Twenty times the logarithm of at least 1e-5, and a range of 80 (librosa's amplitude_to_db).",
    "up to 30",
    since="2026-11-25",
    spec={"dynamic_range": 80.0, "floor": 1e-5},
    log=_times(20.0),
)
LEVELS.add(
    "decibels-below-maximum",
    "logarithm",
    "Decibels below the clip's maximum, 80 at most, unscaled (power_to_db with ref=np.max).",
    "-80 … 0 instead of -1.5 … 1.5",
    since="2026-11-25",
    spec={"dynamic_range": 80.0, "offset": 0.0, "divisor": 1.0},
    log=_times(10.0),
    clamped=_below_maximum,
)
LEVELS.add(
    "decibels-unscaled",
    "logarithm",
    "Decibels as they are: no range, no scaling (torchaudio's AmplitudeToDB).",
    "-100 … 40 instead of -1.5 … 1.5",
    since="2026-11-25",
    spec={"dynamic_range": _NEVER, "offset": 0.0, "divisor": 1.0},
    log=_times(10.0),
)
LEVELS.add_family(
    "logarithm-scaled",
    "logarithm",
    "The logarithm times a number: to some other base, or of some power.",
    "the range of levels is stretched or squeezed, but not the floor",
    Parameter("factor", 0.5, (0.25, 0.5, 0.9, 1.1, 2.0, 4.0, 10.0, 20.0)),
    lambda factor: Variation(stages={"log": _times(factor)}),
    since="2026-11-25",
)
LEVELS.add(
    "half-precision-logarithm",
    "logarithm",
    "Logarithms are float16.",
    "1e-3",
    since="2026-11-25",
    log=rounded_to_half,
)
LEVELS.add(
    "bfloat16-logarithm",
    "logarithm",
    "Logarithms are bfloat16.",
    "4e-3",
    since="2026-11-25",
    log=rounded_to_bfloat16,
)
LEVELS.add(
    "no-logarithm",
    "logarithm",
    "No logarithm is taken.",
    "quiet bands are all alike, loud ones far off",
    since="2026-11-25",
    log=_undone,
)
LEVELS.add(
    "mel-powers",
    "logarithm",
    "The mel powers as they are: no logarithm, range or scaling.",
    "0 … 1e4 instead of -1.5 … 1.5",
    since="2026-11-25",
    spec={"dynamic_range": _NEVER, "offset": 0.0, "divisor": 1.0},
    log=_undone,
)
LEVELS.add(
    "logarithm-of-one-plus",
    "logarithm",
    "log10(1 + x).",
    "quiet bands are all alike",
    mel=lambda mel, call: mel + mel.dtype.type(1.0),
)
LEVELS.add(
    "natural-logarithm-of-one-plus",
    "logarithm",
    "ln(1 + x), as log1p has it.",
    "quiet bands are all alike",
    since="2026-11-25",
    spec={"log": "ln"},
    mel=lambda mel, call: mel + mel.dtype.type(1.0),
)
LEVELS.add_family(
    "epsilon-added",
    "logarithm",
    "A small number is added instead of being the least.",
    "only bands near it are higher: 0.05 at most for 1e-10",
    Parameter("epsilon", 1e-6, (1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)),
    lambda e: Variation(stages={"mel": lambda mel, call: mel + mel.dtype.type(e)}),
    "https://github.com/vrtnis/whisper-mel-mojo",
)
LEVELS.add_family(
    "floor",
    "logarithm",
    "Another least value of the logarithm's argument.",
    "silence and near silence only",
    Parameter(
        "floor",
        1e-12,
        (1e-30, 1e-20, 1e-16, 1e-14, 1e-12, 1e-11, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3),
    ),
    lambda floor: Variation({"floor": float(floor)}),
    killer="numerics/silence/80",
)

# --------------------------------------------------------------------------- range


def _top(maximum: Any) -> Hook:
    """Another maximum; ``maximum`` takes the logarithms of the frames that are kept."""
    return lambda top, call: maximum(call.seen["kept"])


def _of_batch(top: Any, call: Call) -> Any:
    kept = [log[:, :-1] if call.spec.drop_last_frame else log for log in call.batch]
    return max(log.max() for log in kept)


LEVELS.add(
    "no-range",
    "range",
    "Values far below the clip's maximum are left as they are.",
    "up to 1.1, where the dynamic range exceeds 80 dB; noise alone never shows it",
    TINYGRAD,
    killer="numerics/tone-440/80",
    spec={"dynamic_range": _NEVER},
)
LEVELS.add_family(
    "range-width",
    "range",
    "Another distance to the clip's maximum than 8.",
    "what is quiet beside something loud",
    Parameter("width", 7.0, (0.8, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 7.5, 8.2, 8.5, 9.0, 10.0)),
    lambda width: Variation({"dynamic_range": float(width)}),
    killer="numerics/tone-440/80",
)
LEVELS.add(
    "maximum-of-each-frame",
    "range",
    "Each frame has its own maximum.",
    "what is quiet before or after something loud",
    killer="numerics/on-off-1000/80",
    top=_top(lambda kept: kept.max(axis=0)),
)
LEVELS.add(
    "maximum-of-each-band",
    "range",
    "Each band has its own maximum.",
    "what is quiet beside something loud",
    killer="numerics/tone-440/80",
    top=_top(lambda kept: kept.max(axis=1, keepdims=True)),
)
LEVELS.add(
    "maximum-so-far",
    "range",
    "The maximum of the frames so far, as in streaming.",
    "frames before something loud: up to 0.7",
    killer="numerics/on-off-1000/80",
    top=_top(lambda kept: np.maximum.accumulate(kept.max(axis=0))),
)
LEVELS.add(
    "maximum-with-dropped-frame",
    "range",
    "The maximum is taken before the last frame is dropped.",
    "a loud end raises the floor: up to 1",
    "https://github.com/NVIDIA/TensorRT-Model-Connect/pull/1282",
    CPP_1148,
    killer="boundary/loud-tail-60/80",
    top=lambda top, call: call.seen["log"].max(),
)
LEVELS.add(
    "maximum-of-64-frames",
    "range",
    "The maximum of the first 64 frames only: one tile.",
    "clips that become louder later",
    "https://github.com/kaldi-asr/kaldi/issues/3036",
    killer="numerics/maximum-in-any-frame",
    top=_top(lambda kept: kept[:, :64].max()),
)
LEVELS.add(
    "maximum-at-least-zero",
    "range",
    "The search for the maximum begins at 0.",
    "quiet clips have a higher floor",
    "https://github.com/cholla-hydro/cholla/pull/163",
    killer="numerics/silence/80",
    top=lambda top, call: np.maximum(top, 0),
)
LEVELS.add_family(
    "fixed-maximum",
    "range",
    "A constant instead of the clip's maximum.",
    "the floor of all clips is the same: up to 0.3",
    Parameter("maximum", 1.5, (-2.0, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)),
    lambda value: Variation(stages={"top": lambda top, call: float(value)}),
    killer="numerics/tone-440/80",
)
LEVELS.add(
    "maximum-subtracted",
    "range",
    "The clip's maximum is subtracted.",
    "a constant that depends on the clip",
    since="2026-11-25",
    clamped=_below_maximum,
)
LEVELS.add(
    "maximum-of-batch",
    "batch",
    "One maximum for a whole batch.",
    "a quiet clip beside a loud one: 0.7",
    "https://github.com/openai/whisper/pull/2862",
    killer="batch/quiet-beside-loud/80",
    top=_of_batch,
)
