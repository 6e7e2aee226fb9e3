"""Very many calls: what they leave behind is found, and what leaves nothing behind passes.

The cases themselves (24 h of audio, 1,000,000 clips) are the nightly profile's.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import tempfile
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import whisper_mel_conformance.run.quiet_blas  # noqa: F401  before anything imports NumPy
from whisper_mel_conformance.cases.catalogue import CHECKS, all_cases
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure

pytestmark = pytest.mark.slow

Array = Any
TINY = {"signal": "noise", "n": 201, "seed": 1}

with tempfile.TemporaryFile() as _zeros:
    _zeros.truncate(64 << 20)
    _MAPPED = mmap.mmap(_zeros.fileno(), 0, access=mmap.ACCESS_READ)
_FILE = os.open(__file__, os.O_RDONLY)
_LIBC = ctypes.CDLL(None)
_LIBC.mmap.restype = ctypes.c_void_p

LEAVING: dict[str, Any] = {
    "nothing": lambda calls: None,
    "4000 bytes a call": lambda calls: bytearray(4000),
    "a file now and then": lambda calls: open(__file__) if calls % 1000 == 0 else None,  # noqa: SIM115
    "a thread now and then": lambda calls: _thread() if calls % 1000 == 0 else None,
    "a page of a mapped file": lambda calls: _MAPPED[calls * mmap.PAGESIZE] and None,
    "an object a call": lambda calls: [object()],
    "200 bytes of C a call": lambda calls: _LIBC.malloc(200) and None,
    "a temporary folder a call": lambda calls: tempfile.mkdtemp() and None,
    "a mapping of a file": lambda calls: _LIBC.mmap(None, 4096, 1, 1, _FILE, None),
}


def _thread() -> threading.Thread:
    thread = threading.Thread(target=threading.Event().wait, daemon=True)
    thread.start()
    return thread


class Leaving:
    """Zeros at once; each call leaves something behind."""

    capabilities = {"n_mels": (80,), "pad_to": False}
    what = "nothing"

    def __init__(self) -> None:
        self._calls = 0
        self._left: list[Any] = []

    def log_mel(self, audio: Array, n_mels: int = 80) -> Array:
        self._calls += 1
        self._left.append(LEAVING[self.what](self._calls))
        if not self._left[-1]:
            self._left.pop()
        return np.zeros((n_mels, audio.size // 160), np.float32)


class LeavingBytes(Leaving):
    what = "4000 bytes a call"


class ReadingMapped(Leaving):
    what = "a page of a mapped file"


class LeavingMappings(Leaving):
    what = "a mapping of a file"


class LeavingFiles(Leaving):
    what = "a file now and then"


class LeavingThreads(Leaving):
    what = "a thread now and then"


class LeavingObjects(Leaving):
    what = "an object a call"


class LeavingBytesOfC(Leaving):
    what = "200 bytes of C a call"


class LeavingFolders(Leaving):
    what = "a temporary folder a call"


def every_7001st_differs() -> Any:
    calls: list[int] = []

    def f(audio: Array, n_mels: int = 80) -> Array:
        calls.append(1)
        return np.full((n_mels, 1), len(calls) % 7001 == 0, np.float32)

    return f


def endure(name: str) -> None:
    front_end = FrontEnd(f"{Path(__file__)}:{name}", timeout=1800.0)
    front_end.start()
    try:
        CHECKS["endurance"](front_end, recipe=TINY, times=1000, parts=12)
    finally:
        front_end.stop()


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("LeavingObjects", "objects"),
        ("LeavingBytesOfC", "bytes"),
        ("LeavingFolders", "temporary files"),
        ("Leaving", None),
    ],
)
def test_little_that_each_call_leaves_is_found(name: str, what: str | None) -> None:
    front_end = FrontEnd(f"{Path(__file__)}:{name}")
    front_end.start()
    expected: AbstractContextManager[Any] = contextlib.nullcontext()
    if what is not None:
        expected = pytest.raises(Failure, match=f"each call leaves .* {what} behind")
    try:
        with expected:
            CHECKS["growth"](front_end, recipe=TINY, times=100)
    finally:
        front_end.stop()


@pytest.mark.parametrize("name", ["Leaving", "ReadingMapped"])
def test_what_leaves_nothing_behind_passes(name: str) -> None:
    """Pages of a mapped file come into memory as it is read, and go as others need memory."""
    endure(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("LeavingBytes", "8000 calls leave .* bytes behind: expected at most 16777216"),
        ("LeavingMappings", "8000 calls leave .* bytes behind"),
        ("LeavingFiles", "8000 calls leave 8 files behind"),
        ("LeavingThreads", "8000 calls leave 8 threads behind"),
        ("every_7001st_differs", "on the same input differs from call 1"),
    ],
)
def test_the_least_that_is_left_behind_is_found(name: str, words: str) -> None:
    with pytest.raises(Failure, match=words):
        endure(name)


def test_a_day_is_a_day_and_a_million_a_million() -> None:
    cases = {case.id: case.arguments for case in all_cases("nightly")}
    day, tiny = cases["memory/24-hours"], cases["memory/1000000-clips"]
    assert day["recipe"]["n"] * day["times"] * day["parts"] == 24 * 3600 * 16_000
    assert tiny["times"] * tiny["parts"] == 1_000_000


def test_front_ends_that_do_not_pad_endure_them_too() -> None:
    able = FrontEnd(f"{Path(__file__)}:Leaving", timeout=1800.0)
    able.start()
    try:
        for case in all_cases("nightly"):
            if case.check == "endurance":
                assert case.beyond(able.capabilities) is None
    finally:
        able.stop()
