"""What a failing front-end most likely does: the quirk or the pair of quirks that explains it.

It is asked for the features of a few clips, which show together what single ones hide, and its
answers are compared with the catalogue's. What that does not explain is explained by one stage left
free, if any explains it, or by too little precision; else where values are off is all that is said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from whisper_mel_reference import CLASS_B

from whisper_mel_conformance.cases.catalogue import CHECKS, FAMILIES, find
from whisper_mel_conformance.cases.properties import Property
from whisper_mel_conformance.cases.recipes import signal
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis.answer import Answer, Model
from whisper_mel_conformance.diagnosis.asked import LONG, Asked
from whisper_mel_conformance.diagnosis.causes import Causes
from whisper_mel_conformance.diagnosis.clips import ask, clips
from whisper_mel_conformance.diagnosis.condition import Condition, ask_around, find_condition
from whisper_mel_conformance.diagnosis.long_clips import of_30_seconds
from whisper_mel_conformance.diagnosis.outcome import Diagnosis, fixes
from whisper_mel_conformance.diagnosis.repeated import (
    AGAIN,
    differing,
    in_some_calls,
    of_another_call,
)
from whisper_mel_conformance.diagnosis.requests import samples
from whisper_mel_conformance.diagnosis.search import Explanation
from whisper_mel_conformance.diagnosis.suspects import Suspect, alike, faults_of, suspects
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.load import Capabilities


def diagnose(
    front_end: FrontEnd, chosen: Mapping[str, Request] | None = None, failed: Sequence[str] = ()
) -> Diagnosis:
    """Ask a front-end for the features of some clips, and explain them.

    ``failed`` are the ids of the cases that it fails: what they have in common is said where its
    features are right.
    """
    asked = clips(front_end.capabilities) if chosen is None else chosen
    answers = [ask(front_end, name, request) for name, request in asked.items()]
    given = [answer for answer in answers if answer.features is not None]
    if not given and not any(answer.error for answer in answers) and chosen is None:
        # Nothing is supported: some take only clips that are filled up to 30 s.
        some = [name for name in asked if name in ("loud", "quiet", "128 bands")]
        asked = {name: replace(asked[name], pad_to=480_000) for name in some}
        answers = [ask(front_end, name, request) for name, request in asked.items()]
        given = [answer for answer in answers if answer.features is not None]
    if not given:
        whys = [answer.error for answer in answers if answer.error]
        why = whys[0] if whys else "it supports none of the clips of the diagnosis"
        return Diagnosis([], f"It gives no features at all: {why}.")
    wrong = [answer for answer in given if not answer.score <= CLASS_B]
    sentence = of_another_call(given)
    if sentence:
        return Diagnosis([], sentence, fix=fixes("cached-by-beginning"), shown=given[0])
    for answer in [given[0], *(a for a in wrong for _ in range(AGAIN))]:
        sentence = differing(front_end, asked[answer.name], answer)
        if sentence:
            return Diagnosis([], sentence, fix=fixes("sometimes-wrong"), shown=answer)
    degenerate = _degenerate(given[0])
    if degenerate:
        return Diagnosis([], degenerate, fix=fixes("all-zero"), shown=given[0])
    refusals = _refusals(answers)
    calls = Asked(partial(ask, front_end), front_end.capabilities)
    for answer in answers:
        calls.note(asked[answer.name], answer)
    if not wrong:
        calls.ask_again(_asked_by(failed, front_end.capabilities))
        ask_around(calls)
        found = of_30_seconds(front_end, failed) or _under_a_condition(
            front_end, asked, calls, failed, with_pairs=not faults_of(failed)
        )
        found = found or in_some_calls(front_end, failed)
        # Features that nothing explains are no better evidence than the cases of a fault.
        if found is None or not (found.kinds or found.fix):
            named = [] if refusals else suspects(front_end, failed)
            if named and calls.witness is not None:
                named = alike(front_end, named, calls.witness)
            if named or found is None:
                condition = None if found is None else found.condition
                return right_here(given, failed, refusals, named, condition)
        return found
    causes = Causes(front_end, asked, given, failed)
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
        recipe = signal("noise_ramp", n, seed=935)
        request = Request(recipe, n_mels=able.n_mels[0]).of_model(able)
        if request.lacking(able) is None:
            answer = ask(front_end, f"{n} samples", request)
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
        ask(front_end, name, request)
        for name, request in requests.items()
        if calls.can_ask(request)
    ]
    given = [answer for answer in answers if answer.actual is not None]
    wrong = [answer for answer in given if not answer.score <= CLASS_B]
    if not wrong:
        whys = [answer.error for answer in answers if answer.error]
        cause = f"It gives no features: {whys[0]}." if whys else "Nothing known explains it."
        return Diagnosis([], cause, [condition.sentence], condition=condition)
    if not len(wrong) >= _PART * len(given):
        return None  # it is wrong by what a clip holds
    # What is right there tells faults apart, unless the condition is a little too wide.
    found = None
    if len(given) > len(wrong):
        found = Causes(front_end, requests, given, failed, condition).simple()
    causes = Causes(front_end, requests, wrong, failed, condition)
    return (
        found
        or causes.simple()
        or (causes.combined() if with_pairs else None)
        or causes.unexplained()
    )


_PART = 0.25
"""Part of the clips that must be wrong under a condition."""

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


def right_here(
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
    means = _meaning(failed)
    shown_by = [f"What its failures mean: {means}"] if means else []
    if refusals:
        return Diagnosis([], " ".join(refusals), [right, *shown_by])
    if not named:
        cause, *evidence = [means[0].upper() + means[1:], right] if means else [right]
        return Diagnosis([], cause, evidence)
    cause, *others = (f"{it.quirk.mechanism} [{it.quirk.id}]" for it in named)
    if others:
        cause = f"One of {len(named)}, which its cases cannot tell apart: {cause}"
    elif not named[0].is_sure:
        cause = f"Perhaps: {cause}"
    cause = "\n".join([cause, *others])
    cases = [suspect.evidence for suspect in named]
    where = [] if condition is None else [condition.sentence]
    fix = [suspect.quirk.fix for suspect in named]
    evidence = [*cases, *where, right, *shown_by]
    return Diagnosis([], cause, evidence, fix, condition=condition)


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


def _meaning(failed: Sequence[str]) -> str:
    """Say what failed cases mean, by their families; empty without any."""
    if not failed:
        return ""
    families = dict.fromkeys(case.split("/")[0] for case in failed)
    means = "; ".join(f"{FAMILIES[family].failure} ({family})" for family in families)
    return f"{means}. The first case that shows it is {failed[0]}."


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
