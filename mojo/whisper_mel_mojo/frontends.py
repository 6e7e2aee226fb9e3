"""The kernel's front-ends for the conformance suite (entry points ``whisper_mel.frontends``)."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whisper_mel_mojo import c_library
from whisper_mel_mojo.arguments import array_dtype
from whisper_mel_mojo.builder import target_cpu
from whisper_mel_mojo.emulated.library import emulated
from whisper_mel_mojo.emulated.machines import MACHINES
from whisper_mel_mojo.features import log_mel
from whisper_mel_mojo.gpu import host
from whisper_mel_mojo.gpu.cuda import DeviceError, driver
from whisper_mel_mojo.gpu.emulator.driver import loaded
from whisper_mel_mojo.gpu.emulator.kernels import executed
from whisper_mel_mojo.gpu.targets import NVIDIA
from whisper_mel_mojo.library import Maximum, library
from whisper_mel_mojo.stream import Stream

_BFLOAT16 = ("bfloat16",) if importlib.util.find_spec("ml_dtypes") else ()


class FrontEnd:
    """A front-end to be judged: its name, its capabilities, and its function."""

    capabilities: Mapping[str, Any] = {
        "n_mels": (80, 128),
        "smoothing": (None, "valid", "same"),
        "pad_to": True,
        "maximum": ("clip", "fixed", "chunk"),
        "out_dtypes": ("float32", "float16", *_BFLOAT16),
        "dtypes": ("float32", "float64", "int16"),
        "batch": True,
        "max_samples": None,
        "errors": "strict",
        "out": True,
        "required_class": "A",
    }

    stream: Callable[..., Stream]
    """Makes a stream, where there is one."""

    def __init__(
        self, name: str, log_mel: Callable[..., Any], device: str = "cpu", target: str = ""
    ) -> None:
        """Create it; ``target`` is what its program is compiled for, if that tells it apart."""
        self.name = name
        self.log_mel = log_mel
        self.device = device
        self.versions = _versions() | ({"target": target} if target else {})


def _versions() -> dict[str, str]:
    """Return this distribution's version; empty if its source is used without being installed."""
    name = "whisper-mel-mojo"
    try:
        return {name: version(name)}
    except PackageNotFoundError:
        return {}


def mojo_cpu() -> FrontEnd:
    """Create the front-end; build the kernel first, so that a failure shows once, not in every
    case.

    Raises ``BuildError``.
    """
    library()
    front_end = FrontEnd("mojo-cpu", log_mel, target=target_cpu())
    front_end.stream = _stream
    front_end.capabilities = {**FrontEnd.capabilities, "stream": ("clip", "fixed")}
    return front_end


def _stream(n_mels: int = 80, *, maximum: Literal["clip"] | float = "clip") -> Stream:
    """Create a stream that keeps no frames after it has returned them."""
    return Stream(n_mels, maximum=maximum, keep=None if maximum == "clip" else 0)


def mojo_c() -> FrontEnd:
    """Create the front-end of the library for C; build the library first."""
    c_library.load()
    return FrontEnd("mojo-c", c_library.log_mel, target=target_cpu())


def mojo_arm() -> FrontEnd:
    """Create the front-end of the library for C on a 64-bit ARM processor, executed by qemu."""
    return emulated_on("aarch64")


def mojo_riscv() -> FrontEnd:
    """Create the front-end of the library for C on a 64-bit RISC-V processor, executed by qemu."""
    return emulated_on("riscv64")


def emulated_on(name: str, library: Path | None = None) -> FrontEnd:
    """Create the front-end of a library for C, executed by qemu on a machine of ``MACHINES``.

    ``library`` None means the kernel's own.
    """
    machine = MACHINES[name]
    front_end = FrontEnd(machine.front_end, emulated(machine, library), target=name)
    front_end.capabilities = {**FrontEnd.capabilities, "own_process": True}
    return front_end


def mojo_gpu() -> FrontEnd:
    """Create the front-end on a CUDA device; raise ``DeviceError`` if there is none."""
    driver()
    return FrontEnd("mojo-gpu", host.log_mel, device="cuda")


def on_cuda(audio: Any, n_mels: int = 80) -> Any:
    """Return features in a CUDA device's memory: samples are copied there, then one launch."""
    import torch

    from whisper_mel_mojo import gpu

    return gpu.log_mel(torch.from_numpy(audio).cuda(), n_mels)


def mojo_ptx() -> FrontEnd:
    """Create the front-end of the PTX that a launch hands to the driver, executed on this CPU.

    ``$WHISPER_MEL_ACCELERATOR`` is the target, by default sm_90a; ``$FAKE_DRIVER_ORDER`` the order
    of threads. A call in which the emulator finds something raises ``DeviceError``.
    """
    target = NVIDIA[os.environ.setdefault("WHISPER_MEL_ACCELERATOR", "sm_90a")]
    if target.capability is not None:
        loaded(target.capability)
    return _of_gpu("mojo-ptx", host.log_mel, target.name)


def _of_gpu(name: str, log_mel: Callable[..., Any], target: str) -> FrontEnd:
    """Create the front-end of a GPU's program that this CPU executes.

    No GPU's driver works in a child that was forked after its first call; nor does the stand-in.
    """
    front_end = FrontEnd(name, log_mel, target=target)
    front_end.capabilities = {**FrontEnd.capabilities, "forks": False}
    return front_end


def mojo_air() -> FrontEnd:
    """Create the front-end of an Apple GPU's program, as LLVM IR (AIR), executed on this CPU.

    ``$FAKE_DRIVER_ORDER`` is the order of threads. A call in which the emulator finds something
    raises ``Finding``.
    """
    return _of_gpu("mojo-air", executed("apple-m4"), "apple-m4")


def mojo_amdgpu() -> FrontEnd:
    """Create the front-end of an AMD GPU's program, as LLVM IR, executed like Apple's.

    ``$WHISPER_MEL_ACCELERATOR`` is the target, by default gfx942.
    """
    target = os.environ.get("WHISPER_MEL_ACCELERATOR", "gfx942")
    return _of_gpu("mojo-amdgpu", executed(target), target)


def mojo_torch() -> FrontEnd:
    """Create the front-end of the PyTorch operator, which imports PyTorch."""
    return _of_torch("mojo-torch", "cpu")


def mojo_torch_gpu() -> FrontEnd:
    """Create the front-end of the operator on the first CUDA device.

    Raises ``DeviceError`` if there is no device, or PyTorch is built without CUDA.
    """
    import torch

    driver()
    if not torch.cuda.is_available():
        raise DeviceError(
            f"PyTorch {torch.__version__} sees no CUDA device: expected one of CUDA's"
        )
    front_end = _of_torch("mojo-torch-gpu", "cuda")
    front_end.capabilities = {**front_end.capabilities, "errors": None}  # NaN is not reported
    return front_end


def _of_torch(name: str, device: str) -> FrontEnd:
    import torch

    from whisper_mel_mojo import torch as operator

    def log_mel(
        audio: NDArray[Any],
        n_mels: int = 80,
        *,
        pad_to: int | None = None,
        smoothing: str | None = None,
        threads: int | None = None,
        maximum: Maximum = "clip",
        dtype: str = "float32",
    ) -> NDArray[Any]:
        # PyTorch has neither read-only tensors nor negative strides nor foreign byte order.
        plain = audio.flags.writeable and min(audio.strides, default=0) >= 0
        if not (plain and audio.dtype.isnative):
            audio = audio.astype(audio.dtype.newbyteorder("="))
        samples = torch.from_numpy(audio).to(device)
        features = operator.log_mel(
            *(samples, n_mels),
            pad_to=pad_to,
            smoothing=smoothing,
            threads=threads,
            maximum=maximum,
            dtype=dtype,
        ).cpu()
        if dtype == "bfloat16":  # NumPy has it from another package than PyTorch
            return features.view(torch.int16).numpy().view(array_dtype(dtype))
        return features.numpy()

    front_end = FrontEnd(name, log_mel, device)
    front_end.capabilities = {**FrontEnd.capabilities, "out": False}
    front_end.versions |= {"torch": torch.__version__}
    return front_end


def mojo_max() -> FrontEnd:
    """Create the front-end of the operation of MAX graphs."""
    from max.driver import CPU

    return _of_max("mojo-max", CPU(), "cpu")


def mojo_max_gpu() -> FrontEnd:
    """Create the front-end of the operation on the first CUDA device; raise ``DeviceError``."""
    from max.driver import Accelerator

    driver()
    front_end = _of_max("mojo-max-gpu", Accelerator(), "cuda")
    front_end.capabilities = {**front_end.capabilities, "errors": None}  # NaN is not reported
    return front_end


def _of_max(name: str, device: Any, kind_of_device: str) -> FrontEnd:
    """Create a front-end that compiles a graph for each kind of call.

    Compilation takes long if the graph is not in the cache. Therefore ``pad_to``, which would need
    a graph for each value, is not supported.
    """
    from max.driver import CPU, Buffer
    from max.dtype import DType
    from max.engine import InferenceSession, Model
    from max.graph import DeviceRef, Graph, TensorType

    from whisper_mel_mojo import max as operation

    session = InferenceSession(devices=[device])

    @functools.cache
    def model(dtype: DType, rank: int, options: frozenset[tuple[str, Any]]) -> Model:
        where = DeviceRef.from_device(device)
        audio = TensorType(dtype, ["clips", "samples"][-rank:], device=where)
        with Graph("log_mel", input_types=[audio]) as graph:
            graph.output(operation.log_mel(graph.inputs[0].tensor, **dict(options)))
        return operation.load(session, graph)

    def log_mel(
        audio: NDArray[Any],
        n_mels: int = 80,
        *,
        smoothing: str | None = None,
        maximum: Maximum = "clip",
        dtype: str = "float32",
    ) -> NDArray[Any]:
        if audio.size == 0:
            raise ValueError(f"audio is empty (shape {audio.shape}): expected at least one sample")
        if not audio.dtype.isnative:
            audio = audio.astype(audio.dtype.newbyteorder("="))
        try:
            buffer = Buffer.from_numpy(np.ascontiguousarray(audio))
        except TypeError as error:
            raise TypeError(f"audio has dtype {audio.dtype}, which MAX does not know") from error
        if audio.ndim not in (1, 2):
            raise ValueError(f"audio has shape {audio.shape}: expected (n,) or (batch, n)")
        options = {"n_mels": n_mels, "smoothing": smoothing, "maximum": maximum, "dtype": dtype}
        [result] = model(buffer.dtype, audio.ndim, frozenset(options.items())).execute(
            buffer.to(device)
        )
        features: Any = result.to(CPU())
        if dtype == "bfloat16":  # MAX does not hand it to NumPy
            return np.from_dlpack(features.view(DType.int16)).view(array_dtype(dtype))
        return np.from_dlpack(features)

    front_end = FrontEnd(name, log_mel, kind_of_device)
    front_end.capabilities = {
        **FrontEnd.capabilities,
        "out": False,
        "pad_to": False,
    }
    front_end.versions |= {"max": version("max")}
    return front_end
