"""Quirks of extending a clip: at both of its ends, and to a length."""

from __future__ import annotations

import numpy as np
from whisper_mel_reference.pipeline import PAD_MODES

from whisper_mel_conformance.quirks.path import Call, Hook, Variation
from whisper_mel_conformance.quirks.quirk import Parameter
from whisper_mel_conformance.quirks.signal.common import (
    CANDLE_1560,
    CPP_1148,
    KNF_65,
    MIRRORED,
    TINYGRAD,
    Array,
)
from whisper_mel_conformance.quirks.table import Table

PADDING = Table("padding")
_OPENVINO = (
    "https://github.com/openvinotoolkit/openvino.genai/blob/master/"
    "src/cpp/src/whisper/feature_extractor.cpp"
)


def _mirrored(left: int) -> Variation:
    """Begin frame t ``left`` samples before t * hop (200 in Whisper)."""

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


def _kaldi_extended(extended: Array, call: Call) -> Array:
    """Extend for frames centred on (t + 1/2) * hop: round(n / hop), and one to be dropped."""
    padded, hop, n_fft = call.seen["padded"], call.spec.hop, call.spec.n_fft
    count = (padded.size + hop // 2) // hop + 1
    left = (n_fft - hop) // 2
    right = max((count - 1) * hop + n_fft - left - padded.size, 0)
    return np.pad(padded, (left, right), mode="symmetric")[: (count - 1) * hop + n_fft]


def _zero_tail(extended: Array, call: Call) -> Array:
    return np.pad(call.seen["padded"], (0, 2 * call.spec.reach))


def _more_zeros(n: int) -> Hook:
    return lambda audio, call: np.concatenate([audio, np.zeros(n, audio.dtype)])


def _unless_padded(audio: Array, call: Call) -> Array:
    """Append zeros up to 30 seconds."""
    return np.concatenate([audio, np.zeros(max(480_000 - audio.size, 0), audio.dtype)])


def _zeros_first(audio: Array, call: Call) -> Array:
    return np.pad(audio, (max((call.wanted.pad_to or 0) - audio.size, 0), 0))


def _exact_fit_padded(audio: Array, call: Call) -> Array:
    more = (call.wanted.pad_to or audio.size) - audio.size
    return np.pad(audio, (0, call.spec.hop if more == 0 and call.wanted.pad_to else max(more, 0)))


PADDING.add(
    "pad-zero",
    "The clip is extended by zeros instead of its mirror image.",
    "the first and the last frame are too low",
    "https://github.com/NVIDIA/TensorRT-Model-Connect/pull/1282",
    "https://github.com/vllm-project/vllm-metal/pull/729",
    TINYGRAD,
    fix='Mirror both ends: `torch.stft(x, 400, 160, center=True, pad_mode="reflect", '
    f"return_complex=True)`, {MIRRORED}.",
    spec={"pad_mode": "zero"},
)
PADDING.add(
    "pad-symmetric",
    "The mirror image repeats the edge sample (Kaldi, NumPy's symmetric).",
    "the first and the last frame differ",
    KNF_65,
    fix=f"Mirror without repeating the edge sample: {MIRRORED}. C: `padded[199 - i] = x[i + 1]`.",
    spec={"pad_mode": "symmetric"},
)
PADDING.add(
    "pad-edge",
    "The clip is extended by its edge sample.",
    "the first and the last frame differ",
    fix=f"Mirror both ends instead of repeating the edge: {MIRRORED}.",
    spec={"pad_mode": "edge"},
)
PADDING.add(
    "pad-right-zero",
    "Only the start is mirrored: the end is assumed to be silent.",
    "the last frame is too low",
    "https://github.com/ggml-org/whisper.cpp/pull/2206",
    _OPENVINO,
    fix=f"Mirror the end, too: {MIRRORED}. Zeros follow the clip only where it is padded.",
    extended=_zero_end,
)
PADDING.add(
    "pad-left-zero",
    "Only the end is mirrored.",
    "the first frame is too low",
    fix=f"Mirror the start, too: {MIRRORED}.",
    killer="numerics/falling-noise/80",
    extended=_zero_start,
)
PADDING.add(
    "pad-wrap",
    "The clip is extended as if it were periodic.",
    "the first frame hears the end, the last one the start",
    fix=f"Mirror both ends instead of wrapping round: {MIRRORED}.",
    extended=_wrapped_ends,
)
PADDING.add(
    "no-centre",
    "Frame t begins at t * hop; nothing is extended.",
    "everything is 12.5 ms late, and there are fewer frames",
    CPP_1148,
    CANDLE_1560,
    fix="Extend the clip by 200 mirrored samples on both sides first: `torch.stft(x, "
    f"400, 160, center=True, return_complex=True)`, {MIRRORED}.",
    spec={"centre": False, "drop_last_frame": False},
)
PADDING.add(
    "no-centre-zero-tail",
    "Frame t begins at t * hop; the clip is extended by zeros at its end only.",
    "everything is 12.5 ms late; the last frames are too low",
    fix=f"Centre the frames: 200 mirrored samples on both sides, no zeros at the end: {MIRRORED}.",
    since="2026-11-25",
    extended=_zero_tail,
)
PADDING.add_family(
    "frames-shifted",
    "Frame t does not begin at t * hop - 200 but at t * hop - left.",
    "everything is early or late by a part of a hop",
    Parameter(
        "left",
        120,
        (0, 40, 80, 100, 120, 160, 180, 201, 220, 240, 280, 320, 360, 400, 512),
        True,
    ),
    lambda left: _mirrored(round(left)),
    KNF_65,
    "https://github.com/k2-fsa/sherpa-onnx/pull/3873",
    "https://github.com/csukuangfj/kaldifeat/issues/116",
    fix=f"Frame t begins at 160 t - 200: {MIRRORED}, then frames from sample 0 on.",
)
PADDING.add(
    "kaldi-frames",
    "Frames as Kaldi has them with snip_edges=false: centred on (t + 1/2) * hop, round(n / hop) of "
    "them, the mirror image repeating the edge sample.",
    "everything is half a hop late, and there is one frame too many for half of all lengths",
    "https://github.com/csukuangfj/kaldifeat/issues/116",
    KNF_65,
    "https://github.com/k2-fsa/sherpa-onnx/pull/3873",
    fix="Take frames that are centred on 160 t, n // 160 of them, of the clip that is "
    f"mirrored without its edge sample: {MIRRORED}. Kaldi's `snip_edges` has no such"
    " value.",
    extended=_kaldi_extended,
)
PADDING.add(
    "one-hop-appended",
    "160 zeros are appended to every clip.",
    "one frame too many, and the last one hears silence",
    "https://github.com/SYSTRAN/faster-whisper/pull/1106",
    fix="Do not append zeros; drop the last frame instead: `y = y[:, :-1]`.",
    audio=_more_zeros(160),
)
PADDING.add(
    "always-30-seconds",
    "Zeros are appended up to 30 s whether asked for or not.",
    "3000 frames for every clip; the last frame hears silence",
    fix="Pad to 30 s only if asked to, before the transform: `np.pad(x, (0, 480_000 - len(x)))`.",
    spec={"pad_to": None},
    audio=_unless_padded,
)
PADDING.add(
    "30-seconds-appended",
    "30 s of zeros are appended to every clip: padded by 30 s, not to 30 s.",
    "1 s of audio gives 3100 frames",
    "https://github.com/huggingface/transformers/pull/34111",
    "https://github.com/SYSTRAN/faster-whisper/issues/201",
    fix="Pad up to 30 s, not by 30 s: `np.pad(x, (0, max(480_000 - len(x), 0)))`.",
    spec={"pad_to": None},
    audio=_more_zeros(480_000),
)
PADDING.add(
    "padded-on-the-left",
    "The zeros up to pad_to come before the clip.",
    "everything is late",
    fix="Zeros follow the clip: `np.pad(x, (0, pad_to - len(x)))`.",
    killer="boundary/pad-16000-to-20000/80",
    since="2026-11-27",
    spec={"pad_to": None},
    audio=_zeros_first,
)
PADDING.add(
    "exact-fit-padded",
    "A clip that is as long as pad_to gets a hop of zeros nevertheless.",
    "one frame too many at that length",
    fix="Append pad_to - n zeros, which may be none: `np.pad(x, (0, pad_to - len(x)))`.",
    killer="boundary/pad-400-to-400/80",
    since="2026-11-27",
    spec={"pad_to": None},
    audio=_exact_fit_padded,
)


def _chunk_edges(frames: Array, call: Call) -> Array:
    """Mirror the ends of each chunk of 30 s, as if it were a clip: in the frames that see them."""
    padded, reach, hop = call.seen["padded"], call.spec.reach, call.spec.hop
    each = call.spec.chunk_frames
    frames = np.array(frames)
    for start in range(0, len(frames), each):
        samples = padded[start * hop : (start + each) * hop]
        if samples.size <= reach or samples.size == padded.size:
            continue
        extended = np.pad(samples, reach, mode="reflect")
        own = np.lib.stride_tricks.sliding_window_view(extended, call.spec.n_fft)[::hop][:each]
        frames[start : start + len(own)] = own[: len(frames) - start]
    return frames


PADDING.add(
    "edges-of-30-seconds",
    "The ends of each 30 s are mirrored, as if they were a clip; the maximum is the whole clip's.",
    "two frames at each multiple of 30 s",
    "https://github.com/ggml-org/llama.cpp/issues/25496",
    fix=f"Mirror the ends of the clip only: {MIRRORED}. A part reads 200 samples of its "
    "neighbours.",
    killer="boundary/61-seconds/80",
    since="2026-11-27",
    frames=_chunk_edges,
)
