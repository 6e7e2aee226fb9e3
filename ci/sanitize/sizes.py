"""Calls the kernel's C interface with sizes, strides and pointers of all kinds.

    python ci/sanitize/sizes.py LIBRARY FUNCTION CALLS SEED [use-after-free]

Every array is exactly as large as announced, so that the sanitizer that this program runs under
sees any access beyond it. Each call must be accepted or refused as the interface says, and must
write all its values and nothing else. Equal audio must give equal bits in any memory. The last word
plants a fault of the caller: audio that has been freed. Prints the numbers of calls as JSON.

The arguments are random, not guided by coverage: Mojo's compiler has no instrumentation for that,
and the random arrays of ``arrays.py`` reach all of the Python code around it.
"""

from __future__ import annotations

import ctypes
import json
import random
import sys
from typing import Any

import numpy as np
from whisper_mel_mojo.library import LOG_MEL

Array = Any

SENTINEL = np.float32(-12345.0)
BEYOND = 64  # floats of room behind out that must stay as they are, in some calls
BAD_SIZES = (-1, 0, 1, 79, 81, 1 << 31, 1 << 40, -(1 << 62))


def expected(call: dict[str, int]) -> bool:
    """Return whether the interface accepts these arguments."""
    if call["n_mels"] not in (80, 128) or not 0 <= call["smoothing"] <= 2:
        return False
    if call["clips"] < 1 or call["samples"] < 1 or call["threads"] < 1:
        return False
    if call["pad_to"] != 0 and call["pad_to"] < call["samples"]:
        return False
    length = max(call["samples"], call["pad_to"])
    trim = 2 if call["smoothing"] == 1 else 0
    if length < 201 or length // 160 <= trim:
        return False
    return call["out_len"] >= size(call)


def size(call: dict[str, int]) -> int:
    """Count the floats that a call writes."""
    trim = 2 if call["smoothing"] == 1 else 0
    frames = max(call["samples"], call["pad_to"]) // 160
    return max(call["clips"] * (call["n_mels"] - trim) * (frames - trim), 0)


def draw(choice: random.Random) -> dict[str, int]:
    """Draw arguments, most of them valid."""
    samples = choice.choice([201, 202, 240, 319, 320, 400, 1600, choice.randrange(1, 3000)])
    samples += choice.randrange(-2, 3)
    if choice.random() < 0.05:  # long enough that threads share a clip
        samples = choice.randrange(20_000, 70_000)
    clips = choice.choice([1, 1, 2, 3, 5])
    if choice.random() < 0.1:  # so many that each thread has clips of its own
        clips, samples = choice.randrange(12, 40), choice.randrange(1600, 6000)
    call = {
        "is_int16": choice.randrange(2),
        "clips": clips,
        "samples": samples,
        "pad_to": choice.choice([0, 0, samples, samples + choice.randrange(2000)]),
        "n_mels": choice.choice([80, 128]),
        "smoothing": choice.randrange(3),
        "threads": choice.choice([1, 2, 3, 7]),
    }
    call["clip_stride"] = call["samples"] + choice.choice([0, 0, 1, 3, 160])
    call["out_len"] = size(call) + choice.choice([0, 0, 0, 1, BEYOND, -1, -size(call)])
    return call


class Caller:
    """The kernel's function, called with the arrays of each call."""

    def __init__(self, library: str, name: str) -> None:
        loaded = ctypes.CDLL(library)
        self._function = getattr(loaded, name)
        self._function.argtypes = LOG_MEL
        self._function.restype = ctypes.c_ssize_t
        loaded.whisper_mel_pool_new.restype = ctypes.c_void_p
        self._pool = loaded.whisper_mel_pool_new() or 0

    def __call__(self, call: dict[str, int], audio: Array, out: Array) -> int:
        bad = np.zeros(1, np.int64)
        return int(
            self._function(
                audio.ctypes.data,
                call["is_int16"],
                call["clips"],
                call["samples"],
                call["clip_stride"],
                call["pad_to"],
                call["n_mels"],
                call["smoothing"],
                out.ctypes.data,
                call["out_len"],
                call["threads"],
                self._pool if call["threads"] > 1 else 0,
                bad.ctypes.data,
            )
        )


def at_end(values: Array, offset: int) -> Array:
    """Copy values so that they end where their memory ends, ``offset`` bytes from an aligned
    address.
    """
    memory = np.empty(values.nbytes + offset, np.uint8)
    copy = np.ndarray(values.shape, values.dtype, buffer=memory.data, offset=offset)
    copy[...] = values
    return copy


def main() -> None:
    caller = Caller(sys.argv[1], sys.argv[2])
    choice = random.Random(int(sys.argv[4]))
    noise = np.random.default_rng(int(sys.argv[4]))
    done = {"calls": 0, "accepted": 0, "refused": 0, "compared": 0}
    for _ in range(int(sys.argv[3])):
        call = draw(choice)
        needs = max((call["clips"] - 1) * call["clip_stride"] + call["samples"], 0)
        audio = noise.uniform(-0.5, 0.5, needs).astype(np.float32)
        if call["is_int16"]:
            audio = (32767 * audio).astype(np.int16)
        audio = at_end(audio, choice.choice([0, 2 if call["is_int16"] else 4, 8, 12, 36]))
        room = max(call["out_len"], 0)
        out = at_end(np.full(room, SENTINEL), choice.choice([0, 4, 16, 60]))
        if choice.random() < 0.15:  # one wrong argument, which must be refused
            call[choice.choice(["n_mels", "clips", "pad_to", "threads", "out_len", "samples"])] = (
                choice.choice(BAD_SIZES)
            )
            if expected(call):
                continue
        if len(sys.argv) > 5:
            audio = freed(audio)
        status = caller(call, audio, out)
        done["calls"] += 1
        if (status == 0) != expected(call):
            sys.exit(f"status {status} for {call}")
        done["accepted" if status == 0 else "refused"] += 1
        written = size(call) if status == 0 else 0
        if not (np.isfinite(out[:written]).all() and (out[:written] != SENTINEL).all()):
            sys.exit(f"values are missing for {call}")
        if not (out[written:] == SENTINEL).all():
            sys.exit(f"something else is written for {call}")
        if status == 0 and choice.random() < 0.1:
            again = at_end(np.full(room, SENTINEL), 0)
            if caller({**call, "threads": 1}, at_end(audio, 0), again) != 0:
                sys.exit(f"refused when called again: {call}")
            if again.tobytes() != out.tobytes():
                sys.exit(f"other bits from other memory or threads: {call}")
            done["compared"] += 1
    print(json.dumps(done))


def freed(audio: Array) -> Array:
    """Return audio in freed memory (by libc, because NumPy keeps small blocks)."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    address = libc.malloc(max(audio.nbytes, 1))
    libc.free(address)
    return Freed(address)


class Freed:
    """The part of an array's interface that a call uses, at a freed address."""

    def __init__(self, address: int) -> None:
        self.ctypes = type("Address", (), {"data": address})


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    main()
