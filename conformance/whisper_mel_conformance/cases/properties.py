"""Cases whose arguments hypothesis draws, and shrinks where they fail.

It draws recipes, not samples: what fails can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from whisper_mel_golden.speech import recordings
from whisper_mel_reference import WHISPER

from whisper_mel_conformance.cases.case import Case, Family
from whisper_mel_conformance.cases.check import Arguments, check, judge
from whisper_mel_conformance.cases.judging import LIMITS, truth
from whisper_mel_conformance.cases.recipes import Array, length
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure
from whisper_mel_conformance.frontend.load import Capabilities

EXAMPLES = {"brief": 40, "quick": 40, "ci": 200, "nightly": 2000}

_MAX_SHRINKS = 150  # further failing examples looked at, once one is found

_EDGES = (201, 240, 320, 400, 480, 560, 640, 1280, 2560, 5120, 8000, 10_240, 16_000, 20_480)


@dataclass(frozen=True)
class Property(Case):
    """A check whose arguments are drawn, for what a front-end can do.

    ``largest`` is the length of the longest clip. If ``is_fresh``, no seed of a run's is used:
    arguments are new in each.
    """

    draw: Callable[[Capabilities, int], st.SearchStrategy[Arguments]] | None = None
    largest: int = 0
    is_fresh: bool = False


@st.composite
def _lengths(draw: st.DrawFn, largest: int, smallest: int = 201) -> int:
    """Draw a length near an edge, or any."""
    if draw(st.booleans()):
        return draw(st.integers(smallest, largest))
    edge = draw(st.sampled_from([e for e in _EDGES if e <= largest] or [smallest]))
    return max(smallest, min(largest, edge + draw(st.integers(-2, 2))))


_SEEDS = st.integers(0, 9999)
_LEVELS = st.sampled_from([-20.0, -60.0, -100.0, -140.0])
_HERTZ = st.integers(1, 7999).map(float)
_PARAMETERS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "noise": {"seed": _SEEDS},
    "noise_ramp": {"seed": _SEEDS},
    "tone": {"frequency": _HERTZ, "phase": st.sampled_from([0.0, 0.1, 0.25])},
    "tone_in_noise": {"seed": _SEEDS, "frequency": _HERTZ, "noise_db": _LEVELS},
    "chirp": {"start": _HERTZ, "stop": _HERTZ},
    "square": {"frequency": _HERTZ},
    "on_off": {"seed": _SEEDS, "period": st.integers(1, 2000), "quiet_db": _LEVELS},
    "burst": {"seed": _SEEDS, "start": st.integers(0, 20_000), "length": st.integers(1, 2000)},
    "loud_tail": {"seed": _SEEDS, "length": st.integers(1, 500), "quiet_db": _LEVELS},
    "clicks": {"seed": _SEEDS, "spacing": st.integers(1, 4000), "quiet_db": _LEVELS},
    "click": {"at": st.integers(-201, 200)},
    "speech": {"recording": st.sampled_from(recordings()), "start": st.integers(0, 40_000)},
}


@st.composite
def _recipes(
    draw: st.DrawFn, n: st.SearchStrategy[int], names: tuple[str, ...] = tuple(_PARAMETERS)
) -> dict[str, Any]:
    name = draw(st.sampled_from(names))
    recipe: dict[str, Any] = {"signal": name, "n": draw(n)}
    for parameter, values in _PARAMETERS[name].items():
        recipe[parameter] = draw(values)
    recipe["gain"] = draw(st.sampled_from([1.0, 0.1, 0.5, 1e-3, 1e-5, 30.0, 32768.0]))
    return recipe


_FIXED = st.sampled_from([1.5, 0.0, -2.25, 3.7])
"""Fixed maxima."""


def _bands(able: Capabilities) -> st.SearchStrategy[int]:
    return st.sampled_from(able.n_mels)


def any_clip(able: Capabilities, largest: int) -> st.SearchStrategy[Arguments]:
    """Return a strategy of clips up to ``largest`` samples."""
    return st.fixed_dictionaries(
        {"recipe": _recipes(_lengths(largest)), "n_mels": _bands(able)},
    )


@st.composite
def _any_options(draw: st.DrawFn, able: Capabilities, largest: int) -> Arguments:
    recipe = draw(_recipes(_lengths(largest, smallest=480)))
    recipe["dtype"] = draw(st.sampled_from(able.dtypes))
    if recipe["dtype"] == "int16":
        recipe["gain"] = min(recipe["gain"], 1.0)
    arguments = {"recipe": recipe, "n_mels": draw(_bands(able))}
    arguments["smoothing"] = draw(st.sampled_from(able.smoothing))
    arguments["pad_to"] = None
    if able.pad_to:
        padded = recipe["n"] + draw(st.integers(0, 4000))
        arguments["pad_to"] = draw(st.sampled_from([None, padded]))
    for name, kinds in (("maximum", able.maximum), ("dtype", able.out_dtypes)):
        if len(kinds) > 1:
            kind = draw(st.sampled_from(kinds))
            arguments[name] = draw(_FIXED) if kind == "fixed" else kind
    arguments["layout"] = draw(st.sampled_from(["plain", "offset-4", "offset-20"]))
    return arguments


def _delays(able: Capabilities, largest: int) -> st.SearchStrategy[Arguments]:
    names = ("noise", "noise_ramp", "on_off", "speech", "chirp")
    return st.fixed_dictionaries(
        {
            "recipe": _recipes(_lengths(largest, smallest=1000), names),
            "hops": st.integers(1, 9),
            "n_mels": _bands(able),
        }
    )


def _gains(able: Capabilities, largest: int) -> st.SearchStrategy[Arguments]:
    return st.fixed_dictionaries(
        {
            "recipe": _recipes(_lengths(largest)),
            "octaves": st.sampled_from([1, -1, 2, 7, -7, 15]),
            "n_mels": _bands(able),
        }
    )


@st.composite
def _changes(draw: st.DrawFn, able: Capabilities, largest: int) -> Arguments:
    recipe = draw(_recipes(_lengths(largest, smallest=2000), ("noise", "noise_ramp", "speech")))
    at = draw(st.integers(0, recipe["n"] - 160))
    return {"recipe": recipe, "at": at, "n_mels": draw(_bands(able))}


@st.composite
def _calls(draw: st.DrawFn, able: Capabilities, largest: int) -> Arguments:
    """Draw calls that now and then share lengths, bands and recipes, which caches may confuse."""
    few = draw(st.lists(_lengths(largest), min_size=1, max_size=3))
    recipes = draw(st.lists(_recipes(st.sampled_from(few)), min_size=2, max_size=4))
    count = draw(st.integers(2, 8))
    calls = [
        {"recipe": draw(st.sampled_from(recipes)), "n_mels": draw(_bands(able))}
        for _ in range(count)
    ]
    return {"calls": calls, "reuse_input": draw(st.booleans())}


@st.composite
def _batches(draw: st.DrawFn, able: Capabilities, largest: int) -> Arguments:
    n = draw(_lengths(largest))
    recipes = draw(st.lists(_recipes(st.just(n)), min_size=1, max_size=6))
    return {"recipes": recipes, "n_mels": draw(_bands(able))}


@st.composite
def any_stream(draw: st.DrawFn, able: Capabilities, largest: int) -> Arguments:
    """Draw a clip and the pieces that it is cut into, for what streams of a front-end take."""
    arguments = {"recipe": draw(_recipes(_lengths(largest))), "n_mels": draw(_bands(able))}
    kind = draw(st.sampled_from(able.stream))
    arguments["maximum"] = draw(_FIXED) if kind == "fixed" else kind
    sizes = st.one_of(st.sampled_from([0, 1, 160, 3200]), st.integers(2, 2000))
    pieces = draw(st.lists(sizes, min_size=1, max_size=6).filter(any))
    return {**arguments, "pieces": [*pieces, 160], "reuse_buffer": draw(st.booleans())}


PROPERTIES: tuple[Property, ...] = (
    Property("property/any-clip", "scored", {}, draw=any_clip, largest=24_000),
    Property("property/any-options", "scored", {}, draw=_any_options, largest=16_000),
    Property("property/delay", "delay", {}, draw=_delays, largest=12_000),
    Property("property/gain", "gain", {}, draw=_gains, largest=12_000),
    Property("property/locality", "locality", {}, draw=_changes, largest=12_000),
    Property("property/call-order", "sequence", {}, draw=_calls, largest=6000),
    Property("property/batch", "batch", {}, ("batch",), draw=_batches, largest=6000),
)


def search(
    case: Property,
    able: Capabilities,
    attempt: Callable[[Arguments], float | None],
    *,
    examples: int,
    seed: int,
) -> tuple[float | None, Arguments]:
    """Try ``examples`` drawn arguments; return the worst score and the arguments that had it.

    The score is None if nothing was scored. Arguments that the front-end cannot be asked are left
    out. Raises ``Found`` with the smallest arguments for which ``attempt`` fails, and what it
    raised.
    """
    assert case.draw is not None
    worst: list[tuple[float, Arguments]] = []
    found: list[Found] = []
    largest = min(case.largest, able.max_samples or case.largest)

    @hypothesis.seed(seed)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        print_blob=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
    )
    @given(case.draw(able, largest))
    def run(arguments: Arguments) -> None:
        # After a crash or a time-out, or long shrinking, nothing more is tried.
        if found and (found[-1].is_hard or len(found) > _MAX_SHRINKS):
            return
        if case.beyond(able, arguments) is not None:
            return
        try:
            score = attempt(arguments)
        except Exception as error:
            found.append(Found(error, arguments))
            raise
        if score is not None:
            worst.append((score, arguments))

    try:
        run()
    except Exception:
        if not found:
            raise
    if found:
        raise min(reversed(found), key=lambda f: len(repr(f.arguments))) from found[-1].error
    if not worst:
        return None, {}
    return max(worst, key=lambda pair: pair[0])


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
