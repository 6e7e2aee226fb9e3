"""A release up to its publication: what would be published is built, checked, installed and used.

Packages come from a folder, as from an index, into an environment that has nothing else. There the
suite judges a front-end in a folder without this checkout.
"""

from __future__ import annotations

import email
import importlib.metadata
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from checkout.paths import PACKAGES, ROOT

from release import publication, sbom, wheels

FOREIGN = """
import numpy as np

def log_mel(audio, n_mels=80):
    if audio.dtype != np.float32 or audio.ndim != 1 or len(audio) < 201:
        raise ValueError("expected float32 samples, at least 201")
    if not np.isfinite(audio).all():
        raise ValueError("expected finite samples")
    step = np.log(6.4) / 27
    mel = np.linspace(0, 15 + np.log(8) / step, n_mels + 2)
    hertz = np.where(mel < 15, 200 * mel / 3, 1000 * np.exp((mel - 15) * step))
    low, mid, high = hertz[:-2, None], hertz[1:-1, None], hertz[2:, None]
    bins = np.arange(201) * 40
    heights = np.minimum((bins - low) / (mid - low), (high - bins) / (high - mid))
    bank = heights.clip(0) * 2 / (high - low)
    padded = np.pad(audio.astype(float), 200, "reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][: len(audio) // 160]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    power = abs(np.fft.rfft(frames * window)) ** 2
    log = np.log10(np.einsum("bk,tk->bt", bank, power).clip(1e-10))  # BLAS does not survive a fork
    return ((log.clip(log.max() - 8) + 4) / 4).astype(np.float32)
"""
WRONG = ("np.arange(400) / 400", "np.arange(400) / 399")
_LOADER = """
import sys
sys.path.insert(0, "loaders")
from vectors import judge
from whisper_mel_mojo import log_mel
ours = lambda audio, n_mels, pad_to: log_mel(audio, n_mels, pad_to=pad_to or None)
score, name = judge(".", ours)
sys.exit(not score <= 1)
"""


class Failed(Exception):
    """Failure of a step of the rehearsal; the message says what went wrong."""


def run() -> int:
    """Rehearse in a folder of its own; return 1 after a message if something is wrong."""
    with tempfile.TemporaryDirectory(prefix="whisper-mel-") as name:
        folder = Path(name)
        dist = folder / "dist"
        try:
            _say("build")
            build(dist)
            _say("metadata")
            for path in sorted(dist.iterdir()):
                check(path)
            _say("install from a folder of wheels")
            python = install(folder, dist)
            _say("judge, without this checkout")
            judge(folder, python)
            _say("vectors")
            with tarfile.open(next(dist.glob("*-quick.tar.gz"))) as archive:
                archive.extraction_filter = getattr(tarfile, "data_filter", None)  # new Pythons
                archive.extractall(folder)
            (unpacked,) = folder.glob("whisper-mel-vectors-*")
            _call([python, "-c", _LOADER], unpacked)
        except Failed as error:
            print(f"build rehearse: {error}", file=sys.stderr)
            return 1
        left = publication.not_ready(dist, f"v{_version()}")
    print("rehearsed", f"before the release: {left}" if left else "ready", sep="; ")
    return 0


def _say(step: str) -> None:
    print(f"== {step}", flush=True)


def _version() -> str:
    return importlib.metadata.version("whisper-mel-conformance")


def _call(command: list[str | Path], folder: Path, expected: int = 0) -> str:
    """Run a program without this environment's variables; return what it says.

    Raises ``Failed`` for another exit status than ``expected``.
    """
    own = {"HOME": str(folder), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True)
    if done.returncode != expected:
        said = (done.stdout + done.stderr)[-2000:]
        raise Failed(f"{' '.join(map(str, command))[:200]}: status {done.returncode}\n{said}")
    return done.stdout


def build(dist: Path) -> None:
    """Build all that a release has; the kernel's wheel without libraries for GPUs."""
    from whisper_mel_golden import vectors

    if wheels.build(dist, [package.name for package in PACKAGES], []):
        raise Failed("the wheels could not be built")
    vectors.pack_all(dist)
    sbom.write(dist)


def check(path: Path) -> None:
    """Check the metadata of a wheel or of a source distribution as an index does; others pass.

    Raises ``Failed``.
    """
    from packaging.metadata import Metadata

    text = _metadata(path)
    if text is None:
        return
    try:
        found = Metadata.from_email(text, validate=True)
    except Exception as error:  # a group of them, by a name that Python 3.10 does not have
        said = "; ".join(map(str, getattr(error, "exceptions", [error])))
        raise Failed(f"{path.name}: {said}") from error
    message = email.message_from_bytes(text)
    wanted = ("Summary", "Requires-Python", "License-Expression", "License-File", "Project-URL")
    missing = [key for key in wanted if key not in message]
    missing += [] if found.description else ["a description"]
    if missing:
        raise Failed(f"{path.name}: expected {', '.join(missing)} in its metadata")
    if str(found.version) != _version():
        raise Failed(f"{path.name} has version {found.version}: expected {_version()}")


def _metadata(path: Path) -> bytes | None:
    """Return the core metadata in a distribution; None of another file."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            (name,) = (it for it in wheel.namelist() if it.endswith(".dist-info/METADATA"))
            return wheel.read(name)
    if path.name.startswith("whisper_mel_") and path.name.endswith(".tar.gz"):
        with tarfile.open(path) as source:
            (name,) = (
                it for it in source.getnames() if it.count("/") == 1 and it.endswith("/PKG-INFO")
            )
            file = source.extractfile(name)
            assert file is not None
            return file.read()
    return None


def install(folder: Path, dist: Path) -> Path:
    """Install our packages from ``dist`` into a new environment; return its Python.

    What they need is downloaded first, by the lock's hashes; the installation has no index.
    """
    needed = folder / "needed"
    lines = [
        f"{it['name']}=={it['version']} "
        + " ".join(f"--hash=sha256:{digest['content']}" for digest in it["hashes"])
        for it in sbom.made()["components"]
        if it.get("scope") == "required"
    ]
    (folder / "needed.txt").write_text("\n".join(lines) + "\n")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    download = [*pip, "download", "--require-hashes", "--no-deps", "--dest", str(needed)]
    if subprocess.call([*download, "--requirement", str(folder / "needed.txt")]):
        raise Failed("what the packages need could not be downloaded")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    links = [f"--find-links={place}" for place in (dist, needed)]
    names = [f"whisper-mel-{package.name}" for package in PACKAGES]
    _call([python, "-m", "pip", "install", "--quiet", "--no-index", *links, *names], folder)
    return python


def judge(folder: Path, python: Path) -> None:
    """Judge a front-end that is right and one that is wrong, by wheels only; raise ``Failed``."""
    theirs = folder / "theirs"
    theirs.mkdir()
    (theirs / "right.py").write_text(FOREIGN)
    (theirs / "wrong.py").write_text(FOREIGN.replace(*WRONG))
    command: list[str | Path] = [python.with_name("whisper-mel")]
    _call([*command, "judge", "--frontend", "right.py:log_mel", "--frontend", "mojo-cpu"], theirs)
    said = _call([*command, "diagnose", "wrong.py:log_mel", "--report", "wrong"], theirs, 1)
    if "symmetric-window" not in said:
        raise Failed(f"the fault of wrong.py was not named:\n{said[-2000:]}")
    for path in theirs.rglob("*.json"):
        if str(ROOT) in path.read_text():
            raise Failed(f"{path.name} names a path of this checkout")
