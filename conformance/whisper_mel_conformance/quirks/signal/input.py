"""Quirks of what is done to samples before they are framed."""

from __future__ import annotations

import numpy as np

from whisper_mel_conformance.quirks.path import Call, Hook, Variation
from whisper_mel_conformance.quirks.quirk import Parameter
from whisper_mel_conformance.quirks.signal.common import (
    WENET_2320,
    Array,
    rounded_to_bfloat16,
    rounded_to_half,
)
from whisper_mel_conformance.quirks.table import Table

INPUT = Table("input")


def _pcm16(audio: Array, call: Call) -> Array:
    whole = np.clip(np.rint(audio * 32768.0), -32768, 32767)
    return whole.astype(audio.dtype) / audio.dtype.type(32768.0)


def _truncated(divisor: float) -> Variation:
    def hook(audio: Array, call: Call) -> Array:
        # In float32, as such code computes: the product is rounded, then truncated
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
    """Scale int16 audio only."""
    return lambda audio, call: audio * audio.dtype.type(factor if call.dtype == np.int16 else 1.0)


def _emphasised(coefficient: float) -> Variation:
    def hook(audio: Array, call: Call) -> Array:
        return np.concatenate([audio[:1], audio[1:] - audio.dtype.type(coefficient) * audio[:-1]])

    return Variation(stages={"audio": hook})


def _peak_normalised(audio: Array, call: Call) -> Array:
    return audio / max(np.abs(audio).max(), np.finfo(audio.dtype).tiny)


def _levelled(rms: float) -> Variation:
    def hook(audio: Array, call: Call) -> Array:
        level = np.sqrt(np.square(audio).mean())
        return audio * (audio.dtype.type(rms) / max(level, np.finfo(audio.dtype).tiny))

    return Variation(stages={"audio": hook})


def _unit_variance(audio: Array, call: Call) -> Array:
    return (audio - audio.mean()) / np.sqrt(audio.var() + audio.dtype.type(1e-7))


def _peak_normalised_to(peak: float) -> Variation:
    def hook(audio: Array, call: Call) -> Array:
        highest = np.abs(audio).max(initial=0)
        return audio * audio.dtype.type(peak) / highest if highest > 0 else audio

    return Variation(stages={"audio": hook})


def _lowest_turned(audio: Array, call: Call) -> Array:
    if call.dtype != np.int16:
        return audio
    return np.where(audio == -1, audio.dtype.type(32767 / 32768), audio)


def _read_as_half(audio: Array, call: Call) -> Array:
    half = np.ascontiguousarray(audio, np.float32).view(np.float16)[: audio.size]
    return np.nan_to_num(half).astype(audio.dtype)


def _half_read_as_single(audio: Array, call: Call) -> Array:
    half = np.ascontiguousarray(audio, np.float16)
    return np.resize(half, 2 * half.size).view(np.float32).astype(audio.dtype)


INPUT.add(
    "clipped-input",
    "Samples are clipped to -1 … 1.",
    "float audio above full scale is distorted; nothing else shows it",
    fix="Leave samples beyond -1 … 1 as they are: remove `np.clip(x, -1, 1)` or the "
    "saturating conversion.",
    killer="numerics/rising-noise-e3/80",
    audio=lambda audio, call: np.clip(audio, -1, 1),
)
INPUT.add(
    "quantised-input",
    "Samples take a detour through 16-bit integers, rounded and clipped.",
    "quiet audio is replaced by quantisation noise",
    "https://github.com/openai/openai-agents-python/pull/4755",
    fix="Pass the float samples on; do not convert them to int16 and back.",
    killer="numerics/near-floor-noise/80",
    audio=_pcm16,
)
INPUT.add_family(
    "truncated-input",
    "Samples are multiplied by 32767, clipped, cast to int16, which truncates, and divided by a "
    "number.",
    "quiet audio is replaced by quantisation noise",
    Parameter("divisor", 32768, (32767, 32768), True),
    _truncated,
    "https://github.com/openai/openai-agents-python/pull/4755",
    fix="Pass the float samples on; where int16 is needed, round: `np.rint(x * "
    "32768).clip(-32768, 32767).astype(np.int16)`.",
    killer="numerics/near-floor-noise/80",
    since="2026-11-25",
)
INPUT.add(
    "wrapped-input",
    "Samples are multiplied by 32768 and cast to int16: what does not fit wraps around.",
    "full scale becomes a click of the other sign",
    "https://github.com/microsoft/VibeVoice/pull/281",
    fix="Pass the float samples on, or saturate before the cast: `np.rint(x * "
    "32768).clip(-32768, 32767).astype(np.int16)`.",
    killer="numerics/square/80",
    audio=_wrapped,
)
INPUT.add_family(
    "truncated-and-wrapped-input",
    "Samples are multiplied by a number and cast to int16 as they are (NumPy's astype): what is "
    "behind the point is lost, and what does not fit wraps around.",
    "quiet audio is replaced by quantisation noise; full scale becomes a click of the other sign",
    Parameter("factor", 32767, (32767, 32768), listed=True),
    _truncated_and_wrapped,
    "https://github.com/microsoft/VibeVoice/pull/281",
    fix="Pass the float samples on, or round and saturate before the cast: `np.rint(x *"
    " 32768).clip(-32768, 32767).astype(np.int16)`.",
    killer="numerics/near-floor-noise/80",
    since="2026-11-25",
)
INPUT.add(
    "half-precision-input",
    "Samples are float16 on their way.",
    "noise 70 dB below each sample: quiet bands beside loud ones",
    fix="Compute the features from float32 samples: `x.astype(np.float32)` before "
    'anything is float16; `torch.autocast("cuda", enabled=False)` around it.',
    since="2026-11-25",
    audio=rounded_to_half,
)
INPUT.add(
    "bfloat16-input",
    "Samples are bfloat16 on their way.",
    "noise 50 dB below each sample: quiet bands beside loud ones",
    fix="Compute the features from float32 samples: `x.float()`, and "
    '`torch.autocast("cuda", enabled=False)` around it.',
    since="2026-11-25",
    audio=rounded_to_bfloat16,
)
INPUT.add_family(
    "delayed-input",
    "The clip comes some samples late, after zeros (or early, if fewer than 0), and is no longer.",
    "everything is late by a part of a hop; the clip's ends differ",
    Parameter("samples", 80, (-320, -160, -80, -40, -1, 1, 40, 80, 160, 320), True),
    lambda by: _delayed(round(by)),
    fix="Frame t is centred on sample 160 t: do not prepend samples, and take away the "
    "delay of a resampler or codec.",
    since="2026-11-25",
)
INPUT.add(
    "int16-by-32767",
    "int16 audio is divided by 32767.",
    "6.6e-6 too high wherever nothing is clamped: below a tolerance of 1e-5",
    "https://github.com/deepjavalibrary/djl/pull/3646",
    "https://github.com/openai/openai-agents-python/pull/4755",
    fix="Divide by 32768: `x.astype(np.float32) / 32768.0`. C: `x[i] / 32768.0f`.",
    killer="numerics/quiet-noise-int16/80",
    audio=_int16_times(32768.0 / 32767.0),
)
INPUT.add(
    "int16-unscaled",
    "int16 audio is accepted and not divided by anything.",
    "2.2577 too high wherever nothing is clamped",
    "https://github.com/huggingface/transformers/issues/19888",
    fix="Divide int16 samples by 32768: `x.astype(np.float32) / 32768.0`. C: `x[i] / 32768.0f`.",
    killer="numerics/quiet-noise-int16/80",
    audio=_int16_times(32768.0),
)
INPUT.add(
    "float-as-int16",
    "Float audio is multiplied by 32768, as Kaldi's front-ends expect it.",
    "2.2577 too high wherever nothing is clamped",
    "https://github.com/csukuangfj/kaldi-native-fbank/issues/63",
    fix="Float samples are -1 … 1 already: remove the factor 32768.",
    audio=lambda audio, call: audio * audio.dtype.type(32768.0),
)
INPUT.add_family(
    "gain",
    "Audio is multiplied by a factor.",
    "a constant wherever nothing is clamped",
    Parameter("factor", 0.5, (1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.25, 0.5, 0.9, 2.0, 10.0, 1e5)),
    lambda g: Variation(stages={"audio": lambda audio, call: audio * audio.dtype.type(g)}),
    fix="Remove the factor: samples are used as they are, int16 ones divided by 32768.",
)
INPUT.add_family(
    "pre-emphasis",
    "Samples are pre-emphasised: x[t] - c x[t-1], a habit of recognisers before Whisper.",
    "low bands are lower, high bands higher",
    Parameter("coefficient", 0.97, (0.1, 0.5, 0.9, 0.95, 0.97, 0.98, 1.0)),
    _emphasised,
    WENET_2320,
    fix="Remove the filter; in options of other libraries: `preemphasis=0.0`.",
)
INPUT.add(
    "mean-removed",
    "The clip's mean is subtracted.",
    "DC disappears",
    fix="Keep the clip's mean: remove `x - x.mean()`.",
    killer="numerics/dc/80",
    audio=lambda audio, call: audio - audio.mean(),
)
INPUT.add(
    "peak-normalised",
    "Each clip is scaled to a peak of 1.",
    "a constant that depends on the clip",
    fix="Leave the level as it is: remove `x / np.abs(x).max()`.",
    audio=_peak_normalised,
)
INPUT.add_family(
    "rms-normalised",
    "Each clip is scaled to the same root mean square.",
    "a constant that depends on the clip",
    Parameter("rms", 0.1, (0.001, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0)),
    _levelled,
    fix="Leave the level as it is: remove the division by the root mean square.",
    since="2026-11-25",
)
INPUT.add(
    "unit-variance",
    "Each clip is scaled to mean 0 and variance 1 (do_normalize).",
    "a constant that depends on the clip; DC disappears",
    "https://github.com/huggingface/transformers/pull/21938",
    fix="Leave the level as it is: `do_normalize=False`, or remove `(x - x.mean()) / x.std()`.",
    audio=_unit_variance,
)
INPUT.add(
    "cut-to-whole-hops",
    "Samples behind the last whole hop are cut off.",
    "the last frame sees another mirrored end",
    fix="Keep the samples behind the last whole hop: they are seen by the last frames. "
    "Do not cut `x` to a multiple of 160.",
    killer="boundary/every-remainder/80",
    audio=lambda audio, call: audio[: audio.size // 160 * 160],
)
INPUT.add(
    "reversed-input",
    "The clip is read from its end, as by a negative stride that is ignored.",
    "frames in the wrong order",
    "https://github.com/pytorch/pytorch/issues/120403",
    fix="Read the samples in their order: mind negative strides, or copy first: "
    "`np.ascontiguousarray(x)`.",
    audio=lambda audio, call: audio[::-1],
)
INPUT.add_family(
    "peak-normalised-to",
    "Each clip is scaled to another peak than 1, such as half scale.",
    "a constant that depends on the clip",
    Parameter("peak", 0.5, (0.1, 0.25, 0.5, 0.707, 0.9, 0.95, 0.99, 2.0)),
    _peak_normalised_to,
    fix="Leave the level as it is: remove the scaling to a peak.",
    since="2026-11-27",
)
INPUT.add(
    "lowest-int16-turned",
    "Of int16 audio -32768 becomes 32767, the magnitude of what has none.",
    "a click at such samples",
    fix="Convert before a magnitude is taken or a sign turned: `x.astype(np.float32) / 32768.0`.",
    killer="numerics/lowest-int16/80",
    since="2026-11-27",
    audio=_lowest_turned,
)
INPUT.add(
    "float32-read-as-float16",
    "The memory of float32 samples is read as float16.",
    "noise",
    fix="Convert values instead of reading memory as another type: "
    "`x.astype(np.float32)`, not `x.view(np.float16)` or a pointer cast; check `x.dtype` first.",
    since="2026-11-27",
    audio=_read_as_half,
)
INPUT.add(
    "float16-read-as-float32",
    "Samples are stored as float16, and the memory is read as float32.",
    "noise of tiny or huge amplitudes",
    fix="Convert values instead of reading memory as another type: "
    "`x.astype(np.float32)`, not `x.view(np.float32)`.",
    since="2026-11-27",
    audio=_half_read_as_single,
)
