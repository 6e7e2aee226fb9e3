"""The reference's path from PCM to features, with every stage open to variation.

A :class:`Variation` changes fields of the specification, or the values of stages. Variations are
applied one after the other, so a front-end may have several.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import FrontEndSpec, mel_filterbank, pipeline
from whisper_mel_reference.bound import EPS, SUM_ERROR, spectrum_error
from whisper_mel_reference.pipeline import clamp, finish, logarithm, split_clips

Array = NDArray[Any]
Hook = Callable[[Any, "Call"], Any]

FRONT = (
    *("audio", "padded", "extended", "frames", "window", "windowed"),
    *("spectrum", "power", "bank", "mel"),
)
"""Stages that depend on one clip alone. The stages in ``TAIL`` depend on the clip's maximum, and so
perhaps on other clips of a batch.
"""
TAIL = ("log", "kept", "top", "clamped", "features")
"""Stages after the mel powers; ``kept`` is the logarithm without the dropped frame."""

_TAIL_FIELDS = {"log", "floor", "dynamic_range", "maximum", "offset", "divisor", "smoothing"}
_LATE_FIELDS = {
    "window": "window",
    "power": "power",
    **dict.fromkeys(("mel_scale", "mel_norm", "f_min", "f_max"), "bank"),
}
"""The first stage that looks at a field of the specification, where that is none of the first four
and none of the tail."""


@dataclass(frozen=True, eq=False)
class Variation:
    """A departure from the reference's path.

    ``spec`` replaces fields of the specification. ``stages`` maps the name of a stage to a function
    of its value and of the call, which returns the value to continue with. ``fft_size`` is the
    length to which windowed frames are extended by zeros.
    """

    spec: Mapping[str, Any] = field(default_factory=dict)
    stages: Mapping[str, Hook] = field(default_factory=dict)
    fft_size: int | None = None

    def __post_init__(self) -> None:
        for name in self.stages:
            if name not in (*FRONT, *TAIL):
                raise ValueError(f"stages: {name!r} is none of {', '.join((*FRONT, *TAIL))}")

    @cached_property
    def is_front(self) -> bool:
        """Whether it changes a stage before the logarithm."""
        return (
            self.fft_size is not None
            or bool(set(self.spec) - _TAIL_FIELDS)
            or bool(set(self.stages) & set(FRONT))
        )

    @cached_property
    def first(self) -> int:
        """The place in ``FRONT`` of the first stage that it changes, or how many there are."""
        names = [name for name in self.stages if name in FRONT]
        names += [_LATE_FIELDS.get(name, FRONT[0]) for name in set(self.spec) - _TAIL_FIELDS]
        names += [] if self.fft_size is None else ["windowed"]
        return min(map(FRONT.index, names), default=len(FRONT))

    @property
    def is_only_front(self) -> bool:
        """Whether all that is changed lies before the logarithm."""
        return not (set(self.spec) & _TAIL_FIELDS or set(self.stages) & set(TAIL))

    @property
    def keeps_frames(self) -> bool:
        """Whether all frames that are cut, and no others, become features, as the specification
        says."""
        return not {"kept", "features"} & set(self.stages)


@lru_cache(maxsize=4096)  # the diagnosis varies the same specifications thousands of times
def _varied(spec: FrontEndSpec, variation: Variation) -> FrontEndSpec:
    return spec.replace(**variation.spec)


class Call:
    """One clip on its way through the stages.

    ``clip`` holds the samples as floats, ``dtype`` is their original type, ``real`` the type of the
    computation. ``wanted`` is the requested specification, ``spec`` the one that is computed.
    ``seen`` holds the stages by name, ``batch`` the stage ``kept`` of every clip of the batch.
    """

    def __init__(
        self,
        clip: Array,
        dtype: np.dtype[Any],
        real: np.dtype[Any],
        wanted: FrontEndSpec,
        variations: Sequence[Variation],
    ) -> None:
        self.clip, self.dtype, self.real = clip, dtype, real
        self.wanted = self.spec = wanted
        self.variations = variations
        for variation in variations:
            if variation.spec:
                self.spec = _varied(self.spec, variation)
        self.fft_size = max([self.spec.n_fft, *(v.fft_size or 0 for v in variations)])
        self.seen = _Seen(self)
        self.batch: list[Array] = []

    def stage(self, name: str, value: Any) -> Any:
        """Apply every variation of a stage to its value; record and return the result."""
        if self.fft_size > self.spec.n_fft:
            value = self._of_longer_transform(name, value)
        for variation in self.variations:
            if name in variation.stages:
                value = variation.stages[name](value, self)
        self.seen[name] = value
        return value

    def share(self, other: Call) -> None:
        """Take over what another call of the same clip has computed in the same way: up to the
        frames, or up to the spectrum."""
        for last in ("frames", "spectrum"):
            first = FRONT[: FRONT.index(last) + 1]
            ours, theirs = (
                [v for v in call.variations if v.first < len(first)] for call in (self, other)
            )
            if last not in other.seen or ours != theirs:
                break
            self.seen.update({name: other.seen[name] for name in first})

    def _of_longer_transform(self, name: str, value: Any) -> Any:
        """Extend windowed frames by zeros to ``fft_size``, and make the matching filterbank."""
        if name == "windowed":
            return np.pad(value, ((0, 0), (0, self.fft_size - self.spec.n_fft)))
        if name == "bank":
            spec = self.spec.replace(n_fft=self.fft_size)
            return mel_filterbank(spec.n_mels, spec).astype(self.real)
        return value


class _Seen(dict[str, Any]):
    """The stages of a call so far.

    The diagnosis supplies mel powers that it has kept. Then earlier stages are computed when one of
    them is first looked up.
    """

    def __init__(self, call: Call) -> None:
        super().__init__()
        # a weak reference: a cycle would keep the arrays alive for a while
        self.call = weakref.proxy(call)
        self.has_front = False

    def __missing__(self, name: str) -> Any:
        if name not in FRONT or self.has_front:
            raise KeyError(f"stage {name!r} comes later than the one that looks it up")
        call = self.call
        front = Call(call.clip, call.dtype, call.real, call.wanted, call.variations)
        mel_powers(front)
        self.has_front = True
        self.update({**front.seen, **self})
        return self[name]


class Mel(NamedTuple):
    """Mel powers, and the lowest and the highest that float32 arithmetic may give.

    Each has shape ``(n_mels, n_frames)``, including the frame that is dropped later.
    """

    exact: Array
    low: Array
    high: Array


@np.errstate(over="ignore", invalid="ignore")  # whoever looks at the powers checks them
def mel_powers(call: Call, *, with_bound: bool = False, n_frames: range | None = None) -> Mel:
    """Compute the stages up to the mel powers.

    With ``with_bound``, ``low`` and ``high`` differ from the powers by the error bound
    (docs/error-bound.md); without it they are equal to them. Raises ``ValueError``, before any
    work, if the number of frames, with the one that is dropped later, is not in ``n_frames``.

    Of many silent frames one is computed, for all of them: no stage behind ``frames`` looks at two.
    """
    call.seen.has_front = True
    spec, real = _with_last_frame(call.spec), call.real
    if "frames" not in call.seen:
        pipeline.frames(call.clip, spec, real, call.stage)
    frames = call.seen["frames"]
    if n_frames is not None and len(frames) not in n_frames:
        raise ValueError(f"{len(frames)} frames: expected one of {n_frames}")
    places: Any = slice(None)  # of the frames that are computed, in the order of all frames
    if len(frames) > _MANY_FRAMES:
        sounding = frames.any(axis=-1)
        computed = sounding.copy()
        computed[np.flatnonzero(~sounding)[:1]] = True
        places = np.where(sounding, np.cumsum(computed) - 1, np.argmin(sounding[computed]))
        frames = frames[computed]
    if "spectrum" not in call.seen:
        pipeline.spectra(frames, spec, real, call.stage)
    windowed, spectrum = call.seen["windowed"], call.seen["spectrum"]
    _, mel = pipeline.mel_powers(spectrum, spec, real, call.stage)
    exact = mel[:, places]
    if not with_bound:
        return Mel(exact, exact, exact)
    bank, magnitude = call.seen["bank"], np.abs(spectrum)
    gain = float(np.abs(call.seen["window"]).max())
    peak = magnitude.max(axis=-1)
    delta = spectrum_error(frames, windowed, peak, gain=gain)[:, np.newaxis]

    def mel_of(magnitude: Array, off: float) -> Array:
        """Compute mel powers by running the stages; the bound's closed form ignores variations."""
        power = magnitude * magnitude if call.spec.power == 2.0 else magnitude
        sums = bank @ call.stage("power", power).T
        # The error is added before the stage: a stage that rounds may make it larger.
        mel: Array = call.stage("mel", sums + sums * call.real.type(off))
        return mel

    off = SUM_ERROR * EPS
    high, low = mel_of(magnitude + delta, off), mel_of(np.maximum(magnitude - delta, 0.0), -off)
    error = np.maximum(np.abs(high - mel), np.abs(low - mel))[:, places]
    return Mel(exact, exact - error, exact + error)


_MANY_FRAMES = 1000


@lru_cache(maxsize=1024)
def _with_last_frame(spec: FrontEndSpec) -> FrontEndSpec:
    return spec.replace(drop_last_frame=False)


def log_mel(audio: Array, wanted: FrontEndSpec, variations: Sequence[Variation]) -> Array:
    """Compute float32 features of a clip or of a batch with these variations.

    Raises what :func:`whisper_mel_reference.log_mel` raises.
    """
    clips, is_batch = split_clips(audio, None)
    real = np.dtype(np.float32)
    calls = [Call(clip, audio.dtype, real, wanted, variations) for clip in clips]
    with np.errstate(all="ignore"):
        rows = finish_batch([mel_powers(call).exact for call in calls], calls)
    stacked = np.stack(rows).astype(np.float32)
    return stacked if is_batch else stacked[0]


def finish_batch(mels: Sequence[Array], calls: Sequence[Call]) -> list[Array]:
    """Compute the features of the clips of one batch from their mel powers."""
    with np.errstate(all="ignore"):
        batch = [_kept(mel, call) for mel, call in zip(mels, calls, strict=True)]
        for call in calls:
            call.batch = batch
        return [_features(kept, call) for kept, call in zip(batch, calls, strict=True)]


def _kept(mel: Array, call: Call) -> Array:
    call.seen["mel"] = mel
    log = call.stage("log", logarithm(mel, call.spec))
    kept: Array = call.stage("kept", log[:, :-1] if call.spec.drop_last_frame else log)
    return kept


def _features(kept: Array, call: Call) -> Array:
    clamped = clamp(kept, call.spec, call.stage)
    features: Array = call.stage("features", finish(clamped, call.spec))
    return features
