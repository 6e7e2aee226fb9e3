"""A bug report reproduced: CUDA_ERROR_ILLEGAL_ADDRESS, host pointers and 97 frames out of 98.

Run with `./dev gpu reproduce`. The faults are built as they were (``bug_report.mojo``), and planted
in our own launch. What finds them without a GPU: AddressSanitizer, to which the host's memory is
out of bounds while a kernel's threads run; and the driver's own account of an address, before a
launch. That our own kernel computes a frame too few is found by the emulator
(``test_mojo_emulated_kernel.py``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from launching import calls, require_one_launch_only
from plants import planted, run_sanitized
from whisper_mel_mojo.builder import built_library

SOURCE = Path(__file__).with_name("bug_report.mojo")

USE = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
library.bug_report.argtypes = 4 * [ctypes.c_ssize_t]
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_ssize_t
libc.malloc.argtypes = [ctypes.c_ssize_t]
libc.memset.argtypes = [ctypes.c_ssize_t, ctypes.c_int, ctypes.c_ssize_t]
libc.__asan_poison_memory_region.argtypes = 2 * [ctypes.c_ssize_t]
SAMPLES = 16_000
frames = [library.bug_report_frames(SAMPLES, promised) for promised in (0, 1)]
print(frames, flush=True)

def memory(floats):
    address = libc.malloc(4 * floats)
    libc.memset(address, 0, 4 * floats)
    return address

# On a device, the host's memory is out of reach.
of_host = memory(SAMPLES)
libc.__asan_poison_memory_region(of_host, 4 * SAMPLES)
of_device = memory(SAMPLES)
audio = of_host if sys.argv[2] == "host" else of_device
library.bug_report(audio, SAMPLES, memory(80 * frames[0]), memory(78 * 96))
print("done")
"""


def built(folder: Path, *options: str) -> Path:
    source = planted(folder, {}) / SOURCE.name  # beside a kernel
    source.write_text(SOURCE.read_text())
    return built_library(source, "--sanitize", "address", "-g1", "-O1", *options)


def test_97_frames_computed_where_98_are_promised(sanitizer: str, tmp_path: Path) -> None:
    """The second kernel reads behind the memory of the first one's result."""
    result = run_sanitized(built(tmp_path), "device", program=USE)
    assert result.stdout == "[97, 98]\n"
    assert result.returncode != 0
    assert "heap-buffer-overflow" in result.stderr
    assert "READ of size 4" in result.stderr
    assert "smooth" in result.stderr.split("is located")[0]
    assert re.search(r"bug_report\.mojo:\d+", result.stderr)


@pytest.mark.nightly
def test_a_host_pointer_is_handed_to_the_kernel(sanitizer: str, tmp_path: Path) -> None:
    """To the threads of a device it is an illegal address; here, poisoned memory."""
    result = run_sanitized(built(tmp_path, "-D", "REPAIRED"), "host", program=USE)
    assert result.stdout == "[98, 98]\n"
    assert result.returncode != 0
    assert "use-after-poison" in result.stderr
    assert "READ of size 4" in result.stderr
    assert "energy" in result.stderr.split("Shadow bytes")[0]


@pytest.mark.nightly
def test_the_repaired_one_is_clean(sanitizer: str, tmp_path: Path) -> None:
    """Device memory, and as many frames as promised: the sanitizer has nothing to say."""
    result = run_sanitized(built(tmp_path, "-D", "REPAIRED"), "device", program=USE)
    assert (result.returncode, result.stdout) == (0, "[98, 98]\ndone\n"), result.stderr


@pytest.mark.nightly
def test_our_launch_without_its_checks(driver: Path, alone: Path) -> None:
    """The launch as the report had it goes through with any address; with its checks, none does."""
    second = {"clips": 1, "samples": 16_000, "out_len": 80 * 100}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"audio": "HOST"}, "audio is not in a device's memory, or has been freed"),
        ({"out": "HOST"}, "out is not in a device's memory, or has been freed"),
        ({"out": "FREED"}, "out is not in a device's memory, or has been freed"),
        (
            {"out": f"OUT+{4 * (256 * 128 * 3125 - 80 * 99)}"},  # room for a frame too few
            "the features go beyond the end of out's allocation",
        ),
    ]
    unchecked = [{**second, **changes, "stream": 1005} for changes, _ in wrong]
    checked = [{**second, **changes} for changes, _ in wrong]
    _, *answers = calls(driver, alone, {}, *unchecked, *checked)
    for answer, (changes, _) in zip(answers[: len(wrong)], wrong, strict=True):
        require_one_launch_only(answer)
        for argument, value in changes.items():
            if "+" not in value:
                assert f"{argument}={value} " in answer.launches[0]
    for answer, (_, message) in zip(answers[len(wrong) :], wrong, strict=True):
        assert (answer.message, answer.log) == (message, [])
