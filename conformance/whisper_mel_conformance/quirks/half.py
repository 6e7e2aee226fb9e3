"""Quirks of features in half formats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from whisper_mel_reference import WHISPER
from whisper_mel_reference.pipeline import clamp, finish, mel_blocks

from whisper_mel_conformance.quirks.signal.common import kept_bits
from whisper_mel_conformance.quirks.table import Array, Table, right

HALF = Table("output")


class _HalfFrontEnd:
    """A front-end that gives float32 or half features; ``halved`` spoils the latter."""

    capabilities = {
        "out_dtypes": ("float32", "float16"),
        "dtypes": ("float32", "int16"),
        "batch": True,
    }

    def log_mel(
        self,
        audio: Array,
        n_mels: int = 80,
        *,
        pad_to: int | None = None,
        smoothing: Any = None,
        maximum: Any = "clip",
        dtype: str = "float32",
    ) -> Array:
        y = right(audio, n_mels, pad_to=pad_to, smoothing=smoothing, maximum=maximum)
        return y if dtype == "float32" else self.halved(y, audio)

    def halved(self, y: Array, audio: Array) -> Array:
        raise NotImplementedError


def _half(
    id: str, mechanism: str, effect: str, *, fix: str, killer: str
) -> Callable[[Callable[[Array, Array], Array]], Any]:
    """Decorate a function of float32 features and of the clip that makes float16 ones wrongly."""

    def add(halved: Callable[[Array, Array], Array]) -> Any:
        kind = type(
            f"Half{len(HALF.quirks)}", (_HalfFrontEnd,), {"halved": lambda _, y, x: halved(y, x)}
        )
        HALF.front_end(id, mechanism, effect, fix=fix, killer=killer, since="2026-11-27")(kind)
        return halved

    return add


_ONCE = "Round the float32 feature once, to nearest even: `y.astype(np.float16)`, `y.half()`"


@_half(
    "half-truncated",
    "Features are cut to float16 instead of rounded.",
    "up to a whole unit in the last place, towards zero",
    fix=f"{_ONCE}. C: `__float2half_rn(y)`, not `_rz`.",
    killer="half/float16-rising-noise/80",
)
def _truncated(y: Array, audio: Array) -> Array:
    half = y.astype(np.float16)
    return np.where(np.abs(half) > np.abs(y), np.nextafter(half, np.float16(0)), half)


@_half(
    "half-rounded-twice",
    "The logarithm is rounded to float16, and what is made of it again.",
    "several units in the last place",
    fix=f"{_ONCE}, after the last step.",
    killer="half/float16-rising-noise/80",
)
def _twice(y: Array, audio: Array) -> Array:
    log = (y * np.float32(4) - np.float32(4)).astype(np.float16)
    return (log + np.float16(4)) / np.float16(4)


@_half(
    "half-by-way-of-bfloat16",
    "Features are bfloat16 on their way to float16.",
    "4e-3",
    fix=f"{_ONCE}, straight from float32.",
    killer="half/float16-rising-noise/80",
)
def _by_way_of_bfloat16(y: Array, audio: Array) -> Array:
    return kept_bits(y, 16).astype(np.float16)


@_half(
    "half-subnormals-flushed",
    "Features that are subnormal in float16, below 6e-5, become 0.",
    "up to 6e-5, in one value of thousands",
    fix="Keep subnormal numbers: no flush-to-zero where features are rounded.",
    killer="half/float16-near-zero/80",
)
def _flushed(y: Array, audio: Array) -> Array:
    return np.where(np.abs(y) < 2.0**-14, np.float32(0), y).astype(np.float16)


@_half(
    "half-mel-powers",
    "Mel powers are float16: those above 65504 are infinite, those below 6e-8 are 0.",
    "loud clips are infinite, quiet ones are silence",
    fix=f"Compute in float32 up to the features. {_ONCE}.",
    killer="half/float16-quiet/80",
)
def _mel_powers(y: Array, audio: Array) -> Array:
    if audio.ndim == 2:
        return y.astype(np.float16)
    spec = WHISPER.replace(n_mels=y.shape[0])
    real = np.dtype(np.float32)
    mel = np.concatenate([b.mel for b in mel_blocks(audio.astype(np.float32), spec, real)], axis=1)
    with np.errstate(all="ignore"):
        floored = np.maximum(mel.astype(np.float16), np.float16(1e-10)).astype(np.float32)
        log = np.log10(np.maximum(floored, np.float32(2.0**-24)))
    if y.shape[1] != log.shape[1]:
        return y.astype(np.float16)
    return finish(clamp(log, spec), spec).astype(np.float16)


@HALF.front_end(
    "half-ignored",
    "Features are float32 whatever dtype is asked for.",
    "another dtype: read as float16, they are noise",
    fix="Return the dtype that is asked for: `y.astype(dtype)`.",
    killer="half/float16-rising-noise/80",
    since="2026-11-27",
)
class HalfIgnored(_HalfFrontEnd):
    capabilities = {
        **_HalfFrontEnd.capabilities,
        "out_dtypes": ("float32", "float16", "bfloat16"),
    }

    def halved(self, y: Array, audio: Array) -> Array:
        return y


@HALF.front_end(
    "bfloat16-truncated",
    "bfloat16 features are the upper half of the bits of float32: cut, not rounded.",
    "up to a whole unit in the last place, towards zero",
    fix="Round to nearest even: `y.astype(ml_dtypes.bfloat16)`, `y.bfloat16()`. C: "
    "`__float2bfloat16_rn(y)`, not `bits >> 16`.",
    killer="half/bfloat16-rising-noise/80",
    since="2026-11-28",
)
class BFloat16Truncated(_HalfFrontEnd):
    capabilities = {**_HalfFrontEnd.capabilities, "out_dtypes": ("float32", "bfloat16")}

    def halved(self, y: Array, audio: Array) -> Array:
        from ml_dtypes import bfloat16

        return (y.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32).astype(bfloat16)
