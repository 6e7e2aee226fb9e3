"""Features in half formats: what rounding them once may change, and nothing more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from whisper_mel_reference import CLASS_A, CLASS_B, WHISPER, log_mel, score, truth
from whisper_mel_reference.bound import HALF_FORMATS, compare_with, half_ulp

RNG = np.random.default_rng(0)
AUDIO = (RNG.uniform(-1, 1, 48_000) * np.logspace(-4, 0, 48_000)).astype(np.float32)
TRUTH = truth(AUDIO)
FEATURES = log_mel(AUDIO, dtype=np.float32)


def bits_dropped(values: Any, add: Callable[[Any], Any]) -> Any:
    """Float32 values cut to bfloat16's 16 bits, after ``add`` was added to their bits."""
    bits = values.view(np.uint32)
    return ((bits + add(bits)) & np.uint32(0xFFFF0000)).view(np.float32)


def to_bfloat16(values: Any) -> Any:
    """The nearest bfloat16, to even: as float32."""
    return bits_dropped(values, lambda bits: np.uint32(0x7FFF) + ((bits >> 16) & 1))


def truncated_to_float16(values: Any) -> Any:
    half = values.astype(np.float16)
    return np.where(np.abs(half) > np.abs(values), np.nextafter(half, np.float16(0)), half)


RIGHT: dict[str, Any] = {"float16": lambda y: y.astype(np.float16), "bfloat16": to_bfloat16}
WRONG: dict[str, tuple[str, Any]] = {
    "float16 truncated": ("float16", truncated_to_float16),
    "bfloat16 truncated": ("bfloat16", lambda y: bits_dropped(y, lambda bits: 0)),
    "bfloat16 rounded up": ("bfloat16", lambda y: bits_dropped(y, lambda bits: 0x8000)),
    "bfloat16 by way of float16": (
        "bfloat16",
        lambda y: to_bfloat16(y.astype(np.float16).astype(np.float32)),
    ),
    "bfloat16 for float16": ("float16", to_bfloat16),
    "float16 without subnormals": (
        "float16",
        lambda y: np.where(np.abs(y) < 2.0**-14, 0, y).astype(np.float16),
    ),
}


def test_half_an_ulp_is_half_the_spacing_of_all_float16() -> None:
    every = np.arange(0x7C00, dtype=np.uint16).view(np.float16)
    spacing = np.diff(every.astype(np.float64)) / 2
    np.testing.assert_array_equal(half_ulp(every[:-1], "float16"), spacing)
    np.testing.assert_array_equal(half_ulp(-every[:-1], "float16"), spacing)


def test_half_an_ulp_of_bfloat16() -> None:
    every = (np.arange(0x7F7F, dtype=np.uint32) << 16).view(np.float32).astype(np.float64)
    np.testing.assert_array_equal(half_ulp(every[:-1], "bfloat16"), np.diff(every) / 2)


def test_other_formats_are_refused() -> None:
    with pytest.raises(ValueError, match=r"dtype='float64': expected one of float32, float16, bf"):
        score(FEATURES, AUDIO, dtype="float64")


@pytest.mark.parametrize("dtype", HALF_FORMATS)
def test_float32_features_rounded_once_stay_in_their_class(dtype: str) -> None:
    rounded = RIGHT[dtype](FEATURES)
    own = score(FEATURES, AUDIO)
    of_half = compare_with(rounded, *TRUTH, dtype).score
    assert 0 < of_half <= own <= CLASS_A
    assert compare_with(rounded, *TRUTH).score > CLASS_B  # as float32 it would be wrong


@pytest.mark.parametrize("name", WRONG)
def test_another_rounding_fails(name: str) -> None:
    dtype, rounding = WRONG[name]
    features, (expected, bound) = FEATURES, TRUTH
    if name.endswith("subnormals"):  # few values are so near to zero: here every second is
        expected = np.where(np.arange(expected.size).reshape(expected.shape) % 2, 3e-5, expected)
        features = np.where(expected == 3e-5, expected, features).astype(np.float32)
    found = compare_with(rounding(features), expected, bound, dtype).score
    if name == "bfloat16 rounded up":  # differs from to-even in ties only
        assert found <= CLASS_A
    else:
        assert found > 4 * CLASS_B


def test_the_score_admits_the_rounding_that_it_is_told_of() -> None:
    half = FEATURES.astype(np.float16)
    assert score(half, AUDIO, dtype="float16") <= CLASS_A < CLASS_B < score(half, AUDIO)
    assert score(truncated_to_float16(FEATURES), AUDIO, dtype="float16") > CLASS_B
    assert score(np.full_like(half, np.nan), AUDIO, dtype="float16") == np.inf
    assert score(np.full_like(half, np.inf), AUDIO, dtype="float16") == np.inf
    spec = WHISPER.replace(smoothing="same")
    smooth = log_mel(AUDIO, spec, dtype=np.float32).astype(np.float16)
    assert score(smooth, AUDIO, spec, dtype="float16") <= CLASS_A


def test_ml_dtypes_rounds_so() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is an extra")
    made = FEATURES.astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(made.astype(np.float32), to_bfloat16(FEATURES))
    assert score(made, AUDIO, dtype="bfloat16") <= CLASS_A
