"""What only clips of more than 30 s show."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from whisper_mel_reference import CLASS_B, WHISPER

from whisper_mel_conformance.cases.recipes import signal
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis.answer import Answer, Model, Variant
from whisper_mel_conformance.diagnosis.clips import ask
from whisper_mel_conformance.diagnosis.outcome import Diagnosis, fixes, fixes_of
from whisper_mel_conformance.diagnosis.places import is_off
from whisper_mel_conformance.diagnosis.search import Explanation
from whisper_mel_conformance.diagnosis.words import causes_of, without_it
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.load import Capabilities


def of_30_seconds(front_end: FrontEnd, failed: Sequence[str]) -> Diagnosis | None:
    """Return the diagnosis of a front-end that is wrong where a clip is longer than 30 s.

    Two clips tell the ways apart: one is loud in its first 30 s, the other behind them. None if
    both are right, if nothing known explains them, or if no failing case can be about that.
    """
    if not any(case.startswith(_OF_LONG) for case in failed):
        return None
    able = front_end.capabilities
    asked = {name: request.of_model(able) for name, request in _long_clips(able).items()}
    given = [
        ask(front_end, name, request)
        for name, request in asked.items()
        if request.lacking(able) is None
    ]
    given = [answer for answer in given if answer.actual is not None]
    wrong = [answer for answer in given if not answer.score <= CLASS_B]
    if not wrong:
        return None
    models = [Model(answer) for answer in given]
    ways = (tuple(map(Variant, ids)) for ids in OF_CHUNKS)
    tried = (Explanation(it, max(model.score_of(it) for model in models)) for it in ways)
    best = next((it for it in tried if it.score <= CLASS_B), None)
    if best is None:
        return _at_seams(wrong)
    worst = max(wrong, key=lambda answer: answer.score)
    names = ", ".join(f"“{answer.name}”" for answer in wrong)
    evidence = [
        f"With this put into the reference its output agrees on clips of more than 30 s: "
        f"{best.score:.2g} of the bound, {without_it(worst)} without.",
        f"It is wrong on {names} only: shorter clips are right.",
    ]
    return Diagnosis([best], causes_of(best), evidence, fixes_of(best.variants), worst)


def _at_seams(wrong: Sequence[Answer]) -> Diagnosis | None:
    """Return the diagnosis of features that are off only where pieces of one length meet.

    None if they are off elsewhere, or right at one of the seams: three frames hear each.
    """
    if not all(math.isfinite(answer.score) for answer in wrong):
        return None
    off = np.unique(np.concatenate([np.nonzero(is_off(answer))[-1] for answer in wrong]))
    n_frames = wrong[0].expected.shape[-1]

    def are_seams(n: int) -> bool:
        seams = np.round(off / n)
        near = bool((np.abs(off - n * seams) <= 1).all())
        return near and {*seams} == {*range(1, -(-n_frames // n))}

    lengths = range(WHISPER.chunk_frames, _SECOND - 1, -_SECOND)
    pieces = next(filter(are_seams, lengths), None)
    if pieces is None:
        return None
    cause = (
        f"Features are off only where pieces of {pieces / 100:g} s meet, as if each were a clip."
    )
    listed = ", ".join(map(str, off[:3]))
    where = f"Of clips of 34 s frames {listed}, … {off[-1]} are off: beside multiples of {pieces}."
    return Diagnosis([], cause, [where], fixes("edges-of-30-seconds"), wrong[0])


_SECOND = 100  # frames; pieces have whole seconds

_OF_LONG = ("boundary/", "golden/", "maximum/", "regressions/", "honesty/")
"""Beginnings of the ids of cases that clips of more than 30 s are among."""

OF_CHUNKS = (
    *(("maximum-of-30-seconds",), ("edges-of-30-seconds",)),
    ("maximum-of-30-seconds", "edges-of-30-seconds"),
    *(("chunks-ignored",), ("chunks-so-far",), ("chunk-of-2999-frames",)),
)
"""Quirks, alone or together, that only clips of more than 30 s show."""


def _long_clips(able: Capabilities) -> dict[str, Request]:
    """Return the requests of two clips of 34 s, loud before or behind 30 s, with each maximum.

    They sound at each second, where pieces may meet, and are silent between.
    """
    loud, quiet = (signal("noise", 32_000, seed=917, gain=gain) for gain in (0.9, 2e-4))
    second = (signal("silence", 14_400), signal("noise", 1600, seed=917, gain=2e-4))
    between = (signal("silence", 800), *(25 * second), signal("silence", 15_200))
    parts = {
        "loud, then quiet": (loud, *between, loud, quiet, quiet),
        "quiet, then loud": (quiet, *between, quiet, loud, quiet),
    }
    return {
        f"{name}, maximum {maximum or 'clip'}": Request(
            {"parts": recipes}, n_mels=able.n_mels[0], maximum=maximum
        )
        for name, recipes in parts.items()
        for maximum in (None, *(m for m in able.maximum if m == "chunk" and able.model is None))
    }
