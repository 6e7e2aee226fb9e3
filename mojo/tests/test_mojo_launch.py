"""What a launch asks of the CUDA driver, counted by a stand-in: there need be no GPU."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
from launching import PLANTS, QUERIES, calls, require_one_launch_only
from whisper_mel_mojo.builder import built_library
from whisper_mel_mojo.gpu.launcher import LAUNCH
from whisper_mel_mojo.gpu.targets import NVIDIA
from whisper_mel_mojo.library import library

pytestmark = pytest.mark.torch

if importlib.util.find_spec("max") is None:
    pytest.skip("compiling for GPUs takes the package max", allow_module_level=True)


@pytest.fixture(scope="module")
def clustered() -> Path:
    return built_library(LAUNCH, *NVIDIA["sm_90a"].options)


def test_one_launch_and_nothing_else(driver: Path, clustered: Path) -> None:
    other_call = {
        "n_mels": 128,
        "is_int16": 1,
        "smoothing": 2,
        "clips": 3,
        "lengths": "LENGTHS",
        "pad_to": 500_000,
        "stream": 7,
    }
    loading, again, other, default = calls(driver, clustered, {}, {}, other_call, {"stream": 0})
    launched = (
        "cuLaunchKernelEx grid=2048 block=256 cluster=8 shared=76668 stream={} audio=AUDIO "
        "lengths=OUT out=OUT int16=0 ragged=0 smoothing=0 samples=480000 stride=480000 pad=0"
    )
    # The first call loads the kernels; later ones only launch.
    assert loading.log.count("cuModuleLoadDataEx") == 6
    # Clusters of 16; shared memory
    for attribute in ("14 1", "8 76668", "8 149628", "8 231548", "8 224124"):
        assert f"cuFuncSetAttribute {attribute}" in loading.log
    assert loading.launches == [launched.format("0x4d2")]
    assert not [line for line in loading.log if line.startswith("cuMemcpy")]
    for answer in (again, other, default):
        require_one_launch_only(answer)
    assert again.launches == [launched.format("0x4d2")]
    assert default.launches == [launched.format("0x1")]  # by name: the legacy default stream
    assert other.launches == [
        "cuLaunchKernelEx grid=48 block=256 cluster=16 shared=224124 stream=0x7 audio=AUDIO "
        "lengths=LENGTHS out=OUT int16=1 ragged=1 smoothing=2 samples=480000 stride=480000 "
        "pad=500000"
    ]


@pytest.mark.nightly
def test_devices_without_clusters(driver: Path, alone: Path) -> None:
    """One block for each clip, however many they are, and however long."""
    changes = {"clips": 70_000, "samples": 300, "clip_stride": 160, "out_len": 70_000 * 80}
    loading, many, long = calls(
        driver,
        alone,
        {},
        changes,
        {"clips": 1, "samples": 100_000_000, "is_int16": 1, "n_mels": 128},
    )
    for answer in (many, long):
        require_one_launch_only(answer)
    assert loading.log.count("cuModuleLoadDataEx") == 4  # two kernels for each number of bands
    assert "grid=70000 block=128 cluster=1 shared=40188 " in many.launches[0]
    assert "grid=1 block=128 cluster=1 shared=40188 " in long.launches[0]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"audio": "HOST"}, "audio is not in a device's memory, or has been freed"),
    ({"audio": "PINNED"}, "audio is not in a device's memory, or has been freed"),
    ({"audio": "FREED"}, "audio is not in a device's memory, or has been freed"),
    ({"out": "HOST"}, "out is not in a device's memory, or has been freed"),
    ({"out": "PINNED"}, "out is not in a device's memory, or has been freed"),
    ({"out": "FREED"}, "out is not in a device's memory, or has been freed"),
    ({"lengths": "HOST"}, "lengths are not in a device's memory, or have been freed"),
    ({"lengths": "FREED"}, "lengths are not in a device's memory, or have been freed"),
    ({"out": "ELSEWHERE", "clips": 1}, "out is on another device than audio"),
    ({"lengths": "ELSEWHERE"}, "lengths are on another device than audio"),
    # One sample, length or value more than there is memory for.
    ({"audio": "AUDIO+4"}, "audio goes beyond the end of its allocation"),
    ({"samples": 480_001}, "audio goes beyond the end of its allocation"),
    ({"clip_stride": 480_001}, "audio goes beyond the end of its allocation"),
    ({"clip_stride": -1, "clips": 2}, "audio is not in a device's memory, or has been freed"),
    ({"lengths": "LENGTHS+8"}, "lengths go beyond the end of their allocation"),
    (
        {"out": f"OUT+{4 * (256 * 128 * 3125 - 80 * 3000) + 4}", "clips": 1},
        "the features go beyond the end of out's allocation",
    ),
    ({"out": "MAPPED", "clips": 5}, "the features go beyond the end of out's allocation"),
]
FITS: list[dict[str, Any]] = [
    {"out": f"OUT+{4 * (256 * 128 * 3125 - 80 * 3000)}", "clips": 1},
    {"lengths": "LENGTHS+2040", "clips": 1},
    {"audio": "AUDIO+1920000", "clip_stride": -480_000, "clips": 2},
    {"out": "MAPPED", "clips": 4},  # in two ranges, one after the other
    # What is promised is more than there is, but not used.
    {"audio": "MAPPED", "clips": 3, "is_int16": 1, "out_len": 1 << 40},
]


def test_addresses_that_the_kernel_may_not_have(driver: Path, clustered: Path) -> None:
    """Refused with a reason, and nothing is launched; right ones after them still work."""
    _, *answers, last = calls(driver, clustered, {}, *[changes for changes, _ in REFUSED], {})
    for answer, (changes, message) in zip(answers, REFUSED, strict=True):
        assert answer.message == message, changes
        assert answer.log == [], changes
    require_one_launch_only(last)


def test_addresses_up_to_the_last_byte(driver: Path, clustered: Path) -> None:
    _, *answers = calls(driver, clustered, {}, *FITS)
    for answer in answers:
        require_one_launch_only(answer)


def test_arguments_that_are_wrong_are_not_launched(driver: Path, clustered: Path) -> None:
    _, *answers = calls(
        driver,
        clustered,
        {},
        {"audio": 0},
        {"n_mels": 81},
        {"out_len": 256 * 80 * 3000 - 1},
        {"samples": 200},
    )
    assert [library().message(answer.status) for answer in answers] == [
        b"audio or out is null",
        b"n_mels must be 80 or 128",
        b"the features do not fit into out_len floats",
        b"at least 201 samples are needed, or pad_to",
    ]
    assert [answer.log for answer in answers] == [[]] * 4


@pytest.mark.nightly
def test_more_than_a_launch_is_seen(driver: Path, alone: Path) -> None:
    """What `require_one_launch_only` requires can fail: here are launches that do more."""
    _, *answers = calls(driver, alone, {}, *({"stream": stream} for stream in PLANTS))
    for answer, (_, seen) in zip(answers, PLANTS.values(), strict=True):
        extra = [line for line in answer.log if line not in QUERIES][1:]
        assert re.search(seen, "\n".join(extra)), answer.log
        with pytest.raises(AssertionError):
            require_one_launch_only(answer)
