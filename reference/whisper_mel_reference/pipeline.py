"""The pipeline from PCM to log-Mel features, with one function for each stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from whisper_mel_reference.filterbank import mel_filterbank
from whisper_mel_reference.spec import WHISPER, FrontEndSpec, require_count

Array = NDArray[Any]
Tap = Callable[[str, Any], Any]
"""A function that takes the name and the value of a stage as soon as it is computed. It returns the
value that the next stage is computed from.
"""

INT16_SCALE = 1.0 / 32768.0  # exact in binary: int16 PCM becomes [-1, 1)
_BLOCK = 256  # frames computed at a time, so that a block's arrays stay in the L2 cache
_STAGES = ("frames", "windowed", "spectrum", "power", "mel", "log", "clamped", "features")
PAD_MODES = {"reflect": "reflect", "symmetric": "symmetric", "edge": "edge", "zero": "constant"}
"""The name that ``numpy.pad`` has for each ``pad_mode`` of a specification."""


def log_mel(
    audio: ArrayLike,
    spec: FrontEndSpec = WHISPER,
    *,
    dtype: DTypeLike = np.float64,
    lengths: Sequence[int] | None = None,
) -> Array:
    """Compute the log-Mel features of one clip or of a batch of clips.

    Parameters
    ----------
    audio : array of shape ``(n,)`` or ``(batch, n)``; float32 or float64 with full scale 1, or
        int16 PCM, which is divided by 32768. It is not modified.
    spec : what to compute; Whisper's front-end with 80 bands by default.
    dtype : float64 (the truth that the error bound refers to) or float32 (every stage rounded to
        it, as common implementations do).
    lengths : the number of samples that count in each clip of a batch, where clips differ.
        Frames after the end of a clip hold the value that silence has there.

    Returns
    -------
    array of ``dtype`` and shape ``(n_mels, n_frames)`` or ``(batch, n_mels, n_frames)`` (two
    bands and two frames fewer with ``smoothing="valid"``). Each clip has its own maximum, unless
    ``spec.maximum`` is a number.
    Values are dimensionless: ``(log10 of mel power + 4) / 4`` for Whisper.

    Raises
    ------
    TypeError
        ``audio`` is not float32, float64 or int16, or has a mask; ``lengths`` are not ints.
    ValueError
        ``audio`` is empty, too short, longer than ``pad_to``, not of rank 1 or 2, or contains NaN
        or infinity; ``lengths`` do not fit it; ``dtype`` is neither float64 nor float32; or
        float32 overflows (amplitudes above about 1e17).

    Source: openai-whisper, ``whisper/audio.py``, ``log_mel_spectrogram``.
    """
    real = _require_dtype(dtype)
    clips, is_batch = split_clips(audio, lengths)
    shape = spec.feature_shape(np.shape(audio)[-1])
    features = np.empty((len(clips), *shape), real)
    for row, clip in zip(features, clips, strict=True):
        n_frames = spec.feature_shape(clip.size)[1]
        log = _clip_log(clip, spec, real)
        clamped = clamp(with_silence(log, spec, shape[1] - n_frames), spec)
        row[:, :n_frames] = finish(clamped[:, : log.shape[1]], spec)
        row[:, n_frames:] = finish(clamped[0, log.shape[1] :], spec.replace(smoothing=None))
    return features if is_batch else features[0]


def stages(
    audio: ArrayLike, spec: FrontEndSpec = WHISPER, *, dtype: DTypeLike = np.float64
) -> dict[str, Array]:
    """Compute every stage of one clip, by name and in the order of computation.

    ``frames`` and ``windowed`` ``(n_frames, n_fft)``; ``spectrum`` (complex) and ``power``
    ``(n_frames, n_fft // 2 + 1)``; ``mel``, ``log``, ``clamped`` and ``features``
    ``(n_mels, n_frames)`` (``features`` two smaller each way with ``smoothing="valid"``).
    ``power`` is ``|spectrum| ** spec.power``; ``log`` is the logarithm of ``max(mel, floor)``.

    Parameters and errors as :func:`log_mel`, for audio of shape ``(n,)``.
    """
    real = _require_dtype(dtype)
    clips, is_batch = split_clips(audio, None)
    if is_batch:
        raise ValueError(f"audio has shape {np.shape(audio)}: expected one clip of shape (n,)")
    seen: dict[str, Array] = {}

    def keep(name: str, value: Array) -> Array:
        seen[name] = value
        return value

    log = _clip_log(clips[0], spec, real, keep)
    keep("features", finish(clamp(log, spec, keep), spec))
    return {name: seen[name] for name in _STAGES}


# --------------------------------------------------------------------------- input


def split_clips(audio: ArrayLike, lengths: Sequence[int] | None) -> tuple[list[Array], bool]:
    """Check ``audio``; return its clips as floats of shape ``(n,)``, and whether it is a batch."""
    if isinstance(audio, np.ma.MaskedArray):
        raise TypeError("audio is a masked array: expected samples without a mask")
    array = np.asarray(audio)
    if array.dtype not in (np.float32, np.float64, np.int16):
        raise TypeError(f"audio has dtype {array.dtype}: expected float32, float64 or int16 (PCM)")
    if array.ndim not in (1, 2):
        raise ValueError(f"audio has shape {array.shape}: expected (n,) or (batch, n)")
    if array.size == 0:
        raise ValueError(f"audio is empty (shape {array.shape}): expected at least one sample")
    if not np.isfinite(array).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        where = index[0] if array.ndim == 1 else index
        raise ValueError(f"audio[{where}] is {array[index]}: expected finite samples")
    if array.dtype == np.int16:
        array = array * INT16_SCALE
    if array.ndim == 1:
        if lengths is not None:
            raise ValueError(f"lengths={lengths!r}: expected a batch of audio of shape (batch, n)")
        return [array], False
    if lengths is None:
        return list(array), True
    if len(lengths) != len(array):
        raise ValueError(f"lengths has {len(lengths)} entries: expected {len(array)}, one a clip")
    counts = [require_count(f"lengths[{i}]", n, at_least=1) for i, n in enumerate(lengths)]
    for i, count in enumerate(counts):
        if count > array.shape[1]:
            raise ValueError(f"lengths[{i}]={count}: expected at most {array.shape[1]} samples")
    return [clip[:count] for clip, count in zip(array, counts, strict=True)], True


def _require_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    real = np.dtype(dtype)
    if real not in (np.float32, np.float64):
        raise ValueError(f"dtype={real}: expected float64 or float32")
    return real


# --------------------------------------------------------------------------- stages


def _untouched(name: str, value: Any) -> Any:
    """Return a stage's value unchanged: the tap for callers that need none."""
    return value


def frames(clip: Array, spec: FrontEndSpec, real: np.dtype[Any], tap: Tap = _untouched) -> Array:
    """Cut a clip into the frames that are kept, a read-only view of shape ``(n_frames, n_fft)``.

    The tap sees ``audio``, ``padded`` (with the zeros of ``pad_to``), ``extended`` (a centred clip
    with its padding on both sides) and ``frames``.
    """
    audio = tap("audio", np.asarray(clip, real))
    padded = np.zeros(spec.padded_length(audio.size), real)
    padded[: audio.size] = audio
    extended = padded = tap("padded", padded)
    if spec.reach:
        extended = np.pad(padded, spec.reach, mode=PAD_MODES[spec.pad_mode])  # type: ignore[call-overload]
    views = np.lib.stride_tricks.sliding_window_view(tap("extended", extended), spec.n_fft)
    every = views[:: spec.hop]
    return tap("frames", every[:-1] if spec.drop_last_frame else every)


@lru_cache(maxsize=32)
def _window(name: str, n_fft: int) -> NDArray[np.float64]:
    turns = np.arange(n_fft) / (n_fft if name.endswith("periodic") else n_fft - 1)
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * turns)
    return {
        "hann-periodic": hann,
        "hann-symmetric": hann,
        "hamming-periodic": 0.08 + 0.92 * hann,
        "povey": hann**0.85,
        "rectangular": np.ones(n_fft),
    }[name]


def window(spec: FrontEndSpec, real: np.dtype[Any]) -> Array:
    """Return the window's weights, shape ``(n_fft,)``, rounded once from float64."""
    return _window(spec.window, spec.n_fft).astype(real, copy=False)


def _power(spectrum: Array, spec: FrontEndSpec) -> Array:
    squared: Array = spectrum.real**2 + spectrum.imag**2
    return squared if spec.power == 2.0 else np.sqrt(squared)


def spectra(
    framed: Array, spec: FrontEndSpec, real: np.dtype[Any], tap: Tap = _untouched
) -> tuple[Array, Array]:
    """Weigh frames by the window and transform them: ``(n_frames, n_fft)`` and complex
    ``(n_frames, n_fft // 2 + 1)``. The tap sees ``window``, ``windowed`` and ``spectrum``."""
    windowed = tap("windowed", framed * tap("window", window(spec, real)))
    return windowed, tap("spectrum", np.fft.rfft(windowed, axis=-1))


def mel_powers(
    spectrum: Array, spec: FrontEndSpec, real: np.dtype[Any], tap: Tap = _untouched
) -> tuple[Array, Array]:
    """Compute the powers of a spectrum, and those of the bands, ``(n_mels, n_frames)``. The tap
    sees ``power``, ``bank`` and ``mel``."""
    power = tap("power", _power(spectrum, spec))
    bank = tap("bank", mel_filterbank(spec.n_mels, spec).astype(real))
    return power, tap("mel", bank @ power.T)


class MelBlock(NamedTuple):
    """A block of frames at each stage, from samples to mel powers."""

    where: slice
    frames: Array  # (block, n_fft)
    windowed: Array  # (block, n_fft)
    spectrum: Array  # (block, n_fft // 2 + 1)
    power: Array  # (block, n_fft // 2 + 1)
    mel: Array  # (n_mels, block)


def mel_blocks(
    clip: Array, spec: FrontEndSpec, real: np.dtype[Any], tap: Tap | None = None
) -> Iterator[MelBlock]:
    """Compute the mel powers of a clip, a block of frames at a time.

    With a tap, all frames form one block, so that the tap sees each stage once and whole: those of
    :func:`frames`, of :func:`spectra` and of :func:`mel_powers`.
    """
    at = _untouched if tap is None else tap
    framed = frames(clip, spec, real, at)
    size = _BLOCK if tap is None else max(len(framed), 1)
    with np.errstate(over="ignore", invalid="ignore"):  # the caller checks for infinities and NaN
        for start in range(0, max(len(framed), 1), size):
            block = framed[start : start + size]
            where = slice(start, start + len(block))
            if tap is None and not block.any():  # most of a short clip that is padded
                zeros = np.zeros((len(block), spec.n_fft // 2 + 1), real)
                mel = np.zeros((spec.n_mels, len(block)), real)
                yield MelBlock(where, block, block, zeros, zeros, mel)
                continue
            windowed, spectrum = spectra(block, spec, real, at)
            power, mel = mel_powers(spectrum, spec, real, at)
            yield MelBlock(where, block, windowed, spectrum, power, mel)


def logarithm(mel: Array, spec: FrontEndSpec) -> Array:
    """Take the logarithm of ``max(mel, floor)``; NaN stays NaN."""
    raised = np.maximum(mel, mel.dtype.type(spec.floor))
    return np.log10(raised) if spec.log == "log10" else np.log(raised)


def clamp(log: Array, spec: FrontEndSpec, tap: Tap = _untouched) -> Array:
    """Raise values more than ``dynamic_range`` below the maximum to that level.

    The tap sees ``top`` (what :func:`maximum` returns) and ``clamped``.
    """
    top = tap("top", maximum(log, spec))
    return tap("clamped", np.maximum(log, top - log.dtype.type(spec.dynamic_range)))


def maximum(log: Array, spec: FrontEndSpec) -> Any:
    """Return what ``spec.maximum`` says: a scalar, or for chunks an array of shape ``(n_frames,)``
    with the maximum of the chunk that each frame lies in.
    """
    if spec.maximum == "clip":
        return log.max()
    if spec.maximum != "chunk":
        return log.dtype.type(spec.maximum)
    starts = np.arange(0, log.shape[1], spec.chunk_frames)
    tops = np.maximum.reduceat(log.max(axis=0), starts)
    return np.repeat(tops, spec.chunk_frames)[: log.shape[1]]


def finish(clamped: Array, spec: FrontEndSpec) -> Array:
    """Scale and smooth clamped values into features."""
    real = clamped.dtype.type
    scaled = (clamped + real(spec.offset)) / real(spec.divisor)
    return scaled if spec.smoothing is None else mean_3x3(scaled, spec)


def mean_3x3(values: Array, spec: FrontEndSpec) -> Array:
    """Take the mean of each 3x3 neighbourhood; at edges as ``spec.smoothing`` says."""
    if spec.smoothing == "valid":
        total = _sum_3x3(values)
        return total / values.dtype.type(9)
    neighbours = _sum_3x3(np.pad(np.ones_like(values), 1))
    return _sum_3x3(np.pad(values, 1)) / neighbours


def _sum_3x3(values: Array) -> Array:
    rows = values[:-2] + values[1:-1] + values[2:]
    total: Array = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    return total


def _clip_log(
    clip: Array, spec: FrontEndSpec, real: np.dtype[Any], tap: Tap | None = None
) -> Array:
    """Compute the log of a clip's mel powers, ``(n_mels, n_frames)``; the tap sees ``log``."""
    log = np.empty((spec.n_mels, spec.n_frames(clip.size)), real)
    for block in mel_blocks(clip, spec, real, tap):
        log[:, block.where] = logarithm(block.mel, spec)
    if not np.isfinite(log).all():
        raise ValueError(
            f"audio has amplitudes up to {np.abs(clip).max():.3g}: its power overflows {real}"
        )
    return log if tap is None else tap("log", log)


def with_silence(log: Array, spec: FrontEndSpec, count: int) -> Array:
    """Append ``count`` silent frames, which change no maximum, to the logarithms of a clip."""
    if count == 0:
        return log
    floor = logarithm(np.zeros(1, log.dtype), spec)[0]
    return np.pad(log, ((0, 0), (0, count)), constant_values=floor)
