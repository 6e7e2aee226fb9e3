"""OpenVINO GenAI: the ``WhisperFeatureExtractor`` of its C++ library, as its pipelines call it.

Python's WhisperPipeline returns text only, but the library exports the class. It pads to 30 s for
Whisper, and not for Qwen3-ASR. The adapter calls the constructor and ``extract`` by their names in
the Itanium C++ ABI, in which a vector is three pointers. The result of ``extract`` is three
integers, the first two of which are the shape, then a vector.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from importlib.metadata import files
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.peers import versions

_THIRTY_SECONDS = 480_000
_OBJECT_BYTES = 4096  # size of a WhisperFeatureExtractor, which needs about 150
_CLASS = "_ZN2ov5genai23WhisperFeatureExtractor"


class _Vector(ctypes.Structure):  # std::vector<float>
    _fields_ = [(name, ctypes.c_void_p) for name in ("begin", "end", "end_of_memory")]


class _Features(ctypes.Structure):  # ov::genai::WhisperFeatures
    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("feature_size", "n_frames", "n_active_frames")),
        ("data", _Vector),
    ]


class _Extractor(ctypes.Structure):  # ov::genai::WhisperFeatureExtractor
    _fields_ = [
        *(
            (name, ctypes.c_size_t)
            for name in ("feature_size", "sampling_rate", "hop_length", "n_fft", "chunk_length")
        ),
        ("n_samples", ctypes.c_size_t),
        ("rest", ctypes.c_byte * _OBJECT_BYTES),
    ]


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    for distribution, pattern in (
        ("openvino", "libs/libtbb.so*"),
        ("openvino", "libs/libopenvino.so*"),
        ("openvino-genai", "openvino_genai/libopenvino_genai.so*"),
    ):
        listed = [file.locate() for file in files(distribution) or ()]
        [path] = {str(path) for path in listed if Path(path).match(pattern)}
        library = ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    return library


@lru_cache(maxsize=2)
def _extractor(n_mels: int) -> _Extractor:
    extractor = _Extractor()
    construct = getattr(_library(), _CLASS + "C1Emmmm")
    construct(ctypes.byref(extractor), *map(ctypes.c_size_t, (n_mels, 16000, 400, 160)))
    if (extractor.hop_length, extractor.n_fft) != (160, 400):
        raise RuntimeError("struct WhisperFeatureExtractor: another version of OpenVINO GenAI?")
    extractor.n_samples = _THIRTY_SECONDS
    return extractor


class _OpenvinoGenai:
    name = "openvino-genai"
    device = "cpu"
    versions = versions("openvino-genai", "openvino")
    capabilities: ClassVar[dict[str, Any]] = {"n_mels": (80, 128), "pad_to": True}

    def log_mel(
        self, audio: NDArray[Any], n_mels: int = 80, *, pad_to: int | None = None
    ) -> NDArray[np.float32]:
        if pad_to not in (None, _THIRTY_SECONDS):
            raise NotImplementedError("pads to 30 s only")
        if audio.size < 201:
            # It would throw a C++ exception, which Python cannot catch.
            raise ValueError(f"audio has {audio.size} samples: expected more than 200")
        samples = np.ascontiguousarray(audio, np.float32)
        begin = samples.ctypes.data
        vector = _Vector(begin, begin + samples.nbytes, begin + samples.nbytes)
        features = _Features()
        extract = getattr(_library(), _CLASS + "7extractERKSt6vectorIfSaIfEEb")
        # Arguments: the result's address, this, the samples, whether to pad
        extract(
            ctypes.byref(features),
            ctypes.byref(_extractor(n_mels)),
            ctypes.byref(vector),
            ctypes.c_bool(pad_to is not None),
        )
        return _copied(features)


def _copied(features: _Features) -> NDArray[np.float32]:
    shape = features.feature_size, features.n_frames
    size = shape[0] * shape[1]
    if (features.data.end or 0) - (features.data.begin or 0) != 4 * size:
        raise RuntimeError(f"WhisperFeatures of shape {shape} has another number of values")
    values = np.array((ctypes.c_float * size).from_address(features.data.begin), np.float32)
    delete = ctypes.CDLL(None)["_ZdlPv"]
    delete(ctypes.c_void_p(features.data.begin))  # as ~vector would do
    return values.reshape(shape)


front_end = _OpenvinoGenai()
