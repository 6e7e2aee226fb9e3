"""The operation of MAX graphs: one graph with every kind of it, compiled once for all lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from max.driver import CPU, Buffer
from max.dtype import DType
from max.engine import InferenceSession
from max.graph import DeviceRef, Graph, TensorType, ops
from numpy.typing import NDArray
from whisper_mel_golden.signals import render
from whisper_mel_mojo import log_mel
from whisper_mel_mojo import max as operation

Array = NDArray[Any]
Run = Callable[..., list[Array]]

OPTIONS: list[dict[str, Any]] = [{}, {"n_mels": 128, "pad_to": 20_000, "smoothing": "same"}]


def noise(n: int, seed: int = 0) -> Array:
    return render({"signal": "noise", "n": n, "seed": seed, "gain": 0.1})


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
    model = InferenceSession(devices=[CPU()]).load(graph)

    def call(*inputs: Array) -> list[Array]:
        return [np.from_dlpack(r) for r in model.execute(*map(Buffer.from_numpy, inputs))]

    return call


@pytest.mark.parametrize(("clips", "n"), [(1, 480), (3, 4077), (2, 16_000)])
def test_values_are_the_kernels(run: Run, clips: int, n: int) -> None:
    batch = np.stack([noise(n, seed) for seed in range(clips)])
    clip = noise(n + 33).astype(np.float64)
    pcm = (np.stack([noise(16_000), noise(16_000, 1)]) * 32768).astype(np.int16)
    *features, loudest, of_pcm = run(batch, clip, pcm)
    for options, actual in zip(OPTIONS, features, strict=True):
        np.testing.assert_array_equal(actual, log_mel(batch, **options))
    np.testing.assert_array_equal(loudest[:, 0], log_mel(clip).max(axis=-1))
    np.testing.assert_array_equal(of_pcm, log_mel(pcm))


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
    assert len(run(noise(480)[None], clip, pcm)) == 4  # and goes on


@pytest.mark.parametrize(
    ("kind", "options", "error", "message"),
    [
        (audio_type(DType.float16, "n"), {}, TypeError, "audio has dtype .*float16"),
        (audio_type(DType.float32, 1, 2, 400), {}, ValueError, r"expected \(n,\) or"),
        (audio_type(DType.float32, 200), {}, ValueError, "audio has 200 samples: expected"),
        (audio_type(DType.float32, "n"), {"n_mels": 81}, ValueError, "n_mels=81: expected"),
        (audio_type(DType.float32, 400), {"pad_to": 399}, ValueError, "at most pad_to=399"),
        (audio_type(DType.float32, "n"), {"pad_to": 100}, ValueError, "at least 201"),
        (audio_type(DType.float32, 400), {"smoothing": "valid"}, ValueError, "at least 3"),
        (
            TensorType(DType.float32, ["n"], device=DeviceRef.GPU()),
            {},
            NotImplementedError,
            "expected it on the CPU",
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
        (["b", "n"], {"pad_to": 480_000}, ["b", 80, 3000]),
    ],
    ids=str,
)
def test_shapes_are_known_in_the_graph(
    shape: list[str | int], options: dict[str, Any], expected: list[str | int]
) -> None:
    with Graph("shapes", input_types=[audio_type(DType.float32, *shape)]) as graph:
        result = operation.log_mel(graph.inputs[0].tensor, **options)
    assert [str(size) for size in result.shape] == [str(size) for size in expected]
    assert result.dtype == DType.float32
