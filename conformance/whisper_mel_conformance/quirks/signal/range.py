"""Quirks of the dynamic range below the clip's maximum."""

from __future__ import annotations

from typing import Any

import numpy as np

from whisper_mel_conformance.quirks.path import Call, Hook, Variation
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
    """Replace the clip's maximum; ``maximum`` takes the logarithms of the kept frames."""
    return lambda top, call: maximum(call.seen["kept"]) if call.wanted.maximum == "clip" else top


def _of_chunks(kept: Any, frames: int) -> Any:
    count = kept.shape[1]
    parts = [kept[:, i : i + frames].max() for i in range(0, count, frames)]
    return np.repeat(parts, frames)[:count]


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
    "The range below the clip's maximum is another one than 8.",
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
    top=_top(lambda kept: _of_chunks(kept, 3000)),
)
RANGE.add(
    "maximum-so-far",
    "The maximum is that of the frames so far, as in streaming.",
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
    "The maximum is that of the first 64 frames only: one tile.",
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
    "A constant is taken instead of the clip's maximum.",
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


# --------------------------------------------------------------------------- other maxima


def _if_fixed(maximum: Any) -> Hook:
    """Replace a fixed maximum, if one is asked for; ``maximum`` takes it and the kept frames."""

    def hook(top: Any, call: Call) -> Any:
        wanted = call.wanted.maximum
        return top if isinstance(wanted, str) else maximum(np.float32(wanted), call.seen["kept"])

    return hook


def _if_chunk(maximum: Any) -> Hook:
    """Replace the maxima of chunks, if asked for; ``maximum`` takes them and the kept frames."""
    return lambda top, call: (
        maximum(top, call.seen["kept"]) if call.wanted.maximum == "chunk" else top
    )


RANGE.add(
    "fixed-maximum-ignored",
    "The clip's own maximum is taken though a fixed one is asked for.",
    "the floor of loud and of quiet clips, up to 1",
    fix="Take the given number: `log = np.maximum(log, maximum - 8.0)`.",
    killer="maximum/1.5-quiet-noise/80",
    since="2026-11-27",
    top=_if_fixed(lambda maximum, kept: kept.max()),
)
RANGE.add(
    "fixed-maximum-if-louder",
    "The larger one of the fixed and of the clip's own maximum is taken.",
    "loud clips have a higher floor",
    fix="Take the given number alone: `log = np.maximum(log, maximum - 8.0)`.",
    killer="maximum/-2.25-burst-in-silence/80",
    since="2026-11-27",
    top=_if_fixed(lambda maximum, kept: max(maximum, kept.max())),
)
RANGE.add(
    "fixed-maximum-as-floor",
    "Values are raised to the fixed maximum itself, not to 8 below it.",
    "almost everything is constant",
    fix="Raise to 8 below the given number: `log = np.maximum(log, maximum - 8.0)`.",
    killer="maximum/1.5-rising-noise/80",
    since="2026-11-27",
    top=_if_fixed(lambda maximum, kept: maximum + np.float32(8)),
)
RANGE.add(
    "fixed-maximum-twice-below",
    "Values are raised to 16 below the fixed maximum: the range is taken off twice.",
    "quiet values are not raised, up to 2",
    fix="The fixed maximum is the maximum, not the floor: `log = np.maximum(log, maximum - 8.0)`.",
    killer="maximum/1.5-silence/80",
    since="2026-11-27",
    top=_if_fixed(lambda maximum, kept: maximum - np.float32(8)),
)
RANGE.add(
    "fixed-maximum-caps",
    "Values above the fixed maximum are cut down to it.",
    "loud bands are cut",
    fix="Leave values above the maximum as they are: remove `np.minimum(log, maximum)`.",
    killer="maximum/1.5-loud-noise/80",
    since="2026-11-27",
    clamped=lambda clamped, call: (
        clamped
        if isinstance(call.wanted.maximum, str)
        else np.minimum(clamped, np.float32(call.wanted.maximum))
    ),
)
RANGE.add(
    "chunks-ignored",
    "The clip's maximum is taken though each chunk's is asked for.",
    "quiet chunks beside loud ones: up to 1",
    fix="Take the maximum of each 3000 frames: `for i in range(0, n, 3000): log[:, i:i + 3000] = "
    "np.maximum(log[:, i:i + 3000], log[:, i:i + 3000].max() - 8.0)`.",
    killer="maximum/chunk-loud-then-quiet",
    since="2026-11-27",
    top=_if_chunk(lambda top, kept: kept.max()),
)
RANGE.add(
    "chunks-so-far",
    "A chunk has the maximum of all chunks so far.",
    "a quiet chunk after a loud one: up to 1",
    fix="Forget the maximum at the end of each chunk.",
    killer="maximum/chunk-loud-then-quiet",
    since="2026-11-27",
    top=_if_chunk(lambda top, kept: np.maximum.accumulate(np.broadcast_to(top, kept.shape[1:]))),
)
RANGE.add(
    "chunk-of-2999-frames",
    "A chunk has 2999 frames.",
    "where a loud chunk begins or ends",
    fix="A chunk has 3000 frames, 480,000 samples; frame 3000 k belongs to the chunk that begins "
    "there.",
    killer="maximum/chunk-loud-then-quiet",
    since="2026-11-27",
    top=_if_chunk(lambda top, kept: _of_chunks(kept, 2999)),
)
