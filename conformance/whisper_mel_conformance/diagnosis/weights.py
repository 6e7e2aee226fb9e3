"""The filterbank left free: its weights by non-negative least squares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import mel_filterbank

from whisper_mel_conformance.diagnosis.answer import Answer
from whisper_mel_conformance.diagnosis.free import Free, Seen, is_promising, see
from whisper_mel_conformance.quirks.path import Variation
from whisper_mel_conformance.quirks.signal.common import SLANEY_BANK

Array = NDArray[Any]

_SLIGHT = 0.05  # relative: weights that are off by less are rounded, or computed in float32
_SLIGHT_ERROR = float(np.log10(1.0 + _SLIGHT)) / 4.0  # the same of the features
_LIGHTEST = 1e-3  # times the band's heaviest: lighter weights are not compared
_NONE = 1e-5  # times the band's heaviest: lighter weights, where none should be, are noise
_SHOWN = 3  # weights that are listed
_EXACT = f"Compute the bank in float64, and round its weights once, at the end: {SLANEY_BANK}."
_RIGHT = f"Take the bank that Whisper has: {SLANEY_BANK}."


def may_be_slightly_off(answers: Sequence[Answer]) -> bool:
    """Return whether no answer is farther off than by weights that are off slightly."""
    return all(
        answer.actual is not None
        and answer.actual.shape == answer.expected.shape
        and bool(np.abs(answer.actual - answer.expected).max() <= _SLIGHT_ERROR)
        for answer in answers
    )


def free_bank(learnt: Mapping[int, Mapping[str, Answer]]) -> Iterator[Free]:
    """Yield the banks, one for each number of bands, that explain the answers best."""
    banks = {}
    for n_mels, answers in learnt.items():
        bank = _bank(n_mels, [see(answers[name]) for name in ("noise", "chirp", "ramp")])
        if bank is None:
            return
        banks[n_mels] = bank

    def put(weights: Array, call: Any) -> Array:
        return banks.get(len(weights), weights).astype(weights.dtype)

    cause, shown, fix = _words(banks)
    yield Free("filterbank", cause, shown, Variation(stages={"bank": put}), fix)


def _bank(n_mels: int, seen: Sequence[Seen]) -> Array | None:
    """Find a bank's weights; None if no weights explain what they were fitted to."""
    power = np.concatenate([s.steps["power"] for s in seen])
    mel, unit, usable = (
        np.concatenate([getattr(s, name) for s in seen], axis=1) for name in Seen._fields[1:]
    )
    right = mel_filterbank(n_mels).astype(np.float64)
    found = np.zeros(right.shape)
    for band in np.random.default_rng(0).permutation(n_mels):  # what fails, fails soon
        rows = usable[band]
        if not rows.any():
            continue
        weights = _non_negative(
            power[rows] / (mel[band, rows] * unit[band, rows])[:, None],
            1.0 / unit[band, rows],
            right[band] > 0.0,
        )
        off = np.abs(power[rows] @ weights / mel[band, rows] - 1.0) / unit[band, rows]
        if not is_promising(off.max()):
            return None
        found[band] = weights
    return found


def _non_negative(rows: Array, values: Array, wanted: Array) -> Array:
    """Solve ``rows @ weights = values`` by least squares with weights that are not negative.

    Weights that come out negative, or lighter than noise where none are ``wanted``, are left out,
    until none does.
    """
    scale = np.maximum(np.linalg.norm(rows, axis=0), 1e-300)
    scaled = rows / scale
    products, right = scaled.T @ scaled, scaled.T @ values
    kept = np.arange(rows.shape[1])
    while kept.size:
        damped = products[np.ix_(kept, kept)] + 1e-13 * np.eye(kept.size)
        weights = np.linalg.solve(damped, right[kept]) / scale[kept]
        good = weights > np.where(wanted[kept], 0.0, _NONE * weights.max())
        if good.all():
            break
        kept = kept[good]
    found = np.zeros(rows.shape[1])
    if kept.size:
        found[kept] = weights
    return found


def _words(banks: Mapping[int, Array]) -> tuple[str, str, str]:
    """Say which weights differ, of the number of bands where they differ most, and the fix."""
    off = {n_mels: _off(n_mels, bank) for n_mels, bank in banks.items()}
    n_mels = max(off, key=lambda n: off[n].max())
    bank, right = banks[n_mels], mel_filterbank(n_mels).astype(np.float64)
    worst = np.argsort(off[n_mels], axis=None)[::-1][:_SHOWN]
    places = [np.unravel_index(place, bank.shape) for place in worst]
    listed = "; ".join(
        f"{bank[band, k]:.4g} where {right[band, k]:.4g} is right, in band {band}, bin {k}"
        for band, k in places
    )
    differ = int(np.sum(off[n_mels].max(axis=1) > 1e-4))
    shown = f"Weights differ in {differ} of {n_mels} bands, most these: {listed}."
    if off[n_mels].max() <= _SLIGHT:
        cause = (
            f"The filterbank's weights are slightly off: by up to {off[n_mels].max():.2%}, in band "
            f"{places[0][0]} of {n_mels}. Banks computed in float32 are: a small weight is the "
            "difference of two large numbers."
        )
        return cause, shown, _EXACT
    return "The filterbank has other weights.", shown, _RIGHT


def _off(n_mels: int, bank: Array) -> Array:
    """Compute by how much weights differ, relatively; lighter ones than the lightest that are
    compared count as that."""
    right = mel_filterbank(n_mels).astype(np.float64)
    least = _LIGHTEST * right.max(axis=1, keepdims=True)
    found, wanted = np.maximum(bank, least), np.maximum(right, least)
    off: Array = np.abs(found - wanted) / wanted
    return off
