"""Quirks of what is done to finished features."""

from __future__ import annotations

from typing import Any

import numpy as np

from whisper_mel_conformance.quirks.path import Call, Hook, Variation
from whisper_mel_conformance.quirks.quirk import Parameter
from whisper_mel_conformance.quirks.signal.common import (
    ELBRUNO_6,
    PADDED,
    SCALED,
    Array,
    rounded_to_bfloat16,
    rounded_to_half,
)
from whisper_mel_conformance.quirks.table import Table

OUTPUT = Table("output")
_ORT_EXTENSIONS = "https://github.com/microsoft/onnxruntime-extensions/pull/969"
_FASTER_1084 = "https://github.com/SYSTRAN/faster-whisper/pull/1084"
_PADDED = "boundary/pad-16000-to-20000/80"
_EPSILON = Parameter("epsilon", 1e-5, (0.0, *(10.0**k for k in range(-10, -1))))


def _filled(value: Any, to: int | None = 480_000) -> Hook:
    """Append frames of ``value(features)`` up to ``to`` samples; None: up to ``pad_to``."""

    def hook(y: Array, call: Call) -> Array:
        length = call.wanted.pad_to if to is None else to
        if length is None:
            return y
        more = max(length // call.spec.hop - y.shape[1], 0)
        return np.pad(y, ((0, 0), (0, more)), constant_values=value(y))

    return hook


def _padded_with(value: Any) -> dict[str, Any]:
    """Reach ``pad_to`` by values behind the features, not by zeros behind the audio."""
    return {"spec": {"pad_to": None}, "features": _filled(value, None)}


def _masked(y: Array, call: Call) -> Array:
    y = y.copy()
    y[:, -(-call.clip.size // call.spec.hop) :] = 0
    return y


def _zeros_counted(y: Array, call: Call) -> Array:
    """Take the mean at the edges as if zeros lay beyond them."""
    if call.spec.smoothing != "same":
        return y
    n_mels, n_frames = y.shape
    bands = np.full(n_mels, 3.0)
    bands[[0, -1]] = min(2, n_mels)
    frames = np.full(n_frames, 3.0)
    frames[[0, -1]] = min(2, n_frames)
    return (y * np.outer(bands, frames) / 9.0).astype(y.dtype)


def _smoothed(y: Array, call: Call) -> Array:
    """Smooth features although no smoothing was requested."""
    if call.wanted.smoothing is not None:
        return y
    wide = np.pad(y, 1, mode="edge")
    rows = wide[:-2] + wide[1:-1] + wide[2:]
    return ((rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9.0).astype(y.dtype)


def _standardised(axis: int | None, epsilon: float) -> Variation:
    """Bring features to mean 0 and variance 1 along ``axis`` (None: over the whole clip).

    Where features are constant, rounding errors are divided by almost zero, so a front-end's result
    cannot be predicted. In float64, which stands for exact numbers, it is NaN there.
    """

    def hook(y: Array, call: Call) -> Array:
        if not y.size:
            return y
        deviation = y.std(axis=axis, keepdims=True)
        if y.dtype == np.float64:
            deviation = np.where(deviation > 1e-6, deviation, np.nan)
        return (y - y.mean(axis=axis, keepdims=True)) / (deviation + y.dtype.type(epsilon))

    return Variation(stages={"features": hook})


def _stretched(y: Array, call: Call) -> Array:
    return (y - y.min()) / max(y.max() - y.min(), y.dtype.type(1e-5))


OUTPUT.add(
    "not-scaled",
    "(x + 4) / 4 is missing.",
    "-10 … 0 instead of -1.5 … 1.5",
    ELBRUNO_6,
    "https://github.com/csukuangfj/kaldi-native-fbank/issues/63",
    fix=f"Scale at the end: {SCALED}.",
    spec={"offset": 0.0, "divisor": 1.0},
)
OUTPUT.add_family(
    "offset",
    "Another number than 4 is added before the division by 4.",
    "a constant",
    Parameter("offset", 0.0, (-20.0, -8.0, -4.0, 0.0, 2.0, 3.0, 5.0, 6.0, 8.0, 10.0, 20.0)),
    lambda offset: Variation({"offset": float(offset)}),
    fix=f"Add 4: {SCALED}.",
)
OUTPUT.add_family(
    "divisor",
    "The division is by another number than 4.",
    "the range of values is stretched or squeezed",
    Parameter("divisor", 2.0, (0.5, 1.0, 2.0, 3.0, 3.9, 4.1, 5.0, 8.0, 10.0, 20.0)),
    lambda divisor: Variation({"divisor": float(divisor)}),
    fix=f"Divide by 4: {SCALED}.",
)
OUTPUT.add_family(
    "features-standardised",
    "Features are brought to mean 0 and variance 1.",
    "everything depends on the clip",
    _EPSILON,
    lambda epsilon: _standardised(None, epsilon),
    "https://github.com/huggingface/transformers/pull/21938",
    fix=f"Remove the normalisation of the features: {SCALED} is all.",
)
OUTPUT.add_family(
    "bands-standardised",
    "Each band is brought to mean 0 and variance 1 (CMVN).",
    "everything depends on the clip",
    _EPSILON,
    lambda epsilon: _standardised(1, epsilon),
    fix=f"Remove the normalisation of bands (CMVN): {SCALED} is all.",
    since="2026-11-25",
)
OUTPUT.add(
    "mean-removed-per-band",
    "The mean of each band is subtracted (CMN).",
    "everything depends on the clip",
    fix=f"Remove the subtraction of means (CMN): {SCALED} is all.",
    since="2026-11-25",
    features=lambda y, call: y - y.mean(axis=1, keepdims=True) if y.size else y,
)
OUTPUT.add(
    "features-stretched",
    "Features are stretched to 0 … 1.",
    "everything depends on the clip",
    fix=f"Do not stretch: {SCALED} is all.",
    features=_stretched,
)
OUTPUT.add(
    "features-stretched-both-ways",
    "Features are stretched to -1 … 1.",
    "everything depends on the clip",
    fix=f"Do not stretch: {SCALED} is all.",
    since="2026-11-25",
    features=lambda y, call: 2 * _stretched(y, call) - 1,
)
OUTPUT.add(
    "features-clipped",
    "Features are clipped to -1 … 1.",
    "silence reads -1, and loud bands are cut",
    fix="Leave values beyond -1 … 1 as they are: remove `np.clip(y, -1, 1)`.",
    killer="numerics/silence/80",
    features=lambda y, call: np.clip(y, -1, 1),
)
OUTPUT.add(
    "half-precision-features",
    "Features are float16 on their way.",
    "5e-4",
    "https://github.com/pytorch/audio/issues/2097",
    fix="Return float32, and cast at the model: `y.astype(np.float32)` cannot bring "
    "back what float16 has lost.",
    features=rounded_to_half,
)
OUTPUT.add(
    "bfloat16-features",
    "Features are bfloat16 on their way.",
    "4e-3",
    fix="Return float32, and cast at the model: `y.float()` cannot bring back what "
    "bfloat16 has lost.",
    features=rounded_to_bfloat16,
)
OUTPUT.add(
    "padded-with-zeros",
    "Padding is done on the features, with 0.0.",
    "1.5 in every padded frame: silence reads as half loud",
    _FASTER_1084,
    "https://github.com/ggml-org/whisper.cpp/issues/579",
    fix=f"Pad the samples before the transform, not the features: {PADDED}.",
    killer=_PADDED,
    **_padded_with(lambda y: 0.0),
)
OUTPUT.add(
    "padded-with-minimum",
    "Padding is done on the features, with their minimum.",
    "frames that straddle the end are lost; loud clips: 1.1 in every padded frame",
    "https://github.com/huggingface/transformers/pull/39221",
    fix=f"Pad the samples before the transform, not the features: {PADDED}.",
    killer=_PADDED,
    **_padded_with(lambda y: y.min()),
)
OUTPUT.add(
    "padded-with-silence",
    "Padding is done on the features, with -1.5.",
    "frames that straddle the end are lost; loud clips: wrong in every padded frame",
    _ORT_EXTENSIONS,
    fix=f"Pad the samples before the transform, not the features: {PADDED}.",
    killer=_PADDED,
    **_padded_with(lambda y: -1.5),
)
OUTPUT.add(
    "padded-with-range",
    "Padding is done on the features, with the clip's maximum less 8, below silence.",
    "silence pads with -3.5",
    _ORT_EXTENSIONS,
    fix=f"Pad the samples before the transform, not the features: {PADDED}.",
    killer=_PADDED,
    **_padded_with(lambda y: y.max() - 2.0),
)
OUTPUT.add(
    "padding-masked",
    "Frames of the padding are multiplied by 0, those of a mask that counts samples.",
    "1.5 in every padded frame: silence reads as half loud",
    fix="Do not multiply by a mask: silence is -1.5 or higher, not 0. Zeros are "
    "appended to the samples: `np.pad(x, (0, pad_to - len(x)))`.",
    killer=_PADDED,
    since="2026-11-27",
    features=_masked,
)
OUTPUT.add_family(
    "filled-to-3000-frames",
    "Features are filled with a number up to 3000 frames, whether asked for or not.",
    "3000 frames for every clip; 0 reads as half loud",
    Parameter("value", 0.0, (-10.0, -2.0, -1.5, -1.0, 0.0, 1.0)),
    lambda value: Variation(stages={"features": _filled(lambda y: value)}),
    _FASTER_1084,
    fix="Give `len(x) // 160` frames; to pad, append zeros to the samples: `np.pad(x, "
    "(0, 480_000 - len(x)))`.",
    since="2026-11-25",
)
OUTPUT.add(
    "filled-with-minimum",
    "Features are filled with their minimum up to 3000 frames, whether asked for or not.",
    "3000 frames for every clip; those of loud ones are no silence",
    fix="Give `len(x) // 160` frames; to pad, append zeros to the samples: `np.pad(x, "
    "(0, 480_000 - len(x)))`.",
    since="2026-11-25",
    features=_filled(lambda y: y.min()),
)
OUTPUT.add(
    "smoothing-ignored",
    "Smoothing is accepted and not done.",
    "as without smoothing",
    "https://github.com/huggingface/transformers/pull/21938",
    fix="Do it or refuse it. 3×3 mean, kept inside: `scipy.ndimage.uniform_filter(y, "
    "3)[1:-1, 1:-1]`.",
    killer="numerics/rising-noise-same/80",
    spec={"smoothing": None},
)
OUTPUT.add(
    "smoothing-counts-zeros",
    "Smoothing counts zeros beyond the edges (torch's default).",
    "edges are nearer to 0",
    fix="Divide by the number of values that exist: "
    "`torch.nn.functional.avg_pool2d(y[None], 3, 1, 1, "
    "count_include_pad=False)[0]`.",
    killer="numerics/rising-noise-same/80",
    features=_zeros_counted,
)
OUTPUT.add(
    "smoothed-unasked",
    "The features are smoothed though nobody asked for it.",
    "details are lost",
    fix="Return the features as they are unless smoothing is asked for.",
    features=_smoothed,
)
