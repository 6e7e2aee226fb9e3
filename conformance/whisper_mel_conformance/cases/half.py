"""Half: features in float16 or bfloat16, which are the float32 ones, rounded once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from whisper_mel_conformance.cases.case import Case, Family, both
from whisper_mel_conformance.cases.recipes import SECOND, Recipe, noise, rising, signal

_CLIPS: dict[str, Recipe] = {
    "rising-noise": rising(SECOND, seed=241),
    "chirp": signal("chirp", gain=0.9),
    "silence": signal("silence", 4000),
    "tone": signal("tone", 8000, frequency=1000.0, gain=0.8),
    # Mel powers near 1e-4, so that features are near 0: among 80,000 are subnormal ones.
    "near-zero": noise(10 * SECOND, 242, 0.01),
    # Mel powers beyond the range of float16, above and below.
    "loud": noise(8000, 243, 3e4),
    "quiet": noise(8000, 244, 2e-5),
}


def _cases(_profile: str) -> Iterator[Case]:
    for dtype in ("float16", "bfloat16"):
        for name, recipe in _CLIPS.items():
            yield from both(f"half/{dtype}-{name}", "scored", recipe=recipe, dtype=dtype)
        clip = _CLIPS["rising-noise"]
        variants: dict[str, dict[str, Any]] = {
            "same": {"recipe": clip, "smoothing": "same"},
            "padded": {"recipe": clip, "pad_to": 20_000},
            "int16": {"recipe": {**clip, "dtype": "int16"}},
            "maximum": {"recipe": clip, "maximum": 1.5},
            "one-frame": {"recipe": rising(240, 245)},
            "30-seconds": {"recipe": rising(30 * SECOND, 246)},
        }
        for name, more in variants.items():
            yield Case(f"half/{dtype}-{name}", "scored", {**more, "dtype": dtype})
        batch = [noise(4077, 247, gain) for gain in (1e-4, 1.0, 0.1)]
        yield Case(f"half/{dtype}-batch", "batch", {"recipes": batch, "dtype": dtype})
    clip = _CLIPS["chirp"]
    asked = ("float16", None, "bfloat16", "float32", "float16", None)
    calls = [{"recipe": clip, "dtype": dtype} for dtype in asked]
    yield Case("half/one-after-the-other", "sequence", {"calls": calls})


HALF = Family(
    "half", "features in float16 or bfloat16 are not the right ones, rounded once", _cases
)
