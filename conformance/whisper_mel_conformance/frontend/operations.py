"""Operations that the worker process performs on a front-end.

They check the calling contract only (input untouched, float32, memory of its own); the judge checks
accuracy. An operation is a function of a :class:`Caller` and of plain data; it returns plain data,
whose form ``ANSWERS`` checks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from whisper_mel_conformance.frontend.caller import Array, Caller, plain_array
from whisper_mel_conformance.frontend.effects import (
    USAGE,
    call_finished,
    call_in_mode,
    call_unwritten,
    changes,
    endure,
    files_left,
    forked,
    growth,
    imports,
    left_running,
)
from whisper_mel_conformance.frontend.errors import Broken
from whisper_mel_conformance.frontend.layouts import lay_out, output_memory
from whisper_mel_conformance.frontend.streams import stream, stream_growth

_OUT_SENTINEL = np.float32(-12345.0)


# --------------------------------------------------------------------------- one call


def call(caller: Caller, audio: Array, *, layout: str = "plain", **options: Any) -> Array:
    """Return the features of ``audio``, laid out in memory as ``layout`` says."""
    return np.array(caller(lay_out(audio, layout), **options))


def with_lengths(
    caller: Caller, audio: Array, *, lengths: list[int], n_mels: int
) -> dict[str, Any]:
    """Return the ``features`` of a batch, and how many ``frames`` of each clip are valid.

    A mask may say so, too: then they must be the first ones. Raises ``Broken`` for other answers.
    """
    result = caller.with_lengths(np.array(audio), list(lengths), n_mels)
    if not isinstance(result, tuple) or len(result) != 2:
        raise Broken(f"with_lengths returned {type(result).__name__}: expected features, frames")
    features, valid = plain_array(result[0]), np.asarray(result[1])
    if features.dtype != np.float32:
        raise Broken(f"with_lengths returned features of dtype {features.dtype}: expected float32")
    if valid.dtype.kind not in "biu" or valid.ndim not in (1, 2) or len(valid) != len(audio):
        raise Broken(
            f"with_lengths returned frames of dtype {valid.dtype}, shape {valid.shape}: expected a "
            "number for each clip, or a mask of its frames"
        )
    if valid.ndim == 2:
        mask, valid = valid.astype(bool), valid.astype(bool).sum(axis=1)
        if not np.array_equal(mask, np.arange(mask.shape[1]) < valid[:, np.newaxis]):
            raise Broken("the mask has invalid frames before valid ones: expected the first ones")
    return {"features": np.array(features), "frames": [int(count) for count in valid]}


def call_raw(caller: Caller, audio: Array, *, layout: str = "plain", **options: Any) -> Array | str:
    """Return the result if it is a float array, otherwise the name of its type."""
    result = caller.raw(lay_out(audio, layout), **options)
    if issubclass(type(result), np.ndarray):
        array = np.ndarray.view(result, np.ndarray)
        if array.dtype.kind == "f":
            return np.array(array)
    return type(result).__name__


def call_with_out(
    caller: Caller,
    audio: Array,
    *,
    shape: Sequence[int],
    memory: str,
    times: int = 1,
    **options: Any,
) -> Array:
    """Return the features that are written to a given ``out``, the last of ``times`` times.

    Raises ``Broken`` for writes beside it.
    """
    out, around = output_memory(tuple(shape), memory, _OUT_SENTINEL)
    audio = np.array(audio)
    for _ in range(times):
        out[...] = np.nan
        result = caller(audio, out=out, **options)
        if result.shape != out.shape or result.ctypes.data != out.ctypes.data:
            raise Broken("log_mel was given out and returned another array: expected out")
    for what in around:
        if np.any(what != _OUT_SENTINEL):
            raise Broken(f"log_mel wrote beside out ({memory})")
    return np.array(out)


def result_memory(caller: Caller, audio: Array, **options: Any) -> list[str]:
    """Say what the result's memory is."""
    flags = caller(np.array(audio), **options).flags
    words = {
        "C-contiguous": flags.c_contiguous,
        "writeable": flags.writeable,
        "aligned": flags.aligned,
    }
    return [word for word, is_true in words.items() if is_true]


def call_with_bad_out(
    caller: Caller, audio: Array, *, shape: Sequence[int], bad: str, **options: Any
) -> str | None:
    """Return the error that refuses an invalid ``out``, or None if it was accepted."""
    right = tuple(shape)
    audio = np.array(audio)
    makers: dict[str, Callable[[], Array]] = {
        "shape": lambda: np.empty((right[0], right[1] + 1), np.float32),
        "rank": lambda: np.empty(int(np.prod(right)), np.float32),
        "dtype": lambda: np.empty(right, np.float64),
        "strides": lambda: np.empty((right[1], right[0]), np.float32).T,
        "read-only": lambda: np.empty(right, np.float32),
        "overlap": lambda: audio[: int(np.prod(right))].reshape(right),
    }
    out = makers[bad]()
    if bad != "overlap":
        out[...] = _OUT_SENTINEL
    out.flags.writeable = bad != "read-only"
    before = out.tobytes()
    try:
        caller.raw(audio, out=out, **options)
    except (ValueError, TypeError) as error:
        if out.tobytes() != before:
            raise Broken("log_mel refused out and wrote to it") from error
        return f"{type(error).__name__}: {error}"
    return None


# --------------------------------------------------------------------------- several calls


def sequence(
    caller: Caller, calls: Sequence[Mapping[str, Any]], *, reuse_input: bool, spoil_results: bool
) -> list[Array]:
    """Return the features of several calls, all of which stay alive until the last.

    Each of ``calls`` has its ``audio`` and its options.
    With ``reuse_input``, clips of one length and dtype are passed in the same array. With
    ``spoil_results``, each result is overwritten as soon as it is copied.
    """
    inputs: dict[tuple[Any, ...], Array] = {}
    kept: list[Array] = []
    seen: list[Array] = []
    for spec in calls:
        options = dict(spec)
        audio = np.array(options.pop("audio"))
        if reuse_input:
            audio = inputs.setdefault((audio.shape, audio.dtype.str), audio)
            audio[...] = spec["audio"]
        result = caller(audio, **options)
        seen.append(np.array(result))
        kept.append(result)
        if spoil_results and result.flags.writeable:
            result[...] = np.nan
    if not spoil_results:
        for i, (now, then) in enumerate(zip(kept, seen, strict=True)):
            if now.tobytes() != then.tobytes():
                raise Broken(
                    f"the result of call {i + 1} changed while later calls ran: "
                    "results share memory"
                )
    return seen


def repeat(caller: Caller, audio: Array, *, times: int, **options: Any) -> Array:
    """Return the features of equal calls; raise ``Broken`` unless all have the same bits."""
    audio = np.array(audio)
    first = np.array(caller(audio, **options))
    for i in range(1, times):
        again = caller(audio, **options)
        if again.tobytes() != first.tobytes():
            if again.shape != first.shape:
                raise Broken(f"call {i + 1} returned shape {again.shape}, call 1 {first.shape}")
            different = np.argwhere(again.view(np.uint32) != first.view(np.uint32))
            index = tuple(int(k) for k in different[0])
            raise Broken(
                f"call {i + 1} on the same input differs from call 1 in {len(different)} values: "
                f"value{list(index)} is {again[index]!r}, was {first[index]!r}"
            )
    return first


def in_threads(
    caller: Caller, calls: Sequence[Mapping[str, Any]], *, times: int
) -> list[list[Array]]:
    """Run each call in a thread of its own, all at once; return the different results of each."""
    results: list[list[Array]] = [[] for _ in calls]
    errors: list[BaseException] = []
    start = threading.Barrier(len(calls))

    def run(spec: Mapping[str, Any], into: list[Array]) -> None:
        options = dict(spec)
        audio = np.array(options.pop("audio"))
        start.wait()
        try:
            for _ in range(times):
                result = caller(audio, **options)
                if not any(r.tobytes() == result.tobytes() for r in into) and len(into) < 4:
                    into.append(np.array(result))
        except BaseException as error:  # raised again below, in the thread that replies
            errors.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in zip(calls, results, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


OPERATIONS: dict[str, Callable[..., Any]] = {
    operation.__name__: operation
    for operation in (
        call,
        call_raw,
        call_with_out,
        call_with_bad_out,
        result_memory,
        sequence,
        repeat,
        in_threads,
        call_finished,
        call_in_mode,
        call_unwritten,
        changes,
        endure,
        files_left,
        forked,
        growth,
        imports,
        left_running,
        stream,
        stream_growth,
        with_lengths,
    )
}


def _is_features(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.float32


def _is_float_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _is_usage(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {*USAGE}
        and all(type(number) in (int, float) for number in value.values())
    )


def _are_features(value: Any, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(map(_is_features, value))


def _are_several(value: Any, given: Mapping[str, Any]) -> bool:
    """Return whether there are one or more features of each call."""
    return (
        isinstance(value, list)
        and len(value) == len(given["calls"])
        and all(isinstance(v, list) and v and _are_features(v, len(v)) for v in value)
    )


def _are_streams(value: Any, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(
            isinstance(one, dict)
            and one.keys() == {"features", "counts"}
            and _is_features(one["features"])
            and isinstance(one["counts"], list)
            and all(type(number) is int for number in one["counts"])
            for one in value
        )
    )


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


ANSWERS: dict[str, Callable[[Any, dict[str, Any]], bool]] = {
    "call": lambda value, _: _is_features(value),
    "call_raw": lambda value, _: isinstance(value, str) or _is_float_array(value),
    "call_with_out": lambda value, _: _is_features(value),
    "call_with_bad_out": lambda value, _: value is None or isinstance(value, str),
    "sequence": lambda value, given: _are_features(value, len(given["calls"])),
    "repeat": lambda value, _: _is_features(value),
    "in_threads": _are_several,
    "forked": _are_several,
    "call_finished": lambda value, _: _is_features(value),
    "call_in_mode": lambda value, _: _is_features(value),
    "call_unwritten": lambda value, _: value is None or _is_features(value),
    "changes": lambda value, _: _are_words(value),
    "imports": lambda value, _: _are_words(value),
    "result_memory": lambda value, _: _are_words(value),
    "files_left": lambda value, _: _are_words(value),
    "left_running": lambda value, _: _are_words(value),
    "growth": lambda value, _: _is_usage(value),
    "endure": lambda value, _: _is_usage(value),
    "stream": lambda value, given: _are_streams(value, len(given["streams"])),
    "stream_growth": lambda value, _: isinstance(value, float),
    "with_lengths": lambda value, given: (
        isinstance(value, dict)
        and value.keys() == {"features", "frames"}
        and _is_features(value["features"])
        and isinstance(value["frames"], list)
        and len(value["frames"]) == len(given["lengths"])
        and all(type(count) is int for count in value["frames"])
    ),
}
"""Functions that check the form of an answer, given the operation's arguments. The judge rejects an
answer of another form.
"""
