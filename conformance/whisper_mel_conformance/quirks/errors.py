"""Quirks of bad input: it is accepted, ends the process, or spoils later calls."""

from __future__ import annotations

import os

import numpy as np

from whisper_mel_conformance.quirks.table import Array, Table, right

ERRORS = Table("errors")


@ERRORS.front_end(
    "nan-swallowed",
    "NaN samples are read as 0, or lost in a maximum that ignores them.",
    "plausible features of broken audio",
    "https://github.com/huggingface/transformers/issues/47885",
    "https://github.com/Dat-cool-repo/hf-processors-rs",
    "https://github.com/microsoft/onnxruntime-extensions/blob/main/shared/api/speech_features.hpp",
    fix="Refuse it, or let it through: `if not np.isfinite(x).all(): raise "
    'ValueError("audio: not finite")`. In C, x > floor ? x : floor loses NaN, x < '
    "floor ? floor : x keeps it.",
    killer="errors/nan-at-2000",
)
def nan_swallowed(audio: Array, n_mels: int = 80) -> Array:
    return right(np.nan_to_num(audio), n_mels)


@ERRORS.front_end(
    "infinity-swallowed",
    "Infinite samples are read as full scale.",
    "plausible features of broken audio",
    fix="Refuse it, or let it through: `if not np.isfinite(x).all(): raise "
    'ValueError("audio: not finite")`.',
    killer="errors/inf-at-2000",
)
def infinity_swallowed(audio: Array, n_mels: int = 80) -> Array:
    return right(np.nan_to_num(audio, nan=np.nan, posinf=1.0, neginf=-1.0), n_mels)


@ERRORS.front_end(
    "broken-after-error",
    "What an error leaves behind spoils the next call.",
    "the next clip is off",
    fix="Check the arguments before any state changes, or put the state back in a finally clause.",
    killer="errors/nan-at-2000",
)
class BrokenAfterError:
    def __init__(self) -> None:
        self.errors = 0

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        if not np.isfinite(audio).all():
            self.errors += 1
            raise ValueError("not finite")
        return right(audio, n_mels) + np.float32(0.1 * self.errors)


@ERRORS.front_end(
    "crash-on-empty",
    "Empty audio ends the process.",
    "the process is lost",
    "https://github.com/ggml-org/whisper.cpp/pull/3956",
    fix='Refuse clips that are too short: `if len(x) < 201: raise ValueError("audio: '
    'expected at least 201 samples")`.',
    killer="boundary/length-0",
)
def crash_on_empty(audio: Array, n_mels: int = 80) -> Array:
    return right(audio, n_mels) if len(audio) else os.abort()


@ERRORS.front_end(
    "nan-on-short",
    "Clips shorter than the mirrored part give NaN.",
    "NaN is handed to the model",
    "https://github.com/ggml-org/whisper.cpp/pull/3925",
    "https://github.com/openai/whisper/pull/2161",
    fix="A mirror of 200 samples needs 201: refuse shorter clips, or pad them before: "
    "`np.pad(x, (0, 480_000 - len(x)))`.",
    killer="boundary/length-160",
)
def nan_on_short(audio: Array, n_mels: int = 80) -> Array:
    return right(audio, n_mels) if len(audio) > 200 else np.full((n_mels, 1), np.nan, "f4")


@ERRORS.front_end(
    "tried-without-end",
    "What is not finite is tried again, without end.",
    "the stack ends, or the memory, in place of an error that names the sample",
    fix='Refuse it in a sentence: `if not np.isfinite(x).all(): raise ValueError("audio: expected '
    'finite samples")`.',
    killer="errors/nan-at-0",
    since="2026-11-28",
)
def tried_without_end(audio: Array, n_mels: int = 80) -> Array:
    if not np.isfinite(audio).all():
        return tried_without_end(audio, n_mels)
    return right(audio, n_mels)


@ERRORS.front_end(
    "overflow-as-silence",
    "Powers that overflow are raised to the floor: max(1e-10, NaN) is 1e-10 in C++.",
    "the loudest audio reads as silence",
    fix="Refuse samples whose powers overflow, or let infinity through. In C, x < floor"
    " ? floor : x keeps NaN, fmaxf does not.",
    killer="errors/overflow-1e+19",
)
def overflow_as_silence(audio: Array, n_mels: int = 80) -> Array:
    return right(audio if np.abs(audio).max(initial=0) < 1e17 else 0 * audio, n_mels)


@ERRORS.front_end(
    "cut-to-pad",
    "Clips longer than pad_to are cut.",
    "audio is lost silently",
    fix="Refuse a clip that is longer than pad_to: `if len(x) > pad_to: raise "
    'ValueError("pad_to: shorter than audio")`.',
    killer="errors/longer-than-pad_to",
)
def cut_to_pad(audio: Array, n_mels: int = 80, pad_to: int | None = None) -> Array:
    return right(audio[:pad_to], n_mels, pad_to=pad_to)
