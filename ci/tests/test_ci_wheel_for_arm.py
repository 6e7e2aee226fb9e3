"""The wheel for 64-bit ARM on Linux, in a Python for that processor, executed by qemu.

Nightly: it takes a package index, and Debian's packages of Python for ARM (20 MB).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from programs import ran
from release import wheels
from whisper_mel_mojo import log_mel
from whisper_mel_mojo.emulated.machines import MACHINES

pytestmark = [pytest.mark.nightly, pytest.mark.compiles]

ARM = MACHINES["aarch64"]
CALLS = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np, platform
from whisper_mel_mojo import library, log_mel
audio = np.load("audio.npy")
pcm = (audio[:9000].reshape(3, -1) * 32767).astype(np.int16)
np.savez("features.npz", plain=log_mel(audio, 128), padded=log_mel(audio, pad_to=60_000, threads=2),
         smoothed=log_mel(audio, smoothing="same"), batch=log_mel(pcm[::-1]))
print(platform.machine(), library.built_library())
try:
    log_mel(np.full(1000, np.nan, np.float32))
except ValueError as error:
    print(error)
"""


def packages(folder: Path) -> list[str]:
    """The options of apt-get for another architecture's packages, apart from this system's own."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures::": "arm64",
        "Dir::State": str(folder / "state"),
        "Dir::State::status": "/dev/null",
        "Dir::Cache": str(folder / "cache"),
        "Debug::NoLocking": "1",
    }
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of a Python for ARM; its NumPy is in the folder ``site`` beside its root."""
    if ARM.missing() or shutil.which("apt-get") is None:
        pytest.skip(ARM.missing() or "there is no apt-get")
    folder = tmp_path_factory.mktemp("arm")
    get = ["apt-get", "-qq", *packages(folder)]
    wanted = ["-y", "--no-install-recommends", "--download-only", "install", "python3"]
    for command in ([*get, "update"], [*get, *wanted, "libstdc++6"]):
        done = ran(command)
        if done.returncode != 0:
            pytest.skip(f"no packages for ARM can be had: {done.stderr.strip()[-200:]}")
    root = folder / "root"
    for package in (folder / "cache" / "archives").glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(root)], check=True)
    [program] = (it for it in (root / "usr/bin").glob("python3.*") if it.suffix[1:].isdecimal())
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(folder)]
    download += ["--only-binary=:all:", "--platform", "manylinux_2_28_aarch64"]
    download += ["--platform", "manylinux_2_27_aarch64", "--python-version", program.name[6:]]
    subprocess.run([*download, "numpy>=2"], check=True)
    [numpy] = folder.glob("numpy-*.whl")
    with zipfile.ZipFile(numpy) as packed:
        packed.extractall(folder / "site")
    return [ARM.emulator[0], "-L", str(root), str(program), "-I", "-S"]


def test_the_wheel_is_imported_and_gives_the_bits_of_this_processor(
    python: list[str], tmp_path: Path
) -> None:
    (tmp_path / "dist").mkdir()
    assert wheels.build_for(tmp_path / "dist", ARM.name) == 0
    [wheel] = (tmp_path / "dist").iterdir()
    assert wheel.name.endswith("-py3-none-manylinux_2_34_aarch64.whl")
    site = Path(python[2]).with_name("site")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    audio = np.random.default_rng(0).uniform(-0.1, 0.1, 50_000).astype(np.float32)
    np.save(tmp_path / "audio.npy", audio)
    done = ran([*python, "-c", CALLS, str(site)], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"aarch64 {site}/whisper_mel_mojo/prebuilt/mel_kernel-generic-")
    assert done.stdout.endswith("audio[0] is nan: expected finite samples\n")
    pcm = (audio[:9000].reshape(3, -1) * 32767).astype(np.int16)
    with np.load(tmp_path / "features.npz") as features:
        np.testing.assert_array_equal(features["plain"], log_mel(audio, 128))
        np.testing.assert_array_equal(features["padded"], log_mel(audio, pad_to=60_000))
        np.testing.assert_array_equal(features["smoothed"], log_mel(audio, smoothing="same"))
        np.testing.assert_array_equal(features["batch"], log_mel(pcm[::-1]))
