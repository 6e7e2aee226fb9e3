"""Maximum: a number, or each chunk's, in the place of the clip's maximum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from whisper_mel_conformance.cases.case import Case, Family, both
from whisper_mel_conformance.cases.recipes import SECOND, Recipe, noise, rising, signal

_CLIPS: dict[str, Recipe] = {
    "rising-noise": rising(SECOND, seed=221),
    "quiet-noise": noise(8000, 222, 1e-3),
    "loud-noise": noise(8000, 223, 300.0),
    "tone": signal("tone", 8000, frequency=440.0, gain=0.5, phase=0.1),
    "burst-in-silence": signal("burst", seed=9, start=7000, length=900),
    "silence": signal("silence", 4000),
}
"""Clips whose own maximum lies above and below the numbers that are asked for."""
_NUMBERS = (1.5, 0.0, -2.25, 9.0)
_30_SECONDS = 30 * SECOND


def _sounding(n: int, gain: float, seed: int) -> Sequence[Recipe]:
    """Return a second of noise at both ends of ``n`` samples; silence, clamped, lies between."""
    ends = [noise(SECOND, seed + i, gain) for i in (0, 50)]
    return [ends[0], signal("silence", n - 2 * SECOND), ends[1]]


def _levels(*gains: float, more: int = 0) -> Recipe:
    """Return a clip with 30 s for each gain, and ``more`` samples of the last."""
    parts = [p for i, gain in enumerate(gains) for p in _sounding(_30_SECONDS, gain, 230 + i)]
    return {"parts": [*parts, noise(more, 239, gains[-1])] if more else parts}


def _fixed() -> Iterator[Case]:
    for name, recipe in _CLIPS.items():
        for number in _NUMBERS:
            more: dict[str, Any] = {"recipe": recipe, "maximum": number}
            yield from both(f"maximum/{number:g}-{name}", "scored", **more)
    clip = _CLIPS["rising-noise"]
    variants: dict[str, dict[str, Any]] = {
        "valid": {"recipe": clip, "smoothing": "valid"},
        "same": {"recipe": clip, "smoothing": "same"},
        "padded": {"recipe": clip, "pad_to": 20_000},
        "two-threads": {"recipe": rising(5 * SECOND, 224), "threads": 2},
        "int16": {"recipe": {**clip, "dtype": "int16"}},
    }
    for name, variant in variants.items():
        yield from both(f"maximum/1.5-{name}", "scored", **variant, maximum=1.5)
    long = {"parts": _sounding(61 * SECOND + 37, 0.3, 225)}
    yield Case("maximum/1.5-61-seconds", "scored", {"recipe": long, "maximum": 1.5})
    batch = [noise(4077, 226, gain) for gain in (1e-4, 30.0, 0.1)]
    yield from both("maximum/1.5-batch", "batch", recipes=batch, maximum=1.5)
    # Calls that differ in the maximum only: it is no state of the front-end.
    asked = (1.5, None, -2.25, "clip", 1.5, None)
    calls = [{"recipe": clip, "maximum": value} for value in asked]
    yield Case("maximum/one-after-the-other", "sequence", {"calls": calls})


def _chunk() -> Iterator[Case]:
    short: dict[str, Any] = {"recipe": _CLIPS["rising-noise"], "maximum": "chunk"}
    yield from both("maximum/chunk-rising-noise", "scored", **short)
    for n in (_30_SECONDS, _30_SECONDS + 1, _30_SECONDS + 160):
        more = {"recipe": {"parts": _sounding(n, 0.3, 227)}, "maximum": "chunk"}
        yield Case(f"maximum/chunk-{n}", "scored", more)
    clips: dict[str, dict[str, Any]] = {
        "quiet-then-loud": {"recipe": _levels(1e-4, 1.0, more=777)},
        "loud-then-quiet": {"recipe": _levels(1.0, 1e-4, more=777), "n_mels": 128},
        "loud-between": {"recipe": _levels(1e-4, 1.0, 1e-3)},
        "same": {"recipe": _levels(1.0, 1e-4), "smoothing": "same"},
        "padded": {"recipe": rising(SECOND, 228), "pad_to": 2 * _30_SECONDS},
        "batch": {"recipes": [_levels(g, 1e-4, more=80) for g in (1.0, 1e-3)]},
    }
    for name, more in clips.items():
        check = "batch" if name == "batch" else "scored"
        yield Case(f"maximum/chunk-{name}", check, {**more, "maximum": "chunk"})


def _cases(_profile: str) -> Iterator[Case]:
    yield from _fixed()
    yield from _chunk()
    # Whoever has the chunk's maximum as an option still has the clip's without it.
    for name, gains in (("quiet-then-loud", (1e-4, 1.0)), ("loud-then-quiet", (1.0, 1e-4))):
        recipe = _levels(*gains, more=777)
        calls = [{"recipe": recipe, "maximum": value} for value in (None, "chunk", "clip")]
        yield Case(f"maximum/clip-beside-chunk-{name}", "sequence", {"calls": calls})


MAXIMUM = Family(
    "maximum", "a fixed maximum, or one for each 30 s, is taken otherwise than asked", _cases
)
