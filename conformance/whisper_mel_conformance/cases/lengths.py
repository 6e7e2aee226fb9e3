"""Lengths: clips of a batch that end early, and how many of their frames are valid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from whisper_mel_reference import Truth, truth
from whisper_mel_reference.bound import compare_with

from whisper_mel_conformance.cases.case import Case, Family, both
from whisper_mel_conformance.cases.check import check
from whisper_mel_conformance.cases.judging import LIMITS
from whisper_mel_conformance.cases.recipes import noise, rising
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure


@check(lambda request, lengths: [request])
def counted(front_end: FrontEnd, request: Request, lengths: Sequence[int]) -> float:
    """Require the features of clips with zeros behind them, and the right number of valid frames.

    The zeros may be part of the audio, or each clip may end where it ends: then its end is
    mirrored, and silence follows. Valid are the frames that a clip has alone, n // 160. Where zeros
    follow it, one more is accepted that hears its end.
    """
    audio, spec = request.audio(), request.spec()
    for clip, length in zip(audio, lengths, strict=True):
        clip[length:] = 0
    found = front_end.perform(
        "with_lengths", audio=audio, lengths=list(lengths), n_mels=request.n_mels
    )
    features = found["features"]
    expected = (len(audio), *spec.feature_shape(audio.shape[1]))
    if features.shape != expected:
        raise Failure(f"shape {features.shape}: expected {expected}", arrays={"actual": features})
    for i, (count, length) in enumerate(zip(found["frames"], lengths, strict=True)):
        least = length // spec.hop
        most = -(-length // spec.hop) if length < audio.shape[1] else least
        if not least <= count <= most:
            raise Failure(
                f"clip {i} has {length} of {audio.shape[1]} samples, and {count} valid frames: "
                f"expected {least}" + (f" or {most}" if most > least else "")
            )
    own = truth(audio, spec, lengths=lengths)
    limit = LIMITS[front_end.capabilities.required_class]
    worst = 0.0
    for i, (row, clip, length) in enumerate(zip(features, audio, lengths, strict=True)):
        padded = truth(clip[:length], spec.replace(pad_to=clip.size))
        ended = Truth(own.features[i], own.bound[i])
        nearest = min(
            (compare_with(row, *exact) for exact in (padded, ended)), key=lambda one: one.score
        )
        if not nearest.score <= limit:
            raise Failure(
                f"clip {i} of {length} samples: {nearest.reason}",
                score=nearest.score,
                arrays={"actual": row, "expected": padded.features, "bound": padded.bound},
            )
        worst = max(worst, nearest.score)
    return worst


def _batch(n: int, *gains: float) -> list[dict[str, Any]]:
    return [noise(n, 271 + i, gain) for i, gain in enumerate(gains)]


_BATCHES: dict[str, tuple[list[dict[str, Any]], list[int]]] = {
    "three": (_batch(4077, 0.5, 1e-3, 0.1), [4077, 1777, 3200]),
    "alone": ([rising(4077, 281)], [4077]),
    "alone-and-short": ([rising(4800, 282)], [240]),
    "whole-hops": (_batch(4800, 0.1, 0.1, 0.1), [1600, 3200, 4800]),
    "one-beyond-a-hop": (_batch(4800, 0.1, 0.1, 0.1), [1601, 3201, 4639]),
    "odd-numbers-of-frames": (_batch(4000, 0.1, 0.1, 0.1), [480, 1120, 4000]),
    "quiet-beside-loud": (_batch(4077, 1e-4, 0.9), [2000, 4077]),
    "equal": (_batch(3333, 0.1, 0.2), [3333, 3333]),
}


def _cases(_profile: str) -> Iterator[Case]:
    for name, (recipes, lengths) in _BATCHES.items():
        arguments: dict[str, Any] = {"recipes": recipes, "lengths": lengths}
        yield from both(f"lengths/{name}", "counted", ("lengths",), **arguments)
    remainders = [1600 + 20 * i for i in range(9)]
    more = {"recipes": _batch(2000, *[0.1] * 9), "lengths": remainders}
    yield Case("lengths/remainders", "counted", more, ("lengths",))


LENGTHS = Family(
    "lengths", "which frames of a clip with padding are valid, or what they hold, is wrong", _cases
)
