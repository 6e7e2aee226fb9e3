"""Shrinking of the arguments with which a check fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from whisper_mel_conformance.cases.check import Check

Arguments = dict[str, Any]

_ATTEMPTS = 400
_SHORTEST = 201  # the fewest samples that can be mirrored
_SIMPLE = ("silence", "dc", "click", "tone", "noise")  # from the simplest


def shrink(
    check: Check, arguments: Mapping[str, Any], fails: Callable[[Arguments], bool]
) -> Arguments:
    """Return the smallest arguments of a check found for which ``fails`` is still true.

    It leaves out options, shortens lists, replaces signals by simpler ones, shortens clips, leaves
    out parameters, and sets samples to zero, in this order.
    """
    smallest = dict(arguments)
    attempts = 0
    improved = True
    while improved and attempts < _ATTEMPTS:
        improved = False
        for candidate in _smaller(check, smallest):
            attempts += 1
            if attempts > _ATTEMPTS:
                break
            if fails(candidate):
                smallest, improved = candidate, True
                break
    return smallest


def _smaller(check: Check, arguments: Mapping[str, Any]) -> Iterator[Arguments]:
    for name, default in check.defaults.items():
        if name in arguments and arguments[name] != default:
            yield {key: value for key, value in arguments.items() if key != name}
    for name in ("lengths", "calls", "recipes"):
        for shorter in _parts(arguments.get(name, [])):
            yield {**arguments, name: shorter}
    times = arguments.get("times", 2)
    if times > 2:
        yield {**arguments, "times": max(times // 4, 2)}
    if "recipe" in arguments:
        fixed = "lengths" in arguments
        for recipe in _simpler(arguments["recipe"], fixed):
            yield {**arguments, "recipe": recipe}
    for name in ("recipes", "calls"):
        entries = arguments.get(name, [])
        for i, entry in enumerate(entries):
            is_call = name == "calls"
            recipe = entry["recipe"] if is_call else entry
            for simpler in _simpler(recipe, fixed=not is_call):
                changed = {**entry, "recipe": simpler} if is_call else simpler
                yield {**arguments, name: [*entries[:i], changed, *entries[i + 1 :]]}


def _parts(values: list[Any]) -> Iterator[list[Any]]:
    """Yield each half of a list, then the list without each of its values."""
    if len(values) < 2:
        return
    half = len(values) // 2
    yield values[:half]
    yield values[half:]
    if len(values) <= 8:
        for i in range(len(values)):
            yield values[:i] + values[i + 1 :]


def _simpler(recipe: Mapping[str, Any], fixed: bool) -> Iterator[dict[str, Any]]:
    """Yield simpler recipes; of the same length if ``fixed``."""
    n = recipe["n"]
    rank = _SIMPLE.index(recipe["signal"]) if recipe["signal"] in _SIMPLE else len(_SIMPLE)
    keeps = {name: recipe[name] for name in ("n", "dtype", "poke", "gain") if name in recipe}
    for name in _SIMPLE[:rank]:
        yield {"signal": name, **keeps}
    if not fixed and "poke" not in recipe and "keep" not in recipe:
        lengths = (n // 8, n // 4, n // 2, 3 * n // 4, n - 160, n - 16, n - 1)
        for shorter in (_SHORTEST, *lengths):
            if _SHORTEST <= shorter < n:
                yield {**recipe, "n": shorter}
    for name in recipe:
        if name not in ("signal", "n", "keep", "dtype", "poke"):
            yield {key: value for key, value in recipe.items() if key != name}
    if n > 1 and recipe["signal"] != "silence":
        first, last = recipe.get("keep", [0, n - 1])
        size = last - first + 1
        for part in sorted({size // 2, size // 4, size // 8, size // 16, 1} - {0}, reverse=True):
            if part < size:
                yield {**recipe, "keep": [first + part, last]}
                yield {**recipe, "keep": [first, last - part]}
