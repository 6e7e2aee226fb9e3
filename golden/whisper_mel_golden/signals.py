"""Test signals as recipes: small dictionaries that give the same samples on every machine.

A recipe names a generator, a number of samples and the generator's parameters::

    {"signal": "noise", "n": 16000, "seed": 7, "gain": 0.1, "dtype": "int16"}

``signal`` and ``n`` are required. ``gain`` (default 1) multiplies the samples; ``dtype`` is
``float32`` (default) or ``int16`` (full scale 32768, rounded, saturated). The rest belongs to the
generator: see the functions in ``GENERATORS``. Recipes survive JSON.

Samples are bit-identical everywhere: the generators use integers, the raw stream of PCG64 (which
NumPy guarantees not to change) and only those float64 operations that IEEE 754 rounds correctly.
Sines and powers are therefore computed here, not by the C library, whose last bits vary.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import WHISPER

from whisper_mel_golden.speech import load_recording

Array = NDArray[np.float64]
Generator = Callable[..., Array]

SAMPLE_RATE = WHISPER.sample_rate
HOP = WHISPER.hop
INT16_FULL_SCALE = 32768


def render(recipe: Mapping[str, Any]) -> NDArray[np.float32] | NDArray[np.int16]:
    """Compute the samples of a recipe: float32 or int16, shape ``(n,)``.

    Raises ``ValueError`` or ``TypeError`` that names the entry of the recipe that is unknown,
    missing or out of range; ``ValueError`` if samples are too large for float32.
    """
    parameters = dict(recipe)
    signal = parameters.pop("signal", None)
    if signal not in GENERATORS:
        raise ValueError(f"signal={signal!r}: expected one of {', '.join(GENERATORS)}")
    n = _integer("n", parameters.pop("n", None), 0)
    gain = _number("gain", parameters.pop("gain", 1.0))
    dtype = parameters.pop("dtype", "float32")
    if dtype not in ("float32", "int16"):
        raise ValueError(f"dtype={dtype!r}: expected float32 or int16")
    generator = GENERATORS[signal]
    allowed = list(inspect.signature(generator).parameters)[1:]
    for name in parameters:
        if name not in allowed:
            raise ValueError(f"{name}={parameters[name]!r}: {signal} takes {allowed or 'nothing'}")
    samples = gain * generator(n, **parameters)
    if dtype == "int16":
        pcm = np.rint(INT16_FULL_SCALE * samples)
        return np.clip(pcm, -INT16_FULL_SCALE, INT16_FULL_SCALE - 1).astype(np.int16)
    if not np.abs(samples).max(initial=0.0) <= np.finfo(np.float32).max:
        raise ValueError(f"gain={gain!r}: the samples are too large for float32")
    return samples.astype(np.float32)


# --------------------------------------------------------------------------- without a seed


def silence(n: int) -> Array:
    """Return zeros."""
    return np.zeros(n)


def dc(n: int) -> Array:
    """Return ones."""
    return np.ones(n)


def nyquist(n: int) -> Array:
    """Return 1, -1, 1, -1, …: a tone at half the sample rate."""
    samples = np.ones(n)
    samples[1::2] = -1.0
    return samples


def ramp(n: int) -> Array:
    """Return a straight line from -1 to 1."""
    return np.linspace(-1.0, 1.0, n)


def tone(n: int, frequency: float = 440.0, phase: float = 0.0) -> Array:
    """Compute ``cos(2 pi (frequency t + phase))``; hertz (0 to 8000) and turns."""
    return _cosine(_turns(n, frequency) + _number("phase", phase))


def square(n: int, frequency: float = 500.0) -> Array:
    """Compute the sign of :func:`tone`, 1 where that is zero."""
    return np.where(tone(n, frequency) < 0, -1.0, 1.0)


def chirp(n: int, start: float = 0.0, stop: float = 8000.0) -> Array:
    """Compute a sine of frequency ``start`` to ``stop`` (hertz, 0 to 8000), changing linearly."""
    time = np.arange(n)
    slope = (_frequency("stop", stop) - _frequency("start", start)) / (2.0 * max(n, 1))
    return _sine((start + slope * time) * time / SAMPLE_RATE)


def click(n: int, at: int = 0) -> Array:
    """Return a 1 at index ``at`` (-n to n - 1; negative: from the end) among zeros."""
    samples = np.zeros(n)
    samples[_integer("at", at, -n, n - 1)] = 1.0
    return samples


def click_train(n: int, period: int = 1000, offset: int = 0) -> Array:
    """Return ones at ``offset`` and every ``period`` samples after it, zeros elsewhere."""
    samples = np.zeros(n)
    samples[_integer("offset", offset, 0) :: _integer("period", period, 1)] = 1.0
    return samples


def speech(n: int, recording: str = "", start: int = 0) -> Array:
    """Read a recording from sample ``start`` on, repeated where it ends, with full scale 1."""
    pcm = load_recording(recording)
    where = (_integer("start", start, 0) + np.arange(n)) % pcm.size
    return pcm[where].astype(np.float64) / INT16_FULL_SCALE


# --------------------------------------------------------------------------- noise


def noise(n: int, seed: int = 0, distribution: str = "uniform") -> Array:
    """Draw white noise: ``uniform`` in [-1, 1), or bell-shaped (``normal``) of deviation 1.

    The bell is the sum of four uniform variables: it ends at 3.5 deviations.
    """
    bits = _raw(n, seed)
    if distribution == "uniform":
        return (bits >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0
    if distribution == "normal":
        parts = bits.view(np.uint16).reshape(n, 4)
        total = parts.sum(axis=1, dtype=np.int64).astype(np.float64)
        scaled: Array = (total - 2 * 65535) * (math.sqrt(3.0) * 2.0**-16)
        return scaled
    raise ValueError(f"distribution={distribution!r}: expected uniform or normal")


def noise_ramp(n: int, seed: int = 0, start_db: float = -90.0, stop_db: float = -10.0) -> Array:
    """Draw uniform white noise whose level goes from ``start_db`` to ``stop_db`` linearly in dB."""
    start, stop = _decibels("start_db", start_db), _decibels("stop_db", stop_db)
    return noise(n, seed) * _amplitude(start + (stop - start) * np.arange(n) / max(n - 1, 1))


def on_off(n: int, seed: int = 0, period: int = 400, quiet_db: float = -100.0) -> Array:
    """Draw uniform white noise, ``period`` samples quiet and ``period`` samples loud in turn."""
    loud = np.arange(n) // _integer("period", period, 1) % 2 == 1
    return noise(n, seed) * np.where(loud, 1.0, _level("quiet_db", quiet_db))


def burst(n: int, seed: int = 0, start: int = 0, length: int = 400) -> Array:
    """Draw uniform white noise for ``length`` samples from ``start`` on, zeros elsewhere."""
    first = _integer("start", start, 0)
    samples = noise(n, seed)
    samples[:first] = 0.0
    samples[first + _integer("length", length, 0) :] = 0.0
    return samples


def loud_tail(n: int, seed: int = 0, length: int = 60, quiet_db: float = -60.0) -> Array:
    """Draw uniform white noise that is quiet up to the last ``length`` samples.

    With 60 samples and ``n % 160 == 80``, the dropped last frame has most of the tail, but the last
    kept frame has some of it: an implementation that includes the dropped frame in the clip's
    maximum is seen.
    """
    samples = noise(n, seed)
    samples[: max(n - _integer("length", length, 0), 0)] *= _level("quiet_db", quiet_db)
    return samples


def clicks(n: int, seed: int = 0, spacing: int = 1000, quiet_db: float = -100.0) -> Array:
    """Draw a click of 1 or -1 at a random place in each ``spacing`` samples, over quiet noise."""
    samples = noise(n, seed) * _level("quiet_db", quiet_db)
    starts = np.arange(0, n, _integer("spacing", spacing, 1))
    bits = _raw(n, seed + 1)[: starts.size]
    places = starts + (bits >> np.uint64(1)).astype(np.int64) % np.minimum(spacing, n - starts)
    samples[places] = 1.0 - 2.0 * (bits & np.uint64(1)).astype(np.float64)
    return samples


def tone_in_noise(
    n: int, seed: int = 0, frequency: float = 440.0, noise_db: float = -90.0
) -> Array:
    """Add uniform white noise of ``noise_db`` to a :func:`tone`."""
    return tone(n, frequency) + noise(n, seed) * _level("noise_db", noise_db)


def corner(
    n: int,
    seed: int = 0,
    frame: str = "first",
    band: str = "lowest",
    noise_db: float = -60.0,
) -> Array:
    """Compute a clip whose maximum is in one corner of its features.

    It is a tone of 40 or 7800 Hz (``band``: ``lowest`` or ``highest``) over quiet noise, which
    fades within 320 samples around the centre of the ``first`` or ``last`` kept frame. No signal
    has its maximum in the lowest of 128 bands: 40 Hz, its only bin, weighs more in the next band.
    """
    centres = {"first": 0, "last": max(n // HOP - 1, 0) * HOP}
    frequencies = {"lowest": 40.0, "highest": 7800.0}
    if frame not in centres:
        raise ValueError(f"frame={frame!r}: expected {' or '.join(centres)}")
    if band not in frequencies:
        raise ValueError(f"band={band!r}: expected {' or '.join(frequencies)}")
    distance = np.arange(n) - centres[frame]
    fade = 0.5 + 0.5 * _cosine(np.clip(distance, -320, 320) / 640)
    wave = fade * _cosine(frequencies[band] * distance / SAMPLE_RATE)
    return wave + noise(n, seed) * _level("noise_db", noise_db)


GENERATORS: dict[str, Generator] = {
    generator.__name__: generator
    for generator in (
        silence,
        dc,
        nyquist,
        ramp,
        tone,
        square,
        chirp,
        click,
        click_train,
        speech,
        noise,
        noise_ramp,
        on_off,
        burst,
        loud_tail,
        clicks,
        tone_in_noise,
        corner,
    )
}
"""Every generator by name: ``(n, **parameters) -> float64 of shape (n,)``."""


# --------------------------------------------------------------------------- arithmetic


def _raw(n: int, seed: int) -> NDArray[np.uint64]:
    return np.random.PCG64(_integer("seed", seed, 0)).random_raw(n).astype("<u8", copy=False)


def _turns(n: int, frequency: float) -> Array:
    return _frequency("frequency", frequency) * np.arange(n) / SAMPLE_RATE


def _cosine(turns: Array) -> Array:
    return _sine(turns + 0.25)


def _sine(turns: Array) -> Array:
    """Compute ``sin(2 pi turns)`` within 1e-15, by additions and multiplications only."""
    part = turns - np.rint(turns)  # -1/2 to 1/2, exact
    part = np.where(np.abs(part) > 0.25, np.copysign(0.5, part) - part, part)
    angle = 2.0 * math.pi * part
    return angle * _polynomial(_SINE, angle * angle)


def _level(name: str, value: float) -> float:
    return float(_amplitude(np.array(_decibels(name, value))))


def _amplitude(decibels: Array) -> Array:
    """Compute ``10 ** (decibels / 20)`` within 1e-14, by sums, products and powers of two only."""
    octaves = decibels * _OCTAVES_PER_DECIBEL
    whole = np.rint(octaves)
    fraction = _polynomial(_EXPONENTIAL, (octaves - whole) * _LOG_2)
    return np.ldexp(fraction, whole.astype(np.int32))


_LOG_2 = 0.6931471805599453
_OCTAVES_PER_DECIBEL = 0.16609640474436813  # log2(10) / 20
_SINE = [(-1.0) ** k / math.factorial(2 * k + 1) for k in range(12)]
_EXPONENTIAL = [1.0 / math.factorial(k) for k in range(15)]


def _polynomial(coefficients: list[float], x: Array) -> Array:
    value = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value


# --------------------------------------------------------------------------- parameters


def _integer(name: str, value: object, low: int, high: int | None = None) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}={value!r}: expected an integer")
    if value < low or (high is not None and value > high):
        limits = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name}={value!r}: expected {limits}")
    return int(value)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}={value!r}: expected a number")
    if not math.isfinite(value):
        raise ValueError(f"{name}={value!r}: expected a finite number")
    return float(value)


def _frequency(name: str, value: float) -> float:
    hertz = _number(name, value)
    if not 0 <= hertz <= SAMPLE_RATE / 2:
        raise ValueError(f"{name}={value!r}: expected 0 to {SAMPLE_RATE // 2} Hz")
    return hertz


def _decibels(name: str, value: float) -> float:
    level = _number(name, value)
    if not abs(level) <= 1000:
        raise ValueError(f"{name}={value!r}: expected -1000 to 1000 dB")
    return level
