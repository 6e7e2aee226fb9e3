"""The function ``log_mel``: it checks its arguments, then calls the kernel."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whisper_mel_mojo.arguments import (
    CHUNK_FRAMES,
    FLOAT32,
    INT16,
    PLAIN,
    RANGE,
    SAMPLE_RATE,
    Form,
    address,
    array_dtype,
    as_array,
    check_out,
    default_threads,
    failure,
    form_of,
    integer,
    kernel_samples,
    least_of,
    plan,
    prepare,
    thread_count,
)
from whisper_mel_mojo.library import (
    CHUNK,
    FIXED,
    NOT_FINITE,
    OVERFLOWED,
    Maximum,
    Smoothing,
    library,
)


def log_mel(
    audio: ArrayLike,
    n_mels: int = 80,
    *,
    pad_to: int | None = None,
    smoothing: Smoothing | None = None,
    out: NDArray[Any] | None = None,
    threads: int | None = None,
    lengths: Sequence[int] | None = None,
    sampling_rate: int | None = None,
    maximum: Maximum = "clip",
    dtype: str = "float32",
) -> NDArray[Any]:
    """Compute log-Mel features of one clip or of a batch of clips, as Whisper's models expect them.

    Parameters
    ----------
    audio : array of shape ``(n,)`` or ``(batch, n)``, 16 000 samples a second: float32 or float64
        with full scale 1, or int16 PCM, which is divided by 32768. It is not modified. It is
        copied only if it is float64, of foreign byte order, or not contiguous within a clip. A
        PyTorch tensor gives a tensor, as of :func:`whisper_mel_mojo.torch.log_mel`.
    n_mels : 80 or 128 (the large-v3 family).
    pad_to : number of samples up to which zeros are appended first, or None; Whisper's 30 s are
        480 000.
    smoothing : mean of each 3x3 neighbourhood of the features: None; ``"valid"``, of whole
        neighbourhoods (two bands and two frames fewer); or ``"same"``, over existing neighbours.
    out : array for the result, of the features' shape and ``dtype``, C-contiguous, writable, not
        overlapping ``audio``; None means a new array.
    threads : largest number of threads; None means ``$WHISPER_MEL_THREADS``, or one for every five
        seconds of audio up to the number of CPUs that this process may use. The result does not
        depend on it.
    lengths : number of samples that count in each clip of a batch, or None: all. Frames after the
        end of a clip hold the value that silence has in that clip.
    sampling_rate : samples a second, to be checked: 16000, or None. Nothing is resampled.
    maximum : values more than 8 below it, in units of log10, are raised to 8 below. It is
        ``"clip"``, the clip's own maximum; a number, the same for all clips (1.5 for Voxtral
        Realtime; values above it stay as they are); or ``"chunk"``, the maximum of every 3000
        frames (30 s, counted from the clip's first frame).
    dtype : type of the features: ``"float32"``, or ``"float16"`` or ``"bfloat16"``, which are the
        float32 features rounded once to nearest, ties to even.

    Returns
    -------
    ``out``, or a new array of shape ``(n_mels, n_frames)`` or ``(batch, n_mels, n_frames)``, where
    ``n_frames = n // 160``. Its dtype is ``dtype``; for ``"bfloat16"`` that of ``ml_dtypes``.

    Warns
    -----
    UserWarning
        once, if one of the first calls has float samples above 2, as int16 samples that were only
        cast to float have.

    Raises
    ------
    TypeError
        ``audio`` or ``out`` has another dtype or a mask, or an argument another type.
    ValueError
        ``audio`` is empty, has fewer than 201 samples, more than ``pad_to``, another rank, or
        contains NaN or infinity (``out`` is then NaN for the clips concerned); its amplitudes
        are above about 1e17, where float32 power overflows; ``n_mels`` or ``smoothing`` is
        invalid; ``pad_to`` is above 2**48; ``smoothing="valid"`` with fewer than three frames;
        ``out`` is not as above; ``threads`` is less than one or above 2**31 - 1; ``lengths`` do
        not fit the batch; ``sampling_rate`` is not 16000; ``maximum`` is not finite or another
        word; or ``dtype`` is none of the three.
    ImportError
        ``dtype="bfloat16"`` without the package ml_dtypes.
    BuildError
        the kernel could not be compiled (first call only).
    """
    if sampling_rate is not None and sampling_rate != SAMPLE_RATE:
        raise ValueError(
            f"sampling_rate={sampling_rate!r}: expected {SAMPLE_RATE}. Resample first: "
            "whisper_mel_mojo.audio_file.load_audio reads a file of any rate"
        )
    torch = None if type(audio) is np.ndarray else sys.modules.get("torch")
    is_tensor = torch is not None and out is None and isinstance(audio, torch.Tensor)
    form = form_of(maximum, dtype)
    if lengths is not None:
        # PyTorch rounds what NumPy may have no dtype for.
        as_numpy = form._replace(dtype="float32") if is_tensor else form
        features = _of_lengths(audio, lengths, n_mels, pad_to, smoothing, out, threads, as_numpy)
        if not is_tensor:
            return features
        of_clips: Any = torch.from_numpy(features)  # type: ignore[union-attr]
        return of_clips.to(getattr(torch, dtype))
    if is_tensor:
        from whisper_mel_mojo.torch import log_mel as of_tensor

        tensor: Any = of_tensor(
            *(audio, n_mels),
            pad_to=pad_to,
            smoothing=smoothing,
            threads=threads,
            maximum=maximum,
            dtype=dtype,
        )
        return tensor
    return compute(audio, n_mels, pad_to, smoothing, out, threads, form)


_SILENCE = np.float32(-1.5)  # the feature of the logarithm's floor


def _of_lengths(
    audio: ArrayLike,
    lengths: Sequence[int],
    n_mels: int,
    pad_to: int | None,
    smoothing: str | None,
    out: NDArray[Any] | None,
    threads: int | None,
    form: Form,
) -> NDArray[Any]:
    """Compute ``log_mel`` of the first ``lengths[i]`` samples of each clip of a batch.

    Frames after the end of a clip hold the value that silence has in that clip. Raises what
    :func:`whisper_mel_mojo.log_mel` raises.
    """
    given = as_array(audio)
    if given.ndim != 2:
        raise ValueError(
            f"lengths={lengths!r:.200}: expected with audio of shape (batch, n), not {given.shape}"
        )
    if len(lengths) != len(given):
        raise ValueError(
            f"lengths has {len(lengths)} for a batch of {len(given)}: expected one for each clip"
        )
    counts = [integer(f"lengths[{i}]", n) for i, n in enumerate(lengths)]
    for i, count in enumerate(counts):
        if not 1 <= count <= given.shape[1]:
            raise ValueError(f"lengths[{i}]={count}: expected 1 to {given.shape[1]} samples")
    shape = (len(given), *plan(given.shape[1], n_mels, pad_to, smoothing).shape)
    wanted = array_dtype(form.dtype)
    if out is None:
        out = np.empty(shape, wanted)
    else:
        check_out(out, shape, given, wanted)
    plainly = form._replace(dtype="float32")
    for i, (row, clip, count) in enumerate(zip(out, given, counts, strict=True)):
        try:
            features = compute(clip[:count], n_mels, pad_to, smoothing, None, threads, form)
            frames = features.shape[1]
            plain = features
            is_plain = smoothing is None and form.dtype == "float32"
            if form.maximum != FIXED and not is_plain and frames < row.shape[1]:
                plain = compute(clip[:count], n_mels, pad_to, None, None, threads, plainly)
        except ValueError as error:
            raise ValueError(f"clip {i}, lengths[{i}]={count}: {error}") from error
        row[:, :frames] = features
        if frames < row.shape[1]:
            _fill_up(row, frames, plain, form, (n_mels - row.shape[0]) // 2)
    return out


def _fill_up(
    row: NDArray[Any], frames: int, plain: NDArray[np.float32], form: Form, edge: int
) -> None:
    """Set what is after a clip's ``frames`` to what silence is there.

    ``plain`` are the clip's features without smoothing, which omits ``edge`` frames at each end.
    """
    if form.maximum == FIXED:
        row[:, frames:] = max(_SILENCE, least_of(form.fixed))
        return
    after = row.shape[1]
    if form.maximum == CHUNK:
        begin = (plain.shape[1] - 1) // CHUNK_FRAMES * CHUNK_FRAMES
        plain = plain[:, begin:]
        after = begin + CHUNK_FRAMES - edge
        row[:, after:] = _SILENCE
    row[:, frames:after] = max(_SILENCE, plain.max() - RANGE)


def compute(
    audio: ArrayLike,
    n_mels: int,
    pad_to: int | None,
    smoothing: str | None,
    out: NDArray[Any] | None,
    threads: int | None,
    form: Form = PLAIN,
    *,
    nan: bool = False,
) -> NDArray[Any]:
    """Compute ``log_mel``; if ``nan``, clips that are not finite become NaN and are no error."""
    given = as_array(audio)
    samples = kernel_samples(given)
    is_int16 = samples.dtype == INT16
    if _unheard > 0 and not is_int16:
        _listen(samples)
    kernel = library()
    arguments = (samples.shape, is_int16, n_mels, pad_to, smoothing, form, kernel.pool)
    try:
        alike = _prepared(*arguments)
    except TypeError:
        alike = None
    if alike is None:  # one has no hash, or a wrong type: this says which
        alike = prepare(*arguments)
    threads = min(default_threads(), alike.threads) if threads is None else thread_count(threads)
    wanted = FLOAT32 if form is PLAIN else array_dtype(form.dtype)
    if out is None:
        out = np.empty(alike.shape, wanted)
    else:
        check_out(out, alike.shape, given, wanted)
    stride = samples.strides[0] // samples.itemsize
    call = (alike.common, address(samples), stride, address(out), threads)
    status = kernel.log_mel_alike(*call, 0)
    if status != 0 and not (nan and status in (NOT_FINITE, OVERFLOWED)):
        raise failure(kernel, call, status, given)
    return out


_prepared = lru_cache(maxsize=256, typed=True)(prepare)  # typed: 80.0 is no number of bands


_unheard = 16  # calls whose level is still looked at; later ones take no time for it
_LOUD = 2.0
_LOOKED_AT = 4096  # samples of the first clip


def _listen(samples: NDArray[Any]) -> None:
    """Warn, once, of float samples that look like int16 ones; look at some of the first calls."""
    global _unheard
    _unheard -= 1
    clip = samples if samples.ndim == 1 else samples[0]
    some = clip[:: clip.size // _LOOKED_AT + 1]
    peak = max(float(some.max()), -float(some.min()))
    if _LOUD < peak <= 32768.0:
        _unheard = 0
        warnings.warn(
            f"audio has amplitudes up to {peak:.3g}: full scale of float audio is 1. int16 samples "
            "stay int16, or are divided by 32768",
            UserWarning,
            stacklevel=4,
        )
