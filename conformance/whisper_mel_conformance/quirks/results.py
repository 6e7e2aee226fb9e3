"""Quirks of features that are spoiled at some sizes, or returned as another type."""

from __future__ import annotations

import itertools
import time

import numpy as np

from whisper_mel_conformance.quirks.signal.common import CLAMPED, MIRRORED
from whisper_mel_conformance.quirks.table import Array, Table, right

FRAMES, FILTERBANK, SHAPE = Table("frames"), Table("filterbank"), Table("shape")


@FRAMES.front_end(
    "last-frame-off",
    "The last frame is off by 1e-3: a tail that is computed elsewhere.",
    "1e-3 in one frame",
    fix="Compute the rest behind the last whole tile as every other frame: compare the "
    "branch for the tail with the loop.",
    killer="boundary/length-400/80",
)
def last_frame_off(audio: Array, n_mels: int = 80) -> Array:
    y = right(audio, n_mels)
    y[:, -1] += 1e-3
    return y


@FRAMES.front_end(
    "13-frames-wrong",
    "Clips of 13 frames are wrong: an edge of a tile.",
    "only at that length",
    fix="Look at the edge of the tile for this number of frames: a loop bound, or a "
    "rest that has a path of its own.",
    killer="boundary/every-frame-count/80",
)
def thirteen_frames_wrong(audio: Array, n_mels: int = 80) -> Array:
    y = right(audio, n_mels)
    return y[:, ::-1] if y.shape[1] == 13 else y


@FRAMES.front_end(
    "remainder-159-wrong",
    "Clips whose length is 159 beyond a hop are wrong.",
    "only at those lengths",
    fix="Look at how the end of the clip is mirrored if it is one sample short of a hop.",
    killer="boundary/every-remainder/80",
)
def remainder_159_wrong(audio: Array, n_mels: int = 80) -> Array:
    return right(audio, n_mels) + np.float32(0.01 * (len(audio) % 160 == 159))


@FRAMES.front_end(
    "other-dtypes-remainder-80-wrong",
    "Clips of int16 or float64 whose length is 80 beyond a hop are wrong.",
    "only at those lengths, where audio is not float32",
    fix="Look at how many frames the path of each dtype counts: `n // 160`, for half a hop, too.",
    killer="boundary/any-remainder-int16/80",
    since="2026-11-28",
)
class OtherDtypesRemainder80Wrong:
    capabilities = {"dtypes": ("float32", "float64", "int16"), "n_mels": (80, 128)}

    def log_mel(self, audio: Array, n_mels: int = 80) -> Array:
        is_wrong = audio.dtype != np.float32 and len(audio) % 160 == 80
        return right(audio, n_mels) + np.float32(0.01 * is_wrong)


@FILTERBANK.front_end(
    "128-bands-wrong",
    "Only 80 bands were ever tried.",
    "128 bands are off",
    "https://github.com/ggml-org/whisper.cpp/pull/1457",
    "https://github.com/microsoft/onnxruntime/pull/25675",
    fix="Make a bank for each number of bands: `librosa.filters.mel(sr=16000, "
    "n_fft=400, n_mels=n_mels)`; look for a constant 80.",
    killer="boundary/length-400/128",
)
def bands_128_wrong(audio: Array, n_mels: int = 80) -> Array:
    return right(audio, n_mels) + np.float32(1e-3 * (n_mels == 128))


@FRAMES.front_end(
    "two-seconds-wrong",
    "Clips of about 2 s are wrong: an edge of a tile.",
    "only at those lengths",
    fix="Look at sizes of about 2 s: the edge of a tile, or a buffer that is too small for it.",
    killer="boundary/lengths-up-to-3-seconds/80",
)
def two_seconds_wrong(audio: Array, n_mels: int = 80) -> Array:
    return right(audio, n_mels) + np.float32(0.01 * (31_000 < len(audio) < 32_000))


@FRAMES.front_end(
    "first-frame-repeated",
    "Frames after 30 s are copies of the first.",
    "long clips are off",
    fix="Advance the read position after the first 30 s, too: look for a window of 3000"
    " frames that is not moved on.",
    killer="boundary/61-seconds/80",
)
def first_frame_repeated(audio: Array, n_mels: int = 80) -> Array:
    y = right(audio, n_mels)
    y[:, 3000:] = y[:, :1]
    return y


@FRAMES.front_end(
    "30-seconds-at-a-time",
    "Each 30 s are computed as a clip of their own, with a maximum and mirrored ends of their own.",
    "frames at multiples of 30 s, and what is quiet beside something loud",
    fix=f"Mirror the ends of the clip only: {MIRRORED}. A part reads 200 samples of its "
    f"neighbours, and all parts have one maximum: {CLAMPED}.",
    killer="boundary/61-seconds/80",
    since="2026-11-27",
)
def thirty_seconds_at_a_time(audio: Array, n_mels: int = 80) -> Array:
    if len(audio) < 480_000 + 201:
        return right(audio, n_mels)
    edges = [*range(0, len(audio) - 201, 480_000), len(audio)]
    parts = [right(audio[a:b], n_mels) for a, b in itertools.pairwise(edges)]
    return np.concatenate(parts, axis=1)


@FRAMES.front_end(
    "maximum-of-2-to-the-21-samples",
    "Values are clipped to the maximum of the first 2^21 samples.",
    "what is loud after two minutes",
    fix="Take the maximum of all frames: look for a table or a counter with a fixed size.",
    killer="boundary/2-to-the-21",
    since="2026-11-27",
)
def maximum_of_2_to_the_21_samples(audio: Array, n_mels: int = 80) -> Array:
    y = right(audio, n_mels)
    time.sleep(len(audio) / 16_000 * 0.006)  # slow enough not to be asked for longer ones
    top = y[:, : (1 << 21) // 160].max()
    return y if len(audio) <= 1 << 21 else np.minimum(y, top)


@FRAMES.front_end(
    "positions-in-20-bits",
    "Samples are counted in 20 bits where they are not float32, and for more than 80 bands.",
    "what comes after a minute of int16 or float64 audio, or of 128 bands",
    fix="Count samples and frames in 64 bits on every path: `size_t`, not `short` or `float`.",
    killer="boundary/2-to-the-21-int16",
    since="2026-11-28",
)
class PositionsIn20Bits:
    capabilities = {"dtypes": ("float32", "float64", "int16"), "n_mels": (80, 128)}

    def log_mel(self, audio: Array, n_mels: int = 80) -> Array:
        if audio.dtype != np.float32 or n_mels > 80:
            audio = audio[np.arange(audio.size) % (1 << 20)]
        return right(audio, n_mels)


@FRAMES.front_end(
    "cut-to-30-seconds",
    "Audio after 30 s is cut off without being asked.",
    "3000 frames at most",
    fix="Give all frames; cut only if asked to: remove `x[:480_000]`.",
    killer="boundary/61-seconds/80",
)
def cut_to_30_seconds(audio: Array, n_mels: int = 80) -> Array:
    return right(audio, n_mels)[:, :3000]


@SHAPE.front_end(
    "float64-features",
    "Features are float64.",
    "another dtype",
    fix="Return float32: `y.astype(np.float32)`.",
    killer="boundary/length-401/80",
)
def float64_features(audio: Array, n_mels: int = 80) -> Array:
    return right(audio, n_mels).astype(np.float64)


@SHAPE.front_end(
    "list-of-lists",
    "Features are a list of lists.",
    "no array",
    fix="Return an array: `np.asarray(y, np.float32)`.",
    killer="boundary/length-401/80",
)
def list_of_lists(audio: Array, n_mels: int = 80) -> Array:
    return right(audio, n_mels).tolist()


@SHAPE.front_end(
    "all-zero",
    "Features are all zero: a launch that failed silently.",
    "nothing was computed",
    "https://github.com/ggml-org/whisper.cpp/issues/2226",
    fix="Check the status of the launch or call, and that its result is copied back. C:"
    " `if (cudaGetLastError() != cudaSuccess) return -1;`.",
    killer="boundary/length-401/80",
)
def all_zero(audio: Array, n_mels: int = 80) -> Array:
    return np.zeros_like(right(audio, n_mels))
