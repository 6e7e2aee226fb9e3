"""Arrays, new arrays and streams of PyTorch, CuPy and others.

PyTorch and CuPy are never imported here: a caller with an array of theirs has imported them.
"""

from __future__ import annotations

import sys
from typing import Any

from whisper_mel_mojo.arguments import array_dtype
from whisper_mel_mojo.gpu.arrays import BFLOAT16, DeviceArray, device_array
from whisper_mel_mojo.gpu.cuda import LEGACY_STREAM


def array_on(stream: int, name: str, array: Any) -> DeviceArray:
    """Read the layout of the argument ``name``, which will be used on a stream.

    It is like :func:`device_array`, but a PyTorch tensor also gets its device and stream, which its
    interface does not tell.
    """
    if _is_of("torch", "Tensor", array) and array.dtype is sys.modules["torch"].bfloat16:
        # Its interface has no word for this dtype in all versions.
        bits = array_on(stream, name, array.view(sys.modules["torch"].int16))
        return bits._replace(dtype=BFLOAT16)
    result = device_array(name, array, stream)
    if _is_cuda_tensor(array):
        return result._replace(device=array.device.index, stream=current_stream(array))
    return result


def current_stream(audio: Any) -> int:
    """Return the current stream of the library that an array belongs to; 0 if that is not known."""
    if _is_cuda_tensor(audio):
        handle: int = sys.modules["torch"].cuda.current_stream(audio.device).cuda_stream
        return handle or LEGACY_STREAM
    if _is_of("cupy", "ndarray", audio):
        return sys.modules["cupy"].cuda.get_current_stream().ptr or LEGACY_STREAM
    return 0


def empty_like(audio: Any, shape: tuple[int, ...], dtype: str) -> Any:
    """Return a new array of the audio's library, on the audio's device.

    Raises ``TypeError`` if the library is neither PyTorch nor CuPy.
    """
    if _is_of("torch", "Tensor", audio):
        return audio.new_empty(shape, dtype=getattr(sys.modules["torch"], dtype))
    if _is_of("cupy", "ndarray", audio):
        return sys.modules["cupy"].empty(shape, array_dtype(dtype))
    raise TypeError(
        f"out=None: expected an array, since audio is a {type(audio).__name__}, neither PyTorch's "
        "nor CuPy's"
    )


def stream_address(stream: Any) -> int:
    """Return the address of a CUDA stream, given as an address or as an object of any library.

    Raises ``TypeError`` for other objects, ``ValueError`` for a negative address.
    """
    if isinstance(stream, int) and not isinstance(stream, bool):
        handle = stream
    elif hasattr(stream, "__cuda_stream__"):
        _, handle = stream.__cuda_stream__()
    elif hasattr(stream, "cuda_stream"):
        handle = stream.cuda_stream
    elif hasattr(stream, "ptr"):
        handle = stream.ptr
    else:
        raise TypeError(
            f"stream is a {type(stream).__name__}: expected an address, or an object with "
            "__cuda_stream__, cuda_stream or ptr"
        )
    handle = int(handle)
    if handle < 0:
        raise ValueError(f"stream={handle}: expected the address of a CUDA stream")
    return handle or LEGACY_STREAM


def _is_cuda_tensor(array: Any) -> bool:
    return _is_of("torch", "Tensor", array) and array.is_cuda


def _is_of(module: str, class_name: str, array: Any) -> bool:
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(array, getattr(loaded, class_name, ()))
