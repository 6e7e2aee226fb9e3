"""Quirks of results that were not computed: not now, not in time, or not as well as others."""

from __future__ import annotations

import threading
import time

import numpy as np

from whisper_mel_conformance.quirks.table import Array, Table, right

HONESTY = Table("state")

_SINCE = "2026-11-27"


@HONESTY.front_end(
    "returned-unfinished",
    "A call returns while a thread still computes, as after a launch that nobody waits for.",
    "features are there only if they are looked at late",
    fix="Wait for the result before it is returned: `torch.cuda.synchronize()`, `thread.join()`.",
    killer="honesty/finished-400/80",
    since=_SINCE,
)
def returned_unfinished(audio: Array, n_mels: int = 80) -> Array:
    y = np.zeros((n_mels, len(audio) // 160), np.float32)

    def work() -> None:
        time.sleep(0.002)
        y[...] = right(audio, n_mels)

    threading.Thread(target=work).start()
    return y


@HONESTY.front_end(
    "out-written-once",
    "A clip that has been computed into the same out before is not computed again.",
    "out holds whatever it held",
    fix="Write to out in every call: it may have been changed since.",
    killer="honesty/out-written-again/80",
    since=_SINCE,
)
class OutWrittenOnce:
    def __init__(self) -> None:
        self.before: object = None

    def __call__(self, audio: Array, n_mels: int = 80, *, out: Array = None) -> Array:
        y = right(audio, n_mels)
        if out is None:
            return y
        now = audio.tobytes(), n_mels, int(out.ctypes.data)
        if now != self.before:
            out[...] = y
        self.before = now
        return out


@HONESTY.front_end(
    "half-precision-when-loud",
    "Clips with amplitudes above 100 are computed in half precision.",
    "5e-4, on clips of that level",
    fix="Compute in float32 whatever the level: remove the branch.",
    killer="honesty/any-level/80",
    since=_SINCE,
)
def half_precision_when_loud(audio: Array, n_mels: int = 80) -> Array:
    y = right(audio, n_mels)
    is_loud = np.abs(audio, dtype=np.float64).max(initial=0.0) > 100.0
    return y.astype(np.float16).astype(np.float32) if is_loud else y


@HONESTY.front_end(
    "half-precision-of-few-values",
    "Clips whose samples are multiples of 1/128 are computed in half precision.",
    "5e-4, on such clips",
    fix="Compute in float32 whatever the samples are: remove the branch.",
    killer="honesty/any-values/80",
    since=_SINCE,
)
def half_precision_of_few_values(audio: Array, n_mels: int = 80) -> Array:
    y = right(audio, n_mels)
    are_few = bool((audio * 128 % 1 == 0).all())
    return y.astype(np.float16).astype(np.float32) if are_few and audio.any() else y


@HONESTY.front_end(
    "spoiled-later",
    "A buffer goes back to its pool a quarter of a second after its call, and is cleared then.",
    "features vanish while the caller uses them",
    fix="Return memory of its own for each call: `y.copy()`.",
    killer="honesty/finished-400/80",
    since=_SINCE,
)
def spoiled_later(audio: Array, n_mels: int = 80) -> Array:
    y = right(audio, n_mels)
    threading.Timer(0.25, lambda: y.fill(0)).start()
    return y


@HONESTY.front_end(
    "long-clips-declined",
    "Clips of more than 5 s are declined as if an option were asked for that does not exist.",
    "nothing, or another path, for most recordings",
    fix="Compute them, or declare what the longest clip is: "
    '`capabilities = {"max_samples": 80_000}`.',
    killer="honesty/every-clip-taken",
    since=_SINCE,
)
def long_clips_declined(audio: Array, n_mels: int = 80) -> Array:
    if audio.shape[-1] > 80_000:
        raise NotImplementedError
    return right(audio, n_mels)
