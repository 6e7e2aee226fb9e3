"""Golden: openai-whisper's own features, and those of Voxtral Realtime's extractor."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from whisper_mel_golden import golden_cases, voxtral
from whisper_mel_golden.cases import GoldenCase

from whisper_mel_conformance.cases.case import Case, Family
from whisper_mel_conformance.cases.check import check, judge
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Unsupported


@lru_cache(maxsize=1)
def _goldens() -> dict[str, GoldenCase]:
    return {case.id: case for case in (*golden_cases(), *voxtral.cases())}


def _request(case: str) -> Request:
    given = _goldens()[case]
    return Request(
        given.recipe,
        n_mels=given.n_mels,
        pad_to=given.pad_to,
        smoothing=given.smoothing,
        maximum=None if given.maximum == "clip" else given.maximum,
    )


@check(lambda case: [_request(case)])
def golden(front_end: FrontEnd, case: str) -> float:
    """Require openai-whisper's own features."""
    given, request = _goldens()[case], _request(case)
    if request.of_model(front_end.capabilities) != request:
        raise Unsupported("openai-whisper's own features are not those of that model")
    audio = given.audio()
    return judge(
        front_end,
        front_end.call(audio, **request.options()),
        audio,
        request.spec(),
        golden=given.expected(),
        golden_score=given.score,
    )


def _cases(_profile: str) -> Iterator[Case]:
    for name in _goldens():
        yield Case(name, "golden", {"case": name})


GOLDEN = Family("golden", "openai-whisper computes something else", _cases)
