"""The kernel as an operation of MAX graphs."""

from __future__ import annotations

import importlib.metadata
import struct
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from max.driver import Device, accelerator_count
from max.dtype import DType
from max.engine import InferenceSession, Model, read
from max.graph import Dim, Graph, StaticDim, TensorType, TensorValue, ops

from whisper_mel_mojo.arguments import HOP, MIN_SAMPLES, form_of, plan
from whisper_mel_mojo.builder import built_max_package, cpu_features, kept
from whisper_mel_mojo.gpu import DeviceError
from whisper_mel_mojo.gpu.checks import check_form
from whisper_mel_mojo.library import SMOOTHING, Maximum


def log_mel(
    audio: TensorValue,
    n_mels: int = 80,
    *,
    pad_to: int | None = None,
    smoothing: str | None = None,
    maximum: Maximum = "clip",
    dtype: str = "float32",
) -> TensorValue:
    """Add log-Mel features of one clip or of a batch of clips to the graph being built.

    Parameters
    ----------
    audio : value of shape ``(n,)`` or ``(batch, n)``, both of which may be symbolic, on the CPU or
        a GPU; float32 or float64 with full scale 1, or int16 PCM, which is divided by 32768.
    n_mels, pad_to, smoothing, maximum, dtype : as for :func:`whisper_mel_mojo.log_mel`; the
        operation is compiled for them. On a GPU, ``"chunk"`` is without smoothing only.

    Returns
    -------
    A value of ``dtype`` and of shape ``(n_mels, n // 160)`` or ``(batch, n_mels, n // 160)``, where
    ``n`` is ``pad_to`` if given, on the audio's device. On a CPU one thread computes it, on a GPU
    one launch (tested as ``docs/gpu.md`` says).

    Raises
    ------
    TypeError, ValueError
        as :func:`whisper_mel_mojo.log_mel`, for all that the graph knows. Symbolic sizes, NaN and
        infinity are checked when the graph runs; its ``execute`` then raises ``ValueError``. On a
        GPU, NaN and infinity make NaN of features instead, as of
        :func:`whisper_mel_mojo.gpu.log_mel`. (For fewer than two frames and ``"valid"``, the
        message says only that MAX cannot allocate the result.)
    NotImplementedError
        ``maximum="chunk"`` comes with smoothing on a GPU.
    DeviceError
        ``audio`` is on a GPU that does not exist.
    LookupError
        no graph is being built.
    BuildError
        the operation could not be compiled.
    """
    if audio.dtype not in (DType.float32, DType.float64, DType.int16):
        raise TypeError(f"audio has dtype {audio.dtype}: expected float32, float64 or int16 (PCM)")
    shape = list(audio.shape)
    if audio.rank not in (1, 2):
        raise ValueError(f"audio has shape {shape}: expected (n,) or (batch, n)")
    if 0 in shape:
        raise ValueError(f"audio is empty (shape {shape}): expected at least one sample")
    if audio.dtype == DType.float64:
        audio = ops.cast(audio, DType.float32)
    if audio.device.is_gpu() and audio.device.id >= accelerator_count():
        raise DeviceError(
            f"audio is on {audio.device}: MAX sees {accelerator_count()} accelerators"
        )
    form = form_of(maximum, dtype)
    if audio.device.is_gpu():
        check_form(form, smoothing)
    is_batch = audio.rank == 2
    if not is_batch:
        audio = ops.unsqueeze(audio, 0)
    clips, samples = audio.shape

    # A symbolic length is checked when the graph runs; until then any valid number stands for it.
    known = int(samples) if isinstance(samples, StaticDim) else None
    some = max(MIN_SAMPLES, 480) if pad_to is None else 1
    n_mels, length, _, (bands, frames) = plan(known or some, n_mels, pad_to, smoothing)
    columns: Dim = Dim(frames)
    if known is None and pad_to is None:
        columns = samples // HOP - (2 if smoothing == "valid" else 0)

    graph = Graph.current
    package = built_max_package()
    if package not in graph.kernel_libraries_paths:
        graph._import_kernels([package])
    [result] = ops.custom(
        name="whisper_mel.log_mel",
        device=audio.device,
        values=[audio],
        out_types=[TensorType(DType[dtype], [clips, bands, columns], device=audio.device)],
        parameters={
            "n_mels": n_mels,
            "pad_to": 0 if pad_to is None else length,
            "smoothing": SMOOTHING[smoothing],
            "maximum": form.maximum,
            "fixed": struct.unpack("q", struct.pack("d", form.fixed))[0],  # its bits
        },
    )
    return result.tensor if is_batch else ops.squeeze(result.tensor, 0)


# Texts of graphs before compilation, which changes them
_texts: WeakKeyDictionary[Graph, str] = WeakKeyDictionary()


def load(
    session: InferenceSession, graph: Graph, *, weights_registry: Mapping[str, Any] | None = None
) -> Model:
    """Return ``session.load(graph)``, compiled once and cached for later processes.

    Compilation takes from ten seconds to minutes and is announced on standard error; loading from
    the cache takes milliseconds. An entry of the cache is for one graph with its constants, one
    version of MAX and these devices. It is in the kernel's cache (``$WHISPER_MEL_CACHE``).

    Parameters
    ----------
    session : the session in which the model will run.
    graph : any graph, with or without :func:`log_mel` in it.
    weights_registry : the graph's weights by name, as for ``session.load``. They are not cached.

    Raises
    ------
    RuntimeError
        MAX could not compile the graph; nothing is cached then.
    BuildError
        there is no place for the cache.
    """
    devices = ", ".join(map(_kind, session.devices))
    text = _texts.setdefault(graph, str(graph))
    parts = (text, devices, importlib.metadata.version("max"))
    path = kept(
        f"the graph {graph.name!r}, which can take minutes",
        *("graph-", ".mef"),
        [part.encode() for part in parts],
        lambda path: session.compile(graph).export_mef(path),
    )
    model: Model = session.init(read(path), weights_registry=weights_registry)
    return model


def _kind(device: Device) -> str:
    """Return what a compiled model depends on: the CPU's features or the GPU's architecture."""
    if device.is_host:
        return cpu_features()
    return f"{device.api} {device.architecture_name}"
