"""What a call takes of its thread's stack; and that the thread's floating-point mode has no say."""

from __future__ import annotations

import ctypes
import itertools
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import noise
from numpy.typing import NDArray
from whisper_mel_mojo import library as kernel
from whisper_mel_mojo import log_mel
from whisper_mel_mojo.builder import target_cpu
from whisper_mel_mojo.library import LOG_MEL, SMOOTHING, library

DOCUMENT = Path(__file__).parents[2] / "docs" / "internals" / "kernel.md"
SAMPLES = 160_000
# Rounding, denormals and traps as MXCSR has them on x86-64, and FPCR on ARM.
MODES = (
    {
        "to nearest": 0x1F80,
        "downwards": 0x3F80,
        "upwards": 0x5F80,
        "to zero": 0x7F80,
        "no denormals": 0x9FC0,
        "no denormals, upwards": 0xDFC0,
        "traps": 0x0000,
    }
    if platform.machine() == "x86_64"
    else {
        "to nearest": 0,
        "downwards": 2 << 22,
        "upwards": 1 << 22,
        "to zero": 3 << 22,
        "no denormals": 1 << 24,
        "no denormals, upwards": 1 << 24 | 1 << 22,
    }
)


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    made = tmp_path_factory.mktemp("caller") / "caller.so"
    source = Path(__file__).with_name("caller.c")
    flags = ("-shared", "-fPIC", "-O1", "-pthread", "-Wall", "-Wextra", "-Werror")
    subprocess.run(["cc", *flags, "-o", str(made), str(source)], check=True)
    loaded = ctypes.CDLL(str(made))
    loaded.product_in_mode.argtypes = [ctypes.c_uint64, ctypes.c_float, ctypes.c_float]
    loaded.product_in_mode.restype = ctypes.c_float
    loaded.call_in_mode.argtypes = [ctypes.c_uint64, *[ctypes.c_void_p] * 3]
    loaded.call_in_mode.restype = ctypes.c_ssize_t
    loaded.stack_used.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    loaded.stack_used.restype = ctypes.c_size_t
    return loaded


def arguments(
    audio: NDArray[Any],
    out: NDArray[np.float32],
    n_mels: int = 80,
    smoothing: str | None = None,
    threads: int = 1,
    pool: int = 0,
) -> Any:
    """The kernel's arguments for one clip, as an array in C."""
    values = (
        *(audio.ctypes.data, audio.dtype == np.int16, 1, audio.size, audio.size),
        *(0, n_mels, SMOOTHING[smoothing]),
        *(out.ctypes.data, out.size, threads, pool, 0),
    )
    assert len(values) == len(LOG_MEL)
    return (ctypes.c_ssize_t * len(values))(*values)


def address(function: Any) -> int | None:
    return ctypes.cast(function, ctypes.c_void_p).value


# --------------------------------------------------------------------- the floating-point mode


@pytest.mark.parametrize("pool_is_older", [True, False], ids=["older pool", "new pool"])
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("mode", MODES)
def test_no_mode_of_the_caller_changes_a_bit(
    mode: str, threads: int, pool_is_older: bool, caller: ctypes.CDLL
) -> None:
    """Nor does the call change the mode, or the exceptions that it holds."""
    audio = noise(SAMPLES)
    audio[: SAMPLES // 2] *= np.float32(1e-22)  # powers that are denormal
    expected = log_mel(audio, smoothing="same", threads=1)
    loaded = library()
    pool = loaded.pool
    if pool_is_older:
        log_mel(audio, threads=4)
    else:
        assert kernel._loaded is not None
        pool = kernel._loaded.whisper_mel_pool_new()
    out = np.zeros_like(expected)
    after = ctypes.c_uint64()
    given = arguments(audio, out, smoothing="same", threads=threads, pool=pool)
    status = caller.call_in_mode(MODES[mode], ctypes.byref(after), address(loaded.log_mel), given)
    assert status == 0
    assert after.value == MODES[mode]
    np.testing.assert_array_equal(out.view(np.uint32), expected.view(np.uint32))


def test_positive_control_modes_change_products(caller: ctypes.CDLL) -> None:
    third = np.float32(1) / np.float32(3)
    exact = float(third) * float(third)
    down, up = (caller.product_in_mode(MODES[it], third, third) for it in ("downwards", "upwards"))
    assert down < exact < up
    assert caller.product_in_mode(MODES["to nearest"], 1e-30, 1e-10) > 0
    assert caller.product_in_mode(MODES["no denormals"], 1e-30, 1e-10) == 0


# --------------------------------------------------------------------- the stack


def promised() -> int:
    """Bytes of stack that docs/internals/kernel.md says are enough on this machine."""
    text = " ".join(DOCUMENT.read_text(encoding="utf-8").split())
    found = re.search(r"at most (\d+) KiB of stack \((\d+) KiB with four lanes\)", text)
    assert found is not None
    eight_lanes = target_cpu() in ("x86-64-v3", "x86-64-v4")
    return 1024 * int(found[1] if eight_lanes else found[2])


def test_the_stack_suffices_that_the_documentation_promises(caller: ctypes.CDLL) -> None:
    """Wherever in a page the caller's own part of the stack ends."""
    function = address(library().log_mel)
    out = np.empty(128 * 40, np.float32)
    clips: list[NDArray[Any]] = [noise(n) for n in (480, 6400)]
    clips.append((clips[-1] * 32768).astype(np.int16))
    most = 0
    for audio, n_mels, smoothing in itertools.product(clips, (80, 128), SMOOTHING):
        given = arguments(audio, out, n_mels, smoothing)
        for offset in range(0, 4096, 128):
            used = caller.stack_used(function, given, offset)
            assert used > 13_000  # the scratch memory of four lanes
            most = max(most, used)
    assert most <= promised()
