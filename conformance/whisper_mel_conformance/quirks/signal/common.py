"""Sources, roundings and levels that quirks of several stages share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.quirks.path import Call

Array = NDArray[Any]

KNF_65 = "https://github.com/csukuangfj/kaldi-native-fbank/issues/65"
WENET_2320 = "https://github.com/wenet-e2e/wenet/pull/2320"
CPP_1148 = "https://github.com/ggml-org/whisper.cpp/pull/1148"
CANDLE_1560 = "https://github.com/huggingface/candle/pull/1560"
TINYGRAD = "https://github.com/tinygrad/tinygrad/commit/9ffa1eb7e2"
ELBRUNO_6 = "https://github.com/elbruno/ElBruno.Whisper/pull/6"

PERIODIC_HANN = (
    '`torch.hann_window(400)`, `scipy.signal.get_window("hann", 400)`, `np.hanning(401)[:-1]`'
)
"""Code that makes the right thing, in several libraries, for the fixes of several quirks."""
SLANEY_BANK = "`librosa.filters.mel(sr=16000, n_fft=400, n_mels=80)`"
MIRRORED = '`np.pad(x, 200, mode="reflect")`'
LOG10 = "`np.log10(np.maximum(mel, 1e-10))`"
CLAMPED = "`log = np.maximum(log, log.max() - 8.0)`"
SCALED = "`y = (log + 4.0) / 4.0`"
PADDED = "`np.pad(x, (0, pad_to - len(x)))`"

BELOW_ALL = 1e9
"""A dynamic range so large that nothing is clamped."""


def below_maximum(clamped: Array, call: Call) -> Array:
    """Subtract the clip's maximum."""
    return clamped - call.seen["top"]


def rounded_to_half(values: Array, call: Call) -> Array:
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(values.dtype)


def rounded_to_bfloat16(values: Array, call: Call) -> Array:
    return kept_bits(values, 16)


def rounded_to_tf32(values: Array, call: Call) -> Array:
    return kept_bits(values, 13)


def kept_bits(values: Array, dropped: int) -> Array:
    """Round float32 values to the nearest whose lowest ``dropped`` bits are 0; ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    odd = bits >> np.uint64(dropped) & np.uint64(1)
    bits += np.uint64((1 << (dropped - 1)) - 1) + odd
    bits = bits >> np.uint64(dropped) << np.uint64(dropped)
    return bits.astype(np.uint32).view(np.float32).astype(values.dtype)
