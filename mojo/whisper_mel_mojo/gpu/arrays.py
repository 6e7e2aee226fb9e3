"""Arrays in a CUDA device's memory, of any library.

Two protocols tell where an array lies: the CUDA array interface (Numba's documentation, version 3)
and DLPack (dlpack.h of DLPack 1.0; Python array API standard, ``__dlpack__``). Nothing is copied.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np

_CUDA, _CUDA_MANAGED = 2, 13  # DLDeviceType
_ELSEWHERE = {1: "the host", 3: "the host (page-locked)", 8: "a Metal device", 10: "a ROCm device"}
_BFLOAT = 4
_KINDS = {0: "i", 1: "u", 2: "f", _BFLOAT: "V", 5: "c", 6: "b"}  # DLDataTypeCode
BFLOAT16 = np.dtype("V2")
"""What stands for bfloat16, which NumPy does not know."""
_READ_ONLY = 1


class DeviceArray(NamedTuple):
    """Address, shape and layout of an array; strides are in elements."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    read_only: bool
    device: int | None
    """The device's number; None if the protocol does not tell."""
    stream: int | None
    """The stream on which the data become ready; None if that is the consumer's."""
    keep: object
    """An object that must live as long as the address is used."""

    @property
    def is_contiguous(self) -> bool:
        """Whether elements lie one after the other, in C's order."""
        expected = 1
        for size, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if size != 1 and stride != expected:
                return False
            expected *= size
        return True

    @property
    def extent(self) -> tuple[int, int]:
        """The lowest address, and the one after the last byte."""
        if 0 in self.shape:
            return self.address, self.address
        steps = [(n - 1) * s for n, s in zip(self.shape, self.strides, strict=True)]
        low, high = sum(min(s, 0) for s in steps), sum(max(s, 0) for s in steps) + 1
        size = self.dtype.itemsize
        return self.address + size * low, self.address + size * high


def device_array(name: str, array: Any, stream: int) -> DeviceArray:
    """Read the layout of the argument ``name``, which will be used on a CUDA stream.

    Raises ``TypeError`` for anything that is not in a CUDA device's memory.
    """
    if hasattr(array, "__cuda_array_interface__"):
        return _from_interface(name, array)
    if hasattr(array, "__dlpack__") and hasattr(array, "__dlpack_device__"):
        kind, device = array.__dlpack_device__()
        if kind in (_CUDA, _CUDA_MANAGED):
            return _from_dlpack(name, array, int(device), stream)
        where = _ELSEWHERE.get(kind, f"a device of DLPack's type {int(kind)}")
        raise TypeError(
            f"{name} is a {type(array).__name__} in the memory of {where}: "
            "expected one in a CUDA device's memory"
        )
    raise TypeError(
        f"{name} is a {type(array).__name__}: expected an array in a CUDA device's memory, with "
        "__cuda_array_interface__ or __dlpack__"
    )


def _from_interface(name: str, array: Any) -> DeviceArray:
    interface = array.__cuda_array_interface__
    dtype = np.dtype(interface["typestr"])
    address, read_only = interface["data"]
    shape = tuple(interface["shape"])
    strides = interface.get("strides")
    if strides is None:
        strides = _contiguous(shape)
    elif any(stride % dtype.itemsize for stride in strides):
        raise ValueError(f"{name} has strides {strides}: expected whole elements of {dtype}")
    else:
        strides = tuple(stride // dtype.itemsize for stride in strides)
    if interface.get("mask") is not None:
        raise ValueError(f"{name} has a mask: expected an array without one")
    stream = interface.get("stream")
    return DeviceArray(
        address or 0, shape, strides, dtype, bool(read_only), None, stream, interface
    )


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


class _Tensor(ctypes.Structure):
    """C's ``DLTensor``."""

    _fields_ = [
        ("data", ctypes.c_uint64),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Versioned(ctypes.Structure):
    """C's ``DLManagedTensorVersioned``; an unversioned one begins with its tensor."""

    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    ]


_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.argtypes = [ctypes.py_object, ctypes.c_char_p]
_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_get_pointer.restype = ctypes.c_void_p


def _from_dlpack(name: str, array: Any, device: int, stream: int) -> DeviceArray:
    # The producer makes `stream` wait for its own stream. The capsule frees its memory at its end.
    try:
        capsule = array.__dlpack__(stream=stream, max_version=(1, 0))
    except TypeError:  # made before DLPack 1.0
        capsule = array.__dlpack__(stream=stream)
    read_only = False
    if _is_valid(capsule, b"dltensor_versioned"):
        managed = _Versioned.from_address(_get_pointer(capsule, b"dltensor_versioned"))
        if managed.major != 1:
            raise TypeError(f"{name} comes by DLPack {managed.major}: expected version 1 or older")
        tensor, read_only = managed.tensor, bool(managed.flags & _READ_ONLY)
    else:
        tensor = _Tensor.from_address(_get_pointer(capsule, b"dltensor"))
    is_unknown = tensor.code not in _KINDS or (tensor.code == _BFLOAT and tensor.bits != 16)
    if tensor.lanes != 1 or is_unknown:
        raise TypeError(f"{name} has DLPack's type code {tensor.code}: expected float32 or int16")
    dtype = np.dtype(f"{_KINDS[tensor.code]}{tensor.bits // 8}")
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = tuple(tensor.strides[: tensor.ndim]) if tensor.strides else _contiguous(shape)
    address = tensor.data + tensor.byte_offset
    return DeviceArray(address, shape, strides, dtype, read_only, device, None, capsule)
