"""Calls of ``gpu.log_mel`` of every kind, on memory of exactly their size or between canaries."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_mojo import gpu, log_mel
from whisper_mel_mojo.arguments import array_dtype
from whisper_mel_mojo.gpu.cuda import LEGACY_STREAM
from whisper_mel_reference import CLASS_A, WHISPER, score

from gpu.device.driver import DEVICE, Device, device
from gpu.device.scale import scale

CANARY = 0x5AC3A5C3
POISON = 0x7FB57FB5
"""The bits of a NaN that no computation gives, in float32 and in each half in float16, bfloat16."""
GUARD = 1024
"""Number of canary words on each side, larger than any rounding of allocations."""


class Memory:
    """An array in the device's memory that is freed with this object; it belongs to no stream.

    ``guard`` is the number of canary words before and behind it. With 0 the array is an allocation
    of exactly its size, so that memory checkers see every access beyond it.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, guard: int = 0) -> None:
        self.shape, self.dtype, self.guard = shape, np.dtype(dtype), guard
        self.size = int(np.prod(shape)) * self.dtype.itemsize
        self._device: Device = device()
        self._start = self._device.allocate(DEVICE, self.size + (8 * guard + 4 if guard else 0))
        self.address = self._start + 4 * guard
        self._after = self._start + 4 * guard + self.size + -self.size % 4
        for zone in (self._start, self._after) if guard else ():
            self._device.fill(zone, CANARY, guard)

    def __del__(self) -> None:
        if hasattr(self, "_start"):
            self._device.free(DEVICE, self._start)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        data = (self.address, False)
        return {"shape": self.shape, "typestr": self.dtype.str, "data": data, "version": 3}

    def poison(self) -> None:
        self._device.fill(self.address, POISON, self.size // 4)

    def upload(self, array: NDArray[Any]) -> Memory:
        self._device.upload(self.address, array.astype(self.dtype, copy=False))
        return self

    def download(self) -> NDArray[Any]:
        return self._device.download(self.address, self.shape, self.dtype)

    def damaged(self) -> list[str]:
        """Describe the canary words that were overwritten."""
        places = {"before": self._start, "behind": self._after}
        found = []
        for where, zone in places.items() if self.guard else ():
            words = self._device.download(zone, (self.guard,), np.uint32)
            wrong = np.flatnonzero(words != CANARY)
            if wrong.size > 0:
                found.append(f"{wrong.size} words {where} it were written, the first at {wrong[0]}")
        return found


@dataclass(frozen=True)
class Call:
    """One call of ``gpu.log_mel``; ``lengths`` are of a ragged batch, some of them invalid.

    ``dtype`` is the type of the audio; that of the features is one of the ``options``.
    """

    name: str
    clips: int
    samples: int
    n_mels: int = 80
    dtype: str = "float32"
    options: dict[str, Any] = field(default_factory=dict)
    lengths: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the features."""
        trim = 2 if self.options.get("smoothing") == "valid" else 0
        frames = max(self.samples, self.options.get("pad_to", 0)) // 160
        return self.clips, self.n_mels - trim, frames - trim

    @property
    def features_dtype(self) -> np.dtype[Any]:
        """The type of the features."""
        return array_dtype(self.options.get("dtype", "float32"))

    def audio(self) -> NDArray[Any]:
        """Return noise of changing level, the same in each run."""
        rng = np.random.default_rng(hash_of(self.name))
        level = 0.3 * np.exp(-4.0 * rng.random((self.clips, 1)))
        noise = level * rng.standard_normal((self.clips, self.samples))
        noise *= np.linspace(0.01, 1.0, self.samples)
        if self.dtype == "int16":
            return np.rint(32767 * np.clip(noise, -1, 1)).astype(np.int16)
        return noise.astype(np.float32)


def hash_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


# With smoothing a cluster sweeps clips of up to 40 s once (45 s with 128 bands), longer ones twice.
# Up to 7 clips take a kernel of their own; up to 64 have 16 blocks each, more of them 8.
_ALL = (
    Call("shortest", 1, 201),
    Call("edges meet", 2, 399, 128),
    Call("second", 1, 16_000),
    Call("odd batch", 3, 7_001, options={"smoothing": "same"}),
    Call("valid", 2, 16_079, 128, options={"smoothing": "valid"}),
    Call("int16", 3, 16_001, dtype="int16", options={"smoothing": "same"}),
    Call("padded", 2, 80_000, options={"pad_to": 480_000}),
    Call("padded, smoothed", 2, 80_001, 128, options={"pad_to": 480_000, "smoothing": "valid"}),
    Call("ragged", 5, 16_000, lengths=(16_000, 201, 7_777, 0, 16_001)),
    Call("ragged, int16", 3, 16_000, 128, "int16", lengths=(15_999, 480, 3_200)),
    Call("16 blocks each", 9, 16_000),
    Call("8 blocks each", 65, 8_000, 128),
    Call("30 s", 2, 480_000),
    Call("30 s, 128 bands", 2, 480_000, 128),
    Call("30 s, int16, smoothed", 1, 480_000, 80, "int16", {"smoothing": "same"}),
    Call("two sweeps", 1, 800_000),
    Call("two sweeps, smoothed", 1, 800_003, 128, options={"smoothing": "same"}),
    # Other forms, each by a kernel of its own
    Call("fixed", 3, 16_000, options={"maximum": 1.5}),
    Call("fixed, 30 s", 1, 480_000, 128, "int16", {"maximum": 1.5}),
    Call("fixed, ragged", 4, 16_000, 128, "int16", {"maximum": -2.5}, (16_000, 201, 0, 7_777)),
    Call("fixed, float16", 2, 16_160, options={"maximum": 1.5, "dtype": "float16"}),
    Call("fixed, bfloat16", 2, 7_001, 128, options={"maximum": 1.5, "dtype": "bfloat16"}),
    Call("fixed, smoothed", 1, 480_000, 80, "int16", {"maximum": 1.5, "smoothing": "same"}),
    Call("float16", 2, 16_160, options={"dtype": "float16"}),
    Call("float16, 30 s", 2, 480_000, 128, options={"dtype": "float16"}),
    Call("bfloat16, valid", 2, 16_079, 128, options={"dtype": "bfloat16", "smoothing": "valid"}),
    Call("chunks", 2, 800_000, options={"maximum": "chunk"}),
    Call("chunks, ragged", 2, 960_160, 128, "float32", {"maximum": "chunk"}, (960_160, 500_001)),
    Call("chunks, float16", 1, 960_000, options={"maximum": "chunk", "dtype": "float16"}),
)


def possible(call: Call) -> bool:
    """Whether a call is of the scale's size, and NumPy has the type of its features here."""
    if call.options.get("dtype") == "bfloat16" and find_spec("ml_dtypes") is None:
        return False
    return max(call.samples, call.options.get("pad_to", 0)) <= scale().longest


CALLS = tuple(call for call in _ALL if possible(call))
_BY_NAME = {call.name: call for call in CALLS}
SETS = {
    "values": CALLS,
    # For a checker that slows a device down a thousand times
    "short": tuple(it for it in CALLS if max(it.samples, it.options.get("pad_to", 0)) <= 16_100),
    # One that is not there is an error here, not a set that checks less.
    "few": tuple(_BY_NAME[name] for name in ("ragged", "8 blocks each", "fixed", "valid")),
    "one": CALLS[:1],
}
"""Sets of calls that ``exercise`` makes, by name."""


def perform(call: Call, guard: int, stream: int = LEGACY_STREAM) -> tuple[NDArray[Any], list[str]]:
    """Make a call and wait for it; return the features and a sentence for each finding."""
    audio = Memory((call.clips, call.samples), call.dtype, guard).upload(call.audio())
    out = Memory(call.shape, call.features_dtype, guard)
    out.poison()
    lengths = None
    if call.lengths is not None:
        lengths = Memory((call.clips,), np.int64, guard).upload(np.array(call.lengths))
    gpu.log_mel(audio, call.n_mels, lengths=lengths, out=out, stream=stream, **call.options)
    device().wait_for(stream)
    features = out.download()
    findings = [f"audio: {it}" for it in audio.damaged()]
    findings += [f"out: {it}" for it in out.damaged()]
    if not np.array_equal(audio.download(), call.audio()):
        findings.append("the audio was changed")
    bits = bits_of(features)
    omitted = int((bits == bits.dtype.type(POISON & (1 << 8 * bits.itemsize) - 1)).sum())
    if omitted > 0:
        findings.append(f"{omitted} values were not written")
    return features, findings


def bits_of(features: NDArray[Any]) -> NDArray[Any]:
    """Return the features' bits as unsigned integers."""
    return features.view(np.uint16 if features.dtype.itemsize == 2 else np.uint32)


def different_bits(call: Call, features: NDArray[Any]) -> int:
    """Count the values whose bits differ from those that the CPU's kernel computes."""
    different = 0
    for i, n in enumerate(call.lengths or call.clips * (call.samples,)):
        if 201 <= n <= call.samples:
            expected = log_mel(call.audio()[i, :n], call.n_mels, **call.options)
            got = features[i, :, : expected.shape[-1]]
            different += int((bits_of(got) != bits_of(expected)).sum())
    return different


def worst_score(call: Call, features: NDArray[Any]) -> float:
    """Return the worst score of all clips; infinite if a clip that must be NaN is not."""
    options = dict(call.options)
    dtype = options.pop("dtype", "float32")
    spec = WHISPER.replace(n_mels=call.n_mels, **options)
    if call.lengths is None:
        return float(score(features, call.audio(), spec, dtype=dtype))
    possible = [i for i, n in enumerate(call.lengths) if 201 <= n <= call.samples]
    impossible = [i for i in range(call.clips) if i not in possible]
    if not np.isnan(features[impossible].astype(np.float32)).all():
        return float("inf")
    lengths = [call.lengths[i] for i in possible]
    audio = call.audio()[possible]
    return float(score(features[possible], audio, spec, lengths=lengths, dtype=dtype))


def check(call: Call, guard: int = GUARD) -> tuple[str, float, list[str]]:
    """Make a call; return the digest of the features' bits, the worst score, and the findings."""
    features, findings = perform(call, guard)
    worst = worst_score(call, features)
    if not worst <= CLASS_A:
        findings.append(f"worst score {worst:.3g}: expected at most {CLASS_A:g}")
    different = different_bits(call, features)
    if different > 0:
        findings.append(f"{different} values have other bits than the CPU's")
    return digest(features), worst, [f"{call.name}: {it}" for it in findings]


def digest(features: NDArray[Any]) -> str:
    return hashlib.sha256(features.tobytes()).hexdigest()[:16]
