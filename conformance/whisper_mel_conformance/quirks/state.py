"""Quirks of what a front-end keeps from call to call."""

from __future__ import annotations

from typing import Any

import numpy as np

from whisper_mel_conformance.quirks.table import Array, Table, right

STATE = Table("state")

_SINCE = "2026-11-27"


@STATE.front_end(
    "previous-result",
    "Each call returns the result of the one before.",
    "another clip's features",
    fix="Wait for the call's own result before it is returned: "
    "`torch.cuda.synchronize()`, or one buffer for each call.",
    killer="determinism/interleaved",
)
class PreviousResult:
    def __init__(self) -> None:
        self.last: Array = None

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        before, self.last = self.last, right(audio, n_mels)
        return self.last if before is None else before


class _Cache:
    """A front-end that caches right features, and their audio, by ``key``."""

    def __init__(self) -> None:
        self.kept: dict[tuple[Any, int], tuple[Array, Array]] = {}

    def key(self, audio: Array) -> Any:
        raise NotImplementedError

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        key = self.key(audio), n_mels
        if key not in self.kept:
            self.kept[key] = audio, right(audio, n_mels)
        return self.kept[key][1].copy()


@STATE.front_end(
    "cached-by-address",
    "Results are cached by the audio's address.",
    "a buffer that is used again has its first features",
    fix="An address is used again for other audio: drop the cache, or use the content "
    "as its key: `hashlib.blake2b(x.tobytes()).digest()`.",
    killer="buffers/input-reused/80",
)
class CachedByAddress(_Cache):
    def key(self, audio: Array) -> Any:
        return id(audio), len(audio)


@STATE.front_end(
    "cached-by-length",
    "Results are cached by the clip's length.",
    "another clip's features",
    fix="Clips of one length differ: drop the cache of results; only tables may be kept by size.",
    killer="determinism/interleaved",
)
class CachedByLength(_Cache):
    def key(self, audio: Array) -> Any:
        return len(audio)


@STATE.front_end(
    "cached-by-beginning",
    "Results are cached by the clip's first 1000 samples.",
    "another clip's features",
    fix="Use the whole content as the key, or no cache: `hashlib.blake2b(x.tobytes()).digest()`.",
    killer="determinism/one-sample-apart",
)
class CachedByBeginning(_Cache):
    def key(self, audio: Array) -> Any:
        return audio[:1000].tobytes(), len(audio)


@STATE.front_end(
    "cached-by-sum",
    "Results are cached by the clip's length and the sum of its samples.",
    "the features of other samples, or of the same in another order",
    fix="Use the whole content as the key, or no cache: `hashlib.blake2b(x.tobytes()).digest()`.",
    killer="determinism/same-samples/80",
    since=_SINCE,
)
class CachedBySum(_Cache):
    def key(self, audio: Array) -> Any:
        return len(audio), float(audio.sum(dtype=np.float64))


@STATE.front_end(
    "cached-by-ends",
    "Results are cached by the clip's ends and by the sum of its samples.",
    "the features of a clip that differs in its middle",
    fix="Use the whole content as the key, or no cache: `hashlib.blake2b(x.tobytes()).digest()`.",
    killer="determinism/same-samples/80",
    since=_SINCE,
)
class CachedByEnds(_Cache):
    def key(self, audio: Array) -> Any:
        ends = audio[:64].tobytes() + audio[-64:].tobytes()
        return len(audio), ends, float(audio.sum(dtype=np.float64))


@STATE.front_end(
    "cached-by-address-and-sum",
    "Results are cached by the audio's address and the sum of its samples.",
    "a buffer whose samples change places has its first features",
    fix="A buffer is used again for other audio: use the whole content as the key, "
    "`hashlib.blake2b(x.tobytes()).digest()`, or no cache.",
    killer="determinism/same-samples-in-place/80",
    since=_SINCE,
)
class CachedByAddressAndSum(_Cache):
    def key(self, audio: Array) -> Any:
        return id(audio), len(audio), float(audio.sum(dtype=np.float64))


@STATE.front_end(
    "cached-by-rounded-samples",
    "Results are cached by the clip's samples in half precision.",
    "the features of a clip that is almost the same",
    fix="Use the samples as they are as the key, or no cache: "
    "`hashlib.blake2b(x.tobytes()).digest()`.",
    killer="determinism/much-alike/80",
    since=_SINCE,
)
class CachedByRoundedSamples(_Cache):
    def key(self, audio: Array) -> Any:
        with np.errstate(over="ignore"):
            return audio.astype(np.float16).tobytes()


@STATE.front_end(
    "cached-without-options",
    "Results are cached by the clip's content and the features' shape, whatever else is asked.",
    "padded features for a clip that is not padded, and the reverse",
    fix="The key of a cache has every option beside the content: "
    "`(hashlib.blake2b(x.tobytes()).digest(), n_mels, pad_to, smoothing)`.",
    killer="determinism/same-clip-padded",
    since=_SINCE,
)
class CachedWithoutOptions:
    capabilities = {"out_dtypes": ("float32", "float16")}

    def __init__(self) -> None:
        self.kept: dict[Any, Array] = {}

    def log_mel(
        self, audio: Array, n_mels: int = 80, *, pad_to: int | None = None, dtype: str = "float32"
    ) -> Array:
        y = right(audio, n_mels, pad_to=pad_to).astype(dtype)
        kept: Array = self.kept.setdefault((audio.tobytes(), y.shape), y)
        return kept.copy()


@STATE.front_end(
    "stream-continued",
    "A clip that begins with the last one is taken for its continuation: old frames are kept.",
    "frames at the old end mirror it, and the old maximum holds",
    fix="Compute each call from its own samples: a stream has an object of its own, "
    "which its caller makes.",
    killer="determinism/beginning-with-the-last/80",
    since=_SINCE,
)
class StreamContinued:
    def __init__(self) -> None:
        self.last: Array = np.zeros(0, np.float32)
        self.features: dict[int, Array] = {}

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        y = right(audio, n_mels)
        n = len(self.last)
        if len(audio) > n and np.array_equal(audio[:n], self.last) and n_mels in self.features:
            old = self.features[n_mels]
            y[:, : old.shape[1]] = old
        else:
            self.features = {}
        self.last, self.features[n_mels] = audio.copy(), y.copy()
        return y


@STATE.front_end(
    "overlap-continued",
    "A clip that begins with the last 200 samples of the one before is taken for its continuation.",
    "the first frame is not mirrored",
    fix="Compute each call from its own samples: a stream has an object of its own, "
    "which its caller makes.",
    killer="determinism/overlapping/80",
    since="2026-11-28",
)
class OverlapContinued:
    def __init__(self) -> None:
        self.end: Array = None

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        y = right(audio, n_mels)
        if self.end is not None and np.array_equal(audio[:200], self.end):
            y[:, 0] = y[:, 1]
        self.end = audio[-200:].copy()
        return y


@STATE.front_end(
    "250th-call-of-128-wrong",
    "The 250th call with 128 bands is wrong.",
    "one clip is off",
    fix="Look for what is counted over calls: a buffer that is full, an index that wraps around.",
    killer="determinism/first-1000-calls-128-bands",
    since="2026-11-28",
)
class One250thCallOf128Wrong:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        self.calls += n_mels == 128
        return right(audio, n_mels) + np.float32(n_mels == 128 and self.calls == 250)


@STATE.front_end(
    "600th-call-wrong",
    "The 600th call is wrong.",
    "one clip is off",
    fix="Look for what is counted over calls: a buffer that is full, an index that wraps around.",
    killer="determinism/first-1000-calls",
    since=_SINCE,
)
class One600thCallWrong:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        self.calls += 1
        return right(audio, n_mels) + np.float32(self.calls == 600)


@STATE.front_end(
    "first-call-wrong",
    "The first call is made before the tables are.",
    "the first clip is off",
    fix="Make window and bank before the first use: in the constructor, or under a lock"
    " at the first call.",
    killer="boundary/length-401/80",
)
class FirstCallWrong:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        self.calls += 1
        return right(audio, n_mels) + np.float32(self.calls == 1)


@STATE.front_end(
    "sometimes-wrong",
    "Every 97th call is wrong.",
    "a clip is off now and then",
    fix="Look for what is kept between calls: counters, buffers that are used in turn, "
    "uninitialised memory.",
    killer="determinism/many-times",
)
class SometimesWrong:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        self.calls += 1
        return right(audio, n_mels) + np.float32(self.calls % 97 == 0)


@STATE.front_end(
    "dithered",
    "Noise is added, another one in every call (Kaldi's dither).",
    "equal calls differ",
    fix="Add no noise: `dither=0.0`.",
    killer="determinism/repeated/80",
)
class Dithered:
    def __init__(self) -> None:
        self.random = np.random.default_rng()

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        y = right(audio, n_mels)
        return y + (1e-7 * self.random.standard_normal(y.shape)).astype(np.float32)
