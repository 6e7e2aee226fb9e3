"""Boundary: lengths of clips, numbers of frames, paddings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from whisper_mel_conformance.cases import very_long
from whisper_mel_conformance.cases.case import Case, Family, both
from whisper_mel_conformance.cases.check import check, judge_request
from whisper_mel_conformance.cases.recipes import SECOND, noise, rising, signal
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.frontend.client import FrontEnd


@check(lambda request, lengths: map(request.of_length, lengths))
def sweep(front_end: FrontEnd, request: Request, lengths: Sequence[int]) -> float:
    """Judge the features of clips of many lengths."""
    return max(
        judge_request(front_end, request.of_length(n), where=f"{n} samples: ") for n in lengths
    )


def _cases(profile: str) -> Iterator[Case]:
    for n in (0, 1, 2, 159, 160, 161, 199, 200):
        yield Case(f"boundary/length-{n}", "too_short", {"n": n})
    for n, seed in _lengths():
        yield from both(f"boundary/length-{n}", "scored", recipe=rising(n, seed))
    yield from both("boundary/61-seconds", "scored", recipe=rising(61 * SECOND + 37, seed=4))
    # Clusters of blocks have room for half of it, hardly less: the last block's second part counts.
    for n_mels, seconds in ((80, 76), (128, 92)):
        arguments = {"recipe": rising(SECOND * seconds, seed=5), "n_mels": n_mels}
        yield Case(f"boundary/{seconds}-seconds/{n_mels}", "scored", arguments)
    if profile != "quick":
        for minutes in (5, 11):  # 65,535 frames, the limit of a CUDA grid's y, are 10.9 minutes
            n = minutes * 60 * SECOND + 80
            yield from both(f"boundary/{minutes}-minutes", "scored", recipe=rising(n, seed=5))
    yield from very_long.cases(profile)
    # Of longer clips, too, which take other loops than those of 11 frames.
    longer = {"recipe": rising(0, 15), "lengths": list(range(5120, 5280))}
    yield Case("boundary/every-remainder-of-32-frames", "sweep", longer)
    for name, recipe, lengths in _SWEEPS:
        yield from both(f"boundary/{name}", "sweep", recipe=recipe, lengths=list(lengths))
    # With a single frame, those beside it, which do not exist, are the only ones to hear the end.
    recipe = {**_tail(60), "quiet_db": -90.0}
    one: dict[str, Any] = {"recipe": recipe, "lengths": list(range(265, 320, 6))}
    yield from both("boundary/loud-tail-60-same", "sweep", **one, smoothing="same")
    for n, pad_to in _PADS:
        recipe = signal("loud_tail", n, seed=11, quiet_db=-40.0)
        name = f"boundary/pad-{n}-to-{pad_to}"
        yield from both(name, "scored", recipe=recipe, pad_to=pad_to)
    short = [*range(1, 1660, 61), 1640]
    recipe = noise(0, 12)
    yield from both("boundary/every-pad", "sweep", recipe=recipe, lengths=short, pad_to=1660)
    # Where the padding's silence begins, and which of its values smoothing keeps elsewhere.
    for smoothing in ("valid", "same"):
        more: dict[str, Any] = {"lengths": short[::2], "pad_to": 3260, "smoothing": smoothing}
        yield from both(f"boundary/every-pad-{smoothing}", "sweep", recipe=recipe, **more)


def _lengths() -> Iterator[tuple[int, int]]:
    """Return lengths around the edges of frames, groups of frames and 30 s; a seed for each."""
    edges = [201, 202, 239, 240, 241, 319, 320, 321, 399, 400, 401, 479, 480, 481, 559, 560]
    for frames in (31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513):
        edges.append(160 * frames + 79)
    yield from ((n, n) for n in edges)
    yield from ((n, 2) for n in (160 * 1023 + 80, 160 * 1024, 160 * 1025))
    yield from ((n, 3) for n in (479_999, 480_000, 480_001))


def _tail(length: int) -> dict[str, Any]:
    """Return a loud end that only the dropped last frame hears well, and mirrored frames beyond."""
    return signal("loud_tail", 0, seed=10, length=length)


_SWEEPS: tuple[tuple[str, dict[str, Any], Iterable[int]], ...] = (
    ("every-remainder", rising(0, 6), range(1600, 1760)),
    ("every-frame-count", noise(0, 7), [160 * frames + 33 for frames in range(2, 75)]),
    ("powers-of-two", rising(0, 8), [2**k + d for k in range(8, 18) for d in (-1, 0, 1)]),
    ("whole-seconds", noise(0, 9), [SECOND * seconds for seconds in range(1, 11)]),
    # The steps are primes: no length is special.
    ("lengths-up-to-3-seconds", noise(0, 9), range(2000, 3 * SECOND, 797)),
    ("lengths-up-to-30-seconds", noise(0, 9), range(2000, 30 * SECOND, 15_401)),
    ("every-remainder-int16", rising(0, 14, dtype="int16"), range(1600, 1760, 7)),
    ("every-remainder-float64", rising(0, 14, dtype="float64"), range(1600, 1760, 7)),
    ("any-remainder-int16", rising(0, 16, dtype="int16"), range(3200, 3360)),
    ("any-remainder-float64", rising(0, 16, dtype="float64"), range(3200, 3360)),
    ("loud-tail-60", _tail(60), range(4000, 4160, 4)),
    ("loud-tail-200", _tail(200), range(4000, 4160, 4)),
)
_PADS = (
    *((1, 480_000), (200, 480_000), (479_999, 480_000), (480_000, 480_000)),
    *((100, 201), (200, 400), (SECOND, SECOND + 1), (SECOND, SECOND + 80)),
    *((201, 201), (400, 400), (1637, 1637), (SECOND, SECOND)),
    *((SECOND, SECOND + 159), (SECOND, 20_000), (SECOND + 37, 480_000), (37, 1637)),
)
"""Lengths, and what they are padded to."""


BOUNDARY = Family("boundary", "a length, a padding or a number of frames is mishandled", _cases)
