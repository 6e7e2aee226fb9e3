"""Noise: even, rising and falling, in bursts, at the floor and far above full scale."""

from __future__ import annotations

from whisper_mel_golden.inputs.entry import SECOND, SMOOTHED, WINDOW, Variant, entry, recipe
from whisper_mel_golden.signals import HOP

INPUTS = (
    *(
        entry(
            f"noise-{-level}db",
            f"white noise at {level} dB",
            "noise",
            recipe("noise", SECOND, seed=-level, gain=10 ** (level / 20)),
        )
        for level in (-90, -70, -50, -30, -10)
    ),
    entry(
        "noise-ramp",
        "white noise rising from -90 to -10 dB: the one signal that shows most faults",
        "noise ends maximum clamped",
        recipe("noise_ramp", SECOND, seed=1),
        (*SMOOTHED, Variant(WINDOW), Variant(2 * SECOND, "valid")),
    ),
    entry(
        "noise-falling",
        "white noise falling from -10 to -90 dB: the maximum is at the beginning",
        "noise ends maximum clamped",
        recipe("noise_ramp", SECOND, seed=2, start_db=-10.0, stop_db=-90.0),
    ),
    entry(
        "noise-normal",
        "bell-shaped white noise",
        "noise",
        recipe("noise", SECOND, seed=3, gain=0.1, distribution="normal"),
        SMOOTHED,
    ),
    entry(
        "noise-at-floor",
        "noise whose mel power is about the floor of 1e-10",
        "noise floor",
        recipe("noise", SECOND, seed=4, gain=1.2e-5, distribution="normal"),
        SMOOTHED,
    ),
    entry(
        "noise-below-floor",
        "noise that is all below the floor",
        "floor constant",
        recipe("noise", 4000, seed=5, gain=1e-6),
    ),
    entry(
        "noise-denormal",
        "noise of denormal float32 numbers",
        "floor constant",
        recipe("noise", 4000, seed=6, gain=1e-40),
    ),
    entry(
        "noise-unscaled",
        "noise of PCM's amplitude as float: not divided by 32768",
        "noise above-one",
        recipe("noise", SECOND, seed=7, gain=32768.0),
    ),
    entry(
        "noise-1e15",
        "noise near the largest amplitude that is judged",
        "noise above-one",
        recipe("noise", 4000, seed=8, gain=1e15),
    ),
    entry(
        "noise-pcm",
        "16-bit noise that saturates at both ends",
        "noise",
        recipe("noise", SECOND, seed=9, gain=2.0, dtype="int16"),
    ),
    entry(
        "noise-pcm-faint",
        "16-bit noise of -1, 0 and 1",
        "noise",
        recipe("noise", SECOND, seed=10, gain=1.5 * 2.0**-15, dtype="int16"),
    ),
    entry(
        "noise-then-silence",
        "noise, then digital silence",
        "noise transient clamped floor ends maximum",
        recipe("burst", 8000, seed=11, length=3000),
    ),
    entry(
        "silence-then-noise",
        "digital silence, then noise up to the end",
        "noise transient clamped floor ends maximum",
        recipe("burst", 8000, seed=12, start=5000, length=3000),
    ),
    entry(
        "on-off",
        "a loud frame beside a quiet one: shows whether one leaks into the other",
        "noise transient clamped",
        recipe("on_off", SECOND, seed=13),
        SMOOTHED,
    ),
    entry(
        "on-off-by-hops",
        "loud and quiet by turns of one hop",
        "noise transient",
        recipe("on_off", 8000, seed=14, period=HOP),
    ),
)
