"""Properties of calls that have few values: batch, layout, dtype, bands and other options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis.asked import Asked, Finder, Found, Part
from whisper_mel_conformance.diagnosis.requests import (
    batched,
    dtype_of,
    each_clip,
    of_dtype,
    padded,
    padding_of,
)
from whisper_mel_conformance.frontend.layouts import lay_out
from whisper_mel_conformance.frontend.load import Capabilities


@dataclass(frozen=True)
class _Property:
    """A property of calls that has few values.

    ``values`` returns those that a front-end can be asked for, the plainest first; ``of`` a
    request's, ``put`` a request with another, and ``words`` say which values are wrong, with all
    that were tried.
    """

    values: Callable[[Capabilities], Sequence[Any]]
    of: Callable[[Request], Any]
    put: Callable[[Request, Any], Request]
    words: Callable[[Sequence[Any], Sequence[Any]], str]


def of_values(property: _Property) -> Finder:
    def find_part(asked: Asked, request: Request) -> Found:
        own = property.of(request)
        tried: dict[Any, bool] = {own: True}
        for value in property.values(asked.able):
            if value not in tried:
                is_wrong = asked.is_wrong(property.put(request, value))
                if is_wrong is not None:
                    tried[value] = is_wrong
        plain = property.values(asked.able)[0]
        if all(tried.values()):
            return None, property.put(
                request, plain
            ) if plain in tried and plain != own else request
        wrong = [value for value, is_wrong in tried.items() if is_wrong]
        plainest = next((it for it in property.values(asked.able) if it in wrong), own)

        def holds(other: Request) -> bool:
            value = property.of(other)
            return value in wrong if value in tried else _nearest(value, tried) in wrong

        def put(other: Request) -> Request:
            return other if holds(other) else property.put(other, plainest)

        return Part(property.words(wrong, list(tried)), holds, put), request

    return find_part


def _nearest(value: Any, tried: Mapping[Any, bool]) -> Any:
    """Return the value, of those that were tried, that another one is judged by."""
    numbers = [it for it in tried if isinstance(it, int)]
    if isinstance(value, int) and numbers:
        return min(numbers, key=lambda it: (abs(it - value), it))
    return value


def _listed(values: Sequence[Any]) -> str:
    return " or ".join(map(str, values))


def _counts(wrong: Sequence[int], tried: Sequence[int]) -> str:
    """Say which counts are wrong."""
    right, low, high = [it for it in tried if it not in wrong], min(wrong), max(wrong)
    if high == max(tried) and all(it < low for it in right):
        return f"{low} or more"
    if low == min(it for it in tried if it) and all(it > high or not it for it in right):
        return f"{high} or fewer" if high > 1 else "one"
    return _listed(sorted(wrong))


def _batch_words(wrong: Sequence[int], tried: Sequence[int]) -> str:
    if 0 in wrong:
        return (
            "with clips that are in no batch" if len(wrong) == 1 else "without a batch, or in some"
        )
    sizes = _counts(wrong, tried)
    return "with clips in a batch" + ("" if sizes == "1 or more" else f" of {sizes}")


def _thread_words(wrong: Sequence[int], tried: Sequence[int]) -> str:
    if 0 in wrong:
        return f"without threads={_listed([it for it in tried if it not in wrong])}"
    return f"with threads={_counts(wrong, tried)}"


_APART = ("stride-2", "stride-5", "reversed", "column")

OFFSETS = {4: "offset-4", 8: "offset-8"}


def _layout_words(wrong: Sequence[str], tried: Sequence[str]) -> str:
    if {*wrong} == {*_APART}:
        return "with samples that do not lie one behind the other in memory"
    return f"with samples that lie in memory as {_listed(wrong)}"


def of_address(asked: Asked, request: Request) -> Found:
    """Find out whether the audio's address decides: of what power of 2 it must be a multiple."""
    wrong = [
        bytes
        for bytes, layout in OFFSETS.items()
        if asked.is_wrong(replace(request, layout=layout))
    ]
    plain = replace(request, layout="plain")
    if not wrong or asked.is_wrong(plain) is not False:
        return None, request
    layout, unit = OFFSETS[wrong[0]], 2 * wrong[-1]

    def holds(other: Request) -> bool:
        return lay_out(other.audio(), other.layout).ctypes.data % unit != 0

    part = Part(
        f"with samples at an address that is no multiple of {unit} bytes",
        holds,
        lambda other: other if holds(other) else replace(other, layout=layout),
    )
    return part, replace(request, layout=layout)


_PAD_WORDS = {
    ("beyond", "equal"): "with pad_to",
    ("equal",): "with pad_to equal to the number of samples",
    ("beyond",): "with pad_to beyond the number of samples",
    ("none",): "without pad_to",
    ("beyond", "none"): "without pad_to equal to the number of samples",
    ("equal", "none"): "without pad_to beyond the number of samples",
}


def _pad_words(wrong: Sequence[str], tried: Sequence[str]) -> str:
    return _PAD_WORDS[tuple(sorted(wrong))]


BATCHES = _Property(
    lambda able: (0, 1, 2, 3, 4, 5, 6, 8) if able.batch else (0,),
    lambda request: 0 if request.recipe is not None else len(request.recipes),
    batched,
    _batch_words,
)

LAYOUTS = _Property(
    lambda able: ("plain", *_APART),
    lambda request: request.layout,
    lambda request, value: replace(request, layout=value),
    _layout_words,
)

PROPERTIES = (
    _Property(
        lambda able: (0, 1, 2, 3, 4, 5, 8) if able.threads else (0,),
        lambda request: request.threads or 0,
        lambda request, value: replace(request, threads=value or None),
        _thread_words,
    ),
    _Property(
        lambda able: able.dtypes,
        dtype_of,
        lambda request, value: each_clip(request, lambda recipe: of_dtype(recipe, value)),
        lambda wrong, tried: f"with clips of dtype {_listed(wrong)}",
    ),
    _Property(
        lambda able: able.n_mels,
        lambda request: request.n_mels,
        lambda request, value: replace(request, n_mels=value),
        lambda wrong, tried: f"with {_listed(wrong)} bands",
    ),
    _Property(
        lambda able: able.smoothing,
        lambda request: request.smoothing,
        lambda request, value: replace(request, smoothing=value),
        lambda wrong, tried: f"with smoothing={_listed(wrong)}",
    ),
    _Property(
        lambda able: able.maximum,
        lambda request: "clip" if request.maximum is None else request.maximum,
        lambda request, value: replace(
            request, maximum={"clip": None, "fixed": 1.5}.get(value, value)
        ),
        lambda wrong, tried: f"with maximum={_listed(wrong)}",
    ),
    _Property(
        lambda able: ("none", "equal", "beyond") if able.pad_to else ("none",),
        padding_of,
        padded,
        _pad_words,
    ),
)


def option_of(some: Sequence[Request], every: Sequence[Request]) -> str | None:
    """Return, in words, the property that these requests have and no other has; None if none is."""
    for property in (BATCHES, *PROPERTIES):
        own = {property.of(request) for request in some}
        values = [property.of(request) for request in every]
        if len(some) == sum(value in own for value in values) < len(every):
            return property.words([*own], [*dict.fromkeys(values)])
    return None
