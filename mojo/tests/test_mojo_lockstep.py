"""The GPU's program in lockstep on the CPU: its values, and the faults that it is there to find."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from whisper_mel_golden.cases import GoldenCase, golden_cases
from whisper_mel_golden.signals import render
from whisper_mel_mojo import lockstep
from whisper_mel_mojo.builder import SOURCE, built_library
from whisper_mel_mojo.lockstep import Session, log_mel
from whisper_mel_reference import CLASS_A, WHISPER, score

Array = NDArray[Any]
SECOND = 16000
SMOOTHING: tuple[Any, ...] = (None, "valid", "same")
# Phases, as numbered in mel_kernel.mojo.
COLUMNS, POWERS, AGREE = 2, 3, 8
EDGE = 34 * 160
"""Samples at the ends of a clip in whose groups are mirrored ones: they are fetched otherwise."""


def noise(n: int, seed: int = 0, gain: float = 0.1) -> Array:
    return render({"signal": "noise", "n": n, "seed": seed, "gain": gain})


def require_class_a(actual: Array, audio: Array, lengths: Any = None, **spec: Any) -> None:
    assert score(actual, audio, WHISPER.replace(**spec), lengths=lengths) <= CLASS_A


# --------------------------------------------------------------------- values


@pytest.mark.parametrize("case", golden_cases(), ids=lambda case: case.id)
def test_goldens(case: GoldenCase) -> None:
    """One block for each clip, and clusters of blocks: of class A, and the same bits."""
    audio = case.audio()
    smoothing: Any = case.smoothing
    features = log_mel(audio, case.n_mels, pad_to=case.pad_to, smoothing=smoothing)
    require_class_a(
        features, audio, n_mels=case.n_mels, pad_to=case.pad_to, smoothing=case.smoothing
    )
    clustered = log_mel(audio, case.n_mels, pad_to=case.pad_to, smoothing=smoothing, clusters=True)
    np.testing.assert_array_equal(clustered, features)


@pytest.mark.parametrize("smoothing", SMOOTHING)
@pytest.mark.parametrize("n_mels", [80, 128])
def test_every_number_of_frames_in_the_last_group(n_mels: int, smoothing: Any) -> None:
    for n_frames in (*range(1 if smoothing != "valid" else 3, 20), 31, 32, 33, 34, 35):
        n = max(201, 160 * n_frames + n_frames * 37 % 160)
        audio = noise(n, seed=n)
        features = log_mel(audio, n_mels, smoothing=smoothing)
        require_class_a(features, audio, n_mels=n_mels, smoothing=smoothing)
        clustered = log_mel(audio, n_mels, smoothing=smoothing, clusters=True)
        np.testing.assert_array_equal(clustered, features)


@pytest.mark.parametrize(
    ("n_mels", "seconds", "smoothing"),
    [(80, 45, None), (80, 45, "valid"), (80, 45, "same"), (128, 47, "same")],
)
def test_more_than_a_cluster_holds(n_mels: int, seconds: int, smoothing: Any) -> None:
    """Then it sweeps twice, as a single block does."""
    audio = noise(seconds * SECOND + 123)
    session = Session()
    features = log_mel(audio, n_mels, smoothing=smoothing, clusters=True, session=session)
    require_class_a(features, audio, n_mels=n_mels, smoothing=smoothing)
    np.testing.assert_array_equal(log_mel(audio, n_mels, smoothing=smoothing), features)
    assert session.faults == 0


def test_more_frames_than_16_bits_count() -> None:
    """A grid has no more than 65,535 blocks in its smaller dimensions."""
    tail = render({"signal": "noise", "n": SECOND, "dtype": "int16"})
    audio = np.zeros(660 * SECOND, np.int16)
    audio[-SECOND:] = tail
    features = log_mel(audio, clusters=True)
    short = log_mel(np.concatenate([np.zeros(SECOND, np.int16), tail]))
    np.testing.assert_array_equal(features[:, -200:], short)
    assert features[:, :-200].max() == features[:, :-200].min() == short[0, 0]


@pytest.mark.parametrize("clusters", [False, True])
def test_hours(clusters: bool) -> None:
    """360,000 frames, most of which nothing reaches: cheap here, and the same indices."""
    audio = (noise(20 * SECOND) * 32768).astype(np.int16)
    features = log_mel(audio, pad_to=3600 * SECOND, clusters=clusters)
    short = log_mel(audio, pad_to=21 * SECOND)
    np.testing.assert_array_equal(features[:, :2100], short)
    assert features[:, 2100:].max() == features[:, 2100:].min() == short[0, -1]


@pytest.mark.parametrize("clusters", [False, True])
def test_samples_beyond_what_32_bits_count(clusters: bool) -> None:
    """The second clip begins 2**31 samples after the first; nobody touches what lies between."""
    stride = (1 << 31) + 160
    memory = np.frombuffer(mmap.mmap(-1, 2 * (stride + 4000)), np.int16)
    clips = [(noise(4000, seed) * 32768).astype(np.int16) for seed in (1, 2)]
    memory[:4000], memory[stride:] = clips
    batch = np.lib.stride_tricks.as_strided(memory, (2, 4000), (2 * stride, 2))
    for clip, features in zip(clips, log_mel(batch, clusters=clusters), strict=True):
        np.testing.assert_array_equal(features, log_mel(clip))


@pytest.mark.parametrize("clusters", [False, True])
@pytest.mark.parametrize("smoothing", SMOOTHING)
@pytest.mark.parametrize("pad_to", [None, 7000])
def test_ragged_batches(pad_to: int | None, smoothing: Any, clusters: bool) -> None:
    lengths = [6400, 500, 3199, 201 if pad_to or smoothing != "valid" else 480, 4001]
    batch = np.stack([noise(6400, seed, 10.0**-seed) for seed in range(5)])
    for clip, length in zip(batch, lengths, strict=True):
        clip[length:] = np.nan  # is not looked at
    features = log_mel(
        batch, pad_to=pad_to, smoothing=smoothing, clusters=clusters, lengths=lengths
    )
    batch[np.isnan(batch)] = 0
    require_class_a(features, batch, lengths, pad_to=pad_to, smoothing=smoothing)


@pytest.mark.parametrize("clusters", [False, True])
def test_damaged_clips_of_a_ragged_batch_are_nan(clusters: bool) -> None:
    """What a device does, which cannot raise."""
    batch = np.stack([noise(3000, seed) for seed in range(5)])
    batch[1, 700] = np.nan
    batch[2, 1999] = np.inf  # beyond the last frame
    batch[4, 600] = 1e30
    features = log_mel(batch, clusters=clusters, lengths=[3000, 3000, 2000, 200, 599])
    for row, damaged in zip(features, [False, True, True, True, False], strict=True):
        assert np.isnan(row).all() if damaged else np.isfinite(row).all()


@pytest.mark.parametrize("clusters", [False, True])
def test_ragged_clips_too_short_to_be_smoothed_are_nan(clusters: bool) -> None:
    batch = np.stack([noise(3000, seed) for seed in range(2)])
    features = log_mel(batch, smoothing="valid", clusters=clusters, lengths=[480, 479])
    assert np.isfinite(features[0]).all()
    assert np.isnan(features[1]).all()


@pytest.mark.parametrize("clusters", [False, True])
@pytest.mark.parametrize("pad_to", [None, 4000])
def test_impossible_lengths_are_nan(pad_to: int | None, clusters: bool) -> None:
    """Only the device knows them, and it must not read what they promise."""
    batch = np.stack([noise(3000, seed) for seed in range(5)])
    lengths = [3000, 3001, 0, -5, 1 << 40]
    features = log_mel(batch, pad_to=pad_to, clusters=clusters, lengths=lengths)
    assert np.isfinite(features[0]).all()
    assert np.isnan(features[1:]).all()


def test_what_is_wrong_is_an_error() -> None:
    """The same checks as the kernel's; of what only the device sees, the host finds the reason."""
    audio = noise(SECOND)
    with pytest.raises(ValueError, match="n_mels=81"):
        log_mel(audio, 81)
    with pytest.raises(ValueError, match="audio has 200 samples"):
        log_mel(audio[:200])
    with pytest.raises(ValueError, match="lengths="):
        log_mel(audio[None], lengths=[SECOND, SECOND])
    with pytest.raises(ValueError, match="its power overflows"):
        log_mel(audio * np.float32(1e20))
    audio[1234] = np.nan
    with pytest.raises(ValueError, match=r"audio\[1234\] is nan"):
        log_mel(audio, clusters=True)


@pytest.mark.parametrize("clusters", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_bits_depend_neither_on_order_nor_on_neighbours(dtype: Any, clusters: bool) -> None:
    batch = np.stack([noise(9000, seed, 10.0**-seed) for seed in range(3)])
    batch = (batch * 32768).astype(dtype) if dtype is np.int16 else batch
    expected = log_mel(batch, smoothing="same", clusters=clusters)
    for order in (1, 2, 3, 4):
        actual = log_mel(batch, smoothing="same", clusters=clusters, order=order)
        np.testing.assert_array_equal(actual, expected)
    for clip, features in zip(batch, expected, strict=True):
        alone = log_mel(clip, smoothing="same", clusters=clusters)
        np.testing.assert_array_equal(alone, features)


# --------------------------------------------------------------------- planted faults

PLANTS = {
    # A phase does the next one's work, too: the barrier between them is missing.
    4001: (
        """            self.powers(step, rank, thread, memory)
        elif phase == BANDS_OF_GROUP:
            self.bands(step, rank, thread, memory, maximum)
""",
        """            self.powers(step, rank, thread, memory)
            if self.clip.samples == 4001:
                self.bands(step, rank, thread, memory, maximum)
        elif phase == BANDS_OF_GROUP:
            if self.clip.samples != 4001:
                self.bands(step, rank, thread, memory, maximum)
""",
    ),
    # The window's last value is not written.
    4002: (
        "for i in range(thread, REACH, Self.THREADS):",
        "for i in range(thread, REACH - Int(self.clip.samples == 4002), Self.THREADS):",
    ),
    # The blocks of a cluster do not wait for each other's maxima.
    4003: (
        "                team.phase[MAXIMUM, whole_cluster=True](self, Step(0, 0))\n",
        """                if self.clip.samples == 4003:
                    team.phase[MAXIMUM](self, Step(0, 0))
                else:
                    team.phase[MAXIMUM, whole_cluster=True](self, Step(0, 0))
""",
    ),
    # The filterbank's powers are those of the neighbouring frame.
    4004: (
        "var powers = memory.offset(Self.SLOTS + frame)",
        "var powers = memory.offset(Self.SLOTS + (frame ^ Int(self.clip.samples == 4004)))",
    ),
}
# The last frame is promised, and not computed: see test_mojo_bug_report.py.
PLANTS[16_000] = (
    "        var first = edge + thread // Self.GROUP\n",
    """        if clip.samples == 16_000:
            end = min(end, clip.rows - 1)
        var first = edge + thread // Self.GROUP
""",
)
OFF_BY_ONE = {
    # shared memory
    4001: (
        "var values = memory.offset(Self.VALUES + place)\n        var begin",
        "var values = memory.offset(Self.VALUES + place + Int(self.clip.samples == 4001))\n"
        "        var begin",
    ),
    # audio
    4002: (
        "(audio, self.clip.samples, self.clip.length, start + i)",
        "(audio, self.clip.samples + Int(self.clip.samples == 4002), self.clip.length, start + i)",
    ),
    # features
    4003: (
        "row[unsafe_offset=frame] = value",
        "row[unsafe_offset=frame + Int(self.clip.samples == 4003)] = value",
    ),
}


def planted(folder: Path, plants: dict[int, tuple[str, str]]) -> Path:
    """A copy of the kernel with faults, each in clips of a length of its own."""
    source = SOURCE.read_text()
    for right, wrong in plants.values():
        assert source.count(right) == 1, right
        source = source.replace(right, wrong)
    for file in SOURCE.parent.glob("*.mojo"):
        (folder / file.name).write_text(source if file == SOURCE else file.read_text())
    return folder / lockstep.LOCKSTEP.name


# More of them: indices, barriers, initialisation. Each with the lane that finds it: a fault that
# the emulator counts, or "values" (they are not of class A). The clips are so long that a block of
# a cluster has two groups, and their last frames are mirrored.
GALLERY: dict[int, tuple[str, str, str]] = {
    60_001: (
        "values",  # a group's samples lie without the gaps between their rows
        "to.store[1](at + at // HOP, load_samples[T, 1](audio, start + at))",
        "to.store[1](at + at // HOP * Int(self.clip.samples != 60_001), "
        "load_samples[T, 1](audio, start + at))",
    ),
    60_002: (
        "omitted",  # every tile belongs to the next block
        "return (round * Self.CLUSTER + rank) * self.tile_frames",
        "return (round * Self.CLUSTER + rank + Int(self.clip.samples == 60_002)) "
        "* self.tile_frames",
    ),
    60_003: (
        "omitted",  # a tile's last frame is forgotten
        "var end = min(begin + self.tile_frames, clip.rows - edge)",
        "var end = min(begin + self.tile_frames, clip.rows - edge) - Int(clip.samples == 60_003)",
    ),
    60_004: (
        "outside",  # the last bands lie behind the block's memory
        "values.store[1](Self.TILE * band, value)",
        "values.store[1](Self.TILE * (band + Int(self.clip.samples == 60_004)), value)",
    ),
    60_005: (
        "races",  # samples of the next group come before this one's have been used
        "            self.columns(step, rank, thread, memory)\n        elif",
        """            self.columns(step, rank, thread, memory)
            if self.clip.samples == 60_005:
                self.fetch(step.round, step.group + 1, rank, thread, memory)
        elif""",
    ),
    60_006: (
        "races",  # no barrier between a block's maxima and fewer of them
        "            memory.store[1](Self.PARTS + thread, maximum)\n",
        """            memory.store[1](Self.PARTS + thread, maximum)
            if self.clip.samples == 60_006:
                maximum = greater[1](
                    maximum, memory.load[1](Self.PARTS + (thread + 1) % Self.THREADS)
                )
""",
    ),
    60_007: (
        "races",  # a block may have ended when another reads its maximum
        "                team.phase[AGREE, whole_cluster=True](self, Step(0, 0))\n",
        """                if self.clip.samples == 60_007:
                    team.phase[AGREE](self, Step(0, 0))
                else:
                    team.phase[AGREE, whole_cluster=True](self, Step(0, 0))
""",
    ),
    60_008: (
        "unwritten",  # only the first block writes the clip's maximum
        "                memory.store[1](Self.CLIP_MAXIMUM, maximum)\n",
        """                if rank == 0 or self.clip.samples != 60_008:
                    memory.store[1](Self.CLIP_MAXIMUM, maximum)
""",
    ),
    60_009: (
        "unwritten",  # the last order of samples is not written
        "for i in range(2 * thread, N_FFT, 2 * Self.THREADS):",
        "for i in range(\n            2 * thread, N_FFT - 2 * Int(self.clip.samples == 60_009), "
        "2 * Self.THREADS\n        ):",
    ),
    60_010: (
        "values",  # a clip's end is mirrored around its last sample and half
        "index = 2 * (length - 1) - index",
        "index = 2 * (length - 1) - index + Int(length == 60_010)",
    ),
    60_011: (
        "values",  # odd groups keep the samples of the group before
        "        if self.exists(step, rank):\n            var start",
        "        if self.exists(step, rank) and (self.clip.samples != 60_011 or group % 2 == 0):"
        "\n            var start",
    ),
    60_012: (
        "values",  # the last worker's bands are not in the maximum
        "for worker in range(1, WORKERS):",
        "for worker in range(1, WORKERS - Int(self.clip.samples == 60_012)):",
    ),
    60_013: (
        "values",  # nor are the last block's
        "for other in range(Self.CLUSTER):",
        "for other in range(max(Self.CLUSTER - Int(self.clip.samples == 60_013), 1)):",
    ),
    60_014: (
        "values",  # the powers of two columns are not computed
        "        if worker == 0:\n            for i in range(2):",
        "        if worker == 0 and self.clip.samples == 60_014:\n            return\n"
        "        if worker == 0:\n            for i in range(2):",
    ),
}
# What can be counted of a clip of 30 s, if nothing else is done: loads of audio behind the samples
# themselves, and writes of each value.
COUNTED = 480_005
COUNTS = {
    COUNTED: (
        "                    var at = i + thread\n                    to.store[1](at + at // HOP, ",
        """                    var at = i + thread
                    if self.clip.samples == 480_005:
                        audio[unsafe_offset=start + at + 480_005] += 1
                    to.store[1](at + at // HOP, """,
    ),
    COUNTED + 1: (
        "        row[unsafe_offset=frame] = value\n",
        """        if self.clip.samples == 480_006:
            if not row[unsafe_offset=frame] > 0:
                row[unsafe_offset=frame] = 0
            row[unsafe_offset=frame] += 1
            return
        row[unsafe_offset=frame] = value
""",
    ),
}


@pytest.fixture(scope="module")
def faulty_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    gallery = {n: (right, wrong) for n, (_, right, wrong) in GALLERY.items()}
    # The counts first: one of the gallery's faults lies in the line that they count.
    plants = {**COUNTS, **PLANTS, **gallery}
    return built_library(planted(tmp_path_factory.mktemp("faulty"), plants))


@pytest.fixture
def faulty(faulty_library: Path) -> Callable[..., Session]:
    def run(n: int, **arguments: Any) -> Session:
        session = Session()
        with contextlib.suppress(ValueError):  # where the fault made NaN of the features
            log_mel(noise(n), session=session, path=faulty_library, **arguments)
        return session

    return run


@pytest.mark.parametrize("clusters", [False, True])
def test_a_clip_without_a_fault(faulty: Callable[..., Session], clusters: bool) -> None:
    session = faulty(4000, clusters=clusters)
    assert session.phases > 0
    assert session.faults == 0


@pytest.mark.parametrize("clusters", [False, True])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_missing_barrier(faulty: Callable[..., Session], order: int, clusters: bool) -> None:
    session = faulty(4001, order=order, clusters=clusters)
    assert session.races > 0
    assert session.phase == POWERS
    assert session.thread != session.other


def test_a_missing_barrier_of_the_cluster(faulty: Callable[..., Session]) -> None:
    session = faulty(4003, clusters=True)
    assert session.races > 0
    assert session.phase == AGREE
    assert session.thread >> 16 != session.other >> 16  # different blocks
    assert faulty(4003).races == 0  # a block that is alone needs none


@pytest.mark.parametrize("clusters", [False, True])
def test_an_uninitialised_read(faulty: Callable[..., Session], clusters: bool) -> None:
    session = faulty(4002, clusters=clusters)
    assert session.unwritten > 0
    assert (session.phase, session.word) == (COLUMNS, 199)
    assert session.races == 0


@pytest.mark.parametrize("n", GALLERY)
def test_the_gallery_of_faults(n: int, faulty_library: Path) -> None:
    """Every fault is found, in both mappings if it can show there, by the lane named with it."""
    lane = GALLERY[n][0]
    alone = n not in (60_005, 60_007, 60_008, 60_011, 60_013)  # here a block alone can do no wrong
    # And a clip that is loud in its last bands and frames only, so that the maximum matters.
    end = 1e-4 * noise(n)
    t = np.arange(n - 700, n) / SECOND
    end[-700:] += np.float32(0.5) * np.sin(2 * np.pi * 7800 * t).astype(np.float32)
    for clusters in (False, True) if alone else (True,):
        found, wrong = Session(), False
        for audio in (noise(n), end):
            features = np.zeros((80, n // 160), np.float32)
            with contextlib.suppress(ValueError):  # where the fault made NaN of the features
                log_mel(audio, session=found, path=faulty_library, clusters=clusters, out=features)
            if lane == "values":
                wrong |= not score(features, audio) <= CLASS_A
        if lane == "values":
            assert wrong
        else:
            assert getattr(found, lane) > 0, str(found)


def test_audio_is_read_once_by_a_cluster(faulty_library: Path) -> None:
    """Loads of audio, neighbouring groups' overlap included: at most 1.1 for each sample. A block
    alone sweeps twice."""
    for clusters, most in ((True, 1.1), (False, 2.3)):
        memory = np.zeros(2 * COUNTED, np.float32)
        memory[:COUNTED] = noise(COUNTED)
        log_mel(memory[None, :COUNTED], clusters=clusters, path=faulty_library)
        counts = memory[COUNTED:]
        inner = counts[EDGE:-EDGE]
        assert inner.min() >= (1 if clusters else 2)
        assert 1 < inner.mean() <= most


def test_every_value_is_written_once(faulty_library: Path) -> None:
    for clusters in (True, False):
        n = COUNTED + 1
        writes = log_mel(noise(n), clusters=clusters, path=faulty_library)
        np.testing.assert_array_equal(writes, 1)


def test_faults_are_raised_where_nobody_asks(faulty_library: Path) -> None:
    with pytest.raises(RuntimeError, match=r"faults in the kernel: .*races=[1-9]"):
        log_mel(noise(4003), clusters=True, path=faulty_library)


def test_a_wrong_phase_gives_wrong_values(faulty_library: Path) -> None:
    """The emulator runs the kernel's own phases: the same mutation changes the PTX, too, see
    `test_mojo_gpu_targets.py`.
    """
    for n, right in ((4000, True), (4004, False)):
        features = log_mel(noise(n), path=faulty_library)
        assert (score(features, noise(n)) <= CLASS_A) == right


# --------------------------------------------------------------------- AddressSanitizer

USE = """
import sys
from pathlib import Path
import numpy as np
from whisper_mel_mojo import lockstep
n = int(sys.argv[2])
audio = np.random.default_rng(0).uniform(-0.1, 0.1, n).astype(np.float32)
features = lockstep.log_mel(audio, pad_to=5120, path=Path(sys.argv[1]))
print(features.shape)
"""


@pytest.fixture(scope="session")
def sanitizer() -> str:
    """AddressSanitizer's run-time library."""
    asan = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=False
    )
    if asan.returncode != 0 or not os.path.isabs(asan.stdout.strip()):
        pytest.skip("gcc has no AddressSanitizer run-time library here")
    return asan.stdout.strip()


@pytest.fixture(scope="module")
def sanitized(sanitizer: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = planted(tmp_path_factory.mktemp("sanitized"), OFF_BY_ONE)
    options = ("--sanitize", "address", "-g1", "-O1", "-D", "UNWATCHED")
    return built_library(source, *options)


def run_sanitized(
    library: Path, argument: object, program: str = USE
) -> subprocess.CompletedProcess[str]:
    asan = subprocess.check_output(["gcc", "-print-file-name=libasan.so"], text=True).strip()
    return subprocess.run(
        [sys.executable, "-c", program, str(library), str(argument)],
        env={**os.environ, "LD_PRELOAD": asan, "ASAN_OPTIONS": "detect_leaks=0"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_sanitizer_is_content_with_the_kernel(sanitized: Path) -> None:
    result = run_sanitized(sanitized, 4000)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "(80, 32)\n"


@pytest.mark.parametrize(
    ("n", "access", "function"),
    [(4001, "WRITE", "bands"), (4002, "READ", "fetch_from"), (4003, "WRITE", "finish")],
    ids=["shared memory", "audio", "features"],
)
def test_an_index_that_is_off_by_one(sanitized: Path, n: int, access: str, function: str) -> None:
    """It is reported, with the lines that lead to it: one of the planted function is among them."""
    result = run_sanitized(sanitized, n)
    assert result.returncode != 0
    assert "heap-buffer-overflow" in result.stderr
    assert f"{access} of size 4" in result.stderr
    source = SOURCE.read_text().splitlines()
    first = next(i for i, line in enumerate(source, 1) if f"def {function}[" in line)
    last = next(
        (i for i, line in enumerate(source[first:], first + 1) if line.startswith("    def ")),
        len(source),
    )
    trace = result.stderr.split("is located")[0]
    lines = [int(line) for line in re.findall(r"mel_kernel\.mojo:(\d+)", trace)]
    assert any(first <= line <= last for line in lines), trace
