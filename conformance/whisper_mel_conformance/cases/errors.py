"""Errors: bad input, and what comes after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from whisper_mel_golden.signals import render
from whisper_mel_reference import WHISPER

from whisper_mel_conformance.cases.case import Case, Family
from whisper_mel_conformance.cases.check import check, judge_request, require_strictness
from whisper_mel_conformance.cases.recipes import SECOND, Array, noise, signal
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Refused

_ORDINARY = Request(signal("noise_ramp", 4000, seed=4))
"""The request that is made after bad input."""


def _recovers(front_end: FrontEnd, n_mels: int = 80) -> float:
    """Require that after whatever happened an ordinary clip has its features."""
    return judge_request(front_end, replace(_ORDINARY, n_mels=n_mels), where="the next call: ")


def _forbid_acceptance(front_end: FrontEnd, what: str) -> None:
    if front_end.capabilities.errors == "strict":
        raise Failure(f"{what} was accepted: expected ValueError or TypeError")


# --------------------------------------------------------------------------- samples


@check(lambda request: [request, replace(_ORDINARY, n_mels=request.n_mels)])
def not_finite(front_end: FrontEnd, request: Request) -> float:
    """Require that NaN or infinity is refused, or makes its frames not finite; then recovery."""
    audio = request.audio()
    index = int(np.flatnonzero(~np.isfinite(audio))[0])
    try:
        output = front_end.call(audio, **request.options())
    except Refused as refusal:
        require_strictness(front_end, refusal, str(index))
    else:
        _forbid_acceptance(front_end, f"audio[{index}] = {audio[index]}")
        shape = request.spec().feature_shape(audio.size)
        centres = np.arange(shape[1]) * WHISPER.hop
        hit = np.abs(centres - index) < WHISPER.reach  # the first sample of a frame weighs nothing
        if output.shape != shape:
            raise Failure(f"shape {output.shape}: expected {shape}")
        swallowed = np.flatnonzero(hit & np.isfinite(output).all(axis=0))
        if swallowed.size:
            raise Failure(
                f"audio[{index}] is {audio[index]}, and frame {swallowed[0]}, which it lies in, "
                "has only finite values",
                arrays={"actual": output},
            )
    return _recovers(front_end, request.n_mels)


@check(lambda request: [request, _ORDINARY])
def not_finite_in_batch(front_end: FrontEnd, request: Request) -> float:
    """Require that NaN in one clip of a batch is refused, or spoils that clip; then recovery."""
    audio = request.audio()
    clip, index = (int(i) for i in np.argwhere(~np.isfinite(audio))[0])
    try:
        output = front_end.call(audio, **request.options())
    except Refused as refusal:
        require_strictness(front_end, refusal, str(index))
    else:
        _forbid_acceptance(front_end, f"audio[{clip}, {index}] = {audio[clip, index]}")
        if np.isfinite(output[clip]).all():
            raise Failure(f"audio[{clip}, {index}] is NaN, and its clip has only finite values")
    return _recovers(front_end)


@check(lambda n: [Request(noise(n, seed=n)), _ORDINARY])
def too_short(front_end: FrontEnd, n: int) -> float:
    """Require of fewer than 201 samples no crash and only finite values; then a right call."""
    try:
        output = front_end.perform("call_raw", audio=render(noise(n, seed=n)))
    except Refused as refusal:
        require_strictness(front_end, refusal, "audio")
    else:
        _forbid_acceptance(front_end, f"{n} samples")
        if isinstance(output, np.ndarray) and not np.isfinite(output).all():
            raise Failure(f"{n} samples give values that are not finite")
    return _recovers(front_end)


@check(lambda kind: [_ORDINARY])  # the bad input has fewer samples
def unusual(front_end: FrontEnd, kind: str) -> float:
    """Require no crash of audio whose rank, type or size may be refused; then a right call."""
    try:
        if kind == "masked":
            front_end.perform("call_raw", audio=render(noise(1600)), layout=kind)
        else:
            front_end.perform("call_raw", audio=_unusual_audio(kind))
    except Refused as refusal:
        require_strictness(front_end, refusal, "audio")
    else:
        _forbid_acceptance(front_end, kind)
    return _recovers(front_end)


def _unusual_audio(kind: str) -> Array:
    samples: Array = render(noise(1600))
    makers: dict[str, Callable[[], Array]] = {
        "rank-0": lambda: np.array(0.5, np.float32),
        "rank-2": lambda: np.stack([samples, samples]),
        "rank-3": lambda: np.stack([samples, samples])[np.newaxis],
        "no-clips": lambda: np.empty((0, 1600), np.float32),
        "column": lambda: samples[:, np.newaxis],
        "int8": lambda: (127 * samples).astype(np.int8),
        "uint8": lambda: (127 + 127 * samples).astype(np.uint8),
        "uint16": lambda: (32767 + 32767 * samples).astype(np.uint16),
        "int32": lambda: (32767 * samples).astype(np.int32),
        "int64": lambda: (32767 * samples).astype(np.int64),
        "bool": lambda: samples > 0,
        "float16": lambda: samples.astype(np.float16),
        "complex64": lambda: samples.astype(np.complex64),
    }
    return makers[kind]()


@check(lambda gain: [Request(noise(4000, 5, gain)), _ORDINARY])
def overflow(front_end: FrontEnd, gain: float) -> float:
    """Require no crash, and no silence, of amplitudes whose power overflows; then recovery."""
    try:
        output = front_end.call(render(noise(4000, 5, gain)))
    except Refused as refusal:
        require_strictness(front_end, refusal, "audio")
    else:
        if gain > 1e18:
            _forbid_acceptance(front_end, f"an amplitude of {gain:g}")
        if np.isfinite(output).all() and not output.max() > 0.0:
            raise Failure(
                f"noise of amplitude {gain:g} reads as silence", arrays={"actual": output}
            )
    return _recovers(front_end)


# --------------------------------------------------------------------------- options


@check(lambda n, name, options: [Request(noise(n, 3), **options), _ORDINARY])
def bad_option(front_end: FrontEnd, n: int, name: str, options: Mapping[str, Any]) -> float:
    """Require an exception naming an option that cannot be met; then recovery."""
    try:
        front_end.perform("call_raw", audio=render(noise(n, seed=3)), **options)
    except Refused as refusal:
        require_strictness(front_end, refusal, name)
    else:
        raise Failure(f"{dict(options)} was accepted for {n} samples: expected an exception")
    return _recovers(front_end)


_POSSIBLE: dict[str, Any] = {"n_mels": 80, "smoothing": "same", "pad_to": 1, "threads": 1}
"""A possible value of each option. Who does not claim that is not asked for an impossible one."""


@check(lambda option: [replace(_ORDINARY, **{option[0]: _POSSIBLE[option[0]]}), _ORDINARY])
def strict_option(front_end: FrontEnd, option: Sequence[Any]) -> float | None:
    """Require that an impossible value of an option is refused, as the error policy says."""
    name, value = option
    return bad_option(front_end, 4000, name, {name: value})


# --------------------------------------------------------------------------- cases


def _cases(_profile: str) -> Iterator[Case]:
    for value in ("nan", "inf", "-inf"):
        for at in (0, 5, 199, 200, 2000, 3999):
            recipe = noise(4000, 61, poke=[at, value])
            yield Case(f"errors/{value}-at-{at}", "not_finite", {"recipe": recipe})
        recipe = noise(SECOND, 62, poke=[9000, value])
        yield Case(f"errors/{value}/128", "not_finite", {"recipe": recipe, "n_mels": 128})
    broken = {"recipe": noise(SECOND, 69, poke=[9000, "nan"])}
    yield Case("errors/nan-unwritten", "unwritten", broken, ("same_process",))
    # Samples that no frame reaches: here 4040 to 4078.
    recipe = noise(4079, 63, poke=[4070, "nan"])
    yield Case("errors/nan-beyond-the-last-frame", "not_finite", {"recipe": recipe})
    for name, at in (("first", 4040), ("last", 4078)):
        for value in ("nan", "inf"):
            recipe = noise(4079, 63, poke=[at, value])
            yield Case(f"errors/{value}-{name}-unheard", "not_finite", {"recipe": recipe})
    for name, at in (("amid", 41_000), ("last-unheard", 80_078)):
        arguments = {"recipe": noise(80_079, 67, poke=[at, "nan"]), "threads": 2}
        yield Case(f"errors/nan-{name}-2-threads", "not_finite", arguments)
    recipes = [noise(4077, 64), noise(4077, 65, poke=[1234, "nan"]), noise(4077, 66)]
    yield Case("errors/nan-in-a-batch", "not_finite_in_batch", {"recipes": recipes})
    apart = {"recipes": recipes, "layout": "rows-apart"}
    yield Case("errors/nan-in-rows-apart", "not_finite_in_batch", apart)
    for kind in _UNUSUAL:
        yield Case(f"errors/{kind}", "unusual", {"kind": kind})
    yield Case("errors/masked", "unusual", {"kind": "masked"}, ("same_process",))
    for kind in ("rank-2", "column"):
        yield Case(f"errors/{kind}", "unusual", {"kind": kind}, ("single_clips",))
    for gain in (1e17, 1e19, 1e30, 3e38):
        yield Case(f"errors/overflow-{gain:g}", "overflow", {"gain": gain})
    for case, (n, name, value) in _NOT_MET.items():
        arguments = {"n": n, "name": name, "options": {name: value}}
        yield Case(f"errors/{case}", "bad_option", arguments)
    for case, option in _IMPOSSIBLE.items():
        yield Case(f"errors/{case}", "strict_option", {"option": option}, ("errors",))


_UNUSUAL = (
    *("rank-0", "rank-3", "no-clips", "int8", "uint8", "uint16", "int32", "int64"),
    *("bool", "float16", "complex64"),
)
_NOT_MET: dict[str, tuple[int, str, Any]] = {
    "longer-than-pad_to": (4000, "pad_to", 3999),
    "much-longer-than-pad_to": (16_000, "pad_to", 400),
    "valid-of-two-frames": (479, "smoothing", "valid"),
}
"""Numbers of samples with an option that a clip of that length cannot meet."""
_IMPOSSIBLE: dict[str, list[Any]] = {
    "n_mels-81": ["n_mels", 81],
    "n_mels-0": ["n_mels", 0],
    "unknown-smoothing": ["smoothing", "full"],
    "negative-pad_to": ["pad_to", -1],
    "no-threads": ["threads", 0],
}


ERRORS = Family("errors", "bad input crashes, is swallowed, or spoils the next call", _cases)
