"""Calls of the CUDA driver for the sections that the package lacks (CUDA driver API)."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_mojo.gpu.cuda import LEGACY_STREAM, DeviceError, Driver

from gpu.device.plan import NotHere

DEVICE = 0
_CAPTURE_RELAXED = 2
_NON_BLOCKING = 1


@lru_cache(maxsize=1)
def device() -> Device:
    """Return the first device; raise ``NotHere`` if there is none."""
    try:
        return Device()
    except DeviceError as error:
        raise NotHere(str(error)) from None


class Device(Driver):
    """The first device: its memory, streams, graphs and clock. Streams are given by address."""

    def name(self) -> str:
        text = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", text, len(text), DEVICE)
        return text.value.decode()

    def version(self) -> str:
        """Return the CUDA version that the driver supports, such as ``13.0``."""
        number = ctypes.c_int()
        self._call("cuDriverGetVersion", ctypes.byref(number))
        return f"{number.value // 1000}.{number.value % 1000 // 10}"

    def attribute(self, which: int) -> int:
        value = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(value), which, DEVICE)
        return value.value

    def free_memory(self) -> int:
        """Return the free device memory in bytes."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        with self.current(DEVICE):
            self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def fill(self, address: int, word: int, count: int) -> None:
        """Set ``count`` words of 32 bits from ``address`` on to ``word``."""
        with self.current(DEVICE):
            pointer = ctypes.c_void_p(address)
            self._call("cuMemsetD32_v2", pointer, ctypes.c_uint(word), ctypes.c_size_t(count))

    def copy(self, to: int, source: int, size: int, stream: int = LEGACY_STREAM) -> None:
        """Begin to copy bytes within the device's memory."""
        with self.current(DEVICE):
            pointers = ctypes.c_void_p(to), ctypes.c_void_p(source)
            handle = ctypes.c_void_p(stream)
            self._call("cuMemcpyDtoDAsync_v2", *pointers, ctypes.c_size_t(size), handle)

    def upload(self, address: int, array: NDArray[Any]) -> None:
        array = np.ascontiguousarray(array)
        self.to_device(DEVICE, address, array.ctypes.data, array.nbytes)

    def download(self, address: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        array: NDArray[Any] = np.empty(shape, dtype)
        self.to_host(DEVICE, array.ctypes.data, address, array.nbytes)
        return array

    def wait_for(self, stream: int = LEGACY_STREAM) -> None:
        self.synchronize(DEVICE, stream)

    def new_stream(self) -> int:
        """Create a stream that does not wait for the legacy default stream."""
        stream = ctypes.c_void_p()
        with self.current(DEVICE):
            self._call("cuStreamCreate", ctypes.byref(stream), _NON_BLOCKING)
        return stream.value or 0

    def captured(self, stream: int, launch: Callable[[], object]) -> int:
        """Capture the work of ``launch`` on the stream; return a graph that can be launched."""
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        handle = ctypes.c_void_p(stream)
        with self.current(DEVICE):
            self._call("cuStreamBeginCapture_v2", handle, _CAPTURE_RELAXED)
            try:
                launch()
            finally:
                self._call("cuStreamEndCapture", handle, ctypes.byref(graph))
            flags = ctypes.c_ulonglong(0)
            self._call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, flags)
        return executable.value or 0

    def launch_graph(self, graph: int, stream: int) -> None:
        with self.current(DEVICE):
            self._call("cuGraphLaunch", ctypes.c_void_p(graph), ctypes.c_void_p(stream))

    def milliseconds(self, work: Callable[[], object], stream: int = LEGACY_STREAM) -> float:
        """Time ``work`` on a stream by the device's own clock, in milliseconds."""
        events = (ctypes.c_void_p(), ctypes.c_void_p())
        elapsed = ctypes.c_float(float("nan"))
        with self.current(DEVICE):
            for event in events:
                self._call("cuEventCreate", ctypes.byref(event), 0)
            self._call("cuEventRecord", events[0], ctypes.c_void_p(stream))
            work()
            self._call("cuEventRecord", events[1], ctypes.c_void_p(stream))
            self._call("cuStreamSynchronize", ctypes.c_void_p(stream))
            self._call("cuEventElapsedTime", ctypes.byref(elapsed), *events)
            for event in events:
                self._call("cuEventDestroy_v2", event)
        return elapsed.value
