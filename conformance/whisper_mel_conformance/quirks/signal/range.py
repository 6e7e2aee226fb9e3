"""Quirks of the dynamic range below the clip's maximum."""

from __future__ import annotations

from typing import Any

import numpy as np

from whisper_mel_conformance.quirks.path import Hook, Variation
from whisper_mel_conformance.quirks.quirk import Parameter
from whisper_mel_conformance.quirks.signal.common import (
    BELOW_ALL,
    CLAMPED,
    CPP_1148,
    SCALED,
    TINYGRAD,
    below_maximum,
)
from whisper_mel_conformance.quirks.table import Table

RANGE = Table("range")


def _top(maximum: Any) -> Hook:
    """Replace the maximum; ``maximum`` takes the logarithms of the kept frames."""
    return lambda top, call: maximum(call.seen["kept"])


def _of_30_seconds(kept: Any) -> Any:
    count = kept.shape[1]
    parts = [kept[:, i : i + 3000].max() for i in range(0, count, 3000)]
    return np.repeat(parts, 3000)[:count]


RANGE.add(
    "no-range",
    "Values far below the clip's maximum are left as they are.",
    "up to 1.1, where the dynamic range exceeds 80 dB; noise alone never shows it",
    TINYGRAD,
    fix=f"Raise what lies more than 8 below the clip's maximum: {CLAMPED}.",
    killer="numerics/tone-440/80",
    spec={"dynamic_range": BELOW_ALL},
)
RANGE.add_family(
    "range-width",
    "Another distance to the clip's maximum than 8.",
    "what is quiet beside something loud",
    Parameter("width", 7.0, (0.8, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 7.5, 8.2, 8.5, 9.0, 10.0)),
    lambda width: Variation({"dynamic_range": float(width)}),
    fix=f"The range is 8, in logarithms to base 10 (80 dB): {CLAMPED}.",
    killer="numerics/tone-440/80",
)
RANGE.add(
    "maximum-of-each-frame",
    "Each frame has its own maximum.",
    "what is quiet before or after something loud",
    fix=f"One maximum for the whole clip, not for each frame: {CLAMPED}.",
    killer="numerics/on-off-1000/80",
    top=_top(lambda kept: kept.max(axis=0)),
)
RANGE.add(
    "maximum-of-each-band",
    "Each band has its own maximum.",
    "what is quiet beside something loud",
    fix=f"One maximum for the whole clip, not for each band: {CLAMPED}.",
    killer="numerics/tone-440/80",
    top=_top(lambda kept: kept.max(axis=1, keepdims=True)),
)
RANGE.add(
    "maximum-of-30-seconds",
    "Each 30 s have their own maximum.",
    "what is quiet, where the loudest is in other 30 s",
    fix="One maximum for the whole clip: `log = np.maximum(log, log.max() - 8.0)`.",
    killer="boundary/61-seconds/80",
    since="2026-11-27",
    top=_top(_of_30_seconds),
)
RANGE.add(
    "maximum-so-far",
    "The maximum of the frames so far, as in streaming.",
    "frames before something loud: up to 0.7",
    fix=f"Take the maximum of the whole clip before any frame is clamped: {CLAMPED}. Who"
    " streams keeps the logarithms, and clamps when the window is complete.",
    killer="numerics/on-off-1000/80",
    top=_top(lambda kept: np.maximum.accumulate(kept.max(axis=0))),
)
RANGE.add(
    "maximum-with-dropped-frame",
    "The maximum is taken before the last frame is dropped.",
    "a loud end raises the floor: up to 1",
    "https://github.com/NVIDIA/TensorRT-Model-Connect/pull/1282",
    CPP_1148,
    fix=f"Drop the last frame first: `log = log[:, :-1]`, then {CLAMPED}.",
    killer="boundary/loud-tail-60/80",
    top=lambda top, call: call.seen["log"].max(),
)
RANGE.add(
    "maximum-of-64-frames",
    "The maximum of the first 64 frames only: one tile.",
    "clips that become louder later",
    "https://github.com/kaldi-asr/kaldi/issues/3036",
    fix=f"Take the maximum over all tiles before any is clamped: {CLAMPED}.",
    killer="numerics/maximum-in-any-frame",
    top=_top(lambda kept: kept[:, :64].max()),
)
RANGE.add(
    "maximum-at-least-zero",
    "The search for the maximum begins at 0, or at FLT_MIN, which is 1e-38.",
    "quiet clips have a higher floor",
    "https://github.com/cholla-hydro/cholla/pull/163",
    fix="Begin the search at minus infinity: `log.max()`. C: `float top = -INFINITY;`.",
    killer="numerics/silence/80",
    top=lambda top, call: np.maximum(top, 0),
)
RANGE.add_family(
    "fixed-maximum",
    "A constant instead of the clip's maximum.",
    "the floor of all clips is the same: up to 0.3",
    Parameter("maximum", 1.5, (-2.0, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)),
    lambda value: Variation(stages={"top": lambda top, call: float(value)}),
    fix=f"Take the clip's own maximum: {CLAMPED}.",
    killer="numerics/tone-440/80",
)
RANGE.add(
    "maximum-subtracted",
    "The clip's maximum is subtracted.",
    "a constant that depends on the clip",
    fix=f"Only clamp with it: {CLAMPED}, then {SCALED}.",
    since="2026-11-25",
    clamped=below_maximum,
)
