"""Recordings of human voices and of synthetic ones, and where they come from."""

from __future__ import annotations

from whisper_mel_golden.inputs.entry import SECOND, SMOOTHED, WINDOW, Variant, entry, recipe
from whisper_mel_golden.voices import ESPEAK, VOICES

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
"""Origin, terms and text of each recording."""

_BOOK = "sense-and-sensibility"
_CARDS = 56_040  # samples
_LANGUAGES = {  # samples of each
    "english": 57_991,
    "scottish": 48_561,
    "german": 53_533,
    "french": 35_938,
    "hindi": 38_545,
    "mandarin": 61_752,
}

INPUTS = (
    entry(
        "reading",
        "a human voice, one sentence",
        "human clamped",
        recipe("speech", 113_600, recording=_BOOK),
        (*SMOOTHED, Variant(WINDOW), Variant(WINDOW, "same")),
    ),
    entry(
        "reading-30s",
        "what a Whisper model usually hears: 30 s of a human voice",
        "human clamped",
        recipe("speech", WINDOW, recording=_BOOK),
    ),
    entry(
        "reading-45s",
        "more than 30 s of a human voice",
        "human clamped",
        recipe("speech", 45 * SECOND, recording=_BOOK, start=57),
    ),
    entry(
        "reading-pcm",
        "a human voice as 16-bit PCM",
        "human clamped",
        recipe("speech", 47_840, recording=_BOOK, start=113_600, dtype="int16"),
    ),
    entry(
        "reading-quiet",
        "a human voice 60 dB below its level: much of it at the floor",
        "human floor",
        recipe("speech", 52_640, recording=_BOOK, start=343_040, gain=0.001),
    ),
    entry(
        "cards",
        "a close human voice as 16-bit PCM that reaches full scale",
        "human",
        recipe("speech", _CARDS, recording="cards", dtype="int16"),
    ),
    entry(
        "cards-times-300",
        "a human voice far above full scale, as if PCM had not been scaled",
        "human above-one",
        recipe("speech", _CARDS, recording="cards", gain=300.0),
    ),
    *(
        entry(
            f"voice-{language}",
            f"a synthetic voice ({language}), digital silence around it",
            "synthetic-voice clamped floor",
            recipe("speech", n, recording=f"voice-{language}"),
        )
        for language, n in _LANGUAGES.items()
    ),
)
