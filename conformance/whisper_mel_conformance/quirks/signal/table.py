"""The table that each stage's quirks are added to, and what several stages share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.quirks.path import Call, Hook, Variation
from whisper_mel_conformance.quirks.quirk import Parameter, Quirk

Array = NDArray[Any]

_SINCE = "2026-11-24"
_KILLER = "numerics/rising-noise/80"

WENET_2320 = "https://github.com/wenet-e2e/wenet/pull/2320"
CPP_1148 = "https://github.com/ggml-org/whisper.cpp/pull/1148"
CANDLE_1560 = "https://github.com/huggingface/candle/pull/1560"
TINYGRAD = "https://github.com/tinygrad/tinygrad/commit/9ffa1eb7e2"
ELBRUNO_6 = "https://github.com/elbruno/ElBruno.Whisper/pull/6"


class Table(list[Quirk]):
    """Quirks that are variations of one stage."""

    def add(
        self,
        id: str,
        kind: str,
        mechanism: str,
        effect: str,
        *seen: str,
        killer: str = _KILLER,
        since: str = _SINCE,
        spec: dict[str, Any] | None = None,
        fft_size: int | None = None,
        **stages: Hook,
    ) -> None:
        """A quirk whose variation has these fields of the specification and these stages."""
        variation = Variation(spec or {}, stages, fft_size)
        self.append(Quirk(id, kind, mechanism, effect, killer, seen, since, lambda: variation))

    def add_family(
        self,
        id: str,
        kind: str,
        mechanism: str,
        effect: str,
        parameter: Parameter,
        vary: Callable[[float], Variation],
        *seen: str,
        killer: str = _KILLER,
        since: str = _SINCE,
    ) -> None:
        """A quirk with a parameter, whose value ``vary`` takes."""
        quirk = Quirk(id, kind, mechanism, effect, killer, seen, since, vary, parameter=parameter)
        self.append(quirk)


def rounded_to_half(values: Array, call: Call) -> Array:
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(values.dtype)


def rounded_to_bfloat16(values: Array, call: Call) -> Array:
    return _kept_bits(values, 16)


def rounded_to_tf32(values: Array, call: Call) -> Array:
    return _kept_bits(values, 13)


def _kept_bits(values: Array, dropped: int) -> Array:
    """Float32 values without their last bits, rounded to nearest, half to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    odd = bits >> np.uint64(dropped) & np.uint64(1)
    bits += np.uint64((1 << (dropped - 1)) - 1) + odd
    bits = bits >> np.uint64(dropped) << np.uint64(dropped)
    return bits.astype(np.uint32).view(np.float32).astype(values.dtype)
