"""The function ``log_mel``: it checks its arguments, then calls the kernel."""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import index
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whisper_mel_mojo.library import NOT_FINITE, OVERFLOWED, SMOOTHING, Library, Smoothing, library

_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)
_INT16 = np.dtype(np.int16)
_MASKED = np.ma.MaskedArray
_HOP = 160
MIN_SAMPLES = 201  # mirroring 200 samples needs one more
MAX_SAMPLES = 2**48  # including zeros; the features of so many would fill any address space
MAX_THREADS = 2**31 - 1  # an int in C; the kernel uses the first 64
# five seconds of audio: waking a thread for less takes longer than it saves
FRAMES_PER_THREAD = 500
SAMPLING_RATE = 16_000


def log_mel(
    audio: ArrayLike,
    n_mels: int = 80,
    *,
    pad_to: int | None = None,
    smoothing: Smoothing | None = None,
    out: NDArray[np.float32] | None = None,
    threads: int | None = None,
    lengths: Sequence[int] | None = None,
    sampling_rate: int | None = None,
) -> NDArray[np.float32]:
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
    out : float32 array for the result, of the features' shape, C-contiguous, writable, not
        overlapping ``audio``; None means a new array.
    threads : largest number of threads; None means ``$WHISPER_MEL_THREADS``, or one for every five
        seconds of audio up to the number of CPUs that this process may use. The result does not
        depend on it.
    lengths : number of samples that count in each clip of a batch, or None: all. Frames after the
        end of a clip hold the value that silence has in that clip.
    sampling_rate : samples a second, to be checked: 16000, or None. Nothing is resampled.

    Returns
    -------
    ``out``, or a new float32 array of shape ``(n_mels, n_frames)`` or ``(batch, n_mels,
    n_frames)``, where ``n_frames = n // 160``. Each clip has its own maximum.

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
        not fit the batch; or ``sampling_rate`` is not 16000.
    BuildError
        the kernel could not be compiled (first call only).
    """
    if sampling_rate is not None and sampling_rate != SAMPLING_RATE:
        raise ValueError(
            f"sampling_rate={sampling_rate!r}: expected {SAMPLING_RATE}. Resample first: "
            "whisper_mel_mojo.audio_file.load_audio reads a file of any rate"
        )
    torch = sys.modules.get("torch")
    is_tensor = torch is not None and out is None and isinstance(audio, torch.Tensor)
    if lengths is not None:
        features = _of_lengths(audio, lengths, n_mels, pad_to, smoothing, out, threads)
        return torch.from_numpy(features) if is_tensor else features  # type: ignore[union-attr]
    if is_tensor:
        # By its name, because it imports this module.
        operator = importlib.import_module("whisper_mel_mojo.torch")
        tensor: Any = operator.log_mel(
            audio, n_mels, pad_to=pad_to, smoothing=smoothing, threads=threads
        )
        return tensor
    return compute(library, audio, n_mels, pad_to, smoothing, out, threads)


_SILENCE = np.float32(-1.5)  # the feature of the logarithm's floor
_RANGE = np.float32(2.0)  # of the features: 8 of the logarithm


def _of_lengths(
    audio: ArrayLike,
    lengths: Sequence[int],
    n_mels: int,
    pad_to: int | None,
    smoothing: str | None,
    out: NDArray[np.float32] | None,
    threads: int | None,
) -> NDArray[np.float32]:
    """Compute ``log_mel`` of the first ``lengths[i]`` samples of each clip of a batch.

    Frames after the end of a clip hold the value that silence has in that clip. Raises what
    :func:`whisper_mel_mojo.log_mel` raises.
    """
    given = as_array(audio)
    if given.ndim != 2:
        raise ValueError(
            f"lengths={lengths!r}: expected with audio of shape (batch, n), not {given.shape}"
        )
    if len(lengths) != len(given):
        raise ValueError(f"lengths has {len(lengths)} entries: expected {len(given)}, one a clip")
    counts = [integer(f"lengths[{i}]", n) for i, n in enumerate(lengths)]
    for i, count in enumerate(counts):
        if not 1 <= count <= given.shape[1]:
            raise ValueError(f"lengths[{i}]={count}: expected 1 to {given.shape[1]} samples")
    shape = (len(given), *plan(given.shape[1], n_mels, pad_to, smoothing).shape)
    if out is None:
        out = np.empty(shape, np.float32)
    else:
        check_out(out, shape, given)
    for i, (row, clip, count) in enumerate(zip(out, given, counts, strict=True)):
        try:
            features = compute(library, clip[:count], n_mels, pad_to, smoothing, None, threads)
            plain = features
            if smoothing is not None and features.shape[1] < row.shape[1]:
                plain = compute(library, clip[:count], n_mels, pad_to, None, None, threads)
        except ValueError as error:
            raise ValueError(f"clip {i}, lengths[{i}]={count}: {error}") from error
        row[:, : features.shape[1]] = features
        row[:, features.shape[1] :] = max(_SILENCE, plain.max() - _RANGE)
    return out


def compute(
    load: Callable[[], Library],
    audio: ArrayLike,
    n_mels: int,
    pad_to: int | None,
    smoothing: str | None,
    out: NDArray[np.float32] | None,
    threads: int | None,
) -> NDArray[np.float32]:
    """Compute ``log_mel`` with the library that ``load`` returns."""
    given = as_array(audio)
    samples = kernel_samples(given)
    if _unheard > 0 and samples.dtype != _INT16:
        _listen(samples)
    n_samples = samples.shape[-1]
    n_mels, length, n_frames, shape = plan(n_samples, n_mels, pad_to, smoothing)
    clips = 1
    stride = n_samples
    if samples.ndim == 2:
        clips = samples.shape[0]
        stride = samples.strides[0] // samples.itemsize
        shape = (clips, *shape)
    if threads is None:
        threads = min(default_threads(), max(1, clips * n_frames // FRAMES_PER_THREAD))
    else:
        threads = thread_count(threads)
    kernel = load()
    if out is None:
        out = np.empty(shape, _FLOAT32)
    else:
        check_out(out, shape, given)

    bad_sample = ctypes.c_int64()
    status = kernel.log_mel(
        address(samples),
        samples.dtype == _INT16,
        clips,
        n_samples,
        stride,
        0 if pad_to is None else length,
        n_mels,
        SMOOTHING[smoothing],
        address(out),
        out.size,
        threads,
        kernel.pool,
        ctypes.addressof(bad_sample),
    )
    if status != 0:
        raise error_of(status, given, bad_sample.value)
    return out


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


class Plan(NamedTuple):
    """Lengths and shape of a clip's features."""

    n_mels: int
    length: int
    """Number of samples, including the zeros of ``pad_to``."""
    n_frames: int
    shape: tuple[int, ...]
    """Shape of the features."""


def plan(n_samples: int, n_mels: int, pad_to: int | None, smoothing: str | None) -> Plan:
    """Plan the features of ``n_samples`` samples (a number, or a symbol that can be compared).

    Raises what :func:`log_mel` raises.
    """
    n_mels = integer("n_mels", n_mels)
    if n_mels not in (80, 128):
        raise ValueError(f"n_mels={n_mels}: expected 80 or 128")
    if not (smoothing is None or isinstance(smoothing, str)):
        raise TypeError(f"smoothing={smoothing!r}: expected None, 'valid' or 'same'")
    if smoothing not in SMOOTHING:
        raise ValueError(f"smoothing={smoothing!r}: expected None, 'valid' or 'same'")
    length = n_samples
    if pad_to is not None:
        length = integer("pad_to", pad_to)
        if n_samples > length:
            raise ValueError(
                f"audio has {n_samples} samples: expected at most pad_to={length}"
                + (f". It is in samples: {length} s are {16_000 * length}" if length < 201 else "")
            )
        if length > MAX_SAMPLES:
            raise ValueError(f"pad_to={length}: expected at most {MAX_SAMPLES}")
    if length < MIN_SAMPLES:
        if pad_to is not None:
            raise ValueError(f"pad_to={length}: expected at least {MIN_SAMPLES}")
        raise ValueError(f"audio has {length} samples: expected at least {MIN_SAMPLES}, or pad_to")
    n_frames = length // _HOP
    if smoothing != "valid":
        return Plan(n_mels, length, n_frames, (n_mels, n_frames))
    if n_frames < 3:
        raise ValueError(
            f"audio gives {n_frames} frames: smoothing='valid' needs at least 3 frames"
        )
    return Plan(n_mels, length, n_frames, (n_mels - 2, n_frames - 2))


def as_array(audio: ArrayLike, dtype: Any = None) -> NDArray[Any]:
    """Convert audio to an array; copy it only if necessary.

    Raises ``ValueError`` for text and for lists of different lengths, ``TypeError`` for masked
    arrays and for other objects that NumPy cannot read, such as PyTorch's tensors with a gradient.
    """
    if isinstance(audio, (str, bytes, os.PathLike)):
        raise TypeError(
            f"audio={audio!r}: expected samples. whisper_mel_mojo.audio_file.load_audio reads them "
            "from a file"
        )
    if isinstance(audio, _MASKED):
        raise TypeError("audio is a masked array: expected samples without a mask")
    try:
        return np.asarray(audio, dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        name = type(audio).__name__
        hint = _RAGGED if isinstance(audio, (list, tuple)) and "inhomogeneous" in str(error) else ""
        raise kind(f"audio, a {name}, cannot be read as an array: {error}{hint}") from error


_RAGGED = (
    ". Clips of different lengths: call log_mel for each, or make a batch of them, filled up by "
    "zeros, and give lengths=[…]"
)
_FEW = 8  # channels


def kernel_samples(given: NDArray[Any]) -> NDArray[Any]:
    """Return samples that the kernel can read: the given array if possible, else a copy."""
    dtype = given.dtype.newbyteorder("=")
    if dtype != _FLOAT32 and dtype != _INT16 and dtype != _FLOAT64:
        raise TypeError(f"audio has dtype {given.dtype}: expected float32, float64 or int16 (PCM)")
    if given.ndim not in (1, 2):
        raise ValueError(f"audio has shape {given.shape}: expected (n,) or (batch, n)")
    if given.ndim == 2 and 1 < given.shape[1] <= _FEW and given.shape[0] >= MIN_SAMPLES:
        raise ValueError(
            f"audio has shape {given.shape}: expected (n,) or (batch, n). If these are "
            f"{given.shape[1]} channels, average them first: audio.mean(axis=1)"
        )
    if given.size == 0:
        raise ValueError(f"audio is empty (shape {given.shape}): expected at least one sample")
    if dtype == _FLOAT64:
        with np.errstate(over="ignore"):  # the kernel finds infinities
            return given.astype(_FLOAT32, order="C")
    flags = given.flags
    if not given.dtype.isnative:
        return given.astype(dtype, order="C")
    if flags.c_contiguous and flags.aligned:
        return given
    # Rows may lie anywhere, forwards or backwards, as long as each is contiguous.
    if given.ndim == 2 and flags.aligned and given.strides[1] == given.itemsize:
        return given
    return given.copy(order="C")


def address(array: NDArray[Any]) -> int:
    """Return the address of the first element.

    The buffer protocol is four times as fast as ``array.ctypes.data``, but ctypes takes only
    writable, contiguous buffers.
    """
    flags = array.flags
    if flags.writeable and flags.c_contiguous:
        return ctypes.addressof(ctypes.c_char.from_buffer(array.data))
    address: int = array.ctypes.data
    return address


def check_out(out: Any, shape: tuple[int, ...], audio: NDArray[Any]) -> None:
    if not isinstance(out, np.ndarray) or isinstance(out, _MASKED):
        raise TypeError(f"out is a {type(out).__name__}: expected a numpy.ndarray")
    if out.dtype != _FLOAT32:
        raise TypeError(f"out has dtype {out.dtype}: expected float32")
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}: expected {shape}")
    flags = out.flags
    if not (flags.c_contiguous and flags.aligned):
        raise ValueError(f"out has strides {out.strides}: expected a C-contiguous, aligned array")
    if not flags.writeable:
        raise ValueError("out is read-only: expected a writable array")
    if np.may_share_memory(out, audio) and np.shares_memory(out, audio):
        raise ValueError("out overlaps audio: expected memory of its own")


def integer(name: str, value: object) -> int:
    if type(value) is int:
        return value
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r}: expected an int, not a bool")
    try:
        return index(value)  # type: ignore[arg-type]
    except TypeError:
        hint = ", a number of samples (30 s: 480000)" if name == "pad_to" else ""
        raise TypeError(
            f"{name}={value!r}: expected an int, not {type(value).__name__}{hint}"
        ) from None


def thread_count(threads: int) -> int:
    """Check ``threads`` for C's int; raises what :func:`log_mel` raises."""
    threads = integer("threads", threads)
    if not 1 <= threads <= MAX_THREADS:
        raise ValueError(f"threads={threads}: expected at least 1 and at most {MAX_THREADS}")
    return threads


@lru_cache(maxsize=1)
def default_threads() -> int:
    """Return ``$WHISPER_MEL_THREADS``, or the number of CPUs that this process may use."""
    chosen = os.environ.get("WHISPER_MEL_THREADS")
    if chosen:
        if not chosen.isdecimal() or int(chosen) < 1:
            raise ValueError(f"WHISPER_MEL_THREADS={chosen!r}: expected a number, at least 1")
        return int(chosen)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def error_of(status: int, audio: NDArray[Any], bad_sample: int) -> Exception:
    """Return the exception for a kernel's status, in terms of the caller's audio."""
    if status == NOT_FINITE:
        position = np.unravel_index(bad_sample, audio.shape)
        if not np.isfinite(audio[position]):
            where = ", ".join(str(int(i)) for i in position)
            where = where if audio.ndim == 1 else f"({where})"
            return ValueError(f"audio[{where}] is {audio[position]}: expected finite samples")
    if status in (NOT_FINITE, OVERFLOWED):
        peak = np.abs(audio).max()
        return ValueError(
            f"audio has amplitudes up to {peak:.3g}: its power overflows float32 "
            "(expected at most about 1e17)"
        )
    message = library().message(status).decode()
    return MemoryError(message) if message == "out of memory" else ValueError(message)
