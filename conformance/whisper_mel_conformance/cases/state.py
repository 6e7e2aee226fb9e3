"""State: what belongs to the whole process or to the calling thread, and not to a call."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from whisper_mel_conformance.cases.case import Case, Family
from whisper_mel_conformance.cases.check import check, judge, judge_request
from whisper_mel_conformance.cases.recipes import SECOND, rising
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.frontend.client import THREAD_SETTINGS, FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Refused


@check(threads=THREAD_SETTINGS)
def unchanged(front_end: FrontEnd, request: Request) -> None:
    """Require that calls leave the state of a new process as it was.

    The request is repeated with each option that is claimed, with audio of other dtypes, with 30 s
    of it, and as a batch.
    """
    front_end.stop()
    recipe = request.recipe or {}
    others = [replace(request, **{name: value}) for name, value in _OPTIONS.items()]
    others += [replace(request, recipe={**recipe, "dtype": name}) for name in _DTYPES]
    others += [
        request.of_length(30 * SECOND),
        replace(request, recipe=None, recipes=(recipe, recipe)),
    ]
    able = [other for other in others if other.lacking(front_end.capabilities) is None]
    short = request.of_length(math.lcm(400, front_end.capabilities.multiple_of))
    *asked, last = ({"audio": call.audio(), **call.options()} for call in (request, *able, short))
    changes = front_end.perform("changes", calls=asked, short=last, patience=4.0)
    if changes:
        raise Failure(f"calls change the process's state: {'; '.join(changes[:5])}")


_OPTIONS: dict[str, Any] = {
    "n_mels": 128,
    "pad_to": 8 * SECOND,
    "smoothing": "same",
    "maximum": 1.5,
    "dtype": "float16",
    "threads": 2,
}
_DTYPES = ("int16", "float64")


@check(threads=THREAD_SETTINGS)
def in_modes(front_end: FrontEnd, request: Request, modes: Sequence[str]) -> float:
    """Require that calls in other modes of arithmetic keep them, and spoil no later call.

    The first call of a new process is in the first mode. Where denormals are flushed the features
    must be right, too: none of them depends on one. With another rounding mode they must be finite.
    """
    audio, spec = request.audio(), request.spec()
    front_end.stop()
    scores = []
    for mode in modes:
        try:
            actual = front_end.perform("call_in_mode", audio=audio, mode=mode, **request.options())
        except Refused as refusal:
            raise Failure(f"refused where others have set {mode}: {refusal}") from refusal
        if mode == "flushed":
            scores.append(judge(front_end, actual, audio, spec, where="denormals flushed: "))
        elif actual.shape != spec.feature_shape(audio.size) or not np.isfinite(actual).all():
            raise Failure(f"rounding {mode}: expected finite features, shape {actual.shape}")
        scores.append(judge_request(front_end, request, where=f"the call after mode {mode}: "))
    return max(scores)


def _cases(_profile: str) -> Iterator[Case]:
    here = ("same_process",)
    arguments = {"recipe": rising(SECOND, 163), "modes": ["flushed", "up", "down", "zero"]}
    yield Case("state/modes-of-others", "in_modes", arguments, here)
    changing = {"recipe": rising(5 * SECOND, 161)}
    yield Case("state/unchanged", "unchanged", changing, here)


STATE = Family(
    "state", "a call changes what belongs to the whole process, or is spoiled by it", _cases
)
