"""Quirks of clips that end before the batch does: masks, lengths, padding."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from whisper_mel_conformance.quirks.table import Array, Table, right

LENGTHS = Table("batch")
_SINCE = "2026-11-27"


class Counting:
    """A right front-end that says how many frames are valid: what the quirks below spoil."""

    capabilities: ClassVar[dict[str, Any]] = {"batch": True}

    def log_mel(self, audio: Array, n_mels: int = 80) -> Array:
        """Compute float32 features."""
        return right(audio, n_mels)

    def with_lengths(self, audio: Array, lengths: list[int], n_mels: int = 80) -> tuple[Array, Any]:
        """Return the features of a batch, and the number of valid frames of each clip."""
        return self.features(audio, lengths, n_mels), self.frames(lengths, audio.shape[1])

    def features(self, audio: Array, lengths: list[int], n_mels: int) -> Array:
        """Compute the features of clips with zeros behind them."""
        return right(audio, n_mels)

    def frames(self, lengths: list[int], n: int) -> Any:
        """Return the numbers of valid frames."""
        return np.array(lengths) // 160


@LENGTHS.front_end(
    "mask-of-samples",
    "The mask counts samples, and is read as one of frames.",
    "every frame is valid, and more than there are",
    "https://github.com/Blaizzy/mlx-vlm/issues/1620",
    fix="Take the mask of every 160th sample: `mask[:, ::160]`, or count `n // 160` frames.",
    killer="lengths/three/80",
    since=_SINCE,
)
class MaskOfSamples(Counting):
    def frames(self, lengths: list[int], n: int) -> Any:
        return np.array(lengths)


@LENGTHS.front_end(
    "all-frames-valid",
    "All frames of a batch are said to be valid.",
    "the model hears the padding as speech",
    fix="Count the frames of each clip: `lengths // 160`.",
    killer="lengths/three/80",
    since=_SINCE,
)
class AllFramesValid(Counting):
    def frames(self, lengths: list[int], n: int) -> Any:
        return np.full(len(lengths), n // 160)


@LENGTHS.front_end(
    "lengths-rounded-up",
    "A clip of n samples is said to have (n + 159) // 160 frames, also without padding.",
    "one frame more than there are",
    fix="Without padding there are `n // 160` frames: the last one is dropped.",
    killer="lengths/alone/80",
    since=_SINCE,
)
class LengthsRoundedUp(Counting):
    def frames(self, lengths: list[int], n: int) -> Any:
        return (np.array(lengths) + 159) // 160


@LENGTHS.front_end(
    "odd-frame-dropped",
    "An odd number of frames is made even by dropping the last one.",
    "the last 10 ms of every second clip are lost",
    fix="Keep all `n // 160` frames; an encoder that takes pairs has to pad.",
    killer="lengths/odd-numbers-of-frames/80",
    since=_SINCE,
)
class OddFrameDropped(Counting):
    def frames(self, lengths: list[int], n: int) -> Any:
        return np.array(lengths) // 160 // 2 * 2


@LENGTHS.front_end(
    "batch-padded-on-the-left",
    "The zeros of a batch come before its clips.",
    "everything is late, and the mask's first frames are silence",
    "https://github.com/unslothai/unsloth/pull/6157",
    fix="Zeros follow the clip: `np.pad(x, (0, n - len(x)))`; check `padding_side`.",
    killer="lengths/three/80",
    since=_SINCE,
)
class BatchPaddedOnTheLeft(Counting):
    def features(self, audio: Array, lengths: list[int], n_mels: int) -> Array:
        moved = [np.roll(clip, len(clip) - n) for clip, n in zip(audio, lengths, strict=True)]
        return right(np.stack(moved), n_mels)


@LENGTHS.front_end(
    "mask-of-the-left",
    "The mask has the valid frames at its end, the clips are at the beginning.",
    "the model hears the padding, and not the clip",
    "https://github.com/unslothai/unsloth/pull/6157",
    fix="The valid frames are the first ones: `np.arange(n_frames) < lengths[:, None] // 160`.",
    killer="lengths/three/80",
    since=_SINCE,
)
class MaskOfTheLeft(Counting):
    def frames(self, lengths: list[int], n: int) -> Any:
        counts = np.array(lengths)[:, np.newaxis] // 160
        return np.arange(n // 160)[::-1] < counts


@LENGTHS.front_end(
    "zeros-behind-a-clip",
    "Frames behind a clip are 0, filled in after the logarithm.",
    "silence reads as half loud",
    "https://github.com/SYSTRAN/faster-whisper/pull/1084",
    fix="Pad the samples before the transform, not the features: `np.pad(x, (0, n - len(x)))`.",
    killer="lengths/three/80",
    since=_SINCE,
)
class ZerosBehindAClip(Counting):
    def features(self, audio: Array, lengths: list[int], n_mels: int) -> Array:
        y = right(audio, n_mels)
        for row, n in zip(y, lengths, strict=True):
            row[:, n // 160 + 2 :] = 0
        return y


@LENGTHS.front_end(
    "frames-to-a-multiple",
    "Features are filled up to a multiple of 8 frames, which count as valid (pad_to_multiple_of).",
    "up to seven frames more",
    fix="Give `n // 160` frames; where a multiple is needed, pad the samples, and do not count "
    "those.",
    killer="lengths/alone/80",
    since=_SINCE,
)
class FramesToAMultiple(Counting):
    def features(self, audio: Array, lengths: list[int], n_mels: int) -> Array:
        y = right(audio, n_mels)
        return np.pad(y, ((0, 0), (0, 0), (0, -y.shape[2] % 8)))

    def frames(self, lengths: list[int], n: int) -> Any:
        return -(-(np.array(lengths) // 160) // 8) * 8
