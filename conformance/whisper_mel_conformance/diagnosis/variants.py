"""The quirks that a search puts together, and the values of their numbers that it begins with."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

import numpy as np

from whisper_mel_conformance.diagnosis.answer import Model, Variant, Variants
from whisper_mel_conformance.diagnosis.fit import loss
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_conformance.quirks.quirk import Parameter, Quirk

_COARSE = 4  # values of a grid that are tried in pairs

_FEW = 300  # whole numbers, of which each may be tried


def path_quirks() -> list[Quirk]:
    return [quirk for quirk in CATALOGUE.values() if quirk.vary is not None]


@cache
def order() -> dict[str, int]:
    return {id: i for i, id in enumerate(CATALOGUE)}


def combine(first: Sequence[Variant], second: Sequence[Variant]) -> Iterator[Variants]:
    """Pairs of different quirks; in both orders where they change the same stage."""
    seen = set()
    for a, b in itertools.product(first, second):
        if a.id == b.id:
            continue
        pair, *reversed_one = in_orders(a, b)
        if pair not in seen:
            seen.add(pair)
            yield from (pair, *reversed_one)


def in_orders(a: Variant, b: Variant) -> list[Variants]:
    """Return two quirks in the order of the path; where they change the same stage, in the other
    order, too."""
    pair = (a, b) if order()[a.id] < order()[b.id] else (b, a)
    is_alike = a.variation.stages.keys() & b.variation.stages.keys()
    return [pair, pair[::-1]] if is_alike else [pair]


def added(combinations: Iterable[Variants], everything: Sequence[Variant]) -> Iterator[Variants]:
    """Yield each combination with each quirk that it lacks, in the order of the path."""
    for variants, other in itertools.product(combinations, everything):
        if all(variant.id != other.id for variant in variants):
            yield with_one_more(variants, other)


def with_one_more(variants: Variants, other: Variant) -> Variants:
    """Return a combination with one more quirk, in the order of the path."""
    return tuple(sorted((*variants, other), key=lambda variant: order()[variant.id]))


@cache
def curves() -> list[Variant]:
    """Return the quirks with a real number that change nothing before the mel powers."""
    real = (it for it in path_quirks() if it.parameter is not None and it.parameter.is_real)
    return [
        Variant(quirk.id)
        for quirk in real
        if not quirk.variation().is_front or set(quirk.variation().stages) == {"mel"}
    ]


def values(parameter: Parameter) -> Sequence[float]:
    """Values to begin with alone: those of the grid, and where they are few and whole, more."""
    low, high = parameter.grid[0], parameter.grid[-1]
    if parameter.whole and high - low <= _FEW:
        return sorted({*range(int(low), int(high), 4), *parameter.grid})
    return parameter.grid


def every_value(parameter: Parameter) -> Sequence[float]:
    """Every whole number, where they are few."""
    low, high = int(parameter.grid[0]), int(parameter.grid[-1])
    return range(low, high + 1) if high - low <= _FEW else parameter.grid


def coarse(quirk: Quirk, model: Model) -> Sequence[Variant]:
    """Values to try in pairs, no extremes; those that make as many frames as there are, if any."""
    if quirk.parameter is None:
        return [Variant(quirk.id)]
    if quirk.parameter.listed:
        return [Variant(quirk.id, value) for value in quirk.parameter.grid]
    values = _thinned(quirk.parameter.grid)
    # The example is what is common.
    usual = quirk.parameter.example
    nearest = min(values, key=lambda value: abs(value - usual))
    values = [usual if value == nearest else value for value in values]
    if quirk.parameter.whole and not _of_one_shape(quirk, values, model):
        values = _thinned(_of_one_shape(quirk, every_value(quirk.parameter), model)) or values
    return [Variant(quirk.id, value) for value in values]


def _thinned(values: Sequence[float]) -> Sequence[float]:
    n = min(_COARSE, len(values))
    places = ((np.arange(n) + 0.5) / n * (len(values) - 1)).round().astype(int)
    return [values[i] for i in sorted(set(places.tolist()))]


def _of_one_shape(quirk: Quirk, values: Sequence[float], model: Model) -> Sequence[float]:
    """Return the values with which the quirk alone makes features of the answer's shape."""
    return [v for v in values if math.isfinite(loss([model], (Variant(quirk.id, v),)))]


def of_grid(quirk: Quirk) -> Sequence[Variant]:
    """Return the quirk with every value of its grid: between far ones a pair's loss has no slope
    towards its own."""
    grid = (None,) if quirk.parameter is None else quirk.parameter.grid
    return [Variant(quirk.id, value) for value in grid]
