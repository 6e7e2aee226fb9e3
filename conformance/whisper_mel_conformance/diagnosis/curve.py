"""Logarithm and scaling left free: a rising curve from right mel powers to features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.diagnosis.answer import Answer
from whisper_mel_conformance.diagnosis.free import Free, is_promising, see
from whisper_mel_conformance.quirks.path import Variation

Array = NDArray[Any]
Curve = Callable[[Array], Array]
"""A function of mel powers that returns features."""

_LOWEST, _HIGHEST = -11.0, 4.0  # log10 of the mel powers of the curve's ends
_KNOTS = 150  # between them, of the curve; 0.1 apart
_KNOTS_OF_OCTAVE = 24  # of a curve that repeats
_VALUES = 20_000  # that a curve is fitted to, at most
_SMOOTH = 1e-6  # weight of second differences, where there are no values
_RIGHT = (
    "`log = np.log10(np.maximum(mel, 1e-10))`, then `y = (np.maximum(log, log.max() - 8) + 4) / 4`."
)
_TIED = 3  # equal lowest values of a clip that say that its range was limited
_MARGIN = 1e-3  # of features, above a clip's lowest: nearer, its range may decide
_NO_RANGE = 1e9


def free_curve(learnt: Mapping[int, Mapping[str, Answer]]) -> Iterator[Free]:
    """Yield curves: one in the logarithm, and one that repeats in each octave."""
    answers = dict(learnt[min(learnt)])
    silence = answers.pop("silence").actual
    assert silence is not None
    floor = float(silence.max())
    width = _width(list(answers.values()), floor)
    mel, features, bound = _values(list(answers.values()), floor)
    if mel.size < 2 * _KNOTS:
        return
    for make, words in (
        (_whole, _words),
        (_of_octaves(0.0), _words_of_octaves),
        (_of_octaves(0.5), _words_of_octaves),
    ):
        curve = make(mel, features, bound)
        off = np.abs(curve(mel) - features) / bound
        if is_promising(off.max()) and _rises(curve):
            yield Free("logarithm", *words(curve, width), _variation(curve, width, floor), _RIGHT)


def _variation(curve: Curve, width: float, floor: float) -> Variation:
    def put(log: Array, call: Any) -> Array:
        features = np.maximum(curve(call.seen["mel"]), floor)
        return (features * call.spec.divisor - call.spec.offset).astype(log.dtype)

    return Variation(stages={"log": put}, spec={"dynamic_range": width})


def _is_limited(features: Array, floor: float) -> bool:
    """Return whether a range decided about a clip's lowest values, not the floor."""
    low = features.min()
    return bool(floor + _MARGIN < low and (features == low).sum() >= _TIED)


def _width(answers: Sequence[Answer], floor: float) -> float:
    """Find the range below the maximum, in the unit of Whisper's logarithm; very wide if none."""
    widths = []
    for answer in answers:
        assert answer.actual is not None
        if _is_limited(answer.actual, floor):
            widths.append((answer.actual.max() - answer.actual.min()) * answer.spec.divisor)
    same = bool(widths) and max(widths) - min(widths) <= 1e-5 * max(widths)
    return float(np.mean(widths)) if same else _NO_RANGE


def _values(answers: Sequence[Answer], floor: float) -> tuple[Array, Array, Array]:
    """Return right mel powers, features and bounds where neither range nor floor decided."""
    parts = []
    for answer in answers:
        assert answer.actual is not None
        features = answer.actual[0]
        least = features.min() + _MARGIN if _is_limited(features, floor) else floor
        free = features > least
        mel = see(answer).steps["mel"]
        parts.append(np.stack([mel[free], features[free], answer.bound[0][free]]))
    values = np.concatenate(parts, axis=1)
    mel, features, bound = values[:, :: max(values.shape[1] // _VALUES, 1)]
    return mel, features, bound


def _place(mel: Array) -> Array:
    return np.log10(np.clip(mel, 10.0**_LOWEST, 10.0**_HIGHEST))


def _rises(curve: Curve) -> bool:
    values = curve(10.0 ** np.linspace(-9.0, 3.0, 500))
    return bool((np.diff(values) >= -1e-3 * (values[-1] - values[0])).all())


def _whole(mel: Array, features: Array, bound: Array) -> Curve:
    def rows(mel: Array) -> Array:
        return _splines((_place(mel) - _LOWEST) / (_HIGHEST - _LOWEST), _KNOTS)

    return _fitted(rows, _KNOTS + 3, mel, features, bound)


def _of_octaves(origin: float) -> Callable[[Array, Array, Array], Curve]:
    """Return a way to fit a logarithm that is off in the same way in each octave, as a polynomial
    is that is used for the mantissa, which begins at ``2**origin``."""

    def rows(mel: Array) -> Array:
        octaves = np.log2(np.clip(mel, 1e-10, 1e10)) - origin
        part = octaves - np.floor(octaves)
        return np.column_stack([octaves, _splines(part, _KNOTS_OF_OCTAVE)])

    return lambda mel, features, bound: _fitted(rows, _KNOTS_OF_OCTAVE + 3, mel, features, bound)


def _splines(place: Array, knots: int) -> Array:
    """Compute the cubic B-splines at places from 0 to 1, shape ``(n, knots + 3)``."""
    at = np.clip(place, 0.0, 1.0) * knots
    i = np.minimum(at.astype(int), knots - 1)
    u = at - i
    parts = ((1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3)
    rows = np.zeros((place.size, knots + 3))
    for k, part in enumerate(parts):
        rows[np.arange(place.size), i + k] = part / 6.0
    return rows


def _fitted(
    rows: Callable[[Array], Array], splines: int, mel: Array, features: Array, bound: Array
) -> Curve:
    """Fit by least squares in bounds; where there are no values, straight on.

    The last ``splines`` columns that ``rows`` computes are splines.
    """
    weighted = rows(mel) / bound[:, None]
    products, right = weighted.T @ weighted, weighted.T @ (features / bound)
    n = products.shape[0]
    bends = np.diff(np.eye(n)[n - splines :], 2, axis=0)
    scale = _SMOOTH * np.median(np.diag(products)[np.diag(products) > 0])
    numbers = np.linalg.solve(products + scale * (bends.T @ bends), right)
    return lambda mel: (rows(mel.ravel()) @ numbers).reshape(mel.shape)


def _words(curve: Curve, width: float) -> tuple[str, str]:
    logs = np.array([-8.0, -6.0, -4.0, -2.0, 0.0, 2.0])
    values = curve(10.0**logs)
    listed = ", ".join(
        f"{value:.4g} ({(log + 4.0) / 4.0:g})" for log, value in np.column_stack([logs, values])
    )
    slope = float(values[-1] - values[-2]) / 2.0
    straight = values[-1] + slope * (logs - logs[-1])
    departs = int(np.abs(values - straight).argmax())
    cause = (
        f"Logarithm and scaling are others: loud features grow by {slope:.5g} for each factor of "
        "10 in mel power (right: 0.25)"
    )
    if abs(values[departs] - straight[departs]) > 0.01:
        cause += (
            f", and at a mel power of {10.0 ** logs[departs]:.0e} they are "
            f"{values[departs] - straight[departs]:.3g} off that line"
        )
    return f"{cause}.", (
        "Features at mel powers of 1e-8, 1e-6, 1e-4, 0.01, 1 and 100, with the right ones: "
        f"{listed}; {_range_words(width)}."
    )


def _words_of_octaves(curve: Curve, width: float) -> tuple[str, str]:
    mel = 2.0 ** np.linspace(0.0, 1.0, 200)
    off = curve(mel) - (np.log10(mel) + 4.0) / 4.0
    worst = int(np.abs(off).argmax())
    bits = -np.log2(np.abs(off).max() * 4.0)
    if bits < 1.0:  # another scale, not a rough approximation
        return _words(curve, width)
    return (
        f"The logarithm is approximated: about {bits:.0f} bits after the point are right, and it "
        "is off in the same way in each octave.",
        f"Features are off by up to {off[worst]:.2g}, at mel powers of {mel[worst]:.3f} times a "
        f"power of 2; {_range_words(width)}.",
    )


def _range_words(width: float) -> str:
    if width >= _NO_RANGE:
        return "no range below the maximum shows"
    return f"the range below the maximum is {width:.5g} in Whisper's unit (right: 8)"
