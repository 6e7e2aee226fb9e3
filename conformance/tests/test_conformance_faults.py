"""Every quirk is rejected by the case that is there for it; correct front-ends by none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import whisper_mel_conformance.run.quiet_blas  # noqa: F401  before anything imports NumPy

# isort: split
import hashlib

import correct_front_ends
import numpy as np
import pytest
from daily import by_day
from running import CORRECT, QUIRKS
from whisper_mel_conformance.cases.catalogue import CHECKS
from whisper_mel_conformance.cases.drawing import search
from whisper_mel_conformance.cases.properties import PROPERTIES
from whisper_mel_conformance.frontend.client import FrontEnd, InProcess
from whisper_mel_conformance.frontend.load import UnknownFrontEnd, inspect_front_end, load
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_conformance.quirks.path import log_mel
from whisper_mel_conformance.run.judge import judge_case
from whisper_mel_golden.signals import render
from whisper_mel_reference import CLASS_A, WHISPER, score

Start = Callable[..., FrontEnd]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # many small products: see quiet_blas
    started: list[FrontEnd] = []

    def start_one(source: str) -> FrontEnd:
        started.append(FrontEnd(source, timeout=1800.0))
        started[-1].start()
        return started[-1]

    yield start_one
    for front_end in started:
        front_end.stop()


def test_the_catalogue_is_large_enough() -> None:
    assert sum(quirk.vary is not None for quirk in CATALOGUE.values()) >= 60
    assert sum(bool(quirk.seen) for quirk in CATALOGUE.values()) >= 60


def test_no_quirk_is_lost_or_renamed() -> None:
    """Links and records name them. One that is added says ``since=``."""
    old = sorted(id for id, quirk in CATALOGUE.items() if quirk.since <= "2026-11-26")
    assert len(old) == 198
    digest = hashlib.sha256("\n".join(old).encode()).hexdigest()
    assert digest == "d4ea346e71cee0f029f9ea115e8f98c284e752921355f062547d0e1f2e1212b7"


def test_a_quirk_is_found_by_its_name() -> None:
    """Each front-end is one of its own: what one keeps, another does not know."""
    for id in ("symmetric-window", "nan-swallowed", "first-call-wrong", "sixteen-clips"):
        assert load(f"{QUIRKS}:{id}").call(np.ones(400, np.float32)).shape == (80, 2)
    first, second = (load(f"{QUIRKS}:first-call-wrong") for _ in range(2))
    audio = np.ones(400, np.float32)
    np.testing.assert_array_equal(first.call(audio), second.call(audio))
    assert (first.call(audio) != load(f"{QUIRKS}:first-call-wrong").call(audio)).any()
    with pytest.raises(UnknownFrontEnd, match="has no symmetric-windo;"):
        load(f"{QUIRKS}:symmetric-windo")


@pytest.mark.parametrize("smoothing", [None, "same", "valid"])
@pytest.mark.parametrize("pad_to", [None, 20_000])
def test_without_a_variation_the_path_is_the_reference(smoothing: Any, pad_to: int | None) -> None:
    audio = render({"signal": "noise_ramp", "n": 16_077, "seed": 1})
    spec = WHISPER.replace(smoothing=smoothing, pad_to=pad_to)
    assert score(log_mel(audio, spec, []), audio, spec) <= CLASS_A


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", by_day(["half_transforms", "naive_dft", "other_order", "Everything"], ["Everything"])
)
def test_a_correct_front_end_passes_drawn_cases_with_any_seed(start: Start, name: str) -> None:
    front_end = start(f"{CORRECT}:{name}")
    seeds = {"property/any-clip": range(10)}
    for case in PROPERTIES:
        for seed in seeds.get(case.id, [0]):
            result = judge_case(front_end, case, profile="quick", seed=seed)
            assert result.status in ("passed", "skipped"), (seed, result)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["128-bands-wrong", "remainder-159-wrong"])
def test_drawn_cases_shrink_to_something_readable(start: Start, name: str) -> None:
    front_end = start(f"{QUIRKS}:{name}")
    [any_clip] = [case for case in PROPERTIES if case.id == "property/any-clip"]
    results = [judge_case(front_end, any_clip, profile="ci", seed=s) for s in (0, 0)]
    assert results[0].status == "failed"
    assert results[0].arguments == results[1].arguments
    assert set(results[0].arguments) == {"recipe", "n_mels"}
    if name == "128-bands-wrong":
        assert results[0].arguments["n_mels"] == 128
    else:
        assert results[0].arguments["recipe"]["n"] % 160 == 159


SEEDS = 1000


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["half_transforms", "other_order", "right"])
def test_no_careful_front_end_is_harmed(name: str) -> None:
    """All properties with 1,000 seeds: float32 that is as good as it can be is class A.

    Few arguments with each seed: that they differ from seed to seed is what is wanted.
    """
    front_end = InProcess(inspect_front_end(getattr(correct_front_ends, name), name))
    worst = 0.0
    tried = 0
    for seed in range(SEEDS):
        for case in PROPERTIES:
            if case.beyond(front_end.capabilities) is not None:
                continue

            def attempt(arguments: Mapping[str, Any], check: str = case.check) -> float | None:
                return CHECKS[check](front_end, **arguments)

            able = front_end.capabilities
            score, arguments = search(case, able, attempt, examples=4, seed=seed)
            assert score is not None
            assert score <= CLASS_A, f"{case.id}, seed {seed}: {score} for {arguments}"
            worst = max(worst, score)
            tried += 1
    assert tried >= 6 * SEEDS
    print(f"{name}: {tried} searches, worst score {worst:.3g}, {front_end.calls} calls")
