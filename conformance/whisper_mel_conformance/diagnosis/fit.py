"""Fits the numbers of quirks to answers: least squares for real ones, descent for whole ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.diagnosis.answer import Model, Variant, Variants
from whisper_mel_conformance.quirks.quirk import Parameter

Array = NDArray[Any]

PROMISING = 2.0
"""The highest loss of quirks that are looked at further; float32 noise has 0.2."""

_LOG_SCALE = 100.0  # a grid whose ends have this ratio or more is fitted on a logarithmic scale
_ZOOM = 12  # values between two neighbours on a grid
_ZOOMS = 2  # then between two neighbours of those
_WHOLE = 96  # whole numbers that are tried
_STARTS = 3  # the best of them, from which the descent begins
_STEPS = 12  # of least squares, at most
_ROUNDS = 4  # of all methods, as long as each makes the loss so many times as great, or less
_HELPS = 0.95
_FIRST_STEP = 16  # of the descent in whole numbers; halved down to 1


def loss(models: Sequence[Model], variants: Variants) -> float:
    """Compute the mean logarithm of the differences: far ones count little more than near ones."""
    total = 0.0
    for model in models:
        predicted = model.features(variants)
        if predicted is None:
            return math.inf
        total += loss_of(model.differences(predicted))
    return total / len(models)


def loss_of(differences: Array) -> float:
    """Return the mean of log(1 + |d|) over differences d, which are in bounds."""
    return float(np.log1p(np.abs(differences)).mean())


def next_to(first: Variants, second: Variants) -> int | None:
    """Return the place of the number in which alone two combinations differ, if there are others
    between; None if there is none."""
    differing = [i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b]
    if len(first) != len(second) or len(differing) != 1:
        return None
    [place] = differing
    a, b = first[place], second[place]
    return place if a.id == b.id and a.value is not None and not a.parameter.listed else None


def moved(first: Variants, second: Variants, part: float) -> Variants:
    """Return the combination between two that differ in one number, ``part`` of the way."""
    place = next_to(first, second)
    assert place is not None
    scale = _Scale.of(first[place].parameter)
    start, end = scale.to(first[place].number), scale.to(second[place].number)
    value = scale.back(start + part * (end - start))
    return _with(first, place, round(value) if first[place].parameter.whole else value)


def distance(models: Sequence[Model], variants: Variants) -> float:
    """Compute the mean square of the differences."""
    differences = _differences(models, variants)
    return math.inf if differences is None else float(np.square(differences).mean())


def _differences(models: Sequence[Model], variants: Variants) -> Array | None:
    parts = []
    for model in models:
        predicted = model.features(variants)
        if predicted is None:
            return None
        parts.append(model.differences(predicted))
    return np.concatenate(parts)


_Measure = Callable[[Sequence[Model], Variants], float]


def refine(models: Sequence[Model], variants: Variants, *, scan: bool) -> Variants:
    """Find values of the same quirks' numbers that fit better.

    Goes down from the given values, of real numbers from others between the grid's, too; with
    ``scan``, of whole numbers from any.
    """
    least = loss(models, variants)
    if least > PROMISING:
        # Differences that are great everywhere lead there in squares, not in logarithms.
        start = variants
        for i, variant in enumerate(variants):
            if variant.value is not None and variant.parameter.whole:
                far = distance(models, variants)
                variants, _ = _descend(models, variants, i, far, distance)
        fitted, _ = _least_squares(models, variants, distance(models, variants), distance)
        variants, least = min((start, least), (fitted, loss(models, fitted)), key=itemgetter(1))
    for _ in range(_ROUNDS):
        before = least
        for i, variant in enumerate(variants):
            if variant.value is not None and variant.parameter.whole:
                variants, least = _descend(models, variants, i, least)
        variants, least = _least_squares(models, variants, least)
        if least > PROMISING:
            variants, least = _zoomed(models, variants, least, scan=scan)
        if not least < _HELPS * before:
            break
    return variants


def _zoomed(
    models: Sequence[Model], variants: Variants, least: float, *, scan: bool
) -> tuple[Variants, float]:
    for i, variant in enumerate(variants):
        if variant.value is None or variant.parameter.listed:
            continue
        parameter = variant.parameter
        if parameter.whole and not scan:
            continue
        if parameter.whole:
            values = np.linspace(parameter.grid[0], parameter.grid[-1], _WHOLE).round()
            options = [_with(variants, i, value) for value in np.unique(values).tolist()]
            losses = [loss(models, option) for option in options]
            for place in np.argsort(losses, kind="stable")[:_STARTS].tolist():
                found = _descend(models, options[place], i, losses[place])
                variants, least = min((variants, least), found, key=itemgetter(1))
            continue
        grid = np.array(parameter.grid)
        place = int(np.argmin(np.abs(grid - variant.number)))
        scale = _Scale.of(parameter)
        around = grid[max(place - 1, 0) : place + 2]
        low, high = scale.to(around[0]), scale.to(around[-1])
        for _ in range(_ZOOMS):
            places = np.linspace(low, high, _ZOOM)
            options = [_with(variants, i, scale.back(x)) for x in places.tolist()]
            losses = [loss(models, option) for option in options]
            best = int(np.argmin(losses))
            if losses[best] < least:
                variants, least = options[best], losses[best]
            around = places[max(best - 1, 0) : best + 2]
            low, high = around[0], around[-1]
    return _least_squares(models, variants, least)


def _with(variants: Variants, index: int, value: float) -> Variants:
    changed = Variant(variants[index].id, value)
    return (*variants[:index], changed, *variants[index + 1 :])


def _descend(
    models: Sequence[Model],
    variants: Variants,
    index: int,
    least: float,
    measure: _Measure = loss,
) -> tuple[Variants, float]:
    """Go down in steps of whole numbers, halved where neither direction is better."""
    grid = variants[index].parameter.grid
    step = _FIRST_STEP
    while step:
        value = variants[index].number
        options = [
            _with(variants, index, other)
            for other in (value - step, value + step)
            if grid[0] <= other <= grid[-1]
        ]
        losses = [measure(models, option) for option in options]
        if losses and min(losses) < least:
            least = min(losses)
            variants = options[losses.index(least)]
        else:
            step //= 2
    return variants, least


@dataclass(frozen=True)
class _Scale:
    """The scale on which a parameter is fitted: ``to`` it, and ``back``."""

    to: Callable[[float], float]
    back: Callable[[float], float]

    @classmethod
    def of(cls, parameter: Parameter) -> _Scale:
        """Choose logarithms for a positive grid of wide span."""
        low, high = parameter.grid[0], parameter.grid[-1]
        is_wide = low > 0 and high / low >= _LOG_SCALE
        return cls(math.log, math.exp) if is_wide else cls(float, float)


def _moved(variants: Variants, places: Sequence[int], by: Array) -> Variants:
    """Move the numbers of the quirks at ``places`` on their scales, within their grids."""
    for i, change in zip(places, by.tolist(), strict=True):
        parameter = variants[i].parameter
        scale = _Scale.of(parameter)
        low, high = scale.to(parameter.grid[0]), scale.to(parameter.grid[-1])
        value = min(max(scale.to(variants[i].number) + change, low), high)
        variants = _with(variants, i, scale.back(value))
    return variants


def _least_squares(
    models: Sequence[Model], variants: Variants, least: float, measure: _Measure = loss
) -> tuple[Variants, float]:
    """Take Gauss and Newton's steps in the real numbers, as long as the measure, ``least`` so far,
    becomes less."""
    places = [i for i, v in enumerate(variants) if v.value is not None and v.parameter.is_real]
    if not places:
        return variants, least
    for _ in range(_STEPS):
        now = _differences(models, variants)
        slopes = None if now is None else _slopes(models, variants, places, now)
        if now is None or slopes is None:
            break
        trials = []
        # Where nothing fits yet, steps that care for near differences alone lead nowhere.
        for weights in (1.0 / (1.0 + np.abs(now)), np.ones(now.size)):
            with np.errstate(all="ignore"):
                step = np.linalg.lstsq(slopes * weights[:, None], -now * weights, rcond=1e-12)[0]
            if np.isfinite(step).all():
                trials += [_moved(variants, places, step / part) for part in (1.0, 4.0, 16.0)]
        losses = [measure(models, trial) for trial in trials]
        if not losses or not min(losses) < least:
            break
        improvement = least - min(losses)
        variants, least = trials[losses.index(min(losses))], min(losses)
        if improvement < 0.05 * least:
            break
    return variants, least


def _slopes(
    models: Sequence[Model], variants: Variants, places: Sequence[int], now: Array
) -> Array | None:
    """Compute the slopes in each real number, one a column; None where shapes change."""
    columns = []
    for place in range(len(places)):
        variant = variants[places[place]]
        delta = np.zeros(len(places))
        delta[place] = 1e-5 * max(abs(_Scale.of(variant.parameter).to(variant.number)), 0.1)
        after = _differences(models, _moved(variants, places, delta))
        if after is None:
            return None
        columns.append((after - now) / delta[place])
    return np.stack(columns, axis=1)
