"""The error bound of each float32 feature, and the comparison of a front-end with it.

The derivation, its sources and its calibration are in ``docs/error-bound.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whisper_mel_reference.filterbank import mel_filterbank
from whisper_mel_reference.pipeline import (
    Array,
    clamp,
    finish,
    logarithm,
    mean_3x3,
    mel_blocks,
    split_clips,
    with_silence,
)
from whisper_mel_reference.spec import WHISPER, FrontEndSpec

BOUND_VERSION = "1"
"""The version of the bound: another one wherever an admissible error changes (docs/versions.md)."""
CLASS_A = 1.0
"""The highest score of a careful float32 implementation."""
CLASS_B = 4.0
"""The highest score of a careless but conforming one."""
MAX_AMPLITUDE = 1e16
"""The largest amplitude that has a bound: above it, float32 powers may overflow."""

# One rounding to float32 is off by at most EPS relatively; the factors are calibrated on
# real implementations (docs/error-bound.md).
EPS = 2.0**-24
FFT_ERROR = 12.0  # error of a spectrum value, in EPS times the norm of the windowed frame
PEAK_ERROR = 1.5  # more of it, in EPS times the largest magnitude in the frame's spectrum
WINDOW_ERROR = 4.0  # more of it, by a float32 window, in EPS times the norm of the frame
SUM_ERROR = 8.0  # relative error of a mel power, in EPS
LAST_ERROR = 8.0  # error of logarithm, scaling and smoothing, in EPS times max(|value|, 1)


class Truth(NamedTuple):
    """The float64 features of a clip or of a batch, and the error bound of float32 features.

    Both have the shape of :func:`whisper_mel_reference.log_mel`'s result, and its unit.
    """

    features: NDArray[np.float64]
    bound: NDArray[np.float64]


class Comparison(NamedTuple):
    """The worst value of an output, in units of the bound.

    ``score`` is ``|actual - expected| / bound`` there (infinite if one of them is not finite),
    ``index`` its position, ``reason`` one sentence for people.
    """

    score: float
    index: tuple[int, ...]  # type: ignore[assignment]  # hides tuple.index
    actual: float
    expected: float
    bound: float
    reason: str


def truth(
    audio: ArrayLike, spec: FrontEndSpec = WHISPER, *, lengths: Sequence[int] | None = None
) -> Truth:
    """Compute the features and their error bound at once, in float64.

    Parameters as :func:`whisper_mel_reference.log_mel`. ``features`` is what ``log_mel`` returns
    and ``bound`` what :func:`error_bound` returns, bit for bit, for the price of the latter.
    Raises what ``log_mel`` raises, and ``ValueError`` for amplitudes above ``MAX_AMPLITUDE``,
    where float32 power may overflow.
    """
    clips, is_batch = split_clips(audio, lengths)
    peak = max(float(np.abs(clip).max()) for clip in clips)
    if not peak <= MAX_AMPLITUDE:
        raise ValueError(
            f"audio has amplitudes up to {peak:.3g}: expected at most {MAX_AMPLITUDE:.3g}"
        )
    shape = (len(clips), *spec.feature_shape(np.shape(audio)[-1]))
    whole = Truth(np.empty(shape), np.empty(shape))
    for row, clip in enumerate(clips):
        n_frames = spec.feature_shape(clip.size)[1]
        own, silence = _clip_truth(clip, spec, shape[2] - n_frames)
        for values, part, fill in zip(whole, own, silence, strict=True):
            values[row, :, :n_frames] = part
            values[row, :, n_frames:] = fill
    return whole if is_batch else Truth(whole.features[0], whole.bound[0])


def error_bound(
    audio: ArrayLike, spec: FrontEndSpec = WHISPER, *, lengths: Sequence[int] | None = None
) -> NDArray[np.float64]:
    """Compute the admissible error of each feature of a float32 implementation.

    Parameters as :func:`whisper_mel_reference.log_mel`; float64 of the features' shape, in the
    features' unit. Raises what :func:`truth` raises.
    """
    return truth(audio, spec, lengths=lengths).bound


def score(
    actual: ArrayLike,
    audio: ArrayLike,
    spec: FrontEndSpec = WHISPER,
    *,
    lengths: Sequence[int] | None = None,
    dtype: str = "float32",
) -> float:
    """Compute the largest error of ``actual`` in bounds (:func:`error_bound`); infinite for NaN.

    Up to ``CLASS_A`` the output is as good as careful float32 can be; up to ``CLASS_B`` it
    conforms. With ``dtype`` ``"float16"`` or ``"bfloat16"``, rounding to that once is no error.
    Raises ``ValueError`` if ``actual`` has not the features' shape, or for another ``dtype``, and
    whatever :func:`error_bound` raises.
    """
    return compare(actual, audio, spec, lengths=lengths, dtype=dtype).score


def compare(
    actual: ArrayLike,
    audio: ArrayLike,
    spec: FrontEndSpec = WHISPER,
    *,
    lengths: Sequence[int] | None = None,
    dtype: str = "float32",
) -> Comparison:
    """Compute the score as :func:`score` does, with the worst feature's place and values."""
    given = np.asarray(actual)
    exact = truth(audio, spec, lengths=lengths)
    if given.shape != exact.features.shape:
        raise ValueError(f"actual has shape {given.shape}: expected {exact.features.shape}")
    return compare_with(given, exact.features, exact.bound, dtype)


HALF_FORMATS = {"float16": (10, -14), "bfloat16": (7, -126)}
"""The bits of the fraction, and the exponent of the smallest normal number, of each half format."""


def half_ulp(values: Array, dtype: str) -> NDArray[np.float64]:
    """Compute what rounding once to ``dtype`` changes at most, where it gives ``values``.

    It is half a unit in the last place of each value, in the shape and the unit of ``values``.
    Raises ``ValueError`` for a ``dtype`` that is not in ``HALF_FORMATS``.
    """
    if dtype not in HALF_FORMATS:
        raise ValueError(f"dtype={dtype!r}: expected one of float32, {', '.join(HALF_FORMATS)}")
    bits, smallest = HALF_FORMATS[dtype]
    magnitudes = np.maximum(np.abs(np.asarray(values, np.float64)), 2.0**smallest)
    half: NDArray[np.float64] = np.ldexp(0.5, np.frexp(magnitudes)[1] - 1 - bits)
    return half


def beyond_rounding(actual: Array, expected: Array, dtype: str = "float32") -> NDArray[np.float64]:
    """Compute the error of each value, less what rounding once to a half format may change."""
    off: NDArray[np.float64] = np.abs(np.asarray(actual, np.float64) - expected)
    return off if dtype == "float32" else np.maximum(off - half_ulp(actual, dtype), 0.0)


def compare_with(
    actual: Array, expected: Array, bound: Array, dtype: str = "float32"
) -> Comparison:
    """Compare ``actual`` with given values and bounds, all of one shape.

    Values of a half format, ``dtype``, may be off by their own rounding besides. It is no part of
    what the score is a multiple of.
    """
    values = np.asarray(actual, np.float64)
    with np.errstate(invalid="ignore"):
        excess = beyond_rounding(values, expected, dtype) / bound
    excess[~np.isfinite(values)] = np.inf
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(excess)), excess.shape))
    worst = float(excess[index])
    if np.isinf(worst):
        reason = f"value{list(index)} is {values[index]}: expected {expected[index]:.7g}"
    else:
        reason = (
            f"value{list(index)} is {values[index]:.9g}: expected {expected[index]:.9g} "
            f"within {bound[index]:.3g}; the error is {worst:.3g} bounds"
        )
    return Comparison(
        worst, index, float(values[index]), float(expected[index]), float(bound[index]), reason
    )


def _clip_truth(clip: Array, spec: FrontEndSpec, n_silent: int) -> tuple[Truth, Truth]:
    """Compute the truth of one clip, and that of the silent frames behind it, ``(n_silent,)``."""
    mel, mel_error = _mel_with_error(clip, spec)
    # The clip's maximum is as uncertain as each value that could be the maximum.
    low, exact, high = (
        clamp(with_silence(logarithm(m, spec), spec, n_silent), spec)
        for m in (mel - mel_error, mel, mel + mel_error)
    )
    features = finish(exact, spec.replace(smoothing=None))
    spread = np.maximum(high - exact, exact - low) / spec.divisor
    both = Truth(features, spread + last_error(features))
    n_frames = mel.shape[1]
    own = Truth(*(values[:, :n_frames] for values in both))
    silence = Truth(*(values[0, n_frames:] for values in both))
    if spec.smoothing is not None:
        smooth = mean_3x3(own.features, spec)
        own = Truth(smooth, mean_3x3(own.bound, spec) + last_error(smooth))
    return own, silence


def _mel_with_error(clip: Array, spec: FrontEndSpec) -> tuple[Array, Array]:
    """Compute float64 mel powers and the bound of float32 ones, both ``(n_mels, n_frames)``.

    A spectrum value is off by delta at most; a mel power ``sum F P`` by the cross term of
    ``|X + delta|**2`` (bounded by Cauchy-Schwarz), delta's own square, and the sum's roundings.
    """
    shape = spec.n_mels, spec.n_frames(clip.size)
    mel, mel_error = np.empty(shape), np.empty(shape)
    weight_sum = mel_filterbank(spec.n_mels, spec).sum(axis=1, dtype=np.float64)[:, np.newaxis]
    for block in mel_blocks(clip, spec, np.dtype(np.float64)):
        peak = block.power.max(axis=1) ** (1.0 / spec.power)
        delta = spectrum_error(block.frames, block.windowed, peak)
        if spec.power == 2.0:
            error = 2.0 * np.sqrt(block.mel * weight_sum) * delta + weight_sum * delta**2
        else:
            error = weight_sum * delta
        mel[:, block.where] = block.mel
        mel_error[:, block.where] = error + SUM_ERROR * EPS * block.mel
    return mel, mel_error


def spectrum_error(
    frames: Array, windowed: Array, peak: Array, *, gain: float = 1.0
) -> NDArray[np.float64]:
    """Compute the error bound of a float32 spectrum's values, shape ``(n_frames,)``.

    ``frames`` and ``windowed`` have shape ``(n_frames, n_fft)``; ``peak`` is the largest
    magnitude in each frame's spectrum, ``gain`` the largest weight of the window.
    """
    return EPS * (
        FFT_ERROR * _norm(windowed) + PEAK_ERROR * peak + WINDOW_ERROR * _norm(frames) * gain
    )


def _norm(frames: Array) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", frames, frames)
    return np.sqrt(squares)


def last_error(features: Array) -> Array:
    """Compute the error of the last roundings of float32 features, in the features' unit."""
    error: Array = LAST_ERROR * EPS * np.maximum(np.abs(features), 1.0)
    return error
