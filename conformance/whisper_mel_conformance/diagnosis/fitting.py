"""Which quirks of the catalogue, alone or in pairs, make a front-end's features.

A front-end's answers to a few clips are compared with what each variation of the reference's path
makes of them. Quirks that have a number are tried on a grid of values, and the promising ones
fitted: least squares for real numbers, descent for whole ones.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import CLASS_A, CLASS_B, FrontEndSpec
from whisper_mel_reference.bound import last_error
from whisper_mel_reference.pipeline import split_clips

from whisper_mel_conformance.cases.judging import truth
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_conformance.quirks.path import Call, Mel, Variation, finish_batch, mel_powers
from whisper_mel_conformance.quirks.quirk import Parameter, Quirk

Array = NDArray[Any]

LIMIT = 4.0 * CLASS_B
"""The highest score of an explanation: what is left may be careless, besides."""
_AS_GOOD = 4.0  # times the best explanation's score: up to that, another one is as good
_FRAMES_LOST = 4  # between framing and features, at most
_GAIN = 10.0  # an explanation must be better than the reference by this factor
_SLIGHT = 2.0 * CLASS_B  # an answer need not become better than this if another is far worse
_HUGE = 1e6  # of features: beside these, what is there is lost to rounding
_COARSE = 4  # values of a grid that are tried in pairs
_REFINED_ALONE = 6  # quirks with a number that are fitted to an answer
_REFINED = 24  # pairs that are fitted, of each of two rankings
_FITTED_TO = 3  # answers that a quirk's number is fitted to, each alone
_ALIKE = 2  # of those, pairs with one loss: a quirk that does nothing here goes with any other
_PROMISING = 2.0  # the highest loss of a pair that is looked at further; float32 noise has 0.2
_ZOOM = 24  # values between two neighbours on a grid
_ZOOMS = 2  # then between two neighbours of those
_STEPS = 12  # of least squares
_ROUNDS = 4  # of all of these, as long as they help
_KEPT = 2**29  # bytes of mel powers that are kept for an answer
_LOG_SCALE = 100.0  # a grid that spans more is fitted on a logarithmic scale


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
        return CATALOGUE[self.id]

    @property
    def variation(self) -> Variation:
        return _variation(self.id, self.value)

    def __str__(self) -> str:
        if self.quirk.parameter is None or self.value is None:
            return self.id
        return f"{self.id} ({self.quirk.parameter.name} {self.value:.6g})"


Variants = tuple[Variant, ...]


@dataclass
class Explanation:
    """Quirks that make the features, in the order of the path, and the score that is left."""

    variants: Variants
    score: float

    def __str__(self) -> str:
        return " and ".join(map(str, self.variants))


_Front = tuple[Variants, bool]  # with the bound or without


@dataclass
class Answer:
    """What a front-end made of a clip: ``features``, or why there are none."""

    name: str
    audio: Array
    spec: FrontEndSpec
    features: Array | None
    error: str = ""
    _fronts: OrderedDict[_Front, list[Mel]] = field(default_factory=OrderedDict)
    _last: tuple[_Front, list[Mel]] | None = None

    def __post_init__(self) -> None:
        self._clips, self._is_batch = split_clips(self.audio, None)
        exact = [truth(clip, self.spec) for clip in self._clips]
        self.expected = np.stack([t.features for t in exact])
        self.bound = np.stack([t.bound for t in exact])
        given = self.features
        self.actual = None if given is None else np.asarray(given, np.float64)
        if self.actual is not None and not self._is_batch:
            self.actual = self.actual[np.newaxis]

    @property
    def score(self) -> float:
        """Of the answer, held against the reference; infinite where shapes differ."""
        return self.score_of_features(self.actual)

    def score_of_features(self, features: Array | None) -> float:
        """Of features as if they were the answer, shape ``(clips, bands, frames)``."""
        return _score(features, self.expected, self.bound)

    def _mels(self, variants: Variants, with_bound: bool) -> list[Mel]:
        """The mel powers of each clip; kept where one quirk makes them, else until the next."""
        front = tuple(v for v in variants if v.variation.is_front)
        key = front, with_bound
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        if key in self._fronts:
            self._fronts.move_to_end(key)
            return self._fronts[key]
        assert self.actual is not None
        most = max(self.actual.shape) + _FRAMES_LOST
        mels = [
            mel_powers(call, with_bound=with_bound, max_frames=most) for call in self._calls(front)
        ]
        if len(front) > 1:  # there are too many of these, and each is wanted at one time only
            self._last = key, mels
            return mels
        self._fronts[key] = mels
        each = sum(mel.exact.nbytes for mel in mels) * (3 if with_bound else 1)
        while len(self._fronts) * each > _KEPT:
            self._fronts.popitem(last=False)
        return mels

    def _calls(self, variants: Variants) -> list[Call]:
        variations, real = [v.variation for v in variants], np.dtype(np.float64)
        return [Call(clip, self.audio.dtype, real, self.spec, variations) for clip in self._clips]

    def predict(self, variants: Variants, *, with_bound: bool) -> tuple[Array, Array] | None:
        """The features that these quirks make, and how far off float32 ones may be.

        None where the quirks cannot be put together. Without ``with_bound`` the bound is that of
        the reference, where it fits.
        """
        with np.errstate(all="ignore"):
            try:
                mels, calls = self._mels(variants, with_bound), self._calls(variants)
                exact = np.stack(finish_batch([mel.exact for mel in mels], calls))
                if not with_bound:
                    return exact, self.bound
                low = np.stack(finish_batch([mel.low for mel in mels], calls))
                high = np.stack(finish_batch([mel.high for mel in mels], calls))
            except (ValueError, IndexError):
                return None
            spread = np.maximum(np.abs(high - exact), np.abs(exact - low))
            return exact, spread + last_error(exact)

    def score_of(self, variants: Variants) -> float:
        """How far the answer is from what these quirks make, in units of the admissible."""
        prediction = self.predict(variants, with_bound=True)
        if prediction is None or self._says_nothing(prediction[0]):
            return math.inf
        return _score(self.actual, *prediction)

    def _says_nothing(self, predicted: Array) -> bool:
        """What overflows to NaN would explain everything; only of silence may it be all."""
        is_silent = self.expected.min() == self.expected.max()
        return bool(np.isnan(predicted).mean() > 0.5) and not is_silent

    def residual(self, variants: Variants, freed: int = 0) -> Array | None:
        """Differences in units of the reference's bound, flat.

        ``freed`` numbers are let loose: of 1, a constant is taken away, of 2, what is proportional
        to the features, too. None where shapes differ, or nothing is predicted.
        """
        prediction = self.predict(variants, with_bound=False)
        if self.actual is None or prediction is None or prediction[0].shape != self.actual.shape:
            return None
        if self._says_nothing(prediction[0]):
            return None
        bound = self.bound if self.bound.shape == self.actual.shape else self.bound.mean()
        with np.errstate(all="ignore"):
            difference = self.actual - prediction[0]
            if freed:
                difference = _without_trend(difference, prediction[0], with_slope=freed > 1)
            size = np.maximum(np.abs(prediction[0]), 1.0)  # of large values, roundings are large
            difference = (difference / (bound * size)).ravel()
        difference[~np.isfinite(difference)] = 1e9
        difference[np.isnan(prediction[0]).ravel()] = 0.0
        return difference

    def forget(self) -> None:
        """Give back the memory of what was computed."""
        self._fronts.clear()
        self._last = None


def _score(actual: Array | None, expected: Array, bound: Array) -> float:
    if actual is None or actual.shape != expected.shape:
        return math.inf
    with np.errstate(all="ignore"):
        excess = np.abs(actual - expected) / bound
    excess = np.where(np.isnan(expected), 0.0, excess)  # of 0 / 0 roundings make anything
    return float(excess.max()) if np.isfinite(excess).all() else math.inf


def _without_trend(difference: Array, predicted: Array, *, with_slope: bool) -> Array:
    """Differences without their median and, ``with_slope``, what is proportional to predictions."""
    known = np.isfinite(difference) & np.isfinite(predicted)
    if not known.any() or not np.abs(predicted[known]).max() < _HUGE:
        return difference
    if with_slope:
        centred = predicted - predicted[known].mean()
        square = np.square(centred[known]).sum()
        if square > 0.0:
            difference = difference - centred * (centred * difference)[known].sum() / square
    return difference - np.median(difference[known])


# --------------------------------------------------------------------------- search


def explain(answers: Sequence[Answer], *, in_pairs: bool = True) -> list[Explanation]:
    """The quirks, else (``in_pairs``) the pairs of quirks, that make every answer; the best first.

    Several where the answers cannot tell them apart. Empty if nothing known makes them.
    """
    wrong = [a for a in answers if a.actual is not None and not a.score <= CLASS_B]
    if not wrong:
        return []
    search = _Search(wrong, answers)
    found = search.singles() or (search.pairs() if in_pairs else [])
    for answer in answers:
        answer.forget()
    return found


class _Search:
    def __init__(self, wrong: Sequence[Answer], answers: Sequence[Answer]) -> None:
        self._wrong = wrong
        self._worst = max(answer.score for answer in wrong)
        right = [a for a in answers if a.actual is not None and a.score <= CLASS_B]
        self._answers = [*wrong, *right]
        self._explained: dict[int, list[Variant]] = {}  # by the index of the wrong answer

    def singles(self) -> list[Explanation]:
        """Quirks that make all answers. Notes, besides, those that make some."""
        quirks = _path_quirks()
        plain = [Variant(quirk.id) for quirk in quirks if quirk.parameter is None]
        found = self._those_that_fit(plain)
        # On their grids, far from their values, the right ones need not be among the promising.
        for candidates in (self._fitted(quirks, first=True), self._fitted(quirks, first=False)):
            if not any(explanation.score <= CLASS_A for explanation in found):
                found += self._those_that_fit(candidates)
        return _ranked(found)

    def _those_that_fit(self, variants: Iterable[Variant]) -> list[Explanation]:
        found: list[Explanation] = []
        for variant in variants:
            for i, answer in enumerate(self._wrong[:_FITTED_TO]):
                if answer.score_of((variant,)) <= LIMIT:
                    self._explained.setdefault(i, []).append(variant)
            found += self._checked((variant,))
        return found

    def _fitted(self, quirks: Sequence[Quirk], first: bool) -> Iterator[Variant]:
        """Quirks with a number: on the grid, and with the value of it that fits an answer best.

        The ``first`` ones are the most promising for some answers; then come the others, fitted
        to one.
        """
        seen = set()
        for answer in self._wrong[: _FITTED_TO if first else 1]:
            losses = self._losses(answer, quirks)
            ranked = sorted(losses, key=lambda v: losses[v])
            for variant in ranked[:_REFINED_ALONE] if first else ranked[_REFINED_ALONE:]:
                if math.isfinite(losses[variant]):
                    for fitted in (variant, *_refine([answer], (variant,))):
                        if fitted not in seen:
                            seen.add(fitted)
                            yield fitted

    def _losses(self, answer: Answer, quirks: Sequence[Quirk]) -> dict[Variant, float]:
        """Each quirk that has a number, with the best value of its grid, and the loss of that."""
        losses = {}
        for quirk in quirks:
            if quirk.parameter is not None:
                options = [Variant(quirk.id, value) for value in _values(quirk.parameter)]
                each = [_loss([answer], (variant,)) for variant in options]
                if min(each) == math.inf and quirk.parameter.whole:
                    options = [Variant(quirk.id, value) for value in _all(quirk.parameter)]
                    each = [_loss([answer], (variant,)) for variant in options]
                losses[options[int(np.argmin(each))]] = min(each)
        return losses

    def pairs(self) -> list[Explanation]:
        """Pairs that make all answers."""
        for likely in self._likely_pairs():
            found = [explanation for pair in likely for explanation in self._checked(pair)]
            if found:
                return _ranked(found)
        return []

    def _likely_pairs(self) -> Iterator[Iterator[Variants]]:
        """Where an answer shows one quirk alone, that one and any other; then any two."""
        everything = [v for q in _path_quirks() for v in _coarse(q, self._wrong[0])]
        if self._explained:
            index = min(self._explained, key=lambda i: len(self._explained[i]))
            first = self._explained[index]
            others = [a for i, a in enumerate(self._wrong) if i not in self._explained]
            pairs = _combine(first, everything)
            yield self._best(pairs, others or self._wrong)
        yield self._best(_combine(everything, everything), self._wrong[:1])

    def _best(self, pairs: Iterable[Variants], screen: Sequence[Answer]) -> Iterator[Variants]:
        """The pairs with the least loss on some answers, each fitted to all wrong ones.

        Those with numbers, which are far from their values on the grids, are chosen by the loss and
        by what it might become, if the numbers only scaled and shifted the features.
        """
        near: _Losses = {}
        might: _Losses = {}
        for pair in pairs:
            loss = _loss(screen, pair)
            numbers = sum(variant.value is not None for variant in pair)
            if not numbers and loss < _PROMISING:
                yield pair
            if numbers and math.isfinite(loss):
                _keep_least(near, loss, pair)
                _keep_least(might, _loss(screen, pair, freed=numbers), pair)
        best = [pair for losses in (near, might) for pair in _least(losses, _REFINED)]
        for pair in dict.fromkeys(best):
            fitted = _refine(screen[:1], pair)
            if _loss(screen[:1], fitted) < _PROMISING:
                # Some numbers show in few answers: a floor in silence alone.
                worst = max(self._wrong, key=lambda a: a.score_of(fitted))
                to = (self._wrong[:_FITTED_TO], [worst])
                yield from dict.fromkeys(_refine(answers, fitted) for answers in to)

    def _checked(self, variants: Variants) -> list[Explanation]:
        """An explanation, if these quirks are one."""
        worst = 0.0
        for answer in self._answers:
            score = answer.score_of(variants)
            if not score <= self._limit(answer):
                return []
            worst = max(worst, score)
        return [Explanation(variants, worst)] if worst > 0.0 else []

    def _limit(self, answer: Answer) -> float:
        """Up to which score an answer counts as explained."""
        if answer.score <= CLASS_B:
            return CLASS_B
        if answer.score <= _SLIGHT < LIMIT < self._worst:
            return _SLIGHT  # a careless front-end, too: not what makes it so wrong elsewhere
        return max(min(LIMIT, answer.score / _GAIN), 1.0)


_Losses = dict[tuple[str, ...], tuple[float, Variants]]
"""The least loss of the same quirks with any values, and those values."""


def _keep_least(losses: _Losses, loss: float, variants: Variants) -> None:
    ids = tuple(variant.id for variant in variants)
    if ids not in losses or loss < losses[ids][0]:
        losses[ids] = loss, variants


def _least(losses: _Losses, n: int) -> list[Variants]:
    """The pairs with the ``n`` least losses, few of those with the same."""
    alike: Counter[float] = Counter()
    chosen = []
    for loss, pair in sorted(losses.values(), key=lambda entry: entry[0]):
        alike[loss] += 1
        if alike[loss] <= _ALIKE:
            chosen.append(pair)
    return chosen[:n]


def _path_quirks() -> list[Quirk]:
    return [quirk for quirk in CATALOGUE.values() if quirk.vary is not None]


@lru_cache(maxsize=1)
def _order() -> dict[str, int]:
    return {id: i for i, id in enumerate(CATALOGUE)}


def _combine(first: Sequence[Variant], second: Sequence[Variant]) -> Iterator[Variants]:
    """Pairs of different quirks; in both orders where they change the same stage."""
    seen = set()
    for a, b in itertools.product(first, second):
        if a.id == b.id:
            continue
        pair = (a, b) if _order()[a.id] < _order()[b.id] else (b, a)
        if pair in seen:
            continue
        seen.add(pair)
        yield pair
        if set(a.variation.stages) & set(b.variation.stages):
            yield pair[::-1]


def _ranked(found: Sequence[Explanation]) -> list[Explanation]:
    """Quirks without a number before those that were fitted, then by score."""
    by_ids: dict[tuple[str, ...], Explanation] = {}
    best = min((e.score for e in found), default=0.0)
    as_good = [e for e in found if e.score <= max(_AS_GOOD * best, CLASS_A)]
    for explanation in sorted(as_good, key=lambda e: e.score):
        by_ids.setdefault(tuple(sorted(v.id for v in explanation.variants)), explanation)

    def key(explanation: Explanation) -> tuple[int, float]:
        return sum(v.value is not None for v in explanation.variants), explanation.score

    return sorted(by_ids.values(), key=key)


# --------------------------------------------------------------------------- parameters


def _values(parameter: Parameter) -> Sequence[float]:
    """Values to begin with alone: those of the grid, and where they are few and whole, more."""
    low, high = parameter.grid[0], parameter.grid[-1]
    if parameter.whole and high - low <= 300:
        return sorted({*range(int(low), int(high) + 1, 4), *parameter.grid})
    return parameter.grid


def _all(parameter: Parameter) -> Sequence[float]:
    """Every whole number, where they are few."""
    low, high = int(parameter.grid[0]), int(parameter.grid[-1])
    return range(low, high + 1) if high - low <= 300 else parameter.grid


def _coarse(quirk: Quirk, answer: Answer) -> Sequence[Variant]:
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
    if quirk.parameter.whole and not _of_one_shape(quirk, values, answer):
        values = _thinned(_of_one_shape(quirk, _all(quirk.parameter), answer)) or values
    return [Variant(quirk.id, value) for value in values]


def _thinned(values: Sequence[float]) -> Sequence[float]:
    n = min(_COARSE, len(values))
    places = ((np.arange(n) + 0.5) / max(n, 1) * (len(values) - 1)).round().astype(int)
    return [values[i] for i in sorted(set(places.tolist()))]


def _of_one_shape(quirk: Quirk, values: Sequence[float], answer: Answer) -> Sequence[float]:
    """The values with which the quirk alone makes features of the answer's shape."""
    return [v for v in values if math.isfinite(_loss([answer], (Variant(quirk.id, v),)))]


def _loss(answers: Sequence[Answer], variants: Variants, freed: int = 0) -> float:
    """The mean logarithm of the differences: far ones count little more than near ones."""
    total = 0.0
    for answer in answers:
        residual = answer.residual(variants, freed)
        if residual is None:
            return math.inf
        total += float(np.log1p(np.abs(residual)).mean())
    return total / len(answers)


def _distance(answers: Sequence[Answer], variants: Variants) -> float:
    """The mean square of the differences."""
    residuals = _residuals(answers, variants)
    return math.inf if residuals is None else float(np.square(residuals).mean())


_Measure = Callable[[Sequence[Answer], Variants], float]


def _refine(answers: Sequence[Answer], variants: Variants) -> Variants:
    """The same quirks with values that fit better."""
    loss = _loss(answers, variants)
    if loss > _PROMISING:
        # Differences that are great everywhere lead there in squares, not in logarithms.
        fitted, _ = _least_squares(answers, variants, _distance(answers, variants), _distance)
        variants, loss = min((variants, loss), (fitted, _loss(answers, fitted)), key=itemgetter(1))
    for _ in range(_ROUNDS):
        before = loss
        for i, variant in enumerate(variants):
            parameter = variant.quirk.parameter
            if parameter is not None and parameter.whole:
                variants, loss = _descend(answers, variants, i, parameter, loss)
        variants, loss = _least_squares(answers, variants, loss)
        if loss > _PROMISING:
            variants, loss = _zoomed(answers, variants, loss)
        if not loss < 0.99 * before:
            break
    return variants


def _zoomed(answers: Sequence[Answer], variants: Variants, loss: float) -> tuple[Variants, float]:
    """Values between the neighbours on the grid, of whole numbers all, where slopes have led
    nowhere."""
    for i, variant in enumerate(variants):
        parameter = variant.quirk.parameter
        if parameter is None or parameter.listed:
            continue
        if parameter.whole:
            for value in range(int(parameter.grid[0]), int(parameter.grid[-1]) + 1):
                option = _with(variants, i, value)
                found = _loss(answers, option)
                if found < loss:
                    variants, loss = option, found
            continue
        grid = np.array(parameter.grid)
        place = int(np.argmin(np.abs(grid - _value(variant))))
        to, back = _scale(parameter)
        low, high = to(grid[max(place - 1, 0)]), to(grid[min(place + 1, grid.size - 1)])
        for _ in range(_ZOOMS):
            places = np.linspace(low, high, _ZOOM)
            options = [_with(variants, i, back(x)) for x in places.tolist()]
            losses = [_loss(answers, option) for option in options]
            best = int(np.argmin(losses))
            if losses[best] < loss:
                variants, loss = options[best], losses[best]
            low, high = places[max(best - 1, 0)], places[min(best + 1, _ZOOM - 1)]
    return _least_squares(answers, variants, loss)


def _with(variants: Variants, index: int, value: float) -> Variants:
    changed = Variant(variants[index].id, value)
    return (*variants[:index], changed, *variants[index + 1 :])


def _descend(
    answers: Sequence[Answer], variants: Variants, index: int, parameter: Parameter, loss: float
) -> tuple[Variants, float]:
    """Steps of whole numbers, halved where neither direction is better."""
    step = 16
    while step:
        value = variants[index].value
        assert value is not None
        options = [
            _with(variants, index, other)
            for other in (value - step, value + step)
            if parameter.grid[0] <= other <= parameter.grid[-1]
        ]
        losses = [_loss(answers, option) for option in options]
        if losses and min(losses) < loss:
            loss = min(losses)
            variants = options[losses.index(loss)]
        else:
            step //= 2
    return variants, loss


def _scale(parameter: Parameter) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """To the scale on which a parameter is fitted, and back."""
    low, high = parameter.grid[0], parameter.grid[-1]
    if low > 0 and high / low >= _LOG_SCALE:
        return math.log, math.exp
    return float, float


def _least_squares(
    answers: Sequence[Answer], variants: Variants, loss: float, measure: _Measure = _loss
) -> tuple[Variants, float]:
    """Gauss and Newton's steps in the real parameters, as long as the measure, ``loss`` so far,
    becomes less."""
    places = [
        i
        for i, v in enumerate(variants)
        if v.quirk.parameter is not None and v.quirk.parameter.is_real
    ]
    if not places:
        return variants, loss
    parameters = [_parameter(variants[i]) for i in places]
    scales = [_scale(parameter) for parameter in parameters]

    def moved(by: Array) -> Variants:
        result = variants
        for i, parameter, (to, back), change in zip(places, parameters, scales, by, strict=True):
            low, high = to(parameter.grid[0]), to(parameter.grid[-1])
            value = min(max(to(_value(variants[i])) + float(change), low), high)
            result = _with(result, i, back(value))
        return result

    for _ in range(_STEPS):
        now = _residuals(answers, variants)
        if now is None:
            break
        slopes = []
        for place in range(len(places)):
            delta = np.zeros(len(places))
            to = scales[place][0]
            delta[place] = 1e-5 * max(abs(to(_value(variants[places[place]]))), 0.1)
            after = _residuals(answers, moved(delta))
            if after is None:
                return variants, loss
            slopes.append((after - now) / delta[place])
        matrix = np.stack(slopes, axis=1)
        trials = []
        # Where nothing fits yet, steps that care for near differences alone lead nowhere.
        for weights in (1.0 / (1.0 + np.abs(now)), np.ones(now.size)):
            with np.errstate(all="ignore"):
                step = np.linalg.lstsq(
                    matrix * weights[:, np.newaxis], -now * weights, rcond=1e-12
                )[0]
            if np.isfinite(step).all():
                trials += [moved(step / shorter) for shorter in (1.0, 4.0, 16.0)]
        losses = [measure(answers, trial) for trial in trials]
        if not losses or not min(losses) < loss:
            break
        improvement = loss - min(losses)
        variants, loss = trials[losses.index(min(losses))], min(losses)
        if improvement < 0.05 * loss:
            break
    return variants, loss


def _parameter(variant: Variant) -> Parameter:
    assert variant.quirk.parameter is not None
    return variant.quirk.parameter


def _value(variant: Variant) -> float:
    assert variant.value is not None
    return variant.value


def _residuals(answers: Sequence[Answer], variants: Variants) -> Array | None:
    parts = [answer.residual(variants) for answer in answers]
    return (
        None
        if any(p is None for p in parts)
        else np.concatenate([p for p in parts if p is not None])
    )
