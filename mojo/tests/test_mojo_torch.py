"""The PyTorch operator: values, PyTorch's own checks, tracing, gradients, errors."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
import sys
from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
import torch
import whisper_mel_reference as reference
from daily import by_day
from programs import ran
from torch import Tensor
from torch.autograd import forward_ad
from whisper_mel_golden.signals import render
from whisper_mel_mojo import frontends, log_mel
from whisper_mel_mojo import torch as operator

pytestmark = pytest.mark.torch

op = torch.ops.whisper_mel.log_mel


def noise(n: int, seed: int = 0, gain: float = 0.1) -> Tensor:
    return torch.from_numpy(render({"signal": "noise", "n": n, "seed": seed, "gain": gain}))


def batch(n: int, clips: int = 3) -> Tensor:
    return torch.stack([noise(n, seed, 10.0**-seed) for seed in range(clips)])


def assert_same(actual: Tensor, audio: Tensor, *words: Any, **options: Any) -> None:
    """Bit by bit what the kernel gives NumPy, in a tensor of its own."""
    assert actual.dtype == torch.float32
    assert actual.is_contiguous()
    np.testing.assert_array_equal(actual.numpy(), log_mel(audio.numpy(), *words, **options))


# --------------------------------------------------------------------- values


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_mels": 128},
        {"pad_to": 20_000},
        {"smoothing": "valid"},
        {"pad_to": 8000, "smoothing": "same", "threads": 3},
    ],
    ids=str,
)
def test_values_are_the_kernels(options: dict[str, Any]) -> None:
    clips = batch(4077)
    for audio in (clips, clips[0], clips.double(), (clips * 3000).short()):
        assert_same(op(audio, **options), audio, **options)
        assert_same(operator.log_mel(audio, **options), audio, **options)


def test_any_strides() -> None:
    clips = batch(4000)
    wide = clips.repeat_interleave(2, 1)
    for audio in (clips.T.contiguous().T, wide[:, ::2], clips[:, 7:], clips[::2], clips[:1]):
        assert_same(op(audio), audio)
    same = clips[0].expand(3, 4000)
    assert_same(op(same), same)
    memory = torch.zeros(4 * 4001, dtype=torch.uint8)
    shifted = memory.numpy()[2 : 2 + 16_000].view(np.float32)
    shifted[:] = clips[0]
    assert_same(op(torch.from_numpy(shifted)), clips[0])


def test_lazily_negated_samples() -> None:
    """A view that PyTorch negates only when it is read, below the kernel's own entrance."""
    complex_ = torch.complex(noise(4000), noise(4000, 1))
    audio = complex_.conj().imag
    assert audio.is_neg()
    assert_same(op(audio), audio.resolve_neg())


def test_threads_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    kernel = operator.library()

    def log_mel_alike(
        prepared: int, audio: int, stride: int, out: int, threads: int, bad: int
    ) -> Any:
        asked.append(threads)
        return kernel.log_mel_alike(prepared, audio, stride, out, threads, bad)

    seen = kernel._replace(log_mel_alike=log_mel_alike)
    monkeypatch.setattr(operator, "library", lambda: seen)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        long, short = noise(480_000), noise(16_000)
        assert_same(op(long), long)
        assert_same(op(short), short)
        assert_same(op(long, threads=2), long)
        torch.set_num_threads(1)
        assert_same(op(long), long)
    finally:
        torch.set_num_threads(before)
    assert asked == [3, 1, 2, 1]


def test_default_device_and_dtype_do_not_matter() -> None:
    audio = noise(4000)
    expected = op(audio)
    with torch.device("meta"):
        assert torch.equal(op(audio), expected)
    torch.set_default_dtype(torch.float64)
    try:
        assert op(audio).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        assert torch.equal(op(audio), expected)


# --------------------------------------------------------------------- tracing


WAYS = [*itertools.product((None, "valid", "same"), (False, True))]


@pytest.mark.parametrize(("smoothing", "gradient"), by_day(WAYS, [(None, False), ("same", True)]))
def test_opcheck(smoothing: str | None, gradient: bool) -> None:
    """PyTorch's own checks of custom operators: schema, fake kernel, autograd, AOT dispatch."""
    audio = batch(1000).requires_grad_(gradient)
    torch.library.opcheck(op.default, (audio,), {"smoothing": smoothing, "pad_to": 1300})
    torch.library.opcheck(op.default, (audio[0].detach(), 128), {"smoothing": smoothing})


def test_compiled_once_for_all_lengths() -> None:
    from torch._dynamo.testing import CompileCounterWithBackend

    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(operator.LogMel(), fullgraph=True, dynamic=True, backend=counter)
    for n in (4000, 4001, 12_345, 801):
        assert_same(compiled(batch(n)), batch(n))
    assert counter.frame_count == 1
    # Not told that lengths vary, PyTorch finds out by the second one
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(operator.LogMel(), fullgraph=True, backend=counter)
    for n in (4000, 4001, 12_345, 801):
        assert_same(compiled(batch(n)), batch(n))
    assert counter.frame_count == 2


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # its own
def test_inductor() -> None:
    @torch.compile(fullgraph=True)  # type: ignore[untyped-decorator]
    def standardised(audio: Tensor) -> Tensor:
        features = op(audio * 0.5, smoothing="same")
        return (features - features.mean()) / features.std()

    audio = batch(4000)
    expected = op(audio * 0.5, smoothing="same")
    expected = (expected - expected.mean()) / expected.std()
    torch.testing.assert_close(standardised(audio), expected)


def test_exported_saved_and_loaded() -> None:
    sizes = {"audio": {0: torch.export.Dim("clips", min=1), 1: torch.export.Dim("n", min=320)}}
    program = torch.export.export(
        operator.LogMel(128, smoothing="same"), (batch(4000),), dynamic_shapes=sizes
    )
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    module = torch.export.load(file).module()
    for clips, n in ((1, 320), (5, 9999)):
        audio = batch(n, clips)
        assert_same(module(audio), audio, 128, smoothing="same")


def test_vmap() -> None:
    clips = batch(2000, 6)
    expected = op(clips)
    assert torch.equal(torch.vmap(op)(clips), expected)
    assert torch.equal(torch.vmap(op, in_dims=1)(clips.T), expected)
    nested = torch.vmap(op, in_dims=1)(clips.view(2, 3, 2000))
    assert torch.equal(nested, expected.view(2, 3, 80, 12).transpose(0, 1))
    twice = torch.vmap(torch.vmap(op))(clips.view(2, 3, 2000))
    assert torch.equal(twice, expected.view(2, 3, 80, 12))
    options = torch.vmap(lambda clip: op(clip, 128, pad_to=3000, smoothing="valid"))(clips)
    assert torch.equal(options, op(clips, 128, pad_to=3000, smoothing="valid"))


# --------------------------------------------------------------------- gradients


class Reference(torch.autograd.Function):  # type: ignore[misc]
    """The features by the reference, in float64, with the operator's gradient."""

    factor = 1.0

    @staticmethod
    def forward(ctx: Any, audio: Tensor, *options: Any) -> Tensor:
        ctx.save_for_backward(audio)
        ctx.options = options
        n_mels, pad_to, smoothing = options
        spec = reference.WHISPER.replace(n_mels=n_mels, pad_to=pad_to, smoothing=smoothing)
        return torch.from_numpy(reference.log_mel(audio.detach().numpy(), spec))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        [audio] = ctx.saved_tensors
        result = operator.audio_gradient(gradient, audio, *ctx.options)
        return Reference.factor * result, None, None, None


def uneven(n: int) -> Tensor:
    """Two clips: one even, one whose quiet beginning is raised to 8 below the maximum."""
    audio = torch.stack([noise(n), noise(n, 1) * torch.logspace(-6, 0, n)])
    return audio.double().requires_grad_()


CLOSE = {"eps": 1e-7, "atol": 1e-7, "rtol": 1e-4, "fast_mode": True}
GRADIENTS = [
    (400, 80, None, None),
    (300, 128, 801, "same"),
    (640, 80, None, "valid"),
    (1, 80, 480, "same"),
]


@pytest.mark.parametrize(("n", "n_mels", "pad_to", "smoothing"), GRADIENTS)
def test_gradients_are_the_references(
    n: int, n_mels: int, pad_to: int | None, smoothing: str | None
) -> None:
    """By finite differences of the reference in float64, along random directions."""
    torch.manual_seed(0)
    audio = uneven(n)

    def features(audio: Tensor) -> Tensor:
        result: Tensor = Reference.apply(audio, n_mels, pad_to, smoothing)
        return result

    assert torch.autograd.gradcheck(features, audio, **CLOSE)
    assert torch.autograd.gradgradcheck(features, audio, **CLOSE)


def test_gradcheck_finds_a_wrong_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(Reference, "factor", 1.01)
    with pytest.raises(Exception, match="Jacobian mismatch"):
        torch.autograd.gradcheck(
            lambda audio: Reference.apply(audio, 80, None, None), uneven(201)[:1], **CLOSE
        )


@pytest.mark.parametrize("shape", [(4000,), (2, 4000)], ids=str)
def test_the_operators_gradient(shape: tuple[int, ...]) -> None:
    """The operator computes features in float32 and hands on the gradient of `audio_gradient`."""
    audio = (noise(4000) if len(shape) == 1 else batch(4000, 2)).requires_grad_()
    features = op(audio, 128, pad_to=5000, smoothing="same")
    assert torch.equal(features, op(audio.detach(), 128, pad_to=5000, smoothing="same"))
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(1))
    (features * weights).sum().backward()
    exact = operator.audio_gradient(weights, audio.detach().double(), 128, 5000, "same")
    assert audio.grad.dtype == torch.float32
    torch.testing.assert_close(audio.grad, exact.float(), rtol=1e-6, atol=0.0)


def test_gradients_through_compile_and_vmap() -> None:
    def loss(function: Any) -> Tensor:
        audio = batch(2000).requires_grad_()
        function(audio).square().sum().backward()
        gradient: Tensor = audio.grad
        return gradient

    expected = loss(op)
    assert expected.abs().sum() > 0
    assert torch.equal(loss(torch.compile(op, fullgraph=True, backend="aot_eager")), expected)
    assert torch.equal(loss(torch.vmap(op)), expected)


def test_silence_has_no_gradient() -> None:
    audio = torch.zeros(4000, requires_grad=True)
    op(audio).sum().backward()
    assert torch.equal(audio.grad, torch.zeros(4000))


# --------------------------------------------------------------------- errors, manners


@pytest.mark.parametrize(
    ("audio", "options", "error", "message"),
    [
        (torch.zeros(200), {}, ValueError, "audio has 200 samples: expected at least 201"),
        (torch.zeros(9), {"pad_to": 200}, ValueError, "^pad_to=200: expected at least 201$"),
        (torch.zeros(0), {}, ValueError, "audio is empty"),
        (torch.zeros(0, 400), {}, ValueError, "audio is empty"),
        (torch.zeros(()), {}, ValueError, r"audio has shape \(\): expected \(n,\)"),
        (torch.zeros(2, 3, 400), {}, ValueError, r"audio has shape \(2, 3, 400\): expected"),
        (torch.zeros(400).half(), {}, TypeError, "audio has dtype torch.float16"),
        (torch.zeros(400, dtype=torch.int32), {}, TypeError, "audio has dtype torch.int32"),
        (torch.zeros(400), {"n_mels": 81}, ValueError, "n_mels=81: expected 80 or 128"),
        (torch.zeros(400), {"pad_to": 399}, ValueError, "expected at most pad_to=399"),
        (torch.zeros(400), {"smoothing": "full"}, ValueError, "smoothing='full': expected"),
        (torch.zeros(400), {"smoothing": "valid"}, ValueError, "needs at least 3 frames"),
        (torch.zeros(400), {"threads": 0}, ValueError, "threads=0: expected at least 1"),
        (torch.full((2, 400), 1e30), {}, ValueError, "amplitudes up to 1e\\+30"),
    ],
    ids=str,
)
def test_errors(audio: Tensor, options: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        op(audio, **options)


def test_samples_that_are_not_finite_are_named() -> None:
    audio = batch(4000)
    audio[1, 77] = torch.nan
    compiled = torch.compile(op, fullgraph=True, backend="aot_eager")
    for function in (op, compiled, lambda audio: op(audio.double())):
        with pytest.raises(ValueError, match=r"audio\[\(1, 77\)\] is nan: expected finite"):
            function(audio)


def test_other_devices() -> None:
    """Those of CUDA are tested in test_mojo_gpu.py."""
    assert op(torch.empty(2, 4000, device="meta")).shape == (2, 80, 25)
    keys = torch._C.DispatchKeySet(torch._C.DispatchKey.MPS)
    with pytest.raises(NotImplementedError, match="with arguments from the 'MPS' backend"):
        op.default.redispatch(keys, noise(4000))


def test_functions_of_functions_are_refused() -> None:
    with pytest.raises(NotImplementedError, match=r"expected torch.autograd.grad"):
        torch.func.grad(lambda audio: op(audio).sum())(noise(4000))


@pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning"
)  # jvp's own
def test_forward_gradients_are_refused() -> None:
    """They would be lost otherwise: to PyTorch the features would just have none."""
    clip = noise(4000)
    with pytest.raises(NotImplementedError, match="forward-mode gradients"):
        torch.func.jvp(op, (clip,), (clip,))
    with forward_ad.dual_level():
        with pytest.raises(NotImplementedError, match="forward-mode gradients"):
            op(forward_ad.make_dual(clip, clip))
        assert_same(op(clip), clip)  # which has none


def test_the_layer() -> None:
    layer = operator.LogMel(128, pad_to=480_000, smoothing="same")
    audio = batch(4000)
    assert_same(layer(audio), audio, 128, pad_to=480_000, smoothing="same")
    assert not layer.state_dict()
    assert repr(layer) == "LogMel(128, pad_to=480000, smoothing='same')"
    model = torch.nn.Sequential(operator.LogMel(), torch.nn.Conv1d(80, 4, 3))
    assert model(audio).shape == (3, 4, 23)
    for wrong in ({"n_mels": 64}, {"pad_to": 100}, {"smoothing": "full"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            operator.LogMel(**wrong)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_the_layer_copied_and_saved() -> None:
    layer = operator.LogMel(128, smoothing="same")
    audio = batch(4000)
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(layer), file)
    file.seek(0)
    script = torch.jit.load(file)
    others = (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer), layer.half(), script)
    for other in others:
        assert_same(other(audio), audio, 128, smoothing="same")
        assert_same(other(audio[0, :801]), audio[0, :801], 128, smoothing="same")


class Clips(torch.utils.data.Dataset):  # type: ignore[misc]
    """Features are computed where the clips are loaded."""

    layer = operator.LogMel(pad_to=160_000)

    def __len__(self) -> int:
        return 6

    def __getitem__(self, item: int) -> Tensor:
        features: Tensor = self.layer(noise(4000, item))
        return features


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.nightly)])
def test_workers_of_a_data_loader(method: str) -> None:
    op(noise(480_000), threads=2)  # before a fork the parent's pools are running
    loader = torch.utils.data.DataLoader(
        Clips(), batch_size=3, num_workers=2, multiprocessing_context=method, timeout=1800
    )
    expected = op(torch.stack([noise(4000, item) for item in range(6)]), pad_to=160_000)
    assert torch.equal(torch.cat(list(loader)), expected)


def test_the_front_end_says_its_versions() -> None:
    versions = frontends.mojo_torch().versions
    assert versions == {"whisper-mel-mojo": version("whisper-mel-mojo"), "torch": torch.__version__}


def test_only_those_who_ask_for_torch_import_it() -> None:
    script = "import sys, whisper_mel_mojo.frontends; print({'torch', 'max'} & set(sys.modules))"
    done = ran([sys.executable, "-c", script], check=True)
    assert done.stdout == "set()\n"
