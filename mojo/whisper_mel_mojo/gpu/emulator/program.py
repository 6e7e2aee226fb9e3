"""Compiled kernels, given as text (PTX or LLVM IR), run in the emulator on arrays of the host."""

from __future__ import annotations

import ctypes
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whisper_mel_mojo.arguments import (
    CHUNK_FRAMES,
    array_dtype,
    form_of,
    kernel_samples,
    least_of,
    plan,
)
from whisper_mel_mojo.gpu.emulator import driver
from whisper_mel_mojo.gpu.emulator.llvm import is_ir
from whisper_mel_mojo.gpu.emulator.translate import Variant
from whisper_mel_mojo.gpu.emulator.translator import library_of
from whisper_mel_mojo.library import CHUNK, DTYPES, FIXED, SMOOTHING, Maximum, Smoothing

_MAX_DYNAMIC_SHARED = 8  # CUfunction_attribute
_CLUSTER_DIMENSION = 4  # CUlaunchAttributeID
Array = NDArray[Any]


class Finding(RuntimeError):
    """A deed of the kernel that the PTX ISA does not allow, as the emulator found it."""


class Launch(NamedTuple):
    """How a launch divides its work: ``shared`` in bytes for each block."""

    threads: int
    cluster: int = 1
    shared: int = 0
    blocks: int = 1
    order: str = "forwards"
    """Of the threads, as ``driver.c`` names them; empty: as the environment says."""


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


class Kernel:
    """A kernel whose first parameters are addresses: two of what it reads, one of what it writes.

    ``options`` and ``variants`` are those of ``library_of``, whose errors are raised, too. Raises
    ``Finding`` if the library cannot be loaded.
    """

    def __init__(self, code: str, *options: str, variants: Sequence[Variant] = ()) -> None:
        self._driver = driver.loaded()
        self._driver.cuGetErrorString.argtypes = [ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)]
        target = re.search(r"^\.target sm_(\d+)", code, re.M)
        if target is not None:
            os.environ["FAKE_DRIVER_CAPABILITY"] = target[1]
        elif not is_ir(code):
            raise ValueError("expected PTX with a .target, or LLVM IR with a target triple")
        self._ask("cuInit", 0)
        self._module = ctypes.c_void_p()
        library = library_of(code, *options, variants=variants)  # here, and in no other process
        os.environ["FAKE_DRIVER_TRANSLATOR"] = f"echo {shlex.quote(str(library))} #"
        try:
            self._ask("cuModuleLoadData", ctypes.byref(self._module), code.encode())
            # A kernel is translated when its parameters are asked for, or at its first launch.
            self._ask("cuFuncGetParamInfo", self._module, ctypes.c_size_t(0), None, None)
        finally:
            os.environ["FAKE_DRIVER_TRANSLATOR"] = driver.translator()

    def run(
        self, inputs: Sequence[Array], out: Array, values: Sequence[Any], launch: Launch, room: int
    ) -> None:
        """Copy the two inputs to the device, launch, and copy ``room`` bytes of the result back.

        ``values`` are further parameters, of C types. The device has ``room`` bytes for ``out``.
        Raises ``Finding``.
        """
        if launch.order:
            os.environ["FAKE_DRIVER_ORDER"] = launch.order
        with ExitStack() as stack:
            memory = [stack.enter_context(self._memory(it.nbytes)) for it in inputs]
            for address, array in zip(memory, inputs, strict=True):
                self._copy("cuMemcpyHtoD_v2", address, array.ctypes.data, array.nbytes)
            memory.append(stack.enter_context(self._memory(room)))
            self._launch(launch, (*map(ctypes.c_uint64, memory), *values))
            self._copy("cuMemcpyDtoH_v2", out.ctypes.data, memory[-1], room)

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

    def _copy(self, name: str, to: int, source: int, size: int) -> None:
        self._ask(name, ctypes.c_void_p(to), ctypes.c_void_p(source), ctypes.c_size_t(size))

    def _launch(self, launch: Launch, values: tuple[Any, ...]) -> None:
        shared = ctypes.c_int(launch.shared)
        self._ask("cuFuncSetAttribute", self._module, ctypes.c_int(_MAX_DYNAMIC_SHARED), shared)
        cluster = _Attribute(_CLUSTER_DIMENSION, 0, (launch.cluster, 1, 1))
        grid, block = (launch.blocks, 1, 1), (launch.threads, 1, 1)
        config = _Config(grid, block, launch.shared, None, ctypes.pointer(cluster), 1)
        pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
        self._ask("cuLaunchKernelEx", ctypes.byref(config), self._module, pointers, None)


class Program:
    """``mel_kernel`` for one target and number of bands.

    ``text`` is what ``targets.mojo`` prints: a line ``threads 256 cluster 8 shared 229456``, then
    the PTX or LLVM IR. ``mapping`` replaces numbers of that line. ``options``,
    ``variants`` and errors are those of :class:`Kernel`.
    """

    def __init__(
        self, text: str, *options: str, variants: Sequence[Variant] = (), **mapping: int
    ) -> None:
        first, _, ptx = text.partition("\n")
        words = first.split()
        if words[::2] != ["threads", "cluster", "shared"]:
            raise ValueError(f"expected threads, cluster and shared in the first line, got {first}")
        numbers = dict(zip(words[::2], map(int, words[1::2]), strict=True))
        self.launch = Launch(**{**numbers, **mapping})  # type: ignore[arg-type]
        self.ptx = ptx
        self.kernel = Kernel(ptx, *options, variants=variants)

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
        maximum: Maximum = "clip",
        dtype: str = "float32",
        blocks: int = 0,
    ) -> NDArray[Any]:
        """Compute features like :func:`whisper_mel_mojo.log_mel`; NaN where a device leaves NaN.

        ``lengths``: of each clip, in samples. ``order``: of the threads. ``promised``: bytes by
        which the output's memory is too short. ``blocks``: of each clip, where blocks need not know
        of each other; 0: as many as it has groups. Raises ``Finding``.
        """
        samples = np.ascontiguousarray(kernel_samples(np.asarray(audio)))
        clips, n = len(np.atleast_2d(samples)), samples.shape[-1]
        shape = plan(n, n_mels, pad_to, smoothing).shape
        features = np.empty((*samples.shape[:-1], *shape), array_dtype(dtype))
        form = form_of(maximum, dtype)
        rows = max(n, pad_to or 0) // 160
        items = clips * (-(-rows // CHUNK_FRAMES) if form.maximum == CHUNK else 1)
        if not (form.maximum == FIXED and smoothing is None):
            blocks = self.launch.cluster
        elif blocks == 0:
            blocks = -(-rows // (self.launch.threads // 8))
        counts = np.zeros(clips, np.int64) if lengths is None else np.array(lengths, np.int64)
        flags = (samples.dtype == np.int16, lengths is not None, SMOOTHING[smoothing])
        sizes = map(ctypes.c_int64, (n, n, pad_to or 0))
        values = (
            *map(ctypes.c_int32, flags),
            *sizes,
            ctypes.c_int32(blocks),
            ctypes.c_int32(form.maximum),
            ctypes.c_float(float(least_of(form.fixed))),
            ctypes.c_int32(DTYPES[dtype]),
        )
        launch = self.launch._replace(blocks=items * blocks, order=order)
        self.kernel.run((samples, counts), features, values, launch, features.nbytes - promised)
        return features
