"""Numerics: signals that show a wrong stage, a wrong maximum, or too little precision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from whisper_mel_conformance.cases.case import Case, Family, both
from whisper_mel_conformance.cases.check import check, judge_request
from whisper_mel_conformance.cases.recipes import SECOND, Recipe, noise, rising, signal
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.frontend.client import FrontEnd


@check()
def scored(front_end: FrontEnd, request: Request) -> float:
    """Judge the features of one clip."""
    return judge_request(front_end, request)


_SIGNALS: dict[str, Recipe] = {
    "rising-noise": rising(SECOND),
    "rising-noise-10-seconds": rising(10 * SECOND, seed=2),
    "falling-noise": rising(SECOND, start_db=-10.0, stop_db=-90.0),
    "near-floor-noise": noise(SECOND, gain=1.2e-5),
    "below-floor-noise": noise(SECOND, gain=1e-6),
    "bell-noise": noise(SECOND, gain=0.1, distribution="normal"),
    "chirp": signal("chirp", gain=0.9),
    "chirp-down": signal("chirp", gain=0.9, start=8000.0, stop=0.0),
    "square": signal("square", frequency=500.0),
    "square-137": signal("square", frequency=137.0, gain=0.3),
    "dc": signal("dc", gain=0.5),
    "nyquist": signal("nyquist", gain=0.9),
    "ramp": signal("ramp"),
    "silence": signal("silence"),
    "denormals": noise(SECOND, gain=1e-40),
    "on-off-160": signal("on_off", seed=3, period=160),
    "on-off-400": signal("on_off", seed=4, period=400),
    "on-off-1000": signal("on_off", seed=5, period=1000, quiet_db=-140.0),
    "clicks": signal("clicks", seed=6),
    "click-train": signal("click_train", period=997),
    "burst-at-start": signal("burst", seed=7, start=0, length=300),
    "burst-at-end": signal("burst", seed=8, start=SECOND - 300, length=300),
    "burst-in-silence": signal("burst", seed=9, start=7000, length=900),
    "tone-on-a-bin": signal("tone", frequency=1000.0, gain=0.8),
    "tone-beside-quiet-noise": signal("tone_in_noise", seed=10, frequency=440.0),
    "speech": signal("speech", 3 * SECOND, recording="sense-and-sensibility"),
    **{
        f"tone-{hertz}": signal("tone", frequency=float(hertz), gain=0.5, phase=0.1)
        for hertz in (40, 50, 120, 440, 1234, 4000, 6789, 7900, 7960)
    },
    **{
        f"click-at-{at}": signal("click", 4000, at=at)
        for at in (0, 1, 2, 3, 160, 199, 200, 201, 360, -1, -2, -40, -41, -200)
    },
    **{
        f"rising-noise-e{exponent}": rising(8000, seed=11, gain=10.0**exponent)
        for exponent in (-9, -5, -3, 3, 6, 12, 15)
    },
}

_IN_OTHER_TYPES: dict[str, Recipe] = {
    "rising-noise": rising(SECOND, seed=16, gain=3.0),
    "full-scale-square": signal("square", frequency=500.0),
    "quiet-noise": noise(SECOND, 17, gain=2e-4),
    "chirp": signal("chirp", gain=0.9),
}

_CORNER_FRAMES = (63, 64, 65, 127, 128, 129, 255, 256, 257, 1023, 1024, 1025, 3001)


def _cases(_profile: str) -> Iterator[Case]:
    for name, recipe in _SIGNALS.items():
        yield from both(f"numerics/{name}", "scored", recipe=recipe)
    yield from _maxima()
    for smoothing in ("valid", "same"):
        for name, arguments in _smoothed():
            name = f"numerics/{name}-{smoothing}"
            yield from both(name, "scored", **arguments, smoothing=smoothing)
    for n in (201, 320, 400):
        name = f"numerics/length-{n}-same"
        yield from both(name, "scored", recipe=rising(n, seed=14), smoothing="same")
    for dtype in ("int16", "float64"):
        for name, recipe in _IN_OTHER_TYPES.items():
            name = f"numerics/{name}-{dtype}"
            yield from both(name, "scored", recipe={**recipe, "dtype": dtype})
    # -32768 has no positive counterpart: it must not become one, nor 0 or -32767.
    lowest = noise(SECOND, 20, dtype="int16", poke=[8000, -32_768])
    yield from both("numerics/lowest-int16", "scored", recipe=lowest)
    for threads in (1, 2, 3, 7):
        for n in (400, 160 * 9 + 40, 5 * SECOND):
            name = f"numerics/{threads}-threads-{n}"
            yield from both(name, "scored", recipe=rising(n, seed=18), threads=threads)


def _maxima() -> Iterator[Case]:
    """Return cases whose clips have their maximum, which clamps the rest, in one frame or band."""
    lengths = [160 * frames + 80 for frames in _CORNER_FRAMES]
    for frame in ("first", "last"):
        for band in ("lowest", "highest"):
            recipe = signal("corner", 0, seed=12, frame=frame, band=band)
            name = f"numerics/maximum-in-{frame}-frame-{band}-band"
            yield from both(name, "sweep", recipe=recipe, lengths=lengths)
    bursts = (
        signal("burst", 12_000, seed=13, start=160 * i, length=160, gain=0.5) for i in range(75)
    )
    tones = (signal("tone", 1000, frequency=40.0 * k + 20.0, gain=0.1) for k in range(200))
    for what, recipes in (("frame", bursts), ("band", tones)):
        calls = [{"recipe": recipe} for recipe in recipes]
        yield Case(f"numerics/maximum-in-any-{what}", "sequence", {"calls": calls})


def _smoothed() -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the clips that are judged with either smoothing."""
    for name in ("rising-noise", "chirp", "silence", "burst-in-silence"):
        yield name, {"recipe": _SIGNALS[name]}
    for n in (480, 481, 650, 160 * 64 + 80, 160 * 65):
        yield f"length-{n}", {"recipe": rising(n, seed=14)}
    # One thread has the whole clip, in several pieces of its own; at their borders is sound.
    yield "1-thread-24-seconds", {"recipe": rising(24 * SECOND, seed=19), "threads": 1}
    yield "30-seconds", {"recipe": rising(10 * SECOND, seed=15), "pad_to": 30 * SECOND}


NUMERICS = Family(
    "numerics", "a signal shows a wrong stage, a wrong maximum, or too little precision", _cases
)
