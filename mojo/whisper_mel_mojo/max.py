"""The kernel as an operation of MAX graphs."""

from __future__ import annotations

from max.dtype import DType
from max.graph import Dim, Graph, StaticDim, TensorType, TensorValue, ops

from whisper_mel_mojo.builder import built_max_package
from whisper_mel_mojo.features import MIN_SAMPLES, plan
from whisper_mel_mojo.library import SMOOTHING


def log_mel(
    audio: TensorValue,
    n_mels: int = 80,
    *,
    pad_to: int | None = None,
    smoothing: str | None = None,
) -> TensorValue:
    """Log-Mel features of one clip or of a batch of clips, as part of the graph being built.

    Parameters
    ----------
    audio : value of shape ``(n,)`` or ``(batch, n)`` on the CPU, both of which may be symbolic;
        float32 or float64 with full scale 1, or int16 PCM, which is divided by 32768.
    n_mels, pad_to, smoothing : as for :func:`whisper_mel_mojo.log_mel`; the operation is compiled
        for them.

    Returns
    -------
    A float32 value of shape ``(n_mels, n // 160)`` or ``(batch, n_mels, n // 160)``, where ``n`` is
    ``pad_to`` if given. Each clip has its own maximum. One thread computes it.

    Raises
    ------
    TypeError, ValueError
        as :func:`whisper_mel_mojo.log_mel`, for all that the graph knows. The rest (symbolic
        sizes, NaN and infinity) is found when the graph runs, and its ``execute`` then raises
        ``ValueError``.
    NotImplementedError
        ``audio`` is on a GPU.
    LookupError
        no graph is being built.
    BuildError
        the operation could not be compiled.
    """
    if audio.dtype not in (DType.float32, DType.float64, DType.int16):
        raise TypeError(f"audio has dtype {audio.dtype}: expected float32, float64 or int16 (PCM)")
    if audio.rank not in (1, 2):
        raise ValueError(f"audio has shape {list(audio.shape)}: expected (n,) or (batch, n)")
    if not audio.device.is_cpu():
        raise NotImplementedError(f"audio is on {audio.device}: expected it on the CPU")
    if audio.dtype == DType.float64:
        audio = ops.cast(audio, DType.float32)
    is_batch = audio.rank == 2
    if not is_batch:
        audio = ops.unsqueeze(audio, 0)
    clips, samples = audio.shape

    # A symbolic length is checked when the graph runs; any that is right serves until then.
    known = int(samples) if isinstance(samples, StaticDim) else None
    some = max(MIN_SAMPLES, 480) if pad_to is None else 1
    n_mels, length, _, (bands, frames) = plan(known or some, n_mels, pad_to, smoothing)
    columns: Dim = Dim(frames)
    if known is None and pad_to is None:
        columns = samples // 160 - (2 if smoothing == "valid" else 0)

    graph = Graph.current
    package = built_max_package()
    if package not in graph.kernel_libraries_paths:
        graph._import_kernels([package])
    [result] = ops.custom(
        name="whisper_mel.log_mel",
        device=audio.device,
        values=[audio],
        out_types=[TensorType(DType.float32, [clips, bands, columns], device=audio.device)],
        parameters={
            "n_mels": n_mels,
            "pad_to": 0 if pad_to is None else length,
            "smoothing": SMOOTHING[smoothing],
        },
    )
    return result.tensor if is_batch else ops.squeeze(result.tensor, 0)
