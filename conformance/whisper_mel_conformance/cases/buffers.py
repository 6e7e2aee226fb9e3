"""Buffers: where the audio and the output lie in memory, and what becomes of it afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from whisper_mel_conformance.cases.case import BANDS, Case, Family, both
from whisper_mel_conformance.cases.check import check, judge, judge_request, require_strictness
from whisper_mel_conformance.cases.recipes import SECOND, noise, rising, signal
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Refused
from whisper_mel_conformance.frontend.layouts import LAYOUTS, OF_BATCHES


@check()
def in_layout(front_end: FrontEnd, request: Request) -> float | None:
    """Require the right features of a clip in unusual memory, or an exception."""
    try:
        return judge_request(front_end, request)
    except Refused as refusal:
        require_strictness(front_end, refusal, None)
        return None


@check()
def into_out(front_end: FrontEnd, request: Request, memory: str, times: int = 1) -> float:
    """Require that every value of ``out`` is written, and nothing beside it, each time."""
    audio, spec = request.audio(), request.spec()
    shape = spec.feature_shape(audio.size)
    actual = front_end.perform(
        "call_with_out", audio=audio, shape=shape, memory=memory, times=times, **request.options()
    )
    return judge(front_end, actual, audio, spec)


@check()
def unwritten(front_end: FrontEnd, request: Request) -> float | None:
    """Require that nothing is written to the audio, not even to be put back before the end."""
    audio, spec = request.audio(), request.spec()
    actual = front_end.perform("call_unwritten", audio=audio, **request.options())
    if actual is None or audio.ndim > 1:
        return None
    return judge(front_end, actual, audio, spec)


@check()
def result_memory(front_end: FrontEnd, request: Request) -> None:
    """Require a result that is C-contiguous, writeable and aligned.

    Front-ends that do not keep the error policy may return others.
    """
    found = front_end.perform("result_memory", audio=request.audio(), **request.options())
    lacking = [word for word in _PROMISED if word not in found]
    if lacking and front_end.capabilities.errors == "strict":
        raise Failure(f"the result is not {', '.join(lacking)}: expected all of {_PROMISED}")


_PROMISED = ("C-contiguous", "writeable", "aligned")


@check()
def bad_out(front_end: FrontEnd, request: Request, bad: str) -> None:
    """Require that an ``out`` that does not fit is refused, and nothing is written to it."""
    audio = request.audio()
    options, shape = request.options(), request.spec().feature_shape(audio.size)
    if front_end.perform("call_with_bad_out", audio=audio, shape=shape, bad=bad, **options) is None:
        raise Failure(f"out of wrong {bad} was accepted: expected ValueError or TypeError")


def _cases(_profile: str) -> Iterator[Case]:
    layouts = [layout for layout in LAYOUTS if layout not in ("plain", *OF_BATCHES)]
    layouts += [f"offset-{offset}" for offset in (1, 2, 4, 8, 12, 16, 20, 32, 36, 48, 60)]
    for layout in layouts:
        clips: dict[str, dict[str, Any]] = {
            **{str(n): {"recipe": rising(n, seed=21)} for n in (400, 160 * 9 + 77, SECOND)},
            "128-bands": {"recipe": rising(SECOND + 80, seed=22), "n_mels": 128},
        }
        for name, clip in clips.items():
            yield Case(f"buffers/{layout}-{name}", "in_layout", {**clip, "layout": layout})
    for dtype in ("int16", "float64"):
        for layout in ("stride-2", "reversed", "read-only", "guard-behind", "guard-before"):
            recipe = rising(4077, seed=23, dtype=dtype)
            arguments = {"recipe": recipe, "layout": layout}
            yield Case(f"buffers/{layout}-{dtype}", "in_layout", arguments)
    for layout in ("guard-before", "guard-behind"):
        for name, sweep in _GUARDED.items():
            name = f"buffers/{layout}{name}"
            yield from both(name, "sweep", recipe=noise(0, 24), layout=layout, **sweep)
    yield from _shared()
    yield from _outputs()
    yield from _unwritten()
    yield from both("buffers/result", "result_memory", ("errors",), recipe=rising(4077, 38))


_GUARDED: dict[str, dict[str, Any]] = {
    # Reading beyond the clip faults, at every remainder of the hop and of common vector widths.
    "": {"lengths": [201, 240, 399, 400, *range(1600, 1760, 7), 16_079, 16_080]},
    "-padded": {"lengths": [1, 100, 200, 399, 1000, 1999], "pad_to": 2000},
    # Long enough that whole groups of frames lie between the clip's end and the padding's.
    "-padded-far": {"lengths": [399, 1999, 3999], "pad_to": 8000},
}


def _shared() -> Iterator[Case]:
    """Return cases of many calls: inputs that share memory, results that are kept or spoiled."""
    clips = [rising(3200, 25), noise(3200, 26), signal("chirp", 3200), noise(3200, 27, 1e-3)]
    mixed = [*clips, rising(1600, 28), noise(8000, 29), noise(3200, 26), rising(3200, 25)]
    for name, flags in {
        "input-reused": {"reuse_input": True},
        "results-kept": {},
        "results-spoiled": {"spoil_results": True},
    }.items():
        for n_mels in BANDS:
            calls = [{"recipe": recipe, "n_mels": n_mels} for recipe in (*mixed, *mixed)]
            yield Case(f"buffers/{name}/{n_mels}", "sequence", {"calls": calls, **flags})
    calls = [{"recipe": noise(1600, 100 + i)} for i in range(64)]
    yield Case("buffers/64-results-kept", "sequence", {"calls": calls})
    calls = [{"recipe": noise(400, 200 + i)} for i in range(300)]
    yield Case("buffers/300-results-kept", "sequence", {"calls": calls})


def _unwritten() -> Iterator[Case]:
    """Return cases of audio that is watched while the call runs."""
    here = ("same_process",)
    for n in (400, 5 * SECOND, 30 * SECOND):
        yield from both(f"buffers/never-written-{n}", "unwritten", here, recipe=rising(n, 32))
    other: dict[str, dict[str, Any]] = {
        "int16": {"recipe": rising(SECOND, 33, dtype="int16")},
        "float64": {"recipe": rising(SECOND, 33, dtype="float64")},
        "padded": {"recipe": rising(SECOND, 35), "pad_to": 20_000},
        "batch": {"recipes": [rising(4077, 36), noise(4077, 37)]},
    }
    for name, arguments in other.items():
        yield Case(f"buffers/never-written-{name}", "unwritten", arguments, here)


def _outputs() -> Iterator[Case]:
    variants: dict[str, dict[str, Any]] = {
        "": {},
        "-valid": {"smoothing": "valid"},
        "-same": {"smoothing": "same"},
        "-padded": {"pad_to": 20_000},
    }
    for memory in ("canaries", "guard-before", "guard-behind"):
        for variant, more in variants.items():
            for n in (1600, 160 * 65 + 80):
                name = f"buffers/out-{memory}{variant}-{n}"
                arguments = {"recipe": rising(n, seed=30), "memory": memory, **more}
                yield from both(name, "into_out", ("out",), **arguments)
    for bad in ("shape", "rank", "dtype", "strides", "read-only", "overlap"):
        # Long enough that the features fit into the audio's own memory.
        arguments = {"recipe": noise(SECOND, 31), "bad": bad}
        yield Case(f"buffers/bad-out-{bad}", "bad_out", arguments, ("out",))


BUFFERS = Family(
    "buffers",
    "it matters where the audio or the output lies in memory, or what becomes of it afterwards",
    _cases,
)
