"""What a call allocates and how far memory grows, counted in processes of their own.

Each count has its positive control: the same with a planted copy or leak, which must show. Bytes
are counted as they are asked for and given back: what the system makes of that depends on how much
memory others want.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from programs import ran
from whisper_mel_mojo.builder import built_library

CLIP = 30  # seconds of audio
CLIP_BYTES = 4 * 16_000 * CLIP
# What Python, ctypes and NumPy ask for around a call, for names and shapes, is far less than this.
SMALL = 4096
MEGABYTE = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def kernel() -> None:
    """Built before anything is measured."""
    built_library()


def run(program: str, preload: Path, *settings: str) -> list[int]:
    """The numbers that a program prints."""
    # Variables of the child alone: the interpreter that runs the tests has no counter.
    command = ["env", f"LD_PRELOAD={preload}", *settings]
    result = ran([*command, sys.executable, "-c", program])
    assert result.returncode == 0, result.stderr
    return [int(word) for word in result.stdout.split()]


# --------------------------------------------------------------------------- allocations

COUNTED = """
import ctypes, mmap
import numpy as np
from whisper_mel_mojo import log_mel
counter = ctypes.CDLL({counter!r})
counter.counter_total.restype = counter.counter_largest.restype = ctypes.c_size_t
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.realloc.restype = libc.aligned_alloc.restype = ctypes.c_void_p
seconds = {seconds}
audio = np.random.default_rng(0).random(16000 * seconds, np.float32)
out = np.empty((80, 100 * seconds), np.float32)
def call():
    {call}
for _ in range(3):
    call()
counter.counter_start()
for _ in range(10):
    call()
counter.counter_stop()
print(counter.counter_total() // 10, counter.counter_largest())
"""


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that counts, to be loaded before all others."""
    made = tmp_path_factory.mktemp("counter") / "allocation_counter.so"
    source = Path(__file__).with_name("allocation_counter.c")
    command = ["cc", "-shared", "-fPIC", "-O1", "-fno-builtin", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*command, "-o", str(made), str(source)], check=True)
    return made


@pytest.fixture(scope="module")
def allocated(counter: Path) -> Callable[..., tuple[int, int]]:
    """Bytes that a statement asks for per run, and its largest request."""

    def measure(call: str, seconds: int = CLIP) -> tuple[int, int]:
        program = COUNTED.format(counter=str(counter), call=call, seconds=seconds)
        each, largest = run(program, counter)
        return each, largest

    return measure


@pytest.mark.parametrize(
    "call",
    [
        "log_mel(audio, out=out, threads=1)",
        "log_mel(audio, out=out, threads=2)",
        "log_mel(audio, out=out, smoothing='same', threads=1)",
        "log_mel(audio, out=out, smoothing='same', threads=2)",
        "log_mel(audio[:80000], pad_to=audio.size, out=out, threads=1)",
        "log_mel(audio.reshape(3, -1)[::-1], out=out.reshape(3, 80, -1), threads=1)",
        "log_mel(audio.view(np.int16)[:audio.size], out=out, threads=1)",
    ],
)
def test_a_call_with_out_neither_copies_nor_allocates(
    call: str, allocated: Callable[..., tuple[int, int]]
) -> None:
    """Several threads and smoothing need some numbers each, whatever the length of the clip."""
    each, largest = allocated(call)
    several = 4 * 2 * 80 * 8 if "same" in call and "threads=2" in call else 0  # two columns a piece
    assert each < SMALL + several
    assert largest < SMALL + several


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("smoothing", [None, "same"])
def test_what_is_allocated_does_not_grow_with_the_clip(
    smoothing: str | None, threads: int, allocated: Callable[..., tuple[int, int]]
) -> None:
    call = f"log_mel(audio, out=out, smoothing={smoothing!r}, threads={threads})"
    short, _ = allocated(call, seconds=30)
    long, _ = allocated(call, seconds=300)
    assert long <= short + SMALL // 4


def test_valid_smoothing_keeps_two_bands(allocated: Callable[..., tuple[int, int]]) -> None:
    """Its output is smaller than what it is made of: two bands and two frames lie beside it."""
    call = "log_mel(audio, out=out.reshape(-1)[:78 * 2998].reshape(78, 2998), smoothing='valid')"
    each, largest = allocated(call)
    kept = 4 * (2 * 3000 + 2 * 80)
    assert kept <= largest <= each < kept + 4 * SMALL


def test_without_out_the_output_is_all(allocated: Callable[..., tuple[int, int]]) -> None:
    each, largest = allocated("log_mel(audio, threads=1)")
    assert 4 * 80 * 3000 <= largest <= each < 4 * 80 * 3000 + SMALL


@pytest.mark.parametrize(
    "planted",
    [
        "log_mel(audio.copy(), out=out, threads=1)",
        "log_mel(audio.astype('f8'), out=out, threads=1)",
        "log_mel(np.ascontiguousarray(audio[::-1]), out=out, threads=1)",
        "np.zeros(audio.size, np.float32)",
        "libc.free(ctypes.c_void_p(libc.malloc(audio.nbytes)))",
        "libc.free(ctypes.c_void_p(libc.realloc(None, audio.nbytes)))",
        "libc.free(ctypes.c_void_p(libc.aligned_alloc(64, audio.nbytes)))",
        "place = ctypes.c_void_p(); libc.posix_memalign(ctypes.byref(place), 64, audio.nbytes); "
        "libc.free(place)",
        "mmap.mmap(-1, audio.nbytes).close()",
    ],
)
def test_positive_control_a_planted_copy_is_counted(
    planted: str, allocated: Callable[..., tuple[int, int]]
) -> None:
    each, largest = allocated(planted)
    assert CLIP_BYTES <= largest <= each


# --------------------------------------------------------------------------- memory that is had

LIVING = """
import ctypes
import numpy as np
from whisper_mel_mojo import log_mel
counter = ctypes.CDLL({counter!r})
counter.counter_living.restype = counter.counter_peak.restype = ctypes.c_longlong
kept = []
{prepare}
for _ in range({warm}):
    {warm_call}
counter.counter_start()
for _ in range({repeat}):
    {call}
counter.counter_stop()
print(counter.counter_living(), counter.counter_peak())
"""
LONG = """
audio = np.random.default_rng(0).random(16000 * 600, np.float32)
out = np.empty((80, 60000), np.float32)
"""
SHORT = """
audio = np.random.default_rng(0).random(4000, np.float32)
out = np.empty((80, 25), np.float32)
"""


Growth = Callable[..., tuple[int, int]]


@pytest.fixture(scope="module")
def growth(counter: Path) -> Growth:
    """Bytes by which the memory that a process has, and its peak, grow while a statement is
    repeated. Each of Python's own objects counts, too.
    """

    def measure(
        call: str, prepare: str, repeat: int, warm: int = 2, warm_call: str | None = None
    ) -> tuple[int, int]:
        program = LIVING.format(
            counter=str(counter),
            call=call,
            prepare=prepare,
            repeat=repeat,
            warm=warm,
            warm_call=warm_call or call,
        )
        living, peak = run(program, counter, "PYTHONMALLOC=malloc")
        return living, peak

    return measure


@pytest.mark.parametrize("smoothing", [None, "same"])
def test_the_peak_does_not_rise_over_calls_of_a_long_clip(
    smoothing: str | None, growth: Growth
) -> None:
    """Ten minutes are 38 MB of samples; a copy would show, also one that is given back."""
    call = f"log_mel(audio, out=out, smoothing={smoothing!r})"
    _, peak = growth(call, LONG, repeat=3)
    assert peak < 4 * SMALL


def test_positive_control_the_peak_shows_a_planted_copy(growth: Growth) -> None:
    warm = "log_mel(audio, out=out)"
    living, peak = growth("log_mel(audio.copy(), out=out)", LONG, repeat=3, warm_call=warm)
    assert peak >= 4 * 16_000 * 600
    assert living < 4 * SMALL


@pytest.mark.parametrize("arguments", ["out=out", "", "out=out, smoothing='same', threads=2"])
def test_memory_is_flat_over_thousands_of_short_calls(arguments: str, growth: Growth) -> None:
    living, _ = growth(f"log_mel(audio, {arguments})", SHORT, repeat=5000, warm=50)
    assert living < SMALL


def test_positive_control_a_planted_leak_shows(growth: Growth) -> None:
    """Of two bytes in every twentieth call."""
    call = "log_mel(audio, out=out); kept.append(bytes(2)) if _ % 20 == 0 else None"
    living, _ = growth(call, SHORT, repeat=5000, warm=50, warm_call="log_mel(audio, out=out)")
    assert living > SMALL


HOUR = """
audio = np.ones(16000 * 3600, np.int16)
log_mel(audio[:160000])
"""


def test_an_hour_in_one_call_takes_the_memory_of_its_output(growth: Growth) -> None:
    output = 4 * 80 * 360_000
    _, peak = growth("kept.append(log_mel(audio))", HOUR, repeat=1, warm=0)
    assert output <= peak < output + MEGABYTE


def test_positive_control_an_hour_copied_shows(growth: Growth) -> None:
    output, copy = 4 * 80 * 360_000, 2 * 16_000 * 3600
    living, peak = growth("kept.append(log_mel(audio.copy()))", HOUR, repeat=1, warm=0)
    assert peak >= output + copy
    assert living < output + MEGABYTE
