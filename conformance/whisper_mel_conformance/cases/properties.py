"""Cases whose arguments are drawn, by ``drawing.py``, and relations between features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from whisper_mel_reference import WHISPER

from whisper_mel_conformance.cases.case import Case, Family
from whisper_mel_conformance.cases.check import Arguments, check, judge
from whisper_mel_conformance.cases.judging import LIMITS, truth
from whisper_mel_conformance.cases.recipes import Array, length
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure

EXAMPLES = {"brief": 40, "quick": 40, "ci": 200, "nightly": 2000}


@dataclass(frozen=True)
class Property(Case):
    """A check whose arguments are drawn, for what a front-end can do.

    ``drawn`` names what is drawn, in ``drawing.STRATEGIES``. ``largest`` is the length of the
    longest clip. If ``is_fresh``, no seed of a run's is used: arguments are new in each.
    """

    drawn: str = ""
    largest: int = 0
    is_fresh: bool = False


PROPERTIES: tuple[Property, ...] = (
    Property("property/any-clip", "scored", {}, drawn="clip", largest=24_000),
    Property("property/any-options", "scored", {}, drawn="options", largest=16_000),
    Property("property/delay", "delay", {}, drawn="delay", largest=12_000),
    Property("property/gain", "gain", {}, drawn="gain", largest=12_000),
    Property("property/locality", "locality", {}, drawn="change", largest=12_000),
    Property("property/call-order", "sequence", {}, drawn="calls", largest=6000),
    Property("property/batch", "batch", {}, ("batch",), drawn="batch", largest=6000),
)


class Found(Exception):
    """An exception, and the arguments for which it was raised."""

    def __init__(self, error: Exception, arguments: Arguments) -> None:
        super().__init__(str(error))
        self.error = error
        self.arguments = arguments

    @property
    def is_hard(self) -> bool:
        return isinstance(self.error, Failure) and self.error.hard


# --------------------------------------------------------------------------- relations


def _delayed(request: Request, hops: int) -> list[Request]:
    assert request.recipe is not None
    return [request, request.of_length(length(request.recipe) + hops * WHISPER.hop)]


@check(_delayed)
def delay(front_end: FrontEnd, request: Request, hops: int) -> float:
    """Require that a delay by whole hops moves the frames that do not see the clip's ends."""
    audio = request.audio()
    later = np.concatenate([np.zeros(hops * WHISPER.hop, audio.dtype), audio])
    first, second, score = _of_both(front_end, request, audio, later)
    spec = request.spec()
    last = min(first.shape[1], second.shape[1] - hops) - 2
    inner, moved = slice(2, last), slice(2 + hops, last + hops)
    # Each clip has its own maximum: what both clamp differently is left out.
    bottom = max(first.max(), second.max()) - _SPAN
    a, b = first[:, inner], second[:, moved]
    allowed = truth(audio, spec).bound[:, inner] + truth(later, spec).bound[:, moved]
    _require_equal(front_end, a, b, allowed, (a > bottom + 0.01) & (b > bottom + 0.01), "delay")
    return score


@check()
def gain(front_end: FrontEnd, request: Request, octaves: int) -> float:
    """Require that a gain of a power of two adds a constant to every value that is not clamped."""
    audio = request.audio()
    louder = np.ldexp(audio, octaves)
    first, second, score = _of_both(front_end, request, audio, louder)
    spec = request.spec()
    step = 2.0 * octaves * np.log10(2.0) / WHISPER.divisor
    floor = (np.log10(WHISPER.floor) + WHISPER.offset) / WHISPER.divisor
    free = np.ones(first.shape, bool)
    for y in (first, second):
        top = (
            y.max()
            if isinstance(spec.maximum, str)
            else (spec.maximum + spec.offset) / spec.divisor
        )
        free &= (y > floor + 0.01) & (y > top - _SPAN + 0.01)
    allowed = truth(audio, spec).bound + truth(louder, spec).bound
    _require_equal(front_end, first + step, second, allowed, free, f"a gain of 2^{octaves}")
    return score


@check()
def locality(front_end: FrontEnd, request: Request, at: int) -> float:
    """Require that changed samples change the frames that they lie in, and no other."""
    audio = request.audio()
    changed = audio.copy()
    changed[at : at + WHISPER.hop] *= audio.dtype.type(0.5)
    first, second, score = _of_both(front_end, request, audio, changed)
    spec = request.spec()
    centres = np.arange(first.shape[1]) * WHISPER.hop
    apart = (centres + WHISPER.reach < at) | (centres - WHISPER.reach > at + WHISPER.hop)
    apart &= (centres >= WHISPER.reach) & (centres + WHISPER.reach < audio.size)
    bottom = max(first.max(), second.max()) - _SPAN
    free = apart & (first > bottom + 0.01) & (second > bottom + 0.01)
    allowed = truth(audio, spec).bound + truth(changed, spec).bound
    _require_equal(front_end, first, second, allowed, free, "a change elsewhere")
    return score


_SPAN = WHISPER.dynamic_range / WHISPER.divisor


def _of_both(
    front_end: FrontEnd, request: Request, audio: Array, changed: Array
) -> tuple[Array, Array, float]:
    """Return the features of two clips with one request's options, and the worse score."""
    first, second = (front_end.call(clip, **request.options()) for clip in (audio, changed))
    pairs = ((first, audio), (second, changed))
    return first, second, max(judge(front_end, y, clip, request.spec()) for y, clip in pairs)


def _require_equal(
    front_end: FrontEnd, first: Array, second: Array, allowed: Array, where: Array, what: str
) -> None:
    """Fail unless two outputs agree within their bounds, whatever the reference says."""
    limit = LIMITS[front_end.capabilities.required_class]
    excess = np.where(where, np.abs(first - second.astype(np.float64)) / allowed, 0.0)
    if not excess.max() <= limit:
        band, frame = np.unravel_index(int(np.argmax(excess)), excess.shape)
        raise Failure(
            f"{what} changes value[{band}, {frame}] from {first[band, frame]:.9g} to "
            f"{second[band, frame]:.9g}: expected a difference of at most "
            f"{limit * allowed[band, frame]:.3g}",
            score=float(excess.max()),
        )


def _cases(_profile: str) -> Iterator[Case]:
    yield from PROPERTIES


PROPERTY = Family(
    "property",
    "a drawn signal, length or order of calls is mishandled (the report has the smallest found)",
    _cases,
)
