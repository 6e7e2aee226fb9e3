"""The kernel without a build step: its source, and Mojo's importer."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from programs import ran
from whisper_mel_golden.signals import render
from whisper_mel_mojo import log_mel
from whisper_mel_mojo.builder import SOURCE, run_compiler

MODULE = SOURCE.with_name("mel.mojo")

USE = """
import mojo.importer
import mel
import numpy as np

audio = np.load("audio.npy")
np.save("80.npy", mel.log_mel(audio, 80))
backwards = [mel.log_mel(audio[::-1], 128) for _ in range(20)]  # of copies that must live so long
np.save("128.npy", backwards)
for wrong in ((audio[:200], 80), (audio, 81), (audio.astype(np.int16), 80), (audio[None], 80)):
    try:
        mel.log_mel(*wrong)
    except Exception as error:
        print(error)
"""


def test_the_compiler_understands_both_files(tmp_path: Path) -> None:
    """Names and types, which takes two seconds; code is made at night."""
    (tmp_path / "mel").mkdir()
    (tmp_path / "mel" / "__init__.mojo").write_text("from .mel import log_mel\n")
    shutil.copy(MODULE, tmp_path / "mel")
    place = ["-I", str(SOURCE.parent), str(tmp_path / "mel")]
    done = run_compiler(["precompile", *place, "-o", str(tmp_path / "mel.mojoc")])
    assert done.returncode == 0, done.stderr


@pytest.mark.nightly
def test_two_files_and_the_importer(tmp_path: Path) -> None:
    for file in (SOURCE, MODULE):
        shutil.copy(file, tmp_path)
    audio = render({"signal": "noise", "n": 4077, "seed": 0, "gain": 0.1})
    np.save(tmp_path / "audio.npy", audio)
    (tmp_path / "use.py").write_text(USE)
    done = ran(
        [sys.executable, "use.py"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"],
        },
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "80.npy"), log_mel(audio))
    for features in np.load(tmp_path / "128.npy"):
        np.testing.assert_array_equal(features, log_mel(audio[::-1], 128))
    assert done.stdout.splitlines() == [
        "log_mel: at least 201 samples are needed, or pad_to",
        "log_mel: n_mels must be 80 or 128",
        "audio has dtype int16 and shape (4077,): expected float32 and (n,)",
        "audio has dtype float32 and shape (1, 4077): expected float32 and (n,)",
    ]
