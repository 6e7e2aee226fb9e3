"""Guesses what pairs of quirks make from what each of them makes alone.

Before the logarithm faults mostly multiply: of a gain and another window, the changes of the
logarithms of the mel powers add up. To guess a pair takes a small part of the time of computing it,
and ranks pairs well enough to leave most of them out.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.diagnosis.answer import Model, Variant, Variants
from whisper_mel_conformance.diagnosis.fit import moved, next_to
from whisper_mel_conformance.diagnosis.variants import in_orders

Array = NDArray[Any]

_KEPT = 250  # pairs of each ranking
_EVERY = 9  # of so many values one is guessed
_LEAST = 1e-30  # of mel powers: below, rounding decides


def likely(
    model: Model, variants: Sequence[Variant], finer: Sequence[Variant] = ()
) -> list[Variants]:
    """Put any two quirks together; leave out pairs that by a guess are far from the answer, or have
    another shape.

    ``finer`` are the same quirks with more values, for pairs that can be guessed. Kept are, in this
    order, the nearest pairs without a number, the nearest with numbers, those that could be brought
    nearest by numbers that shift and scale features, all that cannot be guessed (where a quirk
    changes something after the mel powers, or the shape), and the others without a number. Of pairs
    with numbers only the values that are nearest are kept. Those of many frames, which take long,
    come last.
    """
    guess = _Guess(model)
    near: Losses = {}
    freed: Losses = {}
    for some in (variants, finer):
        guess.keep_nearest([v for v in some if guess.is_possible(v)], near, freed)
    nearest = [pair for _, pair in sorted(near.values(), key=itemgetter(0))]
    plain = [pair for pair in nearest if all(variant.value is None for variant in pair)]
    are_plain = {*plain}
    numbers = [pair for pair in nearest if pair not in are_plain]
    freed = {ids: it for ids, it in freed.items() if it[1] not in are_plain}
    unknown = (
        pair
        for two in itertools.combinations(variants, 2)
        if two[0].id != two[1].id and not all(map(guess.is_possible, two))
        for pair in in_orders(*two)
    )
    kept = [
        *plain[:_KEPT],
        *numbers[:_KEPT],
        *(pair for _, pair in heapq.nsmallest(_KEPT, freed.values(), key=itemgetter(0))),
        *filter(guess.has_shape, unknown),
        *plain[_KEPT:],
    ]
    return sorted(dict.fromkeys(kept), key=guess.frames)


Losses = dict[tuple[str, ...], tuple[float, Variants]]
"""The least loss of the same quirks with any values, and those values."""


def ids_of(variants: Variants) -> tuple[str, ...]:
    """Return the ids of quirks."""
    return tuple(variant.id for variant in variants)


def keep_least(losses: Losses, loss: float, variants: Variants) -> None:
    """Keep a loss if it is the least of these quirks."""
    ids = ids_of(variants)
    if ids not in losses or loss < losses[ids][0]:
        losses[ids] = loss, variants


class _Guess:
    def __init__(self, model: Model) -> None:
        self._model = model
        self._spec = model.answer.spec
        self._expected = model.answer.expected
        self._shapes: dict[Variant, tuple[int, ...] | None] = {}
        self._frames: dict[Variant, int] = {}
        self._changes: dict[Variant, Array] = {}
        self._log: Array | None = None
        if model.actual.shape == self._expected.shape and not self._spec.smoothing:
            # The clip's maximum, too: it decides about others.
            self._some = np.r_[0 : model.actual.size : _EVERY, int(self._expected.argmax())]
            self._actual = self._few(model.actual)
            self._unit = self._few(model.answer.bound)
            self._log = self._log_of(())

    def has_shape(self, pair: Variants) -> bool:
        """Whether a pair may have the answer's shape, by the shapes that each alone has.

        Of two that change it, or the same field of the specification, anything may come; else the
        one that does must make the answer's.
        """
        shapes = [self._shape(variant) for variant in pair]
        changed = [shape for shape in shapes if shape != self._expected.shape]
        first, second = (variant.variation.spec.keys() for variant in pair)
        if len(changed) == 2 or first & second:
            return True
        return (changed or shapes)[0] == self._model.actual.shape

    def frames(self, pair: Variants) -> int:
        """Count the frames before the logarithm, the most that a quirk of the pair makes alone."""
        return max(self._frames.get(variant, 0) for variant in pair)

    def _shape(self, variant: Variant) -> tuple[int, ...] | None:
        if variant not in self._shapes:
            prediction = self._model.predict((variant,), with_bound=False)
            self._shapes[variant] = None if prediction is None else prediction[0].shape
            if prediction is not None:
                self._frames[variant] = self._model.mels((variant,))[0].exact.shape[-1]
        return self._shapes[variant]

    def is_possible(self, variant: Variant) -> bool:
        """Whether the values of the mel powers are all that a quirk changes."""
        if self._log is None or not variant.variation.is_only_front or not self._shape(variant):
            return False
        if variant not in self._changes:
            log = self._log_of((variant,))
            if log is None:
                return False
            self._changes[variant] = log - self._log
        return True

    def _log_of(self, variants: Variants) -> Array | None:
        """Compute some logarithms of mel powers; None where there are more or fewer frames."""
        mel = np.stack([mel.exact for mel in self._model.mels(variants)])
        mel = mel[..., :-1] if self._spec.drop_last_frame else mel
        if mel.shape != self._expected.shape:
            return None
        with np.errstate(all="ignore"):
            return np.log10(np.clip(np.nan_to_num(self._few(mel)), _LEAST, 1.0 / _LEAST))

    def _few(self, values: Array) -> Array:
        some: Array = values.ravel()[self._some].astype(np.float32)
        return some

    def keep_nearest(self, variants: Sequence[Variant], near: Losses, freed: Losses) -> None:
        """Guess the loss of any two quirks that are possible, with these values and with numbers
        between two that follow each other; note the least of each two.

        ``near`` takes losses; ``freed`` what they were if a constant and what is proportional to
        the features were taken away.
        """
        # First those without a number: each is put beside all values of each other one.
        some = sorted(variants, key=lambda variant: variant.value is not None)
        changes = np.array([self._changes[variant] for variant in some])
        follows = [next_to((a,), (b,)) is not None for a, b in itertools.pairwise(some)]
        start = 0
        for i, first in enumerate(some):
            while start < len(some) and some[start].id == first.id:
                start += 1
            predicted = self._features(self._log + changes[i] + changes[start:])
            steps = np.flatnonzero(follows[start:])
            way = predicted[1:][steps] - predicted[steps]
            left = self._actual - predicted[steps]
            with np.errstate(all="ignore"):
                parts = np.einsum("ij,ij->i", way, left) / np.einsum("ij,ij->i", way, way)
            parts = np.clip(np.nan_to_num(parts), 0.0, 1.0)
            between = predicted[steps] + parts[:, np.newaxis] * way
            places = [*range(start, len(some)), *(start + steps + parts).tolist()]
            losses, but_trend = self._compared(predicted, between)
            _keep_best(near, first, some, places, losses)
            _keep_best(freed, first, some, places, but_trend)

    def _compared(self, *predicted: Array) -> tuple[Array, Array]:
        """Return the losses of predictions, and what they were if a constant and what is
        proportional to the prediction were taken away."""
        each = np.concatenate(predicted)
        difference = self._actual - each
        unit = self._unit * np.maximum(np.abs(each), 1.0)
        return _loss(difference / unit), _loss(_without_trend(difference, each) / unit)

    def _features(self, log: Array) -> Array:
        """Compute features from logarithms; the last axis is the clip's."""
        log = np.maximum(log, np.float32(np.log10(self._spec.floor)))
        top = log.max(axis=-1, keepdims=True)
        raised = np.maximum(log, top - np.float32(self._spec.dynamic_range))
        return (raised + np.float32(self._spec.offset)) / np.float32(self._spec.divisor)


def _keep_best(
    least: Losses, first: Variant, some: Sequence[Variant], places: Sequence[float], losses: Array
) -> None:
    """Keep the least loss of a quirk with each other one: ``places`` say which of ``some`` each
    loss belongs to, or how far between two that follow each other."""
    best: dict[str, tuple[float, float]] = {}
    for loss, place in zip(losses.tolist(), places, strict=True):
        id = some[int(place)].id
        best[id] = min(best.get(id, (math.inf, place)), (loss, place))
    for loss, place in best.values():
        other = some[int(place)]
        if place % 1.0:
            other = moved((other,), (some[int(place) + 1],), place % 1.0)[0]
        for pair in in_orders(first, other):
            keep_least(least, loss, pair)


def _loss(differences: Array) -> Array:
    loss: Array = np.log(1.0 + np.abs(differences)).mean(axis=-1)
    return loss


def _without_trend(difference: Array, predicted: Array) -> Array:
    centred = predicted - predicted.mean(axis=-1, keepdims=True)
    square = np.square(centred).sum(axis=-1, keepdims=True)
    slope = (centred * difference).sum(axis=-1, keepdims=True) / np.maximum(square, 1e-12)
    left = difference - slope * centred
    return left - np.median(left, axis=-1, keepdims=True)
