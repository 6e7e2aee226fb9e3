"""Stream: audio that comes in pieces has the features that it has as a whole."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from whisper_mel_reference import WHISPER

from whisper_mel_conformance.cases.case import Case, Family, both
from whisper_mel_conformance.cases.check import check, judge, judge_request
from whisper_mel_conformance.cases.properties import Property
from whisper_mel_conformance.cases.recipes import SECOND, noise, rising, signal
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Refused

_SHORTEST = WHISPER.reach + 1  # samples
_KEPT = 64 << 10
"""Limit of the bytes that a stream may keep of 20 further seconds."""


def _streams(*, request: Request | None = None, calls: Sequence[Request] = (), **_: Any) -> Any:
    asked = calls if request is None else [request]
    return [replace(one, streamed=True) for one in asked]


def _pieces(n: int, lengths: Sequence[int]) -> list[int]:
    """Return the lengths of pieces, again and again, until ``n`` samples are cut."""
    if not any(size > 0 for size in lengths):
        raise ValueError(f"pieces={lengths!r}: expected one of a sample or more")
    found: list[int] = []
    for size in itertools.cycle(lengths):
        if n <= 0:
            return found
        found.append(min(size, n))
        n -= size
    return found


def _asked(request: Request, pieces: Sequence[int]) -> dict[str, Any]:
    audio = request.audio()
    return {
        "audio": audio,
        "pieces": _pieces(audio.size, pieces),
        "n_mels": request.n_mels,
        "maximum": request.maximum,
    }


@check(_streams)
def streamed(
    front_end: FrontEnd, request: Request, pieces: Sequence[int], reuse_buffer: bool = False
) -> float:
    """Require the features of the whole clip of its pieces, put together.

    ``pieces`` has the numbers of samples that are pushed, used again until the clip is over.
    """
    one = _asked(request, pieces)
    [found] = front_end.perform("stream", streams=[one], reuse_buffer=reuse_buffer, patience=4.0)
    return judge(front_end, found["features"], one["audio"], request.spec())


@check(_streams)
def cut_anywhere(front_end: FrontEnd, request: Request, cuts: Sequence[int]) -> float:
    """Require the features of the whole clip of its two pieces, for each place of the cut."""
    audio = request.audio()
    return max(
        streamed_in(front_end, request, [cut, audio.size - cut], f"cut at {cut}: ") for cut in cuts
    )


@check(lambda request, lengths, **_: _streams(calls=[*map(request.of_length, lengths)]))
def streamed_lengths(
    front_end: FrontEnd, request: Request, lengths: Sequence[int], pieces: Sequence[int]
) -> float:
    """Require the features of whole clips of many lengths, each in pieces."""
    return max(
        streamed_in(front_end, request.of_length(n), pieces, f"{n} samples: ") for n in lengths
    )


def streamed_in(front_end: FrontEnd, request: Request, pieces: Sequence[int], where: str) -> float:
    """Judge one stream; ``where`` begins a failure's message."""
    one = _asked(request, pieces)
    [found] = front_end.perform("stream", streams=[one])
    return judge(front_end, found["features"], one["audio"], request.spec(), where=where)


@check(_streams)
def side_by_side(front_end: FrontEnd, calls: Sequence[Request], pieces: Sequence[int]) -> float:
    """Require that streams whose pieces come in turns know nothing of each other."""
    asked = [_asked(request, pieces) for request in calls]
    found = front_end.perform("stream", streams=asked, patience=4.0)
    return max(
        judge(front_end, one["features"], given["audio"], request.spec(), where=f"stream {i}: ")
        for i, (one, given, request) in enumerate(zip(found, asked, calls, strict=True), 1)
    )


@check(_streams)
def prompt(front_end: FrontEnd, request: Request, pieces: Sequence[int]) -> float:
    """Require that a stream with a fixed maximum gives frames as soon as their samples are there.

    A frame may come one hop late.
    """
    one, spec = _asked(request, pieces), request.spec()
    [found] = front_end.perform("stream", streams=[one])
    received = given = 0
    for size, count in zip(one["pieces"], found["counts"], strict=False):
        received, given = received + size, given + count
        expected = (received - spec.reach) // spec.hop if received >= _SHORTEST else 0
        if given < expected:
            raise Failure(
                f"{received} samples were pushed and {given} frames came: expected {expected} at "
                "least, since the maximum is fixed"
            )
    return judge(front_end, found["features"], one["audio"], spec)


@check(lambda request, n: _streams(calls=[request.of_length(1777)]))
def short_stream(front_end: FrontEnd, request: Request, n: int) -> float:
    """Require an exception, or no frames, of a stream that ends before 201 samples; then recovery.

    Frames of it would be made of nothing: there is nothing to mirror.
    """
    one = _asked(request.of_length(_SHORTEST), [80])
    one.update(audio=one["audio"][:n], pieces=_pieces(n, [80]))
    try:
        [found] = front_end.perform("stream", streams=[one])
    except Refused:
        pass
    else:
        if found["features"].shape[1]:
            raise Failure(f"a stream of {n} samples gave {found['features'].shape[1]} frames")
    return streamed_in(front_end, request.of_length(1777), [160], "the stream after it: ")


@check(lambda request, pieces: [replace(request, streamed=True), replace(request, maximum=None)])
def between_calls(front_end: FrontEnd, request: Request, pieces: Sequence[int]) -> float:
    """Require that streams and calls know nothing of each other."""
    score = judge_request(front_end, replace(request, maximum=None))
    score = max(score, streamed_in(front_end, request, pieces, "a stream after a call: "))
    again = judge_request(
        front_end, replace(request, maximum=None), where="a call after a stream: "
    )
    return max(score, again)


@check(lambda request, times: _streams(calls=[request.of_length(4 * times * SECOND)]), alone=True)
def stream_memory(front_end: FrontEnd, request: Request, times: int) -> None:
    """Require that a stream with a fixed maximum keeps no more the longer it goes on.

    A second of audio is pushed ``times`` times, and again; nothing more may be kept of it.
    """
    left = front_end.perform(
        "stream_growth",
        audio=request.of_length(SECOND).audio(),
        times=times,
        n_mels=request.n_mels,
        maximum=request.maximum,
        patience=4.0,
    )
    if not left <= _KEPT:
        raise Failure(f"a stream keeps {left:.6g} bytes of {times} further pushes")


_MAXIMA: dict[str, float | None] = {"clip": None, "fixed": 1.5}
_CUTTINGS = {
    "10-ms": [160],
    "200-ms": [3200],
    "of-a-prime": [127],
    "of-primes": [2, 3, 5, 7, 11, 13, 101, 401, 997, 1601],
    "with-empty-ones": [0, 160, 0, 0, 333, 0],
    "larger-than-frames": [1000, 401],
}
"""The pieces that clips are cut into, by what they are called."""


def _cases(_profile: str) -> Iterator[Case]:
    for name, maximum in _MAXIMA.items():
        more: dict[str, Any] = {"maximum": maximum}
        clip = rising(SECOND + 77, seed=251)
        for cutting, pieces in _CUTTINGS.items():
            arguments = {"recipe": clip, "pieces": pieces, **more}
            yield from both(f"stream/{name}-{cutting}", "streamed", ("stream",), **arguments)
        single = {"recipe": rising(700, 252), "pieces": [1], **more}
        yield Case(f"stream/{name}-single-samples", "streamed", single, ("stream",))
        whole = {"recipe": rising(8000, 253), "pieces": [8000], **more}
        yield Case(f"stream/{name}-in-one-piece", "streamed", whole, ("stream",))
        again = {"recipe": clip, "pieces": [160, 333], "reuse_buffer": True, **more}
        yield Case(f"stream/{name}-buffer-reused", "streamed", again, ("stream",))
        cuts = [0, 1, 40, *range(155, 246, 15), 360, 399, 400, 401, 500, 640, 778, 779, 780, 800]
        anywhere = {"recipe": noise(800, 254, 0.5), "cuts": cuts, **more}
        yield from both(f"stream/{name}-cut-anywhere", "cut_anywhere", ("stream",), **anywhere)
        lengths = [201, 239, 240, 319, 320, 399, 400, 401, 480, 559, 1599, 1600, 1601, 1679, 1680]
        arguments = {"recipe": noise(0, 255), "lengths": lengths, "pieces": [160], **more}
        yield Case(f"stream/{name}-lengths", "streamed_lengths", arguments, ("stream",))
        for clip_name, recipe in _LEVELS.items():
            arguments = {"recipe": recipe, "pieces": [1600], **more}
            yield Case(f"stream/{name}-{clip_name}", "streamed", arguments, ("stream",))
        apart = [{"recipe": noise(4077, 256 + i, 10.0**-i), **more} for i in range(3)]
        arguments = {"calls": apart, "pieces": [333]}
        yield Case(f"stream/{name}-side-by-side", "side_by_side", arguments, ("stream",))
        for n in (0, 1, 159, 160, 200):
            arguments = {"recipe": rising(0, 268), "n": n, **more}
            yield Case(f"stream/{name}-of-{n}", "short_stream", arguments, ("stream",))
        between = {"recipe": rising(4000, 260), "pieces": [640], **more}
        yield Case(f"stream/{name}-between-calls", "between_calls", between, ("stream",))
    at_once = {"recipe": rising(4077, 261), "pieces": [160, 50, 333], "maximum": 1.5}
    yield Case("stream/fixed-prompt", "prompt", at_once, ("stream",))
    kept = {"recipe": noise(SECOND, 262), "times": 20, "maximum": 1.5}
    yield Case("stream/fixed-memory", "stream_memory", kept, ("stream", "same_process"))
    yield Property("stream/drawn", "streamed", {}, ("stream",), drawn="stream", largest=6000)


_LEVELS = {
    "loud-tail": signal("loud_tail", 4080, seed=263, quiet_db=-60.0),
    "loud-start": signal("burst", 16_000, seed=264, start=0, length=300),
    "silence": signal("silence", 4000),
    "loud-later": {
        "parts": [noise(4000, 265, 1e-4), noise(4000, 266, 0.9), noise(4000, 267, 1e-4)]
    },
}
"""Clips whose maximum comes early, late or never."""


STREAM = Family("stream", "audio in pieces has other features than as a whole", _cases)
