"""What depends on other calls: equal ones that differ, results of earlier ones, new threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from whisper_mel_reference import CLASS_B

from whisper_mel_conformance.cases.recipes import signal
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis.answer import Answer
from whisper_mel_conformance.diagnosis.clips import ask
from whisper_mel_conformance.diagnosis.outcome import Diagnosis, fixes
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Refused


def of_another_call(given: Sequence[Answer]) -> str:
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


def differing(front_end: FrontEnd, request: Request, first: Answer) -> str:
    """Say how the answers to two equal calls differ; empty if they do not."""
    again = ask(front_end, first.name, request)
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


AGAIN = 2  # times, one after the other: once, every n-th call may be the one that is wrong

_CALLS = 160  # equal calls, of which some may be wrong

_CALLS_OF_PROGRAMS = 12


def every(asks: Callable[[], bool], times: int) -> int | None:
    """Return the number of calls of which one is wrong, always; None if they are not so, or if all
    are wrong.

    ``asks`` makes the same call again, and says whether it is wrong.
    """
    wrong = [i for i in range(times) if asks()]
    apart = set(np.diff(wrong).tolist())
    if len(wrong) < 3 or len(apart) > 1 or apart == {1}:
        return None
    return int(apart.pop())


def _how_often(front_end: FrontEnd, request: Request) -> str:
    """Say which of many equal calls are wrong, if they follow each other evenly; else nothing."""

    def asks() -> bool:
        return not ask(front_end, "", request).score <= CLASS_B

    times = _CALLS_OF_PROGRAMS if front_end.capabilities.process_per_call else _CALLS
    of = every(asks, times)
    return "" if of is None else f"Of {times} equal calls one in {of} was wrong, each time. "


def in_some_calls(front_end: FrontEnd, failed: Sequence[str]) -> Diagnosis | None:
    """Return the diagnosis of what is wrong in some calls alone, whatever they ask for.

    None if none is found: many equal calls are made, and, where a case with threads has failed,
    calls in new threads.
    """
    if not failed:
        return None
    able = front_end.capabilities
    recipe = signal("noise_ramp", max(640, able.multiple_of), seed=920)
    request = Request(recipe, n_mels=able.n_mels[0]).of_model(able)
    if request.lacking(able) is not None:
        return None
    often = _how_often(front_end, request)
    if often:
        cause = f"What is wrong comes and goes. {often}Something counts the calls."
        return Diagnosis([], cause, fix=fixes("sometimes-wrong"))
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
    return Diagnosis([], cause, fix=fixes("thread-first-call-wrong"))
