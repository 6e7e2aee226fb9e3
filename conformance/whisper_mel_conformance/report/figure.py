"""Features in the report: images and one spectrum, as plain data for report.json."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.report.picture import encode, shades

Array = NDArray[Any]

FRAMES = 240  # largest number of frames in a figure, to keep the report small
# Steps of the error: the upper limit in units of the bound, and the colour, which both a white and
# a black page show. The last one is for larger errors and for values that are not finite.
STEPS = (
    (1.0, "#dfe5ec"),
    (4.0, "#f2cb57"),
    (10.0, "#ef9a3f"),
    (100.0, "#e0602f"),
    (1e3, "#c62f4e"),
    (1e4, "#b1318f"),
    (1e6, "#8850cf"),
    (np.inf, "#4a78d6"),
)
_SHADES = 64
_DARK_TO_LIGHT = [
    "#000004",
    "#1c1044",
    "#4f127b",
    "#812581",
    "#b5367a",
    "#e55064",
    "#fb8761",
    "#fec287",
    "#fcfdbf",
]


def figure(title: str, arrays: Mapping[str, Array]) -> dict[str, Any] | None:
    """Return the features ``actual`` and ``expected`` and their difference in units of ``bound``.

    The arrays have shape ``(n_mels, n_frames)`` or ``(batch, n_mels, n_frames)``. A batch is shown
    by the clip with the largest error, a long clip by the frames around it. Arrays of different
    shapes have neither difference nor spectrum. Returns None if an array is missing or empty.
    """
    if not {"actual", "expected", "bound"} <= set(arrays):
        return None
    actual, expected, bound = (np.asarray(arrays[k]) for k in ("actual", "expected", "bound"))
    if actual.size == 0 or actual.ndim != expected.ndim or expected.ndim not in (2, 3):
        return None
    comparable = actual.shape == expected.shape
    error = _error(actual, expected, bound) if comparable else np.zeros(expected.shape)
    if expected.ndim == 3:
        clip = int(error.max(axis=(1, 2)).argmax()) if comparable else 0
        actual, expected, bound, error = actual[clip], expected[clip], bound[clip], error[clip]
    frame = int(error.max(axis=0).argmax())
    n_frames = expected.shape[1]
    start = min(max(frame - FRAMES // 2, 0), max(n_frames - FRAMES, 0))
    part = np.s_[:, start : start + FRAMES]
    low, high = float(expected[part].min()), float(expected[part].max())
    return {
        "title": title,
        "shape": list(expected.shape),
        "first_frame": start,
        "low": low,
        "high": high,
        "expected": _features(expected[part], low, high),
        "actual": _features(actual[part], low, high),
        "actual_shape": list(actual.shape),
        "error": _errors(error[part]) if comparable else None,
        "frame": frame if comparable else None,
        "spectrum": _spectrum(actual, expected, bound, frame) if comparable else None,
    }


def _error(actual: Array, expected: Array, bound: Array) -> Array:
    """Return the error in units of the bound; infinite for NaN."""
    with np.errstate(all="ignore"):
        error: Array = np.abs(actual.astype(np.float64) - expected) / bound
    return np.nan_to_num(error, nan=np.inf, posinf=np.inf)


def _features(values: Array, low: float, high: float) -> str:
    return _png((shades(values, low, high) * (_SHADES - 1)).astype(np.uint8), _ramp())


def _errors(error: Array) -> str:
    limits = [limit for limit, _ in STEPS[:-1]]
    # an error equal to a limit belongs to the step below it
    steps = np.searchsorted(limits, error, side="left")
    return _png(steps.astype(np.uint8), np.array([_rgb(c) for _, c in STEPS], np.uint8))


def _png(values: NDArray[np.uint8], palette: NDArray[np.uint8]) -> str:
    """Return a PNG in base64, one pixel for each value, low bands at the bottom."""
    return b64encode(encode(values[::-1], palette)).decode("ascii")


def _ramp() -> NDArray[np.uint8]:
    stops = np.array([_rgb(colour) for colour in _DARK_TO_LIGHT], np.float64)
    at = np.linspace(0, len(stops) - 1, _SHADES)
    channels = [np.interp(at, np.arange(len(stops)), stops[:, k]) for k in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _spectrum(actual: Array, expected: Array, bound: Array, frame: int) -> dict[str, Any]:
    """Return the bands of one frame; None stands for values that JSON cannot represent."""

    def numbers(values: Array) -> list[float | None]:  # NaN is no JSON
        return [float(f"{v:.6g}") if np.isfinite(v) else None for v in values.tolist()]

    return {
        "expected": numbers(expected[:, frame]),
        "actual": numbers(actual[:, frame]),
        "bound": numbers(bound[:, frame]),
    }
