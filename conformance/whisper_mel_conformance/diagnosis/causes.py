"""The cause of wrong answers: quirks, a stage left free, too little precision, or none of these."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
from whisper_mel_reference import CLASS_B, WHISPER

from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis.answer import Answer
from whisper_mel_conformance.diagnosis.clips import SPEECH, SPOKEN, ask
from whisper_mel_conformance.diagnosis.condition import Condition
from whisper_mel_conformance.diagnosis.curve import free_curve
from whisper_mel_conformance.diagnosis.free import Explained, Fit, explain_by, learn
from whisper_mel_conformance.diagnosis.linear import free_input, free_window
from whisper_mel_conformance.diagnosis.outcome import Diagnosis, fixes, fixes_of
from whisper_mel_conformance.diagnosis.places import located, only_place
from whisper_mel_conformance.diagnosis.positions import free_positions
from whisper_mel_conformance.diagnosis.precision import Imprecise, imprecise
from whisper_mel_conformance.diagnosis.search import Explanation, Search
from whisper_mel_conformance.diagnosis.values import option_of
from whisper_mel_conformance.diagnosis.variants import path_quirks
from whisper_mel_conformance.diagnosis.weights import free_bank, may_be_slightly_off
from whisper_mel_conformance.diagnosis.words import (
    THIS,
    agreement_of,
    alternatives,
    causes_of,
    how_fitted,
)
from whisper_mel_conformance.frontend.client import FrontEnd


class Causes:
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
        agreement = agreement_of(best, self._worst, self._failed, self._model)
        names = ", ".join(f"“{answer.name}”" for answer in best.but)
        return self._of_quirks(
            best,
            [best],
            causes_of(best),
            f"This explains all clips of the diagnosis but {names}: {words} something else is "
            "wrong, besides.",
            *(agreement, located(best.but)),
        )

    def _in_part(self) -> Diagnosis | None:
        """Return the diagnosis of quirks that explain a good part of the values, not all."""
        found = self._search.peeled()
        if found is None:
            return None
        variants, part, before = found
        them = THIS[len(variants) > 1]
        best = Explanation(variants, math.inf)
        return self._of_quirks(
            best,
            [],
            f"{causes_of(best)}\nSomething else is wrong besides, which nothing known explains.",
            f"With {them} put into the reference {_percent(part)} of its output agrees up to "
            f"roundings, {_percent(before)} without.",
            *(self._tried(), located(self._wrong)),
        )

    def _tried(self) -> str:
        """Say what was tried in vain, and how to go on."""
        counts = [
            f"{self._search.tried[n]:,} {words} of them"
            for n, words in ((2, "pairs"), (3, "threes"), (4, "fours"))
            if self._search.tried[n]
        ]
        tried = [
            f"each of the {len(path_quirks())} faults of the signal path that are known",
            *counts,
            f"{len(FITS)} stages, each left free",
            "too little precision",
        ]
        return (
            f"Tried in vain: {', '.join(tried)}. To find the stage, compare yours with the "
            "reference's on one clip: `whisper_mel_reference.stages(audio)` returns its frames, "
            "spectrum, mel powers and logarithms."
        )

    def unexplained(self) -> Diagnosis:
        """Return the diagnosis that says where values are off, and what was tried."""
        place = only_place(self._wrong)
        if place:
            cause = f"Of its features only {place} off, in every clip that is wrong."
            if self._condition is not None:
                cause = f"It is wrong {self._condition.words} only, and there only {place} off."
            fix = fixes("last-frame-off") if place.startswith("the last") else []
            return self._of([], cause, located(self._wrong), fix=fix)
        cause = "Nothing known explains its features."
        if self._condition is not None:
            cause = f"It is wrong {self._condition.words} only, and nothing known explains how."
        return self._of([], cause, located(self._wrong), self._tried())

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
            [*([] if self._condition is None else [self._condition.sentence]), *evidence],
            list(fix),
            self._shown,
            frozenset(kinds),
            self._condition,
        )

    def _of_quirks(
        self, named: Explanation, explanations: list[Explanation], cause: str, *evidence: str
    ) -> Diagnosis:
        """Return the diagnosis that names these quirks, with their fixes and kinds."""
        kinds = (variant.quirk.kind for variant in named.variants)
        fix = fixes_of(named.variants)
        return self._of(explanations, cause, *evidence, fix=fix, kinds=kinds)

    def _explained(self, explanations: list[Explanation]) -> Diagnosis:
        best = explanations[0]
        agreement = agreement_of(best, self._worst, self._failed, self._model)
        evidence = (agreement, *alternatives(explanations))
        return self._of_quirks(best, explanations, causes_of(best), *evidence)

    def _fitted(self, fits: Sequence[Fit]) -> Diagnosis | None:
        explained = self._freed.by(fits)
        if explained is None:
            return None
        free = explained.free
        shown = (free.shown, how_fitted(explained, self._worst))
        return self._of([], free.cause, *shown, fix=[free.fix], kinds=[free.kind])

    def _noisy(self) -> Diagnosis | None:
        noise = self._freed.noise()
        if noise is None:
            return None
        evidence = (noise.shown, located(self._wrong))
        return self._of([], noise.cause, *evidence, fix=[_PRECISE], kinds=noise.kinds)


def _percent(part: float) -> str:
    """Return a part in percent, rounded down but for what is within a millionth: not all is all."""
    return f"{math.floor(100 * part + 1e-6)}%"


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
            lambda name, request: ask(self._front_end, name, self._put(request)),
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


def _speech(front_end: FrontEnd, worst: Answer, put: Put) -> Answer:
    """Return the front-end's answer to real speech, or ``worst`` if that shows nothing."""
    plain = Request(SPOKEN, n_mels=worst.spec.n_mels).of_model(front_end.capabilities)
    request = put(plain)
    if request.lacking(front_end.capabilities) is not None:
        return worst
    answer = ask(front_end, SPEECH, request)
    return worst if answer.features is None or answer.score <= CLASS_B else answer
