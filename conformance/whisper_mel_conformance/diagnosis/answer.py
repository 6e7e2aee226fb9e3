"""A front-end's answer to a clip, and what quirks of the catalogue would have made of it."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import WHISPER, FrontEndSpec
from whisper_mel_reference.bound import last_error
from whisper_mel_reference.pipeline import split_clips

from whisper_mel_conformance.cases.judging import truth
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_conformance.quirks.path import Call, Mel, Variation, finish_batch, mel_powers
from whisper_mel_conformance.quirks.quirk import Parameter, Quirk

Array = NDArray[Any]

_FRAMES_LOST = 4  # the most frames that a quirk takes away between mel powers and features
_KEPT = 2**29  # bytes of mel powers that a model keeps
_RECENT = 16  # features that it keeps at least: a fit asks for the same ones several times in a row
_REMEMBERED = 2**26  # bytes of features that it keeps: steps of a search ask for some again
_CALL = 25  # frames whose arithmetic takes about as long as an evaluation's fixed part
_SILENT = 170  # the same of silent ones, of which one is computed
_FILLED = 400  # the same of frames that are added behind the mel powers


@dataclass(eq=False)
class Answer:
    """A front-end's features of a clip, or why there are none.

    ``actual``, ``expected`` and ``bound`` (its own, the right features and their error bound) have
    shape ``(clips, bands, frames)``; ``actual`` is None if ``features`` is, and may have another
    shape. ``clips`` holds the samples of each clip as floats.
    """

    name: str
    audio: Array
    spec: FrontEndSpec
    features: Array | None
    error: str = ""

    def __post_init__(self) -> None:
        self.clips, is_batch = split_clips(self.audio, None)
        exact = [truth(clip, self.spec) for clip in self.clips]
        self.expected = np.stack([t.features for t in exact])
        self.bound = np.stack([t.bound for t in exact])
        given = self.features
        self.actual = None if given is None else np.asarray(given, np.float64)
        if self.actual is not None and not is_batch:
            self.actual = self.actual[np.newaxis]

    @property
    def score(self) -> float:
        """The largest error in bounds; infinite where shapes differ."""
        return self.score_of_features(self.actual)

    def score_of_features(self, features: Array | None) -> float:
        """Compute the score that features of shape ``(clips, bands, frames)`` would have."""
        return _score(features, self.expected, self.bound)


@lru_cache(maxsize=8192)
def _variation(id: str, value: float | None) -> Variation:
    return CATALOGUE[id].variation(value)


@dataclass(frozen=True)
class Variant:
    """A quirk of the catalogue with a value of its parameter, if it has one."""

    id: str
    value: float | None = None

    @property
    def quirk(self) -> Quirk:
        """The catalogue's entry."""
        return CATALOGUE[self.id]

    @property
    def variation(self) -> Variation:
        """What the quirk changes on the reference's path."""
        return _variation(self.id, self.value)

    @property
    def parameter(self) -> Parameter:
        """The quirk's parameter; it must have one."""
        assert self.quirk.parameter is not None
        return self.quirk.parameter

    @property
    def number(self) -> float:
        """The parameter's value; there must be one."""
        assert self.value is not None
        return self.value

    def __str__(self) -> str:
        if self.quirk.parameter is None or self.value is None:
            return self.id
        return f"{self.id} ({self.quirk.parameter.name} {self.value:.6g})"


Variants = tuple[Variant, ...]


class Change(Protocol):
    """What changes the reference's path: a quirk with a value, or a stage that was fitted."""

    @property
    def variation(self) -> Variation:
        """What it changes."""


Changes = tuple[Change, ...]

_Front = tuple[Changes, bool]  # what changes before the logarithm; whether with the bound


class Model:
    """Computes what quirks would have made of an answer's clips.

    Mel powers are kept, for what differs after them only. ``work`` counts evaluations, long clips
    as several: about 0.1 ms each.
    """

    def __init__(self, answer: Answer) -> None:
        assert answer.actual is not None
        self.answer = answer
        self.actual: Array = answer.actual
        self.work = 0
        self._fronts: OrderedDict[_Front, list[Mel]] = OrderedDict()
        self._last: tuple[_Front, list[Mel]] | None = None
        self._before: Sequence[Call] = ()  # the calls whose mel powers were computed last
        self._recent: OrderedDict[Changes, Array | None] = OrderedDict()
        same = answer.bound.shape == self.actual.shape
        self._some = _some_frames(self.actual.shape[-1])
        self._compared = self.actual[..., self._some]
        self.bound = answer.bound[..., self._some] if same else answer.bound.mean()
        # What overflows to NaN would explain everything; only of silence may it be all.
        self._is_silent = bool(answer.expected.min() == answer.expected.max())

    def mels(
        self,
        variants: Changes,
        *,
        with_bound: bool = False,
        calls: Sequence[Call] | None = None,
        of_shape: bool = False,
    ) -> list[Mel]:
        """Compute the mel powers of each clip, in given calls or in new ones, or look them up.

        Those that one quirk makes are kept, as far as memory allows; others until the next call.
        Raises ``ValueError`` if the quirks cannot be put together or make too many frames; with
        ``of_shape``, before most of the work, if they make another number than the answer has.
        """
        front = tuple(v for v in variants if v.variation.is_front)
        key = front, with_bound
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        if key in self._fronts:
            self._fronts.move_to_end(key)
            return self._fronts[key]
        calls = self._calls(front) if calls is None else calls
        for call, before in zip(calls, self._before, strict=False):
            call.share(before)
        self._before = calls
        mels = [
            mel_powers(call, with_bound=with_bound, n_frames=self._n_frames(call, of_shape))
            for call in calls
        ]
        self.work += 2 * self._cost(mels)
        if len(front) > 1:  # there are too many of these, and each is wanted at one time only
            self._last = key, mels
            return mels
        self._fronts[key] = mels
        each = sum(mel.exact.nbytes for mel in mels) * (3 if with_bound else 1)
        while len(self._fronts) * each > _KEPT:
            self._fronts.popitem(last=False)
        return mels

    def _calls(self, variants: Changes) -> list[Call]:
        variations, real = [v.variation for v in variants], np.dtype(np.float64)
        dtype, spec = self.answer.audio.dtype, self.answer.spec
        return [Call(clip, dtype, real, spec, variations) for clip in self.answer.clips]

    def _n_frames(self, call: Call, of_shape: bool) -> range:
        """Return how many frames a call may cut, ``of_shape`` to end with the answer's number."""
        if not of_shape or not all(variation.keeps_frames for variation in call.variations):
            return range(max(self.actual.shape) + _FRAMES_LOST + 1)
        lost = int(call.spec.drop_last_frame) + 2 * (call.spec.smoothing == "valid")
        n = self.actual.shape[-1] + lost
        return range(n, n + 1)

    def _cost(self, mels: Sequence[Mel]) -> int:
        """Return what it costs, in evaluations, to go on from these mel powers."""
        frames = sum(mel.exact.shape[-1] for mel in mels)
        sounding = min(frames, self.answer.audio.size // WHISPER.hop + len(mels))
        return 1 + sounding // _CALL + frames // _SILENT

    def predict(
        self, variants: Changes, *, with_bound: bool, of_shape: bool = False
    ) -> tuple[Array, Array] | None:
        """Compute the features that these quirks make, and how far off float32 ones may be.

        None where the quirks cannot be put together; ``of_shape`` gives None for most that have
        another shape than the answer's, too, and sooner. Without ``with_bound`` the bound is that
        of the reference.
        """
        with np.errstate(all="ignore"):
            try:
                calls = self._calls(variants)
                mels = self.mels(variants, with_bound=with_bound, calls=calls, of_shape=of_shape)
                self.work += self._cost(mels)
                exact = np.stack(finish_batch([mel.exact for mel in mels], calls))
                self.work += max(exact.shape[-1] - mels[0].exact.shape[-1], 0) // _FILLED
                if not with_bound:
                    return exact, self.answer.bound
                low = np.stack(finish_batch([mel.low for mel in mels], calls))
                high = np.stack(finish_batch([mel.high for mel in mels], calls))
            except (ValueError, IndexError):
                self.work += 1
                return None
            spread = np.maximum(np.abs(high - exact), np.abs(exact - low))
            return exact, spread + last_error(exact)

    def score_of(self, variants: Changes) -> float:
        """Compute how far the answer is from what these quirks make, in bounds."""
        prediction = self.predict(variants, with_bound=True, of_shape=True)
        if prediction is None or self._says_nothing(prediction[0]):
            return math.inf
        return _score(self.actual, *prediction)

    def _says_nothing(self, predicted: Array) -> bool:
        """Whether most of a prediction is NaN, which matches anything."""
        if self._is_silent or np.isfinite(predicted).all():
            return False
        return bool(np.isnan(predicted).mean() > 0.5)

    def features(self, variants: Changes) -> Array | None:
        """Compute the features that these quirks make; None if of another shape than the answer's,
        or mostly NaN. Those that were asked for before are looked up: do not change them."""
        if variants not in self._recent:
            self._recent[variants] = self._features(variants)
            n = len(self._recent)
            if n > _RECENT and n * self.actual.nbytes > _REMEMBERED:
                self._recent.popitem(last=False)
        self._recent.move_to_end(variants)
        return self._recent[variants]

    def _features(self, variants: Changes) -> Array | None:
        prediction = self.predict(variants, with_bound=False, of_shape=True)
        if prediction is None or prediction[0].shape != self.actual.shape:
            return None
        return None if self._says_nothing(prediction[0]) else prediction[0]

    def differences(self, predicted: Array) -> Array:
        """Compute how far the answer is from a prediction, in units of the reference's bound.

        Roundings of large values are large: beyond 1, the unit grows with the prediction. What is
        infinite is replaced by 1e9; where a prediction is NaN it may be anything: 0. Of very many
        frames some are compared.
        """
        some = predicted[..., self._some]
        return _in_bounds(self._compared - some, some, self.bound)

    def differences_but_trend(self, predicted: Array, *, with_slope: bool) -> Array:
        """Compute the differences that are left if a constant, and ``with_slope`` a part that is
        proportional to the prediction, too, are taken away; of some values."""
        some, bound = predicted[..., self._some].ravel()[::_EVERY], self.bound
        if bound.ndim:
            bound = bound.ravel()[::_EVERY]
        with np.errstate(all="ignore"):
            difference = self._compared.ravel()[::_EVERY] - some
            return _in_bounds(_without_trend(difference, some, with_slope=with_slope), some, bound)

    def differences_but_curve(self, predicted: Array) -> Array:
        """Compute how far the answer is from being a curve of the prediction that never falls.

        Zero means that what comes behind, whatever it be, may turn one into the other.
        """
        order = np.argsort(predicted[..., self._some].ravel(), kind="stable")
        actual = self._compared.ravel()[order]
        with np.errstate(all="ignore"):
            falls = np.minimum(np.diff(actual), 0.0)
            bound = self.bound.ravel()[order][1:] if self.bound.ndim else self.bound
            return _in_bounds(falls, actual[1:], bound)

    def part_of_way(self, first: Array, second: Array) -> float:
        """Compute how far from one prediction to another the answer is: 0 to 1, by least squares;
        NaN if either is not finite."""
        start = first[..., self._some]
        way = (second[..., self._some] - start).ravel()
        with np.errstate(all="ignore"):
            part = float(way @ (self._compared - start).ravel() / (way @ way))
        return min(max(part, 0.0), 1.0)


def _in_bounds(difference: Array, predicted: Array, bound: Array) -> Array:
    with np.errstate(all="ignore"):
        scaled = (difference / (bound * np.maximum(np.abs(predicted), 1.0))).ravel()
    if not np.isfinite(scaled).all():
        scaled[~np.isfinite(scaled)] = 1e9
        scaled[np.isnan(predicted).ravel()] = 0.0
    return scaled


def _score(actual: Array | None, expected: Array, bound: Array) -> float:
    if actual is None or actual.shape != expected.shape:
        return math.inf
    with np.errstate(all="ignore"):
        excess = np.abs(actual - expected) / bound
    excess = np.where(np.isnan(expected), 0.0, excess)  # of 0 / 0 roundings make anything
    return float(excess.max()) if np.isfinite(excess).all() else math.inf


def _some_frames(n: int) -> Array | slice:
    """Return which of ``n`` frames are compared: where they are many, the first and last ones, and
    a part of the others."""
    if n <= 3 * _FRAMES:
        return slice(None)
    middle = np.linspace(_FRAMES, n - _FRAMES, _FRAMES).astype(int)
    return np.unique(np.r_[0:_FRAMES, middle, n - _FRAMES : n])


_FRAMES = 50  # of the first, of the last and of the others
_EVERY = 3  # of so many values one is looked at for trends
_HUGE = 1e6  # of features: beside these, what is there is lost to rounding


def _without_trend(difference: Array, predicted: Array, *, with_slope: bool) -> Array:
    """Take the trend away from differences, shape ``(n,)``."""
    some, known = difference, predicted
    is_known = np.isfinite(some) & np.isfinite(known)
    if not is_known.all():
        some, known = some[is_known], known[is_known]
    if not known.size or not max(known.max(), -known.min()) < _HUGE:
        return difference
    if with_slope:
        mean = known.mean()
        centred = known - mean
        square = centred @ centred
        if square > 0.0:
            slope = (centred @ some) / square
            difference, some = difference - slope * (predicted - mean), some - slope * centred
    middle = some.size // 2
    left: Array = difference - np.partition(some, middle)[middle]  # faster than np.median
    return left
