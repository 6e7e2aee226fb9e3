"""The specification of a log-Mel front-end, as data."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import numpy as np

Window = Literal["hann-periodic", "hann-symmetric", "hamming-periodic", "povey", "rectangular"]
PadMode = Literal["reflect", "zero", "symmetric", "edge"]
MelScale = Literal["slaney", "htk"]
Log = Literal["log10", "ln"]
Smoothing = Literal["valid", "same"]
Maximum = float | Literal["clip", "chunk"]

CHUNK_SECONDS = 30
"""The length of a chunk in seconds: what a Whisper model hears at a time."""

_CHOICES: dict[str, tuple[object, ...]] = {
    "window": ("hann-periodic", "hann-symmetric", "hamming-periodic", "povey", "rectangular"),
    "pad_mode": ("reflect", "zero", "symmetric", "edge"),
    "mel_scale": ("slaney", "htk"),
    "mel_norm": ("slaney", None),
    "log": ("log10", "ln"),
    "power": (1.0, 2.0),
    "smoothing": (None, "valid", "same"),
}


@dataclasses.dataclass(frozen=True)
class FrontEndSpec:
    """A log-Mel front-end. The defaults are Whisper's (openai-whisper, ``whisper/audio.py``).

    Attributes
    ----------
    sample_rate : samples per second of the audio.
    n_fft : samples in a frame, and the size of its Fourier transform.
    hop : samples from one frame to the next.
    window : the weight of each sample of a frame; Whisper's is the periodic Hann window,
        ``w[j] = 0.5 - 0.5 cos(2 pi j / n_fft)``.
    centre : frame ``t`` is centred on sample ``t * hop``; the clip is extended by ``n_fft // 2``
        samples on both sides. Without it, frame ``t`` begins there.
    pad_mode : how a centred clip is extended: mirrored without repeating the edge sample
        (``reflect``), mirrored with it (``symmetric``), by zeros, or by the edge sample.
    drop_last_frame : the last frame is not part of the features (nor of their maximum).
    power : exponent of the spectrum's magnitude.
    mel_scale, mel_norm, f_min, f_max, n_mels : the filterbank: triangles equidistant on the mel
        scale between two frequencies in hertz; ``slaney`` norm gives each the area of 1 Hz.
    log, floor : the logarithm, taken of ``max(mel, floor)``.
    dynamic_range : values further below the maximum (in units of the logarithm) are raised to that
        distance.
    maximum : what that maximum is: the largest value of the ``clip``; of each ``chunk`` of 30 s
        (3,000 frames of Whisper's, counted from the clip's first one; frames and edges stay those
        of the whole clip); or a number, in units of the logarithm, for every clip. Values above
        that number stay as they are.
    offset, divisor : the features are ``(log + offset) / divisor``.
    smoothing : the 3x3 mean of the finished features: none; ``valid`` (only whole neighbourhoods:
        two bands and two frames fewer); or ``same`` (the mean over the neighbours that exist).
    pad_to : the number of samples to which zeros are appended before anything else, or none.

    Raises
    ------
    ValueError, TypeError
        for a field outside its range; the message names the field, its value and what is allowed.
    """

    sample_rate: int = 16000
    n_fft: int = 400
    hop: int = 160
    window: Window = "hann-periodic"
    centre: bool = True
    pad_mode: PadMode = "reflect"
    drop_last_frame: bool = True
    power: float = 2.0
    mel_scale: MelScale = "slaney"
    mel_norm: Literal["slaney"] | None = "slaney"
    f_min: float = 0.0
    f_max: float = 8000.0
    n_mels: int = 80
    log: Log = "log10"
    floor: float = 1e-10
    dynamic_range: float = 8.0
    maximum: Maximum = "clip"
    offset: float = 4.0
    divisor: float = 4.0
    smoothing: Smoothing | None = None
    pad_to: int | None = None

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected one of {allowed}")
        for name in ("sample_rate", "n_fft", "hop", "n_mels"):
            require_count(name, getattr(self, name), at_least=1)
        if self.pad_to is not None:
            require_count("pad_to", self.pad_to, at_least=1)
        for name in ("floor", "dynamic_range", "divisor"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected a positive number")
        if self.maximum not in ("clip", "chunk"):
            object.__setattr__(self, "maximum", _require_maximum(self.maximum))
        if not math.isfinite(self.offset):
            raise ValueError(f"offset={self.offset!r}: expected a finite number")
        if not 0 <= self.f_min < self.f_max <= self.sample_rate / 2:
            raise ValueError(
                f"f_min={self.f_min!r}, f_max={self.f_max!r}: expected "
                f"0 <= f_min < f_max <= sample_rate / 2 = {self.sample_rate / 2}"
            )

    def replace(self, **changes: Any) -> FrontEndSpec:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    @classmethod
    def for_model(cls, name: str) -> FrontEndSpec:
        """Return the front-end of a model, a value of ``MODELS``, with the zeros that its processor
        appends to a clip (``pad_to``).

        Capitals, dashes, dots and underscores in ``name`` do not matter: ``Qwen2.5-Omni``. Raises
        ``ValueError`` for an unknown name, and lists the known ones; ``TypeError`` for no text.
        """
        if not isinstance(name, str):
            raise TypeError(f"model={name!r}: expected a name, not {type(name).__name__}")
        for known, spec in MODELS.items():
            if _letters(known) == _letters(name):
                return spec
        raise ValueError(f"model={name!r}: expected one of {', '.join(MODELS)}")

    @property
    def reach(self) -> int:
        """Number of samples by which a clip is extended on each side; 0 if it is not centred."""
        return self.n_fft // 2 if self.centre else 0

    @property
    def chunk_frames(self) -> int:
        """Number of frames in a chunk, which has a maximum of its own with ``maximum="chunk"``."""
        return CHUNK_SECONDS * self.sample_rate // self.hop

    def padded_length(self, n_samples: int) -> int:
        """Count the samples after the zeros of ``pad_to``.

        Raises ``ValueError`` if the clip is longer than ``pad_to`` (nothing is cut off silently)
        or too short to be extended or to give one frame.
        """
        require_count("number of samples", n_samples, at_least=0)
        if self.pad_to is not None and n_samples > self.pad_to:
            raise ValueError(
                f"audio has {n_samples} samples: expected at most pad_to={self.pad_to}"
            )
        if n_samples == 0:
            raise ValueError("audio is empty: expected at least one sample")
        length = n_samples if self.pad_to is None else self.pad_to
        needs = self.reach + 1 if self.pad_mode == "reflect" else max(self.reach, 1)
        if length < needs:
            raise ValueError(
                f"audio has {length} samples, pad_to={self.pad_to}: {self.pad_mode} padding by "
                f"{self.reach} needs at least {needs}"
            )
        if self._count_frames(length) < 1:
            raise ValueError(f"audio has {length} samples: too short for a single frame")
        return length

    def n_frames(self, n_samples: int) -> int:
        """Count the frames in the features of ``n_samples`` samples, before any smoothing."""
        return self._count_frames(self.padded_length(n_samples))

    def feature_shape(self, n_samples: int) -> tuple[int, int]:
        """Return the shape ``(bands, frames)`` of the features of a clip, smoothing included."""
        n_frames = self.n_frames(n_samples)
        if self.smoothing != "valid":
            return self.n_mels, n_frames
        if n_frames < 3 or self.n_mels < 3:
            raise ValueError(
                f"audio gives {n_frames} frames of {self.n_mels} bands: "
                "smoothing='valid' needs at least 3 of each"
            )
        return self.n_mels - 2, n_frames - 2

    def _count_frames(self, length: int) -> int:
        whole = 1 + (length + 2 * self.reach - self.n_fft) // self.hop
        return whole - 1 if self.drop_last_frame else whole


def _letters(name: str) -> str:
    """Return the letters and digits of a name, in lower case."""
    return "".join(filter(str.isalnum, name.lower()))


def _require_maximum(value: object) -> float:
    """Return a fixed maximum as a float; raise ``ValueError`` for what is none."""
    is_number = isinstance(value, (int, float, np.integer, np.floating))
    if isinstance(value, bool) or not is_number or not math.isfinite(value):  # type: ignore[arg-type]
        raise ValueError(f"maximum={value!r}: expected 'clip', 'chunk' or a finite number")
    return float(value)  # type: ignore[arg-type]


def require_count(name: str, value: object, *, at_least: int) -> int:
    """Return ``value`` as an int; raise ``TypeError`` or ``ValueError`` unless it is a count."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}={value!r}: expected an int, not {type(value).__name__}")
    if value < at_least:
        raise ValueError(f"{name}={value!r}: expected at least {at_least}")
    return int(value)


WHISPER = FrontEndSpec()
"""The front-end of every Whisper model (the large-v3 family uses ``n_mels=128``)."""

_30_SECONDS = CHUNK_SECONDS * WHISPER.sample_rate

MODELS: dict[str, FrontEndSpec] = {
    "whisper": WHISPER.replace(pad_to=_30_SECONDS),
    "whisper-large-v3": WHISPER.replace(n_mels=128, pad_to=_30_SECONDS),
    "qwen2-audio": WHISPER.replace(n_mels=128, pad_to=_30_SECONDS),
    "qwen2.5-omni": WHISPER.replace(n_mels=128),
    "qwen3-omni-moe": WHISPER.replace(n_mels=128),
    "qwen3-asr": WHISPER.replace(n_mels=128),
    "voxtral": WHISPER.replace(n_mels=128, pad_to=_30_SECONDS),
    "voxtral-realtime": WHISPER.replace(n_mels=128, maximum=1.5),
    "audioflamingo3": WHISPER.replace(n_mels=128, pad_to=_30_SECONDS),
    "musicflamingo": WHISPER.replace(n_mels=128, pad_to=_30_SECONDS),
    "glmasr": WHISPER.replace(n_mels=128, pad_to=_30_SECONDS),
    "moss-transcribe-diarize": WHISPER.replace(pad_to=_30_SECONDS),
    "dots3-note": WHISPER.replace(n_mels=128, pad_to=2 * _30_SECONDS),
}
"""The front-ends of models that hear Whisper's features, by the models' names (docs/models.md)."""
