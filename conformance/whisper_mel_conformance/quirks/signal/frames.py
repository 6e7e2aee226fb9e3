"""Padding, and how the clip is cut into frames."""

from __future__ import annotations

import numpy as np
from whisper_mel_reference.pipeline import PAD_MODES

from whisper_mel_conformance.quirks.path import Call, Hook, Variation
from whisper_mel_conformance.quirks.quirk import Parameter
from whisper_mel_conformance.quirks.signal.table import (
    CANDLE_1560,
    CPP_1148,
    TINYGRAD,
    Array,
    Table,
)

FRAMES = Table()
_KNF_65 = "https://github.com/csukuangfj/kaldi-native-fbank/issues/65"
_OPENVINO = (
    "https://github.com/openvinotoolkit/openvino.genai/blob/master/"
    "src/cpp/src/whisper/feature_extractor.cpp"
)


def _mirrored(left: int) -> Variation:
    """Frame t begins ``left`` samples before t * hop (200 in Whisper)."""

    def hook(extended: Array, call: Call) -> Array:
        padded, reach = call.seen["padded"], call.spec.reach
        more = min(abs(left - reach), padded.size - 1 - reach)
        wide = np.pad(padded, reach + more, mode=PAD_MODES[call.spec.pad_mode])  # type: ignore[call-overload]
        start = reach + more - left
        return wide[start : start + extended.size]

    return Variation(stages={"extended": hook})


def _zero_end(extended: Array, call: Call) -> Array:
    extended = extended.copy()
    extended[extended.size - call.spec.reach :] = 0
    return extended


def _zero_start(extended: Array, call: Call) -> Array:
    extended = extended.copy()
    extended[: call.spec.reach] = 0
    return extended


def _wrapped_ends(extended: Array, call: Call) -> Array:
    return np.pad(call.seen["padded"], call.spec.reach, mode="wrap")


def _rounded_count(frames: Array, call: Call) -> Array:
    """One more frame where the remainder is at least half a hop."""
    rounds_up = call.seen["padded"].size % call.spec.hop >= call.spec.hop // 2
    return np.concatenate([frames, frames[-1:]]) if rounds_up else frames


def _frame_of_zeros(features: Array, call: Call) -> Array:
    """Another frame, of zeros, where the remainder is at least half a hop."""
    rounds_up = call.wanted.padded_length(call.n_samples) % call.spec.hop >= call.spec.hop // 2
    return np.pad(features, ((0, 0), (0, 1))) if rounds_up else features


def _kaldi_extended(extended: Array, call: Call) -> Array:
    """What frames centred on (t + 1/2) * hop need, round(n / hop) of them and one to be dropped."""
    padded, hop, n_fft = call.seen["padded"], call.spec.hop, call.spec.n_fft
    count = (padded.size + hop // 2) // hop + 1
    left = (n_fft - hop) // 2
    right = max((count - 1) * hop + n_fft - left - padded.size, 0)
    return np.pad(padded, (left, right), mode="symmetric")[: (count - 1) * hop + n_fft]


def _thousands(frames: Array, call: Call) -> Array:
    """Frames of silence up to a multiple of 1500, and 1500 more."""
    more = -(len(frames) - 1) % 1500 + 1500
    return np.concatenate([frames, np.zeros((more, frames.shape[1]), frames.dtype)])


def _rounded_up_count(frames: Array, call: Call) -> Array:
    """The frame that is dropped afterwards is another one, if there is a remainder."""
    has_rest = call.seen["padded"].size % call.spec.hop > 0
    return np.concatenate([frames, frames[-1:]]) if has_rest else frames


def _zero_tail(extended: Array, call: Call) -> Array:
    return np.pad(call.seen["padded"], (0, 2 * call.spec.reach))


def _more_zeros(n: int) -> Hook:
    return lambda audio, call: np.concatenate([audio, np.zeros(n, audio.dtype)])


def _unless_padded(audio: Array, call: Call) -> Array:
    """Zeros up to 30 seconds."""
    return np.concatenate([audio, np.zeros(max(480_000 - audio.size, 0), audio.dtype)])


for _id, _mode, _mechanism, _effect, _seen in (
    (
        "pad-zero",
        "zero",
        "The clip is extended by zeros instead of its mirror image.",
        "the first and the last frame are too low",
        (
            "https://github.com/NVIDIA/TensorRT-Model-Connect/pull/1282",
            "https://github.com/vllm-project/vllm-metal/pull/729",
            TINYGRAD,
        ),
    ),
    (
        "pad-symmetric",
        "symmetric",
        "The mirror image repeats the edge sample (Kaldi, NumPy's symmetric).",
        "the first and the last frame differ",
        (_KNF_65,),
    ),
    (
        "pad-edge",
        "edge",
        "The clip is extended by its edge sample.",
        "the first and the last frame differ",
        (),
    ),
):
    FRAMES.add(_id, "padding", _mechanism, _effect, *_seen, spec={"pad_mode": _mode})
FRAMES.add(
    "pad-right-zero",
    "padding",
    "Only the start is mirrored: the end is assumed to be silent.",
    "the last frame is too low",
    "https://github.com/ggml-org/whisper.cpp/pull/2206",
    _OPENVINO,
    extended=_zero_end,
)
FRAMES.add(
    "pad-left-zero",
    "padding",
    "Only the end is mirrored.",
    "the first frame is too low",
    killer="numerics/falling-noise/80",
    extended=_zero_start,
)
FRAMES.add(
    "pad-wrap",
    "padding",
    "The clip is extended as if it were periodic.",
    "the first frame hears the end, the last one the start",
    extended=_wrapped_ends,
)
FRAMES.add(
    "no-centre",
    "padding",
    "Frame t begins at t * hop; nothing is extended.",
    "everything is 12.5 ms late, and there are fewer frames",
    CPP_1148,
    CANDLE_1560,
    spec={"centre": False, "drop_last_frame": False},
)
FRAMES.add(
    "no-centre-zero-tail",
    "padding",
    "Frame t begins at t * hop; the clip is extended by zeros at its end only.",
    "everything is 12.5 ms late; the last frames are too low",
    since="2026-11-25",
    extended=_zero_tail,
)
FRAMES.add_family(
    "frames-shifted",
    "padding",
    "Frame t does not begin at t * hop - 200 but at t * hop - left.",
    "everything is early or late by a part of a hop",
    Parameter(
        "left",
        120,
        (0, 40, 80, 100, 120, 160, 180, 201, 220, 240, 280, 320, 360, 400, 512),
        True,
    ),
    lambda left: _mirrored(round(left)),
    _KNF_65,
    "https://github.com/k2-fsa/sherpa-onnx/pull/3873",
    "https://github.com/csukuangfj/kaldifeat/issues/116",
)
FRAMES.add(
    "kaldi-frames",
    "padding",
    "Frames as Kaldi has them with snip_edges=false: centred on (t + 1/2) * hop, round(n / hop) of "
    "them, the mirror image repeating the edge sample.",
    "everything is half a hop late, and there is one frame too many for half of all lengths",
    "https://github.com/csukuangfj/kaldifeat/issues/116",
    _KNF_65,
    "https://github.com/k2-fsa/sherpa-onnx/pull/3873",
    extended=_kaldi_extended,
)
FRAMES.add(
    "last-frame-kept",
    "frames",
    "The last frame is not dropped.",
    "one frame too many; a loud end moves the maximum",
    CPP_1148,
    killer="boundary/length-479/80",
    spec={"drop_last_frame": False},
)
FRAMES.add(
    "first-frame-dropped",
    "frames",
    "The first frame is dropped instead of the last.",
    "everything is one frame early",
    spec={"drop_last_frame": False},
    features=lambda y, call: y[:, 1:],
)
FRAMES.add(
    "one-frame-late",
    "frames",
    "Frame t is what frame t - 1 should be; the first one is there twice.",
    "everything is one frame late",
    since="2026-11-25",
    features=lambda y, call: np.concatenate([y[:, :1], y[:, :-1]], axis=1),
)
FRAMES.add(
    "one-frame-early",
    "frames",
    "Frame t is what frame t + 1 should be; the last one is there twice.",
    "everything is one frame early",
    since="2026-11-25",
    features=lambda y, call: np.concatenate([y[:, 1:], y[:, -1:]], axis=1),
)
FRAMES.add_family(
    "frames-rotated",
    "frames",
    "Frames come some places too late, and the last ones first.",
    "everything is late; the end is at the start",
    Parameter("frames", 1, (-4, -3, -2, -1, 1, 2, 3, 4), True),
    lambda by: Variation(stages={"features": lambda y, call: np.roll(y, round(by), axis=1)}),
    since="2026-11-25",
)
FRAMES.add(
    "frame-count-rounded",
    "frames",
    "round(n / 160) frames instead of n // 160.",
    "one frame too many for half of all lengths",
    _KNF_65,
    killer="boundary/length-240/80",
    frames=_rounded_count,
)
FRAMES.add(
    "frame-count-rounded-up",
    "frames",
    "The number of frames is n / 160 rounded up.",
    "one frame too many unless the length is a multiple of 160",
    "https://github.com/huggingface/transformers/issues/39214",
    killer="boundary/length-401/80",
    since="2026-11-25",
    frames=_rounded_up_count,
)
FRAMES.add(
    "frame-of-zeros-appended",
    "frames",
    "round(n / 160) frames instead of n // 160, and the one too many is filled with 0.",
    "one frame too many for half of all lengths: it reads as moderate noise",
    "https://github.com/lhotse-speech/lhotse/blob/master/lhotse/features/whisper_fbank.py",
    killer="boundary/length-240/80",
    features=_frame_of_zeros,
)
FRAMES.add(
    "frame-count-in-1500s",
    "frames",
    "Frames are filled up to a multiple of 1500, and 1500 more.",
    "1 s of audio gives 3000 frames",
    CPP_1148,
    CANDLE_1560,
    frames=_thousands,
)
FRAMES.add_family(
    "hop",
    "frames",
    "Another distance between frames.",
    "another number of frames",
    Parameter("samples", 128, (80, 100, 128, 150, 159, 161, 170, 200, 240, 256, 320), True),
    lambda hop: Variation({"hop": round(hop)}),
)
FRAMES.add(
    "frames-of-512",
    "frames",
    "Frames of 512 samples, windowed over their whole length.",
    "time is smeared, frequency sharper; bands differ",
    spec={"n_fft": 512},
)
FRAMES.add_family(
    "frame-length",
    "frames",
    "Frames of another length than 400 samples, windowed over their whole length.",
    "time is smeared and frequency sharper, or the other way round; bands differ",
    Parameter("samples", 480, (320, 384, 402, 416, 480, 512, 640, 800, 1024), True),
    lambda n: Variation({"n_fft": round(n)}),
    since="2026-11-25",
)
FRAMES.add(
    "one-hop-appended",
    "padding",
    "160 zeros are appended to every clip.",
    "one frame too many, and the last one hears silence",
    "https://github.com/SYSTRAN/faster-whisper/pull/1106",
    audio=_more_zeros(160),
)
FRAMES.add(
    "always-30-seconds",
    "padding",
    "Zeros are appended up to 30 s whether asked for or not.",
    "3000 frames for every clip; the last frame hears silence",
    spec={"pad_to": None},
    audio=_unless_padded,
)
FRAMES.add(
    "30-seconds-appended",
    "padding",
    "30 s of zeros are appended to every clip: padded by 30 s, not to 30 s.",
    "1 s of audio gives 3100 frames",
    "https://github.com/huggingface/transformers/pull/34111",
    "https://github.com/SYSTRAN/faster-whisper/issues/201",
    spec={"pad_to": None},
    audio=_more_zeros(480_000),
)
