"""Recipes: samples as plain data, made anew wherever they are needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_golden.signals import render

Array = NDArray[Any]
Recipe = Mapping[str, Any]

SECOND = 16_000
"""Samples in a second."""


def noise(n: int, seed: int = 1, gain: float = 0.1, **more: Any) -> dict[str, Any]:
    """Return the recipe of white noise."""
    return {"signal": "noise", "n": n, "seed": seed, "gain": gain, **more}


def rising(n: int, seed: int = 1, **more: Any) -> dict[str, Any]:
    """Return the recipe of white noise from -90 to -10 dB, the signal that hides least."""
    return {"signal": "noise_ramp", "n": n, "seed": seed, **more}


def signal(name: str, n: int = SECOND, **more: Any) -> dict[str, Any]:
    """Return the recipe of any signal of :func:`whisper_mel_golden.signals.render`."""
    return {"signal": name, "n": n, **more}


def length(recipe: Recipe) -> int:
    """Return the number of samples that a recipe makes."""
    parts = recipe.get("parts")
    return int(recipe["n"]) if parts is None else sum(map(length, parts))


def render_audio(recipe: Recipe) -> Array:
    """Return the samples of a recipe, shape ``(n,)``; some of its entries are the suite's own.

    ``parts: [recipe, ...]``: nothing but those, one after the other.
    ``dtype: "float64"``: the float32 samples divided by 3, which float32 cannot hold.
    ``poke: [index, value]``: one sample replaced (``"nan"`` and ``"inf"`` as strings).
    ``keep: [first, last]``: samples before the first and after the last are zero.
    ``whole: 4096``: samples rounded to multiples of 1/4096, whose float32 sums are exact.
    ``order``: ``"reversed"``, ``"sorted"``, ``"rotated"``, ``"swapped"`` (two of them), or
    ``"exchanged"`` (two others).
    ``times``: samples multiplied by a number, after all that.
    ``turned: index``: samples from there on have the other sign.
    """
    if "parts" in recipe:
        return np.concatenate([render_audio(part) for part in recipe["parts"]])
    recipe = dict(recipe)
    poke = recipe.pop("poke", None)
    keep = recipe.pop("keep", None)
    whole, order = recipe.pop("whole", None), recipe.pop("order", None)
    times, turned = recipe.pop("times", None), recipe.pop("turned", None)
    is_double = recipe.get("dtype") == "float64"
    if is_double:
        del recipe["dtype"]
    audio: Array = render(recipe)
    if is_double:
        audio = audio.astype(np.float64) / 3.0
    if keep is not None:
        audio[: keep[0]] = 0
        audio[keep[1] + 1 :] = 0
    if poke is not None:
        audio[poke[0]] = float(poke[1])
    if whole is not None:
        audio = np.rint(audio * np.float32(whole)) / np.float32(whole)
    if order is not None:
        audio = audio[_ORDERS[order](audio)]
    if times is not None:
        audio = audio * np.float32(times)
    if turned is not None:
        audio[turned:] *= -1
    return audio


_ORDERS: dict[str, Callable[[Array], Array]] = {
    "reversed": lambda audio: np.arange(audio.size)[::-1],
    "sorted": lambda audio: np.argsort(audio, kind="stable"),
    "rotated": lambda audio: np.roll(np.arange(audio.size), audio.size // 3),
    "swapped": lambda audio: _swapped(audio.size, 0, 300),
    "exchanged": lambda audio: _swapped(audio.size, 11, 349),
}
"""The places from which the samples of another order are taken."""


def _swapped(n: int, *two: int) -> Array:
    """Return the places of ``n`` samples, of which those ``two`` behind the middle have changed
    places.
    """
    places, swapped = np.arange(n), n // 2 + np.array(two)
    places[swapped] = swapped[::-1]
    return places
