"""Batch: clips that are handed over together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from whisper_mel_conformance.cases.case import Case, Family, both
from whisper_mel_conformance.cases.check import check, judge
from whisper_mel_conformance.cases.recipes import SECOND, noise, rising, signal
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure
from whisper_mel_conformance.frontend.layouts import OF_BATCHES


@check()
def batch(front_end: FrontEnd, request: Request) -> float:
    """Require that each clip of a batch has the features that it has alone."""
    clips, spec = request.audio(), request.spec()
    actual = front_end.call(clips, **request.options())
    expected = (len(clips), *spec.feature_shape(clips.shape[1]))
    if actual.shape != expected:
        raise Failure(f"shape {actual.shape}: expected {expected}", arrays={"actual": actual})
    return max(
        judge(front_end, row, clip, spec, where=f"clip {i}: ", dtype=request.dtype)
        for i, (row, clip) in enumerate(zip(actual, clips, strict=True))
    )


_LOUD, _QUIET = noise(4077, 41, 0.9), noise(4077, 42, 1e-4)
_THREE = [_QUIET, signal("chirp", 4077), rising(4077, 44)]
_EIGHT_LONG = [noise(5 * SECOND, 140 + i, 10.0 ** -(i % 3)) for i in range(8)]
_PCM = [{**recipe, "dtype": "int16"} for recipe in _THREE]

_BATCHES: dict[str, list[dict[str, Any]]] = {
    "one": [rising(4077, 43)],
    "loud-beside-quiet": [_LOUD, _QUIET],
    "quiet-beside-loud": [_QUIET, _LOUD],
    "three": _THREE,
    "silence-beside-loud": [signal("silence", 4077), _LOUD, signal("silence", 4077)],
    "equal-clips": [_LOUD, _LOUD, _LOUD],
    "seventeen": [noise(1640, 50 + i, 10.0 ** -(i % 5)) for i in range(17)],
    "many-short": [rising(240, 70 + i) for i in range(65)],
    "eight-long": _EIGHT_LONG,
}

_OPTIONS: dict[str, dict[str, Any]] = {
    "padded": {"pad_to": 20_000},
    "valid": {"smoothing": "valid"},
    "same": {"smoothing": "same"},
}


def _cases(_profile: str) -> Iterator[Case]:
    for name, recipes in _BATCHES.items():
        yield from both(f"batch/{name}", "batch", recipes=recipes)
    for name, options in _OPTIONS.items():
        yield from both(f"batch/three-{name}", "batch", recipes=_THREE, **options)
    for layout in ("stride-2", "reversed", "column", "offset-4", "guard-behind", *OF_BATCHES):
        yield Case(f"batch/three-{layout}", "batch", {"recipes": _THREE, "layout": layout})
    yield Case("batch/three-int16", "batch", {"recipes": _PCM})
    apart = {"recipes": _PCM, "layout": "rows-apart"}
    yield Case("batch/three-rows-apart-int16", "batch", apart)
    # Threads may have whole clips each, or pieces of all of them.
    for threads in (2, 3):
        for smoothing in (None, "valid"):
            name = f"batch/eight-long-{threads}-threads{'-valid' if smoothing else ''}"
            options = {"smoothing": smoothing, "threads": threads}
            yield Case(name, "batch", {"recipes": _EIGHT_LONG, **options})


BATCH = Family("batch", "a clip's features depend on its neighbours", _cases)
