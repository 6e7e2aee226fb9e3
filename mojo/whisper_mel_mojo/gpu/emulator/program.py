"""One compiled kernel, given as text, run in the emulator on arrays of the host."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whisper_mel_mojo.features import kernel_samples, plan
from whisper_mel_mojo.gpu.emulator import driver
from whisper_mel_mojo.library import SMOOTHING, Smoothing

_MAX_DYNAMIC_SHARED = 8  # CUfunction_attribute
_CLUSTER_DIMENSION = 4  # CUlaunchAttributeID


class Finding(RuntimeError):
    """What the emulator found in a launch: the kernel did what the PTX ISA does not allow."""


class _Attribute(ctypes.Structure):
    _fields_ = (("id", ctypes.c_uint), ("pad", ctypes.c_uint), ("values", ctypes.c_uint * 16))


class _Config(ctypes.Structure):
    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(_Attribute)),
        ("count", ctypes.c_uint),
    )


class Program:
    """The kernel for one target and number of bands.

    ``text`` is what ``ci/gpu/compile/code.py`` returns: a line ``threads 256 cluster 8 shared
    229456``, then the PTX. ``mapping`` replaces numbers of that line. Raises ``PTXError`` for what
    the emulator does not know.
    """

    def __init__(self, text: str, **mapping: int) -> None:
        first, _, self.ptx = text.partition("\n")
        words = first.split()
        if words[::2] != ["threads", "cluster", "shared"]:
            raise ValueError(f"expected threads, cluster and shared in the first line, got {first}")
        self.threads, self.cluster, self.shared = (
            mapping.get(name, int(value))
            for name, value in zip(words[::2], words[1::2], strict=True)
        )
        self._driver = driver.loaded()
        self._driver.cuGetErrorString.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)]
        target = self.ptx.partition(".target sm_")[2]
        os.environ["FAKE_DRIVER_CAPABILITY"] = "".join(filter(str.isdigit, target.split()[0]))
        self._module = ctypes.c_void_p()
        self._ask("cuModuleLoadData", ctypes.byref(self._module), self.ptx.encode())
        shared = ctypes.c_int(self.shared)
        self._ask("cuFuncSetAttribute", self._module, ctypes.c_int(_MAX_DYNAMIC_SHARED), shared)

    def _ask(self, name: str, *arguments: Any) -> None:
        status = getattr(self._driver, name)(*arguments)
        if status != 0:
            text = ctypes.c_char_p()
            self._driver.cuGetErrorString(status, ctypes.byref(text))
            raise Finding((text.value or b"").decode())

    @contextmanager
    def _memory(self, size: int) -> Iterator[int]:
        address = ctypes.c_void_p()
        self._ask("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        try:
            yield address.value or 0
        finally:
            self._ask("cuMemFree_v2", address)

    def log_mel(
        self,
        audio: ArrayLike,
        n_mels: int = 80,
        *,
        pad_to: int | None = None,
        smoothing: Smoothing | None = None,
        lengths: ArrayLike | None = None,
        order: str = "forwards",
        promised: int = 0,
    ) -> NDArray[np.float32]:
        """Compute features like :func:`whisper_mel_mojo.log_mel`; NaN where a device leaves NaN.

        ``lengths``: of each clip, in samples. ``order``: of the threads, as ``driver.c`` names
        them. ``promised``: bytes by which the output's memory is too short. Raises ``Finding``.
        """
        os.environ["FAKE_DRIVER_ORDER"] = order
        samples = np.ascontiguousarray(kernel_samples(np.asarray(audio)))
        clips = len(samples) if samples.ndim == 2 else 1
        shape = plan(samples.shape[-1], n_mels, pad_to, smoothing).shape
        features = np.empty((*samples.shape[:-1], *shape), np.float32)
        counts = np.zeros(clips, np.int64) if lengths is None else np.array(lengths, np.int64)
        n = samples.shape[-1]
        with ExitStack() as stack:
            memory = [
                stack.enter_context(self._memory(it.nbytes)) for it in (samples, counts)
            ]
            for address, array in zip(memory, (samples, counts), strict=True):
                self._copy("cuMemcpyHtoD_v2", address, array.ctypes.data, array.nbytes)
            memory.append(stack.enter_context(self._memory(features.nbytes - promised)))
            flags = (samples.dtype == np.int16, lengths is not None, SMOOTHING[smoothing])
            values = (
                *map(ctypes.c_uint64, memory),
                *map(ctypes.c_int32, flags),
                *map(ctypes.c_int64, (n, n, pad_to or 0)),
            )
            self._launch(clips * self.cluster, values)
            self._copy("cuMemcpyDtoH_v2", features.ctypes.data, memory[-1], features.nbytes)
        return features

    def _copy(self, name: str, to: int, source: int, size: int) -> None:
        self._ask(name, ctypes.c_void_p(to), ctypes.c_void_p(source), ctypes.c_size_t(size))

    def _launch(self, grid: int, values: tuple[Any, ...]) -> None:
        cluster = _Attribute(_CLUSTER_DIMENSION, 0, (self.cluster, 1, 1))
        config = _Config((grid, 1, 1), (self.threads, 1, 1), self.shared, None, ctypes.pointer(cluster), 1)
        pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        self._ask("cuLaunchKernelEx", ctypes.byref(config), self._module, pointers, None)
