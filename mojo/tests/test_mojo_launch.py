"""What a launch asks of the CUDA driver, counted by a stand-in: there need be no GPU."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import fake_driver
import pytest
from whisper_mel_mojo.accelerators import Accelerator
from whisper_mel_mojo.builder import SOURCE, built_library
from whisper_mel_mojo.gpu import LAUNCH
from whisper_mel_mojo.library import library

if importlib.util.find_spec("max") is None:
    pytest.skip("compiling for GPUs takes the package max", allow_module_level=True)

# Calls that may come with every launch: they change nothing on the device.
QUERIES = {"cuCtxSetCurrent", "cuCtxPushCurrent", "cuCtxPopCurrent", "cuStreamGetCaptureInfo_v2"}
HOPPER = Accelerator("sm_90a", clusters=True)

CALLS = """
import ast, ctypes, os, pathlib, sys
from whisper_mel_mojo import gpu
from whisper_mel_mojo.cuda import driver
library = gpu._opened(pathlib.Path(sys.argv[1]))
library.whisper_mel_launch.argtypes = 12 * [ctypes.c_ssize_t]
stand_in = ctypes.CDLL("libcuda.so.1")
stand_in.fake_mapped.restype = ctypes.c_ssize_t
pinned = ctypes.c_void_p()
stand_in.cuMemHostAlloc(ctypes.byref(pinned), ctypes.c_size_t(1 << 20), 0)
host = ctypes.create_string_buffer(1 << 20)
memory = {
    "AUDIO": driver().allocate(0, 4 * 256 * 480_000),
    "OUT": driver().allocate(0, 4 * 256 * 128 * 3125),
    "LENGTHS": driver().allocate(0, 8 * 256),
    "ELSEWHERE": driver().allocate(1, 1 << 20),
    "FREED": driver().allocate(0, 1 << 20),
    "HOST": ctypes.addressof(host),
    "PINNED": pinned.value,
    "MAPPED": stand_in.fake_mapped(),
}
driver().free(0, memory["FREED"])
right = {
    "audio": "AUDIO",
    "is_int16": 0,
    "clips": 256,
    "samples": 480_000,
    "clip_stride": 480_000,
    "pad_to": 0,
    "n_mels": 80,
    "smoothing": 0,
    "out": "OUT",
    "out_len": 256 * 128 * 3125,
    "lengths": 0,
    "stream": 0x4D2,
}

def note():
    with open(os.environ["FAKE_DRIVER_LOG"], "a") as log:
        log.write("call\\n")

def number(value):
    if isinstance(value, int):
        return value
    name, _, offset = value.partition("+")
    return memory[name] + int(offset or 0)

print(memory)
for changes in ast.literal_eval(sys.argv[2]):
    assert changes.keys() <= right.keys()
    note()
    status = library.whisper_mel_launch(*map(number, {**right, **changes}.values()))
    message = library.whisper_mel_launch_message(status).decode() if status >= 100 else ""
    print((status, message))
note()
"""


class Answer(NamedTuple):
    status: int
    message: str
    log: list[str]
    """What the driver was asked for; addresses by their names."""

    @property
    def launches(self) -> list[str]:
        return [line for line in self.log if line.startswith("cuLaunch")]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_driver.make(tmp_path_factory.mktemp("driver"))


@pytest.fixture(scope="module")
def clustered() -> Path:
    return built_library(LAUNCH, *HOPPER.options)


# What a call does besides, on streams of their own; and what is seen of it.
PLANTS = {
    1001: ("self.bands80.launch(self.streams[stream], batch, clips)", "cuLaunchKernelEx"),
    1002: ("self.context.enqueue_copy(batch.out_, batch.audio, 16)", "cuMemcpy"),
    1003: ("_ = self.context.enqueue_create_buffer[DType.float32](1 << 20)", "cuMem(Alloc|Create)"),
    1004: ("self.context.synchronize()", "Synchronize"),
}

UNCHECKED = {
    "        if number < 0:\n": (
        "        if stream == 1005:\n            number = 0\n        if number < 0:\n"
    ),
    "            try:\n                if status == OK:\n": (
        "            if stream == 1005:\n                status = OK\n"
        "            try:\n                if status == OK:\n"
    ),
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For devices without clusters, and with the planted calls."""
    folder = tmp_path_factory.mktemp("planted")
    for file in SOURCE.parent.glob("*.mojo"):
        (folder / file.name).write_text(file.read_text())
    source = LAUNCH.read_text()
    line = "            self.bands80.launch(self.streams[stream], batch, clips)\n"
    assert source.count(line) == 1
    planted = "".join(
        f"            if stream == {stream}:\n                {code}\n"
        for stream, (code, _) in PLANTS.items()
    )
    source = source.replace(line, line + planted)
    # Without its checks, see test_mojo_bug_report.py.
    for check, unchecked in UNCHECKED.items():
        assert source.count(check) == 1
        source = source.replace(check, unchecked)
    (folder / LAUNCH.name).write_text(source)
    return built_library(folder / LAUNCH.name, *Accelerator("sm_80").options)


def calls(driver: Path, path: Path, *changes: dict[str, Any]) -> Sequence[Answer]:
    """One call after the other, each with changes to what is right."""
    memory, *answers = fake_driver.run(driver, CALLS, str(path), repr(changes)).splitlines()
    text = (driver / "log").read_text()
    for name, address in ast.literal_eval(memory).items():
        text = text.replace(f"{address:#x}", name)
    logs = [part.splitlines() for part in text.split("call\n")[1:-1]]
    pairs = map(ast.literal_eval, answers)
    return [
        Answer(status, message, log) for (status, message), log in zip(pairs, logs, strict=True)
    ]


def require_one_launch_only(answer: Answer) -> None:
    """One launch; no copy, no allocation, no wait, nothing else that is not a query."""
    assert answer.status == 0, answer.message
    assert len(answer.launches) == 1
    assert [line for line in answer.log if line not in QUERIES] == answer.launches


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
        "cuLaunchKernelEx grid=2048 block=256 cluster=8 shared=229456 stream={} audio=AUDIO "
        "lengths=OUT out=OUT int16=0 ragged=0 smoothing=0 samples=480000 stride=480000 pad=0"
    )
    # The first call loads the kernels; later ones only launch.
    assert loading.log.count("cuModuleLoadDataEx") == 2
    for attribute in ("14 1", "8 229456", "8 223312"):  # clusters of 16; shared memory
        assert f"cuFuncSetAttribute {attribute}" in loading.log
    assert loading.launches == [launched.format("0x4d2")]
    assert not [line for line in loading.log if line.startswith("cuMemcpy")]
    for answer in (again, other, default):
        require_one_launch_only(answer)
    assert again.launches == [launched.format("0x4d2")]
    assert default.launches == [launched.format("0x1")]  # by name: the legacy default stream
    assert other.launches == [
        "cuLaunchKernelEx grid=48 block=256 cluster=16 shared=223312 stream=0x7 audio=AUDIO "
        "lengths=LENGTHS out=OUT int16=1 ragged=1 smoothing=2 samples=480000 stride=480000 "
        "pad=500000"
    ]


def test_devices_without_clusters(driver: Path, alone: Path) -> None:
    """One block for each clip, however many they are, and however long."""
    changes = {"clips": 70_000, "samples": 300, "clip_stride": 160, "out_len": 70_000 * 80}
    _, many, long = calls(
        driver,
        alone,
        {},
        changes,
        {"clips": 1, "samples": 100_000_000, "is_int16": 1, "n_mels": 128},
    )
    for answer in (many, long):
        require_one_launch_only(answer)
    assert "grid=70000 block=128 cluster=1 shared=44496 " in many.launches[0]
    assert "grid=1 block=128 cluster=1 shared=47568 " in long.launches[0]


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


def test_more_than_a_launch_is_seen(driver: Path, alone: Path) -> None:
    """What `require_one_launch_only` requires can fail: here are launches that do more."""
    _, *answers = calls(driver, alone, {}, *({"stream": stream} for stream in PLANTS))
    for answer, (_, seen) in zip(answers, PLANTS.values(), strict=True):
        extra = [line for line in answer.log if line not in QUERIES][1:]
        assert re.search(seen, "\n".join(extra)), answer.log
        with pytest.raises(AssertionError):
            require_one_launch_only(answer)
