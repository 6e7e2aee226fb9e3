"""What a failing front-end most likely does: the quirk or the pair of quirks that explains it.

It is asked for the features of a few clips, which show together what single ones hide, and its
answers are compared with the catalogue's. What that does not explain is explained by one stage left
free, if any explains it, or by too little precision; else where values are off is all that is said.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import CLASS_B, WHISPER, stages

from whisper_mel_conformance.cases.catalogue import CHECKS, FAMILIES, find
from whisper_mel_conformance.cases.properties import Property
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis.answer import Answer, Model, Variant
from whisper_mel_conformance.diagnosis.condition import (
    LONG,
    Asked,
    Condition,
    every,
    find_condition,
    option_of,
    samples,
)
from whisper_mel_conformance.diagnosis.curve import free_curve
from whisper_mel_conformance.diagnosis.free import Explained, Fit, explain_by, learn
from whisper_mel_conformance.diagnosis.linear import free_input, free_window
from whisper_mel_conformance.diagnosis.positions import free_positions
from whisper_mel_conformance.diagnosis.precision import Imprecise, imprecise
from whisper_mel_conformance.diagnosis.search import Explanation, Search
from whisper_mel_conformance.diagnosis.suspects import Suspect, faults_of, suspects
from whisper_mel_conformance.diagnosis.weights import free_bank, may_be_slightly_off
from whisper_mel_conformance.frontend.client import FrontEnd, InProcess
from whisper_mel_conformance.frontend.errors import Failure, Refused, Unsupported
from whisper_mel_conformance.frontend.load import Capabilities, inspect_front_end
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_conformance.quirks.quirk import QuirkyFrontEnd

Array = NDArray[Any]


def _signal(name: str, n: int, **more: Any) -> dict[str, Any]:
    return {"signal": name, "n": n, **more}


_LOUD = (
    _signal("noise", 517, seed=901, gain=0.4),
    _signal("noise_ramp", 1100, seed=902),
    _signal("tone_in_noise", 960, seed=903, frequency=437.0, gain=0.7, noise_db=-110.0),
    _signal("silence", 640),
    _signal("click", 480, at=171, gain=0.5),
    _signal("dc", 240, gain=0.2),
    _signal("noise", 143, seed=904, gain=0.3),
)
_QUIET = (
    _signal("noise", 700, seed=905, gain=2e-4),
    _signal("noise", 1200, seed=906, gain=1.2e-5),
    _signal("tone", 900, frequency=523.0, gain=1e-4),
    _signal("silence", 800),
    _signal("noise", 439, seed=907, gain=3e-3),
)
_LATE = (
    _signal("noise_ramp", 11_200, seed=908, start_db=-80.0, stop_db=-40.0),
    _signal("noise", 1100, seed=909, gain=0.9),
    _signal("noise", 2380, seed=910, gain=1e-4),
)
_TAIL = (_signal("loud_tail", 4080, seed=911),)
_FULL_SCALE = (_signal("noise", 2161, seed=912, gain=1.7), _signal("square", 1200, frequency=441.0))
_CLAMPED = (
    _signal("noise_ramp", 1500, seed=918),
    _signal("tone_in_noise", 960, seed=919, frequency=611.0, gain=0.6, noise_db=-110.0),
    _signal("silence", 640),
)
_REMAINDER = (_signal("noise", 1919, seed=913, gain=0.2),)


def clips(able: Capabilities) -> dict[str, Request]:
    """Return the requests for a front-end with these capabilities, by the names of their clips."""
    plain = Request(n_mels=able.n_mels[0]).of_model(able)
    parts = {
        "loud": _LOUD,
        "quiet": _QUIET,
        "late": _LATE,
        "loud tail": _TAIL,
        "full scale": _FULL_SCALE,
        "remainder": _REMAINDER,
        "silence": (_signal("silence", 1600),),
    }
    asked = {name: replace(plain, recipe={"parts": recipes}) for name, recipes in parts.items()}
    recipe = _signal("noise_ramp", 2111, seed=914)
    noise = replace(plain, recipe=recipe)
    for n_mels in able.n_mels[1:]:
        asked[f"{n_mels} bands"] = replace(asked["loud"], n_mels=n_mels)
    for dtype in able.dtypes[1:]:
        lowest = {"poke": [1000, -32_768]} if dtype == "int16" else {}
        asked[dtype] = replace(noise, recipe={**recipe, **lowest, "dtype": dtype})
    for smoothing in able.smoothing:
        if smoothing is not None:
            asked[f"smoothing {smoothing}"] = replace(noise, smoothing=smoothing)
    for maximum in able.maximum if able.model is None else ():
        if maximum != "clip":
            value = 1.5 if maximum == "fixed" else maximum
            recipe = {"parts": _CLAMPED}
            asked[f"maximum {value}"] = replace(plain, recipe=recipe, maximum=value)
    asked["padded"] = replace(noise, pad_to=4000)
    asked["exact fit"] = replace(noise, pad_to=2111)
    pair = (_signal("noise", 1777, seed=915, gain=1e-5), _signal("noise", 1777, seed=916))
    asked["batch"] = replace(plain, recipes=pair)
    return {name: request for name, request in asked.items() if request.lacking(able) is None}


@dataclass
class Diagnosis:
    """What is known about a failing front-end, in words and as quirks.

    Attributes
    ----------
    explanations : quirks, or pairs of them, that make its features, the likeliest first.
    cause : what is wrong, in a sentence or two; of several faults, a line for each.
    evidence : sentences about how that is known, and about what else was seen.
    fix : what to write instead, a text for each fault; empty where nobody can say.
    shown : the answer to look at, if it has features: real speech where that is wrong.
    kinds : the kinds of quirks (see :data:`quirks.KINDS`) that the cause names, of a loss of
        precision those that it may be; empty where it names no stage.
    condition : what wrong calls share and right ones lack; None if nothing is known.
    """

    explanations: list[Explanation]
    cause: str
    evidence: list[str] = field(default_factory=list)
    fix: list[str] = field(default_factory=list)
    shown: Answer | None = None
    kinds: frozenset[str] = frozenset()
    condition: Condition | None = None

    @property
    def sentences(self) -> list[str]:
        """The causes, and the evidence."""
        return [*self.cause.splitlines(), *self.evidence]

    @property
    def title(self) -> str:
        """What is shown, in words."""
        assert self.shown is not None
        return self.shown.name if self.shown.name == SPEECH else f"the clip “{self.shown.name}”"

    def arrays(self) -> dict[str, Array]:
        """``actual``, ``expected`` and ``bound`` of the clip to look at; empty if there is none."""
        if self.shown is None or self.shown.actual is None:
            return {}
        actual = self.shown.actual[0]
        if actual.ndim != 2 or not actual.size:
            return {}
        return {
            "actual": actual,
            "expected": self.shown.expected[0],
            "bound": self.shown.bound[0],
        }

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "summary": self.sentences,
            "cause": self.cause,
            "fix": self.fix,
            "evidence": self.evidence,
            "explanations": [
                {
                    "score": explanation.score,
                    "quirks": [
                        {
                            "id": variant.id,
                            "value": variant.value,
                            "mechanism": variant.quirk.mechanism,
                            "fix": variant.quirk.fix,
                            "seen": list(variant.quirk.seen),
                        }
                        for variant in explanation.variants
                    ],
                }
                for explanation in self.explanations
            ],
        }


def diagnose(
    front_end: FrontEnd, chosen: Mapping[str, Request] | None = None, failed: Sequence[str] = ()
) -> Diagnosis:
    """Ask a front-end for the features of some clips, and explain them.

    ``failed`` are the ids of the cases that it fails: what they have in common is said where its
    features are right.
    """
    asked = clips(front_end.capabilities) if chosen is None else chosen
    answers = [_ask(front_end, name, request) for name, request in asked.items()]
    given = [answer for answer in answers if answer.features is not None]
    if not given and not any(answer.error for answer in answers) and chosen is None:
        # Nothing is supported: some take only clips that are filled up to 30 s.
        some = [name for name in asked if name in ("loud", "quiet", "128 bands")]
        asked = {name: replace(asked[name], pad_to=480_000) for name in some}
        answers = [_ask(front_end, name, request) for name, request in asked.items()]
        given = [answer for answer in answers if answer.features is not None]
    if not given:
        whys = [answer.error for answer in answers if answer.error]
        why = whys[0] if whys else "it supports none of the clips of the diagnosis"
        return Diagnosis([], f"It gives no features at all: {why}.")
    wrong = [answer for answer in given if not answer.score <= CLASS_B]
    sentence = _of_another_call(given)
    if sentence:
        return Diagnosis([], sentence, fix=_fixes("cached-by-beginning"), shown=given[0])
    for answer in [given[0], *(a for a in wrong for _ in range(_AGAIN))]:
        sentence = _differing(front_end, asked[answer.name], answer)
        if sentence:
            return Diagnosis([], sentence, fix=_fixes("sometimes-wrong"), shown=answer)
    degenerate = _degenerate(given[0])
    if degenerate:
        return Diagnosis([], degenerate, fix=_fixes("all-zero"), shown=given[0])
    refusals = _refusals(answers)
    calls = Asked(partial(_ask, front_end), front_end.capabilities)
    for answer in answers:
        calls.note(asked[answer.name], answer)
    if not wrong:
        calls.ask_again(_asked_by(failed, front_end.capabilities))
        calls.ask_around()
        found = _of_30_seconds(front_end, failed) or _under_a_condition(
            front_end, asked, calls, failed, with_pairs=not faults_of(failed)
        )
        found = found or _in_some_calls(front_end, failed)
        # Features that nothing explains are no better evidence than the cases of a fault.
        if found is None or not (found.kinds or found.fix):
            named = suspects(front_end, failed)
            if named or found is None:
                condition = None if found is None else found.condition
                return _right_here(given, failed, refusals, named, condition)
        return found
    causes = _Causes(front_end, asked, given, failed)
    found = causes.simple()
    if found is None:
        found = _under_a_condition(front_end, asked, calls, failed)
    elif found.explanations and _is_right_elsewhere(front_end, calls, found.explanations[0]):
        found.condition = find_condition(calls)
        if found.condition is not None:
            found.evidence.append(found.condition.sentence)
    found = found or causes.combined() or causes.unexplained()
    found.evidence.extend(refusals)
    return found


def _is_right_elsewhere(front_end: FrontEnd, calls: Asked, explanation: Explanation) -> bool:
    """Return whether a front-end is right on clips of other lengths, which by its explanation it
    should not be."""
    able = front_end.capabilities
    is_right = False
    for n in _OTHER_LENGTHS:
        recipe = _signal("noise_ramp", n, seed=935)
        request = Request(recipe, n_mels=able.n_mels[0]).of_model(able)
        if request.lacking(able) is None:
            answer = _ask(front_end, f"{n} samples", request)
            if calls.note(request, answer) is False:
                is_right |= not Model(answer).score_of(explanation.variants) <= CLASS_B
    return is_right


_OTHER_LENGTHS = (240, 801, 16_000)


def _under_a_condition(
    front_end: FrontEnd,
    asked: Mapping[str, Request],
    calls: Asked,
    failed: Sequence[str],
    *,
    with_pairs: bool = True,
) -> Diagnosis | None:
    """Return the diagnosis of what is wrong under a condition, by clips that have it.

    None if there is no condition. ``with_pairs`` looks for more than one quirk, too.
    """
    condition = find_condition(calls)
    if condition is None:
        return None
    requests = {name: condition.put(request) for name, request in asked.items()}
    if max(map(samples, requests.values())) > LONG:
        requests = {name: requests[name] for name in _WHERE_LONG if name in requests}
    answers = [
        _ask(front_end, name, request)
        for name, request in requests.items()
        if calls.can_ask(request)
    ]
    wrong = [a for a in answers if a.actual is not None and not a.score <= CLASS_B]
    if not wrong:
        whys = [answer.error for answer in answers if answer.error]
        cause = f"It gives no features: {whys[0]}." if whys else "Nothing known explains it."
        return Diagnosis([], cause, [condition.sentence], condition=condition)
    causes = _Causes(front_end, requests, wrong, failed, condition)
    return causes.simple() or (causes.combined() if with_pairs else None) or causes.unexplained()


_WHERE_LONG = ("loud", "late")
"""The clips that are asked for where they are long: fewer tell enough then."""


def _asked_by(failed: Sequence[str], able: Capabilities) -> list[Request]:
    """Return the single calls that failed cases make, without those of drawn ones."""
    return [
        request
        for case in map(find, failed)
        if not isinstance(case, Property)
        for request in CHECKS[case.check].requests(case.arguments, able)
        if not request.streamed and request.dtype is None
    ]


class _Causes:
    """Looks for the cause of wrong answers, in the order in which causes are likely."""

    def __init__(
        self,
        front_end: FrontEnd,
        asked: Mapping[str, Request],
        given: Sequence[Answer],
        failed: Sequence[str],
        condition: Condition | None = None,
    ) -> None:
        self._asked = {answer.name: asked[answer.name] for answer in given}
        self._wrong = [answer for answer in given if not answer.score <= CLASS_B]
        self._failed, self._condition = failed, condition
        self._model = front_end.capabilities.model
        self._worst = max(self._wrong, key=lambda a: (a.score, a.audio.size))
        put = (lambda request: request) if condition is None else condition.put
        self._shown = _speech(front_end, self._worst, put)
        self._freed = _Stages(front_end, given, self._shown, put)
        self._search = Search(given)
        self._is_slight = may_be_slightly_off(given)

    def simple(self) -> Diagnosis | None:
        """Return the diagnosis of one quirk, or of a bank that is slightly off.

        Hundreds of weights fit what is one number, too: a quirk is the better explanation.
        """
        explanations = self._search.singles()
        if explanations:
            return self._explained(explanations)
        return self._fitted([free_bank]) if self._is_slight else None

    def combined(self) -> Diagnosis | None:
        """Return the diagnosis of several quirks, of one stage left free, or of noise."""
        explanations = self._search.combined()
        if explanations:
            return self._explained(explanations)
        others = [fit for fit in FITS if not (self._is_slight and fit is free_bank)]
        return self._fitted(others) or self._noisy() or self._nearly() or self._in_part()

    def _nearly(self) -> Diagnosis | None:
        """Return the diagnosis of quirks that explain all answers but those with an option."""
        best = self._search.partial
        if best is None:
            return None
        but = [self._asked[answer.name] for answer in best.but]
        words = option_of(but, [*self._asked.values()])
        if words is None:
            return None
        agreement = _agreement(best, self._worst, self._failed, self._model)
        names = ", ".join(f"“{answer.name}”" for answer in best.but)
        return self._of(
            [best],
            _cause(best),
            f"This explains all clips of the diagnosis but {names}: {words} something else is "
            "wrong, besides.",
            *(agreement, _located(best.but)),
            fix=_fixes(*(variant.id for variant in best.variants)),
            kinds=(variant.quirk.kind for variant in best.variants),
        )

    def _in_part(self) -> Diagnosis | None:
        """Return the diagnosis of quirks that explain a good part of the values, not all."""
        found = self._search.peeled()
        if found is None:
            return None
        variants, part, before = found
        them = _THIS[len(variants) > 1]
        best = Explanation(variants, math.inf)
        return self._of(
            [],
            f"{_cause(best)}\nSomething else is wrong besides, which nothing known explains.",
            f"With {them} put into the reference {part:.0%} of its output agrees up to roundings, "
            f"{before:.0%} without.",
            *(self._tried(), _located(self._wrong)),
            fix=_fixes(*(variant.id for variant in variants)),
            kinds=(variant.quirk.kind for variant in variants),
        )

    def _tried(self) -> str:
        """Say what was tried in vain."""
        counts = (
            f"{self._search.tried[n]:,} {words}"
            for n, words in ((2, "pairs"), (3, "threes"), (4, "fours"))
            if self._search.tried[n]
        )
        return (
            f"Tried in vain: every fault of the signal path that is known, {', '.join(counts)} of "
            f"them, {len(FITS)} stages left free, and too little precision."
        )

    def unexplained(self) -> Diagnosis:
        """Return the diagnosis that says where values are off, and what was tried."""
        place = _only_place(self._wrong)
        if place:
            cause = f"Of its features only {place} off, in every clip that is wrong."
            fix = _fixes("last-frame-off") if place.startswith("the last") else []
            return self._of([], cause, _located(self._wrong), fix=fix)
        cause = "Nothing known explains its features."
        return self._of([], cause, _located(self._wrong), self._tried())

    def _of(
        self,
        explanations: list[Explanation],
        cause: str,
        *evidence: str,
        fix: Sequence[str] = (),
        kinds: Iterable[str] = (),
    ) -> Diagnosis:
        return Diagnosis(
            explanations,
            cause,
            [*evidence, *([] if self._condition is None else [self._condition.sentence])],
            list(fix),
            self._shown,
            frozenset(kinds),
            self._condition,
        )

    def _explained(self, explanations: list[Explanation]) -> Diagnosis:
        best = explanations[0]
        agreement = _agreement(best, self._worst, self._failed, self._model)
        return self._of(
            explanations,
            _cause(best),
            *(agreement, *_alternatives(explanations)),
            fix=_fixes(*(variant.id for variant in best.variants)),
            kinds=(variant.quirk.kind for variant in best.variants),
        )

    def _fitted(self, fits: Sequence[Fit]) -> Diagnosis | None:
        explained = self._freed.by(fits)
        if explained is None:
            return None
        free = explained.free
        shown = (free.shown, _fitted(explained, self._worst))
        return self._of([], free.cause, *shown, fix=[free.fix], kinds=[free.kind])

    def _noisy(self) -> Diagnosis | None:
        noise = self._freed.noise()
        if noise is None:
            return None
        evidence = (noise.shown, _located(self._wrong))
        return self._of([], noise.cause, *evidence, fix=[_PRECISE], kinds=noise.kinds)


Put = Callable[[Request], Request]
"""Returns a request that has what is under examination, otherwise like the given one."""

FITS = (free_positions, free_input, free_curve, free_window, free_bank)
"""Fits of one stage each, those with few numbers first: what these explain, more would, too."""


class _Stages:
    """Explains answers by one stage left free; asks for more clips when the first is tried."""

    def __init__(
        self, front_end: FrontEnd, unseen: Sequence[Answer], shown: Answer, put: Put
    ) -> None:
        self._front_end, self._put = front_end, put
        self._unseen = unseen if shown.name != SPEECH else [*unseen, shown]

    @cached_property
    def _learnt(self) -> dict[int, dict[str, Answer]]:
        return learn(
            lambda name, request: _ask(self._front_end, name, self._put(request)),
            self._front_end.capabilities,
            list(dict.fromkeys(answer.spec.n_mels for answer in self._unseen)),
        )

    def by(self, fits: Sequence[Fit]) -> Explained | None:
        """Explain the answers by a stage; of those that do, the one with the fewest numbers."""
        return explain_by(fits, self._learnt, self._unseen)

    def noise(self) -> Imprecise | None:
        """Explain the answers to plain clips with the first number of bands by noise."""
        if not self._learnt:
            return None
        n_mels, learnt = next(iter(self._learnt.items()))
        unseen = [
            answer
            for answer in self._unseen
            if answer.spec == WHISPER.replace(n_mels=n_mels)
            and answer.audio.dtype == np.float32
            and answer.audio.ndim == 1
            and np.abs(answer.audio).max() >= _LOUD_ENOUGH
        ]
        fitted = [learnt[name] for name in ("noise", "chirp", "ramp")]
        return imprecise(fitted, unseen, learnt["noise"], learnt["softer"])


_LOUD_ENOUGH = 0.01  # half precision has fewer bits of what is quieter
_PRECISE = (
    "Compute in float32 throughout, with tables (window, sines, bank) made in float64 and rounded "
    "once; reduce angles before their sine is taken."
)
SPEECH = "two seconds of speech"
_SPEECH = _signal("speech", 32_000, recording="sense-and-sensibility", start=8000)


def _fixes(*quirks: str) -> list[str]:
    return [CATALOGUE[quirk].fix for quirk in quirks]


def _speech(front_end: FrontEnd, worst: Answer, put: Put) -> Answer:
    """Return the front-end's answer to real speech, or ``worst`` if that shows nothing."""
    plain = Request(_SPEECH, n_mels=worst.spec.n_mels).of_model(front_end.capabilities)
    request = put(plain)
    if request.lacking(front_end.capabilities) is not None:
        return worst
    answer = _ask(front_end, SPEECH, request)
    return worst if answer.features is None or answer.score <= CLASS_B else answer


def _of_30_seconds(front_end: FrontEnd, failed: Sequence[str]) -> Diagnosis | None:
    """Return the diagnosis of a front-end that is wrong where a clip is longer than 30 s.

    Two clips tell the ways apart: one is loud in its first 30 s, the other behind them. None if
    both are right, if nothing known explains them, or if no failing case can be about that.
    """
    if not any(case.startswith(_OF_LONG) for case in failed):
        return None
    able = front_end.capabilities
    asked = {name: request.of_model(able) for name, request in _long_clips(able).items()}
    given = [
        _ask(front_end, name, request)
        for name, request in asked.items()
        if request.lacking(able) is None
    ]
    given = [answer for answer in given if answer.actual is not None]
    wrong = [answer for answer in given if not answer.score <= CLASS_B]
    if not wrong:
        return None
    models = [Model(answer) for answer in given]
    ways = (tuple(map(Variant, ids)) for ids in OF_CHUNKS)
    tried = (Explanation(it, max(model.score_of(it) for model in models)) for it in ways)
    best = next((it for it in tried if it.score <= CLASS_B), None)
    if best is None:
        return None
    worst = max(wrong, key=lambda answer: answer.score)
    names = ", ".join(f"“{answer.name}”" for answer in wrong)
    evidence = [
        f"With this put into the reference its output agrees on clips of more than 30 s: "
        f"{best.score:.2g} of the bound, {_without(worst)} without.",
        f"It is wrong on {names} only: shorter clips are right.",
    ]
    fix = _fixes(*(variant.id for variant in best.variants))
    return Diagnosis([best], _cause(best), evidence, fix, worst)


_OF_LONG = ("boundary/", "golden/", "maximum/", "regressions/", "honesty/")
"""Beginnings of the ids of cases that clips of more than 30 s are among."""
OF_CHUNKS = (
    *(("maximum-of-30-seconds",), ("edges-of-30-seconds",)),
    ("maximum-of-30-seconds", "edges-of-30-seconds"),
    *(("chunks-ignored",), ("chunks-so-far",), ("chunk-of-2999-frames",)),
)
"""Quirks, alone or together, that only clips of more than 30 s show."""


def _long_clips(able: Capabilities) -> dict[str, Request]:
    """Return the requests of two clips of 33 s, loud before or behind 30 s, with each maximum."""
    loud, quiet = (_signal("noise", 32_000, seed=917, gain=gain) for gain in (0.9, 2e-4))
    silence = _signal("silence", 480_000 - 64_000)
    parts = {
        "loud, then quiet": (loud, silence, loud, quiet, quiet),
        "quiet, then loud": (quiet, silence, quiet, loud, quiet),
    }
    return {
        f"{name}, maximum {maximum or 'clip'}": Request(
            {"parts": recipes}, n_mels=able.n_mels[0], maximum=maximum
        )
        for name, recipes in parts.items()
        for maximum in (None, *(m for m in able.maximum if m == "chunk" and able.model is None))
    }


def _right_here(
    given: Sequence[Answer],
    failed: Sequence[str],
    refusals: list[str],
    named: Sequence[Suspect],
    condition: Condition | None = None,
) -> Diagnosis:
    """Return the diagnosis of a front-end whose features of the clips are right.

    ``named`` are the faults that its failing cases name.
    """
    names = ", ".join(answer.name for answer in given)
    right = (
        f"It is right on the clips of the diagnosis ({names}): its failures come from what "
        "differs from those, as memory, order, threads, lengths or bad input."
    )
    shown_by = _shown_by(failed)
    if not named:
        return Diagnosis([], right, refusals + shown_by)
    cause, *others = (f"{it.quirk.mechanism} [{it.quirk.id}]" for it in named)
    if others:
        cause = "\n".join(
            [f"One of {len(named)}, which its cases cannot tell apart: {cause}", *others]
        )
    cause = "\n".join([cause, *others])
    cases = [suspect.evidence for suspect in named]
    where = [] if condition is None else [condition.sentence]
    fix = [suspect.quirk.fix for suspect in named]
    evidence = [*cases, *where, right, *refusals, *shown_by]
    return Diagnosis([], cause, evidence, fix, condition=condition)


def _of_another_call(given: Sequence[Answer]) -> str:
    """Say that features are those of an earlier call's audio; empty if none are."""
    for i, answer in enumerate(given):
        for earlier in given[:i]:
            if answer.score <= CLASS_B or not _differ(answer, earlier):
                continue
            if earlier.score_of_features(answer.actual) <= CLASS_B:
                return (
                    f"On the clip “{answer.name}” it gives the features of “{earlier.name}”, asked "
                    "for before: a result that is kept, cached by too little, or late by a call."
                )
    return ""


def _differ(answer: Answer, other: Answer) -> bool:
    """Return whether the right features of the two clips differ."""
    return not other.score_of_features(answer.expected) <= CLASS_B


def _differing(front_end: FrontEnd, request: Request, first: Answer) -> str:
    """Say how the answers to two equal calls differ; empty if they do not."""
    again = _ask(front_end, first.name, request)
    if again.actual is None or first.actual is None:
        return (
            f"Of two equal calls, of the clip “{first.name}”, one gives features, the other none: "
            f"{again.error}."
        )
    if again.actual.tobytes() == first.actual.tobytes():
        return ""
    scores = [answer.score for answer in (first, again)]
    if min(scores) <= CLASS_B < max(scores):
        return (
            f"What is wrong comes and goes: of two equal calls, of the clip “{first.name}”, one "
            f"gives features with score {min(scores):.2g}, the other with {max(scores):.3g}. "
            f"{_how_often(front_end, request)}State that calls leave behind, unwritten memory, or "
            "threads."
        )
    by = ""
    if again.actual.shape == first.actual.shape:
        with np.errstate(invalid="ignore"):
            by = f" by up to {np.abs(again.actual - first.actual).max():.2g}"
    return (
        f"Equal calls give different features{by}: unwritten memory, state that calls leave "
        "behind, threads, or noise that is added."
    )


_AGAIN = 2  # times, one after the other: once, every n-th call may be the one that is wrong
_CALLS = 160  # equal calls, of which some may be wrong
_CALLS_OF_PROGRAMS = 12


def _how_often(front_end: FrontEnd, request: Request) -> str:
    """Say which of many equal calls are wrong, if they follow each other evenly; else nothing."""

    def asks() -> bool:
        return not _ask(front_end, "", request).score <= CLASS_B

    times = _CALLS_OF_PROGRAMS if front_end.capabilities.process_per_call else _CALLS
    of = every(asks, times)
    return "" if of is None else f"Of {times} equal calls one in {of} was wrong, each time. "


def _in_some_calls(front_end: FrontEnd, failed: Sequence[str]) -> Diagnosis | None:
    """Return the diagnosis of what is wrong in some calls alone, whatever they ask for.

    None if none is found: many equal calls are made, and, where a case with threads has failed,
    calls in new threads.
    """
    if not failed:
        return None
    able = front_end.capabilities
    recipe = _signal("noise_ramp", max(640, able.multiple_of), seed=920)
    request = Request(recipe, n_mels=able.n_mels[0]).of_model(able)
    if request.lacking(able) is not None:
        return None
    often = _how_often(front_end, request)
    if often:
        cause = f"What is wrong comes and goes. {often}Something counts the calls."
        return Diagnosis([], cause, fix=_fixes("sometimes-wrong"))
    if any(case.startswith("concurrency/") for case in failed) and able.in_process:
        return _in_new_threads(front_end, request)
    return None


_THREADS = 3


def _in_new_threads(front_end: FrontEnd, request: Request) -> Diagnosis | None:
    """Return the diagnosis of what is wrong in the first call of each thread; None if it is not.

    Calls of a thread that differ are told apart in the order in which they first occur.
    """
    call = {"audio": request.audio(), **request.options()}
    try:
        outputs = front_end.perform("in_threads", calls=[call] * _THREADS, times=4, patience=4.0)
    except (Failure, Refused):
        return None
    right = [
        [Answer("", call["audio"], request.spec(), y).score <= CLASS_B for y in of_thread]
        for of_thread in outputs
    ]
    if any(of_thread != [False, True] for of_thread in right):
        return None
    cause = (
        f"The first call of a thread is wrong: in each of {_THREADS} new threads; later calls "
        "there are right."
    )
    return Diagnosis([], cause, fix=_fixes("thread-first-call-wrong"))


def _refusals(answers: Sequence[Answer]) -> list[str]:
    """Give a sentence for each reason why there are no features."""
    clips: dict[str, list[str]] = {}
    for answer in answers:
        if answer.features is None and answer.error:
            reason = _NUMBERS.sub("N", answer.error)
            clips.setdefault(reason, []).append(answer.name)
    return [
        f"It gives no features for the clips {', '.join(f'“{name}”' for name in names)}: {reason}."
        for reason, names in clips.items()
    ]


_NUMBERS = re.compile(r"\d{3,}")


def _shown_by(failed: Sequence[str]) -> list[str]:
    """Say what failed cases mean when the clips of the diagnosis show nothing."""
    if not failed:
        return []
    families = dict.fromkeys(case.split("/")[0] for case in failed)
    means = "; ".join(f"{FAMILIES[family].failure} ({family})" for family in families)
    return [f"What its failures mean: {means}. The first one is {failed[0]}."]


def _degenerate(answer: Answer) -> str:
    """Say that features have nothing to do with the audio; empty if they have."""
    values = answer.actual
    assert values is not None
    if values.size == 0:
        return f"Its features are empty, of shape {values.shape[1:]}."
    if not np.isfinite(values).any():
        return "None of its features is finite."
    if values.min() == values.max() and answer.expected.min() != answer.expected.max():
        return f"All its features are {values.min():g}: nothing was computed, or nothing written."
    return ""


def _ask(front_end: FrontEnd, name: str, request: Request) -> Answer:
    audio, spec = request.audio(), request.spec()
    try:
        return Answer(name, audio, spec, front_end.call(audio, **request.options()))
    except Unsupported:
        return Answer(name, audio, spec, None)
    except (Failure, Refused) as error:
        return Answer(name, audio, spec, None, str(error))


def _fitted(explained: Explained, worst: Answer) -> str:
    """Return a sentence about how well the reference with the stage that was found agrees."""
    return (
        f"With this {explained.free.stage}, which was fitted to other clips, the reference's "
        f"output agrees on all {explained.n} clips that were tried: {explained.score:.2g} of the "
        f"bound, {_without(worst)} without."
    )


def _cause(explanation: Explanation) -> str:
    """Return a line for each fault."""
    return "\n".join(f"{variant.quirk.mechanism} [{variant}]" for variant in explanation.variants)


def _alternatives(explanations: Sequence[Explanation]) -> list[str]:
    """Return a sentence for each further explanation."""
    return [
        " ".join(["Or, which its features cannot tell apart:", *_cause(e).splitlines(), ""])
        + " ".join(f"Fix: {variant.quirk.fix}" for variant in e.variants)
        for e in explanations[1:4]
    ]


def _agreement(
    explanation: Explanation,
    worst: Answer,
    failed: Sequence[str],
    model: Mapping[str, Any] | None,
) -> str:
    """Return a sentence about how well the reference with these faults agrees."""
    tried = _tried_again(explanation, failed, model)
    sentence = (
        f"With {_THIS[len(explanation.variants) > 1]} put into the reference its output agrees: "
        f"{explanation.score:.2g} of the bound, {_without(worst)} without."
    )
    if not tried:
        return sentence
    if len(failed) == 1 and all(tried):
        return f"{sentence} The reference with it fails the same case."
    which = f"all {len(tried)}" if all(tried) else f"{sum(tried)} of {len(tried)}"
    of = "" if len(tried) == len(failed) else f", of {len(failed)} in all"
    return f"{sentence} The reference with it fails {which} failing cases that were tried{of}."


_THIS = {False: "this", True: "these"}


def _without(answer: Answer) -> str:
    """Return how far an answer is from the reference, in words where no number says it."""
    if answer.actual is None or answer.actual.shape != answer.expected.shape:
        return "another number of frames"
    return _times(answer.score) if math.isfinite(answer.score) else "values that are not finite"


def _times(score: float) -> str:
    return f"{score:,.0f}" if 100 <= score < 1e15 else f"{score:.3g}"


_TRIED = 3  # failing cases of each family that are tried again


def _tried_again(
    explanation: Explanation, failed: Sequence[str], model: Mapping[str, Any] | None
) -> list[bool]:
    """Return of some failing cases whether the reference with the explanation's faults fails them.

    They are taken from all families, without those that measure, drawn ones, and those that fork:
    BLAS's locks, which other threads of this process hold, would never be released.
    """
    faulty = QuirkyFrontEnd([variant.variation for variant in explanation.variants], "faulty")
    front_end = InProcess(inspect_front_end(faulty, "faulty", model))
    outcomes: dict[str, list[bool]] = {}
    for case in map(find, failed):
        of_family = outcomes.setdefault(case.family, [])
        check = CHECKS[case.check]
        if isinstance(case, Property) or check.alone or "forks" in case.claims:
            continue
        if len(of_family) == _TRIED:
            continue
        if case.beyond(front_end.capabilities) is not None:
            continue
        try:
            check(front_end, **case.arguments)
            of_family.append(False)
        except Unsupported:
            continue
        except (Failure, Refused):
            of_family.append(True)
    return [outcome for of_family in outcomes.values() for outcome in of_family]


# --------------------------------------------------------------------------- not explained


def _located(wrong: Sequence[Answer]) -> str:
    """Say on which clips, in which frames and bands values are off."""
    answer = wrong[0]
    assert answer.actual is not None
    names = ", ".join(f"“{a.name}”" for a in wrong)
    if answer.actual.shape != answer.expected.shape:
        return (
            f"On {names} values or shapes are off; on “{answer.name}” it gives shape "
            f"{answer.actual.shape[1:]} where {answer.expected.shape[1:]} is expected."
        )
    off = _off(answer)
    bands, frames = np.flatnonzero(off.any(axis=1)), np.flatnonzero(off.any(axis=0))
    return (
        f"Values are off on {names}; on “{answer.name}” {off.sum()} of {off.size}: frames "
        f"{_runs(frames)} of {off.shape[1]}, bands {_runs(bands)} of {off.shape[0]}"
        f"{_only(answer, off)}; score {answer.score:.3g}."
    )


def _off(answer: Answer) -> Array:
    """Return which features are off, in any of the clips: shape ``(bands, frames)``."""
    assert answer.actual is not None
    with np.errstate(invalid="ignore"):
        right = np.abs(answer.actual - answer.expected) <= CLASS_B * answer.bound
    return np.asarray(~right.all(axis=0))


def _only_place(wrong: Sequence[Answer]) -> str:
    """Name the frames or bands that are off alone, the same in all answers, with a verb; empty if
    there are none, or too few answers to tell."""
    alike = [a for a in wrong if a.actual is not None and a.actual.shape == a.expected.shape]
    if not len(alike) == len(wrong) >= _TELLING:
        return ""
    masks = [_off(answer) for answer in wrong]
    frames = [np.flatnonzero(off.any(axis=0)).tolist() for off in masks]
    each = [*zip(frames, (off.shape[1] for off in masks), strict=True)]
    first, k = frames[0][0], len(frames[0])
    step = frames[0][1] - first if k > 1 else 0
    if all(of == [*range(n - k, n)] for of, n in each):
        return "the last frame is" if k == 1 else f"the last {k} frames are"
    if all(of == [*range(k)] for of in frames):
        return "the first frame is" if k == 1 else f"the first {k} frames are"
    if first and all(of == [*range(first, n)] for of, n in each):
        return f"frames from {first} on are"
    if step > 1 and all(of == [*range(first, n, step)] for of, n in each):
        return f"one frame in {step}, from {first} on, is"
    bands = [np.flatnonzero(off.any(axis=1)).tolist() for off in masks]
    if all(of == bands[0] for of in bands) and len(bands[0]) < min(map(len, masks)):
        return f"bands {_runs(np.array(bands[0]))} are"
    return ""


_TELLING = 3  # answers whose wrong values lie in one place alone tell that it is there


def _only(answer: Answer, off: Array) -> str:
    """Say what all values that are off have in common, if it is something; begins with a comma."""
    if answer.audio.ndim != 1 or answer.spec.pad_to is not None or answer.spec.smoothing:
        return ""
    n_frames = off.shape[1]
    if not off[:, 2 : n_frames - 2].any():
        return ", all in frames that reach beyond the clip"
    seen = stages(answer.audio, answer.spec)
    clamped = np.less(seen["log"], seen["clamped"])
    if clamped.any() and not off[~clamped].any():
        return ", all of them values that the clip's maximum raises"
    at_floor = np.less_equal(seen["mel"], answer.spec.floor)
    if at_floor.any() and not off[~at_floor].any():
        return ", all of them at the floor"
    return ""


def _runs(indices: Array) -> str:
    """``0-3, 7, 9-12``."""
    if not indices.size:
        return "none"
    breaks = np.flatnonzero(np.diff(indices) > 1)
    starts = indices[np.r_[0, breaks + 1]]
    ends = indices[np.r_[breaks, indices.size - 1]]
    runs = [f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True)]
    return ", ".join(runs[:6]) + (" …" if len(runs) > 6 else "")
