"""Quirks of cutting a clip into frames."""

from __future__ import annotations

import numpy as np

from whisper_mel_conformance.quirks.path import Call, Variation
from whisper_mel_conformance.quirks.quirk import Parameter
from whisper_mel_conformance.quirks.signal.common import (
    CANDLE_1560,
    CPP_1148,
    KNF_65,
    WENET_2320,
    Array,
)
from whisper_mel_conformance.quirks.table import Table

FRAMES = Table("frames")


def _emphasised_frames(coefficient: float) -> Variation:
    def hook(frames: Array, call: Call) -> Array:
        before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        return frames - frames.dtype.type(coefficient) * before

    return Variation(stages={"frames": hook})


def _rounded_count(frames: Array, call: Call) -> Array:
    """Append another frame where the remainder is at least half a hop."""
    rounds_up = call.seen["padded"].size % call.spec.hop >= call.spec.hop // 2
    return np.concatenate([frames, frames[-1:]]) if rounds_up else frames


def _frame_of_zeros(features: Array, call: Call) -> Array:
    """Append a frame of zeros where the remainder is at least half a hop."""
    rounds_up = call.seen["padded"].size % call.spec.hop >= call.spec.hop // 2
    return np.pad(features, ((0, 0), (0, 1))) if rounds_up else features


def _thousands(frames: Array, call: Call) -> Array:
    """Append frames of silence up to a multiple of 1500, and 1500 more."""
    more = -(len(frames) - 1) % 1500 + 1500
    return np.concatenate([frames, np.zeros((more, frames.shape[1]), frames.dtype)])


def _rounded_up_count(frames: Array, call: Call) -> Array:
    """Append a frame, which is dropped afterwards instead of the last, if there is a remainder."""
    has_rest = call.seen["padded"].size % call.spec.hop > 0
    return np.concatenate([frames, frames[-1:]]) if has_rest else frames


FRAMES.add(
    "mean-removed-per-frame",
    "Each frame's mean is subtracted (Kaldi's remove_dc_offset).",
    "the lowest bands lose energy",
    WENET_2320,
    fix="Keep each frame's mean: `remove_dc_offset=False`.",
    frames=lambda frames, call: frames - frames.mean(axis=1, keepdims=True),
)
FRAMES.add_family(
    "pre-emphasis-per-frame",
    "Each frame is pre-emphasised: x[t] - c x[t-1], its first sample less c times itself (Kaldi).",
    "low bands are lower, high bands higher",
    Parameter("coefficient", 0.97, (0.1, 0.5, 0.9, 0.95, 0.97, 0.98, 1.0)),
    _emphasised_frames,
    WENET_2320,
    fix="Remove the filter: `preemphasis_coefficient=0.0`.",
    since="2026-11-25",
)
FRAMES.add(
    "last-frame-kept",
    "The last frame is not dropped.",
    "one frame too many; a loud end moves the maximum",
    CPP_1148,
    fix="Drop the last frame before the maximum is taken: `mel = mel[:, :-1]`, of shape (bands, "
    "frames).",
    killer="boundary/length-479/80",
    spec={"drop_last_frame": False},
)
FRAMES.add(
    "first-frame-dropped",
    "The first frame is dropped instead of the last.",
    "everything is one frame early",
    fix="Drop the last frame, not the first: `mel = mel[:, :-1]`, of shape (bands, frames).",
    spec={"drop_last_frame": False},
    features=lambda y, call: y[:, 1:],
)
FRAMES.add(
    "one-frame-late",
    "Frame t is what frame t - 1 should be; the first one is there twice.",
    "everything is one frame late",
    fix="Begin with the frame at sample -200 of the clip (0 of the mirrored one), and "
    "count frames from 0.",
    since="2026-11-25",
    features=lambda y, call: np.concatenate([y[:, :1], y[:, :-1]], axis=1),
)
FRAMES.add(
    "one-frame-early",
    "Frame t is what frame t + 1 should be; the last one is there twice.",
    "everything is one frame early",
    fix="Begin with the frame at sample -200 of the clip (0 of the mirrored one), and "
    "count frames from 0.",
    since="2026-11-25",
    features=lambda y, call: np.concatenate([y[:, 1:], y[:, -1:]], axis=1),
)
FRAMES.add_family(
    "frames-rotated",
    "Frames come some places too late, and the last ones first.",
    "everything is late; the end is at the start",
    Parameter("frames", 1, (-4, -3, -2, -1, 1, 2, 3, 4), True),
    lambda by: Variation(stages={"features": lambda y, call: np.roll(y, round(by), axis=1)}),
    fix="Write frame t to column t: check the index of a ring buffer or of `np.roll`.",
    since="2026-11-25",
)
FRAMES.add(
    "frame-count-rounded",
    "There are round(n / 160) frames instead of n // 160.",
    "one frame too many for half of all lengths",
    KNF_65,
    fix="Round down: `n_frames = len(x) // 160`.",
    killer="boundary/length-240/80",
    frames=_rounded_count,
)
FRAMES.add(
    "frame-count-rounded-up",
    "The number of frames is n / 160 rounded up.",
    "one frame too many unless the length is a multiple of 160",
    "https://github.com/huggingface/transformers/issues/39214",
    fix="Round down: `n_frames = len(x) // 160`, without the last frame of the transform.",
    killer="boundary/length-401/80",
    since="2026-11-25",
    frames=_rounded_up_count,
)
FRAMES.add(
    "frame-of-zeros-appended",
    "There are round(n / 160) frames instead of n // 160; the one too many is filled with 0.",
    "one frame too many for half of all lengths: it reads as moderate noise",
    "https://github.com/lhotse-speech/lhotse/blob/master/lhotse/features/whisper_fbank.py",
    fix="Round down: `n_frames = len(x) // 160`, and append no frame.",
    killer="boundary/length-240/80",
    features=_frame_of_zeros,
)
FRAMES.add(
    "frame-count-in-1500s",
    "Frames are filled up to a multiple of 1500, and 1500 more.",
    "1 s of audio gives 3000 frames",
    CPP_1148,
    CANDLE_1560,
    fix="Give as many frames as the clip has, `len(x) // 160`; pad the samples to 30 s "
    "only if asked to.",
    frames=_thousands,
)
FRAMES.add_family(
    "hop",
    "Frames are another distance apart than 160 samples.",
    "another number of frames",
    Parameter("samples", 128, (80, 100, 128, 150, 159, 161, 170, 200, 240, 256, 320), True),
    lambda hop: Variation({"hop": round(hop)}),
    fix="Advance by 160 samples, 10 ms: `hop_length=160`.",
)
FRAMES.add(
    "frames-of-512",
    "Frames of 512 samples, windowed over their whole length.",
    "time is smeared, frequency sharper; bands differ",
    fix="Frames have 400 samples: `n_fft=400`, `win_length=400`. If the transform must "
    "be longer, window 400 samples and use its bins at multiples of 40 Hz.",
    spec={"n_fft": 512},
)
FRAMES.add_family(
    "frame-length",
    "Frames of another length than 400 samples, windowed over their whole length.",
    "time is smeared and frequency sharper, or the other way round; bands differ",
    Parameter("samples", 480, (320, 384, 402, 416, 480, 512, 640, 800, 1024), True),
    lambda n: Variation({"n_fft": round(n)}),
    fix="Frames have 400 samples, 25 ms: `n_fft=400`, `win_length=400`.",
    since="2026-11-25",
)
