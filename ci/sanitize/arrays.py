"""Calls ``whisper_mel_mojo.log_mel`` with arrays of all kinds.

    cd ci; python -m sanitize.arrays LIBRARY CALLS SEED

LIBRARY is the kernel's, built for the sanitizer that this program runs under. Arrays end where
their memory ends. Each call must be accepted, or refused by ValueError or TypeError, as the
docstring says. Equal audio must give equal bits in any layout. The audio, the memory beside ``out``
and, after a refusal, ``out`` itself must be unchanged. Prints the numbers of calls as JSON.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from whisper_mel_mojo import library, log_mel

from sanitize.sizes import SENTINEL, at_end

Array = Any

LAYOUTS = ("plain", "offset", "step", "reversed", "swapped", "column", "read-only")
BAD: dict[str, Callable[[Array], Array]] = {
    "dtype": lambda audio: audio.astype(np.int32),
    "rank": lambda audio: audio[np.newaxis, np.newaxis],
    "empty": lambda audio: audio[..., :0],
    "NaN": lambda audio: np.where(np.arange(audio.shape[-1]) == 200, np.nan, audio),
}
BAD_OPTIONS = ({"n_mels": 81}, {"pad_to": 200}, {"smoothing": "full"}, {"threads": 0})
BAD_OUT = ("shape", "dtype", "strides", "read-only", "overlap")


def laid_out(audio: Array, layout: str, offset: int) -> Array:
    """Copy samples to other memory in a given layout."""
    if layout == "step":
        wide = at_end(np.full((*audio.shape[:-1], 2 * audio.shape[-1] - 1), 7, audio.dtype), 0)
        wide[..., ::2] = audio
        return wide[..., ::2]
    if layout == "reversed":
        return at_end(audio[..., ::-1], 0)[..., ::-1]
    if layout == "swapped":
        return audio.astype(audio.dtype.newbyteorder(">"))
    if layout == "column":
        return at_end(audio.T, 0).T
    result = at_end(audio, offset if layout == "offset" else 0)
    result.flags.writeable = layout != "read-only"
    return result


def out_like(features: Array, bad: str, audio: Array) -> Array:
    """Allocate memory for the features; with ``bad``, of a kind that must be refused."""
    shape = features.shape
    if bad == "shape":
        return np.full((*shape[:-1], shape[-1] + 1), SENTINEL)
    if bad == "strides":
        return np.full((*shape[:-1], 2 * shape[-1]), SENTINEL)[..., ::2]
    if bad == "overlap":
        both = np.full(features.size + audio.size, SENTINEL)
        return both[: features.size].reshape(shape)
    out = at_end(np.full(shape, SENTINEL, np.float64 if bad == "dtype" else np.float32), 0)
    out.flags.writeable = bad != "read-only"
    return out


def main() -> None:
    path = Path(sys.argv[1])
    library.built_library = lambda source=None, *options: path
    choice = random.Random(int(sys.argv[3]))
    noise = np.random.default_rng(int(sys.argv[3]))
    done = {"calls": 0, "accepted": 0, "refused": 0}
    for _ in range(int(sys.argv[2])):
        n = choice.choice([201, 202, 240, 400, 401, 1600, choice.randrange(480, 3000)])
        if choice.random() < 0.03:  # long enough that threads share it
            n = choice.randrange(20_000, 40_000)
        shape = choice.choice([(n,), (n,), (1, n), (3, n)])
        audio = noise.uniform(-0.5, 0.5, shape).astype(np.float32)
        kind = choice.choice(["float32", "float32", "float64", "int16"])
        audio = (32767 * audio).astype(np.int16) if kind == "int16" else audio.astype(kind)
        options: dict[str, Any] = {
            "n_mels": choice.choice([80, 128]),
            "pad_to": choice.choice([None, None, n, n + choice.randrange(2000)]),
            "smoothing": choice.choice([None, "same", "valid"] if n >= 480 else [None, "same"]),
            "threads": choice.choice([None, 1, 2, 3]),
        }
        features = log_mel(np.ascontiguousarray(audio), **options)
        given = laid_out(audio, choice.choice(LAYOUTS), choice.choice([1, 2, 4, 8, 36]))
        try_accepted(given, options, features, choice.random() < 0.5)
        done["accepted"] += 2
        done["refused"] += try_refused(given, options, features, choice)
        done["calls"] = done["accepted"] + done["refused"]
    print(json.dumps(done))


def try_accepted(audio: Array, options: dict[str, Any], features: Array, with_out: bool) -> None:
    """Compute features, which must have the bits of the contiguous copy's."""
    before = audio.tobytes()
    out = out_like(features, "", audio) if with_out else None
    again = log_mel(audio, **options, out=out)
    if again.tobytes() != features.tobytes() or (with_out and again is not out):
        sys.exit(f"other bits from another layout: {audio.dtype} {audio.shape} {options}")
    if audio.tobytes() != before:
        sys.exit(f"audio was modified: {audio.dtype} {audio.shape} {options}")


def try_refused(
    audio: Array, options: dict[str, Any], features: Array, choice: random.Random
) -> bool:
    """Make a call with one fault, which must raise and write nothing; return False if none was
    made.
    """
    bad = choice.choice([*BAD, "option", *BAD_OUT])
    out = out_like(features, bad if bad in BAD_OUT else "", audio)
    if bad == "overlap":
        flat = out.base if out.base.ndim == 1 else out.base.base
        audio = flat[: audio.size].reshape(audio.shape)
        audio[...] = 0.25
    elif bad == "option":
        options = {**options, **choice.choice(BAD_OPTIONS)}
    elif bad in BAD and not (bad == "NaN" and audio.dtype.kind != "f"):
        audio = BAD[bad](audio)
    elif bad == "NaN":
        return False  # integers have no NaN
    before = out.tobytes()
    try:
        log_mel(audio, **options, out=out)
    except (ValueError, TypeError):
        # NaN in the audio is NaN in the features of its clip: the docstring says so.
        if bad != "NaN" and out.tobytes() != before:
            sys.exit(f"out was written though {bad} was refused: {audio.shape} {options}")
        return True
    sys.exit(f"accepted in spite of {bad}: {audio.dtype} {audio.shape} {options}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main()
