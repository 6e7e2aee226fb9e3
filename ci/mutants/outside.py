"""Faults that no quirk of the catalogue is, each in a stage that is known.

What they draw is what differs between front-ends with the same fault.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
from whisper_mel_conformance.quirks.path import Call
from whisper_mel_reference.filterbank import hz_to_mel, mel_to_hz

Array = Any
Draw = random.Random
Hook = Callable[[Array, Call], Array]
Fault = Callable[[Draw], dict[str, Hook]]


def exclusive_bounds(draw: Draw) -> dict[str, Hook]:
    """Leave the last bin out of each band."""

    def bank(weights: Array, call: Call) -> Array:
        weights = weights.copy()
        for row in weights:
            inside = np.flatnonzero(row > 0)
            if inside.size > 1:
                row[inside[-1]] = 0
        return weights

    return {"bank": bank}


def other_edges(draw: Draw) -> dict[str, Hook]:
    low, high, by = draw.uniform(20.0, 90.0), draw.uniform(7000.0, 7600.0), draw.uniform(5.0, 25.0)

    def bank(weights: Array, call: Call) -> Array:
        ends = hz_to_mel(low, "htk"), hz_to_mel(high, "htk")
        edges = mel_to_hz(np.linspace(*ends, len(weights) + 2), "htk")
        edges += np.linspace(0.0, by, edges.size)
        bins, width = np.arange(201) * 40.0, np.diff(edges)[:, None]
        rising, falling = (
            (bins - edges[:-2, None]) / width[:-1],
            (edges[2:, None] - bins) / width[1:],
        )
        norm = 2.0 / (edges[2:] - edges[:-2])[:, None]
        made = np.maximum(np.minimum(rising, falling), 0.0) * norm
        return made.astype(weights.dtype)

    return {"bank": bank}


def box_filter(draw: Draw) -> dict[str, Hook]:
    n = draw.choice([2, 3, 4, 5])

    def audio(samples: Array, call: Call) -> Array:
        mean = np.convolve(samples, np.full(n, 1.0 / n))
        return mean[n // 2 : n // 2 + samples.size].astype(samples.dtype)

    return {"audio": audio}


def offset(draw: Draw) -> dict[str, Hook]:
    by = draw.uniform(0.003, 0.05)
    return {"audio": lambda samples, call: samples + samples.dtype.type(by)}


def halves(windowed: Array, sign: float) -> Array:
    """Transform real samples by a complex transform of half the length."""
    n = windowed.shape[-1] // 2
    both, k = np.fft.fft(windowed[:, ::2] + 1j * windowed[:, 1::2]), np.arange(n + 1)
    a, b = both[:, k % n], np.conj(both[:, -k % n])
    return (a + b) / 2.0 + sign * 0.5j * np.exp(-1j * np.pi * k / n) * (a - b)


def wrong_sign_of_halves(draw: Draw) -> dict[str, Hook]:
    return {"spectrum": lambda s, call: halves(call.seen["windowed"], 1.0).astype(s.dtype)}


def wrong_sign_of_folding(draw: Draw) -> dict[str, Hook]:
    """Transform differences of samples n and 400 - n by cosines, which take their sums; or their
    sums by sines, which take differences; or both.
    """
    turns = 2.0 * np.pi * (np.outer(np.arange(201), np.arange(201)) % 400) / 400
    even, odd = draw.choice([(-1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])

    def spectrum(s: Array, call: Call) -> Array:
        x = call.seen["windowed"].astype(np.float64)
        first, mirrored = x[:, :201], np.zeros((len(x), 201))
        mirrored[:, 1:200] = x[:, :200:-1]
        cosines, sines = (
            (first + even * mirrored) @ np.cos(turns),
            (first + odd * mirrored) @ np.sin(turns),
        )
        return (cosines - 1j * sines).astype(s.dtype)

    return {"spectrum": spectrum}


def gaussian_window(draw: Draw) -> dict[str, Hook]:
    width = draw.uniform(50.0, 110.0)
    at = (np.arange(400) - draw.choice([199.5, 200.0])) / width
    return {"window": lambda w, call: np.exp(-0.5 * at**2).astype(w.dtype)}


def soft_floor(draw: Draw) -> dict[str, Hook]:
    base, least = draw.uniform(3.0, 20.0), 10.0 ** draw.uniform(-7.0, -4.0)

    def log(values: Array, call: Call) -> Array:
        return (np.log(call.seen["mel"] + least) / np.log(base)).astype(values.dtype)

    return {"log": log}


def curved_logarithm(draw: Draw) -> dict[str, Hook]:
    """Use another curve for a logarithm, with a floor at which it breaks off."""
    curve, least = draw.uniform(0.01, 0.05), 10.0 ** draw.uniform(-8.0, -6.0)

    def log(values: Array, call: Call) -> Array:
        right = np.log10(np.maximum(call.seen["mel"], least))
        return (right - curve * right * right).astype(values.dtype)

    return {"log": log}


def polynomial_logarithm(draw: Draw) -> dict[str, Hook]:
    points = np.linspace(0.5, 1.0, 50)
    numbers = np.polyfit(points, np.log2(points), draw.choice([3, 4, 5]))

    def log(values: Array, call: Call) -> Array:
        mantissa, exponent = np.frexp(np.maximum(call.seen["mel"], 1e-10))
        return ((np.polyval(numbers, mantissa) + exponent) * np.log10(2.0)).astype(values.dtype)

    return {"log": log}


def drifting_frames(draw: Draw) -> dict[str, Hook]:
    every, by = draw.randrange(20, 80), draw.choice([-1, 1])

    def frames(views: Array, call: Call) -> Array:
        t = np.arange(len(views))
        samples = np.pad(call.seen["extended"], 400)
        starts = 400 + t * call.spec.hop + by * (t // every)
        return samples[starts[:, None] + np.arange(views.shape[1])]

    return {"frames": frames}


def half_spectra(draw: Draw) -> dict[str, Hook]:
    def spectrum(s: Array, call: Call) -> Array:
        return (s.real.astype(np.float16) + 1j * s.imag.astype(np.float16)).astype(s.dtype)

    return {"spectrum": spectrum}


def to_bits(values: Array, bits: int) -> Array:
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(mantissa * 2.0**bits) / 2.0**bits, exponent).astype(values.dtype)


def mel_powers_in_few_bits(draw: Draw) -> dict[str, Hook]:
    """Keep few bits of the mel powers, as bfloat16 does, which has 8."""
    bits = draw.choice([7, 8, 8, 9])
    return {"mel": lambda mel, call: to_bits(mel, bits)}


def few_bits_of_audio(draw: Draw) -> dict[str, Hook]:
    steps = 2.0 ** (draw.choice([7, 8, 9, 10]) - 1)
    return {"audio": lambda x, call: (np.round(x * steps) / steps).astype(x.dtype)}


def unreduced_bluestein(draw: Draw) -> dict[str, Hook]:
    n, size = np.arange(400, dtype=np.float32), draw.choice([1024, 800, 2048])
    angles = (np.float32(np.pi / 400) * n * n).astype(np.float32)
    chirp = np.exp(-1j * angles).astype(np.complex64)
    filter = np.zeros(size, np.complex64)
    filter[:400], filter[size - 399 :] = chirp.conj(), chirp[:0:-1].conj()

    def spectrum(s: Array, call: Call) -> Array:
        x = (call.seen["windowed"] * chirp).astype(np.complex64)
        made = np.fft.ifft(np.fft.fft(x, size) * np.fft.fft(filter))[:, :400] * chirp
        return made[:, :201].astype(s.dtype)

    return {"spectrum": spectrum}


def coarse_sines(draw: Draw) -> dict[str, Hook]:
    """Use sines and cosines in fixed point, as a convolution that was exported may."""
    scale = 2.0 ** draw.choice([8, 9, 10, 12])
    exact = np.exp(-2j * np.pi * (np.outer(np.arange(400), np.arange(201)) % 400) / 400)
    coarse = (np.round(exact.real * scale) + 1j * np.round(exact.imag * scale)) / scale
    return {"spectrum": lambda s, call: (call.seen["windowed"] @ coarse).astype(s.dtype)}


def perturbed_bank(draw: Draw) -> dict[str, Hook]:
    off, seed = 10.0 ** draw.uniform(-3.0, -0.7), draw.randrange(9999)

    def bank(weights: Array, call: Call) -> Array:
        noise = np.random.default_rng(seed).uniform(-off, off, weights.shape)
        return (weights * (1.0 + noise)).astype(weights.dtype)

    return {"bank": bank}


def band_missing(draw: Draw) -> dict[str, Hook]:
    band = draw.randrange(79)

    def bank(weights: Array, call: Call) -> Array:
        weights = weights.copy()
        weights[band] = 0
        return weights

    return {"bank": bank}


def bank_a_bin_off(draw: Draw) -> dict[str, Hook]:
    by = draw.choice([-1, 1])
    return {"bank": lambda weights, call: np.roll(weights, by, axis=1)}


def gains_of_bands(draw: Draw) -> dict[str, Hook]:
    slope = draw.uniform(0.001, 0.01)

    def mel(powers: Array, call: Call) -> Array:
        gains = np.exp(slope * np.arange(len(powers)))[:, None]
        return (powers * gains).astype(powers.dtype)

    return {"mel": mel}


def soft_clipping(draw: Draw) -> dict[str, Hook]:
    hard = draw.uniform(0.3, 1.5)
    return {"audio": lambda x, call: (np.tanh(hard * x) / hard).astype(x.dtype)}


def companded(draw: Draw) -> dict[str, Hook]:
    """Round samples to 8 bits on a curve, as telephones do."""
    curve = draw.choice([100.0, 255.0])

    def audio(x: Array, call: Call) -> Array:
        small = np.sign(x) * np.log1p(curve * np.abs(x)) / np.log1p(curve)
        coarse = np.round(small * 127.0) / 127.0
        return (np.sign(x) * np.expm1(np.abs(coarse) * np.log1p(curve)) / curve).astype(x.dtype)

    return {"audio": audio}


def blocked_offset(draw: Draw) -> dict[str, Hook]:
    """Remove the mean by a filter: ``y[n] = x[n] - x[n - 1] + pole y[n - 1]``."""
    pole = draw.uniform(0.9, 0.995)

    def audio(x: Array, call: Call) -> Array:
        tail = pole ** np.arange(min(x.size, 4000))
        steps = np.diff(x.astype(np.float64), prepend=0.0)
        size = 2 ** int(np.ceil(np.log2(2 * x.size)))
        made = np.fft.irfft(np.fft.rfft(steps, size) * np.fft.rfft(tail, size), size)
        return made[: x.size].astype(x.dtype)

    return {"audio": audio}


def swapped_samples(draw: Draw) -> dict[str, Hook]:
    """Swap each two neighbours, as the halves of words in the wrong order may be."""

    def audio(x: Array, call: Call) -> Array:
        x = x.copy()
        even = x[: x.size // 2 * 2].reshape(-1, 2)
        even[:] = even[:, ::-1].copy()
        return x

    return {"audio": audio}


def every_few_frames_quiet(draw: Draw) -> dict[str, Hook]:
    every, gain = draw.randrange(3, 12), draw.uniform(0.3, 0.9)

    def frames(views: Array, call: Call) -> Array:
        gains = np.where(np.arange(len(views)) % every == every // 2, gain, 1.0)
        return (views * gains[:, None]).astype(views.dtype)

    return {"frames": frames}


def stretched_time(draw: Draw) -> dict[str, Hook]:
    slower = draw.randrange(10, 40)
    return {"frames": lambda views, call: views[np.arange(len(views)) * (slower - 1) // slower]}


def kaiser_window(draw: Draw) -> dict[str, Hook]:
    beta = draw.uniform(4.0, 12.0)
    return {"window": lambda w, call: np.kaiser(w.size, beta).astype(w.dtype)}


def tapered_window(draw: Draw) -> dict[str, Hook]:
    """Use a window that is flat in the middle."""
    part = draw.uniform(0.2, 0.8)

    def window(weights: Array, call: Call) -> Array:
        n = weights.size
        edge = np.minimum(np.arange(n), n - np.arange(n)) / (part * n / 2)
        return (0.5 - 0.5 * np.cos(np.pi * np.minimum(edge, 1.0))).astype(weights.dtype)

    return {"window": window}


def coarse_window(draw: Draw) -> dict[str, Hook]:
    steps = 2.0 ** draw.choice([6, 7, 8])
    return {"window": lambda w, call: (np.round(w * steps) / steps).astype(w.dtype)}


def rounded_spectrum(draw: Draw) -> dict[str, Hook]:
    digits = draw.choice([1, 2])
    return {
        "spectrum": lambda s, call: (
            np.round(s.real, digits) + 1j * np.round(s.imag, digits)
        ).astype(s.dtype)
    }


def one_wrong_bin(draw: Draw) -> dict[str, Hook]:
    k, gain = draw.randrange(5, 180), draw.uniform(0.0, 0.9)

    def spectrum(s: Array, call: Call) -> Array:
        s = s.copy()
        s[:, k] *= gain
        return s

    return {"spectrum": spectrum}


def wrong_odd_bins(draw: Draw) -> dict[str, Hook]:
    """Leave a twiddle out, before the last stage of a transform by two."""

    def spectrum(s: Array, call: Call) -> Array:
        x = call.seen["windowed"]
        n = x.shape[-1] // 2
        even, odd = np.fft.fft(x[:, :n] + x[:, n:]), np.fft.fft(x[:, :n] - x[:, n:])
        made = np.stack([even, odd], axis=2).reshape(len(x), -1)
        return made[:, : s.shape[1]].astype(s.dtype)

    return {"spectrum": spectrum}


def averaged_frames(draw: Draw) -> dict[str, Hook]:
    part = draw.uniform(0.1, 0.5)

    def features(y: Array, call: Call) -> Array:
        return ((1.0 - part) * y + part * np.roll(y, 1, axis=1)).astype(y.dtype)

    return {"features": features}


def median_of_frames(draw: Draw) -> dict[str, Hook]:
    def features(y: Array, call: Call) -> Array:
        return np.median([np.roll(y, k, axis=1) for k in (-1, 0, 1)], axis=0).astype(y.dtype)

    return {"features": features}


def swapped_bands(draw: Draw) -> dict[str, Hook]:
    band = draw.randrange(78)

    def features(y: Array, call: Call) -> Array:
        y = y.copy()
        y[[band, band + 1]] = y[[band + 1, band]]
        return y

    return {"features": features}


def ripple_over_frames(draw: Draw) -> dict[str, Hook]:
    height, speed = draw.uniform(0.005, 0.05), draw.uniform(0.2, 2.0)
    return {
        "features": lambda y, call: (y + height * np.sin(speed * np.arange(y.shape[1]))).astype(
            y.dtype
        )
    }


def coarse_features(draw: Draw) -> dict[str, Hook]:
    steps = draw.choice([64.0, 100.0, 256.0])
    return {"features": lambda y, call: (np.round(y * steps) / steps).astype(y.dtype)}


FAULTS: dict[Fault, frozenset[str]] = {
    fault: frozenset(kinds.split())
    for fault, kinds in (
        *((exclusive_bounds, "filterbank"), (other_edges, "filterbank")),
        *((perturbed_bank, "filterbank"), (band_missing, "filterbank")),
        *((bank_a_bin_off, "filterbank"), (gains_of_bands, "filterbank logarithm output")),
        *((box_filter, "input"), (offset, "input"), (few_bits_of_audio, "input")),
        *((soft_clipping, "input"), (companded, "input"), (blocked_offset, "input")),
        (swapped_samples, "input"),
        *((wrong_sign_of_halves, "spectrum"), (wrong_sign_of_folding, "spectrum")),
        *((half_spectra, "spectrum"), (unreduced_bluestein, "spectrum")),
        *((coarse_sines, "spectrum"), (rounded_spectrum, "spectrum")),
        # What one bin is multiplied by, its weights in the bank may be, too.
        *((one_wrong_bin, "spectrum filterbank"), (wrong_odd_bins, "spectrum")),
        *((gaussian_window, "window"), (kaiser_window, "window")),
        *((tapered_window, "window"), (coarse_window, "window")),
        *((soft_floor, "logarithm"), (curved_logarithm, "logarithm")),
        (polynomial_logarithm, "logarithm"),
        (mel_powers_in_few_bits, "filterbank logarithm"),
        *((drifting_frames, "frames"), (stretched_time, "frames")),
        (every_few_frames_quiet, "frames window input"),
        *((averaged_frames, "output"), (median_of_frames, "output")),
        *((swapped_bands, "output filterbank"), (ripple_over_frames, "output")),
        (coarse_features, "output logarithm"),
    )
}
"""Faults, and the kinds of quirks that each is of: see ``quirks.KINDS``.

Several where features cannot tell: what the features of a band have more, its mel powers have, or
its weights.
"""
