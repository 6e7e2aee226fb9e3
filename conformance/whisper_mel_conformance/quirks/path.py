"""The reference's path from PCM to features, with every stage open to variation.

A :class:`Variation` says what is done differently: fields of the specification, or functions that
change what a stage has made. Variations are applied one after the other, so that several faults of
one front-end are as easily computed as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import FrontEndSpec, mel_filterbank
from whisper_mel_reference.bound import (
    EPS,
    FFT_ERROR,
    LAST_ERROR,
    PEAK_ERROR,
    SUM_ERROR,
    WINDOW_ERROR,
)
from whisper_mel_reference.pipeline import PAD_MODES, finish, logarithm, split_clips, window

Array = NDArray[Any]
Hook = Callable[[Any, "Call"], Any]

FRONT = ("audio", "extended", "frames", "window", "spectrum", "power", "bank", "mel")
"""Stages that are the clip's own. In those after them (log, top, clamped, features) the clip's
maximum, and so a batch, has a say."""

_TAIL_FIELDS = {"log", "floor", "dynamic_range", "offset", "divisor", "smoothing"}


@dataclass(frozen=True, eq=False)
class Variation:
    """What is done differently.

    ``spec`` replaces fields of the specification; ``stages`` maps a stage to a function of its
    value and the call, which returns the value to go on with; ``fft_size`` is the length to which
    windowed frames are extended by zeros.
    """

    spec: Mapping[str, Any] = field(default_factory=dict)
    stages: Mapping[str, Hook] = field(default_factory=dict)
    fft_size: int | None = None

    @property
    def is_front(self) -> bool:
        """Whether it changes anything before the logarithm."""
        return (
            self.fft_size is not None
            or bool(set(self.spec) - _TAIL_FIELDS)
            or bool(set(self.stages) & set(FRONT))
        )


class Call:
    """One clip on its way through the stages.

    ``spec`` is what is computed, ``wanted`` what was asked for; ``dtype`` is the audio's own type
    and ``n_samples`` the clip's length; ``seen`` holds the stages so far, ``batch`` the logarithms
    of every clip of the batch.
    """

    def __init__(
        self,
        wanted: FrontEndSpec,
        variations: Sequence[Variation],
        dtype: np.dtype[Any],
        n_samples: int,
    ) -> None:
        self.wanted = wanted
        self.n_samples = n_samples
        self.variations = variations
        self.dtype = dtype
        self.fft_size = wanted.n_fft
        self.spec = wanted
        for variation in variations:
            if variation.spec:
                self.spec = self.spec.replace(**variation.spec)
        self.fft_size = max([self.spec.n_fft, *(v.fft_size or 0 for v in variations)])
        self.seen: dict[str, Any] = {}
        self.batch: list[Array] = []

    def stage(self, name: str, value: Any) -> Any:
        """The value of a stage after every variation of it."""
        for variation in self.variations:
            if name in variation.stages:
                value = variation.stages[name](value, self)
        self.seen[name] = value
        return value


class Mel(NamedTuple):
    """Mel powers ``(n_mels, n_frames)``, the frame that is dropped included; what they may be."""

    exact: Array
    low: Array
    high: Array


def mel_powers(
    clip: Array,
    call: Call,
    real: np.dtype[Any],
    *,
    with_bound: bool = False,
    max_frames: int | None = None,
) -> Mel:
    """The stages up to the filterbank, of one clip in floats.

    ``low`` and ``high`` are as far off as float32 arithmetic may be (docs/error-bound.md) with
    ``with_bound``; without it they are the powers themselves. Raises ``ValueError`` if there are
    more than ``max_frames`` frames, before the work is done.
    """
    spec = call.spec
    audio = call.stage("audio", np.asarray(clip, real))
    padded = np.zeros(spec.padded_length(audio.size), real)
    padded[: audio.size] = audio
    extended = np.pad(padded, spec.reach, mode=PAD_MODES[spec.pad_mode])  # type: ignore[call-overload]
    call.seen["padded"] = padded
    extended = call.stage("extended", extended)
    views = np.lib.stride_tricks.sliding_window_view(extended, spec.n_fft)
    frames = call.stage("frames", views[:: spec.hop])
    if max_frames is not None and len(frames) > max_frames:
        raise ValueError(f"{len(frames)} frames: expected at most {max_frames}")
    weights = call.stage("window", window(spec, real))
    windowed = frames * weights
    spectrum = call.stage("spectrum", np.fft.rfft(windowed, call.fft_size, axis=-1))
    bank = mel_filterbank(spec.n_mels, spec.replace(n_fft=call.fft_size)).astype(real)
    bank = call.stage("bank", bank)
    magnitude = np.abs(spectrum)

    def mel_of(magnitudes: Array, off: float = 0.0) -> Array:
        power = magnitudes**spec.power if spec.power != 2.0 else magnitudes * magnitudes
        sums = bank @ call.stage("power", power).T
        mel: Array = call.stage("mel", sums + sums * real.type(off) if off else sums)
        return mel

    mel = mel_of(magnitude)
    if not with_bound:
        return Mel(mel, mel, mel)
    delta = EPS * (
        FFT_ERROR * _norm(windowed)
        + PEAK_ERROR * magnitude.max(axis=-1, keepdims=True)
        + WINDOW_ERROR * _norm(frames) * np.abs(weights).max()
    )
    # Before the stage, not after it: where that rounds, the sum's error may become a greater one.
    off = SUM_ERROR * EPS
    high, low = mel_of(magnitude + delta, off), mel_of(np.maximum(magnitude - delta, 0.0), -off)
    error = np.maximum(np.abs(high - mel), np.abs(low - mel))
    return Mel(mel, mel - error, mel + error)


def _norm(frames: Array) -> Array:
    return np.sqrt(np.einsum("ij,ij->i", frames, frames))[:, np.newaxis]


def features(mel: Array, call: Call) -> Array:
    """The stages from the filterbank on."""
    spec = call.spec
    log = call.stage("log", logarithm(mel, spec))
    kept = log[:, :-1] if spec.drop_last_frame else log
    call.seen["kept"] = kept
    top = call.stage("top", kept.max())
    clamped = call.stage("clamped", np.maximum(kept, top - log.dtype.type(spec.dynamic_range)))
    result: Array = call.stage("features", finish(clamped, spec))
    return result


def log_mel(audio: Array, wanted: FrontEndSpec, variations: Sequence[Variation]) -> Array:
    """Float32 features of a clip or of a batch, each stage in float32, with these variations.

    Raises what :func:`whisper_mel_reference.log_mel` raises.
    """
    clips, is_batch = split_clips(audio, None)
    real = np.dtype(np.float32)
    calls = [Call(wanted, variations, audio.dtype, clip.size) for clip in clips]
    with np.errstate(all="ignore"):
        mels = [mel_powers(c, call, real).exact for c, call in zip(clips, calls, strict=True)]
        rows = finish_batch(mels, calls)
    stacked = np.stack(rows).astype(np.float32)
    return stacked if is_batch else stacked[0]


def finish_batch(mels: Sequence[Array], calls: Sequence[Call]) -> list[Array]:
    """The features of the clips of one batch."""
    with np.errstate(all="ignore"):
        logs = [logarithm(mel, call.spec) for mel, call in zip(mels, calls, strict=True)]
        for call in calls:
            call.batch = logs
        return [features(mel, call) for mel, call in zip(mels, calls, strict=True)]


def last_error(values: Array) -> Array:
    """What the last roundings of a float32 feature may be off."""
    error: Array = LAST_ERROR * EPS * np.maximum(np.abs(values), 1.0)
    return error
