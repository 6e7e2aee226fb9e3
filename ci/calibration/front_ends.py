"""Whole front-ends in float32: some differ in rounding only, others have faults.

The error bound is calibrated on them: it must admit what careful float32 arithmetic does, whatever
the algorithm, and nothing more (``docs/error-bound.md``). Stages are NumPy, written to be read;
Fourier transforms of libraries are used where they are installed.

Shapes: windowed frames ``(n_frames, 400)``, spectra and powers ``(n_frames, 201)``, mel powers
``(n_mels, n_frames)``; float32 and complex64 unless said otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from whisper_mel_golden.openai import whisper_features
from whisper_mel_reference import WHISPER, mel_filterbank
from whisper_mel_reference.filterbank import hz_to_mel, mel_to_hz
from whisper_mel_reference.pipeline import clamp, frames, split_clips, window
from whisper_mel_reference.spec import Maximum

Array = NDArray[Any]
Roots = Callable[[int], Array]
LogMel = Callable[..., Array]

N = WHISPER.n_fft
BINS = N // 2 + 1


class FrontEnd(NamedTuple):
    """One row of the calibration.

    ``kind`` is what it must score: ``careful`` at most class A's limit, ``careless`` at most class
    B's, ``fault`` more than that, ``equivalent`` almost 0 (a change of exact arithmetic that no
    float32 output could show). ``log_mel(audio, n_mels)`` takes one clip, ``(n,)``, and returns
    features without smoothing; those that are assembled here also take ``maximum``, as in
    ``FrontEndSpec``. ``requires`` names the package that it needs, or is None.
    """

    name: str
    kind: str
    log_mel: LogMel
    requires: str | None = None


# --------------------------------------------------------------------------- twiddle factors


@lru_cache(maxsize=64)
def roots(n: int) -> Array:
    """Compute ``exp(-2 pi i k / n)``, ``(n,)``, rounded once from float64."""
    exact: Array = np.exp(-2j * np.pi * np.arange(n) / n)
    return exact.astype(np.complex64)


def roots_of_float32_angles(n: int) -> Array:
    """Round the angle to float32 before its sine is taken, as ``cosf(2 * pi * k / n)`` does."""
    angle = np.float32(2 * np.pi) * np.arange(n, dtype=np.float32) / np.float32(n)
    return _turned_by(angle)


def roots_by_recurrence(n: int) -> Array:
    """Compute each root as the previous one times the first: errors grow with the index."""
    steps = np.full(n, roots(n)[1 % n])
    steps[0] = 1.0
    return np.multiply.accumulate(steps)


def roots_of_large_angles(n: int) -> Array:
    """Compute angles ``2 pi j k / n`` in float32 up to 1256, not modulo 2 pi; ``(BINS, n)``."""
    products = np.outer(np.arange(BINS), np.arange(n)).astype(np.float32)
    angle = np.float32(2 * np.pi / n) * products
    return _turned_by(angle)


def _turned_by(angle: Array) -> Array:
    turned: Array = np.cos(angle) - 1j * np.sin(angle)
    return turned


def dft_matrix(n: int) -> Array:
    """Compute ``exp(-2 pi i j k / n)``, ``(BINS, n)``."""
    return roots(n)[np.outer(np.arange(BINS), np.arange(n)) % n]


# --------------------------------------------------------------------------- Fourier transforms


def cooley_tukey(x: Array, radices: tuple[int, ...], table: Roots = roots) -> Array:
    """Transform the last axis, decimated in time by each radix in turn.

    The butterfly of a radix is a sum over its inputs in order. ``radices=(2, 2, 2, 2, 25)`` is
    whisper.cpp's transform: radix 2 down to an odd length, then a plain sum.
    """
    if not radices:
        return x
    n, radix = x.shape[-1], radices[0]
    parts = x.reshape(*x.shape[:-1], n // radix, radix).swapaxes(-1, -2)
    parts = cooley_tukey(parts, radices[1:], table)
    twiddles = table(n)
    parts = parts * twiddles[np.outer(np.arange(radix), np.arange(n // radix))]
    butterfly = twiddles[np.outer(np.arange(radix), np.arange(radix)) * (n // radix) % n]
    total: Array = butterfly[:, :1] * parts[..., :1, :]
    for i in range(1, radix):
        total = total + butterfly[:, i : i + 1] * parts[..., i : i + 1, :]
    return total.reshape(x.shape)


def mixed_radix(windowed: Array, radices: tuple[int, ...], table: Roots = roots) -> Array:
    return cooley_tukey(windowed.astype(np.complex64), radices, table)[:, :BINS]


def half_size(windowed: Array) -> Array:
    """Transform even and odd samples as one complex signal of 200, as KISS FFT does."""
    half = N // 2
    z = cooley_tukey(windowed.view(np.complex64), (4, 2, 5, 5))
    z = np.concatenate([z, z[:, :1]], axis=1)
    mirrored = z[:, ::-1].conj()
    even, odd = z + mirrored, z - mirrored
    turned = np.complex64(-1j) * roots(N)[: half + 1]
    doubled: Array = even + turned * odd
    return doubled * np.float32(0.5)


def prime_factor(windowed: Array) -> Array:
    """Transform by Good and Thomas: 16 x 25 without twiddles, with permuted indices instead."""
    a, b = np.arange(16)[:, np.newaxis], np.arange(25)
    x = windowed.astype(np.complex64)[:, (25 * a + 16 * b) % N]
    x = cooley_tukey(x, (5, 5))
    x = cooley_tukey(x.swapaxes(1, 2), (4, 4)).swapaxes(1, 2)
    spectrum = np.empty((len(x), N), np.complex64)
    spectrum[:, (25 * pow(25, -1, 16) * a + 16 * pow(16, -1, 25) * b) % N] = x
    return spectrum[:, :BINS]


def bluestein(windowed: Array) -> Array:
    """Transform by convolution with a chirp, which uses transforms of 1024 in radix 2."""
    size, radices = 1024, (2,) * 10
    chirp = roots(2 * N)[np.arange(N) ** 2 % (2 * N)]
    kernel = np.zeros(size, np.complex64)
    kernel[:N] = chirp.conj()
    kernel[size - N + 1 :] = chirp[:0:-1].conj()
    x = np.zeros((len(windowed), size), np.complex64)
    x[:, :N] = windowed * chirp
    product = cooley_tukey(x, radices) * cooley_tukey(kernel, radices)
    convolved = cooley_tukey(product.conj(), radices).conj() / np.float32(size)
    return (convolved[:, :N] * chirp)[:, :BINS]


def dft_as_product(windowed: Array, matrix: Callable[[int], Array] = dft_matrix) -> Array:
    """Transform by a float32 matrix product with the cosines and one with the sines."""
    table = matrix(N).T
    spectrum: Array = windowed @ table.real.copy() + 1j * (windowed @ table.imag.copy())
    return spectrum


def dft_in_order(windowed: Array) -> Array:
    """Transform by adding four hundred products one after the other."""
    table = dft_matrix(N)
    total = np.zeros((len(windowed), BINS), np.complex64)
    for j in range(N):
        total += windowed[:, j : j + 1] * table[:, j]
    return total


def dft_in_tf32(windowed: Array, terms: int) -> Array:
    """Transform by a matrix product on tensor cores, in TF32.

    Each operand is split into ``terms`` TF32 numbers. Two terms, without the product of the two
    small ones, are known as 3xTF32.
    """
    table = dft_matrix(N).T
    parts = [_tf32_terms(x, terms) for x in (windowed, table.real, table.imag)]
    real, imaginary = (
        np.sum([parts[0][i] @ part[j] for i in range(terms) for j in range(terms - i)], axis=0)
        for part in parts[1:]
    )
    spectrum: Array = real + 1j * imaginary
    return spectrum


def goertzel(windowed: Array) -> Array:
    """Transform by a resonator for each bin, which loses digits at low and high frequencies."""
    w = roots(N)[:BINS]
    last = before = np.zeros((len(windowed), BINS), np.float32)
    for j in range(N):
        last, before = windowed[:, j : j + 1] + 2 * w.real * last - before, last
    return (last - w * before) * w.conj()


def packed_pair(windowed: Array) -> Array:
    """Transform two frames as the real and imaginary part of one: they share rounding errors."""
    n_frames = len(windowed)
    even = np.pad(windowed, ((0, n_frames % 2), (0, 0)))
    z = cooley_tukey(even[0::2] + 1j * even[1::2], (4, 4, 5, 5))
    mirrored = np.roll(z[:, ::-1], 1, axis=1).conj()
    pair = np.stack([z + mirrored, np.complex64(-1j) * (z - mirrored)], axis=1)
    return np.float32(0.5) * pair.reshape(-1, N)[:n_frames, :BINS]


def fftw(windowed: Array) -> Array:
    import pyfftw

    spectrum = pyfftw.empty_aligned((len(windowed), BINS), np.complex64)
    plan = pyfftw.FFTW(pyfftw.byte_align(windowed), spectrum, flags=["FFTW_ESTIMATE"])
    return np.array(plan())


def scipy_fft(windowed: Array) -> Array:
    import scipy.fft

    return np.asarray(scipy.fft.rfft(windowed))


def ducc_fft(windowed: Array) -> Array:
    import ducc0

    return np.asarray(ducc0.fft.r2c(windowed, axes=(1,)))


# --------------------------------------------------------------------------- the other stages


def rounded_window() -> Array:
    return window(WHISPER, np.dtype(np.float32))


def exact_window() -> Array:
    return window(WHISPER, np.dtype(np.float64))


def symmetric_window() -> Array:
    return window(WHISPER.replace(window="hann-symmetric"), np.dtype(np.float32))


def window_in_float32() -> Array:
    """Compute the window in float32: at its edges, 1 - cos(x) loses half of its digits."""
    angle = np.float32(2 * np.pi) * np.arange(N, dtype=np.float32) / np.float32(N)
    half = np.float32(0.5)
    hann: Array = half - half * np.cos(angle)
    return hann


def squares(spectrum: Array) -> Array:
    power: Array = spectrum.real**2 + spectrum.imag**2
    return power


def squared_magnitude(spectrum: Array) -> Array:
    """Square the magnitude, which is a root, as ``stft(…).abs() ** 2`` does."""
    return np.abs(spectrum) ** 2


def squares_without_ends(spectrum: Array) -> Array:
    """Square the spectrum, and zero bins 0 and 200, which have no weight in any band."""
    power = squares(spectrum)
    power[:, [0, -1]] = 0.0
    return power


def whisper_bank(n_mels: int) -> Array:
    return mel_filterbank(n_mels)


def half_precision_bank(n_mels: int) -> Array:
    return mel_filterbank(n_mels).astype(np.float16)


def bank_computed_in(real: type[np.floating[Any]], n_mels: int) -> Array:
    """Compute the filterbank from the band edges on in ``real``, without Whisper's roundings."""
    low, high = (hz_to_mel(hz, WHISPER.mel_scale) for hz in (WHISPER.f_min, WHISPER.f_max))
    edges = mel_to_hz(np.linspace(low, high, n_mels + 2), WHISPER.mel_scale).astype(real)
    bins = (np.arange(BINS) * (WHISPER.sample_rate / N)).astype(real)
    below, width = edges[:, np.newaxis] - bins, np.diff(edges)[:, np.newaxis]
    triangles = np.maximum(0, np.minimum(-below[:-2] / width[:-1], below[2:] / width[1:]))
    return triangles * (2 / (edges[2:] - edges[:-2]))[:, np.newaxis]


def sum_in_order(bank: Array, power: Array) -> Array:
    total = np.zeros((len(bank), len(power)), power.dtype)
    for weights, bin_power in zip(bank.T, power.T, strict=True):
        total += weights[:, np.newaxis] * bin_power
    return total


def sum_backwards(bank: Array, power: Array) -> Array:
    return sum_in_order(bank[:, ::-1], power[:, ::-1])


def sum_pairwise(bank: Array, power: Array) -> Array:
    def halves(terms: Array) -> Array:
        n = terms.shape[-1]
        if n == 1:
            return terms[..., 0]
        return halves(terms[..., : n // 2]) + halves(terms[..., n // 2 :])

    return np.stack([halves(power * weights) for weights in bank])


def sum_as_product(bank: Array, power: Array) -> Array:
    return bank @ power.T


def sum_in_tf32(bank: Array, power: Array) -> Array:
    return _tf32_terms(bank, 1)[0] @ _tf32_terms(power, 1)[0].T


def log_by_log2(mel: Array) -> Array:
    return np.log2(mel) * np.float32(math.log10(2))


def log_by_ln(mel: Array) -> Array:
    return np.log(mel) * np.float32(1 / math.log(10))


def log_by_series(mel: Array, terms: int = 5) -> Array:
    """Compute ``log2(m) = 2 / ln 2 (s + s^3 / 3 + …)``, ``s = (m - 1) / (m + 1)``, plus the
    exponent.
    """
    fraction, exponent = np.frexp(mel)
    small = fraction < np.float32(math.sqrt(0.5))
    fraction = np.where(small, 2 * fraction, fraction)
    s = (fraction - 1) / (fraction + 1)
    series = np.zeros_like(s)
    for k in reversed(range(terms)):
        series = series * (s * s) + np.float32(2 / math.log(2) / (2 * k + 1))
    log2: Array = (exponent - small).astype(np.float32) + series * s
    return log2 * np.float32(math.log10(2))


def _tf32_terms(x: Array, terms: int) -> list[Array]:
    """Split ``x`` into a sum of float32 arrays of 10 bits of fraction each, the largest first."""
    found = []
    for _ in range(terms):
        bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
        to_even = np.uint32(0x0FFF) + ((bits >> np.uint32(13)) & np.uint32(1))
        found.append(((bits + to_even) & np.uint32(0xFFFFE000)).view(np.float32))
        x = x - found[-1]
    return found


# --------------------------------------------------------------------------- whole front-ends


def assembled(
    spectrum: Callable[[Array], Array],
    *,
    real: type[np.floating[Any]] = np.float32,
    gain: float = 1.0,
    weights: Callable[[], Array] = rounded_window,
    power: Callable[[Array], Array] = squares,
    bank: Callable[[int], Array] = whisper_bank,
    mel: Callable[[Array, Array], Array] = sum_as_product,
    log: Callable[[Array], Array] = np.log10,
) -> LogMel:
    """Assemble a front-end from stages, computed in ``real``.

    ``gain`` multiplies the samples; ``weights`` returns the window; ``spectrum`` takes windowed
    frames, ``power`` a spectrum, ``bank`` the number of bands, ``mel`` a bank and powers, ``log``
    mel powers that are not below the floor.
    """

    def log_mel(audio: Array, n_mels: int, maximum: Maximum = "clip") -> Array:
        spec = WHISPER.replace(maximum=maximum)
        clip = split_clips(audio, None)[0][0]
        windowed = frames(clip * real(gain), WHISPER, np.dtype(real)) * weights()
        energies = mel(bank(n_mels).astype(real), power(spectrum(windowed)))
        clamped = clamp(log(np.maximum(energies, real(WHISPER.floor))), spec)
        features: Array = (clamped + real(WHISPER.offset)) / real(WHISPER.divisor)
        return features

    return log_mel


def original(audio: Array, n_mels: int) -> Array:
    """Compute features with torch's transform (MKL's on x86), window and matrix product."""
    return whisper_features(audio, n_mels, None, None)


FRONT_ENDS: tuple[FrontEnd, ...] = tuple(
    FrontEnd(*row)
    for row in (
        ("openai-whisper", "careful", original, "whisper"),
        ("NumPy (its transform computes in float64)", "careful", assembled(np.fft.rfft)),
        (
            "SciPy (pocketfft); sums in order; log2",
            "careful",
            assembled(scipy_fft, mel=sum_in_order, log=log_by_log2),
            "scipy",
        ),
        (
            "FFTW; sums backwards; ln",
            "careful",
            assembled(fftw, mel=sum_backwards, log=log_by_ln),
            "pyfftw",
        ),
        (
            "DUCC; pairwise sums; series for the logarithm",
            "careful",
            assembled(ducc_fft, mel=sum_pairwise, log=log_by_series),
            "ducc0",
        ),
        (
            "prime factors 16 x 25; sums in order; series",
            "careful",
            assembled(prime_factor, mel=sum_in_order, log=log_by_series),
        ),
        (
            "real as complex of 200 (KISS FFT); pairwise sums; log2",
            "careful",
            assembled(half_size, mel=sum_pairwise, log=log_by_log2),
        ),
        (
            "radices 4 4 5 5; float32 window; squared magnitude",
            "careful",
            assembled(
                partial(mixed_radix, radices=(4, 4, 5, 5)),
                weights=window_in_float32,
                power=squared_magnitude,
            ),
        ),
        (
            "radix 2, then 25 (whisper.cpp); sums in order; ln",
            "careful",
            assembled(
                partial(mixed_radix, radices=(2, 2, 2, 2, 25)), mel=sum_in_order, log=log_by_ln
            ),
        ),
        ("Bluestein, 1024 in radix 2", "careful", assembled(bluestein, power=squared_magnitude)),
        (
            "radix 2, then 25, twiddles of float32 angles",
            "careless",
            assembled(
                partial(mixed_radix, radices=(2, 2, 2, 2, 25), table=roots_of_float32_angles),
                mel=sum_in_order,
            ),
        ),
        ("DFT as a float32 matrix product", "careless", assembled(dft_as_product)),
        ("DFT as three TF32 matrix products", "careless", assembled(partial(dft_in_tf32, terms=2))),
        ("DFT summed in order", "careless", assembled(dft_in_order)),
        (
            "filterbank from float32 band edges",
            "fault",
            assembled(np.fft.rfft, bank=partial(bank_computed_in, np.float32)),
        ),
        (
            "twiddles by recurrence",
            "fault",
            assembled(partial(mixed_radix, radices=(4, 4, 5, 5), table=roots_by_recurrence)),
        ),
        (
            "DFT of angles up to 1256",
            "fault",
            assembled(partial(dft_as_product, matrix=roots_of_large_angles)),
        ),
        ("Goertzel", "fault", assembled(goertzel)),
        ("two frames in one complex transform", "fault", assembled(packed_pair)),
        ("PCM divided by 32767", "fault", assembled(np.fft.rfft, gain=32768 / 32767)),
        ("filterbank in float16", "fault", assembled(np.fft.rfft, bank=half_precision_bank)),
        ("filterbank product in TF32", "fault", assembled(np.fft.rfft, mel=sum_in_tf32)),
        ("DFT as one TF32 matrix product", "fault", assembled(partial(dft_in_tf32, terms=1))),
        (
            "logarithm's series of 2 terms",
            "fault",
            assembled(np.fft.rfft, log=partial(log_by_series, terms=2)),
        ),
        ("symmetric window", "fault", assembled(np.fft.rfft, weights=symmetric_window)),
        ("float64 with a float32 window", "equivalent", assembled(np.fft.rfft, real=np.float64)),
        (
            "float64, filterbank not rounded",
            "equivalent",
            assembled(
                np.fft.rfft,
                real=np.float64,
                weights=exact_window,
                bank=partial(bank_computed_in, np.float64),
            ),
        ),
        (
            "float64, bins 0 and 200 dropped",
            "equivalent",
            assembled(
                np.fft.rfft, real=np.float64, weights=exact_window, power=squares_without_ends
            ),
        ),
    )
)
"""Every row, careful ones first; a careful one differs from the reference at several stages."""
