"""Concurrency, determinism, memory: what many calls do to one another, and leave behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from whisper_mel_conformance.cases.case import BANDS, Case, Family, both
from whisper_mel_conformance.cases.check import check, judge
from whisper_mel_conformance.cases.recipes import SECOND, Array, noise, rising, signal
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Unsupported

_LEAK_BYTES = 32 << 10  # a call, far above what an allocator's moods add
_GROWTH = {"bytes": 16 << 20, "files": 0, "threads": 0}  # in the last three quarters of many calls


@check()
def sequence(
    front_end: FrontEnd,
    calls: Sequence[Request],
    reuse_input: bool = False,
    spoil_results: bool = False,
) -> float:
    """Require that calls one after the other have their own features each."""
    asked = _as_asked(calls)
    outputs = front_end.perform(
        "sequence",
        calls=asked,
        reuse_input=reuse_input,
        spoil_results=spoil_results,
        patience=max(1.0, len(calls) / 10),
    )
    return _judge_all(front_end, calls, asked, [[output] for output in outputs])


@check(alone=True)
def in_threads(front_end: FrontEnd, calls: Sequence[Request], times: int) -> float:
    """Require that each of several calls at once, in threads, returns its own features."""
    asked = _as_asked(calls)
    if front_end.capabilities.process_per_call:
        times = 1
    outputs = front_end.perform("in_threads", calls=asked, times=times, patience=4.0)
    return _judge_all(front_end, calls, asked, outputs)


def _as_asked(calls: Sequence[Request]) -> list[dict[str, Any]]:
    return [{"audio": call.audio(), **call.options()} for call in calls]


def _judge_all(
    front_end: FrontEnd,
    calls: Sequence[Request],
    asked: Sequence[dict[str, Any]],
    outputs: Sequence[Sequence[Array]],
) -> float:
    return max(
        judge(front_end, actual, one["audio"], call.spec(), where=f"call {i} of {len(calls)}: ")
        for i, (call, one, results) in enumerate(zip(calls, asked, outputs, strict=True), 1)
        for actual in results
    )


@check()
def repeats(front_end: FrontEnd, request: Request, times: int) -> float:
    """Require that equal calls give equal bits, and the right ones."""
    audio = request.audio()
    if front_end.capabilities.process_per_call:
        times = min(times, 3)
    actual = front_end.perform(
        "repeat", audio=audio, times=times, patience=4.0, **request.options()
    )
    return judge(front_end, actual, audio, request.spec())


@check(alone=True)
def growth(front_end: FrontEnd, request: Request, times: int) -> None:
    """Require that calls leave no memory, no open file and no thread behind."""
    left = front_end.perform(
        "growth", audio=request.audio(), times=times, patience=4.0, **request.options()
    )
    for what, limit in (("bytes", _LEAK_BYTES), ("files", 0.5), ("threads", 0.5)):
        if not left[what] <= limit:
            raise Failure(f"each call leaves {left[what]:.6g} {what} behind")


@check(alone=True)
def endurance(front_end: FrontEnd, request: Request, times: int, parts: int) -> None:
    """Require that nothing is left behind by ``parts`` times ``times`` calls of the same clip.

    Front-ends that take nothing but padded clips have it padded to its length. Nothing is scored.
    """
    audio, options = request.audio(), request.options()
    try:
        front_end.call(audio, **options)
    except Unsupported:
        options["pad_to"] = audio.size
    usage = [
        front_end.perform("endure", audio=audio, times=times, patience=20.0, **options)
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


# --------------------------------------------------------------------------- cases


def _concurrency(_profile: str) -> Iterator[Case]:
    for n_mels in BANDS:
        one = [{"recipe": rising(SECOND, 71), "n_mels": n_mels}]
        yield Case(f"concurrency/one-thread/{n_mels}", "in_threads", {"calls": one, "times": 2})
        same = [{"recipe": rising(8000, 72 + i), "n_mels": n_mels} for i in range(4)]
        arguments = {"calls": same, "times": 25}
        yield Case(f"concurrency/four-threads/{n_mels}", "in_threads", arguments)
    lengths = (400, 1777, 8000, SECOND, 3 * SECOND, 640, 4077, 12_345)
    different = [{"recipe": rising(n, n)} for n in lengths]
    arguments = {"calls": different, "times": 10}
    yield Case("concurrency/different-lengths", "in_threads", arguments)
    mixed = [{"recipe": rising(8000, 80 + i), "n_mels": BANDS[i % 2]} for i in range(4)]
    yield Case("concurrency/80-beside-128-bands", "in_threads", {"calls": mixed, "times": 20})
    levels = [{"recipe": noise(8000, 90 + i, 10.0 ** (-2 * i))} for i in range(4)]
    yield Case("concurrency/different-levels", "in_threads", {"calls": levels, "times": 20})
    helped = [{"recipe": rising(5 * SECOND, 94 + i), "threads": 2} for i in range(4)]
    yield Case("concurrency/two-threads-each", "in_threads", {"calls": helped, "times": 100})


def _determinism(profile: str) -> Iterator[Case]:
    yield from both("determinism/repeated", "repeats", recipe=rising(SECOND, 101), times=20)
    long = rising(30 * SECOND, 102)
    yield from both("determinism/repeated-30-seconds", "repeats", recipe=long, times=3)
    times = {"quick": 300, "ci": 2000, "nightly": 20_000}[profile]
    yield Case("determinism/many-times", "repeats", {"recipe": rising(1600, 103), "times": times})
    padded = {"recipe": rising(4000, 104), "times": 10, "pad_to": 20_000, "smoothing": "same"}
    yield Case("determinism/repeated-padded", "repeats", padded)
    a, b, c = rising(4000, 105), noise(4000, 106), signal("chirp", 4000)
    calls = [{"recipe": recipe} for recipe in (a, b, a, c, b, b, a, c, c, a)]
    yield Case("determinism/interleaved", "sequence", {"calls": calls})
    switching = [{"recipe": r, "n_mels": m} for r in (a, b, c) for m in (80, 128, 80)]
    yield Case("determinism/interleaved-bands", "sequence", {"calls": switching})
    # Clips that are equal but for one sample, wherever a hasty cache does not look.
    near = [{"recipe": noise(4000, 107, poke=[at, 0.9])} for at in (0, 7, 1999, 2000, 3000, 3999)]
    plain = {"recipe": noise(4000, 107)}
    calls = [call for poked in near for call in (plain, poked)]
    yield Case("determinism/one-sample-apart", "sequence", {"calls": calls})


def _memory(profile: str) -> Iterator[Case]:
    for name, n, times in (("short", 1600, 100), ("long", SECOND, 60)):
        arguments = {"recipe": rising(n, 111), "times": times}
        yield from both(f"memory/left-behind-{name}", "growth", ("in_process",), **arguments)
    if profile != "nightly":
        return
    day = {"recipe": rising(30 * SECOND, 112), "times": 120, "parts": 24}
    yield Case("memory/24-hours", "endurance", day, ("in_process",))
    tiny = {"recipe": rising(400, 113), "times": 10_000, "parts": 100}
    yield Case("memory/1000000-clips", "endurance", tiny, ("in_process",))


CONCURRENCY = Family(
    "concurrency", "calls in several threads at once disturb one another: a data race", _concurrency
)
DETERMINISM = Family(
    "determinism",
    "equal calls differ, or different calls do not: state that calls leave behind",
    _determinism,
)
MEMORY = Family("memory", "calls leave memory, open files or threads behind", _memory)
