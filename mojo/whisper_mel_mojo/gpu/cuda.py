"""The calls of the CUDA driver that Python makes (CUDA driver API, libcuda)."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

_MAJOR, _MINOR = 75, 76  # CUdevice_attribute: compute capability
_ORDINAL = 9  # CUpointer_attribute: the device of an address
_DISABLE_TIMING = 2
LEGACY_STREAM = 1
"""The handle of the legacy default stream."""


class DeviceError(RuntimeError):
    """The lack of a CUDA device, or a refusal of its driver; the message says what."""


def driver() -> Driver:
    """Return the driver, initialised in this process.

    Raises ``DeviceError`` if there is no driver or no device, or if this process was forked from
    one that had initialised it.
    """
    made = _driver()
    if made.process != os.getpid():
        raise DeviceError(
            "this process was forked from one that had used CUDA, whose driver does not work after "
            "a fork: start it by multiprocessing's 'spawn' or 'forkserver', or call log_mel in "
            "the child only"
        )
    return made


@lru_cache(maxsize=1)
def _driver() -> Driver:
    return Driver()


class Driver:
    """The CUDA driver. Memory is given by its address, a context by its device's number."""

    def __init__(self) -> None:
        self.process = os.getpid()
        try:
            self._library = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise DeviceError(
                f"there is no CUDA device: its driver cannot be loaded ({error})"
            ) from None
        self._call("cuInit", ctypes.c_uint(0))
        count = ctypes.c_int()
        self._call("cuDeviceGetCount", ctypes.byref(count))
        if count.value < 1:
            raise DeviceError("there is no CUDA device: the driver sees none")
        self._contexts: dict[int, ctypes.c_void_p] = {}

    def _status(self, name: str, *arguments: Any) -> int:
        status: int = getattr(self._library, name)(*arguments)
        return status

    def _call(self, name: str, *arguments: Any) -> None:
        status = self._status(name, *arguments)
        if status != 0:
            text = ctypes.c_char_p()
            self._status("cuGetErrorString", status, ctypes.byref(text))
            reason = (text.value or b"unknown error").decode()
            raise DeviceError(f"{name} failed with error {status}: {reason}")

    def capability(self, device: int) -> tuple[int, int]:
        """Return a device's compute capability, such as ``(9, 0)``."""
        values = (ctypes.c_int(), ctypes.c_int())
        for value, attribute in zip(values, (_MAJOR, _MINOR), strict=True):
            self._call("cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
        return values[0].value, values[1].value

    def device_of(self, address: int) -> int | None:
        """Return the device of an address; None if the driver does not know it."""
        value = ctypes.c_int()
        query = (ctypes.byref(value), _ORDINAL, ctypes.c_void_p(address))
        return value.value if self._status("cuPointerGetAttribute", *query) == 0 else None

    @contextlib.contextmanager
    def current(self, device: int) -> Iterator[None]:
        """Make the device's primary context current in this thread; restore the previous one."""
        if device not in self._contexts:
            context = ctypes.c_void_p()
            self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
            self._contexts[device] = context
        self._call("cuCtxPushCurrent_v2", self._contexts[device])
        try:
            yield
        finally:
            self._call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def wait(self, device: int, stream: int, for_stream: int) -> None:
        """Make later work of ``stream`` wait for the present work of ``for_stream``."""
        event = ctypes.c_void_p()
        with self.current(device):
            self._call("cuEventCreate", ctypes.byref(event), _DISABLE_TIMING)
            try:
                self._call("cuEventRecord", event, ctypes.c_void_p(for_stream))
                self._call("cuStreamWaitEvent", ctypes.c_void_p(stream), event, 0)
            finally:
                self._call("cuEventDestroy_v2", event)

    def synchronize(self, device: int, stream: int) -> None:
        """Wait until a stream has finished its work."""
        with self.current(device):
            self._call("cuStreamSynchronize", ctypes.c_void_p(stream))

    def allocate(self, device: int, size: int) -> int:
        """Allocate bytes; return the address. Raises ``MemoryError`` if too few are free."""
        address = ctypes.c_void_p()
        with self.current(device):
            status = self._status("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        if status != 0 or address.value is None:
            raise MemoryError(f"device {device} has no {size} bytes of memory (error {status})")
        return address.value

    def free(self, device: int, address: int) -> None:
        with self.current(device):
            self._call("cuMemFree_v2", ctypes.c_void_p(address))

    def to_device(self, device: int, address: int, source: int, size: int) -> None:
        with self.current(device):
            pointers = ctypes.c_void_p(address), ctypes.c_void_p(source)
            self._call("cuMemcpyHtoD_v2", *pointers, ctypes.c_size_t(size))

    def to_host(self, device: int, address: int, source: int, size: int) -> None:
        with self.current(device):
            pointers = ctypes.c_void_p(address), ctypes.c_void_p(source)
            self._call("cuMemcpyDtoH_v2", *pointers, ctypes.c_size_t(size))
