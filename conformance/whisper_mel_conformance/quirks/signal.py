"""Quirks of the signal path: each a variation of the reference, so that a failing front-end can be
compared with it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import mel_filterbank
from whisper_mel_reference.filterbank import hz_to_mel, mel_to_hz
from whisper_mel_reference.pipeline import PAD_MODES

from whisper_mel_conformance.quirks.path import Call, Hook, Variation
from whisper_mel_conformance.quirks.quirk import Parameter, Quirk

Array = NDArray[Any]

SIGNAL: list[Quirk] = []
_SINCE = "2026-11-24"
_SINCE_25 = "2026-11-25"
_RISING = "numerics/rising-noise/80"

_CPP_1148 = "https://github.com/ggml-org/whisper.cpp/pull/1148"
_CANDLE_1560 = "https://github.com/huggingface/candle/pull/1560"
_WENET_2320 = "https://github.com/wenet-e2e/wenet/pull/2320"
_ELBRUNO_6 = "https://github.com/elbruno/ElBruno.Whisper/pull/6"
_KNF_65 = "https://github.com/csukuangfj/kaldi-native-fbank/issues/65"
_TINYGRAD = "https://github.com/tinygrad/tinygrad/commit/9ffa1eb7e2"
_ORT_EXTENSIONS = "https://github.com/microsoft/onnxruntime-extensions/pull/969"
_OPENVINO = (
    "https://github.com/openvinotoolkit/openvino.genai/blob/master/"
    "src/cpp/src/whisper/feature_extractor.cpp"
)
_FASTER_1084 = "https://github.com/SYSTRAN/faster-whisper/pull/1084"


def _add(
    id: str,
    kind: str,
    mechanism: str,
    effect: str,
    *seen: str,
    killer: str = _RISING,
    since: str = _SINCE,
    spec: dict[str, Any] | None = None,
    fft_size: int | None = None,
    **stages: Hook,
) -> None:
    variation = Variation(spec or {}, stages, fft_size)
    SIGNAL.append(Quirk(id, kind, mechanism, effect, killer, seen, since, lambda: variation))


def _add_family(
    id: str,
    kind: str,
    mechanism: str,
    effect: str,
    parameter: Parameter,
    vary: Any,
    *seen: str,
    killer: str = _RISING,
    since: str = _SINCE,
) -> None:
    """A quirk with a parameter."""
    quirk = Quirk(id, kind, mechanism, effect, killer, seen, since, vary, parameter=parameter)
    SIGNAL.append(quirk)


def _grid(*values: float) -> tuple[float, ...]:
    return values


def _rounded_to_half(values: Array, call: Call) -> Array:
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(values.dtype)


def _kept_bits(values: Array, dropped: int) -> Array:
    """Float32 values without their last bits, rounded to nearest, half to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    odd = bits >> np.uint64(dropped) & np.uint64(1)
    bits += np.uint64((1 << (dropped - 1)) - 1) + odd
    bits = bits >> np.uint64(dropped) << np.uint64(dropped)
    return bits.astype(np.uint32).view(np.float32).astype(values.dtype)


# --------------------------------------------------------------------------- input


def _pcm16(audio: Array, call: Call) -> Array:
    whole = np.clip(np.rint(audio * 32768.0), -32768, 32767)
    return whole.astype(audio.dtype) / audio.dtype.type(32768.0)


def _truncated(divisor: float) -> Variation:
    def hook(audio: Array, call: Call) -> Array:
        # In float32, as such code has it: the product is rounded before it is truncated.
        whole = np.trunc(np.asarray(audio, np.float32) * np.float32(32767.0))
        return np.clip(whole, -32768, 32767).astype(audio.dtype) / audio.dtype.type(divisor)

    return Variation(stages={"audio": hook})


def _truncated_and_wrapped(factor: float) -> Variation:
    def hook(audio: Array, call: Call) -> Array:
        whole = np.trunc(np.asarray(audio, np.float32) * np.float32(factor))
        return _wrapped_to_16_bits(whole).astype(audio.dtype) / audio.dtype.type(32768.0)

    return Variation(stages={"audio": hook})


def _wrapped(audio: Array, call: Call) -> Array:
    scaled = np.rint(np.asarray(audio, np.float64) * 32768.0)
    return _wrapped_to_16_bits(scaled).astype(audio.dtype) / audio.dtype.type(32768.0)


def _wrapped_to_16_bits(whole: Array) -> Array:
    return np.asarray((whole + 32768.0) % 65536.0 - 32768.0)


def _delayed(by: int) -> Variation:
    def hook(audio: Array, call: Call) -> Array:
        if by > 0:
            return np.pad(audio, (by, 0))[: audio.size]
        return np.pad(audio, (0, -by))[-by:]

    return Variation(stages={"audio": hook})


def _int16_times(factor: float) -> Hook:
    """Only int16 audio is scaled."""
    return lambda audio, call: audio * audio.dtype.type(factor if call.dtype == np.int16 else 1.0)


def _emphasised(coefficient: float) -> Variation:
    def hook(audio: Array, call: Call) -> Array:
        return np.concatenate([audio[:1], audio[1:] - audio.dtype.type(coefficient) * audio[:-1]])

    return Variation(stages={"audio": hook})


def _emphasised_frames(coefficient: float) -> Variation:
    def hook(frames: Array, call: Call) -> Array:
        before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        return frames - frames.dtype.type(coefficient) * before

    return Variation(stages={"frames": hook})


def _peak_normalised(audio: Array, call: Call) -> Array:
    return audio / max(np.abs(audio).max(), np.finfo(audio.dtype).tiny)


def _levelled(rms: float) -> Variation:
    def hook(audio: Array, call: Call) -> Array:
        level = np.sqrt(np.square(audio).mean())
        return audio * (audio.dtype.type(rms) / max(level, np.finfo(audio.dtype).tiny))

    return Variation(stages={"audio": hook})


def _unit_variance(audio: Array, call: Call) -> Array:
    return (audio - audio.mean()) / np.sqrt(audio.var() + audio.dtype.type(1e-7))


_add(
    "clipped-input",
    "input",
    "Samples are clipped to -1 … 1.",
    "float audio above full scale is distorted; nothing else shows it",
    killer="numerics/rising-noise-e3/80",
    audio=lambda audio, call: np.clip(audio, -1, 1),
)
_add(
    "quantised-input",
    "input",
    "Samples take a detour through 16-bit integers, rounded and clipped.",
    "quiet audio is replaced by quantisation noise",
    "https://github.com/openai/openai-agents-python/pull/4755",
    killer="numerics/near-floor-noise/80",
    audio=_pcm16,
)
_add_family(
    "truncated-input",
    "input",
    "Samples are multiplied by 32767, clipped, cast to int16, which truncates, and divided by a "
    "number.",
    "quiet audio is replaced by quantisation noise",
    Parameter("divisor", 32768, _grid(32767, 32768), True),
    _truncated,
    "https://github.com/openai/openai-agents-python/pull/4755",
    killer="numerics/near-floor-noise/80",
    since=_SINCE_25,
)
_add(
    "wrapped-input",
    "input",
    "Samples are multiplied by 32768 and cast to int16: what does not fit wraps around.",
    "full scale becomes a click of the other sign",
    "https://github.com/microsoft/VibeVoice/pull/281",
    killer="numerics/square/80",
    audio=_wrapped,
)
_add_family(
    "truncated-and-wrapped-input",
    "input",
    "Samples are multiplied by a number and cast to int16 as they are (NumPy's astype): what is "
    "behind the point is lost, and what does not fit wraps around.",
    "quiet audio is replaced by quantisation noise; full scale becomes a click of the other sign",
    Parameter("factor", 32767, _grid(32767, 32768), listed=True),
    _truncated_and_wrapped,
    "https://github.com/microsoft/VibeVoice/pull/281",
    killer="numerics/near-floor-noise/80",
    since=_SINCE_25,
)
_add(
    "half-precision-input",
    "input",
    "Samples are float16 on their way.",
    "noise 70 dB below each sample: quiet bands beside loud ones",
    since=_SINCE_25,
    audio=_rounded_to_half,
)
_add(
    "bfloat16-input",
    "input",
    "Samples are bfloat16 on their way.",
    "noise 50 dB below each sample: quiet bands beside loud ones",
    since=_SINCE_25,
    audio=lambda audio, call: _kept_bits(audio, 16),
)
_add_family(
    "delayed-input",
    "input",
    "The clip comes some samples late, after zeros (or early, if fewer than 0), and is no longer.",
    "everything is late by a part of a hop; the clip's ends differ",
    Parameter("samples", 80, _grid(-320, -160, -80, -40, -1, 1, 40, 80, 160, 320), True),
    lambda by: _delayed(round(by)),
    since=_SINCE_25,
)
_add(
    "int16-by-32767",
    "input",
    "int16 audio is divided by 32767.",
    "6.6e-6 too high wherever nothing is clamped: below a tolerance of 1e-5",
    "https://github.com/deepjavalibrary/djl/pull/3646",
    "https://github.com/openai/openai-agents-python/pull/4755",
    killer="numerics/quiet-noise-int16/80",
    audio=_int16_times(32768.0 / 32767.0),
)
_add(
    "int16-unscaled",
    "input",
    "int16 audio is accepted and not divided by anything.",
    "2.2577 too high wherever nothing is clamped",
    "https://github.com/huggingface/transformers/issues/19888",
    killer="numerics/quiet-noise-int16/80",
    audio=_int16_times(32768.0),
)
_add(
    "float-as-int16",
    "input",
    "Float audio is multiplied by 32768, as Kaldi's front-ends expect it.",
    "2.2577 too high wherever nothing is clamped",
    "https://github.com/csukuangfj/kaldi-native-fbank/issues/63",
    audio=lambda audio, call: audio * audio.dtype.type(32768.0),
)
_add_family(
    "gain",
    "input",
    "Audio is multiplied by a factor.",
    "a constant wherever nothing is clamped",
    Parameter("factor", 0.5, _grid(1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.25, 0.5, 0.9, 2.0, 10.0, 1e5)),
    lambda g: Variation(stages={"audio": lambda audio, call: audio * audio.dtype.type(g)}),
)
_add_family(
    "pre-emphasis",
    "input",
    "x[t] - c x[t-1], a habit of recognisers before Whisper.",
    "low bands are lower, high bands higher",
    Parameter("coefficient", 0.97, _grid(0.1, 0.5, 0.9, 0.95, 0.97, 0.98, 1.0)),
    _emphasised,
    _WENET_2320,
)
_add(
    "mean-removed",
    "input",
    "The clip's mean is subtracted.",
    "DC disappears",
    killer="numerics/dc/80",
    audio=lambda audio, call: audio - audio.mean(),
)
_add(
    "mean-removed-per-frame",
    "frames",
    "Each frame's mean is subtracted (Kaldi's remove_dc_offset).",
    "the lowest bands lose energy",
    _WENET_2320,
    frames=lambda frames, call: frames - frames.mean(axis=1, keepdims=True),
)
_add_family(
    "pre-emphasis-per-frame",
    "frames",
    "x[t] - c x[t-1] within each frame, its first sample less c times itself (Kaldi).",
    "low bands are lower, high bands higher",
    Parameter("coefficient", 0.97, _grid(0.1, 0.5, 0.9, 0.95, 0.97, 0.98, 1.0)),
    _emphasised_frames,
    _WENET_2320,
    since=_SINCE_25,
)
_add(
    "peak-normalised",
    "input",
    "Each clip is scaled to a peak of 1.",
    "a constant that depends on the clip",
    audio=_peak_normalised,
)
_add_family(
    "rms-normalised",
    "input",
    "Each clip is scaled to the same root mean square.",
    "a constant that depends on the clip",
    Parameter("rms", 0.1, _grid(0.001, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0)),
    _levelled,
    since=_SINCE_25,
)
_add(
    "unit-variance",
    "input",
    "Each clip is scaled to mean 0 and variance 1 (do_normalize).",
    "a constant that depends on the clip; DC disappears",
    "https://github.com/huggingface/transformers/pull/21938",
    audio=_unit_variance,
)
_add(
    "cut-to-whole-hops",
    "input",
    "Samples behind the last whole hop are cut off.",
    "the last frame sees another mirrored end",
    killer="boundary/every-remainder/80",
    audio=lambda audio, call: audio[: audio.size // 160 * 160],
)
_add(
    "reversed-input",
    "input",
    "The clip is read from its end, as by a negative stride that is ignored.",
    "frames in the wrong order",
    "https://github.com/pytorch/pytorch/issues/120403",
    audio=lambda audio, call: audio[::-1],
)

# --------------------------------------------------------------------------- padding and frames


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
            _TINYGRAD,
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
    _add(_id, "padding", _mechanism, _effect, *_seen, spec={"pad_mode": _mode})
_add(
    "pad-right-zero",
    "padding",
    "Only the start is mirrored: the end is assumed to be silent.",
    "the last frame is too low",
    "https://github.com/ggml-org/whisper.cpp/pull/2206",
    _OPENVINO,
    extended=_zero_end,
)
_add(
    "pad-left-zero",
    "padding",
    "Only the end is mirrored.",
    "the first frame is too low",
    killer="numerics/falling-noise/80",
    extended=_zero_start,
)
_add(
    "pad-wrap",
    "padding",
    "The clip is extended as if it were periodic.",
    "the first frame hears the end, the last one the start",
    extended=_wrapped_ends,
)
_add(
    "no-centre",
    "padding",
    "Frame t begins at t * hop; nothing is extended.",
    "everything is 12.5 ms late, and there are fewer frames",
    _CPP_1148,
    _CANDLE_1560,
    spec={"centre": False, "drop_last_frame": False},
)
_add(
    "no-centre-zero-tail",
    "padding",
    "Frame t begins at t * hop; the clip is extended by zeros at its end only.",
    "everything is 12.5 ms late; the last frames are too low",
    since=_SINCE_25,
    extended=_zero_tail,
)
_add_family(
    "frames-shifted",
    "padding",
    "Frame t does not begin at t * hop - 200 but at t * hop - left.",
    "everything is early or late by a part of a hop",
    Parameter(
        "left",
        120,
        _grid(0, 40, 80, 100, 120, 160, 180, 201, 220, 240, 280, 320, 360, 400),
        True,
    ),
    lambda left: _mirrored(round(left)),
    _KNF_65,
    "https://github.com/k2-fsa/sherpa-onnx/pull/3873",
    "https://github.com/csukuangfj/kaldifeat/issues/116",
)
_add(
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
_add(
    "last-frame-kept",
    "frames",
    "The last frame is not dropped.",
    "one frame too many; a loud end moves the maximum",
    _CPP_1148,
    killer="boundary/length-479/80",
    spec={"drop_last_frame": False},
)
_add(
    "first-frame-dropped",
    "frames",
    "The first frame is dropped instead of the last.",
    "everything is one frame early",
    spec={"drop_last_frame": False},
    features=lambda y, call: y[:, 1:],
)
_add(
    "one-frame-late",
    "frames",
    "Frame t is what frame t - 1 should be; the first one is there twice.",
    "everything is one frame late",
    since=_SINCE_25,
    features=lambda y, call: np.concatenate([y[:, :1], y[:, :-1]], axis=1),
)
_add(
    "one-frame-early",
    "frames",
    "Frame t is what frame t + 1 should be; the last one is there twice.",
    "everything is one frame early",
    since=_SINCE_25,
    features=lambda y, call: np.concatenate([y[:, 1:], y[:, -1:]], axis=1),
)
_add_family(
    "frames-rotated",
    "frames",
    "Frames come some places too late, and the last ones first.",
    "everything is late; the end is at the start",
    Parameter("frames", 1, _grid(-4, -3, -2, -1, 1, 2, 3, 4), True),
    lambda by: Variation(stages={"features": lambda y, call: np.roll(y, round(by), axis=1)}),
    since=_SINCE_25,
)
_add(
    "frame-count-rounded",
    "frames",
    "round(n / 160) frames instead of n // 160.",
    "one frame too many for half of all lengths",
    _KNF_65,
    killer="boundary/length-240/80",
    frames=_rounded_count,
)
_add(
    "frame-count-rounded-up",
    "frames",
    "The number of frames is n / 160 rounded up.",
    "one frame too many unless the length is a multiple of 160",
    "https://github.com/huggingface/transformers/issues/39214",
    killer="boundary/length-401/80",
    since=_SINCE_25,
    frames=_rounded_up_count,
)
_add(
    "frame-of-zeros-appended",
    "frames",
    "round(n / 160) frames instead of n // 160, and the one too many is filled with 0.",
    "one frame too many for half of all lengths: it reads as moderate noise",
    "https://github.com/lhotse-speech/lhotse/blob/master/lhotse/features/whisper_fbank.py",
    killer="boundary/length-240/80",
    features=_frame_of_zeros,
)
_add(
    "frame-count-in-1500s",
    "frames",
    "Frames are filled up to a multiple of 1500, and 1500 more.",
    "1 s of audio gives 3000 frames",
    _CPP_1148,
    _CANDLE_1560,
    frames=_thousands,
)
_add_family(
    "hop",
    "frames",
    "Another distance between frames.",
    "another number of frames",
    Parameter("samples", 128, _grid(80, 100, 128, 150, 159, 161, 170, 200, 240, 256, 320), True),
    lambda hop: Variation({"hop": round(hop)}),
)
_add(
    "frames-of-512",
    "frames",
    "Frames of 512 samples, windowed over their whole length.",
    "time is smeared, frequency sharper; bands differ",
    spec={"n_fft": 512},
)
_add_family(
    "frame-length",
    "frames",
    "Frames of another length than 400 samples, windowed over their whole length.",
    "time is smeared and frequency sharper, or the other way round; bands differ",
    Parameter("samples", 480, _grid(320, 384, 402, 416, 480, 512, 640, 800, 1024), True),
    lambda n: Variation({"n_fft": round(n)}),
    since=_SINCE_25,
)
_add(
    "one-hop-appended",
    "padding",
    "160 zeros are appended to every clip.",
    "one frame too many, and the last one hears silence",
    "https://github.com/SYSTRAN/faster-whisper/pull/1106",
    audio=_more_zeros(160),
)
_add(
    "always-30-seconds",
    "padding",
    "Zeros are appended up to 30 s whether asked for or not.",
    "3000 frames for every clip; the last frame hears silence",
    spec={"pad_to": None},
    audio=_unless_padded,
)
_add(
    "30-seconds-appended",
    "padding",
    "30 s of zeros are appended to every clip: padded by 30 s, not to 30 s.",
    "1 s of audio gives 3100 frames",
    "https://github.com/huggingface/transformers/pull/34111",
    "https://github.com/SYSTRAN/faster-whisper/issues/201",
    spec={"pad_to": None},
    audio=_more_zeros(480_000),
)

# --------------------------------------------------------------------------- window


def _weights(window: Any) -> Hook:
    return lambda weights, call: window(weights.size).astype(weights.dtype)


def _short_window(n: int) -> Variation:
    def hook(weights: Array, call: Call) -> Array:
        inner = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n) / n)
        left = (weights.size - n) // 2
        return np.pad(inner, (left, weights.size - n - left)).astype(weights.dtype)

    return Variation(stages={"window": hook})


def _rolled(by: int) -> Variation:
    return Variation(stages={"window": lambda weights, call: np.roll(weights, by)})


for _id, _window, _seen in (
    (
        "symmetric-window",
        "hann-symmetric",
        ("https://github.com/Blaizzy/mlx-audio/pull/920",),
    ),
    ("hamming-window", "hamming-periodic", (_WENET_2320,)),
    ("povey-window", "povey", (_WENET_2320,)),
    ("no-window", "rectangular", ()),
):
    _add(
        _id,
        "window",
        {
            "hann-symmetric": "The Hann window is symmetric (N - 1 in its denominator).",
            "hamming-periodic": "A Hamming window.",
            "povey": "Kaldi's Povey window, Hann to the power of 0.85.",
            "rectangular": "Frames are not windowed.",
        }[_window],
        {
            "hann-symmetric": "0.02 on noise, 0.5 beside tones: leakage",
            "hamming-periodic": "louder by a constant; leakage beside tones",
            "povey": "leakage beside tones, up to 1.2",
            "rectangular": "leakage everywhere, up to 2.9",
        }[_window],
        *_seen,
        spec={"window": _window},
    )
_add(
    "blackman-window",
    "window",
    "A Blackman window.",
    "quieter by a constant; tones are wider",
    window=_weights(lambda n: np.blackman(n + 1)[:-1]),
)
_add(
    "symmetric-hamming-window",
    "window",
    "A symmetric Hamming window (NumPy's hamming).",
    "louder by a constant; leakage beside tones",
    since=_SINCE_25,
    window=_weights(np.hamming),
)
_add(
    "symmetric-blackman-window",
    "window",
    "A symmetric Blackman window (NumPy's blackman).",
    "quieter by a constant; tones are wider",
    since=_SINCE_25,
    window=_weights(np.blackman),
)
_add(
    "window-half-a-sample-late",
    "window",
    "Half a sample is added within the Hann window's cosine: it is symmetric without a zero.",
    "leakage, 0.01 on noise",
    since=_SINCE_25,
    window=_weights(lambda n: np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2),
)
_add(
    "matlab-hanning-window",
    "window",
    "MATLAB's hanning: the symmetric Hann window of N + 2 samples without the zeros at its ends.",
    "0.01 on noise, more beside tones: leakage",
    since=_SINCE_25,
    window=_weights(lambda n: np.hanning(n + 2)[1:-1]),
)
_add_family(
    "hann-power",
    "window",
    "The Hann window to some power: its root, or applied twice.",
    "leakage, and a constant",
    Parameter("exponent", 0.5, _grid(0.25, 0.5, 0.75, 0.85, 0.95, 1.1, 1.5, 2.0, 3.0)),
    lambda p: Variation(stages={"window": lambda weights, call: weights ** weights.dtype.type(p)}),
)
_add_family(
    "short-window",
    "window",
    "A Hann window of fewer samples in the middle of the frame (of 399: the symmetric window).",
    "quieter by a constant; tones are wider",
    Parameter("samples", 320, _grid(200, 240, 256, 300, 320, 350, 380, 398), True),
    lambda n: _short_window(round(n)),
)
_add_family(
    "window-rotated",
    "window",
    "The window's samples are off by some places.",
    "leakage",
    Parameter("samples", 1, _grid(-40, -20, -8, -4, -2, -1, 1, 2, 4, 8, 20, 40), True),
    lambda by: _rolled(round(by)),
)
_add(
    "window-normalised",
    "window",
    "The window is divided by its sum (scipy's scaling).",
    "a constant, 1.15 lower",
    window=lambda weights, call: weights / weights.sum(),
)

# --------------------------------------------------------------------------- spectrum


def _folded(power: Array, call: Call) -> Array:
    power = power.copy()
    power[:, 1:-1] *= 2
    return power


_add(
    "magnitude",
    "spectrum",
    "Magnitudes instead of powers.",
    "0.5 to 1 off",
    _ELBRUNO_6,
    spec={"power": 1.0},
)
_add_family(
    "power-exponent",
    "spectrum",
    "Another power of the magnitude than its square.",
    "the range of levels is stretched or squeezed",
    Parameter("exponent", 1.5, _grid(0.5, 1.2, 1.5, 1.8, 1.9, 2.1, 2.5, 3.0, 4.0)),
    lambda p: Variation(
        stages={"power": lambda power, call: power ** power.dtype.type(p / call.spec.power)}
    ),
)
_add(
    "negative-frequencies-folded",
    "spectrum",
    "The powers of negative frequencies are added to those of positive ones.",
    "0.0753 too high wherever nothing is clamped",
    _CPP_1148,
    _CANDLE_1560,
    power=_folded,
)
_add(
    "real-part-only",
    "spectrum",
    "The imaginary part is lost, as by a cast to float32.",
    "up to 3.1 beside tones; DC and Nyquist tones hide it",
    _TINYGRAD,
    spectrum=lambda spectrum, call: spectrum.real,
)
_add(
    "imaginary-part-only",
    "spectrum",
    "The real part is lost.",
    "as the real part's loss; DC disappears",
    spectrum=lambda spectrum, call: spectrum.imag,
)
_add(
    "transform-by-n",
    "spectrum",
    "The transform is divided by its size.",
    "a constant, 1.3 lower",
    window=lambda weights, call: weights / weights.dtype.type(400),
)
_add(
    "transform-by-root-n",
    "spectrum",
    "The transform is divided by the root of its size (normalized=True).",
    "0.65 lower wherever nothing is clamped",
    window=lambda weights, call: weights / weights.dtype.type(20),
)
_add_family(
    "transform-zero-extended",
    "spectrum",
    "400 windowed samples are extended by zeros to a faster size.",
    "bands hear other frequencies between the bins: up to 1.5",
    Parameter("size", 512, _grid(401, 405, 416, 432, 480, 512, 800, 1024, 2048), True),
    lambda n: Variation(fft_size=round(n)),
    "https://github.com/robertknight/rten/pull/919",
    "https://github.com/csukuangfj/kaldi-native-fbank/pull/66",
)
_add(
    "half-precision-power",
    "spectrum",
    "Powers are float16.",
    "quiet bins vanish, loud ones overflow",
    "https://github.com/pytorch/pytorch/issues/33485",
    power=_rounded_to_half,
)
_add(
    "bfloat16-power",
    "spectrum",
    "Powers are bfloat16.",
    "1e-3 off",
    power=lambda power, call: _kept_bits(power, 16),
)

# --------------------------------------------------------------------------- filterbank


def _rows_to_one(bank: Array, call: Call) -> Array:
    return bank / bank.sum(axis=1, keepdims=True)


def _edges(call: Call, n_mels: int) -> Array:
    scale = call.spec.mel_scale
    low, high = (hz_to_mel(hz, scale) for hz in (call.spec.f_min, call.spec.f_max))
    return mel_to_hz(np.linspace(low, high, n_mels + 2), scale)


def _normed(triangles: Array, call: Call) -> Array:
    if call.spec.mel_norm is None:
        return triangles
    hertz = _edges(call, len(triangles))
    return np.asarray(triangles * (2.0 / (hertz[2:] - hertz[:-2]))[:, np.newaxis])


def _mel_triangles(bank: Array, call: Call) -> Array:
    """Triangles that are straight in mel, not in hertz."""
    scale = call.spec.mel_scale
    bins = np.arange(bank.shape[1]) * (call.spec.sample_rate / call.fft_size)
    mels = np.array([hz_to_mel(float(hz), scale) for hz in bins])
    low, high = (hz_to_mel(hz, scale) for hz in (call.spec.f_min, call.spec.f_max))
    edges = np.linspace(low, high, len(bank) + 2)
    width = edges[1] - edges[0]
    triangles = np.maximum(0.0, 1.0 - np.abs(mels - edges[1:-1, np.newaxis]) / width)
    return _normed(triangles, call).astype(bank.dtype)


def _snapped(bank: Array, call: Call) -> Array:
    """Edges moved to whole bins, as in many tutorials."""
    hertz = _edges(call, len(bank))
    edges = np.floor((call.fft_size + 1) * hertz / call.spec.sample_rate)
    bins = np.arange(bank.shape[1])
    with np.errstate(all="ignore"):
        rise = (bins - edges[:-2, np.newaxis]) / (edges[1:-1] - edges[:-2])[:, np.newaxis]
        fall = (edges[2:, np.newaxis] - bins) / (edges[2:] - edges[1:-1])[:, np.newaxis]
    triangles = np.maximum(0.0, np.minimum(np.nan_to_num(rise, posinf=0.0), fall))
    triangles = np.nan_to_num(triangles, posinf=0.0, neginf=0.0)
    return _normed(triangles, call).astype(bank.dtype)


def _lowest_of_128(bank: Array, call: Call) -> Array:
    spec = call.spec.replace(n_fft=call.fft_size)
    return mel_filterbank(128, spec)[: len(bank)].astype(bank.dtype)


def _bin_early(bank: Array, call: Call) -> Array:
    return np.pad(bank, ((0, 0), (0, 1)))[:, 1:]


def _bin_late(bank: Array, call: Call) -> Array:
    return np.pad(bank, ((0, 0), (1, 0)))[:, :-1]


_add(
    "htk-mel",
    "filterbank",
    "HTK's mel scale instead of Slaney's.",
    "bands hear other frequencies: up to 2",
    _WENET_2320,
    "https://github.com/pytorch/audio/issues/1058",
    spec={"mel_scale": "htk"},
)
_add(
    "no-mel-norm",
    "filterbank",
    "Triangles have a peak of 1, not an area of 1 Hz.",
    "0.4 to 0.6 too high",
    "https://github.com/pytorch/audio/issues/287",
    spec={"mel_norm": None},
)
_add(
    "htk-mel-without-norm",
    "filterbank",
    "HTK's mel scale and triangles with a peak of 1 (torchaudio's defaults).",
    "up to 2.5",
    "https://github.com/pytorch/audio/issues/1058",
    spec={"mel_scale": "htk", "mel_norm": None},
)
_add(
    "bands-sum-to-one",
    "filterbank",
    "Each band's weights sum to 1.",
    "0.4 too high",
    "https://github.com/paiml/whisper.apr/issues/7",
    bank=_rows_to_one,
)
_add(
    "triangles-in-mel",
    "filterbank",
    "Triangles are straight on the mel scale, not in hertz (Kaldi).",
    "0.003: only a tolerance below 1e-3 shows it",
    _WENET_2320,
    bank=_mel_triangles,
)
_add(
    "edges-on-bins",
    "filterbank",
    "The triangles' edges are moved to whole bins.",
    "low bands are empty: up to 2",
    "https://github.com/0xShug0/audio.cpp/pull/384",
    "https://github.com/vllm-project/vllm-metal/pull/729",
    bank=_snapped,
)
_add_family(
    "highest-frequency",
    "filterbank",
    "The bank ends below 8000 Hz.",
    "bands hear other frequencies: up to 2.6",
    Parameter("hertz", 7600, _grid(*range(3000, 8000, 200), 7900, 7990)),
    lambda hz: Variation({"f_max": float(hz)}),
    _WENET_2320,
)
_add_family(
    "lowest-frequency",
    "filterbank",
    "The bank begins above 0 Hz.",
    "bands hear other frequencies",
    Parameter("hertz", 20, _grid(1, 10, 20, 40, 60, 80, 100, 133, 200, 300)),
    lambda hz: Variation({"f_min": float(hz)}),
    _WENET_2320,
)
_add_family(
    "bank-of-22050-hertz",
    "filterbank",
    "The bank, up to 8000 Hz, is made for audio of another rate, as 22.05 kHz, librosa's default.",
    "bands hear other frequencies",
    Parameter("hertz", 22050, _grid(22050, 24000, 32000, 44100, 48000), listed=True),
    lambda hz: Variation({"sample_rate": round(hz)}),
)
_add_family(
    "bank-of-another-rate",
    "filterbank",
    "The bank is made for audio of another rate, and goes up to half of that.",
    "bands hear other frequencies",
    Parameter("hertz", 22050, _grid(8000, 11025, 22050, 24000, 32000, 44100, 48000), listed=True),
    lambda hz: Variation({"sample_rate": round(hz), "f_max": hz / 2.0}),
    since=_SINCE_25,
)
_add(
    "one-bin-late",
    "filterbank",
    "The bank is off by one bin.",
    "bands hear frequencies 40 Hz too low",
    bank=_bin_late,
)
_add(
    "one-bin-early",
    "filterbank",
    "The bank is off by one bin, the other way: the transform's first bin is left out.",
    "bands hear frequencies 40 Hz too high",
    since=_SINCE_25,
    bank=_bin_early,
)
_add(
    "bands-reversed",
    "filterbank",
    "The highest band comes first.",
    "upside down",
    bank=lambda bank, call: bank[::-1],
)
_add(
    "lowest-80-of-128",
    "filterbank",
    "The bank of the larger models, cut off after as many bands as asked for.",
    "bands hear other frequencies",
    bank=_lowest_of_128,
)
_add(
    "tf32-bank",
    "filterbank",
    "The product with the bank is done by tensor cores: 10 bits of each weight and power.",
    "7e-5: passes a tolerance of 1e-4 everywhere",
    "https://github.com/ggml-org/whisper.cpp/pull/2206",
    killer="numerics/chirp/80",
    power=lambda power, call: _kept_bits(power, 13),
    bank=lambda bank, call: _kept_bits(bank, 13),
)
_add(
    "half-precision-bank",
    "filterbank",
    "The bank is float16.",
    "1e-4",
    killer="numerics/chirp/80",
    bank=_rounded_to_half,
)
_add(
    "bfloat16-bank",
    "filterbank",
    "The bank is bfloat16.",
    "1e-3",
    since=_SINCE_25,
    bank=lambda bank, call: _kept_bits(bank, 16),
)
_add(
    "half-precision-product",
    "filterbank",
    "The product with the bank is done in float16: powers, weights and result (autocast).",
    "quiet bands vanish, loud ones overflow",
    since=_SINCE_25,
    power=_rounded_to_half,
    bank=_rounded_to_half,
    mel=_rounded_to_half,
)
_add(
    "bfloat16-product",
    "filterbank",
    "The product with the bank is done in bfloat16: powers, weights and result (autocast).",
    "1e-3 off",
    since=_SINCE_25,
    power=lambda power, call: _kept_bits(power, 16),
    bank=lambda bank, call: _kept_bits(bank, 16),
    mel=lambda mel, call: _kept_bits(mel, 16),
)

# --------------------------------------------------------------------------- logarithm


_NEVER = 1e9


def _times(factor: float) -> Hook:
    return lambda log, call: log * log.dtype.type(factor)


def _undone(log: Array, call: Call) -> Array:
    return log.dtype.type(10.0) ** log


def _below_maximum(clamped: Array, call: Call) -> Array:
    return clamped - call.seen["top"]


_add(
    "natural-logarithm",
    "logarithm",
    "The natural logarithm instead of that to the base of 10.",
    "up to 3.3",
    _ELBRUNO_6,
    spec={"log": "ln"},
)
_add(
    "logarithm-to-base-2",
    "logarithm",
    "The logarithm to the base of 2.",
    "up to 6",
    log=_times(float(np.log2(10.0))),
)
_add(
    "decibels",
    "logarithm",
    "Ten times the logarithm, with the range of 8 that is meant for it alone.",
    "up to 22",
    "https://github.com/kitzeslab/opensoundscape/pull/802",
    log=_times(10.0),
)
_add(
    "decibels-over-80",
    "logarithm",
    "Ten times the logarithm, and a range of 80 (librosa's power_to_db).",
    "up to 22",
    since=_SINCE_25,
    spec={"dynamic_range": 80.0},
    log=_times(10.0),
)
_add(
    "decibels-of-amplitude",
    "logarithm",
    "Twenty times the logarithm of at least 1e-5, and a range of 80 (librosa's amplitude_to_db).",
    "up to 30",
    since=_SINCE_25,
    spec={"dynamic_range": 80.0, "floor": 1e-5},
    log=_times(20.0),
)
_add(
    "decibels-below-maximum",
    "logarithm",
    "Decibels below the clip's maximum, 80 at most, unscaled (power_to_db with ref=np.max).",
    "-80 … 0 instead of -1.5 … 1.5",
    since=_SINCE_25,
    spec={"dynamic_range": 80.0, "offset": 0.0, "divisor": 1.0},
    log=_times(10.0),
    clamped=_below_maximum,
)
_add(
    "decibels-unscaled",
    "logarithm",
    "Decibels as they are: no range, no scaling (torchaudio's AmplitudeToDB).",
    "-100 … 40 instead of -1.5 … 1.5",
    since=_SINCE_25,
    spec={"dynamic_range": _NEVER, "offset": 0.0, "divisor": 1.0},
    log=_times(10.0),
)
_add_family(
    "logarithm-scaled",
    "logarithm",
    "The logarithm times a number: to some other base, or of some power.",
    "the range of levels is stretched or squeezed, but not the floor",
    Parameter("factor", 0.5, _grid(0.25, 0.5, 0.9, 1.1, 2.0, 4.0, 10.0, 20.0)),
    lambda factor: Variation(stages={"log": _times(factor)}),
    since=_SINCE_25,
)
_add(
    "half-precision-logarithm",
    "logarithm",
    "Logarithms are float16.",
    "1e-3",
    since=_SINCE_25,
    log=_rounded_to_half,
)
_add(
    "bfloat16-logarithm",
    "logarithm",
    "Logarithms are bfloat16.",
    "4e-3",
    since=_SINCE_25,
    log=lambda log, call: _kept_bits(log, 16),
)
_add(
    "no-logarithm",
    "logarithm",
    "No logarithm is taken.",
    "quiet bands are all alike, loud ones far off",
    since=_SINCE_25,
    log=_undone,
)
_add(
    "mel-powers",
    "logarithm",
    "The mel powers as they are: no logarithm, range or scaling.",
    "0 … 1e4 instead of -1.5 … 1.5",
    since=_SINCE_25,
    spec={"dynamic_range": _NEVER, "offset": 0.0, "divisor": 1.0},
    log=_undone,
)
_add(
    "logarithm-of-one-plus",
    "logarithm",
    "log10(1 + x).",
    "quiet bands are all alike",
    mel=lambda mel, call: mel + mel.dtype.type(1.0),
)
_add(
    "natural-logarithm-of-one-plus",
    "logarithm",
    "ln(1 + x), as log1p has it.",
    "quiet bands are all alike",
    since=_SINCE_25,
    spec={"log": "ln"},
    mel=lambda mel, call: mel + mel.dtype.type(1.0),
)
_add_family(
    "epsilon-added",
    "logarithm",
    "A small number is added instead of being the least.",
    "only bands near it are higher: 0.05 at most for 1e-10",
    Parameter("epsilon", 1e-6, _grid(1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)),
    lambda e: Variation(stages={"mel": lambda mel, call: mel + mel.dtype.type(e)}),
    "https://github.com/vrtnis/whisper-mel-mojo",
)
_add_family(
    "floor",
    "logarithm",
    "Another least value of the logarithm's argument.",
    "silence and near silence only",
    Parameter(
        "floor",
        1e-12,
        _grid(1e-30, 1e-20, 1e-16, 1e-14, 1e-12, 1e-11, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3),
    ),
    lambda floor: Variation({"floor": float(floor)}),
    killer="numerics/silence/80",
)

# --------------------------------------------------------------------------- range


def _top(maximum: Any) -> Hook:
    """Another maximum; ``maximum`` takes the logarithms of the frames that are kept."""
    return lambda top, call: maximum(call.seen["kept"])


def _of_batch(top: Any, call: Call) -> Any:
    kept = [log[:, :-1] if call.spec.drop_last_frame else log for log in call.batch]
    return max(log.max() for log in kept)


_add(
    "no-range",
    "range",
    "Values far below the clip's maximum are left as they are.",
    "up to 1.1, where the dynamic range exceeds 80 dB; noise alone never shows it",
    _TINYGRAD,
    killer="numerics/tone-440/80",
    spec={"dynamic_range": _NEVER},
)
_add_family(
    "range-width",
    "range",
    "Another distance to the clip's maximum than 8.",
    "what is quiet beside something loud",
    Parameter("width", 7.0, _grid(0.8, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 7.5, 8.2, 8.5, 9.0, 10.0)),
    lambda width: Variation({"dynamic_range": float(width)}),
    killer="numerics/tone-440/80",
)
_add(
    "maximum-of-each-frame",
    "range",
    "Each frame has its own maximum.",
    "what is quiet before or after something loud",
    killer="numerics/on-off-1000/80",
    top=_top(lambda kept: kept.max(axis=0)),
)
_add(
    "maximum-of-each-band",
    "range",
    "Each band has its own maximum.",
    "what is quiet beside something loud",
    killer="numerics/tone-440/80",
    top=_top(lambda kept: kept.max(axis=1, keepdims=True)),
)
_add(
    "maximum-so-far",
    "range",
    "The maximum of the frames so far, as in streaming.",
    "frames before something loud: up to 0.7",
    killer="numerics/on-off-1000/80",
    top=_top(lambda kept: np.maximum.accumulate(kept.max(axis=0))),
)
_add(
    "maximum-with-dropped-frame",
    "range",
    "The maximum is taken before the last frame is dropped.",
    "a loud end raises the floor: up to 1",
    "https://github.com/NVIDIA/TensorRT-Model-Connect/pull/1282",
    _CPP_1148,
    killer="boundary/loud-tail-60/80",
    top=lambda top, call: call.seen["log"].max(),
)
_add(
    "maximum-of-64-frames",
    "range",
    "The maximum of the first 64 frames only: one tile.",
    "clips that become louder later",
    "https://github.com/kaldi-asr/kaldi/issues/3036",
    killer="numerics/maximum-in-any-frame",
    top=_top(lambda kept: kept[:, :64].max()),
)
_add(
    "maximum-at-least-zero",
    "range",
    "The search for the maximum begins at 0.",
    "quiet clips have a higher floor",
    "https://github.com/cholla-hydro/cholla/pull/163",
    killer="numerics/silence/80",
    top=lambda top, call: np.maximum(top, 0),
)
_add_family(
    "fixed-maximum",
    "range",
    "A constant instead of the clip's maximum.",
    "the floor of all clips is the same: up to 0.3",
    Parameter("maximum", 1.5, _grid(-2.0, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)),
    lambda value: Variation(stages={"top": lambda top, call: float(value)}),
    killer="numerics/tone-440/80",
)
_add(
    "maximum-subtracted",
    "range",
    "The clip's maximum is subtracted.",
    "a constant that depends on the clip",
    since=_SINCE_25,
    clamped=_below_maximum,
)
_add(
    "maximum-of-batch",
    "batch",
    "One maximum for a whole batch.",
    "a quiet clip beside a loud one: 0.7",
    "https://github.com/openai/whisper/pull/2862",
    killer="batch/quiet-beside-loud/80",
    top=_of_batch,
)

# --------------------------------------------------------------------------- output


def _padded_with(value: Any) -> dict[str, Any]:
    """``pad_to`` is met by values behind the features, not by zeros behind the audio."""

    def hook(y: Array, call: Call) -> Array:
        if call.wanted.pad_to is None:
            return y
        more = max(call.wanted.pad_to // call.spec.hop - y.shape[1], 0)
        return np.pad(y, ((0, 0), (0, more)), constant_values=value(y))

    return {"spec": {"pad_to": None}, "features": hook}


def _filled(value: Any) -> Hook:
    """Frames up to 30 s of them."""

    def hook(y: Array, call: Call) -> Array:
        more = max(480_000 // call.spec.hop - y.shape[1], 0)
        return np.pad(y, ((0, 0), (0, more)), constant_values=value(y))

    return hook


def _zeros_counted(y: Array, call: Call) -> Array:
    """The mean at the edges, as if there were zeros beyond them."""
    if call.spec.smoothing != "same":
        return y
    n_mels, n_frames = y.shape
    bands = np.full(n_mels, 3.0)
    bands[[0, -1]] = min(2, n_mels)
    frames = np.full(n_frames, 3.0)
    frames[[0, -1]] = min(2, n_frames)
    return (y * np.outer(bands, frames) / 9.0).astype(y.dtype)


def _smoothed(y: Array, call: Call) -> Array:
    """Smoothed though nobody asked for it."""
    if call.wanted.smoothing is not None:
        return y
    wide = np.pad(y, 1, mode="edge")
    rows = wide[:-2] + wide[1:-1] + wide[2:]
    return ((rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9.0).astype(y.dtype)


def _standardised(axis: int | None, epsilon: float) -> Variation:
    """Where nothing varies, roundings are divided by next to nothing. Exactly computed, in float64,
    that is NaN: it says nothing of what a front-end makes."""

    def hook(y: Array, call: Call) -> Array:
        if not y.size:
            return y
        deviation = y.std(axis=axis, keepdims=True)
        if y.dtype == np.float64:
            deviation = np.where(deviation > 1e-6, deviation, np.nan)
        return (y - y.mean(axis=axis, keepdims=True)) / (deviation + y.dtype.type(epsilon))

    return Variation(stages={"features": hook})


def _stretched(y: Array, call: Call) -> Array:
    return (y - y.min()) / max(y.max() - y.min(), y.dtype.type(1e-5))


_PADDED = "boundary/pad-16000-to-20000/80"
_add(
    "not-scaled",
    "output",
    "(x + 4) / 4 is missing.",
    "-10 … 0 instead of -1.5 … 1.5",
    _ELBRUNO_6,
    "https://github.com/csukuangfj/kaldi-native-fbank/issues/63",
    spec={"offset": 0.0, "divisor": 1.0},
)
_add_family(
    "offset",
    "output",
    "Another number than 4 is added before the division by 4.",
    "a constant",
    Parameter("offset", 0.0, _grid(-20.0, -8.0, -4.0, 0.0, 2.0, 3.0, 5.0, 6.0, 8.0, 10.0, 20.0)),
    lambda offset: Variation({"offset": float(offset)}),
)
_add_family(
    "divisor",
    "output",
    "Another divisor than 4.",
    "the range of values is stretched or squeezed",
    Parameter("divisor", 2.0, _grid(0.5, 1.0, 2.0, 3.0, 3.9, 4.1, 5.0, 8.0, 10.0, 20.0)),
    lambda divisor: Variation({"divisor": float(divisor)}),
)
_EPSILON = Parameter("epsilon", 1e-5, _grid(0.0, *(10.0**k for k in range(-10, -1))))
_add_family(
    "features-standardised",
    "output",
    "Features are brought to mean 0 and variance 1.",
    "everything depends on the clip",
    _EPSILON,
    lambda epsilon: _standardised(None, epsilon),
    "https://github.com/huggingface/transformers/pull/21938",
)
_add_family(
    "bands-standardised",
    "output",
    "Each band is brought to mean 0 and variance 1 (CMVN).",
    "everything depends on the clip",
    _EPSILON,
    lambda epsilon: _standardised(1, epsilon),
    since=_SINCE_25,
)
_add(
    "mean-removed-per-band",
    "output",
    "The mean of each band is subtracted (CMN).",
    "everything depends on the clip",
    since=_SINCE_25,
    features=lambda y, call: y - y.mean(axis=1, keepdims=True) if y.size else y,
)
_add(
    "features-stretched",
    "output",
    "Features are stretched to 0 … 1.",
    "everything depends on the clip",
    features=_stretched,
)
_add(
    "features-stretched-both-ways",
    "output",
    "Features are stretched to -1 … 1.",
    "everything depends on the clip",
    since=_SINCE_25,
    features=lambda y, call: 2 * _stretched(y, call) - 1,
)
_add(
    "features-clipped",
    "output",
    "Features are clipped to -1 … 1.",
    "silence reads -1, and loud bands are cut",
    killer="numerics/silence/80",
    features=lambda y, call: np.clip(y, -1, 1),
)
_add(
    "half-precision-features",
    "output",
    "Features are float16 on their way.",
    "5e-4",
    "https://github.com/pytorch/audio/issues/2097",
    features=_rounded_to_half,
)
_add(
    "bfloat16-features",
    "output",
    "Features are bfloat16 on their way.",
    "4e-3",
    features=lambda y, call: _kept_bits(y, 16),
)
_add(
    "frames-by-bands",
    "shape",
    "Frames come first: the matrix is transposed.",
    "shape (frames, bands)",
    "https://github.com/speechbrain/speechbrain/pull/2016",
    killer="boundary/length-401/80",
    features=lambda y, call: y.T,
)
_add(
    "frames-by-bands-in-memory",
    "shape",
    "The matrix is written frame by frame, and read as if it were band by band.",
    "the shape is right, the values are in the wrong places",
    since=_SINCE_25,
    features=lambda y, call: np.ascontiguousarray(y.T).reshape(y.shape),
)
_add(
    "frames-reversed",
    "shape",
    "The last frame comes first.",
    "frames in the wrong order",
    features=lambda y, call: y[:, ::-1],
)
_add(
    "one-band-missing",
    "shape",
    "[:-1] on the wrong axis: the last band is dropped, the last frame kept.",
    "shape (79, frames + 1)",
    "https://github.com/openai/whisper/pull/839",
    killer="boundary/length-401/80",
    spec={"drop_last_frame": False},
    features=lambda y, call: y[:-1],
)
_add(
    "two-frames-dropped",
    "shape",
    "Another frame is dropped besides the last one.",
    "one frame too few",
    killer="boundary/length-401/80",
    since=_SINCE_25,
    features=lambda y, call: y[:, :-1],
)
_add(
    "highest-band-dropped",
    "shape",
    "The last band is dropped.",
    "shape (79, frames)",
    killer="boundary/length-401/80",
    since=_SINCE_25,
    features=lambda y, call: y[:-1],
)
_add(
    "batch-axis-kept",
    "shape",
    "A single clip's features keep the axis of a batch of one.",
    "shape (1, bands, frames)",
    killer="boundary/length-401/80",
    since=_SINCE_25,
    features=lambda y, call: y[np.newaxis],
)
_add(
    "padded-with-zeros",
    "output",
    "Padding is done on the features, with 0.0.",
    "1.5 in every padded frame: silence reads as half loud",
    _FASTER_1084,
    "https://github.com/ggml-org/whisper.cpp/issues/579",
    killer=_PADDED,
    **_padded_with(lambda y: 0.0),
)
_add(
    "padded-with-minimum",
    "output",
    "Padding is done on the features, with their minimum.",
    "frames that straddle the end are lost; loud clips: 1.1 in every padded frame",
    "https://github.com/huggingface/transformers/pull/39221",
    killer=_PADDED,
    **_padded_with(lambda y: y.min()),
)
_add(
    "padded-with-silence",
    "output",
    "Padding is done on the features, with -1.5.",
    "frames that straddle the end are lost; loud clips: wrong in every padded frame",
    _ORT_EXTENSIONS,
    killer=_PADDED,
    **_padded_with(lambda y: -1.5),
)
_add(
    "padded-with-range",
    "output",
    "Padding is done on the features, with the clip's maximum less 8, below silence.",
    "silence pads with -3.5",
    _ORT_EXTENSIONS,
    killer=_PADDED,
    **_padded_with(lambda y: y.max() - 2.0),
)
_add_family(
    "filled-to-3000-frames",
    "output",
    "Features are filled with a number up to 3000 frames, whether asked for or not.",
    "3000 frames for every clip; 0 reads as half loud",
    Parameter("value", 0.0, _grid(-10.0, -2.0, -1.5, -1.0, 0.0, 1.0)),
    lambda value: Variation(stages={"features": _filled(lambda y: value)}),
    _FASTER_1084,
    since=_SINCE_25,
)
_add(
    "filled-with-minimum",
    "output",
    "Features are filled with their minimum up to 3000 frames, whether asked for or not.",
    "3000 frames for every clip; those of loud ones are no silence",
    since=_SINCE_25,
    features=_filled(lambda y: y.min()),
)
_add(
    "smoothing-ignored",
    "output",
    "Smoothing is accepted and not done.",
    "as without smoothing",
    "https://github.com/huggingface/transformers/pull/21938",
    killer="numerics/rising-noise-same/80",
    spec={"smoothing": None},
)
_add(
    "smoothing-counts-zeros",
    "output",
    "Smoothing counts zeros beyond the edges (torch's default).",
    "edges are nearer to 0",
    killer="numerics/rising-noise-same/80",
    features=_zeros_counted,
)
_add(
    "smoothed-unasked",
    "output",
    "The features are smoothed though nobody asked for it.",
    "details are lost",
    features=_smoothed,
)
