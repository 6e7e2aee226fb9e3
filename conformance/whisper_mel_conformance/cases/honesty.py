"""Honesty: results that were not computed, or not from this clip, not yet, not as well."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from whisper_mel_conformance.cases.case import BANDS, Case, Family, both
from whisper_mel_conformance.cases.check import Remark, check, judge, judge_request
from whisper_mel_conformance.cases.properties import Property
from whisper_mel_conformance.cases.recipes import SECOND, noise, rising, signal
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.frontend.client import THREAD_SETTINGS, FrontEnd
from whisper_mel_conformance.frontend.errors import Unsupported
from whisper_mel_conformance.frontend.load import peers, registered


@check(threads=THREAD_SETTINGS)
def finished(front_end: FrontEnd, request: Request) -> float:
    """Require the features at once when the call returns, and for good."""
    audio = request.audio()
    actual = front_end.perform("call_finished", audio=audio, **request.options())
    return judge(front_end, actual, audio, request.spec())


@check(lambda calls: calls[:1])
def taken(front_end: FrontEnd, calls: Sequence[Request]) -> float:
    """Require that a front-end which declines one clip declines them all."""
    able = [call for call in calls if call.lacking(front_end.capabilities) is None]
    scores = []
    for call in able:
        with contextlib.suppress(Unsupported):
            scores.append(judge_request(front_end, call))
    if not scores:
        raise Unsupported(f"declines all of {len(able)} clips")
    return max(scores)


@check()
def imported(front_end: FrontEnd, request: Request) -> None:
    """Say which packages that compute such features are loaded beside the front-end's own."""
    found = front_end.perform("imports", audio=request.audio(), **request.options())
    source = front_end.source
    entry = registered().get(source)
    own = (source if entry is None else entry.module).partition(".")[0].partition(":")[0]
    others = [
        name
        for name in found
        if name != own and (name == "whisper_mel_reference" or source not in peers())
    ]
    if others:
        raise Remark(f"has imported {', '.join(others)}: are the features its own?")


def _cases(_profile: str) -> Iterator[Case]:
    # No package holds its clips: they are drawn anew in every run.
    yield Property("honesty/fresh-clips", "scored", {}, drawn="clip", largest=12_000, is_fresh=True)
    for n in (400, 5 * SECOND):
        yield from both(f"honesty/finished-{n}", "finished", recipe=rising(n, 171))
    arguments = {"recipe": rising(4077, 172), "memory": "canaries", "times": 3}
    yield from both("honesty/out-written-again", "into_out", ("out",), **arguments)
    for n_mels in BANDS:
        for name, recipes in (("level", _levels()), ("values", _values())):
            calls = [{"recipe": recipe, "n_mels": n_mels} for recipe in recipes]
            yield Case(f"honesty/any-{name}/{n_mels}", "sequence", {"calls": calls})
    for name, more in (("", {}), ("-padded", {"pad_to": 30 * SECOND})):
        calls = [{"recipe": recipe, **more} for recipe in _every_kind()]
        yield Case(f"honesty/every-clip-taken{name}", "taken", {"calls": calls})
    yield Case("honesty/imports", "imported", {"recipe": rising(400, 173)}, ("same_process",))


def _every_kind() -> list[dict[str, Any]]:
    """Return clips of many lengths, levels and signals."""
    lengths = (201, 320, 400, 401, 480, 800, 1000, 1600, 4000, 8000, 12_345, SECOND, 5 * SECOND)
    return [
        *(rising(n, 220 + n) for n in (*lengths, 30 * SECOND)),
        *(noise(4000, 221, gain) for gain in (1e-5, 1e-3, 1.0, 30.0, 32_768.0)),
        *(signal(name, 4000) for name in ("silence", "dc", "square", "click", "chirp")),
    ]


def _levels() -> list[dict[str, Any]]:
    """Return clips of every level from 2^-14 to 2^15, so that no level is computed less well."""
    return [rising(561, 174 + k, gain=2.0**k, start_db=-40.0, stop_db=0.0) for k in range(-14, 16)]


def _values() -> list[dict[str, Any]]:
    """Return clips whose values invite to fewer bits: few different ones, zeros, one sign."""
    return [
        noise(800, 210, gain=1.0, whole=4),
        noise(800, 211, gain=1.0, whole=128),
        noise(800, 212, gain=0.5, whole=32_768),
        noise(800, 213, gain=0.5, keep=[300, 420]),
        noise(800, 214, gain=0.5, order="sorted"),
        signal("square", 800, frequency=500.0),
        signal("tone", 800, frequency=1000.0, gain=0.25),
        signal("ramp", 800),
        signal("click", 800, at=333),
    ]


HONESTY = Family(
    "honesty", "a result was not computed, or not from this clip, or not in time", _cases
)
