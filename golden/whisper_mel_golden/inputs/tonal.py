"""Tones, sweeps and constants: quiet bins beside loud ones."""

from __future__ import annotations

from whisper_mel_golden.inputs.entry import SECOND, SMOOTHED, WINDOW, Variant, entry, recipe

INPUTS = (
    *(
        entry(
            f"tone-{frequency}",
            f"a tone of {frequency} Hz: everything else is the transform's rounding",
            "tonal clamped ends",
            recipe("tone", SECOND, frequency=float(frequency), phase=0.1, gain=0.5),
        )
        for frequency in (50, 440, 1000, 4000, 7900)
    ),
    entry(
        "tone-in-noise",
        "a loud tone beside noise 75 dB below it, just above what is clamped",
        "tonal ends clamped",
        recipe("tone_in_noise", SECOND, seed=20, frequency=1234.5, noise_db=-75.0, gain=0.9),
    ),
    entry(
        "tone-pcm",
        "a quiet tone in 16-bit PCM: rounding makes harmonics",
        "tonal ends",
        recipe("tone", 8000, frequency=333.0, gain=0.001, dtype="int16"),
    ),
    entry(
        "chirp",
        "a sine from 0 to 8000 Hz: every bin is once the loudest",
        "tonal clamped ends",
        recipe("chirp", SECOND, gain=0.9),
        SMOOTHED,
    ),
    entry(
        "chirp-down",
        "a short sine from 8000 to 0 Hz",
        "tonal clamped ends",
        recipe("chirp", 4000, start=8000.0, stop=0.0, gain=0.9),
    ),
    entry(
        "chirp-loud",
        "a sine sweep of amplitude 1e10",
        "tonal above-one clamped ends",
        recipe("chirp", SECOND, gain=1e10),
    ),
    entry(
        "square",
        "a square wave: odd harmonics of 500 Hz",
        "tonal clamped ends",
        recipe("square", SECOND),
    ),
    entry(
        "square-pcm",
        "a square wave from -32768 to 32767",
        "tonal ends",
        recipe("square", 4000, frequency=70.0, dtype="int16"),
    ),
    entry("silence", "digital silence", "floor constant", recipe("silence", 4000)),
    entry(
        "silence-30s",
        "30 s of padding after a few samples of silence",
        "floor constant",
        recipe("silence", 10),
        (Variant(WINDOW),),
    ),
    entry("dc", "a constant: bin 0 has no weight", "tonal floor", recipe("dc", 4000, gain=0.5)),
    entry(
        "dc-padded",
        "a constant that ends: padding is an edge, mirroring none",
        "tonal floor clamped ends",
        recipe("dc", 4000, gain=0.5),
        (Variant(8000),),
    ),
    entry(
        "nyquist",
        "a tone of 8000 Hz: bin 200 has no weight",
        "tonal floor ends",
        recipe("nyquist", 4000, gain=0.9),
    ),
    entry(
        "ramp",
        "a straight line: mirrored, it has a corner",
        "tonal clamped ends",
        recipe("ramp", 8000),
    ),
)
