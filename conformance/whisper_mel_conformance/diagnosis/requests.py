"""Requests that differ in one thing from another one: their length, their dtype, their padding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from whisper_mel_conformance.cases.recipes import Recipe, length, noise, rising
from whisper_mel_conformance.cases.request import Request

QUIET = 1e-3  # gain of what is put behind a clip


def samples(request: Request) -> int:
    """Return the number of samples of a request's clips, without padding."""
    return length(request.recipes[0] if request.recipe is None else request.recipe)


def size(request: Request) -> int:
    """Return the number of samples of a request's clips, with padding."""
    return max(samples(request), request.pad_to or 0)


def dtype_of(request: Request) -> str:
    recipe: Any = request.recipes[0] if request.recipe is None else request.recipe
    while "parts" in recipe:
        recipe = recipe["parts"][0]
    return str(recipe.get("dtype", "float32"))


def of_dtype(recipe: Recipe, dtype: str) -> dict[str, Any]:
    if "parts" in recipe:
        return {"parts": [of_dtype(part, dtype) for part in recipe["parts"]]}
    return {**recipe, "dtype": dtype}


def each_clip(request: Request, change: Callable[[Recipe], Recipe]) -> Request:
    """Change the recipe of each clip."""
    if request.recipe is not None:
        return replace(request, recipe=change(request.recipe))
    return replace(request, recipes=[change(recipe) for recipe in request.recipes])


def batched(request: Request, clips: int) -> Request:
    """Return a request of a batch of so many clips; of 0, of one that is none."""
    own = [*request.recipes] if request.recipe is None else [request.recipe]
    if not clips:
        return replace(request, recipe=own[0], recipes=())
    return replace(request, recipe=None, recipes=[own[i % len(own)] for i in range(clips)])


def padding_of(request: Request) -> str:
    n = samples(request)
    return "none" if request.pad_to is None else "equal" if request.pad_to == n else "beyond"


def padded(request: Request, value: str) -> Request:
    n = samples(request)
    return replace(request, pad_to={"none": None, "equal": n, "beyond": n + 1889}[value])


def with_length(recipe: Recipe, n: int) -> Recipe:
    """Return a recipe of ``n`` samples: with quiet noise behind it, or with shorter parts."""
    own = length(recipe)
    if n >= own:
        dtype = {} if "dtype" not in recipe else {"dtype": recipe["dtype"]}
        return {"parts": [recipe, noise(n - own, 930, QUIET, **dtype)]} if n > own else recipe
    if "parts" not in recipe:
        return _cut(recipe, n)
    shorter = [length(part) * n // own for part in recipe["parts"]]
    shorter[0] += n - sum(shorter)
    parts = zip(recipe["parts"], shorter, strict=True)
    return {"parts": [_cut(part, size) for part, size in parts if size]}


def _cut(recipe: Recipe, n: int) -> Recipe:
    """Return a shorter recipe; rising noise, if places of samples are a part of it."""
    if _ANY_LENGTH.issuperset(recipe):
        return {**recipe, "n": n}
    return rising(n, 936, dtype=recipe.get("dtype", "float32"))


_ANY_LENGTH = frozenset(
    ("signal", "n", "seed", "gain", "dtype", "frequency", "noise_db", "start_db", "stop_db")
)
"""Entries of recipes that mean the same at any length."""
