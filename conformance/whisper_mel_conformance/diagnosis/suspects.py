"""Which faults that are no variation of the signal path a front-end may have: of streams, threads,
buffers, state, errors.

The cases that it fails name some of the catalogue. Which of those it is most like is asked where
that takes milliseconds: the front-end and the catalogue's are put the same questions, and answer
them right or wrong alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from whisper_mel_reference import CLASS_B

from whisper_mel_conformance import quirks
from whisper_mel_conformance.cases.case import Case
from whisper_mel_conformance.cases.catalogue import CHECKS, find
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis.answer import Answer
from whisper_mel_conformance.diagnosis.clips import ask
from whisper_mel_conformance.diagnosis.requests import size
from whisper_mel_conformance.diagnosis.tried import can_be_tried, passes
from whisper_mel_conformance.frontend.client import FrontEnd, InProcess
from whisper_mel_conformance.frontend.load import inspect_front_end
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_conformance.quirks.quirk import Quirk

_NAMED = 3  # faults that are named at once, at most
_PURE = ("stream", "lengths", "half", "maximum")
"""Families whose faults do nothing but compute: the catalogue's are asked in this process."""
_LONGEST = 100_000  # samples of a case that is asked
_ALIKE = 0.8  # part of the cases in which a fault must do as the front-end does


@dataclass(frozen=True)
class Suspect:
    """A fault that a front-end may have, and in words how that is known.

    ``is_sure`` if the front-end answered questions as the fault does, not only fails its case.
    """

    quirk: Quirk
    evidence: str
    is_sure: bool = False


def faults_of(failed: Sequence[str]) -> list[Quirk]:
    """Return the faults that are no variation of the path and whose own case is among these."""
    return [it for it in CATALOGUE.values() if it.vary is None and it.killer in failed]


def suspects(front_end: FrontEnd, failed: Sequence[str]) -> list[Suspect]:
    """Return the faults that a front-end may have by the cases that it fails, likeliest first.

    There are none if no case failed that is there for a fault of the catalogue, or if too many
    faults do as the front-end does.
    """
    named = faults_of(failed)
    if len(named) <= 1:
        return [Suspect(quirk, _by_its_case(quirk)) for quirk in named]
    pure = [quirk for quirk in named if _family(quirk) in _PURE]
    questions = _questions(pure)
    own = {case.id: False for case in questions if case.id in failed}
    own |= _answers(front_end, [case for case in questions if case.id not in own])
    alike = {}
    for quirk in pure:
        another = InProcess(inspect_front_end(quirk.make(), quirk.id))
        answers = _answers(another, questions)
        alike[quirk] = sum(own.get(id) == is_right for id, is_right in answers.items())
    most = max(alike.values(), default=0)
    if own and most >= _ALIKE * len(own):
        best = [quirk for quirk in alike if alike[quirk] == most]
        wrong = sum(not is_right for is_right in own.values())
        of = f"Of {len(own)} cases it fails {wrong}"
        like = "as this does" if most == len(own) else f"and does as this in {most}"
        found = [Suspect(it, f"{_by_its_case(it)} {of}, {like}.", is_sure=True) for it in best]
    else:
        telling = [it for it in named if _is_telling(it.killer)]
        found = [Suspect(quirk, _by_its_case(quirk)) for quirk in telling]
    return found[:_NAMED]


def alike(front_end: FrontEnd, named: Sequence[Suspect], request: Request) -> list[Suspect]:
    """Return the suspects whose fault a front-end may have by its answer to one request."""
    own = ask(front_end, "", request)
    return [it for it in named if _may_give(own, it.quirk, request, front_end.timeout)]


def _may_give(own: Answer, quirk: Quirk, request: Request, timeout: float) -> bool:
    """Return whether a fault may give an answer: not if both are wrong, with different features.

    The fault is asked in a process of its own, which some end.
    """
    another = FrontEnd(f"{quirks.__name__}:{quirk.id}", timeout=timeout)
    try:
        other = ask(another, "", request)
    finally:
        another.stop()
    if own.actual is None or other.actual is None or own.score <= CLASS_B or other.score <= CLASS_B:
        return True
    if own.actual.shape != other.actual.shape:
        return False
    near = np.isclose(own.actual, other.actual, rtol=0, atol=CLASS_B * own.bound, equal_nan=True)
    return bool(near.all())


def _by_its_case(quirk: Quirk) -> str:
    return f"It fails {quirk.killer}, which is there for {quirk.id}."


def _family(quirk: Quirk) -> str:
    """Return the family of the case that is there for a fault."""
    return quirk.killer.split("/")[0]


def _is_telling(case: str) -> bool:
    """Return whether few faults are meant to fail a case."""
    return sum(quirk.killer == case for quirk in CATALOGUE.values()) <= 2


def _questions(named: Iterable[Quirk]) -> list[Case]:
    """Return the cases that tell faults apart: those that are there for one, of the same families.

    Those that measure or fork are left out, and long and drawn ones, which take long.
    """
    families = {_family(quirk) for quirk in named}
    ids = dict.fromkeys(q.killer for q in CATALOGUE.values() if _family(q) in families)
    return [case for case in map(find, ids) if can_be_tried(case) and _size(case) <= _LONGEST]


def _size(case: Case) -> int:
    """Return the number of samples of the clips that a case asks for."""
    return sum(map(size, CHECKS[case.check].requests(case.arguments)))


def _answers(front_end: FrontEnd, cases: Iterable[Case]) -> Mapping[str, bool]:
    """Return which cases a front-end passes, without those that it does not support."""
    found = {}
    for case in cases:
        if not front_end.given_up and (is_right := passes(front_end, case)) is not None:
            found[case.id] = is_right
    return found
