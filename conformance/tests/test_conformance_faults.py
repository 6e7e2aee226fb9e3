"""Every planted fault is rejected by the case that is there for it; correct front-ends by none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import whisper_mel_conformance.quiet_blas  # noqa: F401  before anything imports NumPy
from faulty_front_ends import FAULTS
from whisper_mel_conformance.client import FrontEnd
from whisper_mel_conformance.properties import PROPERTIES
from whisper_mel_conformance.running import all_cases, judge_case

GALLERY = Path(__file__).with_name("faulty_front_ends.py")
CASES = {case.id: case for case in all_cases("quick")}
TIMEOUT = 20.0
SHORT_TIMEOUT = 1.0  # for front-ends that hang for ever; the first call may take six times as long
HANGS = ("hangs", "deadlocks_in_threads")


Start = Callable[..., FrontEnd]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # many small products: see quiet_blas
    started: list[FrontEnd] = []

    def start_one(name: str, timeout: float = TIMEOUT) -> FrontEnd:
        started.append(FrontEnd(f"{GALLERY}:{name}", timeout=timeout))
        started[-1].start()
        return started[-1]

    yield start_one
    for front_end in started:
        front_end.stop()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_rejected_by_its_case(start: Start, name: str) -> None:
    front_end = start(name, SHORT_TIMEOUT if name in HANGS else TIMEOUT)
    result = judge_case(front_end, CASES[FAULTS[name][1]], profile="quick", seed=0)
    assert result.status == "failed", result
    assert result.message


def test_the_gallery_is_large_enough() -> None:
    assert len(FAULTS) >= 40


@pytest.mark.parametrize("name", ["naive_dft", "other_order", "Everything"])
def test_a_correct_front_end_passes_drawn_cases_with_any_seed(start: Start, name: str) -> None:
    front_end = start(name)
    seeds = {"property/any-clip": range(10)}
    for case in PROPERTIES:
        for seed in seeds.get(case.id, [0]):
            result = judge_case(front_end, case, profile="quick", seed=seed)
            assert result.status in ("passed", "skipped"), (seed, result)


@pytest.mark.parametrize("name", ["wrong_at_128_bands", "wrong_at_remainder_159"])
def test_drawn_cases_shrink_to_something_readable(start: Start, name: str) -> None:
    front_end = start(name)
    [any_clip] = [case for case in PROPERTIES if case.id == "property/any-clip"]
    results = [judge_case(front_end, any_clip, profile="ci", seed=s) for s in (0, 0)]
    assert results[0].status == "failed"
    assert results[0].arguments == results[1].arguments
    assert set(results[0].arguments) == {"recipe", "n_mels"}
    if name == "wrong_at_128_bands":
        assert results[0].arguments["n_mels"] == 128
    else:
        assert results[0].arguments["recipe"]["n"] % 160 == 159
