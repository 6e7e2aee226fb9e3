"""Under which condition a front-end is wrong: what its wrong calls share, and its right ones lack.

From a call that is wrong others are made that differ from it in one property, and are asked for.
What is said was found so, and holds for every call that was asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from whisper_mel_reference import CLASS_B
from whisper_mel_reference.pipeline import split_clips

from whisper_mel_conformance.cases.judging import truth
from whisper_mel_conformance.cases.recipes import Recipe, length, noise, rising
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis.answer import Answer
from whisper_mel_conformance.frontend.layouts import lay_out
from whisper_mel_conformance.frontend.load import Capabilities

LONG = 60_000
"""Samples of a clip of which few are asked for."""

_LEAST = 240  # samples of the shortest clip that is asked for
_LENGTHS = (240, 321, 480, 801, 1000, 1600, 2112, 3203, 4080, 6401, 10_007, 16_000, 30_011)
_LONGER = (64_003, 160_000, 481_111)
_PERIODS = (*range(1, 201), 256, 320, 384, 400, 480, 500, 512, 640, 768, 800, 960, 1000, 1024)
_PERIODS += (1280, 1600, 2000, 2048, 3200, 4000, 4096, 4800, 8000, 8192, 16_000)
_SHOWN = 0.7  # part of the calls with the condition that must be wrong: not every clip shows it
_LONG_CALLS = 3  # of longer clips that are asked again
_ASKED_AGAIN = 600_000  # samples, together, of calls of failed cases that are made again
_QUIET = 1e-3  # gain of what is put behind a clip


@dataclass(frozen=True, eq=False)
class Part:
    """One property that calls must have.

    ``words`` follow "It is wrong". ``holds`` says whether a request has it; ``put`` returns a
    request that has it, and is the given one otherwise as far as that is possible.
    """

    words: str
    holds: Callable[[Request], bool]
    put: Callable[[Request], Request]


@dataclass(frozen=True, eq=False)
class Condition:
    """Properties that all wrong calls have, and right ones have not; ``counted`` says of how many
    calls that is known."""

    parts: Sequence[Part]
    counted: str

    @property
    def sentence(self) -> str:
        words = ", ".join(part.words for part in self.parts)
        return f"It is wrong {words} only: {self.counted}"

    def holds(self, request: Request) -> bool:
        """Return whether a request has all properties."""
        return all(part.holds(request) for part in self.parts)

    def put(self, request: Request) -> Request:
        """Return a request with all properties, otherwise like the given one."""
        for part in self.parts:
            request = part.put(request)
        return request


class Asked:
    """The calls that a front-end was asked for, and which of them are wrong."""

    def __init__(self, ask: Callable[[str, Request], Answer], able: Capabilities) -> None:
        self._ask = ask
        self.able = able
        self.calls: list[tuple[Request, bool]] = []
        self._known: dict[str, bool | None] = {}

    def note(self, request: Request, answer: Answer) -> bool | None:
        """Note whether an answer is wrong; None if the front-end does not support the request."""
        is_wrong = None
        if answer.actual is not None or answer.error:
            is_wrong = not answer.score <= CLASS_B
            self.calls.append((request, is_wrong))
        self._known[repr(request)] = is_wrong
        return is_wrong

    def is_wrong(self, request: Request) -> bool | None:
        """Ask for features, unless that was done; None where they are not supported."""
        if repr(request) not in self._known:
            if not self.can_ask(request):
                return None
            return self.note(request, self._ask("", request))
        return self._known[repr(request)]

    def can_ask(self, request: Request) -> bool:
        """Return whether the front-end claims to support a request, and the reference knows its
        features: it refuses neither samples nor their number. Guarded memory is left out, which
        ends the process that reads beyond it."""
        if request.lacking(self.able) is not None or request.layout.startswith("guard-"):
            return False
        try:
            # Of what is asked for then, this is kept.
            for clip in split_clips(request.audio(), None)[0]:
                truth(clip, request.spec())
        except (TypeError, ValueError):
            return False
        return True

    def ask_again(self, requests: Sequence[Request]) -> None:
        """Ask for the clips of cases that failed, short ones first, until one is wrong."""
        by_size = sorted(dict.fromkeys(map(_hashable, requests)), key=lambda it: it.size)
        short = [it for it in by_size if it.size <= LONG]
        sizes = itertools.accumulate(it.size for it in short)
        some = [it for it, size in zip(short, sizes, strict=True) if size <= _ASKED_AGAIN]
        for one in (*some, *[it for it in by_size if it.size > LONG][:_LONG_CALLS]):
            if self.is_wrong(one.request):
                return

    def ask_around(self) -> None:
        """Ask for a plain clip with each value of each property, until a call is wrong.

        Nothing is asked for where one is wrong already, and of programs that start for each call.
        """
        if self.able.process_per_call or self.witness is not None:
            return
        clip = rising(2112, 937)
        plain = Request(clip, n_mels=self.able.n_mels[0]).of_model(self.able)
        for property in (_BATCHES, _LAYOUTS, *_PROPERTIES):
            for value in property.values(self.able):
                if self.is_wrong(property.put(plain, value)):
                    return
        for layout in _OFFSETS.values():
            if self.is_wrong(replace(plain, layout=layout)):
                return
        for at in _PLACES:
            if self.is_wrong(_with_loudest(plain, _CLIP, at)):
                return
        for n in (*_LENGTHS, *_LONGER):
            if self.is_wrong(replace(plain, recipe=with_length(clip, n))):
                return

    @property
    def witness(self) -> Request | None:
        """The plainest and shortest call that is wrong; None if none is."""
        wrong = [request for request, is_wrong in self.calls if is_wrong]
        return min(wrong, key=_plainness, default=None)


@dataclass(frozen=True)
class _Sized:
    """A request with the number of samples that it takes; equal if their texts are."""

    text: str
    size: int
    request: Request

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Sized) and self.text == other.text


def _hashable(request: Request) -> _Sized:
    return _Sized(repr(request), max(samples(request), request.pad_to or 0), request)


def samples(request: Request) -> int:
    """Return the number of samples of a request's clips, without padding."""
    return length(request.recipes[0] if request.recipe is None else request.recipe)


def _plainness(request: Request) -> tuple[int, int]:
    options = (request.recipe is None, request.layout != "plain", _dtype(request) != "float32")
    more = (request.threads, request.smoothing, request.pad_to, request.maximum, request.dtype)
    return sum(options) + sum(it is not None for it in more), samples(request)


def find_condition(asked: Asked) -> Condition | None:
    """Find the condition under which a front-end is wrong; None if there is none that holds."""
    if asked.witness is None:
        return None
    request = asked.witness
    parts: list[Part] = []

    def look(*finders: Finder) -> bool:
        nonlocal request
        for find_part in finders:
            part, request = find_part(asked, request)
            if part is not None:
                parts.append(part)
                return True
        return False

    look(_of_values(_BATCHES))
    look(_of_address, _of_values(_LAYOUTS))
    for property in _PROPERTIES:
        look(_of_values(property))
    look(_of_maximum, _of_length)
    # A property may go with another one in some clips alone: quiet ones are silent as int16.
    fewer = ([*parts[:i], *parts[i + 1 :]] for i in range(len(parts)))
    verified = (_verified(some, asked.calls) for some in (parts, *fewer))
    return next((condition for condition in verified if condition is not None), None)


def _verified(parts: Sequence[Part], calls: Sequence[tuple[Request, bool]]) -> Condition | None:
    """Return the condition if each wrong call has it, and nearly all that have it are wrong."""
    have = [is_wrong for call, is_wrong in calls if all(part.holds(call) for part in parts)]
    wrong, others = sum(have), len(calls) - len(have)
    if not parts or wrong < sum(is_wrong for _, is_wrong in calls) or not others:
        return None
    if not wrong >= _SHOWN * len(have):
        return None
    return Condition(
        parts, f"on {wrong} of {len(have)} such calls, and on none of {others} others."
    )


Found = tuple["Part | None", Request]
"""A property that wrong calls have, if there is one, and a wrong call to go on with."""
Finder = Callable[[Asked, Request], Found]


# --------------------------------------------------------------------------- values of options


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


def _of_values(property: _Property) -> Finder:
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
            return other if property.of(other) in wrong else property.put(other, plainest)

        return Part(property.words(wrong, list(tried)), holds, put), request

    return find_part


def _nearest(value: Any, tried: Mapping[Any, bool]) -> Any:
    """Return the value, of those that were tried, that another one is judged by."""
    numbers = [it for it in tried if isinstance(it, int)]
    if isinstance(value, int) and numbers:
        return min(numbers, key=lambda it: (abs(it - value), it))
    return value


def _dtype(request: Request) -> str:
    recipe: Any = request.recipes[0] if request.recipe is None else request.recipe
    while "parts" in recipe:
        recipe = recipe["parts"][0]
    return str(recipe.get("dtype", "float32"))


def _of_dtype(recipe: Recipe, dtype: str) -> dict[str, Any]:
    if "parts" in recipe:
        return {"parts": [_of_dtype(part, dtype) for part in recipe["parts"]]}
    return {**recipe, "dtype": dtype}


def _each(request: Request, change: Callable[[Recipe], Recipe]) -> Request:
    """Change the recipe of each clip."""
    if request.recipe is not None:
        return replace(request, recipe=change(request.recipe))
    return replace(request, recipes=[change(recipe) for recipe in request.recipes])


def _batched(request: Request, clips: int) -> Request:
    """Return a request of a batch of so many clips; of 0, of one that is none."""
    own = [*request.recipes] if request.recipe is None else [request.recipe]
    if not clips:
        return replace(request, recipe=own[0], recipes=())
    return replace(request, recipe=None, recipes=[own[i % len(own)] for i in range(clips)])


def _padding(request: Request) -> str:
    n = samples(request)
    return "none" if request.pad_to is None else "equal" if request.pad_to == n else "beyond"


def _padded(request: Request, value: str) -> Request:
    n = samples(request)
    return replace(request, pad_to={"none": None, "equal": n, "beyond": n + 1889}[value])


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
_OFFSETS = {4: "offset-4", 8: "offset-8"}


def _layout_words(wrong: Sequence[str], tried: Sequence[str]) -> str:
    if {*wrong} == {*_APART}:
        return "with samples that do not lie one behind the other in memory"
    return f"with samples that lie in memory as {_listed(wrong)}"


def _of_address(asked: Asked, request: Request) -> Found:
    """Find out whether the audio's address decides: of what power of 2 it must be a multiple."""
    wrong = [
        bytes
        for bytes, layout in _OFFSETS.items()
        if asked.is_wrong(replace(request, layout=layout))
    ]
    plain = replace(request, layout="plain")
    if not wrong or asked.is_wrong(plain) is not False:
        return None, request
    layout, unit = _OFFSETS[wrong[0]], 2 * wrong[-1]

    def holds(other: Request) -> bool:
        return lay_out(other.audio(), other.layout).ctypes.data % unit != 0

    part = Part(
        f"with samples at an address that is no multiple of {unit} bytes",
        holds,
        lambda other: replace(other, layout=layout),
    )
    return part, replace(request, layout=layout)


_PAD_WORDS = {
    ("beyond", "equal"): "with pad_to",
    ("equal",): "with pad_to equal to the number of samples",
    ("beyond",): "with pad_to beyond the number of samples",
    ("none",): "without pad_to",
}


def _pad_words(wrong: Sequence[str], tried: Sequence[str]) -> str:
    return _PAD_WORDS.get(tuple(sorted(wrong)), f"with pad_to {_listed(wrong)}")


_BATCHES = _Property(
    lambda able: (0, 1, 2, 3, 4, 5, 6, 8) if able.batch else (0,),
    lambda request: 0 if request.recipe is not None else len(request.recipes),
    _batched,
    _batch_words,
)
_LAYOUTS = _Property(
    lambda able: ("plain", *_APART),
    lambda request: request.layout,
    lambda request, value: replace(request, layout=value),
    _layout_words,
)
_PROPERTIES = (
    _Property(
        lambda able: (0, 1, 2, 3, 4, 5, 8) if able.threads else (0,),
        lambda request: request.threads or 0,
        lambda request, value: replace(request, threads=value or None),
        _thread_words,
    ),
    _Property(
        lambda able: able.dtypes,
        _dtype,
        lambda request, value: _each(request, lambda recipe: _of_dtype(recipe, value)),
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
        _padding,
        _padded,
        _pad_words,
    ),
)


def option_of(some: Sequence[Request], every: Sequence[Request]) -> str | None:
    """Return, in words, the property that these requests have and no other has; None if none is."""
    for property in (_BATCHES, *_PROPERTIES):
        own = {property.of(request) for request in some}
        values = [property.of(request) for request in every]
        if len(some) == sum(value in own for value in values) < len(every):
            return property.words([*own], [*dict.fromkeys(values)])
    return None


# --------------------------------------------------------------------------- length


def _of_length(asked: Asked, request: Request) -> Found:
    """Find which numbers of samples are wrong: from one on, up to one, or with a remainder."""
    own = samples(request)
    padding = _padding(request)

    def of(n: int) -> Request:
        return _padded(_each(request, lambda recipe: with_length(recipe, n)), padding)

    def is_wrong(n: int) -> bool:
        return bool(asked.is_wrong(of(n)))

    tried = {n: is_wrong(n) for n in sorted({*_LENGTHS, own, *_around(own)})}
    if all(tried.values()):
        return None, request
    wrong = [n for n, it in tried.items() if it]
    right = [n for n, it in tried.items() if not it]
    if not wrong:
        return None, request  # the witness is wrong by what it holds
    found = _interval(is_wrong, wrong, right)
    if found is not None and found.is_open:
        return found.part, request
    part = _remainder(is_wrong, wrong, right)
    return part or (found.part if found is not None else None), request


@dataclass(frozen=True)
class _Interval:
    """Numbers of samples from ``low`` on and up to ``high``; None means without an end."""

    low: int | None
    high: int | None

    @property
    def is_open(self) -> bool:
        return self.low is None or self.high is None

    @property
    def part(self) -> Part:
        low, high = self.low, self.high
        if high is None:
            assert low is not None
            words = f"with more than {low - 1:,} samples"
        elif low is None:
            words = f"with fewer than {high + 1:,} samples"
        else:
            words = f"with {low:,} to {high:,} samples"

        def nearest(n: int) -> int:
            """Return a length within it, not always the same."""
            if high is not None and n > high:
                return max(high - n % 40, low or _LEAST)
            assert low is not None
            return min(low + n // 8, high or low + n // 8)

        return _length_part(
            words, lambda n: (low is None or n >= low) and (high is None or n <= high), nearest
        )


def _interval(
    is_wrong: Callable[[int], bool], wrong: Sequence[int], right: Sequence[int]
) -> _Interval | None:
    """Find an interval that all wrong lengths lie in, and no right one; None if there is none."""
    below, above = ([n for n in right if n < min(wrong)], [n for n in right if n > max(wrong)])
    if len(below) + len(above) < len(right) or (below and above and len(wrong) < _TELLING):
        return None
    low = _border(is_wrong, max(below), min(wrong)) + 1 if below else None
    high = _border(lambda n: not is_wrong(n), max(wrong), min(above)) if above else None
    first, last = low or _LEAST, high or 2 * (low or 0) + 500
    return _Interval(low, high) if _agree(is_wrong, first, last, True) else None


_TELLING = 3  # wrong lengths between right ones tell that those between them are wrong, too


def _around(n: int) -> Sequence[int]:
    return [it for it in (n - 1, n + 1, n + 77, n + 160) if it >= _LEAST]


def _agree(is_wrong: Callable[[int], bool], low: int, high: int, wanted: bool) -> bool:
    """Return whether some lengths between two are all wrong, or all right."""
    some = np.linspace(low, max(low, high), 5).astype(int) + np.array([0, 1, 2, 1, 0])
    return all(is_wrong(min(n, max(low, high))) == wanted for n in some.tolist())


def _border(is_wrong: Callable[[int], bool], right: int, wrong: int) -> int:
    """Return the last length that is right, of those below one that is wrong."""
    while wrong - right > 1:
        middle = (right + wrong) // 2
        if is_wrong(middle):
            wrong = middle
        else:
            right = middle
    return right


def _remainder(
    is_wrong: Callable[[int], bool], wrong: Sequence[int], right: Sequence[int]
) -> Part | None:
    """Find a divisor and the remainder that wrong lengths have, or all but wrong ones."""
    rare, common = (min(wrong), True), (min(right), False)
    for start, state in (rare, common) if len(wrong) <= len(right) else (common, rare):
        for period in _PERIODS:
            if all(is_wrong(start + k * period) is state for k in (1, 2, 3)):
                if period > 1 and is_wrong(start + period + 1) is not state:
                    return _remainder_part(period, start % period, state)
                break
    return None


def _remainder_part(period: int, remainder: int, is_wrong: bool) -> Part:
    """Return the part whose lengths have that remainder, or (not ``is_wrong``) have not."""

    def holds(n: int) -> bool:
        return (n % period == remainder) is is_wrong

    is_equal = "is" if is_wrong else "is not"
    words = (
        f"with a number n of samples of which n % {period} {is_equal} {remainder}"
        if remainder
        else f"with a number of samples that {is_equal} a multiple of {period}"
    )
    return _length_part(words, holds, lambda n: next(it for it in itertools.count(n) if holds(it)))


def _length_part(words: str, holds: Callable[[int], bool], nearest: Callable[[int], int]) -> Part:
    def put(request: Request) -> Request:
        n, padding = samples(request), _padding(request)
        if holds(n):
            return request
        changed = _each(request, lambda recipe: with_length(recipe, nearest(n)))
        return _padded(changed, padding)

    return Part(words, lambda request: holds(samples(request)), put)


def with_length(recipe: Recipe, n: int) -> Recipe:
    """Return a recipe of ``n`` samples: with quiet noise behind it, or with shorter parts."""
    own = length(recipe)
    if n >= own:
        dtype = {} if "dtype" not in recipe else {"dtype": recipe["dtype"]}
        return {"parts": [recipe, noise(n - own, 930, _QUIET, **dtype)]} if n > own else recipe
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


# --------------------------------------------------------------------------- the maximum's place


_CLIP = 4000  # samples
_PLACES: list[int] = np.linspace(0, _CLIP - 1, 9).astype(int).tolist()


def _with_loudest(request: Request, n: int, at: int) -> Request:
    """Return a request of clips of ``n`` quiet samples, but for a loud one at a place."""
    click = {"signal": "dc", "n": 1, "gain": 0.9, "dtype": _dtype(request)}
    quiet = (noise(m, 931, _QUIET, dtype=_dtype(request)) for m in (at, n - at - 1))
    recipe = {"parts": [it for it in (next(quiet), click, next(quiet)) if it["n"]]}
    return _each(request, lambda _: recipe)


def _of_maximum(asked: Asked, request: Request) -> Found:
    """Find where the loudest sample must lie: up to a place, or from one on."""

    def is_wrong(n: int, at: int) -> bool:
        return bool(asked.is_wrong(_with_loudest(request, n, at)))

    tried = [is_wrong(_CLIP, at) for at in _PLACES]
    changes = [i for i in range(8) if tried[i] != tried[i + 1]]
    if len(changes) != 1:
        return None, request
    first, is_late = changes[0], tried[-1]

    def border(n: int, low: int, high: int) -> int:
        """Return the first place from which it is wrong, or, if early ones are, right."""
        return _border(lambda at: is_wrong(n, at) is is_late, low, high) + 1

    at = border(_CLIP, _PLACES[first], _PLACES[first + 1])
    further = _CLIP + 2000
    if is_wrong(further, at + 2000) is is_late and is_wrong(further, at + 1999) is not is_late:
        return _maximum_part(_CLIP - at, is_late, from_end=True), request
    if is_wrong(further, at) is is_late and is_wrong(further, at - 1) is not is_late:
        return _maximum_part(at, is_late, from_end=False), request
    return None, request


def _maximum_part(place: int, is_late: bool, *, from_end: bool) -> Part:
    if from_end:
        where = "among the" if is_late else "before the"
        words = f"if the loudest sample is {where} last {place:,}"
    else:
        where = f"behind the first {place:,}" if is_late else f"among the first {place:,}"
        words = f"if the loudest sample is {where}"

    def holds(request: Request) -> bool:
        audio = np.atleast_2d(request.audio())[0]
        at = int(np.abs(audio.astype(np.float64)).argmax())
        border = audio.size - place if from_end else place
        return (at >= border) is is_late

    def put(request: Request) -> Request:
        if holds(request):
            return request
        click = {"signal": "dc", "n": 1, "gain": 0.99, "dtype": _dtype(request)}

        def change(recipe: Recipe) -> Recipe:
            return {"parts": [recipe, click] if is_late else [click, recipe]}

        return _each(request, change)

    return Part(words, holds, put)


# --------------------------------------------------------------------------- calls


def every(asks: Callable[[], bool], times: int) -> int | None:
    """Return the number of calls of which one is wrong, always; None if they are not so, or if all
    are wrong.

    ``asks`` makes the same call again, and says whether it is wrong.
    """
    wrong = [i for i in range(times) if asks()]
    apart = set(np.diff(wrong).tolist())
    if len(wrong) < 3 or len(apart) > 1 or apart == {1}:
        return None
    return int(apart.pop())
