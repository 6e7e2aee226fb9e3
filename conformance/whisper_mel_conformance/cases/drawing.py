"""What properties draw, by hypothesis, which shrinks what fails.

It draws recipes, not samples: what fails can be read. Only who searches imports this module,
since hypothesis takes long to import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from whisper_mel_golden.speech import recordings

from whisper_mel_conformance.cases.check import Arguments
from whisper_mel_conformance.cases.properties import Found, Property
from whisper_mel_conformance.frontend.load import Capabilities

_MAX_SHRINKS = 150  # further failing examples looked at, once one is found

_EDGES = (201, 240, 320, 400, 480, 560, 640, 1280, 2560, 5120, 8000, 10_240, 16_000, 20_480)


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


def _any_clip(able: Capabilities, largest: int) -> st.SearchStrategy[Arguments]:
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
def _any_stream(draw: st.DrawFn, able: Capabilities, largest: int) -> Arguments:
    """Draw a clip and the pieces that it is cut into, for what streams of a front-end take."""
    arguments = {"recipe": draw(_recipes(_lengths(largest))), "n_mels": draw(_bands(able))}
    kind = draw(st.sampled_from(able.stream))
    arguments["maximum"] = draw(_FIXED) if kind == "fixed" else kind
    sizes = st.one_of(st.sampled_from([0, 1, 160, 3200]), st.integers(2, 2000))
    pieces = draw(st.lists(sizes, min_size=1, max_size=6).filter(any))
    return {**arguments, "pieces": [*pieces, 160], "reuse_buffer": draw(st.booleans())}


STRATEGIES: dict[str, Callable[[Capabilities, int], st.SearchStrategy[Arguments]]] = {
    "clip": _any_clip,
    "options": _any_options,
    "delay": _delays,
    "gain": _gains,
    "change": _changes,
    "calls": _calls,
    "batch": _batches,
    "stream": _any_stream,
}
"""What is drawn for what a front-end can do, in clips of at most so many samples."""


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
    @given(STRATEGIES[case.drawn](able, largest))
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
