"""An input of the goldens, how it is written down, and the meaning of its flags."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

N_MELS = (80, 128)
SECOND = 16000
WINDOW = 30 * SECOND  # the samples of one window of a Whisper model, 30 s

FLAGS = {
    "human": "a recorded human voice",
    "synthetic-voice": "speech of a synthesiser",
    "noise": "every band is filled in every frame",
    "tonal": "quiet bins beside loud ones: where float32 is worst",
    "transient": "clicks and bursts: frames that are loud at one place only",
    "ends": "loud at the beginning or the end: shows how the clip is extended",
    "maximum": "whose maximum counts decides over most values",
    "length": "a length next to one where the number of frames or the mirroring changes",
    "frames": "a number of frames next to a multiple of 64, 128, 256 or 1024, or to 30 s",
    "floor": "made to have mel powers below the floor of 1e-10",
    "clamped": "made to have values raised to 8 below the clip's maximum",
    "constant": "all features are equal: only a wrong constant shows",
    "int16": "16-bit PCM",
    "above-one": "amplitudes above full scale",
    "long": "30 s or more",
    "padded": "zeros are appended up to pad_to",
    "smoothed": "the features' 3x3 mean is stored, too",
}


class Variant(NamedTuple):
    """Padding and smoothing of an input's features, computed for each number of mel bands."""

    pad_to: int | None = None
    smoothing: str | None = None


class Input(NamedTuple):
    """An input: its permanent id, its purpose, and the recipe of its samples."""

    id: str
    purpose: str
    flags: tuple[str, ...]
    recipe: dict[str, Any]
    variants: tuple[Variant, ...]


PLAIN = (Variant(),)
SMOOTHED = (Variant(), Variant(smoothing="valid"), Variant(smoothing="same"))


def case_variants(entry: Input) -> Iterator[tuple[str, int, Variant]]:
    """Yield the id, the number of bands and the variant of each case of an input."""
    for n_mels, variant in product(N_MELS, entry.variants):
        pad = "" if variant.pad_to is None else f"-pad{variant.pad_to}"
        smooth = "" if variant.smoothing is None else f"-{variant.smoothing}"
        yield f"golden/{entry.id}/{n_mels}{pad}{smooth}", n_mels, variant


def recipe(signal: str, n: int, **parameters: Any) -> dict[str, Any]:
    """Return a recipe for :func:`whisper_mel_golden.signals.render`: ``n`` samples of a signal."""
    return {"signal": signal, "n": n, **parameters}


def entry(
    name: str,
    purpose: str,
    flags: str,
    recipe: dict[str, Any],
    variants: tuple[Variant, ...] = PLAIN,
) -> Input:
    """Create an input with these flags (separated by spaces) and those implied by the rest."""
    evident = {
        "int16": recipe.get("dtype") == "int16",
        "long": recipe["n"] >= WINDOW,
        "padded": any(variant.pad_to is not None for variant in variants),
        "smoothed": any(variant.smoothing is not None for variant in variants),
    }
    all_flags = (*flags.split(), *(flag for flag, holds in evident.items() if holds))
    return Input(name, purpose, all_flags, recipe, variants)
