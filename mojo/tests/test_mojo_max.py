"""The operation of MAX graphs: one graph with every kind of it, compiled once for all lengths."""

from __future__ import annotations

import importlib.util
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake_driver
import numpy as np
import pytest
import soundfile
import torch
from clips import noise
from max.driver import CPU, Buffer
from max.dtype import DType
from max.engine import InferenceSession
from max.graph import DeviceRef, Graph, TensorType, ops
from numpy.typing import NDArray
from programs import ran
from whisper_mel_golden.signals import render
from whisper_mel_mojo import log_mel
from whisper_mel_mojo import max as operation
from whisper_mel_mojo.arguments import array_dtype
from whisper_mel_mojo.gpu import DeviceError

pytestmark = [pytest.mark.torch, pytest.mark.xdist_group("max")]

Array = NDArray[Any]
Run = Callable[..., list[Array]]

OPTIONS: list[dict[str, Any]] = [
    {},
    {"n_mels": 128, "pad_to": 20_000, "smoothing": "same"},
    {"maximum": 1.5},
    {"maximum": -2.25, "dtype": "float16"},
    {"dtype": "bfloat16", "smoothing": "valid"},
]


def audio_type(dtype: DType, *shape: str | int) -> TensorType:
    return TensorType(dtype, shape, device=DeviceRef.CPU())


@pytest.fixture(scope="module")
def run() -> Run:
    """A model of three inputs: a batch of any size, one clip of any length, PCM of 1 s."""
    inputs = [
        audio_type(DType.float32, "clips", "samples"),
        audio_type(DType.float64, "n"),
        audio_type(DType.int16, 2, 16_000),
    ]
    with Graph("features", input_types=inputs) as graph:
        batch, clip, pcm = (value.tensor for value in graph.inputs)
        features = [operation.log_mel(batch, **options) for options in OPTIONS]
        assert str(features[0].shape[2]) == "samples // 160"
        assert features[1].shape == [*batch.shape[:1], 128, 125]
        of_pcm = operation.log_mel(pcm)
        assert of_pcm.shape == [2, 80, 100]
        loudest = ops.max(operation.log_mel(clip), axis=-1)  # and on through the graph
        graph.output(*features, loudest, of_pcm)
    session = InferenceSession(devices=[CPU()])
    operation.load(session, graph)  # compiles, if it has not been compiled here before
    session.compile = None  # from here on it cannot
    model = operation.load(session, graph)

    def call(*inputs: Array) -> list[Array]:
        return list(map(as_numpy, model.execute(*map(Buffer.from_numpy, inputs))))

    return call


def as_numpy(result: Any) -> Array:
    """A result; MAX does not hand bfloat16 to NumPy."""
    if result.dtype == DType.bfloat16:
        return np.from_dlpack(result.view(DType.int16)).view(array_dtype("bfloat16"))
    return np.from_dlpack(result)


@pytest.mark.nightly
@pytest.mark.parametrize(("clips", "n"), [(1, 480), (3, 4077), (2, 16_000)])
def test_values_are_the_kernels(run: Run, clips: int, n: int) -> None:
    batch = np.stack([noise(n, seed) for seed in range(clips)])
    clip = noise(n + 33).astype(np.float64)
    pcm = (np.stack([noise(16_000), noise(16_000, 1)]) * 32768).astype(np.int16)
    *features, loudest, of_pcm = run(batch, clip, pcm)
    for options, actual in zip(OPTIONS, features, strict=True):
        np.testing.assert_array_equal(actual, log_mel(batch, **options))
        assert actual.dtype == array_dtype(options.get("dtype", "float32"))
    np.testing.assert_array_equal(loudest[:, 0], log_mel(clip).max(axis=-1))
    np.testing.assert_array_equal(of_pcm, log_mel(pcm))


@pytest.mark.nightly
def test_what_only_running_shows(run: Run) -> None:
    pcm = np.zeros((2, 16_000), np.int16)
    clip = noise(480).astype(np.float64)
    nan, loud = np.stack([noise(4000), noise(4000)]), np.full((1, 4000), 1e30, np.float32)
    nan[1, 77] = np.nan
    for batch, message in (
        (noise(150)[None], "audio has 150 samples: expected at least 201, or pad_to"),
        (noise(20_001)[None], "audio has 20001 samples: expected at most pad_to=20000"),
        (nan, r"audio\[1, 77\] is infinite or NaN: expected finite samples"),
        (loud, "amplitudes so large that its power overflows"),
    ):
        with pytest.raises(ValueError, match=message):
            run(batch, clip, pcm)
    assert len(run(noise(480)[None], clip, pcm)) == len(OPTIONS) + 2  # and goes on


@pytest.mark.parametrize(
    ("kind", "options", "error", "message"),
    [
        (audio_type(DType.float16, "n"), {}, TypeError, "audio has dtype .*float16"),
        (audio_type(DType.float32, 1, 2, 400), {}, ValueError, r"expected \(n,\) or"),
        (audio_type(DType.float32, 200), {}, ValueError, "audio has 200 samples: expected"),
        (audio_type(DType.float32, 0), {"pad_to": 400}, ValueError, "audio is empty"),
        (audio_type(DType.float32, 0, "n"), {}, ValueError, "audio is empty"),
        (audio_type(DType.float32, "n"), {"n_mels": 81}, ValueError, "n_mels=81: expected"),
        (audio_type(DType.float32, 400), {"pad_to": 399}, ValueError, "at most pad_to=399"),
        (audio_type(DType.float32, "n"), {"pad_to": 100}, ValueError, "^pad_to=100: exp"),
        (audio_type(DType.float32, 400), {"smoothing": "valid"}, ValueError, "at least 3"),
        (audio_type(DType.float32, "n"), {"maximum": "batch"}, ValueError, "maximum='batch': exp"),
        (audio_type(DType.float32, "n"), {"maximum": None}, TypeError, "maximum=None: expected"),
        (audio_type(DType.float32, "n"), {"dtype": "half"}, ValueError, "dtype='half': expected"),
        (
            TensorType(DType.float32, ["n"], device=DeviceRef.GPU(9)),
            {},
            DeviceError,
            r"audio is on gpu.*: MAX sees \d accelerators",
        ),
    ],
    ids=str,
)
def test_what_the_graph_refuses(
    kind: TensorType, options: dict[str, Any], error: Any, message: str
) -> None:
    with Graph("wrong", input_types=[kind]) as graph, pytest.raises(error, match=message):
        operation.log_mel(graph.inputs[0].tensor, **options)


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        (["n"], {"smoothing": "valid"}, [78, "(n // 160) + -2"]),
        ([3, "n"], {"n_mels": 128}, [3, 128, "n // 160"]),
        (["b", 481], {"smoothing": "same"}, ["b", 80, 3]),
        (["b", "n"], {"pad_to": 480_000, "dtype": "bfloat16"}, ["b", 80, 3000]),
    ],
    ids=str,
)
def test_shapes_are_known_in_the_graph(
    shape: list[str | int], options: dict[str, Any], expected: list[str | int]
) -> None:
    with Graph("shapes", input_types=[audio_type(DType.float32, *shape)]) as graph:
        result = operation.log_mel(graph.inputs[0].tensor, **options)
    assert [str(size) for size in result.shape] == [str(size) for size in expected]
    assert result.dtype == DType[options.get("dtype", "float32")]


# --------------------------------------------------------------------- compiled once


class Session:
    """Compiles in no time, and counts."""

    devices = (CPU(),)
    compiled = 0
    fails = False

    def compile(self, graph: Graph) -> Session:
        if self.fails:
            raise RuntimeError("cannot be compiled")
        self.compiled += 1
        return self

    def export_mef(self, path: Path) -> None:
        path.write_bytes(b"model")

    def init(self, artifact: Path, *, weights_registry: Any) -> tuple[Path, Any]:
        return artifact, weights_registry


def test_graphs_are_compiled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each for what it is: its operations, its constants, the devices."""

    def graph(last: float, name: str = "mine") -> Graph:
        values = np.zeros(100_000, np.float32)
        values[-1] = last
        with Graph(name, input_types=[audio_type(DType.float32, "n")]) as graph:
            graph.output(ops.constant(values, DType.float32, device=DeviceRef.CPU()))
        return graph

    monkeypatch.setenv("WHISPER_MEL_CACHE", str(tmp_path))
    monkeypatch.setattr(operation, "read", lambda path: path)
    session: Any = Session()
    session.fails = True
    with pytest.raises(RuntimeError, match="cannot be compiled"):
        operation.load(session, graph(0.0))
    assert not list(tmp_path.glob("*.mef"))
    session.fails = False
    first: Any = operation.load(session, graph(0.0), weights_registry={"a": 1})
    assert (first[0].read_bytes(), first[1]) == (b"model", {"a": 1})
    assert "compiling the graph 'mine', which can take minutes (once): " in capsys.readouterr().err
    assert operation.load(session, graph(0.0), weights_registry={"a": 1}) == first
    assert session.compiled == 1
    others: list[Any] = [
        operation.load(session, graph(1e-6)),
        operation.load(session, graph(0, "b")),
    ]
    monkeypatch.setattr(operation, "cpu_features", lambda: "another's")
    others.append(operation.load(session, graph(0.0)))
    assert session.compiled == 4
    assert len({first[0], *(path for path, _ in others)}) == 4


@pytest.mark.nightly
def test_the_example(tmp_path: Path) -> None:
    """The layer is NumPy's, of the kernel's features; and the second run compiles nothing."""
    path = Path(__file__).parents[2] / "examples" / "max_graph.py"
    spec = importlib.util.spec_from_file_location("max_graph", path)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)

    speech = render({"signal": "speech", "n": 48_000, "recording": "sense-and-sensibility"})
    soundfile.write(tmp_path / "speech.wav", speech, 16_000, subtype="FLOAT")
    command = [sys.executable, str(path), "speech.wav", "layer.npy"]
    for _ in range(2):
        done = ran(command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(r"loaded in \S+ s, \(1, 300, 384\)\n", done.stdout)
    assert done.stderr == ""

    kernel, bias = example.weights().values()
    padded = np.pad(log_mel(speech).T, ((1, 1), (0, 0)))
    linear = sum(padded[tap : tap + 300] @ kernel[0, tap] for tap in range(3)) + bias
    expected = torch.nn.functional.gelu(torch.from_numpy(linear)).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "layer.npy")[0], expected, atol=1e-4)


@pytest.mark.nightly
def test_through_max_in_torch() -> None:
    """As documented: compiled once for all lengths, into a tensor that PyTorch has made."""
    from max.experimental.torch import graph_op

    built = []

    def features(audio: Any) -> Any:
        built.append(audio.shape)
        return operation.log_mel(audio, 128).rebind(["clips", 128, "frames"])

    called = graph_op(
        features,
        name="whisper_mel_features",
        input_types=[audio_type(DType.float32, "clips", "samples")],
        output_types=[audio_type(DType.float32, "clips", 128, "frames")],
    )
    for clips, n in ((1, 480), (3, 4077), (2, 16_000)):
        audio = np.stack([noise(n, seed) for seed in range(clips)])
        out = torch.empty(clips, 128, n // 160)
        called(out, torch.from_numpy(audio))
        np.testing.assert_array_equal(out.numpy(), log_mel(audio, 128))
    assert len(built) == 1


FOR_GPU = """
import sys
from max import driver

driver.set_virtual_device_api("cuda")
driver.set_virtual_device_target_arch(sys.argv[1])
driver.set_virtual_device_count(1)
from max.dtype import DType
from max.engine import InferenceSession
from max.graph import DeviceRef, Graph, TensorType
from whisper_mel_mojo.max import log_mel

audio = TensorType(DType.float64, ["n"], device=DeviceRef.GPU())
with Graph("features", input_types=[audio]) as graph:
    graph.output(log_mel(graph.inputs[0].tensor))
session = InferenceSession(devices=[driver.Accelerator()])
session.compile(graph).export_mef(sys.argv[2])
"""


_CUDA = 190  # e_machine of ELF
_NAME, _OFFSET, _SIZE = 0, 4, 5  # of a section's header


def device_code(model: bytes) -> Iterator[dict[str, bytes]]:
    """The sections, by name, of each ELF file for CUDA in a model that MAX has compiled."""
    for found in re.finditer(rb"\x7fELF", model):
        elf = model[found.start() :]
        if struct.unpack_from("<H", elf, 18)[0] != _CUDA:
            continue
        (at,) = struct.unpack_from("<Q", elf, 40)
        size, count, names = struct.unpack_from("<HHH", elf, 58)
        heads = [struct.unpack_from("<IIQQQQIIQQ", elf, at + i * size) for i in range(count)]
        texts = elf[heads[names][_OFFSET] :]
        yield {
            texts[it[_NAME] :].partition(b"\0")[0].decode(): elf[it[_OFFSET] :][: it[_SIZE]]
            for it in heads
        }


@pytest.mark.nightly
@pytest.mark.parametrize(("target", "threads"), [("sm_90a", 512), ("sm_80", 128)])
def test_compiled_for_a_gpu(target: str, threads: int, tmp_path: Path) -> None:
    """For devices that need not be there: the kernel for one clip, assembled, with its window.

    MAX's own kernels beside it, such as the cast from float64, have no table.
    """
    model = tmp_path / "model.mef"
    subprocess.run([sys.executable, "-c", FOR_GPU, target, str(model)], check=True)
    require_kernel(model.read_bytes(), target, threads)


def require_kernel(model: bytes, target: str, threads: int) -> None:
    [kernel] = [it for it in device_code(model) if ".nv.global.init" in it]
    window = np.frombuffer(kernel[".nv.global.init"], np.float32)
    hann = np.sin(np.pi * np.arange(201) / 400) ** 2
    assert len(set(window)) > 150  # it is symmetric
    assert np.abs(window[:, None] - hann).min(1).max() <= 1e-7
    assert f"-arch {target} ".encode() in kernel[".note.nv.tkinfo"]
    [information] = [text for name, text in kernel.items() if name.startswith(".nv.info.")]
    most_threads = struct.pack("<BBHIII", 4, 5, 12, threads, 1, 1)  # EIATTR_MAX_THREADS
    assert most_threads in information


@pytest.mark.nightly
def test_on_an_emulated_gpu(tmp_path: Path) -> None:
    """MAX's engine with the stand-in for the driver: one launch, with what it needs."""
    fake_driver.run(
        fake_driver.make(tmp_path),
        """
import numpy as np
from whisper_mel_mojo import max as operation
from whisper_mel_reference import CLASS_A, WHISPER, score
from whisper_mel_mojo.frontends import mojo_max_gpu

# One of the cache may have been assembled for a device that is there.
operation.load = lambda session, graph: session.load(graph)
front_end = mojo_max_gpu()
assert (front_end.name, front_end.device) == ("mojo-max-gpu", "cuda")
pcm = np.random.default_rng(7).normal(0, 0.1, (2, 7000)).astype(np.float32)
features = front_end.log_mel(pcm, 128, smoothing="same")
assert score(features, pcm, WHISPER.replace(n_mels=128, smoothing="same")) <= CLASS_A
try:
    front_end.log_mel(pcm[:, :200], 128, smoothing="same")
except ValueError as error:
    assert "audio has 200 samples: expected at least 201" in str(error), error
else:
    raise AssertionError("too short")
""",
        computes=True,
    )
    work = [line for line in fake_driver.log(tmp_path) if line.startswith(("cuLaunch", "nothing"))]
    assert len(work) == 2
    assert " cluster=16 " in work[0]
    assert work[1] == "nothing found"
