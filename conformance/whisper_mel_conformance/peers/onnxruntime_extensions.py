"""onnxruntime-extensions: the log-Mel of its C interface, which onnxruntime-genai's models use.

``OrtxSpeechLogMel`` takes audio files, so clips are passed as WAVE files of float32. It transforms
the clip, then pads the features to 30 s, unlike ``WhisperFeatureExtractor``, which pads the clip;
``no_padding`` switches that off.
"""

from __future__ import annotations

import ctypes
import json
import struct
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from onnxruntime_extensions import _extensions_pydll

from whisper_mel_conformance.peers import versions

_THIRTY_SECONDS = 480_000
_FLOAT = 3  # WAVE_FORMAT_IEEE_FLOAT


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(_extensions_pydll.__file__)
    library.OrtxGetLastErrorMessage.restype = ctypes.c_char_p
    return library


def _checked(status: int) -> None:
    if status:
        raise ValueError(_library().OrtxGetLastErrorMessage().decode())


@lru_cache(maxsize=4)
def _extractor(n_mels: int, pads: bool) -> ctypes.c_void_p:
    stft = {"n_fft": 400, "frame_length": 400, "hop_length": 160}
    mel = {"chunk_size": 30, "hop_length": 160, "n_fft": 400, "n_mel": n_mels}
    mel |= {} if pads else {"no_padding": 1}
    operations = [
        {"name": "audio_decoder", "type": "AudioDecoder"},
        {"name": "STFT", "type": "STFTNorm", "attrs": stft},
        {"name": "log_mel_spectrogram", "type": "LogMelSpectrum", "attrs": mel},
    ]
    sequence = [{"operation": operation} for operation in operations]
    definition = json.dumps({"feature_extraction": {"sequence": sequence}})
    extractor = ctypes.c_void_p()
    _checked(
        _library().OrtxCreateSpeechFeatureExtractor(ctypes.byref(extractor), definition.encode())
    )
    return extractor


def _wave(samples: NDArray[np.float32]) -> bytes:
    """Return the samples as a WAVE file: 16 kHz, mono, float32."""
    data = samples.astype("<f4").tobytes()
    format_chunk = struct.pack("<4sIHHIIHH", b"fmt ", 16, _FLOAT, 1, 16000, 64000, 4, 32)
    chunks = b"WAVE" + format_chunk + struct.pack("<4sI", b"data", len(data)) + data
    return struct.pack("<4sI", b"RIFF", len(chunks)) + chunks


class _OnnxruntimeExtensions:
    name = "onnxruntime-extensions"
    device = "cpu"
    versions = versions("onnxruntime-extensions")
    capabilities: ClassVar[dict[str, Any]] = {
        "n_mels": (80, 128),
        "pad_to": True,
        "max_samples": _THIRTY_SECONDS,
    }

    def log_mel(
        self, audio: NDArray[Any], n_mels: int = 80, *, pad_to: int | None = None
    ) -> NDArray[np.float32]:
        if pad_to not in (None, _THIRTY_SECONDS):
            raise NotImplementedError("pads to 30 s only")
        library, wave = _library(), _wave(audio)
        audios, result, tensor = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        data, sizes = (ctypes.c_char_p * 1)(wave), (ctypes.c_int64 * 1)(len(wave))
        _checked(library.OrtxCreateRawAudios(ctypes.byref(audios), data, sizes, ctypes.c_size_t(1)))
        extractor = _extractor(n_mels, pad_to is not None)
        try:
            _checked(library.OrtxSpeechLogMel(extractor, audios, ctypes.byref(result)))
            _checked(
                library.OrtxTensorResultGetAt(result, ctypes.c_size_t(0), ctypes.byref(tensor))
            )
            return _values(tensor)
        finally:
            for thing in (tensor, result, audios):
                if thing:
                    library.OrtxDisposeOnly(thing)


def _values(tensor: ctypes.c_void_p) -> NDArray[np.float32]:
    """Copy a tensor of shape (1, n_mels, n_frames) to an array of shape (n_mels, n_frames)."""
    data, n_dims = ctypes.c_void_p(), ctypes.c_size_t()
    shape = ctypes.POINTER(ctypes.c_int64)()
    _checked(
        _library().OrtxGetTensorData(
            tensor, ctypes.byref(data), ctypes.byref(shape), ctypes.byref(n_dims)
        )
    )
    _, n_mels, n_frames = shape[: n_dims.value]
    values = (ctypes.c_float * (n_mels * n_frames)).from_address(data.value or 0)
    return np.array(values, np.float32).reshape(n_mels, n_frames)


front_end = _OnnxruntimeExtensions()
