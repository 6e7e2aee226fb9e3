"""Guesses what pairs of quirks make from what each of them makes alone.

Before the logarithm faults mostly multiply: of a gain and another window, the changes of the
logarithms of the mel powers add up. To guess a pair takes a small part of the time of computing it,
and ranks pairs well enough to leave most of them out.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.diagnosis.answer import Model, Variant, Variants
from whisper_mel_conformance.diagnosis.fit import moved, next_to

Array = NDArray[Any]

_KEPT = 250  # pairs of each ranking
_EVERY = 5  # of so many values one is guessed
_BATCH = 256  # pairs that are guessed at a time: their values fit into a cache
_LEAST = 1e-30  # of mel powers: below, rounding decides


def likely(
    model: Model, pairs: Iterable[Variants], finer: Iterable[Variants] = ()
) -> list[Variants]:
    """Leave out pairs that by a guess are far from the answer, or have another shape.

    ``finer`` are the same pairs with more values, for those that can be guessed. Kept are, in this
    order, the nearest pairs without a number, the nearest with numbers, those that could be brought
    nearest by numbers that shift and scale features, all ``pairs`` that cannot be guessed (where a
    quirk changes something after the mel powers, or the shape), and the others without a number.
    Of pairs with numbers only the values that are nearest are kept. Those of many frames, which
    take long, come last.
    """
    guess = _Guess(model)
    unknown: list[Variants] = []
    to_guess: dict[Variant, list[Variants]] = {}  # by the one of a pair that others are put beside
    for some, rest in ((pairs, unknown), (finer, [])):
        for pair in filter(guess.has_shape, some):
            if all(map(guess.is_possible, pair)):
                to_guess.setdefault(pair[pair[1].value is None], []).append(pair)
            else:
                rest.append(pair)
    plain: list[tuple[float, Variants]] = []
    near: Losses = {}
    freed: Losses = {}
    for those in to_guess.values():
        for pair, loss, loss_freed in guess.losses(those):
            if all(variant.value is None for variant in pair):
                plain.append((loss, pair))
            else:
                keep_least(near, loss, pair)
                keep_least(freed, loss_freed, pair)
    nearest = [pair for _, pair in sorted(plain, key=itemgetter(0))]
    kept = nearest[:_KEPT]
    for guesses in (near, freed):
        kept += [pair for _, pair in heapq.nsmallest(_KEPT, guesses.values(), key=itemgetter(0))]
    return sorted(dict.fromkeys([*kept, *unknown, *nearest[_KEPT:]]), key=guess.frames)


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
            self._frames[variant] = 0
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

    def losses(self, pairs: Sequence[Variants]) -> Iterator[tuple[Variants, float, float]]:
        """Guess the losses of pairs, and those of numbers between two that follow each other.

        Yields each pair with its loss, and with what that were if a constant and what is
        proportional to the features were taken away.
        """
        for start in range(0, len(pairs), _BATCH):
            some = pairs[start : start + _BATCH]
            changes = [self._changes[first] + self._changes[second] for first, second in some]
            predicted = self._features(self._log + np.stack(changes))
            yield from self._compared(some, predicted)
            steps = [
                i for i, two in enumerate(itertools.pairwise(some)) if next_to(*two) is not None
            ]
            if not steps:
                continue
            way = predicted[1:][steps] - predicted[steps]
            left = self._actual - predicted[steps]
            with np.errstate(all="ignore"):
                parts = np.einsum("ij,ij->i", way, left) / np.einsum("ij,ij->i", way, way)
            parts = np.clip(np.nan_to_num(parts), 0.0, 1.0)
            between = [moved(some[i], some[i + 1], x) for i, x in zip(steps, parts, strict=True)]
            yield from self._compared(between, predicted[steps] + parts[:, np.newaxis] * way)

    def _compared(
        self, pairs: Sequence[Variants], predicted: Array
    ) -> Iterator[tuple[Variants, float, float]]:
        difference = self._actual - predicted
        unit = self._unit * np.maximum(np.abs(predicted), 1.0)
        losses = _loss(difference / unit)
        freed = _loss(_without_trend(difference, predicted) / unit)
        yield from zip(pairs, losses.tolist(), freed.tolist(), strict=True)

    def _features(self, log: Array) -> Array:
        """Compute features from logarithms; the last axis is the clip's."""
        log = np.maximum(log, np.float32(np.log10(self._spec.floor)))
        top = log.max(axis=-1, keepdims=True)
        raised = np.maximum(log, top - np.float32(self._spec.dynamic_range))
        return (raised + np.float32(self._spec.offset)) / np.float32(self._spec.divisor)


def _loss(differences: Array) -> Array:
    loss: Array = np.log(1.0 + np.abs(differences)).mean(axis=-1)
    return loss


def _without_trend(difference: Array, predicted: Array) -> Array:
    centred = predicted - predicted.mean(axis=-1, keepdims=True)
    square = np.square(centred).sum(axis=-1, keepdims=True)
    slope = (centred * difference).sum(axis=-1, keepdims=True) / np.maximum(square, 1e-12)
    left = difference - slope * centred
    return left - np.median(left, axis=-1, keepdims=True)
