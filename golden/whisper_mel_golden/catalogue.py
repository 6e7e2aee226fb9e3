"""What the goldens are made of: every input, what it is for, and what is computed from it.

``make`` writes this, with what openai-whisper gives, into the manifest; ``verify`` compares the
two. An id is permanent: a changed recipe gets a new one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

from whisper_mel_golden.signals import HOP
from whisper_mel_golden.voices import ESPEAK, VOICES

N_MELS = (80, 128)
SECOND = 16000
WINDOW = 30 * SECOND  # what a Whisper model hears at once

_POCKETSPHINX = "CMU PocketSphinx, test/data (Debian: pocketsphinx-testdata 0.8+5prealpha+1-15)"
RECORDINGS = {
    "sense-and-sensibility": {
        "origin": f"{_POCKETSPHINX}: librivox/*-0870, 0880, 0890, 0920, 0930 joined, bit for bit",
        "licence": "BSD-2-Clause (the LibriVox reading itself: public domain)",
        "text": "Jane Austen, Sense and Sensibility, from chapter 1",
    },
    "cards": {
        "origin": f"{_POCKETSPHINX}: cards/005.wav, bit for bit",
        "licence": "BSD-2-Clause",
        "text": "Eight of spades, four of clubs, seven of hearts.",
    },
    **{
        name: {
            "origin": f"espeak-ng {ESPEAK}, voice {voice.espeak}, pitch {voice.pitch}",
            "licence": "Apache-2.0",
            "text": voice.text,
        }
        for name, voice in VOICES.items()
    },
}
"""Where each recording comes from, and on what terms."""

FLAGS = {
    "human": "a recorded human voice",
    "synthetic-voice": "speech of a synthesiser",
    "noise": "every band is filled in every frame",
    "tonal": "quiet bins beside loud ones: where float32 is worst",
    "transient": "clicks and bursts: frames that are loud at one place only",
    "ends": "loud at the beginning or the end: shows how the clip is extended",
    "maximum": "whose maximum counts decides over most values",
    "length": "a length next to one where the number of frames or the mirroring changes",
    "frames": "a number of frames next to a multiple of 64, 128, 256 or 1024, or to 30 s",
    "floor": "made to have mel powers below the floor of 1e-10",
    "clamped": "made to have values raised to 8 below the clip's maximum",
    "constant": "all features are equal: only a wrong constant shows",
    "int16": "16-bit PCM",
    "above-one": "amplitudes above full scale",
    "long": "30 s or more",
    "padded": "zeros are appended up to pad_to",
    "smoothed": "the features' 3x3 mean is stored, too",
}


class Variant(NamedTuple):
    """How the features of an input are computed, for each number of mel bands."""

    pad_to: int | None = None
    smoothing: str | None = None


class Input(NamedTuple):
    id: str
    purpose: str
    flags: tuple[str, ...]
    recipe: dict[str, Any]
    variants: tuple[Variant, ...]


PLAIN = (Variant(),)
SMOOTHED = (Variant(), Variant(smoothing="valid"), Variant(smoothing="same"))


def case_variants(entry: Input) -> Iterator[tuple[str, int, Variant]]:
    """Id, number of bands and variant of every case of an input."""
    for n_mels, variant in product(N_MELS, entry.variants):
        pad = "" if variant.pad_to is None else f"-pad{variant.pad_to}"
        smooth = "" if variant.smoothing is None else f"-{variant.smoothing}"
        yield f"golden/{entry.id}/{n_mels}{pad}{smooth}", n_mels, variant


def _entry(
    name: str,
    purpose: str,
    flags: str,
    signal: str,
    n: int,
    variants: tuple[Variant, ...] = PLAIN,
    **parameters: Any,
) -> Input:
    recipe = {"signal": signal, "n": n, **parameters}
    evident = {
        "int16": parameters.get("dtype") == "int16",
        "long": n >= WINDOW,
        "padded": any(variant.pad_to is not None for variant in variants),
        "smoothed": any(variant.smoothing is not None for variant in variants),
    }
    all_flags = (*flags.split(), *(flag for flag, holds in evident.items() if holds))
    return Input(name, purpose, all_flags, recipe, variants)


def _speech() -> list[Input]:
    book, cards = "sense-and-sensibility", "cards"
    whole = {"reading": 113_600, "cards": 56_040}
    entries = [
        _entry(
            "reading",
            "a human voice, one sentence",
            "human clamped",
            "speech",
            whole["reading"],
            (*SMOOTHED, Variant(WINDOW), Variant(WINDOW, "same")),
            recording=book,
        ),
        _entry(
            "reading-30s",
            "what a Whisper model usually hears: 30 s of a human voice",
            "human clamped",
            "speech",
            WINDOW,
            recording=book,
        ),
        _entry(
            "reading-45s",
            "more than 30 s of a human voice",
            "human clamped",
            "speech",
            45 * SECOND,
            recording=book,
            start=57,
        ),
        _entry(
            "reading-pcm",
            "a human voice as 16-bit PCM",
            "human clamped",
            "speech",
            47_840,
            recording=book,
            start=113_600,
            dtype="int16",
        ),
        _entry(
            "reading-quiet",
            "a human voice 60 dB below its level: much of it at the floor",
            "human floor",
            "speech",
            52_640,
            recording=book,
            start=343_040,
            gain=0.001,
        ),
        _entry(
            "cards",
            "a close human voice as 16-bit PCM that reaches full scale",
            "human",
            "speech",
            whole["cards"],
            recording=cards,
            dtype="int16",
        ),
        _entry(
            "cards-times-300",
            "a human voice far above full scale, as if PCM had not been scaled",
            "human above-one",
            "speech",
            whole["cards"],
            recording=cards,
            gain=300.0,
        ),
    ]
    languages = {
        "english": 57_991,
        "scottish": 48_561,
        "german": 53_533,
        "french": 35_938,
        "hindi": 38_545,
        "mandarin": 61_752,
    }
    for language, n in languages.items():
        entries.append(
            _entry(
                f"voice-{language}",
                f"a synthetic voice ({language}), digital silence around it",
                "synthetic-voice clamped floor",
                "speech",
                n,
                recording=f"voice-{language}",
            )
        )
    return entries


def _noise() -> list[Input]:
    entries = [
        _entry(
            f"noise-{-level}db",
            f"white noise at {level} dB",
            "noise",
            "noise",
            SECOND,
            seed=-level,
            gain=10 ** (level / 20),
        )
        for level in (-90, -70, -50, -30, -10)
    ]
    return [
        *entries,
        _entry(
            "noise-ramp",
            "white noise rising from -90 to -10 dB: the one signal that shows most faults",
            "noise ends maximum clamped",
            "noise_ramp",
            SECOND,
            (*SMOOTHED, Variant(WINDOW), Variant(2 * SECOND, "valid")),
            seed=1,
        ),
        _entry(
            "noise-falling",
            "white noise falling from -10 to -90 dB: the maximum is at the beginning",
            "noise ends maximum clamped",
            "noise_ramp",
            SECOND,
            seed=2,
            start_db=-10.0,
            stop_db=-90.0,
        ),
        _entry(
            "noise-normal",
            "bell-shaped white noise",
            "noise",
            "noise",
            SECOND,
            SMOOTHED,
            seed=3,
            gain=0.1,
            distribution="normal",
        ),
        _entry(
            "noise-at-floor",
            "noise whose mel power is about the floor of 1e-10",
            "noise floor",
            "noise",
            SECOND,
            SMOOTHED,
            seed=4,
            gain=1.2e-5,
            distribution="normal",
        ),
        _entry(
            "noise-below-floor",
            "noise that is all below the floor",
            "floor constant",
            "noise",
            4000,
            seed=5,
            gain=1e-6,
        ),
        _entry(
            "noise-denormal",
            "noise of denormal float32 numbers",
            "floor constant",
            "noise",
            4000,
            seed=6,
            gain=1e-40,
        ),
        _entry(
            "noise-unscaled",
            "noise of PCM's amplitude as float: not divided by 32768",
            "noise above-one",
            "noise",
            SECOND,
            seed=7,
            gain=32768.0,
        ),
        _entry(
            "noise-1e15",
            "noise near the largest amplitude that is judged",
            "noise above-one",
            "noise",
            4000,
            seed=8,
            gain=1e15,
        ),
        _entry(
            "noise-pcm",
            "16-bit noise that saturates at both ends",
            "noise",
            "noise",
            SECOND,
            seed=9,
            gain=2.0,
            dtype="int16",
        ),
        _entry(
            "noise-pcm-faint",
            "16-bit noise of -1, 0 and 1",
            "noise",
            "noise",
            SECOND,
            seed=10,
            gain=1.5 * 2.0**-15,
            dtype="int16",
        ),
        _entry(
            "noise-then-silence",
            "noise, then digital silence",
            "noise transient clamped floor ends maximum",
            "burst",
            8000,
            seed=11,
            length=3000,
        ),
        _entry(
            "silence-then-noise",
            "digital silence, then noise up to the end",
            "noise transient clamped floor ends maximum",
            "burst",
            8000,
            seed=12,
            start=5000,
            length=3000,
        ),
        _entry(
            "on-off",
            "a loud frame beside a quiet one: shows whether one leaks into the other",
            "noise transient clamped",
            "on_off",
            SECOND,
            SMOOTHED,
            seed=13,
        ),
        _entry(
            "on-off-by-hops",
            "loud and quiet by turns of one hop",
            "noise transient",
            "on_off",
            8000,
            seed=14,
            period=HOP,
        ),
    ]


def _tonal() -> list[Input]:
    entries = [
        _entry(
            f"tone-{frequency}",
            f"a tone of {frequency} Hz: everything else is the transform's rounding",
            "tonal clamped ends",
            "tone",
            SECOND,
            frequency=float(frequency),
            phase=0.1,
            gain=0.5,
        )
        for frequency in (50, 440, 1000, 4000, 7900)
    ]
    return [
        *entries,
        _entry(
            "tone-in-noise",
            "a loud tone beside noise 75 dB below it, just above what is clamped",
            "tonal ends clamped",
            "tone_in_noise",
            SECOND,
            seed=20,
            frequency=1234.5,
            noise_db=-75.0,
            gain=0.9,
        ),
        _entry(
            "tone-pcm",
            "a quiet tone in 16-bit PCM: rounding makes harmonics",
            "tonal ends",
            "tone",
            8000,
            frequency=333.0,
            gain=0.001,
            dtype="int16",
        ),
        _entry(
            "chirp",
            "a sine from 0 to 8000 Hz: every bin is once the loudest",
            "tonal clamped ends",
            "chirp",
            SECOND,
            SMOOTHED,
            gain=0.9,
        ),
        _entry(
            "chirp-down",
            "a short sine from 8000 to 0 Hz",
            "tonal clamped ends",
            "chirp",
            4000,
            start=8000.0,
            stop=0.0,
            gain=0.9,
        ),
        _entry(
            "chirp-loud",
            "a sine sweep of amplitude 1e10",
            "tonal above-one clamped ends",
            "chirp",
            SECOND,
            gain=1e10,
        ),
        _entry(
            "square",
            "a square wave: odd harmonics of 500 Hz",
            "tonal clamped ends",
            "square",
            SECOND,
        ),
        _entry(
            "square-pcm",
            "a square wave from -32768 to 32767",
            "tonal ends",
            "square",
            4000,
            frequency=70.0,
            dtype="int16",
        ),
        _entry("silence", "digital silence", "floor constant", "silence", 4000),
        _entry(
            "silence-30s",
            "30 s of padding after a few samples of silence",
            "floor constant",
            "silence",
            10,
            (Variant(WINDOW),),
        ),
        _entry("dc", "a constant: bin 0 has no weight", "tonal floor", "dc", 4000, gain=0.5),
        _entry(
            "dc-padded",
            "a constant that ends: padding is an edge, mirroring none",
            "tonal floor clamped ends",
            "dc",
            4000,
            (Variant(8000),),
            gain=0.5,
        ),
        _entry(
            "nyquist",
            "a tone of 8000 Hz: bin 200 has no weight",
            "tonal floor ends",
            "nyquist",
            4000,
            gain=0.9,
        ),
        _entry(
            "ramp", "a straight line: mirrored, it has a corner", "tonal clamped ends", "ramp", 8000
        ),
    ]


def _transients() -> list[Input]:
    frame, last = 20, 29
    entries = [
        _entry(
            f"click-at-{offset}",
            f"a click {offset} samples into a frame, under the window's edge",
            "transient clamped floor",
            "click",
            4800,
            at=frame * HOP - 200 + offset,
            gain=0.9,
        )
        for offset in (0, 1, 2, 3, 396, 397, 398, 399)
    ]
    # n % 160 = 159: samples that only the last kept frame hears, 396 to 399 samples into it.
    entries += [
        _entry(
            f"click-at-last-{offset}",
            f"a loud click {offset} samples into the last kept frame: no other one hears it",
            "transient floor above-one ends maximum",
            "click",
            (last + 1) * HOP + 159,
            at=last * HOP - 200 + offset,
            gain=1000.0,
        )
        for offset in (396, 397, 398, 399)
    ]
    return [
        *entries,
        _entry(
            "click-first",
            "a click on the first sample",
            "transient clamped floor ends maximum",
            "click",
            4800,
            gain=0.9,
        ),
        _entry(
            "click-last",
            "a click on the last sample",
            "transient floor ends maximum",
            "click",
            4800,
            at=-1,
            gain=0.9,
        ),
        _entry(
            "clicks",
            "clicks at random places over noise at -100 dB",
            "transient clamped",
            "clicks",
            SECOND,
            SMOOTHED,
            seed=30,
            spacing=700,
            quiet_db=-100.0,
        ),
        _entry(
            "click-train",
            "a click every 161 samples: one in each place of a frame",
            "transient",
            "click_train",
            26_000,
            period=HOP + 1,
            gain=0.5,
        ),
        _entry(
            "click-train-40ms",
            "a click every 640 samples: some frames hear none",
            "transient clamped floor",
            "click_train",
            8000,
            period=640,
            offset=77,
            gain=0.5,
        ),
    ]


def _lengths() -> list[Input]:
    short = (201, 202, 239, 240, 241, 319, 320, 321, 359, 360, 399, 400, 401)
    medium = (479, 480, 481, 559, 560, 639, 640, 641)
    second = (15_999, 16_000, 16_039, 16_079, 16_080, 16_159)
    entries = [
        _entry(
            f"length-{n}",
            f"{n} samples: {n // HOP} frames and {n % HOP} samples more",
            "noise length ends",
            "noise",
            n,
            SMOOTHED if n in (480, 640) else PLAIN,
            seed=n,
            gain=0.2,
        )
        for n in (*short, *medium, *second)
    ]
    entries += [
        _entry(
            f"length-{n}-padded",
            f"{n} samples, padded to {pad_to}",
            "noise length ends" + (" floor" if pad_to > 8160 else ""),
            "noise",
            n,
            (Variant(pad_to),),
            seed=n,
            gain=0.2,
        )
        for n, pad_to in (
            (1, 480_000),
            (160, 201),
            (200, 201),
            (201, 400),
            (400, 400),
            (8000, 8160),
        )
    ]
    entries += [
        _entry(
            f"tail-{n}",
            f"the last 60 of {n} samples are loud: the dropped frame hears them best",
            "noise ends maximum length",
            "loud_tail",
            n,
            seed=n,
        )
        for n in (240, 400, 4080, 16_080)
    ]
    entries += [
        _entry(
            f"end-of-{n}",
            f"only the last 400 of {n} samples are not silent",
            "noise frames ends maximum clamped floor",
            "burst",
            n,
            seed=40,
            start=n - 400,
            gain=0.5,
        )
        for n in (WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + HOP)
    ]
    return entries


def _corners() -> list[Input]:
    """The clip's maximum in each corner, for numbers of frames next to powers of two."""
    frame_counts = (63, 64, 65, 127, 128, 129, 255, 256, 257, 1023, 1024, 1025)
    corners = list(product(("first", "last"), ("lowest", "highest")))
    rests = (0, 1, 80, 159)
    return [
        _entry(
            f"corner-{frames}-{frame}-{band}",
            f"the maximum is in the {frame} of {frames} frames, in the {band} band",
            "tonal maximum frames ends clamped",
            "corner",
            frames * HOP + rests[(i + k) % len(rests)],
            seed=frames,
            frame=frame,
            band=band,
            # Long clips mostly clamped, short ones half: a few kilobytes each.
            noise_db=-60.0 if frames < 1000 else -75.0,
            gain=0.9,
        )
        for i, frames in enumerate(frame_counts)
        for k, (frame, band) in enumerate(corners)
    ]


INPUTS: dict[str, Input] = {
    entry.id: entry
    for entry in (*_speech(), *_noise(), *_tonal(), *_transients(), *_lengths(), *_corners())
}
"""Every input by its id."""
