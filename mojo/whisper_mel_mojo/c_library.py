"""The library for C (``whisper_mel.h``), called by ctypes so that the suite can judge it.

``python -m whisper_mel_mojo.c_library FOLDER`` writes what C programs need to a folder.
"""

from __future__ import annotations

import ctypes
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whisper_mel_mojo.arguments import (
    HOP,
    PLAIN,
    address,
    array_dtype,
    as_array,
    check_out,
    form_of,
    kernel_samples,
    thread_count,
)
from whisper_mel_mojo.builder import C_SOURCE, SONAME, BuildError, built_c_library, distributed_cpu
from whisper_mel_mojo.library import DTYPES, SMOOTHING, Maximum, Smoothing

LINKED = "libwhispermel.so"  # the name that -lwhispermel stands for
_LOG_MEL: list[Any] = [
    *(ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64),  # audio … clip_stride
    *(ctypes.c_int64, ctypes.c_int, ctypes.c_int),  # pad_to, n_mels, smoothing
    *(ctypes.c_void_p, ctypes.c_int64, ctypes.c_int),  # out, out_len, threads
]
_LOG_MEL_AS: list[Any] = [*_LOG_MEL, ctypes.c_int, ctypes.c_double, ctypes.c_int]


@lru_cache
def load(path: str | None = None) -> ctypes.CDLL:
    """Load the library with its functions' types; build it if it does not exist yet."""
    library = ctypes.CDLL(path or str(built_c_library()))
    for function in (library.whisper_mel_log_mel_f32, library.whisper_mel_log_mel_s16):
        function.argtypes = _LOG_MEL
        function.restype = ctypes.c_int
    for function in (library.whisper_mel_log_mel_f32_as, library.whisper_mel_log_mel_s16_as):
        function.argtypes = _LOG_MEL_AS
        function.restype = ctypes.c_int
    library.whisper_mel_last_error.restype = ctypes.c_char_p
    return library


def log_mel(
    audio: ArrayLike,
    n_mels: int = 80,
    *,
    pad_to: int | None = None,
    smoothing: Smoothing | None = None,
    out: NDArray[Any] | None = None,
    threads: int = 1,
    maximum: Maximum = "clip",
    dtype: str = "float32",
) -> NDArray[Any]:
    """Compute features like :func:`whisper_mel_mojo.log_mel`; C checks all arguments that it can.

    Raises ``ValueError`` with ``whisper_mel_last_error()``.
    """
    return compute(load(), audio, n_mels, pad_to, smoothing, out, threads, maximum, dtype)


def compute(
    library: Any,
    audio: ArrayLike,
    n_mels: int,
    pad_to: int | None,
    smoothing: Smoothing | None,
    out: NDArray[Any] | None,
    threads: int,
    maximum: Maximum = "clip",
    dtype: str = "float32",
) -> NDArray[Any]:
    """Compute :func:`log_mel` with a library that has the functions of ``whisper_mel.h``."""
    form = form_of(maximum, dtype)
    given = as_array(audio)
    samples = kernel_samples(given)
    if pad_to == 0:
        raise ValueError("pad_to=0: expected at least one sample (in C it stands for none)")
    clips = 1 if samples.ndim == 1 else len(samples)
    n = samples.shape[-1]
    trim = 2 if smoothing == "valid" else 0
    shape = (n_mels - trim, max(n, pad_to or 0) // HOP - trim)
    shape = (*samples.shape[:-1], *(max(length, 0) for length in shape))
    if out is None:
        out = np.empty(shape, array_dtype(dtype))
    else:
        check_out(out, shape, given, array_dtype(dtype))
    name = "whisper_mel_log_mel_" + ("s16" if samples.dtype == np.int16 else "f32")
    more = () if form == PLAIN else (form.maximum, form.fixed, DTYPES[form.dtype])
    function = getattr(library, f"{name}_as" if more else name)
    status = function(
        address(samples),
        clips,
        n,
        n if samples.ndim == 1 else samples.strides[0] // samples.itemsize,
        pad_to or 0,
        n_mels,
        SMOOTHING.get(smoothing, -1),
        out.ctypes.data,  # passed even if invalid: C finds the error
        out.size,
        thread_count(threads),
        *more,
    )
    if status != 0:
        raise ValueError(library.whisper_mel_last_error().decode())
    return out


def install(folder: Path) -> None:
    """Write the library, its header and the files for pkg-config and CMake to a folder.

    The folder can be moved. Raises ``BuildError`` if there is no library.
    """
    library = built_c_library(distributed_cpu())
    folder.mkdir(parents=True, exist_ok=True)
    header = C_SOURCE.with_suffix(".h").read_text()
    (version,) = re.findall(r'#define WHISPER_MEL_VERSION "(.*)"', header)
    files = {SONAME: library.read_bytes(), "whisper_mel.h": header.encode()}
    for path in sorted(C_SOURCE.with_name("c_install").iterdir()):
        text = path.read_text().replace("@SONAME@", SONAME).replace("@VERSION@", version)
        files[path.name] = text.encode()
    for name, content in files.items():
        new = folder / f"{name}.new"
        new.write_bytes(content)
        new.replace(folder / name)  # so that running programs keep the old file
        print(folder / name)
    (folder / LINKED).unlink(missing_ok=True)
    (folder / LINKED).symlink_to(SONAME)
    print(folder / LINKED)


if __name__ == "__main__":
    try:
        install(Path(sys.argv[1]))
    except BuildError as error:
        sys.exit(f"build c: {error}")
