"""Calls of a library that launches the kernel, with the stand-in for the driver."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import fake_driver
from whisper_mel_mojo.builder import SOURCE, built_library
from whisper_mel_mojo.gpu.launcher import LAUNCH
from whisper_mel_mojo.gpu.targets import NVIDIA

# Calls that may come with every launch: they change nothing on the device.
QUERIES = {"cuCtxSetCurrent", "cuCtxPushCurrent", "cuCtxPopCurrent", "cuStreamGetCaptureInfo_v2"}

CALLS = """
import ast, ctypes, os, pathlib, sys
from whisper_mel_mojo.gpu import launcher
from whisper_mel_mojo.gpu.cuda import driver
library = launcher.opened(pathlib.Path(sys.argv[1]))
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


# What a call does besides, on streams of their own; and what is seen of it.
PLANTS = {
    1001: (
        "self.bands80.launch(self.context, self.streams[stream], batch, clips)",
        "cuLaunchKernelEx",
    ),
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


def library_for_one_block(folder: Path) -> Path:
    """For devices without clusters and the plain form, with ``PLANTS``; without checks on stream
    1005.
    """
    for file in SOURCE.parent.glob("*.mojo"):
        (folder / file.name).write_text(file.read_text())
    source = LAUNCH.read_text()
    line = "            self.bands80.launch(self.context, self.streams[stream], batch, clips)\n"
    assert source.count(line) == 1
    planted = "".join(
        f"            if stream == {stream}:\n                {code}\n"
        for stream, (code, _) in PLANTS.items()
    )
    source = source.replace(line, line + planted)
    # Nobody asks it for other forms, whose kernels would take most of the time.
    for kind in ("FORMED", "DIRECT", "DIRECT + 1", "DIRECT + 2"):
        assert source.count(f"[Self.n_mels, {kind}]") == 2
        source = source.replace(f"[Self.n_mels, {kind}]", "[Self.n_mels, MANY]")
    # Without its checks, see test_mojo_bug_report.py.
    for check, unchecked in UNCHECKED.items():
        assert source.count(check) == 1
        source = source.replace(check, unchecked)
    (folder / LAUNCH.name).write_text(source)
    return built_library(folder / LAUNCH.name, *NVIDIA["sm_80"].options)


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
