"""Whether a filterbank with slightly other weights explains a front-end's features.

Weights that were computed in float32 are off by up to 1 % where a small one is the difference of
two large numbers, and differently wherever the order of operations is another: that is nothing to
be looked up in a catalogue, but the weights can be estimated from the features.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import CLASS_B, mel_filterbank, stages

from whisper_mel_conformance.diagnosis.answer import Answer

Array = NDArray[Any]

_SLIGHT = 0.05  # relative, of the mel power: what is off by more is another fault
_SLIGHT_ERROR = math.log10(1.0 + _SLIGHT) / 4.0  # the same of the features
_MARGIN = 1e-3  # of the logarithm, above the floor and the range: nearer, rounding decides
_FRAMES_A_WEIGHT = 1.5  # at least: fewer would fit anything
_LIGHTEST = 1e-3  # times the band's heaviest: lighter weights are not found by their effect


class OtherWeights(NamedTuple):
    """``off``: the largest relative difference of a weight, in ``band`` of ``n_mels``; ``score``:
    how far the features are from what these weights make, in units of the bound."""

    off: float
    band: int
    n_mels: int
    score: float


class _Seen(NamedTuple):
    """Of all clips with one number of bands, frame after frame."""

    power: Array  # (n_frames, n_bins)
    ratio: Array  # (n_mels, n_frames): the mel power that is there to the one that should be
    mel: Array  # (n_mels, n_frames): the one that should be
    bound: Array  # (n_mels, n_frames), of the features
    usable: Array  # (n_mels, n_frames): neither floor nor range has a say


def other_weights(answers: Iterable[Answer]) -> OtherWeights | None:
    """Return weights that explain every answer of the right shape and options; None without any."""
    by_bands: dict[int, list[Answer]] = {}
    for answer in answers:
        if answer.actual is None:
            continue
        if answer.actual.shape != answer.expected.shape:
            return None
        if not np.abs(answer.actual - answer.expected).max() <= _SLIGHT_ERROR:
            return None
        if answer.audio.ndim == 1 and answer.spec.smoothing is None:
            by_bands.setdefault(answer.spec.n_mels, []).append(answer)
    found = [_fit(n_mels, of_bands) for n_mels, of_bands in by_bands.items()]
    fits = [fit for fit in found if fit is not None]
    if len(fits) < len(found) or not fits or not any(fit.off for fit in fits):
        return None
    return max(fits, key=lambda fit: fit.off)._replace(score=max(fit.score for fit in fits))


def _fit(n_mels: int, answers: Sequence[Answer]) -> OtherWeights | None:
    seen = _seen(answers)
    bank = mel_filterbank(n_mels).astype(np.float64)
    worst, is_off = OtherWeights(0.0, 0, n_mels, 0.0), False
    for band, weights in enumerate(bank):
        frames = seen.usable[band]
        bins = np.flatnonzero(weights)
        error = seen.ratio[band, frames] - 1.0
        # A relative error e of the mel power is log10(1 + e) / 4 of the feature
        bound = 4.0 * np.log(10.0) * seen.bound[band, frames]
        if not np.all(np.abs(error) <= _SLIGHT):
            return None
        change = np.zeros(bins.size)
        is_off |= not np.all(np.abs(np.log1p(error) / bound) <= CLASS_B)
        if frames.sum() >= _FRAMES_A_WEIGHT * bins.size:
            shares = seen.power[np.ix_(frames, bins)] * weights[bins] / seen.mel[band, frames, None]
            change = np.linalg.lstsq(shares / bound[:, None], error / bound, rcond=1e-6)[0]
            error = error - shares @ change
        score = float(np.abs(np.log1p(error) / bound).max(initial=0.0))
        if not score <= CLASS_B:
            return None
        off = float(np.abs(change[weights[bins] >= _LIGHTEST * weights.max()]).max(initial=0.0))
        if off > worst.off:
            worst = worst._replace(off=off, band=band)
        worst = worst._replace(score=max(worst.score, score))
    return worst if is_off else worst._replace(off=0.0)


def _seen(answers: Sequence[Answer]) -> _Seen:
    parts = []
    for answer in answers:
        assert answer.actual is not None
        steps = stages(answer.audio, answer.spec)
        n_frames = answer.expected.shape[-1]
        mel, log = steps["mel"][:, :n_frames], steps["log"][:, :n_frames]
        lowest = max(log.max() - answer.spec.dynamic_range, np.log10(answer.spec.floor))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            ratio = 10.0 ** (answer.actual[0] * answer.spec.divisor - answer.spec.offset) / mel
        usable = log > lowest + _MARGIN
        parts.append(_Seen(steps["power"][:n_frames], ratio, mel, answer.bound[0], usable))
    return _Seen(
        power=np.concatenate([part.power for part in parts]),
        ratio=np.concatenate([part.ratio for part in parts], axis=1),
        mel=np.concatenate([part.mel for part in parts], axis=1),
        bound=np.concatenate([part.bound for part in parts], axis=1),
        usable=np.concatenate([part.usable for part in parts], axis=1),
    )
