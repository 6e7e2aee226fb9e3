"""The library for C for other processors, executed by qemu."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from clips import noise
from daily import by_day
from numpy.typing import NDArray
from sanitize.bits import differences
from whisper_mel_mojo import BuildError, log_mel
from whisper_mel_mojo.emulated import library as module
from whisper_mel_mojo.emulated.library import (
    _REQUEST,
    Crashed,
    EmulatedLibrary,
    _Request,
    emulated,
)
from whisper_mel_mojo.emulated.machines import MACHINES, Machine

pytestmark = pytest.mark.xdist_group("emulated")


def present(name: str) -> Machine:
    """The machine; tests are skipped where it cannot be executed."""
    missing = MACHINES[name].missing()
    if missing:
        pytest.skip(f"{missing}: ./dev system installs it, where it can")
    return MACHINES[name]


@pytest.fixture(scope="module")
def library() -> EmulatedLibrary:
    machine = present("aarch64")
    return EmulatedLibrary(machine, machine.library())


def call(library: EmulatedLibrary, audio: NDArray[Any], out: NDArray[Any], /, **change: int) -> int:
    """The status of a call that is right but for what is changed."""
    right = {
        "audio": audio.ctypes.data,
        "clips": 1,
        "samples": audio.size,
        "stride": 0,
        "pad_to": 0,
        "n_mels": 80,
        "smoothing": 0,
        "out": out.ctypes.data,
        "out_len": out.size,
        "threads": 1,
    }
    assert change.keys() <= right.keys()
    return library.whisper_mel_log_mel_f32(*{**right, **change}.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", by_day(MACHINES, ["aarch64"]))
def test_every_machine_gives_the_bits_of_this_one(name: str) -> None:
    made, found = differences(emulated(present(name)))
    assert found == []
    assert made >= 45


def test_errors_are_those_of_the_library(library: EmulatedLibrary) -> None:
    audio, out = noise(1000), np.zeros(80 * 6, np.float32)
    for change, status, message in (
        ({"audio": 0}, 1, "audio is NULL: expected an address"),
        ({"out": 0}, 1, "out is NULL: expected an address"),
        ({"n_mels": 79}, 2, "n_mels=79: expected 80 or 128"),
        ({"samples": 0}, 4, "samples=0: expected at least 1"),
        ({"clips": -1}, 4, "clips=-1: expected at least 1"),
        ({"out_len": 0}, 8, "out_len=0: expected at least 1 clips x 80 bands x 6 frames"),
    ):
        assert call(library, audio, out, **change) == status
        assert library.whisper_mel_last_error().decode() == message
    assert call(library, audio, out) == 0
    np.testing.assert_array_equal(out.reshape(80, 6), log_mel(audio))


def test_each_thread_has_its_own_message(library: EmulatedLibrary) -> None:
    audio, out = noise(1000), np.zeros(80 * 6, np.float32)
    said = []

    def other() -> None:
        said.append(library.whisper_mel_last_error())
        call(library, audio, out, n_mels=3)
        said.append(library.whisper_mel_last_error())

    call(library, audio, out, n_mels=2)
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert [it[:8] for it in said] == [b"", b"n_mels=3"]
    assert library.whisper_mel_last_error().startswith(b"n_mels=2")


def test_a_crash_is_no_refusal_and_the_next_call_works(
    library: EmulatedLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library is told of more samples than there are: it touches the page behind them."""
    audio, out = noise(1000), np.zeros(80 * 6, np.float32)
    packed = _REQUEST.pack
    more = SimpleNamespace(pack=lambda *it: packed(*_Request(*it)._replace(samples=1100)))
    with monkeypatch.context() as patch:
        patch.setattr(module, "_REQUEST", more)
        with pytest.raises(Crashed, match="qemu-aarch64: exit status -11"):
            call(library, audio, out)
    assert call(library, audio, out) == 0


def test_a_forked_process_has_a_machine_of_its_own(library: EmulatedLibrary) -> None:
    audio, out = noise(1000), np.zeros(80 * 6, np.float32)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = call(library, audio, out)
        os.write(write, out.tobytes() if status == 0 else b"-")
        os._exit(0)
    assert call(library, audio, out) == 0
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read() == out.tobytes()
    os.waitpid(child, 0)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is compiled before, though a cache is empty."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("WHISPER_MEL_CACHE", str(tmp_path))
    words = "^there is no aarch64-linux-gnu-gcc and no qemu-aarch64.*: ./dev system installs them"
    with pytest.raises(BuildError, match=words):
        emulated(MACHINES["aarch64"])
    assert not [*tmp_path.iterdir()]
