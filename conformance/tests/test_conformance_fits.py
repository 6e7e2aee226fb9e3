"""A stage is named only by a fit, and too little precision by its noise.

The front-ends here are not in the catalogue. Their numbers are drawn; who changes the fits tries
other seeds, and changes ``HELD_OUT`` after having looked at what these draw.
"""

from __future__ import annotations

import whisper_mel_conformance.run.quiet_blas  # noqa: F401  before anything imports NumPy

# isort: split
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from daily import by_day
from mutants import outside
from mutants.outside import Array, Draw, Hook
from whisper_mel_conformance.diagnosis import search
from whisper_mel_conformance.diagnosis.diagnose import diagnose
from whisper_mel_conformance.diagnosis.free import LEARNT, learn
from whisper_mel_conformance.frontend.client import InProcess
from whisper_mel_conformance.frontend.load import inspect_front_end
from whisper_mel_conformance.quirks.path import Call, Variation
from whisper_mel_conformance.quirks.quirk import QuirkyFrontEnd

pytestmark = pytest.mark.slow

HELD_OUT = 61_000


@pytest.fixture
def _catalogue_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of these is in the catalogue, nor a pair of what is: little of it need be tried."""
    monkeypatch.setattr(search, "_WORK", 5000)


def front_end(*hooks: dict[str, Hook]) -> InProcess:
    source = QuirkyFrontEnd([Variation(stages=stages) for stages in hooks], "faulty")
    return InProcess(inspect_front_end(source, "faulty"))


STAGE_IS_NAMED = (
    *(outside.exclusive_bounds, outside.other_edges, outside.box_filter, outside.offset),
    *(outside.wrong_sign_of_halves, outside.gaussian_window, outside.soft_floor),
    *(outside.curved_logarithm, outside.polynomial_logarithm, outside.drifting_frames),
    *(outside.half_spectra, outside.mel_powers_in_few_bits, outside.few_bits_of_audio),
    *(outside.unreduced_bluestein, outside.coarse_sines, outside.rounded_spectrum),
)
ONE_EACH = [*{frozenset(outside.FAULTS[fault]): fault for fault in STAGE_IS_NAMED}.values()]


@pytest.mark.usefixtures("_catalogue_is_short")
@pytest.mark.parametrize(
    "fault", by_day(STAGE_IS_NAMED, ONE_EACH), ids=lambda fault: fault.__name__
)
def test_the_stage_of_a_fault_is_named(fault: Callable[[Draw], dict[str, Hook]]) -> None:
    diagnosis = diagnose(front_end(fault(Draw(HELD_OUT))))
    assert diagnosis.explanations == []
    assert diagnosis.kinds & outside.FAULTS[fault], diagnosis.sentences


@pytest.mark.usefixtures("_catalogue_is_short")
def test_where_no_stage_explains_a_fault_none_is_named() -> None:
    diagnosis = diagnose(front_end(outside.wrong_sign_of_folding(Draw(HELD_OUT))))
    assert not diagnosis.kinds
    assert "Values are off on “loud”" in diagnosis.evidence[0]


@pytest.mark.usefixtures("_catalogue_is_short")
def test_what_explains_only_what_it_was_fitted_to_is_not_named() -> None:
    """A front-end with another window in the clips that fits see, and another fault in the rest."""
    learnt = [recipe["n"] for recipe in LEARNT.values()]

    def window(weights: Array, call: Call) -> Array:
        return np.bartlett(400).astype(weights.dtype) if call.clip.size in learnt else weights

    def spectrum(s: Array, call: Call) -> Array:
        return (
            s if call.clip.size in learnt else s * (1.0 + 0.1 * np.sin(np.arange(len(s))))[:, None]
        )

    assert not diagnose(front_end({"window": window, "spectrum": spectrum})).kinds
    triangle: dict[str, Hook] = {"window": lambda w, call: np.bartlett(400)}
    assert diagnose(front_end(triangle)).kinds == {"window"}


def test_a_front_end_that_takes_no_further_clips_has_no_stage_named() -> None:
    """What it may not be asked is not asked."""
    source = QuirkyFrontEnd([Variation(stages=outside.gaussian_window(Draw(4)))], "faulty")
    source.capabilities = {**source.capabilities, "max_samples": 20_000}
    able = inspect_front_end(source, "faulty").capabilities

    def ask(name: str, request: Any) -> Any:
        raise AssertionError(f"{name} was asked for")

    assert LEARNT["noise"]["n"] == 40_000
    assert learn(ask, able, able.n_mels) == {}


ODD: dict[str, Callable[[Array, int], Array]] = {
    "huge": lambda y, n: y * 1e6,
    "turned": lambda y, n: -y,
    "tiny": lambda y, n: y * 1e-20,
    "long ones constant": lambda y, n: y * 0.0 + 1.0 if n > 15_000 else y + 0.5,
    "long ones alike": lambda y, n: y * 0.0 + y[:, :1] if n > 15_000 else y + 0.5,
    "long ones not finite": lambda y, n: y * np.nan if n > 15_000 else y + 0.5,
    "drawn": lambda y, n: np.random.default_rng(n).normal(size=y.shape),
}
"""What front-ends make of right features of ``n`` samples, which no fit explains."""


@pytest.mark.usefixtures("_catalogue_is_short")
@pytest.mark.parametrize("odd", by_day(ODD, ["drawn"]))
def test_odd_features_have_no_stage_named(odd: str) -> None:
    change: Hook = lambda y, call: ODD[odd](y, call.clip.size).astype(y.dtype)  # noqa: E731
    diagnosis = diagnose(front_end({"features": change}))
    assert diagnosis.explanations or not diagnosis.kinds
