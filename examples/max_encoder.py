"""Runs MAX's own Whisper encoder on samples: one graph, with the kernel's features in front.

    python examples/max_encoder.py MODEL SPEECH.wav STATES.npy

MODEL is a folder with ``config.json`` and ``model.safetensors``, as transformers saves a Whisper.
STATES.npy gets the encoder's output, float32 ``[1, 1500, width]``. The graph is compiled once, in
minutes; later runs load it in seconds.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import soundfile
from max.driver import CPU, Buffer
from max.dtype import DType
from max.engine import InferenceSession
from max.graph import DeviceRef, Graph, TensorType, ops
from max.pipelines.architectures.whisper.encoder import WhisperEncoder
from numpy.typing import NDArray
from safetensors.numpy import load_file
from whisper_mel_mojo.max import load, log_mel

THIRTY_SECONDS = 480_000
NAMES = {  # of transformers: of MAX
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.out_proj": "attention.wo",
    "self_attn_layer_norm": "attention_norm",
    "final_layer_norm": "mlp_norm",
    "layer_norm": "norm",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}


def weights(model: Path) -> dict[str, NDArray[np.float32]]:
    """Return the encoder's weights by MAX's names; convolutions are ``[taps, in, out]`` there."""
    found = {}
    for name, array in load_file(model / "model.safetensors").items():
        _, is_encoders, own = name.partition("encoder.")
        if is_encoders:
            for theirs, ours in NAMES.items():
                own = own.replace(theirs, ours)
            array = array.transpose(2, 1, 0) if "conv" in own and array.ndim == 3 else array
            found[own] = np.ascontiguousarray(array, np.float32)
    return found


def encoder(model: Path) -> WhisperEncoder:
    sizes: dict[str, Any] = json.loads((model / "config.json").read_text())
    config: Any = SimpleNamespace(**sizes, n_heads=sizes["encoder_attention_heads"])
    built = WhisperEncoder(config, DType.float32, DeviceRef.CPU())
    built.load_state_dict(weights(model))
    return built


def main(model: Path, source: str, target: str) -> None:
    samples, rate = soundfile.read(source, dtype="float32")
    if rate != 16_000 or samples.ndim != 1 or len(samples) > THIRTY_SECONDS:
        sys.exit(f"{source} has {rate} Hz and shape {samples.shape}: expected 16000 Hz, mono, 30 s")
    built = encoder(model)
    bands = json.loads((model / "config.json").read_text())["num_mel_bins"]
    audio = TensorType(DType.float32, ["clips", "samples"], device=DeviceRef.CPU())
    with Graph("encoder", input_types=[audio]) as graph:
        features = log_mel(graph.inputs[0].tensor, bands, pad_to=THIRTY_SECONDS)
        graph.output(*built(ops.permute(features, [0, 2, 1])))  # frames by bands
    session = InferenceSession(devices=[CPU()])
    loaded = load(session, graph, weights_registry=built.state_dict())
    [states] = loaded.execute(Buffer.from_numpy(samples[np.newaxis]))
    np.save(target, np.from_dlpack(states))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), *sys.argv[2:])
