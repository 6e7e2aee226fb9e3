"""Where the loudest sample must lie for a call to be wrong."""

from __future__ import annotations

import numpy as np

from whisper_mel_conformance.cases.recipes import Recipe, length, noise
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis.asked import Asked, Found, Part
from whisper_mel_conformance.diagnosis.lengths import border
from whisper_mel_conformance.diagnosis.requests import QUIET, dtype_of, each_clip, with_length

CLIP = 4000  # samples

PLACES: list[int] = np.linspace(0, CLIP - 1, 9).astype(int).tolist()


def with_loudest(request: Request, n: int, at: int) -> Request:
    """Return a request of clips of ``n`` quiet samples, but for a loud one at a place."""
    click = {"signal": "dc", "n": 1, "gain": 0.9, "dtype": dtype_of(request)}
    quiet = (noise(m, 931, QUIET, dtype=dtype_of(request)) for m in (at, n - at - 1))
    recipe = {"parts": [it for it in (next(quiet), click, next(quiet)) if it["n"]]}
    return each_clip(request, lambda _: recipe)


def of_maximum(asked: Asked, request: Request) -> Found:
    """Find where the loudest sample must lie: up to a place, or from one on."""

    def is_wrong(n: int, at: int) -> bool:
        return bool(asked.is_wrong(with_loudest(request, n, at)))

    tried = [is_wrong(CLIP, at) for at in PLACES]
    changes = [i for i in range(8) if tried[i] != tried[i + 1]]
    if len(changes) != 1:
        return None, request
    first, is_late = changes[0], tried[-1]

    def first_wrong(n: int, low: int, high: int) -> int:
        """Return the first place from which it is wrong, or, if early ones are, right."""
        return border(lambda at: is_wrong(n, at) is is_late, low, high) + 1

    at = first_wrong(CLIP, PLACES[first], PLACES[first + 1])
    further = CLIP + 2000
    if is_wrong(further, at + 2000) is is_late and is_wrong(further, at + 1999) is not is_late:
        return _maximum_part(CLIP - at, is_late, from_end=True), request
    if is_wrong(further, at) is is_late and is_wrong(further, at - 1) is not is_late:
        return _maximum_part(at, is_late, from_end=False), request
    return None, request


def _maximum_part(place: int, is_late: bool, *, from_end: bool) -> Part:
    if from_end:
        where = "among the" if is_late else "before the"
        words = f"if the loudest sample is {where} last {place:,}"
    else:
        where = f"behind the first {place:,}" if is_late else f"among the first {place:,}"
        words = f"if the loudest sample is {where}"

    def holds(request: Request) -> bool:
        audio = np.atleast_2d(request.audio())[0]
        at = int(np.abs(audio.astype(np.float64)).argmax())
        border = audio.size - place if from_end else place
        return (at >= border) is is_late

    def put(request: Request) -> Request:
        if holds(request):
            return request
        click = {"signal": "dc", "n": 1, "gain": 0.99, "dtype": dtype_of(request)}

        def change(recipe: Recipe) -> Recipe:
            longer = with_length(recipe, max(length(recipe), place))
            return {"parts": [longer, click] if is_late else [click, longer]}

        return each_clip(request, change)

    return Part(words, holds, put)
