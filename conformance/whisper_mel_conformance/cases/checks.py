"""The checks: each a question that can be put to a front-end, given as plain data.

A check takes a :class:`FrontEnd` and JSON arguments, so that a failure can be written down and
replayed. It returns the worst score (None where nothing is scored) and raises ``Failure``;
``Refused`` and ``Unsupported`` of the front-end pass through it unless the check says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_golden import golden_cases
from whisper_mel_golden.signals import render
from whisper_mel_reference import WHISPER, FrontEndSpec

from whisper_mel_conformance.cases.judging import LIMITS, judge, truth
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Refused, Unsupported

Array = NDArray[Any]
Recipe = Mapping[str, Any]
Check = Callable[..., "float | None"]

CHECKS: dict[str, Check] = {}

_LEAK_BYTES = 32 << 10  # a call, far above what an allocator's moods add
_GROWTH = {"bytes": 16 << 20, "files": 0, "threads": 0}  # in the last three quarters of many calls


def check(function: Check) -> Check:
    """Register a check under its name."""
    CHECKS[function.__name__] = function
    return function


# --------------------------------------------------------------------------- audio from arguments


def render_audio(recipe: Recipe) -> Array:
    """The samples of a recipe; some entries of it are the suite's own.

    ``dtype: "float64"``: the float32 samples divided by 3, which float32 cannot hold.
    ``poke: [index, value]``: one sample replaced (``"nan"`` and ``"inf"`` as strings).
    ``keep: [first, last]``: samples before the first and after the last are zero.
    """
    recipe = dict(recipe)
    poke = recipe.pop("poke", None)
    keep = recipe.pop("keep", None)
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
    return audio


def _threads(threads: int | None) -> dict[str, int]:
    """An option that the features do not depend on, where it is given."""
    return {} if threads is None else {"threads": threads}


def _options(n_mels: int, pad_to: int | None, smoothing: str | None) -> dict[str, Any]:
    options: dict[str, Any] = {"n_mels": n_mels, "pad_to": pad_to, "smoothing": smoothing}
    return {name: value for name, value in options.items() if value is not None}


def _spec(options: Mapping[str, Any]) -> FrontEndSpec:
    return WHISPER.replace(
        n_mels=options.get("n_mels", 80),
        pad_to=options.get("pad_to"),
        smoothing=options.get("smoothing"),
    )


def _judge(
    front_end: FrontEnd, actual: Array, audio: Array, spec: FrontEndSpec, **more: Any
) -> float:
    return judge(actual, audio, spec, LIMITS[front_end.capabilities.required_class], **more)


# --------------------------------------------------------------------------- one clip


@check
def golden(front_end: FrontEnd, case: str) -> float:
    """openai-whisper's own features."""
    given = _goldens()[case]
    audio = given.audio()
    actual = front_end.call(audio, **_options(given.n_mels, given.pad_to, given.smoothing))
    return _judge(
        front_end,
        actual,
        audio,
        given.spec,
        golden=given.expected(),
        golden_score=given.score,
    )


@lru_cache(maxsize=1)
def _goldens() -> dict[str, Any]:
    return {case.id: case for case in golden_cases()}


@check
def scored(
    front_end: FrontEnd,
    recipe: Recipe,
    n_mels: int = 80,
    pad_to: int | None = None,
    smoothing: str | None = None,
    layout: str = "plain",
    threads: int | None = None,
) -> float:
    """The features of one clip."""
    audio = render_audio(recipe)
    options = _options(n_mels, pad_to, smoothing)
    extra = _threads(threads)
    actual = front_end.call(audio, layout=layout, **options, **extra)
    return _judge(front_end, actual, audio, _spec(options))


@check
def sweep(
    front_end: FrontEnd,
    recipe: Recipe,
    lengths: Sequence[int],
    n_mels: int = 80,
    pad_to: int | None = None,
    layout: str = "plain",
    smoothing: str | None = None,
) -> float:
    """The features of clips of many lengths."""
    worst = 0.0
    options = _options(n_mels, pad_to, smoothing)
    for n in lengths:
        audio = render_audio({**recipe, "n": n})
        actual = front_end.call(audio, layout=layout, **options)
        worst = max(worst, _judge(front_end, actual, audio, _spec(options), where=f"{n} samples: "))
    return worst


@check
def in_layout(front_end: FrontEnd, recipe: Recipe, layout: str, n_mels: int = 80) -> float | None:
    """Unusual memory: the right features or an exception."""
    try:
        return scored(front_end, recipe, n_mels, layout=layout)
    except Refused as refusal:
        _require_strictness(front_end, refusal, None)
        return None


# --------------------------------------------------------------------------- relations


@check
def delay(front_end: FrontEnd, recipe: Recipe, hops: int, n_mels: int = 80) -> float:
    """A delay by whole hops moves the frames that do not see the clip's ends."""
    audio = render_audio(recipe)
    later = np.concatenate([np.zeros(hops * WHISPER.hop, audio.dtype), audio])
    spec = WHISPER.replace(n_mels=n_mels)
    first, second = (front_end.call(a, n_mels=n_mels) for a in (audio, later))
    scores = [_judge(front_end, y, a, spec) for y, a in ((first, audio), (second, later))]
    inner = slice(2, first.shape[1] - 2)
    # Each clip has its own maximum: what both clamp differently is left out.
    bottom = max(first.max(), second.max()) - WHISPER.dynamic_range / WHISPER.divisor
    a, b = first[:, inner], second[:, hops:][:, inner]
    allowed = truth(audio, spec).bound[:, inner] + truth(later, spec).bound[:, hops:][:, inner]
    _require_equal(front_end, a, b, allowed, (a > bottom + 0.01) & (b > bottom + 0.01), "delay")
    return max(scores)


@check
def gain(front_end: FrontEnd, recipe: Recipe, octaves: int, n_mels: int = 80) -> float:
    """A gain of a power of two adds a constant to every value that is not clamped."""
    audio = render_audio(recipe)
    louder = np.ldexp(audio, octaves)
    spec = WHISPER.replace(n_mels=n_mels)
    first, second = (front_end.call(a, n_mels=n_mels) for a in (audio, louder))
    scores = [_judge(front_end, y, a, spec) for y, a in ((first, audio), (second, louder))]
    step = 2.0 * octaves * np.log10(2.0) / WHISPER.divisor
    floor = (np.log10(WHISPER.floor) + WHISPER.offset) / WHISPER.divisor
    span = WHISPER.dynamic_range / WHISPER.divisor
    free = np.ones(first.shape, bool)
    for y in (first, second):
        free &= (y > floor + 0.01) & (y > y.max() - span + 0.01)
    allowed = truth(audio, spec).bound + truth(louder, spec).bound
    _require_equal(front_end, first + step, second, allowed, free, f"a gain of 2^{octaves}")
    return max(scores)


@check
def locality(front_end: FrontEnd, recipe: Recipe, at: int, n_mels: int = 80) -> float:
    """Changed samples change the frames that they lie in, and no other."""
    audio = render_audio(recipe)
    changed = audio.copy()
    changed[at : at + WHISPER.hop] *= audio.dtype.type(0.5)
    spec = WHISPER.replace(n_mels=n_mels)
    first, second = (front_end.call(a, n_mels=n_mels) for a in (audio, changed))
    scores = [_judge(front_end, y, a, spec) for y, a in ((first, audio), (second, changed))]
    centres = np.arange(first.shape[1]) * WHISPER.hop
    apart = (centres + WHISPER.reach < at) | (centres - WHISPER.reach > at + WHISPER.hop)
    apart &= (centres >= WHISPER.reach) & (centres + WHISPER.reach < audio.size)
    bottom = max(first.max(), second.max()) - WHISPER.dynamic_range / WHISPER.divisor
    free = apart & (first > bottom + 0.01) & (second > bottom + 0.01)
    allowed = truth(audio, spec).bound + truth(changed, spec).bound
    _require_equal(front_end, first, second, allowed, free, "a change elsewhere")
    return max(scores)


def _require_equal(
    front_end: FrontEnd, first: Array, second: Array, allowed: Array, where: Array, what: str
) -> None:
    """Two outputs must agree within their bounds, whatever the reference says."""
    limit = LIMITS[front_end.capabilities.required_class]
    excess = np.where(where, np.abs(first - second.astype(np.float64)) / allowed, 0.0)
    if not excess.max() <= limit:
        band, frame = np.unravel_index(int(np.argmax(excess)), excess.shape)
        raise Failure(
            f"{what} changes value[{band}, {frame}] from {first[band, frame]:.9g} to "
            f"{second[band, frame]:.9g}: expected a difference of at most "
            f"{limit * allowed[band, frame]:.3g}",
            score=float(excess.max()),
        )


# --------------------------------------------------------------------------- several calls


@check
def sequence(
    front_end: FrontEnd,
    calls: Sequence[Mapping[str, Any]],
    reuse_input: bool = False,
    spoil_results: bool = False,
) -> float:
    """Calls one after the other, each with its own features; ``recipe`` and options each."""
    specs = [_call(c) for c in calls]
    outputs = front_end.probe(
        "sequence",
        calls=specs,
        reuse_input=reuse_input,
        spoil_results=spoil_results,
        patience=max(1.0, len(calls) / 10),
    )
    return _judge_all(front_end, specs, [[output] for output in outputs])


@check
def repeats(
    front_end: FrontEnd,
    recipe: Recipe,
    times: int,
    n_mels: int = 80,
    pad_to: int | None = None,
    smoothing: str | None = None,
) -> float:
    """Equal calls give equal bits, and the right ones."""
    audio = render_audio(recipe)
    options = _options(n_mels, pad_to, smoothing)
    if front_end.capabilities.process_per_call:
        times = min(times, 3)
    actual = front_end.probe("repeat", audio=audio, times=times, patience=4.0, **options)
    return _judge(front_end, actual, audio, _spec(options))


@check
def in_threads(front_end: FrontEnd, calls: Sequence[Mapping[str, Any]], times: int) -> float:
    """Calls in threads of their own, all at the same time, each with its own features."""
    specs = [_call(c) for c in calls]
    if front_end.capabilities.process_per_call:
        times = 1
    outputs = front_end.probe("in_threads", calls=specs, times=times, patience=4.0)
    return _judge_all(front_end, specs, outputs)


@check
def growth(front_end: FrontEnd, recipe: Recipe, times: int, n_mels: int = 80) -> None:
    """Calls leave no memory, no open file and no thread behind."""
    left = front_end.probe(
        "growth", audio=render_audio(recipe), times=times, n_mels=n_mels, patience=4.0
    )
    for what, limit in (("bytes", _LEAK_BYTES), ("files", 0.5), ("threads", 0.5)):
        if not left[what] <= limit:
            raise Failure(f"each call leaves {left[what]:.6g} {what} behind")


@check
def endurance(front_end: FrontEnd, recipe: Recipe, times: int, parts: int) -> None:
    """So many calls that memory fills up if the least is left behind, ``parts`` times ``times``.

    Front-ends that take nothing but padded clips have it padded to its length. Nothing is scored:
    it is the same clip again and again.
    """
    audio = render_audio(recipe)
    options: dict[str, Any] = {}
    try:
        front_end.call(audio)
    except Unsupported:
        options["pad_to"] = audio.size
    usage = [
        front_end.probe("endure", audio=audio, times=times, patience=20.0, **options)
        for _ in range(parts)
    ]
    settled = parts // 4
    for what, limit in _GROWTH.items():
        grown = usage[-1][what] - usage[settled][what]
        if not grown <= limit:
            calls = times * (parts - 1 - settled)
            raise Failure(
                f"{calls} calls leave {grown:.6g} {what} behind: expected at most {limit}"
            )


def _call(arguments: Mapping[str, Any]) -> dict[str, Any]:
    options = dict(arguments)
    return {"audio": render_audio(options.pop("recipe")), **options}


def _judge_all(
    front_end: FrontEnd, calls: Sequence[Mapping[str, Any]], outputs: Sequence[Sequence[Array]]
) -> float:
    worst = 0.0
    for i, (call, results) in enumerate(zip(calls, outputs, strict=True)):
        for actual in results:
            where = f"call {i + 1} of {len(calls)}: "
            score = _judge(front_end, actual, call["audio"], _spec(call), where=where)
            worst = max(worst, score)
    return worst


# --------------------------------------------------------------------------- out and batches


@check
def into_out(
    front_end: FrontEnd,
    recipe: Recipe,
    memory: str,
    n_mels: int = 80,
    pad_to: int | None = None,
    smoothing: str | None = None,
) -> float:
    """Every value of ``out`` is written, and nothing beside it."""
    audio = render_audio(recipe)
    options = _options(n_mels, pad_to, smoothing)
    spec = _spec(options)
    shape = spec.feature_shape(audio.size)
    actual = front_end.probe("call_with_out", audio=audio, shape=shape, memory=memory, **options)
    return _judge(front_end, actual, audio, spec)


@check
def bad_out(front_end: FrontEnd, recipe: Recipe, bad: str) -> None:
    """An ``out`` that does not fit is refused, and nothing is written."""
    audio = render_audio(recipe)
    shape = WHISPER.feature_shape(audio.size)
    if front_end.probe("call_with_bad_out", audio=audio, shape=shape, bad=bad) is None:
        raise Failure(f"out of wrong {bad} was accepted: expected ValueError or TypeError")


@check
def batch(
    front_end: FrontEnd,
    recipes: Sequence[Recipe],
    n_mels: int = 80,
    pad_to: int | None = None,
    smoothing: str | None = None,
    layout: str = "plain",
    threads: int | None = None,
) -> float:
    """Each clip of a batch has the features that it has alone."""
    clips = [render_audio(recipe) for recipe in recipes]
    options = _options(n_mels, pad_to, smoothing)
    extra = _threads(threads)
    spec = _spec(options)
    actual = front_end.call(np.stack(clips), layout=layout, **options, **extra)
    expected = (len(clips), *spec.feature_shape(clips[0].size))
    if actual.shape != expected:
        raise Failure(f"shape {actual.shape}: expected {expected}", arrays={"actual": actual})
    return max(
        _judge(front_end, row, clip, spec, where=f"clip {i}: ")
        for i, (row, clip) in enumerate(zip(actual, clips, strict=True))
    )


# --------------------------------------------------------------------------- bad input


@check
def not_finite(
    front_end: FrontEnd, recipe: Recipe, n_mels: int = 80, threads: int | None = None
) -> float:
    """NaN or infinity: an exception, or values that are not finite where it lies; then recovery."""
    audio = render_audio(recipe)
    index = int(np.flatnonzero(~np.isfinite(audio))[0])
    extra = _threads(threads)
    try:
        output = front_end.call(audio, n_mels=n_mels, **extra)
    except Refused as refusal:
        _require_strictness(front_end, refusal, str(index))
    else:
        _forbid_acceptance(front_end, f"audio[{index}] = {audio[index]}")
        centres = np.arange(audio.size // WHISPER.hop) * WHISPER.hop
        hit = np.abs(centres - index) < WHISPER.reach  # the first sample of a frame weighs nothing
        if output.shape != (n_mels, centres.size):
            raise Failure(f"shape {output.shape}: expected {(n_mels, centres.size)}")
        swallowed = np.flatnonzero(hit & np.isfinite(output).all(axis=0))
        if swallowed.size:
            raise Failure(
                f"audio[{index}] is {audio[index]}, and frame {swallowed[0]}, which it lies in, "
                "has only finite values",
                arrays={"actual": output},
            )
    return _recovers(front_end, n_mels)


@check
def not_finite_in_batch(
    front_end: FrontEnd, recipes: Sequence[Recipe], layout: str = "plain"
) -> float:
    """NaN in one clip of a batch: an exception that names it, or values of that clip that are not
    finite; then recovery."""
    audio = np.stack([render_audio(recipe) for recipe in recipes])
    clip, index = (int(i) for i in np.argwhere(~np.isfinite(audio))[0])
    try:
        output = front_end.call(audio, layout=layout)
    except Refused as refusal:
        _require_strictness(front_end, refusal, str(index))
    else:
        _forbid_acceptance(front_end, f"audio[{clip}, {index}] = {audio[clip, index]}")
        if np.isfinite(output[clip]).all():
            raise Failure(f"audio[{clip}, {index}] is NaN, and its clip has only finite values")
    return _recovers(front_end)


@check
def too_short(front_end: FrontEnd, n: int) -> float:
    """Fewer than 201 samples: no crash, no hang, nothing that is not finite; then recovery."""
    audio = render({"signal": "noise", "n": n, "gain": 0.1, "seed": n})
    try:
        output = front_end.probe("call_raw", audio=audio)
    except Refused as refusal:
        _require_strictness(front_end, refusal, "audio")
    else:
        _forbid_acceptance(front_end, f"{n} samples")
        if isinstance(output, np.ndarray) and not np.isfinite(output).all():
            raise Failure(f"{n} samples give values that are not finite")
    return _recovers(front_end)


@check
def unusual(front_end: FrontEnd, kind: str) -> float:
    """Input of a rank, type or size that no front-end needs to take: no crash; then recovery."""
    try:
        front_end.probe("call_raw", audio=_unusual_audio(kind))
    except Refused as refusal:
        _require_strictness(front_end, refusal, "audio")
    else:
        _forbid_acceptance(front_end, kind)
    return _recovers(front_end)


def _unusual_audio(kind: str) -> Array:
    noise: Array = render({"signal": "noise", "n": 1600, "gain": 0.1, "seed": 1})
    makers: dict[str, Callable[[], Array]] = {
        "rank-0": lambda: np.array(0.5, np.float32),
        "rank-2": lambda: np.stack([noise, noise]),
        "rank-3": lambda: np.stack([noise, noise])[np.newaxis],
        "no-clips": lambda: np.empty((0, 1600), np.float32),
        "column": lambda: noise[:, np.newaxis],
        "int8": lambda: (127 * noise).astype(np.int8),
        "uint8": lambda: (127 + 127 * noise).astype(np.uint8),
        "uint16": lambda: (32767 + 32767 * noise).astype(np.uint16),
        "int32": lambda: (32767 * noise).astype(np.int32),
        "int64": lambda: (32767 * noise).astype(np.int64),
        "bool": lambda: noise > 0,
        "float16": lambda: noise.astype(np.float16),
        "complex64": lambda: noise.astype(np.complex64),
    }
    return makers[kind]()


@check
def overflow(front_end: FrontEnd, gain: float) -> float:
    """Amplitudes whose power overflows: no crash, and no silence; then recovery."""
    audio = render({"signal": "noise", "n": 4000, "gain": gain, "seed": 5})
    try:
        output = front_end.call(audio)
    except Refused as refusal:
        _require_strictness(front_end, refusal, "audio")
    else:
        if gain > 1e18:
            _forbid_acceptance(front_end, f"an amplitude of {gain:g}")
        if np.isfinite(output).all() and not output.max() > 0.0:
            raise Failure(
                f"noise of amplitude {gain:g} reads as silence", arrays={"actual": output}
            )
    return _recovers(front_end)


@check
def bad_option(front_end: FrontEnd, n: int, name: str, options: Mapping[str, Any]) -> float:
    """An option that cannot be met raises an exception naming it; then recovery."""
    audio = render({"signal": "noise", "n": n, "gain": 0.1, "seed": 3})
    try:
        front_end.probe("call_raw", audio=audio, **options)
    except Refused as refusal:
        _require_strictness(front_end, refusal, name)
    else:
        raise Failure(f"{dict(options)} was accepted for {n} samples: expected an exception")
    return _recovers(front_end)


@check
def strict_option(front_end: FrontEnd, option: Sequence[Any]) -> float | None:
    """An impossible value of an option, which the error policy refuses."""
    name, value = option
    return bad_option(front_end, 4000, name, {name: value})


def _require_strictness(front_end: FrontEnd, refusal: Refused, names: str | None) -> None:
    """Front-ends that promise our error policy raise two kinds of errors, which name things."""
    if front_end.capabilities.errors != "strict":
        return
    if names is None:
        raise Failure(f"refused what must be accepted: {refusal}")
    if not {"ValueError", "TypeError"} & set(refusal.types):
        raise Failure(f"raised {refusal}: expected ValueError or TypeError")
    if names not in refusal.message:
        raise Failure(f"raised {refusal}: expected the message to name {names}")


def _forbid_acceptance(front_end: FrontEnd, what: str) -> None:
    if front_end.capabilities.errors == "strict":
        raise Failure(f"{what} was accepted: expected ValueError or TypeError")


def _recovers(front_end: FrontEnd, n_mels: int = 80) -> float:
    """After whatever happened, an ordinary clip has its features."""
    audio = render({"signal": "noise_ramp", "n": 4000, "seed": 4})
    actual = front_end.call(audio, n_mels=n_mels)
    spec = WHISPER.replace(n_mels=n_mels)
    return _judge(front_end, actual, audio, spec, where="the next call: ")
