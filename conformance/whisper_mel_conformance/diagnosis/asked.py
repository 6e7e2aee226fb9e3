"""The calls that a front-end was asked for, which of them are wrong, and what those may share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from whisper_mel_reference import CLASS_B
from whisper_mel_reference.pipeline import split_clips

from whisper_mel_conformance.cases.judging import truth
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis.answer import Answer
from whisper_mel_conformance.diagnosis.requests import dtype_of, samples, size
from whisper_mel_conformance.frontend.load import Capabilities

LONG = 60_000
"""Samples of a clip of which few are asked for."""

_LONG_CALLS = 3  # of longer clips that are asked again

_ASKED_AGAIN = 600_000  # samples, together, of calls of failed cases that are made again


@dataclass(frozen=True, eq=False)
class Part:
    """One property that calls must have.

    ``words`` follow "It is wrong". ``holds`` says whether a request has it; ``put`` returns a
    request that has it, and is the given one otherwise as far as that is possible.
    """

    words: str
    holds: Callable[[Request], bool]
    put: Callable[[Request], Request]


class Asked:
    """The calls that a front-end was asked for, and which of them are wrong."""

    def __init__(self, ask: Callable[[str, Request], Answer], able: Capabilities) -> None:
        self._ask = ask
        self.able = able
        self.calls: list[tuple[Request, bool]] = []
        self._known: dict[str, bool | None] = {}

    def note(self, request: Request, answer: Answer) -> bool | None:
        """Note whether an answer is wrong; None if the front-end does not support the request."""
        is_wrong = None
        if answer.actual is not None or answer.error:
            is_wrong = not answer.score <= CLASS_B
            self.calls.append((request, is_wrong))
        self._known[repr(request)] = is_wrong
        return is_wrong

    def is_wrong(self, request: Request) -> bool | None:
        """Ask for features, unless that was done; None where they are not supported."""
        if repr(request) not in self._known:
            if not self.can_ask(request):
                return None
            return self.note(request, self._ask("", request))
        return self._known[repr(request)]

    def can_ask(self, request: Request) -> bool:
        """Return whether the front-end claims to support a request, and the reference knows its
        features: it refuses neither samples nor their number. Guarded memory is left out, which
        ends the process that reads beyond it."""
        if request.lacking(self.able) is not None or request.layout.startswith("guard-"):
            return False
        try:
            # Of what is asked for then, this is kept.
            for clip in split_clips(request.audio(), None)[0]:
                truth(clip, request.spec())
        except (TypeError, ValueError):
            return False
        return True

    def ask_again(self, requests: Sequence[Request]) -> None:
        """Ask for the clips of cases that failed, short ones first, until one is wrong."""
        by_size = sorted({repr(it): it for it in requests}.values(), key=size)
        short = [it for it in by_size if size(it) <= LONG]
        while sum(map(size, short)) > _ASKED_AGAIN:
            short.pop()
        for request in (*short, *[it for it in by_size if size(it) > LONG][:_LONG_CALLS]):
            if self.is_wrong(request):
                return

    @property
    def witness(self) -> Request | None:
        """The plainest and shortest call that is wrong; None if none is."""
        wrong = [request for request, is_wrong in self.calls if is_wrong]
        return min(wrong, key=_plainness, default=None)


def _plainness(request: Request) -> tuple[int, int]:
    options = (request.recipe is None, request.layout != "plain", dtype_of(request) != "float32")
    more = (request.threads, request.smoothing, request.pad_to, request.maximum, request.dtype)
    return sum(options) + sum(it is not None for it in more), samples(request)


Found = tuple["Part | None", Request]
"""A property that wrong calls have, if there is one, and a wrong call to go on with."""

Finder = Callable[[Asked, Request], Found]
