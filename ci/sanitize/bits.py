"""Calls whose features have the same bits wherever the kernel runs, those of the CPU's library."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from whisper_mel_golden.signals import render
from whisper_mel_golden.speech import load_recording, recordings
from whisper_mel_mojo import log_mel

Array = NDArray[Any]


class Call(NamedTuple):
    """A call of a front-end: its name, its audio, and its options."""

    name: str
    audio: Array
    options: dict[str, Any]

    def needs(self) -> set[str]:
        """Return what a front-end must take.

        That are ``int16``, ``batch``, ``pad_to``, ``smoothing``, kinds of ``maximum`` (``fixed``
        and ``chunk``), and types of features.
        """
        found = {"pad_to", "smoothing"} & {*self.options}
        maximum = self.options.get("maximum", "clip")
        found |= {maximum if isinstance(maximum, str) else "fixed"} - {"clip"}
        found |= {self.options.get("dtype", "float32")} - {"float32"}
        found |= {"int16"} if self.audio.dtype == np.int16 else set()
        return found | ({"batch"} if self.audio.ndim == 2 else set())


def calls() -> Iterator[Call]:
    """Yield calls that together reach every part of the kernel: edges, groups, levels, options."""
    speech = load_recording(recordings()[0])
    floats = speech.astype(np.float32) / np.float32(32768)
    yield Call("speech, int16", speech, {})
    yield Call("speech, float32", floats, {"n_mels": 128})
    for smoothing in ("valid", "same"):
        yield Call(f"speech, {smoothing}", floats, {"smoothing": smoothing})
        yield Call(f"speech, {smoothing}, 128", floats, {"smoothing": smoothing, "n_mels": 128})
    yield Call("speech to 30 s", floats, {"pad_to": 480_000})
    for name, recipe in _RECIPES.items():
        yield Call(name, render({"n": 16_080, **recipe}), {})
    noise = render({"signal": "noise", "n": 21 * 160, "seed": 7, "gain": 0.1})
    for frames in range(1, 21):  # every remainder of 16
        yield Call(f"{frames} frames", noise[: max(201, 160 * frames + 7 * frames)], {})
    batch = render({"signal": "noise_ramp", "n": 3 * 9000}).reshape(3, 9000)
    yield Call("batch", batch, {})
    yield Call("batch, backwards, smoothed", batch[::-1], {"smoothing": "same"})
    yield Call("batch of int16", (batch * 32767).astype(np.int16), {"n_mels": 128})
    for maximum in (1.5, "chunk"):
        for dtype in ("float32", "float16", "bfloat16"):
            options = {"maximum": maximum, "dtype": dtype}
            yield Call(f"maximum {maximum}, {dtype}", batch, options)
            yield Call(f"maximum {maximum}, {dtype}, 128", batch[0], {**options, "n_mels": 128})
    long = render({"signal": "loud_tail", "n": 31 * 16_000})
    yield Call("31 s, chunk", long, {"maximum": "chunk"})
    for dtype in ("float16", "bfloat16"):
        yield Call(f"speech, {dtype}", floats, {"dtype": dtype})
    formed = {"maximum": 0.5, "dtype": "float16", "smoothing": "same"}
    yield Call("maximum 0.5, float16, smoothed", batch, formed)


_RECIPES: dict[str, dict[str, Any]] = {
    "silence": {"signal": "silence"},
    "chirp": {"signal": "chirp"},
    "clicks": {"signal": "clicks"},
    "denormal noise": {"signal": "noise", "gain": 1e-41},
    "noise near the floor": {"signal": "noise", "gain": 1.2e-5},
    "loud noise": {"signal": "noise", "gain": 1e15},
    "loud tail": {"signal": "loud_tail"},
}


def _bits(features: Array) -> Array:
    """Return the bits of float32 features, and of others in float32, where they are exact."""
    return np.ascontiguousarray(features, np.float32).view(np.uint32)


def differences(
    front_end: Callable[..., Any], lacks: Collection[str] = ()
) -> tuple[int, list[str]]:
    """Return the number of calls made, and a sentence for each whose bits are not the CPU's.

    ``front_end`` is a function like ``log_mel``; calls that need what it ``lacks`` are left out,
    and so are those for bfloat16 without the package that NumPy has it from.
    """
    lacks = {*lacks, *(() if find_spec("ml_dtypes") else ("bfloat16",))}
    made, found = 0, []
    for call in calls():
        if call.needs() & lacks:
            continue
        expected = log_mel(call.audio, **call.options)
        actual = front_end(call.audio, **call.options)
        made += 1
        if actual.shape != expected.shape:
            found.append(f"{call.name}: shape {actual.shape}, expected {expected.shape}")
            continue
        other = _bits(actual) != _bits(expected)
        if other.any():
            found.append(f"{call.name}: other bits in {other.sum()} of {other.size} values")
    return made, found
