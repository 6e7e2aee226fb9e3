"""``log_mel`` for arrays in a CUDA device's memory: one launch, no copy, nobody waits.

NVIDIA only. AMD's and Apple's devices are compiled for (``./dev gpu compile``), but there is no way
to call them from Python yet. No GPU has run any of it: see ``docs/gpu.md``.
"""

from __future__ import annotations

from typing import Any

from whisper_mel_mojo.features import plan
from whisper_mel_mojo.gpu.checks import check_aligned, check_audio, check_lengths, check_out
from whisper_mel_mojo.gpu.cuda import LEGACY_STREAM, DeviceError
from whisper_mel_mojo.gpu.interop import array_on, current_stream, empty_like, stream_address
from whisper_mel_mojo.gpu.launcher import launch
from whisper_mel_mojo.library import Smoothing

__all__ = ["DeviceError", "log_mel"]


def log_mel(
    audio: Any,
    n_mels: int = 80,
    *,
    pad_to: int | None = None,
    smoothing: Smoothing | None = None,
    lengths: Any = None,
    out: Any = None,
    stream: Any = None,
) -> Any:
    """As :func:`whisper_mel_mojo.log_mel`, from device memory to device memory.

    Nothing is copied, and after the first call for a device, which builds the kernel if need be
    and loads it, nothing is allocated but a missing ``out``, and nothing waited for: as with every
    CUDA library, the result is there when the stream has got so far, and until then all arrays
    must stay. Arrays are PyTorch's CUDA tensors, CuPy's, or whatever else has
    ``__cuda_array_interface__`` (version 2 or 3) or ``__dlpack__``.

    Parameters
    ----------
    audio : float32 or int16 PCM of shape ``(n,)`` or ``(batch, n)``, the samples of a clip
        contiguous.
    n_mels, pad_to, smoothing : as there.
    lengths : int64 array of shape ``(batch,)`` on the same device: the samples of each clip that
        count, at least 1 and at most ``n``. Frames beyond a clip's own hold what silence has in it.
    out : float32 array of the features' shape, C-contiguous, on the same device; by default a new
        one of PyTorch or CuPy, if ``audio`` is of theirs.
    stream : on which the kernel is launched: an address, or an object with ``__cuda_stream__``,
        ``cuda_stream`` (PyTorch) or ``ptr`` (CuPy). By default PyTorch's or CuPy's current stream
        if ``audio`` is of theirs, else the one that its interface names, else the legacy default
        stream. It waits for the streams on which the arrays are made, if that is known; who uses
        the result on another one has to wait for it. To be given together with ``out``.

    Returns
    -------
    ``out``, or a new array of shape ``(n_mels, n_frames)`` or ``(batch, n_mels, n_frames)``.
    A clip that contains NaN or infinity, is too short, has a length that is impossible, or whose
    power overflows float32, is NaN: nobody waits who could be told.

    Raises
    ------
    TypeError
        an argument is not in a CUDA device's memory, or has another dtype or type.
    ValueError
        as :func:`whisper_mel_mojo.log_mel` does for shapes and numbers; an address is not the
        device's memory as the driver knows it, has been freed, or is of another device; or an
        allocation is shorter than the array in it claims. Nothing is launched then.
    DeviceError
        there is no CUDA device, or its driver refuses the launch.
    BuildError
        the kernel could not be compiled (first call only), or the device is none of those that it
        is compiled for.
    """
    if stream is not None and out is None:
        raise TypeError("out=None: expected an array when a stream is given")
    chosen = current_stream(audio) if stream is None else stream_address(stream)
    samples = array_on(chosen or LEGACY_STREAM, "audio", audio)
    handle = chosen or samples.stream or LEGACY_STREAM
    check_audio(samples)
    n_mels, length, _, shape = plan(samples.shape[-1], n_mels, pad_to, smoothing)
    shape = (*samples.shape[:-1], *shape)
    result = empty_like(audio, shape) if out is None else out
    arrays = {"audio": samples, "out": array_on(handle, "out", result)}
    check_out(arrays["out"], shape, samples)
    if lengths is not None:
        arrays["lengths"] = array_on(handle, "lengths", lengths)
        check_lengths(arrays["lengths"], samples, arrays["out"])
    check_aligned(arrays)
    launch(arrays, n_mels, 0 if pad_to is None else length, smoothing, handle)
    return result
