"""The record of the worst known inputs, and the search for worse ones.

An input is a recipe, a number of bands and ``pad_to``: a few words instead of an array. Every
version of a front-end has one, so that an update is measured by what was hard for the versions
before it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from calibration.calibrate import draw_recipe, vary_recipe
from checkout.paths import MEASUREMENTS
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Refused, Unsupported
from whisper_mel_golden.signals import render
from whisper_mel_reference import WHISPER, truth
from whisper_mel_reference.bound import compare_with

RECORD = MEASUREMENTS / "worst-inputs.json"
STEPS = 300
SEED = 20
_PADDED = 480_000  # for front-ends that know clips of 30 s only
_PLAIN = {"signal": "noise", "n": 1600, "seed": 1, "gain": 0.3}


@dataclass(frozen=True)
class Input:
    """A clip and the options of a call; ``pad_to`` 0 stands for none."""

    recipe: dict[str, Any]
    n_mels: int
    pad_to: int


@dataclass(frozen=True)
class Worst:
    """The worst known input of a version of a front-end, with its score (infinite: wrong shape).

    ``version`` is that of the package that computes the features; ``found`` the day.
    """

    front_end: str
    version: str
    score: float
    input: Input
    found: str


def read(path: Path | None = None) -> list[Worst]:
    """Read the record, by front-ends and from the earliest version to the latest."""
    data = json.loads((path or RECORD).read_text(encoding="utf-8"))
    return [
        Worst(**{**entry, "score": float(entry["score"]), "input": Input(**entry["input"])})
        for entry in data
    ]


def write(entries: Iterable[Worst], path: Path | None = None) -> None:
    """Replace the record."""
    data = [asdict(entry) for entry in entries]
    for entry in data:
        if math.isinf(entry["score"]):
            entry["score"] = "inf"  # which JSON has no number for
    (path or RECORD).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def version_of(front_end: FrontEnd) -> str:
    """Return the version of the package that computes the features."""
    return next(iter(front_end.versions.values()), "")


def with_entry(entries: Iterable[Worst], new: Worst) -> list[Worst]:
    """Return a record in which ``new`` replaces what it has of the same version."""
    kept = [it for it in entries if (it.front_end, it.version) != (new.front_end, new.version)]
    return sorted([*kept, new], key=lambda it: it.front_end)


def score(front_end: FrontEnd, asked: Input) -> float | None:
    """Return the largest error in units of the bound; None if the front-end computes nothing.

    Features of another shape score infinity.
    """
    audio = render(asked.recipe)
    pad_to = asked.pad_to or None
    try:
        features = front_end.call(audio, n_mels=asked.n_mels, pad_to=pad_to)
    except (Failure, Refused, Unsupported):
        return None
    maximum = (front_end.capabilities.model or {}).get("maximum", "clip")
    spec = WHISPER.replace(n_mels=asked.n_mels, pad_to=pad_to, maximum=maximum)
    expected = truth(audio, spec)
    if features.shape != expected.features.shape:
        return math.inf
    return compare_with(features, *expected).score


def find(
    front_end: FrontEnd,
    kept: Iterable[Input],
    steps: int = STEPS,
    seed: int = SEED,
) -> tuple[float, Input]:
    """Return the worst input among those that are kept and those of a search, with its score.

    Every second input of the search is drawn, the others vary the worst one so far. Raises
    ``ValueError`` if the front-end computes none of them.
    """
    worst: tuple[float, Input] | None = None
    rng = np.random.default_rng(seed)
    pad_to = 0 if score(front_end, Input(_PLAIN, front_end.capabilities.n_mels[0], 0)) else _PADDED

    def candidates() -> Iterator[Input]:
        yield from kept
        for step in range(steps):
            if step % 2 == 0 or worst is None:
                recipe = draw_recipe(rng)
            else:
                recipe = vary_recipe(worst[1].recipe, rng)
            # A whole number of hops: how others are counted is a finding, and has cases.
            recipe["n"] = max(recipe["n"] // WHISPER.hop * WHISPER.hop, 3 * WHISPER.hop)
            yield Input(recipe, int(rng.choice(front_end.capabilities.n_mels)), pad_to)

    for asked in candidates():
        found = score(front_end, asked)
        if found is None:
            continue
        if worst is None or found > worst[0]:
            worst = found, asked
    if worst is None:
        raise ValueError(f"{front_end.name} computes features of no clip that was tried")
    return worst
