"""The library for C in a process of another machine, with its functions as ctypes has them."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from numpy.typing import ArrayLike, NDArray

from whisper_mel_mojo import c_library
from whisper_mel_mojo.emulated.machines import Machine
from whisper_mel_mojo.library import CLIP, DTYPES, Maximum, Smoothing

_REQUEST = struct.Struct("<15qd")
_ANSWER = struct.Struct("<2q")
_NULL = -1  # a size
_SIZES = {DTYPES[name]: 4 if name == "float32" else 2 for name in DTYPES}  # in bytes, by C's number


class Crashed(BaseException):
    """The end of the process in the middle of a call; no ``Exception``, because nothing is
    refused.
    """


class _Request(NamedTuple):
    """A call, as ``struct request`` of ``server.c``: sizes in bytes."""

    is_int16: int
    clips: int
    samples: int
    stride: int
    pad_to: int
    n_mels: int
    smoothing: int
    out_len: int
    threads: int
    audio_size: int
    audio_start: int
    out_size: int
    has_form: int
    maximum: int
    dtype: int
    fixed: float


class EmulatedLibrary:
    """The functions of a library for C (``whisper_mel.h``), which one process of qemu serves.

    Addresses are of this process: their memory is copied there and back. Threads take turns; a
    forked process starts a process of its own.
    """

    def __init__(self, machine: Machine, path: Path) -> None:
        self._command = machine.command(path)
        self._errors = threading.local()
        self.whisper_mel_log_mel_f32 = partial(self._log_mel, 0)
        self.whisper_mel_log_mel_s16 = partial(self._log_mel, 1)
        self.whisper_mel_log_mel_f32_as = partial(self._log_mel, 0)
        self.whisper_mel_log_mel_s16_as = partial(self._log_mel, 1)
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = self._started()  # a failure shows at once
        os.register_at_fork(after_in_child=self._begin)

    def whisper_mel_last_error(self) -> bytes:
        """Return the message of this thread's last call that failed."""
        return getattr(self._errors, "message", b"")

    def _begin(self) -> None:
        """Leave the process to the parent, in a forked process."""
        self._turn = threading.Lock()
        self._process = None

    def _started(self) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        return subprocess.Popen(self._command, stdin=pipe, stdout=pipe, bufsize=0)

    def _log_mel(
        self,
        is_int16: int,
        audio: int,
        clips: int,
        samples: int,
        stride: int,
        pad_to: int,
        n_mels: int,
        smoothing: int,
        out: int,
        out_len: int,
        threads: int,
        *form: Any,
    ) -> int:
        size = 2 if is_int16 else 4
        last = (max(clips, 1) - 1) * stride
        first, end = size * min(last, 0), size * (max(last, 0) + max(samples, 0))
        maximum, fixed, dtype = form or (CLIP, 0.0, DTYPES["float32"])
        request = _Request(
            *(is_int16, clips, samples, stride, pad_to, n_mels, smoothing, out_len, threads),
            audio_size=end - first if audio else _NULL,
            audio_start=-first,
            out_size=_SIZES[dtype] * max(out_len, 0) if out else _NULL,
            has_form=bool(form),
            maximum=maximum,
            dtype=dtype,
            fixed=fixed,
        )
        with self._turn:
            process = self._process = self._process or self._started()
            try:
                status, message = _ask(process, request, audio + first, out)
            except (BrokenPipeError, EOFError):
                self._process = None
                with process:  # closes its pipes, and waits
                    pass
                raise Crashed(f"{self._command[0]}: exit status {process.returncode}") from None
        if status != 0:
            self._errors.message = message
        return status


def _ask(
    process: subprocess.Popen[bytes], request: _Request, audio: int, out: int
) -> tuple[int, bytes]:
    """Send a request with its audio, read features and answer; return status and message.

    ``audio`` and ``out`` are addresses. Raises ``EOFError`` or ``BrokenPipeError`` if the process
    has ended.
    """
    asking, answering = process.stdin, process.stdout
    assert asking is not None
    assert answering is not None
    asking.write(_REQUEST.pack(*request))
    _write(asking, _memory(audio, request.audio_size))
    answer = bytearray(_ANSWER.size)
    _read(answering, memoryview(answer))
    status, length = _ANSWER.unpack(answer)
    message = bytearray(length)
    _read(answering, memoryview(message))
    _read(answering, _memory(out, request.out_size))
    return status, bytes(message)


def emulated(machine: Machine, path: Path | None = None) -> Callable[..., NDArray[Any]]:
    """Return ``c_library.log_mel`` of a library in a process of another machine.

    ``path`` is the library; None means that of the machine. Raises ``BuildError``.
    """
    library = EmulatedLibrary(machine, path or machine.library())

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
        return c_library.compute(
            library, audio, n_mels, pad_to, smoothing, out, threads, maximum, dtype
        )

    return log_mel


def _memory(address: int, size: int) -> memoryview:
    """Return bytes at an address; none if ``size`` is not above 0."""
    return memoryview((ctypes.c_char * size).from_address(address) if size > 0 else b"").cast("B")


def _write(pipe: IO[bytes], data: memoryview) -> None:
    while data:
        data = data[pipe.write(data) :]


def _read(pipe: IO[bytes], data: memoryview) -> None:
    """Fill ``data``; raise ``EOFError`` at the end of the pipe."""
    while data:
        count = pipe.readinto(data)  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        data = data[count:]
