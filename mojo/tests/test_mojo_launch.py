"""What a launch asks of the CUDA driver, counted by a stand-in: there need be no GPU."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from whisper_mel_mojo.builder import SOURCE, built_library
from whisper_mel_mojo.library import library

if importlib.util.find_spec("max") is None:
    pytest.skip("compiling for GPUs takes the package max", allow_module_level=True)

# Calls that may come with every launch: they change nothing on the device.
QUERIES = {"cuCtxSetCurrent", "cuCtxPushCurrent", "cuCtxPopCurrent", "cuStreamGetCaptureInfo_v2"}

USE = """
import ctypes, os, sys
launch = ctypes.CDLL(sys.argv[1]).whisper_mel_launch
launch.argtypes = 12 * [ctypes.c_ssize_t]
launch.restype = ctypes.c_ssize_t
for line in sys.stdin:
    with open(os.environ["FAKE_DRIVER_LOG"], "a") as log:
        log.write("call\\n")
    print(launch(*map(int, line.split())))
with open(os.environ["FAKE_DRIVER_LOG"], "a") as log:
    log.write("call\\n")
"""
AUDIO, OUT, LENGTHS, STREAM = 0x10_0000_0000, 0x20_0000_0000, 0x30_0000_0000, 0x4D2


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stand-ins for the driver's libraries."""
    folder = tmp_path_factory.mktemp("driver")
    package = importlib.util.find_spec("modular")
    assert package
    assert package.submodule_search_locations
    places = map(Path, package.submodule_search_locations)
    bindings = next(
        library for place in places for library in place.rglob("libAsyncRTMojoBindings.so")
    ).read_bytes()
    names = set(re.findall(rb"\0((?:cu|nvml)[A-Z]\w+)(?=\0)", bindings))
    stubs = [
        f'__attribute__((weak)) int {name}() {{ note("{name}"); return 0; }}'
        for name in sorted(name.decode() for name in names)
    ]
    (folder / "stubs.c").write_text("void note(const char *);\n" + "\n".join(stubs))
    command = ["gcc", "-shared", "-fPIC", "-w", "-o", "libcuda.so.1"]
    sources = [str(Path(__file__).with_name("fake_driver.c")), "stubs.c"]
    subprocess.run([*command, *sources], cwd=folder, check=True)
    (folder / "libnvidia-ml.so.1").symlink_to("libcuda.so.1")
    return folder


def calls(driver: Path, path: Path, *arguments: tuple[int, ...]) -> tuple[list[int], list[str]]:
    """The status of each call, and for each the lines that the driver wrote."""
    log = driver / "log"
    log.write_text("")
    result = subprocess.run(
        [sys.executable, "-c", USE, str(path)],
        input="\n".join(" ".join(map(str, call)) for call in arguments),
        env={**os.environ, "LD_LIBRARY_PATH": str(driver), "FAKE_DRIVER_LOG": str(log)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert result.stderr == ""
    return [int(line) for line in result.stdout.split()], log.read_text().split("call\n")[1:-1]


@pytest.fixture(scope="module")
def clustered() -> Path:
    launch = SOURCE.with_name("launch.mojo")
    return built_library(launch, "--target-accelerator", "sm_90a", "-D", "CLUSTERS")


def arguments(**changes: int) -> tuple[int, ...]:
    right = {
        "audio": AUDIO,
        "is_int16": 0,
        "clips": 256,
        "samples": 480_000,
        "clip_stride": 480_000,
        "pad_to": 0,
        "n_mels": 80,
        "smoothing": 0,
        "out": OUT,
        "out_len": 256 * 128 * 3000,
        "lengths": 0,
        "stream": STREAM,
    }
    assert changes.keys() <= right.keys()
    return tuple({**right, **changes}.values())


def test_one_launch_and_nothing_else(driver: Path, clustered: Path) -> None:
    statuses, logs = calls(
        driver,
        clustered,
        arguments(),
        arguments(),
        arguments(n_mels=128, is_int16=1, smoothing=2, clips=3, lengths=LENGTHS, pad_to=500_000),
    )
    assert statuses == [0, 0, 0]
    launched = [
        f"cuLaunchKernelEx grid=2048 block=256 cluster=8 shared=229456 stream=0x4d2 "
        f"audio={AUDIO:#x} lengths={OUT:#x} out={OUT:#x} int16=0 ragged=0 smoothing=0 "
        "samples=480000 stride=480000 pad=0",
        f"cuLaunchKernelEx grid=48 block=256 cluster=16 shared=223312 stream=0x4d2 "
        f"audio={AUDIO:#x} lengths={LENGTHS:#x} out={OUT:#x} int16=1 ragged=1 smoothing=2 "
        "samples=480000 stride=480000 pad=500000",
    ]
    loading, again, other = (log.splitlines() for log in logs)
    # The first call loads the kernels; later ones only launch: no copy, no allocation, no wait.
    assert loading.count("cuModuleLoadDataEx") == 2
    for attribute in ("14 1", "8 229456", "8 223312"):  # clusters of 16; shared memory
        assert f"cuFuncSetAttribute {attribute}" in loading
    assert [line for line in loading if line.startswith("cuLaunch")] == launched[:1]
    assert not [line for line in loading if line.startswith("cuMemcpy")]
    assert [line for line in again if line not in QUERIES] == launched[:1]
    assert [line for line in other if line not in QUERIES] == launched[1:]


def test_what_is_wrong_is_not_launched(driver: Path, clustered: Path) -> None:
    statuses, logs = calls(
        driver,
        clustered,
        arguments(),
        arguments(audio=0),
        arguments(n_mels=81),
        arguments(out_len=256 * 80 * 3000 - 1),
        arguments(samples=200),
    )
    messages = [library().message(status) for status in statuses]
    assert messages[1:] == [
        b"audio or out is null",
        b"n_mels must be 80 or 128",
        b"the features do not fit into out_len floats",
        b"at least 201 samples are needed, or pad_to",
    ]
    assert logs[1:] == [""] * 4


def test_a_second_launch_and_a_copy_are_seen(driver: Path, tmp_path: Path) -> None:
    """The test above can fail: here is a launch that does more than it should."""
    for file in SOURCE.parent.glob("*.mojo"):
        (tmp_path / file.name).write_text(file.read_text())
    launch = tmp_path / "launch.mojo"
    source = launch.read_text()
    twice = "state.bands80.launch(state.streams[stream], batch, clips)\n"
    assert source.count(twice) == 1
    copy = "state.context.enqueue_copy(batch.out_, batch.audio, 16)\n"
    launch.write_text(source.replace(twice, twice + 16 * " " + twice + 16 * " " + copy))
    path = built_library(launch, "--target-accelerator", "sm_90a", "-D", "CLUSTERS")
    _, logs = calls(driver, path, arguments(), arguments())
    assert logs[1].count("cuLaunchKernelEx") == 2
    assert "cuMemcpy" in logs[1]
