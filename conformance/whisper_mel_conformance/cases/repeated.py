"""Concurrency, determinism, memory: what many calls do to one another, and leave behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from whisper_mel_conformance.cases.case import BANDS, Case, Family, both
from whisper_mel_conformance.cases.check import check, judge
from whisper_mel_conformance.cases.recipes import SECOND, Array, Recipe, noise, rising, signal
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.frontend.client import THREAD_SETTINGS, FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Unsupported

_LEFT = {
    "processes": 0,
    "threads": 0,
    "files": 0,
    "temporary files": 0,
    "shared memory": 0.5,  # of others on this machine, too: what comes with every other call
    "bytes": 128,
    "objects": 0.9,  # Python's own come and go
    "bytes of programs": 8 << 10,  # in physical memory
}
"""What each call may leave behind."""
_GROWTH = {
    "processes": 0,
    "threads": 0,
    "files": 0,
    "temporary files": 0,
    "shared memory": 1000,
    "bytes": 16 << 20,
    "bytes of programs": 16 << 20,
}
"""What may be left behind by the last three quarters of many calls."""


_FORKABLE = [name for name in THREAD_SETTINGS if not name.startswith("OPENBLAS")]
"""Whose threads are looked at where a process forks.

OpenBLAS, which is NumPy's, ends and begins its threads at a fork. If another thread is in a product
then, that waits for ever, now and then: such a verdict would depend on chance.
"""


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


@check(alone=True, threads=THREAD_SETTINGS)
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
        judge(
            front_end,
            actual,
            one["audio"],
            call.spec(),
            where=f"call {i} of {len(calls)}: ",
            dtype=call.dtype,
        )
        for i, (call, one, results) in enumerate(zip(calls, asked, outputs, strict=True), 1)
        for actual in results
    )


@check(threads=THREAD_SETTINGS)
def repeats(front_end: FrontEnd, request: Request, times: int, anew: bool = False) -> float:
    """Require that equal calls give equal bits, and the right ones.

    With ``anew`` they are the first calls of a new process.
    """
    if anew:
        front_end.stop()
    audio = request.audio()
    if front_end.capabilities.process_per_call:
        times = min(times, 3)
    actual = front_end.perform(
        "repeat", audio=audio, times=times, patience=4.0, **request.options()
    )
    return judge(front_end, actual, audio, request.spec(), dtype=request.dtype)


@check(threads=_FORKABLE)
def forked(
    front_end: FrontEnd, calls: Sequence[Request], busy: int = 0, generations: int = 1
) -> float:
    """Require the features of each call before a fork, and in all processes after it.

    ``busy`` threads are in calls at the time of the fork. With two ``generations`` the child forks,
    too.
    """
    asked = _as_asked(calls)
    seconds = front_end.timeout / 3
    options = {"busy": busy, "generations": generations, "seconds": seconds}
    outputs = front_end.perform("forked", calls=asked, patience=2.0, **options)
    return _judge_all(front_end, calls, asked, outputs)


@check(alone=True, threads=THREAD_SETTINGS)
def growth(front_end: FrontEnd, request: Request, times: int, how: str = "plainly") -> None:
    """Require that calls leave nothing behind: no memory, open file, thread or process.

    Programs are started anew: in their memory earlier calls have left room that hides a leak. Here
    allocated bytes are counted.
    """
    able = front_end.capabilities
    if how == "with other lengths" and able.multiple_of != 1:
        raise Unsupported(f"takes multiples of {able.multiple_of} samples")
    if able.own_process:
        front_end.stop()
    left = front_end.perform(
        "growth",
        audio=request.audio(),
        times=times,
        tolerated=_LEFT,
        how=how,
        patience=10.0,
        **request.options(),
    )
    for what, limit in _LEFT.items():
        if not left[what] <= limit:
            front_end.stop()  # and thereby what was left
            raise Failure(f"each call leaves {left[what]:.6g} {what} behind")


@check()
def daemons(front_end: FrontEnd, request: Request, times: int) -> None:
    """Require that no process goes on whose parent has ended."""
    front_end.stop()
    left = front_end.perform(
        "left_running", audio=request.audio(), times=times, patience=2.0, **request.options()
    )
    if left:
        front_end.stop()
        raise Failure(f"calls leave {len(left)} processes running: {', '.join(left[:5])}")


@check()
def files(front_end: FrontEnd, request: Request, times: int) -> None:
    """Require that calls leave no file in the working directory."""
    front_end.stop()
    left = front_end.perform(
        "files_left", audio=request.audio(), times=times, patience=2.0, **request.options()
    )
    if left:
        raise Failure(f"calls leave files in the working directory: {', '.join(left[:5])}")


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

_IN_CHILDREN = ("same_process", "forks")


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
    each = [{"recipe": rising(400, 120 + i)} for i in range(40)]
    yield Case("concurrency/forty-threads", "in_threads", {"calls": each, "times": 2})
    for n_mels in BANDS:
        calls = [{"recipe": rising(n, n), "n_mels": n_mels} for n in (1777, 5 * SECOND)]
        for name, busy in (("fork", 0), ("fork-beside-calls", 2)):
            arguments = {"calls": calls, "busy": busy}
            yield Case(f"concurrency/{name}/{n_mels}", "forked", arguments, _IN_CHILDREN)
    arguments = {"calls": calls, "generations": 2}
    yield Case("concurrency/fork-in-a-child", "forked", arguments, _IN_CHILDREN)
    helped = [{**call, "threads": 2} for call in calls]
    arguments = {"calls": helped, "busy": 2}
    yield Case("concurrency/fork-beside-two-threads-each", "forked", arguments, _IN_CHILDREN)


def _determinism(profile: str) -> Iterator[Case]:
    yield from both("determinism/repeated", "repeats", recipe=rising(SECOND, 101), times=20)
    long = rising(30 * SECOND, 102)
    yield from both("determinism/repeated-30-seconds", "repeats", recipe=long, times=3)
    tiny = rising(400, 103)
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
    first = {"recipe": tiny, "times": 1000, "anew": True}
    yield Case("determinism/first-1000-calls", "repeats", first)
    of_one_path: dict[str, dict[str, Any]] = {
        "128-bands": {"n_mels": 128},
        "int16": {"recipe": {**tiny, "dtype": "int16"}},
        "padded": {"pad_to": 640},
    }
    for name, more in of_one_path.items():
        yield Case(f"determinism/first-1000-calls-{name}", "repeats", {**first, **more})
    # A clip that begins with the whole one before, as if one stream went on; and the first again.
    parts = [rising(4000, 108), noise(1600, 109), noise(77, 110), signal("chirp", 8000)]
    grown = [{"parts": parts[:count]} for count in (1, 2, 3, 4, 1, 3, 2)]
    yield from _sequences("determinism/beginning-with-the-last", grown)
    # A clip that begins with the end of the one before, as the pieces of a stream may.
    ends = [noise(count, 300 + count) for count in _OVERLAPS]
    overlapping = [{"parts": [a, noise(1777, 119), b]} for a, b in pairwise(ends)]
    for n_mels in BANDS:
        each = [{"recipe": recipe, "n_mels": n_mels} for recipe in overlapping]
        yield Case(f"determinism/overlapping/{n_mels}", "sequence", {"calls": each})
    # Equal lengths, sums, extremes and histograms; of some also the samples at the ends.
    plain = noise(4000, 111, whole=4096)
    moved = [{**plain, "order": order} for order in ("reversed", "sorted", "rotated", "swapped")]
    yield from _sequences("determinism/same-samples", [plain, *moved, plain, *reversed(moved)])
    # Equal but for signs, for the level, for what half precision holds, for two samples that no
    # coarse grid meets. Each number has few enough bits for all of that.
    plain = noise(4000, 117, whole=1024)
    alike: list[Recipe] = [{**plain, "times": 1 + 2.0**-13}, {**plain, "times": 0.5}]
    alike += [{**plain, "turned": 2000}, {**plain, "order": "exchanged"}]
    yield from _sequences("determinism/much-alike", [plain, *alike, plain, *reversed(alike)])
    for name, option in _OTHERWISE.items():
        calls = [{"recipe": plain, **more} for more in ({}, option, {}, option)]
        yield Case(f"determinism/same-clip-{name}", "sequence", {"calls": calls})


_OVERLAPS = (100, 160, 200, 240, 400, 800, 1600, 8000, SECOND, 100)
"""Samples that clips have in common with the one before: parts of a hop, hops, windows, seconds."""

_OTHERWISE: dict[str, dict[str, Any]] = {
    "smoothed": {"smoothing": "same"},
    "padded": {"pad_to": 4010},  # by a part of a hop
    "fixed-maximum": {"maximum": 1.5},
    "float16": {"dtype": "float16"},
}
"""Options with which a clip has features of the same shape and other values."""


def _sequences(name: str, recipes: Sequence[Recipe]) -> Iterator[Case]:
    """Return cases with each clip in an array of its own, and with equal lengths in one array."""
    for n_mels in BANDS:
        calls = [{"recipe": recipe, "n_mels": n_mels} for recipe in recipes]
        yield Case(f"{name}/{n_mels}", "sequence", {"calls": calls})
        arguments = {"calls": calls, "reuse_input": True}
        yield Case(f"{name}-in-place/{n_mels}", "sequence", arguments)


def _memory(profile: str) -> Iterator[Case]:
    for name, n, times in (("short", 1600, 100), ("long", SECOND, 60)):
        arguments = {"recipe": rising(n, 111), "times": times}
        yield from both(f"memory/left-behind-{name}", "growth", ("in_process",), **arguments)
    arguments = {"recipe": rising(1600, 120), "times": 100, "how": "with other clips"}
    yield from both("memory/left-behind-by-other-clips", "growth", ("in_process",), **arguments)
    # More calls in a run than caches that have an end keep lengths.
    arguments = {"recipe": rising(8000, 121), "times": 200, "how": "with other lengths"}
    yield Case("memory/left-behind-by-other-lengths", "growth", arguments, ("in_process",))
    batch = {"recipes": [rising(1600, 122), rising(1600, 123)], "times": 100}
    yield Case("memory/left-behind-batch", "growth", batch, ("in_process",))
    recipe = rising(1600, 118)
    for name, more in _LEAKING.items():
        arguments = {"recipe": {**recipe, **more.get("recipe", {})}, **more.get("options", {})}
        arguments["times"] = 100
        yield Case(f"memory/left-behind-{name}", "growth", arguments, ("in_process",))
    in_vain = {"recipe": noise(1600, 114, poke=[800, "nan"]), "times": 100, "how": "in vain"}
    yield Case("memory/left-behind-by-errors", "growth", in_vain, ("in_process",))
    threads = {"recipe": rising(1600, 115), "times": 40, "how": "in threads"}
    yield Case("memory/left-behind-by-threads", "growth", threads, ("in_process",))
    yield Case("memory/daemons", "daemons", {"recipe": rising(1600, 116), "times": 2})
    yield Case("memory/files-left", "files", {"recipe": rising(1600, 119), "times": 2})
    if profile != "nightly":
        return
    day = {"recipe": rising(30 * SECOND, 112), "times": 120, "parts": 24}
    yield Case("memory/24-hours", "endurance", day, ("in_process",))
    tiny = {"recipe": rising(400, 113), "times": 10_000, "parts": 100}
    yield Case("memory/1000000-clips", "endurance", tiny, ("in_process",))


_LEAKING: dict[str, dict[str, dict[str, Any]]] = {
    "int16": {"recipe": {"dtype": "int16"}},
    "float64": {"recipe": {"dtype": "float64"}},
    "padded": {"options": {"pad_to": 3200}},
    "smoothed": {"options": {"smoothing": "same"}},
    "fixed-maximum": {"options": {"maximum": 1.5}},
    "float16": {"options": {"dtype": "float16"}},
    "2-threads": {"options": {"threads": 2}},
    "strided": {"options": {"layout": "stride-2"}},
}
"""What further paths through a front-end may leak: other audio, and options."""


CONCURRENCY = Family(
    "concurrency", "calls in several threads at once disturb one another: a data race", _concurrency
)
DETERMINISM = Family(
    "determinism",
    "equal calls differ, or different calls do not: state that calls leave behind",
    _determinism,
)
MEMORY = Family("memory", "calls leave memory, open files, threads or processes behind", _memory)
