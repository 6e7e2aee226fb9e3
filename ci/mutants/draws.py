"""Faulty front-ends that are drawn by seed, for the diagnosis to find out what they do.

Four groups: a quirk of the catalogue (``single``), two of different kinds (``pair``), a quirk that
shows under a condition alone (``condition``), and faults that the catalogue has not (``outside``).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from whisper_mel_conformance.cases.recipes import noise, rising, signal
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis.answer import Variant, Variants
from whisper_mel_conformance.diagnosis.long_clips import OF_CHUNKS
from whisper_mel_conformance.frontend.layouts import lay_out
from whisper_mel_conformance.quirks import CATALOGUE, Quirk
from whisper_mel_conformance.quirks.path import Variation, log_mel
from whisper_mel_conformance.quirks.quirk import QuirkyFrontEnd
from whisper_mel_reference import WHISPER

from mutants.outside import FAULTS

Array = Any

GROUPS = ("single", "pair", "condition", "outside")
_OF_LONG_CLIPS = {id for ids in OF_CHUNKS for id in ids}
PATH = [
    quirk
    for quirk in CATALOGUE.values()
    if quirk.vary is not None and quirk.id not in _OF_LONG_CLIPS
]
"""The quirks of the signal path that clips of less than 30 s show."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A faulty front-end.

    ``words`` say what it does. ``variants`` are the quirks that it has, if its fault is of the
    catalogue; ``kinds`` those of its faults. ``when`` is the condition under which it is wrong;
    None if it always is.
    """

    words: str
    source: Any
    variants: Variants
    kinds: frozenset[str]
    when: When | None = None


def drawn(group: str, seed: int, index: int) -> Drawn:
    """Draw the front-end number ``index`` of a group; raise ``KeyError`` for another group."""
    choice = random.Random(f"{group}/{seed}/{index}")
    order = random.Random(f"{group}/{seed}")  # every quirk before one comes again
    return _GROUPS[group](choice, order, index)


def _single(choice: random.Random, order: random.Random, index: int) -> Drawn:
    quirk = order.sample(PATH, len(PATH))[index % len(PATH)]
    return _of_catalogue([quirk], choice)


def _pair(choice: random.Random, order: random.Random, index: int) -> Drawn:
    while True:
        two = sorted(choice.sample(PATH, 2), key=PATH.index)
        if two[0].kind != two[1].kind:
            return _of_catalogue(two, choice)


def _of_catalogue(quirks: Sequence[Quirk], choice: random.Random) -> Drawn:
    variants = tuple(Variant(quirk.id, another_value(quirk, choice)) for quirk in quirks)
    source = QuirkyFrontEnd([variant.variation for variant in variants], "drawn")
    kinds = frozenset(quirk.kind for quirk in quirks)
    return Drawn(" and ".join(map(str, variants)), source, variants, kinds)


def another_value(quirk: Quirk, choice: random.Random) -> float | None:
    """Draw a number between two values of the grid, if there are any."""
    if quirk.parameter is None:
        return None
    grid = quirk.parameter.grid
    if quirk.parameter.listed:
        return choice.choice(grid)
    i = choice.randrange(len(grid) - 1)
    low, high, part = grid[i], grid[i + 1], choice.uniform(0.1, 0.9)
    value = low * (high / low) ** part if low > 0 else low + (high - low) * part
    # Of whole numbers, 0 may lie between two: no delay is no fault.
    return (round(value) or high) if quirk.parameter.whole else value


def _outside(choice: random.Random, order: random.Random, index: int) -> Drawn:
    """Draw one fault, of every third front-end two."""
    faults = order.sample([*FAULTS], len(FAULTS))
    chosen = [faults[index % len(faults)]]
    if index % 3 == 2:
        chosen.append(choice.choice([fault for fault in faults if fault is not chosen[0]]))
    source = QuirkyFrontEnd([Variation(stages=fault(choice)) for fault in chosen], "drawn")
    words = " and ".join(fault.__name__.replace("_", " ") for fault in chosen)
    return Drawn(words, source, (), frozenset().union(*(FAULTS[fault] for fault in chosen)))


# --------------------------------------------------------------------------- conditions


@dataclass(frozen=True)
class Call:
    """What a condition is about: a call as it reaches a front-end.

    ``clips`` is the size of a batch, 0 for a clip; ``number`` counts calls from 1, those of a
    ``thread`` likewise.
    """

    audio: Array
    clips: int
    n_mels: int
    pad_to: int | None
    threads: int | None
    number: int = 0
    thread: int = 0

    @property
    def n(self) -> int:
        """The number of samples."""
        return int(self.audio.shape[-1])

    @property
    def loudest(self) -> int:
        """The place of the loudest sample, of the first clip."""
        return int(np.abs(np.atleast_2d(self.audio)[0].astype(np.float64)).argmax())

    @classmethod
    def of(cls, request: Request) -> Call:
        """Return the call that a request becomes."""
        audio = lay_out(request.audio(), request.layout)
        clips = len(request.recipes)
        return cls(audio, clips, request.n_mels, request.pad_to, request.threads)


@dataclass(frozen=True, eq=False)
class When:
    """A condition of a call. ``lengths`` are numbers of samples near to where it changes, and
    ``said`` is what the diagnosis must say of a condition that is not about single calls."""

    words: str
    holds: Callable[[Call], bool]
    lengths: Sequence[int] = ()
    said: str = ""


class Conditional:
    """A front-end with a quirk that shows under a condition alone."""

    capabilities = {**QuirkyFrontEnd.capabilities, "threads": True}

    def __init__(self, variations: list[Variation], holds: Callable[[Call], bool]) -> None:
        self._variations, self._holds = variations, holds
        self._calls, self._of_thread = 0, threading.local()

    def log_mel(
        self,
        audio: Array,
        n_mels: int = 80,
        *,
        pad_to: int | None = None,
        smoothing: Any = None,
        maximum: Any = "clip",
        threads: int | None = None,
    ) -> Array:
        """Compute float32 features, wrong ones under the condition."""
        self._calls += 1
        self._of_thread.calls = getattr(self._of_thread, "calls", 0) + 1
        clips = len(audio) if audio.ndim == 2 else 0
        call = Call(audio, clips, n_mels, pad_to, threads, self._calls, self._of_thread.calls)
        wanted = WHISPER.replace(n_mels=n_mels, pad_to=pad_to, smoothing=smoothing, maximum=maximum)
        return log_mel(audio, wanted, self._variations if self._holds(call) else [])


def _condition(choice: random.Random, order: random.Random, index: int) -> Drawn:
    when = order.sample(_CONDITIONS, len(_CONDITIONS))[index % len(_CONDITIONS)](choice)
    while True:
        fault = _of_catalogue([choice.choice(PATH)], choice)
        if _is_plain(fault.source):
            break
    source = Conditional([variant.variation for variant in fault.variants], when.holds)
    return Drawn(f"{fault.words}, {when.words}", source, fault.variants, fault.kinds, when)


_PLAIN = 0.05  # of features


def _is_plain(source: Any) -> bool:
    """Return whether a fault shows in any clip, whatever is asked: in rising noise."""
    right = QuirkyFrontEnd([], "right")
    for request in (
        *(Request(rising(n, 940)) for n in (640, 1777, 3203)),
        *(Request({**rising(1777, 941), "dtype": dtype}) for dtype in ("int16", "float64")),
        Request(rising(1777, 942), n_mels=128, pad_to=1777),
        Request(rising(1777, 943), pad_to=3000),
        Request(recipes=[rising(1777, 944), rising(1777, 945)]),
    ):
        audio, options = request.audio(), request.options()
        try:
            made, expected = (it.log_mel(audio, **options) for it in (source, right))
        except ValueError:  # a clip that it makes longer may be longer than pad_to
            return False
        if made.shape == expected.shape and not np.abs(made - expected).max() > _PLAIN:
            return False
    return True


def _about(most: float, least: float, choice: random.Random) -> int:
    return round(float(np.exp(choice.uniform(np.log(least), np.log(most)))))


def _longer(choice: random.Random) -> When:
    n = _about(30_000, 300, choice)
    return When(f"n > {n}", lambda call: call.n > n, (n - 1, n, n + 1))


def _shorter(choice: random.Random) -> When:
    n = _about(3500, 300, choice)
    return When(f"n < {n}", lambda call: call.n < n, (n - 1, n, n + 1))


def _multiple(choice: random.Random) -> When:
    common = (2, 4, 8, 16, 32, 64, 100, 128, 160, 256, 320, 400, 480, 512, 1000, 1600)
    k = choice.choice([choice.choice(common), choice.randrange(2, 60)])
    lengths = [k * choice.randrange(-(-300 // k), 12_000 // k + 1) for _ in range(8)]
    return When(f"n % {k} == 0", lambda call: call.n % k == 0, lengths)


def _counted(choice: random.Random) -> When:
    k = choice.randrange(2, 40)
    return When(f"call % {k} == 0", lambda call: call.number % k == 0, said=f"one in {k} was wrong")


def _of_dtype(choice: random.Random) -> When:
    dtype = choice.choice(["float64", "int16"])
    return When(f"dtype == {dtype}", lambda call: call.audio.dtype.newbyteorder("=") == dtype)


def _of_bands(choice: random.Random) -> When:
    bands = choice.choice([80, 128])
    return When(f"n_mels == {bands}", lambda call: call.n_mels == bands)


def _of_threads(choice: random.Random) -> When:
    least = choice.choice([1, 2, 3, 4])
    return When(f"threads >= {least}", lambda call: (call.threads or 0) >= least)


def _of_batches(choice: random.Random) -> When:
    least = choice.choice([1, 2, 3])
    return When(f"batch >= {least}", lambda call: call.clips >= least)


def _misaligned(choice: random.Random) -> When:
    by = choice.choice([8, 16])
    return When(f"address % {by} != 0", lambda call: call.audio.ctypes.data % by != 0)


def _loudest_late(choice: random.Random) -> When:
    last = choice.randrange(100, 1500)
    return When(f"loudest in the last {last}", lambda call: call.loudest >= call.n - last)


def _loudest_early(choice: random.Random) -> When:
    first = choice.randrange(100, 1500)
    return When(f"loudest before {first}", lambda call: call.loudest < first)


_CONDITIONS: list[Callable[[random.Random], When]] = [
    *(_longer, _longer, _shorter, _multiple, _multiple),
    *(_of_dtype, _of_bands, _of_threads, _of_batches),
    lambda choice: When("pad_to given", lambda call: call.pad_to is not None),
    lambda choice: When("pad_to == n", lambda call: call.pad_to == call.n),
    lambda choice: When(
        "samples apart", lambda call: call.audio.strides[-1] != call.audio.itemsize
    ),
    *(_misaligned, _loudest_late, _loudest_early, _counted),
    lambda choice: When(
        "a thread's first call", lambda call: call.thread == 1, said="The first call of a thread"
    ),
]

_GROUPS = {"single": _single, "pair": _pair, "condition": _condition, "outside": _outside}


# --------------------------------------------------------------------------- what is held out


def held_out(choice: random.Random) -> Iterator[Request]:
    """Draw requests whose answers tell whether two front-ends are equal by their output."""

    def n() -> int:
        return choice.randrange(700, 6000)

    def seed() -> int:
        return choice.randrange(10_000)

    yield Request(noise(n(), seed(), choice.uniform(0.05, 0.9)))
    yield Request(noise(n(), seed(), 10.0 ** choice.uniform(-4.5, -3.0)))
    yield Request(rising(n(), seed()), n_mels=128)
    yield Request({**rising(n(), seed()), "dtype": "int16"})
    yield Request(rising(n(), seed()), pad_to=8000)
    tone = {"frequency": choice.uniform(100.0, 7000.0), "noise_db": -100.0, "gain": 0.6}
    recipes = [signal("tone_in_noise", n(), seed=seed(), **tone), signal("silence", 480)]
    yield Request({"parts": [*recipes, noise(n(), seed(), 0.3)]})
    start = choice.randrange(4000, 20_000)
    yield Request(signal("speech", 8000, recording="sense-and-sensibility", start=start))
    even = n()
    yield Request(recipes=[noise(even, seed(), 0.4), noise(even, seed(), 1e-3)])


def calls(when: When, choice: random.Random) -> Iterator[Request]:
    """Draw requests that tell whether two conditions are the same one."""
    for i in range(90):
        n = choice.choice([choice.randrange(240, 6000), _about(40_000, 240, choice)])
        if when.lengths and i % 2:
            n = max(choice.choice(when.lengths), 240)
        recipe: dict[str, Any] = rising(n, i)
        if choice.random() < 0.4:
            at = choice.randrange(n)
            at = choice.choice([at, min(at, 1500), max(n - 1500, at)])
            click = signal("dc", 1, gain=0.9)
            loud = [noise(at, i, 1e-3), click, noise(n - at - 1, i + 1, 1e-3)]
            recipe = {"parts": [part for part in loud if part["n"]]}
        elif choice.random() < 0.3:
            recipe["dtype"] = choice.choice(["float64", "int16"])
        request = Request(recipe, n_mels=choice.choice([80, 128]))
        if choice.random() < 0.4:
            request = replace(request, pad_to=choice.choice([n, n + 1, n + 4000]))
        if choice.random() < 0.3:
            request = replace(request, threads=choice.choice([1, 2, 3, 4, 6]))
        if choice.random() < 0.3:
            clips = choice.choice([1, 2, 3, 4, 7])
            request = replace(request, recipe=None, recipes=[recipe] * clips)
        elif choice.random() < 0.3:
            layouts = ("stride-2", "stride-5", "reversed", "column", "offset-4", "offset-8")
            request = replace(request, layout=choice.choice(layouts))
        yield request
