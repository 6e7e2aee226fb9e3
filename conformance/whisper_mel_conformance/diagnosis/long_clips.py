"""What only clips of more than 30 s show."""

from __future__ import annotations

from collections.abc import Sequence

from whisper_mel_reference import CLASS_B

from whisper_mel_conformance.cases.recipes import signal
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis.answer import Model, Variant
from whisper_mel_conformance.diagnosis.clips import ask
from whisper_mel_conformance.diagnosis.outcome import Diagnosis, fixes_of
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
        return None
    worst = max(wrong, key=lambda answer: answer.score)
    names = ", ".join(f"“{answer.name}”" for answer in wrong)
    evidence = [
        f"With this put into the reference its output agrees on clips of more than 30 s: "
        f"{best.score:.2g} of the bound, {without_it(worst)} without.",
        f"It is wrong on {names} only: shorter clips are right.",
    ]
    return Diagnosis([best], causes_of(best), evidence, fixes_of(best.variants), worst)


_OF_LONG = ("boundary/", "golden/", "maximum/", "regressions/", "honesty/")
"""Beginnings of the ids of cases that clips of more than 30 s are among."""

OF_CHUNKS = (
    *(("maximum-of-30-seconds",), ("edges-of-30-seconds",)),
    ("maximum-of-30-seconds", "edges-of-30-seconds"),
    *(("chunks-ignored",), ("chunks-so-far",), ("chunk-of-2999-frames",)),
)
"""Quirks, alone or together, that only clips of more than 30 s show."""


def _long_clips(able: Capabilities) -> dict[str, Request]:
    """Return the requests of two clips of 34 s, loud before or behind 30 s, with each maximum."""
    loud, quiet = (signal("noise", 32_000, seed=917, gain=gain) for gain in (0.9, 2e-4))
    silence = signal("silence", 480_000 - 64_000)
    parts = {
        "loud, then quiet": (loud, silence, loud, quiet, quiet),
        "quiet, then loud": (quiet, silence, quiet, loud, quiet),
    }
    return {
        f"{name}, maximum {maximum or 'clip'}": Request(
            {"parts": recipes}, n_mels=able.n_mels[0], maximum=maximum
        )
        for name, recipes in parts.items()
        for maximum in (None, *(m for m in able.maximum if m == "chunk" and able.model is None))
    }
