"""The function ``log_mel`` for arrays in a CUDA device's memory: one launch, no copy, no wait.

It is for NVIDIA only. The kernel is also compiled for AMD's and Apple's devices (``./dev gpu
compile``), but cannot be called there from Python. ``docs/gpu.md`` says what was tested on a GPU.
"""

from __future__ import annotations

from typing import Any

from whisper_mel_mojo.arguments import form_of, plan
from whisper_mel_mojo.gpu.checks import (
    check_aligned,
    check_audio,
    check_form,
    check_lengths,
    check_out,
)
from whisper_mel_mojo.gpu.cuda import LEGACY_STREAM, DeviceError
from whisper_mel_mojo.gpu.interop import array_on, current_stream, empty_like, stream_address
from whisper_mel_mojo.gpu.launcher import launch
from whisper_mel_mojo.library import Maximum, Smoothing

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
    maximum: Maximum = "clip",
    dtype: str = "float32",
) -> Any:
    """Compute features like :func:`whisper_mel_mojo.log_mel`, from device memory to device memory.

    Nothing is copied. The first call for a device builds the kernel if necessary and loads it;
    later calls allocate only a missing ``out`` and wait for nothing. As with every CUDA library,
    the result is complete once the stream has reached it, and all arrays must exist until then.
    Arrays are PyTorch's CUDA tensors, CuPy's, or other objects with ``__cuda_array_interface__``
    (version 2 or 3) or ``__dlpack__``.

    Parameters
    ----------
    audio : float32 or int16 PCM of shape ``(n,)`` or ``(batch, n)``, the samples of a clip
        contiguous.
    n_mels, pad_to, smoothing : as for :func:`whisper_mel_mojo.log_mel`.
    lengths : int64 array of shape ``(batch,)`` on the same device: the number of samples of each
        clip, 1 to ``n``; None means ``n``. Frames after a clip's end have the value of silence.
    out : array of the features' shape and ``dtype``, C-contiguous, on the same device; by default a
        new one of PyTorch or CuPy, if ``audio`` is of theirs.
    stream : the stream of the launch: an address, or an object with ``__cuda_stream__``,
        ``cuda_stream`` (PyTorch) or ``ptr`` (CuPy); it requires ``out``. None means PyTorch's or
        CuPy's current stream if ``audio`` is theirs, else the stream that the array's interface
        names, else the legacy default stream. It waits for the streams on which the arrays are
        made, if known. A user of the result on another stream has to wait for it.
    maximum, dtype : as for :func:`whisper_mel_mojo.log_mel`, but ``"chunk"`` without smoothing
        only. A fixed maximum takes one sweep for any length, and blocks that wait for nobody.

    Returns
    -------
    ``out``, or a new array of shape ``(n_mels, n_frames)`` or ``(batch, n_mels, n_frames)``.
    The features of a clip are NaN if it contains NaN or infinity, is too short, has an invalid
    length, or its power overflows float32: no error can be raised, since the call does not wait.
    With a fixed maximum only those frames are NaN that see such samples, with the chunk's only that
    chunk; a clip that is too short is NaN as a whole.

    Raises
    ------
    TypeError
        an argument is not in a CUDA device's memory, or has another dtype or type.
    ValueError
        as :func:`whisper_mel_mojo.log_mel` for shapes and numbers; an address is not memory of the
        device, or has been freed; or an allocation is shorter than the array in it. Nothing is
        launched then.
    NotImplementedError
        ``maximum="chunk"`` comes with smoothing.
    DeviceError
        there is no CUDA device, its driver refuses the launch, or this process was forked from one
        that had used CUDA.
    BuildError
        the kernel could not be compiled (first call only), or is not compiled for this device.
    """
    if stream is not None and out is None:
        raise TypeError("out=None: expected an array when a stream is given")
    form = form_of(maximum, dtype)
    check_form(form, smoothing)
    chosen = current_stream(audio) if stream is None else stream_address(stream)
    samples = array_on(chosen or LEGACY_STREAM, "audio", audio)
    handle = chosen or samples.stream or LEGACY_STREAM
    check_audio(samples)
    n_mels, length, _, shape = plan(samples.shape[-1], n_mels, pad_to, smoothing)
    shape = (*samples.shape[:-1], *shape)
    result = empty_like(audio, shape, dtype) if out is None else out
    arrays = {"audio": samples, "out": array_on(handle, "out", result)}
    check_out(arrays["out"], shape, samples, dtype)
    if lengths is not None:
        arrays["lengths"] = array_on(handle, "lengths", lengths)
        check_lengths(arrays["lengths"], samples, arrays["out"])
    check_aligned(arrays)
    launch(arrays, n_mels, 0 if pad_to is None else length, smoothing, handle, form)
    return result
