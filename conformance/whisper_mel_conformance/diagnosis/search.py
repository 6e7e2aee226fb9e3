"""Which quirks of the catalogue, alone or in pairs, make a front-end's features.

A front-end's answers to a few clips are compared with what each variation of the reference's path
makes of them. Quirks that have a number are tried on a grid of values, and the promising ones
fitted. Most pairs are never computed: that they are far off is guessed from what each quirk does
alone.

The limits and counts below were tried on front-ends that were drawn with other seeds than those of
the tests; the nightly tests measure how many are named with them.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter

import numpy as np
from whisper_mel_reference import CLASS_A, CLASS_B

from whisper_mel_conformance.diagnosis.answer import Answer, Model, Variant, Variants
from whisper_mel_conformance.diagnosis.fit import (
    PROMISING,
    distance,
    loss,
    loss_of,
    moved,
    next_to,
    refine,
)
from whisper_mel_conformance.diagnosis.guess import Losses, ids_of, keep_least, likely
from whisper_mel_conformance.diagnosis.variants import (
    added,
    coarse,
    combine,
    curves,
    every_value,
    of_grid,
    path_quirks,
    values,
    with_one_more,
)
from whisper_mel_conformance.quirks.quirk import Quirk

LIMIT = 4.0 * CLASS_B
"""The highest score of an explanation: what is left may be careless, besides."""

_AS_GOOD = 4.0  # times the best explanation's score: up to that, another one is as good

_GAIN = 10.0  # an explanation must be better than the reference by this factor

_SLIGHT = 2.0 * CLASS_B  # an answer need not become better than this if another is far worse

_REFINED_ALONE = 6  # quirks with a number that are fitted to each answer
_REFINED = 24  # pairs that are fitted, of each of three rankings
_ALIKE = 2  # pairs of a ranking with one loss: a quirk that does nothing here goes with any other
_SCANNED = 8  # pairs whose whole numbers are tried far from the grid's, too
_FITTED_TO = 3  # answers that a quirk's number is fitted to, each alone
_SCREENS = 2  # answers that more than one quirk shows in, by which pairs beside it are ranked
_WORK = 75_000  # evaluations, see Model: then the search ends, with what it has found
_BEFORE_CURVES = 2  # combinations that are tried with curves behind them
_CURVED = 1.0  # the most that no curve may explain, of their loss
_LIKELY_CURVES = 4  # curves that are fitted behind each
_SHIFTS_OR_SCALES = ("gain", "power-exponent", "offset", "divisor")
"""Quirks whose number shifts or scales the logarithms or the features."""
_BUT = 2  # answers that an explanation of nearly all may leave out, none of the first ones
_BY_CHANCE = 2  # quirks that leave no more than a careless front-end does, not by chance
_CHECKED = 12  # combinations of each step that may do as they are
_NEAR = 1.0  # of the loss, by which those that go on to the next step may be worse than the best
_PEELED = 2  # combinations of each step that may explain a part of the values
_EXACT = 0.3  # the highest loss of an answer that is explained, by quirks of which one may be idle
_ROUNDINGS = 1e-5  # of a feature that agrees
_GOOD_PART = 0.3  # of all values: so many more must agree with quirks than without
_LITTLE = 0.1  # of all values: a quirk must explain more, beside the others
_SCREENED = 0.87  # of the whole work, after which pairs that are known must do


@dataclass(frozen=True)
class _Steps:
    """How a search adds one quirk after the other.

    ``kept`` combinations go on to the next step by their loss, if it is at most ``_NEAR`` more than
    the least, and ``curved`` by what no curve explains; ``fitted`` are fitted in each step. Once
    some are promising, ``near`` answers decide. It may take ``part`` of the whole work. ``measure``
    returns the loss, and what of it nothing behind the quirks explains.
    """

    kept: int
    curved: int
    fitted: tuple[int, ...]
    near: int
    part: float
    measure: Callable[[Sequence[Model], Variants], tuple[float, float]]


@dataclass
class Explanation:
    """Quirks that make the features, in the order of the path, and the score that is left."""

    variants: Variants
    score: float

    def __str__(self) -> str:
        return " and ".join(map(str, self.variants))


@dataclass
class Partial(Explanation):
    """Quirks that make all answers ``but`` a few."""

    but: list[Answer]


class Search:
    """A search for quirks that make every answer, and leave right ones right.

    What it finds begins with the best; there is more than one where the answers cannot tell them
    apart. At least one answer must be wrong.
    """

    def __init__(self, answers: Sequence[Answer]) -> None:
        models = [Model(answer) for answer in answers if answer.actual is not None]
        self._wrong = [model for model in models if not model.answer.score <= CLASS_B]
        right = [model for model in models if model.answer.score <= CLASS_B]
        self._models = [*self._wrong, *right]
        self._worst = max(model.answer.score for model in self._wrong)
        self._explained: dict[int, list[Variant]] = {}  # by the index of the wrong answer
        self._nearly: list[Partial] = []
        self._alone: Losses = {}  # of quirks with a number, fitted alone
        self._reached: list[Variants] = []  # what steps came to
        self.tried: Counter[int] = Counter()  # how many combinations, by their number of quirks

    def _done(self) -> float:
        """Return which part of the work that a search may take is done. No clock: verdicts must not
        depend on how busy the machine is."""
        return sum(model.work for model in self._models) / _WORK

    def _is_over(self, part: float = 1.0) -> bool:
        return self._done() > part

    def singles(self) -> list[Explanation]:
        """Find quirks that make all answers. Notes, besides, those that make some."""
        quirks = path_quirks()
        plain = [Variant(quirk.id) for quirk in quirks if quirk.parameter is None]
        found = self._those_that_fit(plain)
        # On their grids, far from their values, the right ones need not be among the promising.
        for candidates in (self._fitted(quirks, first=True), self._fitted(quirks, first=False)):
            if not any(explanation.score <= CLASS_A for explanation in found):
                found += self._those_that_fit(candidates)
        return self._completed(_ranked(found))

    def _completed(self, found: list[Explanation]) -> list[Explanation]:
        """Add a quirk to the best explanation where it leaves more than a careless front-end does,
        if with that one nothing of the kind is left."""
        if not found or found[0].score <= CLASS_B:
            return found
        more = self._those_that_explain(added([found[0].variants], self._everything))
        whole = [it for it in more if it.score <= min(CLASS_B, found[0].score / _AS_GOOD)]
        return whole or found

    def _those_that_fit(self, variants: Iterable[Variant]) -> list[Explanation]:
        found: list[Explanation] = []
        for variant in variants:
            if self._is_over():
                break
            scores = [model.score_of((variant,)) for model in self._wrong[:_FITTED_TO]]
            for i, score in enumerate(scores):
                if score <= LIMIT:
                    self._explained.setdefault(i, []).append(variant)
            found += self._checked((variant,))
        return found

    def _fitted(self, quirks: Sequence[Quirk], first: bool) -> Iterator[Variant]:
        """Fit quirks with a number: on the grid, and with the value that fits an answer best.

        The ``first`` ones are the most promising for some answers; then come the others, fitted
        to one.
        """
        seen = set()
        for model in self._wrong[: _FITTED_TO if first else 1]:
            losses = self._losses(model, quirks)
            ranked = sorted(losses, key=lambda v: losses[v])
            for variant in ranked[:_REFINED_ALONE] if first else ranked[_REFINED_ALONE:]:
                if math.isfinite(losses[variant]):
                    for fitted in (variant, *refine([model], (variant,), scan=True)):
                        if fitted not in seen:
                            seen.add(fitted)
                            yield fitted
                    keep_least(self._alone, loss(self._wrong[:1], (fitted,)), (fitted,))

    def _losses(self, model: Model, quirks: Sequence[Quirk]) -> dict[Variant, float]:
        """Find each quirk's best value on its grid, of those that have a number, and its loss."""
        losses = {}
        for quirk in quirks:
            if quirk.parameter is not None and not self._is_over():
                options = [Variant(quirk.id, value) for value in values(quirk.parameter)]
                each = [loss([model], (variant,)) for variant in options]
                if min(each) == math.inf and quirk.parameter.whole:
                    options = [Variant(quirk.id, value) for value in every_value(quirk.parameter)]
                    each = [loss([model], (variant,)) for variant in options]
                losses[options[int(np.argmin(each))]] = min(each)
        return losses

    def combined(self) -> list[Explanation]:
        """Find pairs, or three quirks, that make all answers, after the single ones.

        What is likely, and found within seconds, is tried first; then all pairs, one by one.
        """
        return self._completed(
            self._behind_mel_powers()
            or self._two_numbers()
            or self._step_by_step(_NARROW)
            or self._beside_explained()
            or self._step_by_step(_WIDE)
            or self._pairs()
        )

    @property
    def partial(self) -> Partial | None:
        """The best explanation so far of all answers but a few; None if there is none."""
        return min(self._nearly, key=lambda it: len(it.but) + len(it.variants), default=None)

    @cached_property
    def _everything(self) -> list[Variant]:
        """All quirks of the path, with a few values of each number."""
        return [v for quirk in path_quirks() for v in coarse(quirk, self._wrong[0])]

    @cached_property
    def _finer(self) -> list[Variant]:
        """All quirks of the path, with all values of their grids."""
        return [v for quirk in path_quirks() for v in of_grid(quirk)]

    def _beside_explained(self) -> list[Explanation]:
        """Find, where an answer shows one quirk alone, that one and any other."""
        if self._is_over() or not self._explained:
            return []
        index = min(self._explained, key=lambda i: len(self._explained[i]))
        others = [m for i, m in enumerate(self._wrong) if i not in self._explained]
        pairs = combine(self._explained[index], [*self._everything, *self._finer])
        return self._those_that_explain(self._best(pairs, (others or self._wrong)[:_SCREENS]))

    def _behind_mel_powers(self) -> list[Explanation]:
        """Find two quirks without a number that change nothing before the mel powers: of those
        there are few, and each hides what the other does."""
        plain = [it for it in self._everything if it.value is None and not it.variation.is_front]
        pairs = (it for it in combine(plain, plain) if not self._is_over())
        near = (pair for pair in pairs if loss(self._wrong[:1], pair) < PROMISING)
        return self._those_that_explain(near)

    def _two_numbers(self) -> list[Explanation]:
        """Find two quirks that each shift or scale by a number, far from the grids' values.

        Neither brings the features nearer alone, so both numbers are fitted together.
        """
        numbers = [it for it in self._everything if it.id in _SHIFTS_OR_SCALES]
        return self._those_that_explain(self._best(combine(numbers, numbers), self._wrong[:1]))

    def _pairs(self) -> list[Explanation]:
        """Find any two, those first that are likely by a guess."""
        if self._is_over():
            return []
        pairs = likely(self._wrong[0], self._everything, self._finer)
        return self._those_that_explain(self._best(pairs, self._wrong[:1]))

    def _those_that_explain(self, combinations: Iterable[Variants]) -> list[Explanation]:
        return _ranked([found for it in combinations for found in self._checked(it)])

    def _step_by_step(self, plan: _Steps) -> list[Explanation]:
        """Find several quirks that make all answers, one after the other.

        The quirks that come nearest are put into the path, and others tried beside them; so are
        those that come nearest but for a curve, which a fault behind them may be. Where features
        have another shape, the first are those that make that shape.
        """
        near = self._wrong[:1]
        end = self._done() + plan.part
        losses: Losses = {(): (math.inf, ())}
        might: Losses = {}
        everything = self._everything
        if plan.measure is _nearness_but_curve:
            everything = [*everything, *(it for _, (it,) in self._alone.values())]
        for to_fit in plan.fitted:
            least = min(value for value, _ in losses.values())
            kept = [v for v in _least(losses, plan.kept) if losses[ids_of(v)][0] <= least + _NEAR]
            curved = [v for v in _least(might, plan.curved) if might[ids_of(v)][0] < least]
            kept = _in_turn(kept, curved)
            if least <= PROMISING:
                near = self._least_explained(kept[0])[: plan.near]
            losses = {ids_of(variants): (math.inf, variants) for variants in kept}
            might = {}
            for variants in dict.fromkeys(added(kept, everything)):
                if self._is_over(end):
                    break
                self.tried[len(variants)] += 1
                nearness, but_curved = plan.measure(near, variants)
                keep_least(losses, nearness, variants)
                keep_least(might, but_curved, variants)
            # Two may do, of which one hides what the other does alone: no guess keeps those.
            found = self._very_close(_least(losses, _CHECKED))
            if found:
                return self._simpler(_ranked(found)[0])
            far = _least(losses, to_fit)
            if plan.measure is _nearness_but_curve:
                far = _in_turn(far, _least(might, to_fit))
                far = [*self._before_curves(near, might), *far]
            for variants in far:
                if self._is_over(end):
                    break
                fitted = refine(near, variants, scan=to_fit == max(plan.fitted))
                keep_least(losses, loss(near, fitted), fitted)
                found = self._very_close([fitted])
                left = losses[ids_of(fitted)][0]
                if not found and left <= PROMISING:
                    # Some numbers show in few answers.
                    found = self._very_close(self._fitted_to_more(fitted))
                if not found and left <= _EXACT:
                    found = self._fewer(fitted)
                if found:
                    return self._simpler(found[0])
            self._reached += _least(losses, _PEELED)
        return []

    def peeled(self) -> tuple[Variants, float, float] | None:
        """Find quirks that explain a good part of all values, where nothing explains every one.

        Returns those of them that explain a part that others do not, with the part that agrees
        with them and the part that agrees without; None if there are none.
        """
        before = self._part_that_agrees(())
        # Shifts by frames, by samples and of the window look alike: whole numbers name no stage.
        reached = (it for it in self._reached if not any(map(_is_whole, it)))
        parts = {it: self._part_that_agrees(it) for it in dict.fromkeys(reached)}
        best = max(parts, key=lambda it: parts[it], default=())
        part = parts.get(best, before)
        while len(best) > 1:
            fewer = itertools.combinations(best, len(best) - 1)
            left, shorter = max(
                ((self._part_that_agrees(it), it) for it in fewer), key=itemgetter(0)
            )
            if left < part - _LITTLE:
                break
            best, part = shorter, left
        is_telling = len(best) > 1 and part >= before + _GOOD_PART
        return (best, part, before) if is_telling else None

    def _part_that_agrees(self, variants: Variants) -> float:
        """Compute which part of the wrong answers' values quirks make, up to roundings.

        Without the least values of a prediction and of an answer: what clamps makes many alike.
        """
        agree = total = 0
        for model in self._wrong[:_FITTED_TO]:
            predicted = model.features(variants)
            if predicted is None:
                total += model.actual.size
                continue
            telling = (predicted > predicted.min()) & (model.actual > model.actual.min())
            off = np.abs(model.actual - predicted) / np.maximum(np.abs(predicted), 1.0)
            agree += int((off[telling] <= _ROUNDINGS).sum())
            total += int(telling.sum())
        return agree / max(total, 1)

    def _before_curves(self, near: Sequence[Model], might: Losses) -> Iterator[Variants]:
        """Yield combinations that a curve behind them turns into the answers, each with the
        likeliest curves that have a number."""
        for variants in _least(might, _BEFORE_CURVES):
            if might[ids_of(variants)][0] > _CURVED:
                continue
            far = []
            for curve in curves():
                each = [
                    with_one_more(variants, Variant(curve.id, it)) for it in curve.parameter.grid
                ]
                far.append(min((distance(near, it), i, it) for i, it in enumerate(each)))
            yield from (it for _, _, it in sorted(far, key=itemgetter(0))[:_LIKELY_CURVES])

    def _simpler(self, found: Explanation) -> list[Explanation]:
        """List the explanations by fewer quirks than ``found``, of which one may be idle, or else
        by quirks without a number in the place of those with one."""
        left = self._fewer(found.variants)
        if left:
            return self._simpler(_ranked(left)[0])
        for i, variant in enumerate(found.variants):
            if variant.value is not None:
                others = found.variants[:i] + found.variants[i + 1 :]
                plain = (Variant(it.id) for it in path_quirks() if it.parameter is None)
                alike = [it for it in plain if it.quirk.kind == variant.quirk.kind]
                named = self._very_close(added([others], alike))
                found = min(named, key=lambda it: it.score, default=found)
        return [found]

    def _fewer(self, variants: Variants) -> list[Explanation]:
        """List the explanations by these quirks without one of them, which may be idle."""
        near = self._wrong[:_FITTED_TO]
        fewer = itertools.combinations(variants, len(variants) - 1)
        return self._very_close(refine(near, it, scan=False) for it in fewer)

    def _very_close(self, combinations: Iterable[Variants]) -> list[Explanation]:
        """List the explanations, of these quirks, that leave nothing careless; of one or two quirks
        those, too, that leave little."""
        found = (explanation for it in combinations for explanation in self._checked(it))
        return [it for it in found if it.score <= CLASS_B or len(it.variants) <= _BY_CHANCE]

    def _least_explained(self, variants: Variants) -> list[Model]:
        """Return the wrong answers that quirks are farthest from, of those with the right shape.

        Some faults show in few answers: a floor in quiet ones alone.
        """
        losses = [(loss([model], variants), i) for i, model in enumerate(self._wrong)]
        farthest = sorted((it for it in losses if math.isfinite(it[0])), reverse=True)
        return [self._wrong[i] for _, i in farthest[:_FITTED_TO]]

    def _best(self, pairs: Iterable[Variants], screen: Sequence[Model]) -> Iterator[Variants]:
        """Find the pairs with the least loss on some answers, each fitted to all wrong ones.

        Those with numbers, which are far from their values on the grids, are chosen by the loss and
        by what it might become, if the numbers only scaled or shifted the features.
        """
        near: Losses = {}
        might: dict[bool, Losses] = {True: {}, False: {}}  # with a scale, or a shift alone
        before: Variants = ()
        for pair in pairs:
            if self._is_over(_SCREENED):
                break
            if next_to(before, pair) is not None:
                keep_least(near, *_between(screen, before, pair))
            before = pair
            self.tried[2] += 1
            numbers = sum(variant.value is not None for variant in pair)
            mean, but_scaled = _nearness(screen, pair, {True, numbers > 1} if numbers else ())
            if not numbers and mean < PROMISING:
                yield pair
            if numbers and mean < math.inf:
                keep_least(near, mean, pair)
                for slope, left in but_scaled.items():
                    keep_least(might[slope], left, pair)
        # Of a pair that might become near, the values that are nearest now: far ones are far from
        # the numbers' own, where the unit of differences has grown with the features.
        rankings = [_least(losses, _REFINED) for losses in (*might.values(), near)]
        rankings = [[near[ids_of(pair)][1] for pair in ranking] for ranking in rankings]
        yield from self._refined(_in_turn(*rankings), screen[:1])

    def _refined(self, pairs: Sequence[Variants], screen: Sequence[Model]) -> Iterator[Variants]:
        """Fit pairs to an answer, the best with whole numbers scanned; then to more answers."""
        far: dict[Variants, float] = {}
        for pair in pairs:
            if self._is_over():
                break
            fitted = refine(screen, pair, scan=False)
            left = loss(screen, fitted)
            if left <= PROMISING:
                yield from self._fitted_to_more(fitted)
            else:
                far[fitted] = left
        for fitted in self._scanned(sorted(far, key=lambda fit: far[fit])[:_SCANNED], screen):
            yield from self._fitted_to_more(fitted)

    def _fitted_to_more(self, fitted: Variants) -> Iterator[Variants]:
        # Some numbers show in few answers: a floor in silence alone.
        worst = max(self._wrong, key=lambda model: model.score_of(fitted))
        to = (self._wrong[:_FITTED_TO], [worst])
        yield from dict.fromkeys(refine(models, fitted, scan=True) for models in to)

    def _scanned(self, pairs: Sequence[Variants], screen: Sequence[Model]) -> Iterator[Variants]:
        for pair in pairs:
            if not self._is_over():
                fitted = refine(screen, pair, scan=True)
                if loss(screen, fitted) < PROMISING:
                    yield fitted

    def _checked(self, variants: Variants) -> list[Explanation]:
        """List the explanation by these quirks, or nothing if they are none."""
        worst, but = 0.0, []
        for i, model in enumerate(self._models):
            score = model.score_of(variants)
            if score <= self._limit(model.answer):
                worst = max(worst, score)
                continue
            but.append(model.answer)
            if i < _FITTED_TO or len(but) > _BUT:
                return []
        if but:
            self._nearly.append(Partial(variants, worst, but))
            return []
        return [Explanation(variants, worst)]

    def _limit(self, answer: Answer) -> float:
        """Return the largest score with which an answer counts as explained."""
        if answer.score <= CLASS_B:
            return CLASS_B
        if answer.score <= _SLIGHT < LIMIT < self._worst:
            return _SLIGHT  # a careless front-end, too: not what makes it so wrong elsewhere
        return max(min(LIMIT, answer.score / _GAIN), 1.0)


def _nearness(
    models: Sequence[Model], variants: Variants, slopes: Iterable[bool]
) -> tuple[float, dict[bool, float]]:
    """Return the loss, and what a free shift leaves of it, with a free scale and without."""
    total, left = 0.0, dict.fromkeys(slopes, 0.0)
    for model in models:
        predicted = model.features(variants)
        if predicted is None:
            return math.inf, dict.fromkeys(left, math.inf)
        total += loss_of(model.differences(predicted))
        for slope in left:
            left[slope] += loss_of(model.differences_but_trend(predicted, with_slope=slope))
    return total / len(models), {slope: it / len(models) for slope, it in left.items()}


def _nearness_but_curve(models: Sequence[Model], variants: Variants) -> tuple[float, float]:
    """Return the loss, and what of it no curve behind these quirks can explain."""
    total = left = 0.0
    for model in models:
        predicted = model.features(variants)
        if predicted is None:
            return math.inf, math.inf
        total += loss_of(model.differences(predicted))
        left += loss_of(model.differences_but_curve(predicted))
    return total / len(models), left / len(models)


def _nearness_but_scale(models: Sequence[Model], variants: Variants) -> tuple[float, float]:
    """Return the loss, and what of it no scale and shift behind these quirks can explain."""
    nearness, left = _nearness(models, variants, [True])
    return nearness, left[True]


_NARROW = _Steps(2, 2, (0, 1, 2, 3), 1, 0.16, _nearness_but_curve)
_WIDE = _Steps(12, 6, (0, 6, 12), 3, 0.31, _nearness_but_scale)


def _between(models: Sequence[Model], first: Variants, second: Variants) -> tuple[float, Variants]:
    """Return the loss of the best number between two, as if features changed evenly, and it."""
    two = [models[0].features(variants) for variants in (first, second)]
    if two[0] is None or two[1] is None:
        return math.inf, second
    part = models[0].part_of_way(two[0], two[1])
    if not 0.0 < part < 1.0:
        return math.inf, second
    predicted = two[0] + part * (two[1] - two[0])
    return loss_of(models[0].differences(predicted)), moved(first, second, part)


def _is_whole(variant: Variant) -> bool:
    return variant.value is not None and variant.parameter.whole


def _in_turn(*rankings: Sequence[Variants]) -> list[Variants]:
    """Return the combinations of all rankings, one of each in turn, each once."""
    rows = itertools.chain.from_iterable(itertools.zip_longest(*rankings))
    return list(dict.fromkeys(it for it in rows if it is not None))


def _least(losses: Losses, n: int) -> list[Variants]:
    """Return the ``n`` pairs with the least losses, at most ``_ALIKE`` of those with equal ones."""
    alike: Counter[float] = Counter()
    chosen = []
    for least, pair in sorted(losses.values(), key=lambda entry: entry[0]):
        alike[least] += 1
        if alike[least] <= _ALIKE:
            chosen.append(pair)
    return chosen[:n]


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
