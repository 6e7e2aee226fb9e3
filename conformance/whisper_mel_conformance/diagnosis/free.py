"""Explains features by leaving one stage free.

The stage is fitted to answers to clips that were asked for this purpose. It is named only if the
reference with what was found makes all answers of the diagnosis, which the fit has not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import CLASS_B, stages

from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis.answer import Answer, Model
from whisper_mel_conformance.diagnosis.search import LIMIT
from whisper_mel_conformance.frontend.load import Capabilities
from whisper_mel_conformance.quirks.path import Variation

Array = NDArray[Any]
Ask = Callable[[str, Request], Answer]

LEARNT = {
    "noise": {"signal": "noise", "n": 40_000, "seed": 921, "gain": 0.4},
    # Its features are lower by a twelfth, which is no multiple of any step of halves or tenths.
    "softer": {"signal": "noise", "n": 40_000, "seed": 921, "gain": 0.4 * 10 ** (-1 / 6)},
    "chirp": {"signal": "chirp", "n": 64_000, "gain": 1.9},
    "ramp": {"signal": "noise_ramp", "n": 32_000, "seed": 922, "start_db": -75.0, "stop_db": -3.0},
    "quiet": {
        "signal": "noise_ramp",
        "n": 16_000,
        "seed": 923,
        "start_db": -130.0,
        "stop_db": -60.0,
    },
    "silence": {"signal": "silence", "n": 3200},
}
"""Recipes of the clips that stages are fitted to, by name."""

_MARGIN = 1e-3  # of features, above a clip's lowest: nearer, the range or a floor may decide
_LEAST = 1e-30  # of mel powers, and the largest is its reciprocal
_GAIN = 10.0  # a fit must be better than the reference by this factor
_PROMISING = 10.0 * LIMIT  # the highest score, on what it was fitted to, of a fit that is tried


@dataclass(frozen=True, eq=False)
class Free:
    """A stage as it was found, which is fitted to answers.

    ``cause`` says in words what is wrong, ``shown`` what was found, with numbers. ``variation``
    puts it into the reference. ``fix`` says what to write instead.
    """

    stage: str
    cause: str
    shown: str
    variation: Variation
    fix: str

    @property
    def kind(self) -> str:
        """The kind of quirks that it is one of: see :data:`quirks.KINDS`."""
        return "spectrum" if self.stage == "transform" else self.stage


class Explained(NamedTuple):
    """A free stage that explains answers, and the worst score that is left, of ``n`` answers."""

    free: Free
    score: float
    n: int


Fit = Callable[[Mapping[int, Mapping[str, Answer]]], Iterator[Free]]
"""Yields what a stage may be, the likeliest first, by answers of each number of bands."""


def learn(ask: Ask, able: Capabilities, n_mels: Sequence[int]) -> dict[int, dict[str, Answer]]:
    """Ask for the clips that stages are fitted to, by numbers of bands and names.

    Empty if any of them is not supported, becomes a batch, or has no features or ones of another
    shape.
    """
    asked: dict[int, dict[str, Answer]] = {}
    for bands in n_mels:
        of_bands = asked[bands] = {}
        for name, recipe in LEARNT.items():
            request = Request(recipe, n_mels=bands)
            if request.lacking(able) is not None:
                return {}
            answer = of_bands[name] = ask(name, request)
            if answer.audio.ndim != 1:
                return {}
            if answer.actual is None or answer.actual.shape != answer.expected.shape:
                return {}
            if not np.isfinite(answer.actual).all():
                return {}
    return asked


def explain_by(
    fits: Sequence[Fit], learnt: Mapping[int, Mapping[str, Answer]], unseen: Sequence[Answer]
) -> Explained | None:
    """Return the first stage whose fit explains all unseen answers; None if none does."""
    if not learnt or any(answer.actual is None for answer in unseen):
        return None
    models = [Model(answer) for answer in unseen]
    with np.errstate(all="ignore"):  # what front-ends give may be anything
        for fit in fits:
            for free in fit(learnt):
                score = _worst(free, models)
                if score is not None:
                    return Explained(free, score, len(models))
    return None


def _worst(free: Free, models: Sequence[Model]) -> float | None:
    """Compute the worst score that a free stage leaves; None if it does not explain an answer."""
    worst = 0.0
    for model in models:
        score = model.score_of((free,))
        before = model.answer.score
        if not score <= max(min(LIMIT, before / _GAIN), CLASS_B):
            return None
        worst = max(worst, score)
    return worst


class Seen(NamedTuple):
    """What a fit sees of an answer, each ``(n_mels, n_frames)`` but ``steps``.

    ``mel`` are the mel powers that its features stand for, ``unit`` the relative error of them
    that is one bound; ``usable`` is where neither a floor nor the range has a say. ``steps`` are
    the stages of the reference.
    """

    steps: Mapping[str, Array]
    mel: Array
    unit: Array
    usable: Array


def see(answer: Answer) -> Seen:
    """Return what a fit sees of an answer to one plain clip."""
    assert answer.actual is not None
    actual, spec = answer.actual[0], answer.spec
    n_frames = actual.shape[1]
    steps = {
        name: value[:, :n_frames] if name in ("mel", "log") else value[:n_frames]
        for name, value in stages(answer.audio, spec).items()
        if name in ("frames", "windowed", "spectrum", "power", "mel", "log")
    }
    with np.errstate(over="ignore", under="ignore"):
        mel = 10.0 ** (actual * spec.divisor - spec.offset)
    usable = (actual > actual.min() + _MARGIN) & (mel > _LEAST) & (mel < 1.0 / _LEAST)
    # A relative error e of the mel power is log10(1 + e) / 4 of the feature
    unit = spec.divisor * np.log(10.0) * answer.bound[0]
    return Seen(steps, mel, unit, usable)


def is_promising(score: float) -> bool:
    """Return whether a fit is near enough, on what it was fitted to, to be tried on the rest."""
    return score <= _PROMISING
