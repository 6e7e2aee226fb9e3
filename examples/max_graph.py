"""Builds one MAX graph from samples to the first layer of Whisper's encoder.

    python examples/max_graph.py SPEECH.wav LAYER.npy

The layer is features, convolution, GELU. The graph is compiled once, in a minute or two; later runs
load it in milliseconds. Its weights are random here; a model's weights are passed in the same way,
by their names.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import soundfile
from max.driver import CPU, Buffer
from max.dtype import DType
from max.engine import InferenceSession
from max.graph import DeviceRef, Graph, TensorType, TensorValue, Weight, ops
from numpy.typing import NDArray
from whisper_mel_mojo.max import load, log_mel

N_MELS, WIDTH, TAPS = 80, 384, 3  # sizes of the model tiny.en


def weights() -> dict[str, NDArray[np.float32]]:
    """Return random ``conv1`` weights, ``[1, taps, in, out]``, and its bias."""
    rng = np.random.default_rng(0)
    return {
        "conv1.weight": rng.normal(0, 0.05, (1, TAPS, N_MELS, WIDTH)).astype(np.float32),
        "conv1.bias": rng.normal(0, 0.05, WIDTH).astype(np.float32),
    }


def first_layer(audio: TensorValue) -> TensorValue:
    """Build the layer: ``[clips, samples]`` to ``[clips, frames, width]``."""
    features = log_mel(audio, N_MELS)  # [clips, 80, samples // 160]
    image = ops.unsqueeze(ops.permute(features, [0, 2, 1]), 1)  # [clips, 1, frames, 80]
    kernel, bias = (
        Weight(name, DType.float32, array.shape, device=audio.device)
        for name, array in weights().items()
    )
    convolved = ops.conv2d(image, kernel, padding=(0, 0, TAPS // 2, TAPS // 2), bias=bias)
    return ops.gelu(ops.squeeze(convolved, 1))


def main(source: str, target: str) -> None:
    samples, rate = soundfile.read(source, dtype="float32")
    if rate != 16_000 or samples.ndim != 1:
        sys.exit(f"{source} has {rate} Hz and shape {samples.shape}: expected 16000 Hz, mono")
    audio = TensorType(DType.float32, ["clips", "samples"], device=DeviceRef.CPU())
    with Graph("first_layer", input_types=[audio]) as graph:
        graph.output(first_layer(graph.inputs[0].tensor))
    begin = time.perf_counter()
    model = load(InferenceSession(devices=[CPU()]), graph, weights_registry=weights())
    loaded = time.perf_counter()
    [layer] = model.execute(Buffer.from_numpy(samples[np.newaxis]))
    print(f"loaded in {loaded - begin:.3f} s, {tuple(layer.shape)}")
    np.save(target, np.from_dlpack(layer))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
