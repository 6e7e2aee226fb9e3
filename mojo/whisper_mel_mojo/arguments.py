"""The arguments of ``log_mel``, as every way to call the kernel checks them."""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Mapping
from functools import lru_cache
from operator import index
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whisper_mel_mojo.library import (
    CHUNK,
    CLIP,
    DTYPES,
    FIXED,
    NOT_FINITE,
    OVERFLOWED,
    SMOOTHING,
    Common,
    Library,
    Maximum,
    library,
)

FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)
INT16 = np.dtype(np.int16)
_MASKED = np.ma.MaskedArray
HOP = 160
CHUNK_FRAMES = 3000  # 30 s
MIN_SAMPLES = 201  # mirroring 200 samples needs one more
MAX_SAMPLES = 2**48  # including zeros; the features of so many would fill any address space
MAX_THREADS = 2**31 - 1  # an int in C; the kernel uses the first 64
# five seconds of audio: waking a thread for less takes longer than it saves
FRAMES_PER_THREAD = 500
SAMPLE_RATE = 16_000
_30_SECONDS = " (30 s: 480000)"


class Form(NamedTuple):
    """What becomes of the logarithms, in the kernel's codes."""

    maximum: int = CLIP
    fixed: float = 0.0
    """The maximum in units of log10, if it is ``FIXED``."""
    dtype: str = "float32"


PLAIN = Form()


def form_of(maximum: Maximum, dtype: str) -> Form:
    """Check ``maximum`` and ``dtype``; raises what :func:`whisper_mel_mojo.log_mel` raises."""
    if maximum == "clip" and dtype == "float32":
        return PLAIN
    if not isinstance(dtype, str):
        raise TypeError(f"dtype={dtype!r}: expected 'float32', 'float16' or 'bfloat16'")
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r}: expected 'float32', 'float16' or 'bfloat16'")
    if isinstance(maximum, str):
        if maximum not in ("clip", "chunk"):
            raise ValueError(f"maximum={maximum!r}: expected 'clip', 'chunk' or a number")
        return Form(CLIP if maximum == "clip" else CHUNK, 0.0, dtype)
    if isinstance(maximum, (bool, np.bool_)) or not isinstance(
        maximum, (int, float, np.integer, np.floating)
    ):
        raise TypeError(f"maximum={maximum!r}: expected 'clip', 'chunk' or a number")
    if not abs(maximum) <= _LARGEST:
        raise ValueError(f"maximum={maximum!r}: expected a finite number, at most {_LARGEST:g}")
    return Form(FIXED, float(maximum), dtype)


_LARGEST = 1e38  # what it is divided by 4 stays finite in float32


def least_of(fixed: float) -> np.float32:
    """Return what values are raised to by a fixed maximum in units of log10."""
    return np.float32((fixed - 4.0) / 4.0)


def array_dtype(name: str) -> np.dtype[Any]:
    """Return NumPy's dtype for one of ``DTYPES``; raises ``ImportError`` for a missing bfloat16."""
    if name != "bfloat16":
        return np.dtype(name)
    try:
        from ml_dtypes import bfloat16
    except ImportError as error:
        raise ImportError(
            "dtype='bfloat16': NumPy has it from the package ml_dtypes: "
            "pip install 'whisper-mel-mojo[bfloat16]'"
        ) from error
    return np.dtype(bfloat16)


RANGE = np.float32(2.0)  # of the features: 8 of the logarithm


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

    Raises what :func:`whisper_mel_mojo.log_mel` raises.
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
        if length < 1:
            raise ValueError(f"pad_to={length}: expected at least {MIN_SAMPLES} samples, or None")
        if n_samples > length:
            hint = f": {length} s are {16_000 * length}" if length < MIN_SAMPLES else _30_SECONDS
            raise ValueError(
                f"audio has {n_samples} samples: expected at most pad_to={length}, a number of "
                f"samples{hint}"
            )
        if length > MAX_SAMPLES:
            raise ValueError(f"pad_to={length}: expected at most {MAX_SAMPLES}")
    if length < MIN_SAMPLES:
        if pad_to is not None:
            raise ValueError(f"pad_to={length}: expected at least {MIN_SAMPLES}")
        raise ValueError(f"audio has {length} samples: expected at least {MIN_SAMPLES}, or pad_to")
    n_frames = length // HOP
    if smoothing != "valid":
        return Plan(n_mels, length, n_frames, (n_mels, n_frames))
    if n_frames < 3:
        raise ValueError(
            f"audio gives {n_frames} frames: smoothing='valid' needs at least 3 frames"
        )
    return Plan(n_mels, length, n_frames, (n_mels - 2, n_frames - 2))


def as_array(audio: ArrayLike, dtype: Any = None) -> NDArray[Any]:
    """Convert audio to an array; copy it only if necessary.

    Raises ``ValueError`` for lists of different lengths, ``TypeError`` for text, bytes, masked
    arrays and other objects that NumPy cannot read, such as PyTorch's tensors with a gradient.
    """
    if type(audio) is np.ndarray and dtype is None:
        return audio
    if isinstance(audio, (str, os.PathLike)):
        raise TypeError(
            f"audio={audio!r:.200}: expected samples. whisper_mel_mojo.audio_file.load_audio reads "
            "them from a file"
        )
    if isinstance(audio, (bytes, bytearray)) or (
        isinstance(audio, memoryview) and audio.format in "Bbc"
    ):
        raise TypeError(
            f"audio is of type {type(audio).__name__}: expected samples, of 16-bit PCM "
            "np.frombuffer(audio, np.int16)"
        )
    if isinstance(audio, _MASKED):
        raise TypeError("audio is a masked array: expected samples without a mask")
    if audio is None or isinstance(audio, Mapping):
        what = "None" if audio is None else "a mapping"
        raise TypeError(f"audio is {what}: expected samples{_of_mapping(audio)}")
    try:
        array = np.asarray(audio, dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        name = type(audio).__name__
        why = str(error)
        if isinstance(audio, (list, tuple)) and "inhomogeneous" in why:
            arrays = [i for i, it in enumerate(audio) if not np.isscalar(it)]
            is_pair = len(audio) == 2 and len(arrays) == 1
            why = f"{_PAIR}: audio[{arrays[0]}]" if is_pair else _RAGGED
        raise kind(f"audio, a {name}, cannot be read as an array: {why}") from error
    if array.dtype == object and array.ndim == 0:  # a generator, a file, anything
        raise TypeError(f"audio is of type {type(audio).__name__}: expected an array of samples")
    return array


def _of_mapping(audio: Any) -> str:
    """Return where a mapping, such as an example of `datasets`, has samples, as far as it says."""
    names = [name for name in ("array", "audio", "raw", "waveform") if audio and name in audio]
    return f", such as audio[{names[0]!r}]" if names else ""


_RAGGED = (
    "it has clips of different lengths. Call log_mel for each, or make a batch of them, filled up "
    "by zeros, and give lengths=[…]"
)
_PAIR = "it is a pair, perhaps of samples and their rate. Give the samples alone"
_FEW = 8  # channels


def kernel_samples(given: NDArray[Any]) -> NDArray[Any]:
    """Return samples that the kernel can read: the given array if possible, else a copy."""
    dtype = given.dtype
    if not dtype.isnative:
        dtype = dtype.newbyteorder("=")
    if dtype != FLOAT32 and dtype != INT16 and dtype != _FLOAT64:
        raise TypeError(
            f"audio has dtype {given.dtype}: expected float32, float64 or int16 (PCM)"
            + hint_for_half(str(given.dtype))
            + hint_for_integers(given.dtype)
        )
    if given.ndim not in (1, 2):
        raise ValueError(f"audio has shape {given.shape}: expected (n,) or (batch, n)")
    if given.ndim == 2 and 1 <= given.shape[1] <= _FEW and given.shape[0] >= MIN_SAMPLES:
        n = given.shape[1]
        these = f"these are {n} channels, average them first" if n > 1 else "this is one channel"
        raise ValueError(
            f"audio has shape {given.shape}: expected (n,) or (batch, n). If {these}: "
            "audio.mean(axis=1)"
        )
    if given.size == 0:
        raise ValueError(f"audio is empty (shape {given.shape}): expected at least one sample")
    if dtype == _FLOAT64:
        with np.errstate(over="ignore"):  # the kernel finds infinities
            return given.astype(FLOAT32, order="C")
    if dtype is not given.dtype:
        return given.astype(dtype, order="C")
    flags = given.flags
    if flags.c_contiguous and flags.aligned:
        return given
    # Rows may lie anywhere, forwards or backwards, as long as each is contiguous.
    if given.ndim == 2 and flags.aligned and given.strides[1] == given.itemsize:
        return given
    return given.copy(order="C")


def hint_for_integers(dtype: np.dtype[Any]) -> str:
    """Return the rest of a sentence that refuses audio of a dtype; empty unless it is PCM, too."""
    if dtype == np.uint8:
        return ". PCM of 8 bits becomes int16 by (audio.astype(np.int16) - 128) * 256"
    if dtype == np.int32:
        return ". PCM of 32 bits becomes float32 by (audio / 2**31).astype(np.float32)"
    return ""


def hint_for_half(dtype: str) -> str:
    """Return the rest of a sentence that refuses audio of a dtype; empty unless it is half."""
    if not dtype.endswith("float16"):
        return ""
    return (
        ". Samples in half precision are not converted: they have lost bits that int16 keeps. Take "
        "them as they were recorded"
    )


def address(array: NDArray[Any]) -> int:
    """Return the address of the first element.

    The buffer protocol is four times as fast as ``array.ctypes.data``, but ctypes takes only
    writable, contiguous buffers, and NumPy makes none of bfloat16.
    """
    try:
        return _addressof(_from_buffer(array))
    except (TypeError, ValueError):
        address: int = array.ctypes.data
        return address


_addressof = ctypes.addressof
_from_buffer: Any = ctypes.c_char.from_buffer


def check_out(
    out: Any, shape: tuple[int, ...], audio: NDArray[Any], dtype: np.dtype[Any] = FLOAT32
) -> None:
    if not isinstance(out, np.ndarray) or isinstance(out, _MASKED):
        raise TypeError(f"out is a {type(out).__name__}: expected a numpy.ndarray")
    if out.dtype != dtype:
        raise TypeError(f"out has dtype {out.dtype}: expected {dtype}")
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}: expected {shape}")
    flags = out.flags
    if not flags.carray:  # contiguous, aligned and writable
        if flags.c_contiguous and flags.aligned:
            raise ValueError("out is read-only: expected a writable array")
        raise ValueError(f"out has strides {out.strides}: expected a C-contiguous, aligned array")
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
        of_samples = name == "pad_to" or name.startswith("lengths[")
        hint = f", a number of samples{_30_SECONDS}" if of_samples else ""
        raise TypeError(
            f"{name}={value!r:.200}: expected an int, not {type(value).__name__}{hint}"
        ) from None


def thread_count(threads: int) -> int:
    """Check ``threads`` for C's int; raises what :func:`whisper_mel_mojo.log_mel` raises."""
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


class Prepared(NamedTuple):
    """What calls with samples of one shape and type have in common."""

    shape: tuple[int, ...]
    """Shape of the features."""
    threads: int
    """Number of threads that they are worth."""
    common: int
    """Address of their arguments."""
    memory: Common
    """Memory of their arguments."""


def prepare(
    shape: tuple[int, ...],
    is_int16: bool,
    n_mels: int,
    pad_to: int | None,
    smoothing: str | None,
    form: Form,
    pool: int,
) -> Prepared:
    """Prepare calls for a shape; raises what :func:`whisper_mel_mojo.log_mel` raises."""
    clips = shape[0] if len(shape) == 2 else 1
    n_mels, length, frames, features = plan(shape[-1], n_mels, pad_to, smoothing)
    memory = Common(
        *(is_int16, clips, shape[-1], 0 if pad_to is None else length, n_mels),
        *(SMOOTHING[smoothing], clips * math.prod(features), pool),
        *(form.maximum, form.fixed, DTYPES[form.dtype]),
    )
    threads = max(1, clips * frames // FRAMES_PER_THREAD)
    return Prepared((*shape[:-1], *features), threads, ctypes.addressof(memory), memory)


def failure(kernel: Library, call: tuple[int, ...], status: int, audio: NDArray[Any]) -> Exception:
    """Return the exception for a call of ``kernel.log_mel_alike`` that failed.

    It is repeated, because only now the first bad sample is looked for.
    """
    bad_sample = ctypes.c_int64()
    kernel.log_mel_alike(*call, ctypes.addressof(bad_sample))
    return error_of(status, audio, bad_sample.value)
