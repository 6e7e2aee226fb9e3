"""The window, and the input, left free: the spectrum is linear in the window's values, in a short
filter's taps and in an offset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import WHISPER, mel_filterbank
from whisper_mel_reference.pipeline import window

from whisper_mel_conformance.diagnosis.answer import Answer
from whisper_mel_conformance.diagnosis.free import Free, Seen, is_promising, see
from whisper_mel_conformance.quirks.path import Variation

Array = NDArray[Any]

_FRAMES = slice(10, 45)  # of the noise, far from its ends: 2,800 values or more
_USED = 0.5  # of the values, at least
_REACH = 4  # taps before and after a sample
_STEPS = 30  # at most
_TRIES = 6  # of a step, each more damped
_LEAST = 1e-30  # of mel powers
_ENOUGH = 3e-3  # relative change of the error at which a descent ends
_MIRRORED = (
    "The transform's bins come in reverse order: a wrong sign where halves of a transform are put "
    "together, as of a transform of real samples by one of half the length."
)
_HALVES = (
    "Compare the transform with `np.fft.rfft` on noise. Of halves, bin k is the even samples' plus "
    "exp(-2 pi i k / 400) times the odd samples'."
)
_AS_THEY_ARE = "Take the samples as they are: only int16 is divided, by 32768."
_PERIODIC = (
    "Take a periodic Hann window of 400: `0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)`."
)
_HANN = window(WHISPER, np.dtype(np.float64))
_NOISE = 5e-6  # times the largest tap: smaller ones, and offsets, are none
_ZERO = 1e-5  # times the window's largest value: less is none


def free_input(learnt: Mapping[int, Mapping[str, Answer]]) -> Iterator[Free]:
    """Yield gain, offset and a filter of up to 9 taps, before and after the padding."""
    bands, seen = _noise(learnt)
    if not seen.usable.mean() >= _USED:
        return
    clip = np.pad(learnt[bands]["noise"].clips[0], WHISPER.reach, mode="reflect")
    lags = np.arange(-_REACH, _REACH + 1)
    starts = WHISPER.hop * np.arange(_FRAMES.start, _FRAMES.stop)[:, None] + np.arange(400)
    cut = [*(clip[starts - lag] for lag in lags), np.ones(starts.shape)]
    spectra = np.stack([np.fft.rfft(frames * _HANN) for frames in cut], axis=-1)
    best, least = _descend(spectra, bands, seen, _products(spectra, bands, seen))
    if not is_promising(least):
        return
    best = best * np.sign(best[np.abs(best[:-1]).argmax()])
    best[np.abs(best) < _NOISE * np.abs(best).max()] = 0.0
    taps, offset = best[:-1], float(best[-1])

    def change(audio: Array, call: Any) -> Array:
        filtered = np.convolve(audio, taps)[_REACH : _REACH + audio.size] + offset
        return filtered.astype(audio.dtype)

    for stage in ("audio", "extended"):
        words = _input_words(taps, offset)
        yield Free("input", *words, Variation(stages={stage: change}), _AS_THEY_ARE)


def _products(spectra: Array, bands: int, seen: Seen) -> Array:
    """Find numbers, but for a factor, by their products with each other, in which mel powers are
    linear: a descent in the numbers themselves may end where a zero of the filter is on the wrong
    side of the circle."""
    bank = mel_filterbank(bands).astype(np.float64)
    first, second = np.triu_indices(spectra.shape[-1])
    pairs = (spectra[..., first] * np.conj(spectra[..., second])).real
    pairs *= np.where(first == second, 1.0, 2.0)
    rows = np.einsum("bk,tkp->btp", bank, pairs, optimize=True)[seen.usable]
    wanted = seen.mel[seen.usable][:, None]
    found = np.linalg.lstsq(rows / wanted, np.ones(len(rows)), rcond=1e-12)[0]
    square = np.zeros((spectra.shape[-1],) * 2)
    square[first, second] = square[second, first] = found
    numbers: Array = np.linalg.eigh(square)[1][:, -1]
    return numbers


def _input_words(taps: Array, offset: float) -> tuple[str, str]:
    places = np.flatnonzero(taps)
    low, high = taps.sum(), (taps * (-1.0) ** np.arange(taps.size)).sum()
    what = [f"{offset:.4g} is added"] if offset else []
    if places.size > 1:
        what.insert(0, "a short filter")
    elif places[0] != _REACH:
        what.insert(0, f"a delay of {places[0] - _REACH} samples")
    if places.size == 1 and abs(low - 1.0) > _NOISE:
        what.insert(0, f"the factor {low:.4g}")
    listed = ", ".join(f"{taps[i]:.5g} (delay {i - _REACH})" for i in places)
    return (
        f"The audio is changed before it is cut into frames: {', '.join(what) or 'slightly'}.",
        f"As a filter, its taps: {listed}; offset {offset:.3g}. Its gain is {low:.4g} at 0 Hz and "
        f"{high:.4g} at 8,000 Hz.",
    )


def free_window(learnt: Mapping[int, Mapping[str, Answer]]) -> Iterator[Free]:
    """Yield the window whose 400 values explain an answer best."""
    bands, seen = _noise(learnt)
    if not seen.usable.mean() >= _USED:
        return
    samples = np.asarray(seen.steps["frames"][_FRAMES])
    # The transform of sample n alone is x[n] exp(-2 pi i k n / 400).
    turns = np.exp(-2j * np.pi * (np.outer(np.arange(201), np.arange(400)) % 400) / 400)
    found, score = _descend(samples[:, None, :] * turns, bands, seen, _HANN)
    if not is_promising(score):
        return
    mirrored = found * (-1.0) ** np.arange(found.size)
    is_mirrored = np.square(np.diff(mirrored)).sum() < np.square(np.diff(found)).sum()
    values = found * np.sign(found[np.abs(found).argmax()])

    def put(weights: Array, call: Any) -> Array:
        return values.astype(weights.dtype) if weights.size == values.size else weights

    if is_mirrored:  # as if samples were multiplied by 1, -1, 1, -1, …
        shown = "Bin k has the power of bin 200 - k, as if every other sample's sign were turned."
        if np.abs(np.abs(mirrored) - _HANN).max() > 1e-4:
            shown += " The window differs, too: " + _window_words(np.abs(mirrored))[1]
        yield Free("transform", _MIRRORED, shown, Variation(stages={"window": put}), _HALVES)
        return
    cause, shown = _window_words(values)
    yield Free("window", cause, shown, Variation(stages={"window": put}), _PERIODIC)


def _window_words(values: Array) -> tuple[str, str]:
    peak = np.abs(values).max()
    differs = int(np.abs(values - _HANN).argmax())
    near = 1e-4 * peak
    if np.abs(values - values[::-1]).max() <= near:
        form = "It is symmetric about sample 199.5"
    elif np.abs(values[1:] - values[:0:-1]).max() <= near:
        form = "It is symmetric about sample 200, as a periodic window is"
    else:
        centre = float((np.arange(400) * values**2).sum() / (values**2).sum())
        form = f"It is not symmetric; its centre is at sample {centre:.1f} (right: 200)"
    there = np.flatnonzero(np.abs(values) > _ZERO * peak)
    shown = (
        f"{form}. Its values begin with {values[0]:.3g}, are {values[100]:.4g} at sample 100 and "
        f"{values[200]:.4g} at 200, and are not zero from {there[0]} to {there[-1]} (Hann: 0, 0.5, "
        f"1, from 1 to 399). The largest difference from Hann is "
        f"{values[differs] - _HANN[differs]:.3g}, at sample {differs}."
    )
    return "The window is another one than Hann's.", shown


def _noise(learnt: Mapping[int, Mapping[str, Answer]]) -> tuple[int, Seen]:
    bands = min(learnt)
    seen = see(learnt[bands]["noise"])
    return bands, Seen(
        {name: seen.steps[name] for name in ("frames",)},
        *(np.asarray(value)[:, _FRAMES] for value in seen[1:]),
    )


def _descend(spectra: Array, bands: int, seen: Seen, start: Array) -> tuple[Array, float]:
    """Fit ``spectra @ numbers`` to mel powers, after Levenberg and Marquardt.

    ``spectra`` has shape ``(n_frames, n_bins, n_numbers)``. Returns the numbers and the worst score
    that they leave.
    """
    bank = mel_filterbank(bands).astype(np.float64)
    unit, wanted = seen.unit.T, np.maximum(seen.mel.T, _LEAST)
    weight = np.where(seen.usable.T, np.minimum(1.0, np.median(unit) / unit), 0.0)
    if not weight.any():
        return start, np.inf
    right = np.maximum(np.square(np.abs(spectra @ start)) @ bank.T, _LEAST)
    scale = np.median(wanted / right)
    numbers = _steps(spectra, bank, start * np.sqrt(scale), wanted, weight / (scale * right))
    mel = np.maximum(np.square(np.abs(spectra @ numbers)) @ bank.T, _LEAST)
    used = weight > 0.0
    return numbers, float((np.abs(np.log(mel / wanted)) / unit)[used].max())


def _steps(spectra: Array, bank: Array, numbers: Array, wanted: Array, weight: Array) -> Array:
    """Take steps as long as the sum of squares of weighted differences becomes less."""

    def at(numbers: Array) -> tuple[Array, Array]:
        spectrum = spectra @ numbers
        return spectrum, (np.square(np.abs(spectrum)) @ bank.T - wanted) * weight

    damping = 1e-3
    spectrum, error = at(numbers)
    # Single precision does for the direction of a step.
    weights, parts = bank.astype(np.float32), spectra.astype(np.complex64)
    for _ in range(_STEPS):
        twice = 2.0 * np.conj(spectrum).astype(np.complex64)[..., None]
        rows = [weights @ (s * z).real for s, z in zip(twice, parts, strict=True)]
        slopes = np.concatenate(rows) * weight.ravel()[:, None]
        products, right = slopes.T @ slopes, slopes.T @ error.ravel()
        before = np.square(error).sum()
        for _ in range(_TRIES):
            damped = products + damping * np.diag(np.diag(products) + 1e-12)
            trial = numbers - np.linalg.solve(damped, right)
            tried = at(trial)
            if np.square(tried[1]).sum() < before:
                break
            damping *= 10.0
        else:
            break
        numbers, (spectrum, error) = trial, tried
        damping = max(damping / 10.0, 1e-12)
        if np.square(error).sum() > (1.0 - _ENOUGH) * before:
            break
    return numbers
