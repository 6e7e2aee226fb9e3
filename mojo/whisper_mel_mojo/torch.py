"""The kernel as a PyTorch operator, ``torch.ops.whisper_mel.log_mel``, and as a layer.

Importing this module registers the operator. It works eagerly, with ``torch.compile``,
``torch.export``, ``vmap`` and autograd. It never moves tensors, and copies them only as
:func:`log_mel` says.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from whisper_mel_mojo import gpu
from whisper_mel_mojo.arguments import (
    CHUNK_FRAMES,
    HOP,
    PLAIN,
    RANGE,
    Form,
    Prepared,
    failure,
    form_of,
    hint_for_half,
    plan,
    prepare,
    thread_count,
)
from whisper_mel_mojo.library import CHUNK, CLIP, FIXED, Maximum, library

_N_FFT, _REACH = 400, 200
_FLOOR = 1e-10
_RANGE = 4 * float(RANGE)  # of the logarithm


def log_mel(
    audio: Tensor,
    n_mels: int = 80,
    *,
    pad_to: int | None = None,
    smoothing: str | None = None,
    threads: int | None = None,
    maximum: Maximum = "clip",
    dtype: str = "float32",
) -> Tensor:
    """Compute log-Mel features of one clip or of a batch of clips, as Whisper's models expect them.

    It calls ``torch.ops.whisper_mel.log_mel``.

    Parameters
    ----------
    audio : tensor of shape ``(n,)`` or ``(batch, n)`` on the CPU or a CUDA device, 16 000 samples a
        second: float32 or float64 with full scale 1, or int16 PCM, which is divided by 32768.
        Copied only if it is float64 or the samples of a clip are not contiguous.
    n_mels, pad_to, smoothing, maximum, dtype : as for :func:`whisper_mel_mojo.log_mel`.
    threads : largest number of threads on a CPU; None means one for every five seconds of audio, up
        to ``torch.get_num_threads()``. The result does not depend on it.

    Returns
    -------
    Tensor of ``dtype``, of shape ``(n_mels, n_frames)`` or ``(batch, n_mels, n_frames)`` on the
    audio's device, where ``n_frames = n // 160``. Gradients are computed in float64 and can be
    differentiated again. On a GPU the features come as :func:`whisper_mel_mojo.gpu.log_mel` says:
    by one launch on the current stream, NaN for clips that contain NaN or infinity.

    Raises
    ------
    TypeError, ValueError
        as :func:`whisper_mel_mojo.log_mel`; NaN and infinity are found when it is computed, not
        when a graph is traced.
    DeviceError, BuildError
        as :func:`whisper_mel_mojo.gpu.log_mel`.
    NotImplementedError
        ``audio`` is on another kind of device.
    """
    if isinstance(audio, torch.Tensor) and audio.layout is not torch.strided:
        raise TypeError(f"audio has layout {audio.layout}: expected torch.strided, a dense tensor")
    options = _options(maximum, dtype)
    result: Tensor = torch.ops.whisper_mel.log_mel(
        audio, n_mels, pad_to=pad_to, smoothing=smoothing, threads=threads, **options
    )
    return result


def _options(maximum: Maximum, dtype: str) -> dict[str, Any]:
    """Return the operator's own arguments for them: none if both are the default."""
    form = form_of(maximum, dtype)
    if form == PLAIN:
        return {}
    return {"maximum": form.maximum, "fixed": form.fixed, "dtype": dtype}


class LogMel(torch.nn.Module):  # type: ignore[misc]
    """:func:`log_mel` as the first layer of a model. It has no parameters and no buffers."""

    def __init__(
        self,
        n_mels: int = 80,
        *,
        pad_to: int | None = None,
        smoothing: str | None = None,
        maximum: Maximum = "clip",
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        plan(480_000 if pad_to is None else 1, n_mels, pad_to, smoothing)
        self.n_mels = n_mels
        self.pad_to = pad_to
        self.smoothing = smoothing
        self.maximum = maximum
        self.dtype = dtype
        form = form_of(maximum, dtype)
        self._maximum, self._fixed = form.maximum, form.fixed
        self._is_fixed = form.maximum == FIXED

    def forward(self, audio: Tensor) -> Tensor:
        features: Tensor = torch.ops.whisper_mel.log_mel(
            audio,
            self.n_mels,
            pad_to=self.pad_to,
            smoothing=self.smoothing,
            maximum=self._maximum,
            # A literal where it means nothing: a module's float is compiled as if it could change.
            fixed=self._fixed if self._is_fixed else 0.0,
            dtype=self.dtype,
        )
        return features

    def extra_repr(self) -> str:
        extra = f"{self.n_mels}, pad_to={self.pad_to}, smoothing={self.smoothing!r}"
        if self._maximum != CLIP or self.dtype != "float32":
            extra += f", maximum={self.maximum!r}, dtype={self.dtype!r}"
        return extra


# --------------------------------------------------------------------------- values


def _shape(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    n_mels: int,
    pad_to: int | None,
    smoothing: str | None,
    threads: int | None,
) -> tuple[int, ...]:
    """Check everything except the samples; return the features' shape. Sizes may be symbols."""
    if dtype not in (torch.float32, torch.float64, torch.int16):
        raise TypeError(
            f"audio has dtype {dtype}: expected float32, float64 or int16 (PCM)"
            + hint_for_half(str(dtype))
        )
    if len(shape) not in (1, 2):
        raise ValueError(f"audio has shape {tuple(shape)}: expected (n,) or (batch, n)")
    if 0 in shape:
        raise ValueError(f"audio is empty (shape {tuple(shape)}): expected at least one sample")
    if threads is not None:
        thread_count(threads)
    return (*shape[:-1], *plan(shape[-1], n_mels, pad_to, smoothing).shape)


@lru_cache(maxsize=256)
def _prepared(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    n_mels: int,
    pad_to: int | None,
    smoothing: str | None,
    threads: int | None,
    maximum: int,
    fixed: float,
    out_dtype: str,
    pool: int,
) -> Prepared:
    """Check everything except the samples, and prepare calls with samples of a shape and dtype."""
    _shape(shape, dtype, n_mels, pad_to, smoothing, threads)
    form = Form(maximum, fixed, out_dtype)
    return prepare(shape, dtype is torch.int16, n_mels, pad_to, smoothing, form, pool)


def _on_cpu(
    audio: Tensor,
    n_mels: int = 80,
    *,
    pad_to: int | None = None,
    smoothing: str | None = None,
    threads: int | None = None,
    maximum: int = CLIP,
    fixed: float = 0.0,
    dtype: str = "float32",
) -> Tensor:
    kernel = library()
    alike = _prepared(
        *(audio.shape, audio.dtype, n_mels, pad_to, smoothing, threads),
        *(maximum, fixed, dtype, kernel.pool),
    )
    if threads is None:
        threads = 1 if alike.threads == 1 else min(alike.threads, torch.get_num_threads())
    samples = audio.to(torch.float32) if audio.dtype is torch.float64 else audio
    if samples.stride(-1) != 1 or samples.data_ptr() % samples.element_size():
        samples = samples.clone(memory_format=torch.contiguous_format)
    out = audio.new_empty(alike.shape, dtype=getattr(torch, dtype))
    call = (alike.common, samples.data_ptr(), samples.stride(0), out.data_ptr(), threads)
    status = kernel.log_mel_alike(*call, 0)
    if status != 0:
        raise failure(kernel, call, status, audio.detach().numpy())
    return out


def _on_cuda(
    audio: Tensor,
    n_mels: int = 80,
    *,
    pad_to: int | None = None,
    smoothing: Any = None,
    threads: int | None = None,
    maximum: int = CLIP,
    fixed: float = 0.0,
    dtype: str = "float32",
) -> Tensor:
    """Launch the kernel once on the current stream, after copies on that stream; do not wait."""
    _shape(audio.shape, audio.dtype, n_mels, pad_to, smoothing, threads)
    # PyTorch does not give others the address of a tensor that requires a gradient.
    samples = audio.detach()
    if samples.dtype is torch.float64:
        samples = samples.to(torch.float32)
    if samples.stride(-1) != 1 or samples.data_ptr() % samples.element_size():
        samples = samples.clone(memory_format=torch.contiguous_format)
    features: Tensor = gpu.log_mel(
        samples,
        n_mels,
        pad_to=pad_to,
        smoothing=smoothing,
        maximum=_word(maximum, fixed),
        dtype=dtype,
    )
    return features


def _shape_only(
    audio: Tensor,
    n_mels: int = 80,
    *,
    pad_to: int | None = None,
    smoothing: str | None = None,
    threads: int | None = None,
    maximum: int = CLIP,
    fixed: float = 0.0,
    dtype: str = "float32",
) -> Tensor:
    """Return an uninitialised result for tracers. Sizes may be symbols."""
    form_of(_word(maximum, fixed), dtype)
    shape = _shape(audio.shape, audio.dtype, n_mels, pad_to, smoothing, threads)
    return audio.new_empty(shape, dtype=getattr(torch, dtype))


def _word(maximum: int, fixed: float) -> Maximum:
    """Return :func:`log_mel`'s ``maximum`` for the two numbers that the operator carries."""
    return fixed if maximum == FIXED else "chunk" if maximum == CHUNK else "clip"


def _batched(
    info: Any,
    in_dims: tuple[int | None, ...],
    audio: Tensor,
    *bands: int,
    **options: Any,
) -> tuple[Tensor, int]:
    """Compute the clips of ``vmap`` as one batch."""
    place = in_dims[0]
    assert place is not None  # torch does not call this for vmap of no argument
    clips = audio.movedim(place, 0)
    features = torch.ops.whisper_mel.log_mel(clips.flatten(0, -2), *bands, **options)
    return features.unflatten(0, clips.shape[:-1]), 0


# --------------------------------------------------------------------------- gradients


class _Differentiable(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(audio: Tensor, n_mels: int, options: dict[str, Any]) -> Tensor:
        with torch._C._AutoDispatchBelowAutograd():
            features: Tensor = torch.ops.whisper_mel.log_mel(audio, n_mels, **options)
            return features

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        audio, ctx.n_mels, ctx.options = inputs
        ctx.save_for_backward(audio)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        [audio] = ctx.saved_tensors
        it = ctx.options
        maximum = _word(it["maximum"], it["fixed"])
        return (
            audio_gradient(gradient, audio, ctx.n_mels, it["pad_to"], it["smoothing"], maximum),
            *(None, None),
        )


# The keys of an ordinary CPU tensor that no other dispatch concerns
_PLAIN = (
    torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
    | torch._C.DispatchKeySet(torch._C.DispatchKey.AutogradCPU)
).raw_repr()


def _with_gradient(
    keys: Any,
    audio: Tensor,
    n_mels: int = 80,
    *,
    pad_to: int | None = None,
    smoothing: str | None = None,
    threads: int | None = None,
    maximum: int = CLIP,
    fixed: float = 0.0,
    dtype: str = "float32",
) -> Tensor:
    """Compute features, with a gradient if one is required.

    Every call begins here. ``torch.library.register_autograd`` would do the same, but needs 4 µs to
    find that no gradient is required.
    """
    if forward_ad._current_level >= 0 and forward_ad.unpack_dual(audio).tangent is not None:
        raise NotImplementedError(
            "forward-mode gradients of whisper_mel.log_mel: expected torch.autograd.grad or "
            "backward()"
        )
    options: dict[str, Any] = {
        "pad_to": pad_to,
        "smoothing": smoothing,
        "threads": threads,
        "maximum": maximum,
        "fixed": fixed,
        "dtype": dtype,
    }
    if not (audio.requires_grad and torch.is_grad_enabled()):
        if keys.raw_repr() == _PLAIN:
            return _on_cpu(audio, n_mels, **options)
        with torch._C._AutoDispatchBelowAutograd():
            features: Tensor = torch.ops.whisper_mel.log_mel(audio, n_mels, **options)
            return features
    if torch._C._are_functorch_transforms_active():
        raise NotImplementedError(
            "torch.func's gradients of whisper_mel.log_mel: expected torch.autograd.grad or "
            "backward(), which PyTorch offers to custom operators"
        )
    result: Tensor = _Differentiable.apply(audio, n_mels, options)
    return result


def audio_gradient(
    gradient: Tensor,
    audio: Tensor,
    n_mels: int,
    pad_to: int | None,
    smoothing: str | None,
    maximum: Maximum = "clip",
) -> Tensor:
    """Compute the loss's gradient with respect to ``audio`` from that with respect to the features.

    It is computed in float64, because a quiet band beside a loud one has a large gradient, which
    would have few correct digits in float32. The result has ``audio``'s dtype. The gradient of
    values that were raised to 8 below the maximum goes to the maximum, unless that is fixed; values
    at the floor have none.
    """
    n = audio.shape[-1]
    length = n if pad_to is None else pad_to
    samples = audio.to(torch.float64).reshape(-1, n)
    window = torch.hann_window(_N_FFT, dtype=torch.float64, device=audio.device)
    bank = _filterbank(n_mels, audio.device)

    # The position in the clip of each sample of each frame, mirrored at the clip's ends
    frame = torch.arange(length // HOP, device=audio.device).unsqueeze(1)
    place = (HOP * frame + torch.arange(_N_FFT, device=audio.device) - _REACH).abs()
    place = torch.where(place < length, place, 2 * (length - 1) - place)

    padded = torch.nn.functional.pad(samples, (0, length - n))
    spectrum = torch.fft.rfft(padded[:, place] * window)
    energy = spectrum.abs().square() @ bank.T
    heard = energy > _FLOOR
    log = energy.clamp(min=_FLOOR).log10().detach()
    scaled = _unsmoothed(gradient.to(torch.float64), n_mels, smoothing) / 4.0
    scaled = scaled.reshape(-1, n_mels, length // HOP).transpose(1, 2)
    logs = _unclamped(scaled, log, maximum)
    energies = torch.where(heard, logs / torch.where(heard, energy, 1.0), 0.0) / math.log(10.0)
    # |X|² has the derivative 2 Re(X exp(2πijk/400)), an inverse transform. Bins 0 and 200, which
    # occur once there and not twice, have no weight in any band.
    inner = torch.fft.irfft((energies @ bank) * spectrum, n=_N_FFT) * (_N_FFT * window)
    total = torch.zeros_like(padded).index_add(1, place.flatten(), inner.flatten(1))
    return total[:, :n].reshape(audio.shape).to(audio.dtype)


def _unclamped(gradient: Tensor, log: Tensor, maximum: Maximum) -> Tensor:
    """Return the gradient before values were raised to 8 below the maximum."""
    if maximum == "chunk":
        parts = zip(gradient.split(CHUNK_FRAMES, 1), log.split(CHUNK_FRAMES, 1), strict=True)
        return torch.cat([_unclamped(*part, "clip") for part in parts], 1)
    if maximum != "clip":
        return torch.where(log > float(maximum) - _RANGE, gradient, 0.0)
    peak = log.amax((1, 2), keepdim=True)
    kept = log > peak - _RANGE
    is_peak = (log == peak).to(torch.float64)
    raised = torch.where(kept, 0.0, gradient).sum((1, 2), keepdim=True)
    return torch.where(kept, gradient, 0.0) + raised * is_peak / is_peak.sum((1, 2), keepdim=True)


def _unsmoothed(gradient: Tensor, n_mels: int, smoothing: str | None) -> Tensor:
    """Return the gradient before the 3x3 mean."""
    if smoothing is None:
        return gradient
    bands, frames = gradient.shape[-2:]
    gradient = gradient.reshape(-1, 1, bands, frames)
    pool = torch.nn.functional.avg_pool2d
    if smoothing == "valid":
        return pool(torch.nn.functional.pad(gradient, (2, 2, 2, 2)), 3, 1)
    neighbours = pool(torch.ones_like(gradient[:1]), 3, 1, 1)
    return pool(gradient / neighbours, 3, 1, 1)


def _filterbank(n_mels: int, device: torch.device) -> Tensor:
    """Return ``(n_mels, 201)``, float64; a new tensor each time, a constant to tracers."""
    from whisper_mel_reference import mel_filterbank

    return torch.tensor(mel_filterbank(n_mels), dtype=torch.float64, device=device)


# --------------------------------------------------------------------------- registration

# unregisters the operator when collected
_library = torch.library.Library("whisper_mel", "FRAGMENT")
_library.define(
    "log_mel(Tensor audio, int n_mels=80, *, int? pad_to=None, str? smoothing=None, "
    "int? threads=None, int maximum=0, float fixed=0.0, str dtype='float32') -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_library.impl("log_mel", _on_cpu, "CPU")
_library.impl("log_mel", _on_cuda, "CUDA")
_library.impl("log_mel", _with_gradient, "Autograd", with_keyset=True)
torch.library.register_fake("whisper_mel::log_mel", _shape_only, lib=_library)
torch.library.register_vmap("whisper_mel::log_mel", _batched, lib=_library)
