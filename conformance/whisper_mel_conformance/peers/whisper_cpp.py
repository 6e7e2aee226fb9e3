"""whisper.cpp, by the library in pywhispercpp's wheel: ``whisper_pcm_to_mel``.

The features need a model only for its filterbank, so the adapter makes one without tensors, in the
format of whisper.cpp's ``models/convert-pt-to-ggml.py``; whisper.cpp loads such models "for
testing". Its C API returns the number of frames but not the features. The adapter finds them in
``whisper_state`` by the three integers that precede them (``struct whisper_mel``).
"""

from __future__ import annotations

import ctypes
import struct
from functools import lru_cache
from importlib.metadata import files
from pathlib import Path
from typing import Any, ClassVar

import _pywhispercpp  # noqa: F401  loads the libraries that libwhisper needs
import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import mel_filterbank

from whisper_mel_conformance.peers import versions

LIGHT = True

_MAGIC = 0x67676D6C  # "ggml"
_ZEROS_APPENDED = 480_000
_STATE_BYTES = 4096  # bytes of whisper_state that are searched; found at byte 344 (1.8.5)


class _ContextParameters(ctypes.Structure):  # struct whisper_context_params
    _fields_ = [
        ("use_gpu", ctypes.c_bool),
        ("flash_attn", ctypes.c_bool),
        ("gpu_device", ctypes.c_int),
        ("dtw_token_timestamps", ctypes.c_bool),
        ("dtw_aheads_preset", ctypes.c_int),
        ("dtw_n_top", ctypes.c_int),
        ("dtw_aheads_count", ctypes.c_size_t),
        ("dtw_aheads_heads", ctypes.c_void_p),
        ("dtw_mem_size", ctypes.c_size_t),
    ]


_LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_silent = _LOG(lambda level, text, user_data: None)  # in place of a log on standard error


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    listed = [file.locate() for file in files("pywhispercpp") or ()]
    [path] = {str(path) for path in listed if Path(path).match("*.libs/libwhisper*.so*")}
    library = ctypes.CDLL(path)
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    library.whisper_context_default_params.restype = _ContextParameters
    for function, result, arguments in (
        (
            "whisper_init_from_buffer_with_params_no_state",
            pointer,
            [ctypes.c_char_p, ctypes.c_size_t, _ContextParameters],
        ),
        ("whisper_init_state", pointer, [pointer]),
        (
            "whisper_pcm_to_mel_with_state",
            integer,
            [pointer, pointer, pointer, integer, integer],
        ),
        ("whisper_n_len_from_state", integer, [pointer]),
    ):
        getattr(library, function).restype = result
        getattr(library, function).argtypes = arguments
    library.whisper_log_set(_silent, None)
    return library


@lru_cache(maxsize=2)
def _context_and_state(n_mels: int) -> tuple[int, int]:
    # n_vocab, n_audio_{ctx, state, head, layer}, n_text_{…}, n_mels, ftype
    hyperparameters = (51864, 1500, 64, 1, 1, 448, 64, 1, 1, n_mels, 1)
    bank = mel_filterbank(n_mels)
    model = struct.pack("<I11i2i", _MAGIC, *hyperparameters, *bank.shape)
    model += bank.astype("<f4").tobytes() + struct.pack("<i", 0)  # and no vocabulary
    library = _library()
    parameters = library.whisper_context_default_params()
    parameters.use_gpu = False
    context = library.whisper_init_from_buffer_with_params_no_state(model, len(model), parameters)
    if not context:
        raise RuntimeError("whisper.cpp refused a model without tensors")
    return context, library.whisper_init_state(context)


class _WhisperCpp:
    name = "whisper-cpp"
    device = "cpu"
    versions = versions("pywhispercpp")
    capabilities: ClassVar[dict[str, Any]] = {"n_mels": (80, 128), "pad_to": True}

    def log_mel(
        self, audio: NDArray[Any], n_mels: int = 80, *, pad_to: int | None = None
    ) -> NDArray[np.float32]:
        if pad_to is None:
            raise NotImplementedError("always appends 30 s of zeros")
        if pad_to > audio.size + _ZEROS_APPENDED:
            raise NotImplementedError("appends 30 s of zeros, not more")
        if audio.size < 201:
            # It would mirror 200 samples and so read past the end of the clip.
            raise NotImplementedError("needs 201 samples (whisper.cpp pull request 3956)")
        samples = np.ascontiguousarray(audio, np.float32)
        library = _library()
        context, state = _context_and_state(n_mels)
        if library.whisper_pcm_to_mel_with_state(
            context, state, samples.ctypes.data, samples.size, 1
        ):
            raise RuntimeError("whisper_pcm_to_mel_with_state failed")
        n_frames = (samples.size + _ZEROS_APPENDED) // 160
        return _features(library, state, n_mels, n_frames)[:, : pad_to // 160].copy()


def _features(library: ctypes.CDLL, state: int, n_mels: int, n_frames: int) -> NDArray[np.float32]:
    """Wrap ``whisper_mel::data``, a std::vector after ``int n_len, n_len_org, n_mel``, padding."""
    n_own = library.whisper_n_len_from_state(state)
    memory = ctypes.string_at(state, _STATE_BYTES)
    at = memory.find(struct.pack("<3i", n_frames, n_own, n_mels))
    if at < 0:
        raise RuntimeError("struct whisper_mel was not found: another version of whisper.cpp?")
    begin, end = struct.unpack_from("<2Q", memory, at + 16)
    if end - begin != 4 * n_mels * n_frames:
        raise RuntimeError(f"whisper_mel has {end - begin} bytes for {n_mels}x{n_frames} values")
    values = (ctypes.c_float * (n_mels * n_frames)).from_address(begin)
    return np.ctypeslib.as_array(values).reshape(n_mels, n_frames)


front_end = _WhisperCpp()
