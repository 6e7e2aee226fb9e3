"""The judgement of features: what passes, what fails, and what a failure says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from whisper_mel_conformance.cases import judging
from whisper_mel_conformance.cases.judging import LIMITS, grade, judge, truth
from whisper_mel_conformance.frontend.errors import Failure
from whisper_mel_reference import WHISPER

CLIP = np.random.default_rng(0).normal(0, 0.1, 1600).astype(np.float32)
EXACT = truth(CLIP, WHISPER)


def off(bounds: float, at: tuple[int, int] = (3, 5)) -> Any:
    """The right features, one of which is off by a number of bounds."""
    y = EXACT.features.astype(np.float64)
    y[at] += bounds * EXACT.bound[at]
    return y


@pytest.mark.parametrize(
    ("score", "name"),
    [(0.0, "A"), (1.0, "A"), (1.0001, "B"), (4.0, "B"), (4.0001, "fails"), (np.nan, "fails")],
)
def test_a_score_has_a_class(score: float, name: str) -> None:
    assert grade(score) == name


@pytest.mark.parametrize("limit", [LIMITS["A"], LIMITS["B"]])
def test_the_score_decides(limit: float) -> None:
    assert judge(off(limit - 0.1), CLIP, WHISPER, limit) == pytest.approx(limit - 0.1, abs=0.01)
    exactly = judge(off(2.0), CLIP, WHISPER, 4.0)
    assert judge(off(2.0), CLIP, WHISPER, exactly) == exactly
    with pytest.raises(Failure) as error:
        judge(off(-limit - 0.1), CLIP, WHISPER, limit, where="there: ")
    assert error.value.score == pytest.approx(limit + 0.1, abs=0.01)
    assert error.value.arrays.keys() == {"actual", "expected", "bound"}
    assert str(error.value).startswith("there: value[3, 5]")
    assert "(1 of 800 values are off: frames 5 to 5 of 10, bands 3 to 3)" in str(error.value)


def test_a_failure_says_where_all_wrong_values_are() -> None:
    y = off(50.0, (7, 2))
    y[60, 8] += 50 * EXACT.bound[60, 8]
    with pytest.raises(
        Failure, match=r"2 of 800 values are off: frames 2 to 8 of 10, bands 7 to 60"
    ):
        judge(y, CLIP, WHISPER, 4.0)


def test_a_value_at_the_limit_is_right_beside_a_wrong_one() -> None:
    y = off(2.0)
    limit = judge(y, CLIP, WHISPER, 4.0)
    y[7, 2] += 50 * EXACT.bound[7, 2]
    with pytest.raises(Failure, match="1 of 800 values are off"):
        judge(y, CLIP, WHISPER, limit)


def test_what_is_as_far_from_the_truth_is_not_the_golden_s_fault() -> None:
    golden = EXACT.features
    with pytest.raises(Failure, match=r"^value\[3, 5\]"):
        judge(off(50.0), CLIP, WHISPER, 4.0, golden=golden)
    assert judge(off(2.0), CLIP, WHISPER, 4.0, golden=golden) == pytest.approx(2.0, abs=0.01)


def test_clips_are_told_apart_by_their_samples() -> None:
    one, other = judging._Keyed(CLIP), judging._Keyed(-CLIP)
    assert one == judging._Keyed(CLIP.copy())
    assert one != other
    assert one != CLIP.shape


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_fails(value: float) -> None:
    y = off(0.0)
    y[3, 5] = value
    with pytest.raises(Failure, match=r"1 of 800 values are off") as error:
        judge(y, CLIP, WHISPER, 4.0)
    assert not error.value.score <= 4.0  # type: ignore[operator]


@pytest.mark.parametrize("shape", [(80, 9), (80, 11), (79, 10), (10, 80), (800,), (80, 0)])
def test_another_shape_fails_with_its_array_and_no_score(shape: tuple[int, ...]) -> None:
    y = np.zeros(shape, np.float32)
    with pytest.raises(
        Failure, match=r"there: shape .* for 1600 samples: expected \(80, 10\)"
    ) as e:
        judge(y, CLIP, WHISPER, 4.0, where="there: ")
    assert e.value.score is None
    assert e.value.arrays["actual"] is y


def test_a_golden_counts_as_well_less_its_own_error() -> None:
    right, golden = off(0.0), off(3.0).astype(np.float32)
    assert judge(right, CLIP, WHISPER, 4.0, golden=golden) == pytest.approx(3.0, abs=0.2)
    score = judge(right, CLIP, WHISPER, 4.0, golden=golden, golden_score=2.0)
    assert score == pytest.approx(1.0, abs=0.2)
    # The distance to the truth counts where it is the larger one.
    assert judge(off(2.0), CLIP, WHISPER, 4.0, golden=off(2.0)) == pytest.approx(2.0, abs=0.2)
    # A golden's own error makes nothing worse, nor better than the distance to the truth.
    score = judge(off(2.0), CLIP, WHISPER, 4.0, golden=off(1.0), golden_score=2.0)
    assert score == pytest.approx(2.0, abs=0.2)
    with pytest.raises(Failure, match=r"^there: golden: value.*bounds$"):
        judge(right, CLIP, WHISPER, 4.0, golden=off(9.0), where="there: ")


def test_what_was_rounded_to_half_precision_is_judged_as_that() -> None:
    y = EXACT.features.astype(np.float16).astype(np.float32)
    assert judge(y, CLIP, WHISPER, 1.0, dtype="float16") <= 1.0
    with pytest.raises(Failure):
        judge(y, CLIP, WHISPER, 4.0)
    wrong = y.copy()
    wrong[3, 5] = np.nextafter(np.float16(y[3, 5]), np.float16(np.inf))
    wrong[3, 5] = np.nextafter(np.float16(wrong[3, 5]), np.float16(np.inf))
    with pytest.raises(Failure, match=r"\(1 of 800 values are off"):
        judge(wrong, CLIP, WHISPER, 4.0, dtype="float16")


def test_the_truth_is_kept_by_content(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []

    def compute(audio: Any, spec: Any) -> Any:
        computed.append(audio.copy())
        return EXACT

    monkeypatch.setattr(judging, "compute_truth", compute)
    clip = CLIP + np.float32(1)
    truth(clip, WHISPER)
    truth(clip.copy(), WHISPER)
    assert len(computed) == 1
    clip[7] += 1  # in place
    truth(clip, WHISPER)
    truth(clip.view(np.int32), WHISPER)
    truth(clip.reshape(2, 800), WHISPER)
    truth(clip, WHISPER.replace(n_mels=128))
    assert len(computed) == 5
