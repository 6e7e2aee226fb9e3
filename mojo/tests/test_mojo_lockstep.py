"""The GPU's program in lockstep on the CPU: its values, and the faults that it is there to find."""

from __future__ import annotations

import contextlib
import itertools
import mmap
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import whisper_mel_mojo
from clips import noise
from numpy.typing import NDArray
from plants import COUNTED, GALLERY, OFF_BY_ONE, planted, run_sanitized
from whisper_mel_golden.cases import GoldenCase, golden_cases
from whisper_mel_golden.signals import render
from whisper_mel_mojo.builder import SOURCE, built_library
from whisper_mel_mojo.gpu.lockstep import Session, log_mel
from whisper_mel_reference import CLASS_A, WHISPER, score

Array = NDArray[Any]
SECOND = 16000
SMOOTHING: tuple[Any, ...] = (None, "valid", "same")
# Phases, as numbered in mel_kernel.mojo.
COLUMNS, POWERS, AGREE = 2, 3, 8
EDGE = 66 * 160
"""Samples at the ends of a clip in whose groups are mirrored ones: they are fetched otherwise."""


def require_class_a(actual: Array, audio: Array, lengths: Any = None, **spec: Any) -> None:
    assert score(actual, audio, WHISPER.replace(**spec), lengths=lengths) <= CLASS_A


# --------------------------------------------------------------------- values


def _golden(case: GoldenCase) -> Any:
    """The case as a parameter: those of more than 10 s are tried at night."""
    return pytest.param(
        case, id=case.id, marks=pytest.mark.nightly if case.shape[-1] > 1000 else ()
    )


@pytest.mark.parametrize("case", [_golden(case) for case in golden_cases()])
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


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("clips", [9, 25])
def test_batches_take_other_kernels_and_give_the_same_bits(clips: int, n_mels: int) -> None:
    """More than 8 clips take smaller blocks, more than 24 fewer of them."""
    batch = np.stack([noise(10_500, seed, 10.0**-seed) for seed in range(3)])
    batch = np.resize(batch, (clips, 10_500))
    features = log_mel(batch, n_mels, clusters=True)
    np.testing.assert_array_equal(features, log_mel(batch, n_mels))
    for clip in range(3):
        np.testing.assert_array_equal(features[clip], log_mel(batch[clip], n_mels, clusters=True))


def test_the_cpu_gives_the_same_bits() -> None:
    for n_mels, smoothing, clusters in itertools.product((80, 128), SMOOTHING, (False, True)):
        audio = noise(16_079)
        features = log_mel(audio, n_mels, smoothing=smoothing, clusters=clusters)
        expected = whisper_mel_mojo.log_mel(audio, n_mels, smoothing=smoothing)
        np.testing.assert_array_equal(features, expected)


@pytest.mark.nightly
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
    alone = n not in (60_007, 60_008, 60_013)  # here a block alone can do no wrong
    # And a clip that is loud in its last bands and frames only, so that the maximum matters.
    end = 1e-4 * noise(n)
    t = np.arange(n - 700, n) / SECOND
    end[-700:] += np.float32(0.5) * np.sin(2 * np.pi * 7800 * t).astype(np.float32)
    for clusters in (False, True) if alone else (True,):
        found, wrong = Session(), False
        for audio, smoothing in itertools.product((noise(n), end), (None, "same")):
            options: Any = {"smoothing": smoothing, "clusters": clusters}
            features = np.zeros((80, n // 160), np.float32)
            with contextlib.suppress(ValueError):  # where the fault made NaN of the features
                log_mel(audio, session=found, path=faulty_library, out=features, **options)
            if lane == "values":
                spec = WHISPER.replace(smoothing=smoothing)
                wrong |= not score(features, audio, spec) <= CLASS_A
        if lane == "values":
            assert wrong
        else:
            assert getattr(found, lane) > 0, str(found)


def test_audio_is_read_once(faulty_library: Path) -> None:
    """Loads of audio, neighbouring groups' overlap included: at most 1.1 for each sample where
    groups have 64 frames, 1.15 where they have 16."""
    for clusters, most in ((True, 1.1), (False, 1.15)):
        memory = np.zeros(2 * COUNTED, np.float32)
        memory[:COUNTED] = noise(COUNTED)
        log_mel(memory[None, :COUNTED], clusters=clusters, path=faulty_library)
        counts = memory[COUNTED:]
        inner = counts[EDGE:-EDGE]
        assert inner.min() >= 1
        assert 1 < inner.mean() <= most


def test_every_value_is_written_once_before_the_maximum_is_known(faulty_library: Path) -> None:
    for clusters in (True, False):
        n = COUNTED + 1
        writes = log_mel(noise(n), clusters=clusters, path=faulty_library)
        np.testing.assert_array_equal(writes, 1)


def test_faults_are_raised_where_nobody_asks(faulty_library: Path) -> None:
    with pytest.raises(RuntimeError, match=r"faults in the kernel: .*races=[1-9]"):
        log_mel(noise(4003), clusters=True, path=faulty_library)


def test_a_wrong_phase_gives_wrong_values(faulty_library: Path) -> None:
    """The emulator runs the kernel's own phases: the same mutation changes the PTX, too, see
    `test_ci_gpu_targets.py`.
    """
    for n, right in ((4000, True), (4004, False)):
        features = log_mel(noise(n), path=faulty_library)
        assert (score(features, noise(n)) <= CLASS_A) == right


# --------------------------------------------------------------------- AddressSanitizer


@pytest.fixture(scope="module")
def sanitized(sanitizer: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = planted(tmp_path_factory.mktemp("sanitized"), OFF_BY_ONE)
    options = ("--sanitize", "address", "-g1", "-O1", "-D", "UNWATCHED")
    return built_library(source, *options)


def test_the_sanitizer_is_content_with_the_kernel(sanitized: Path) -> None:
    result = run_sanitized(sanitized, 4000)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "(80, 32)\n"


@pytest.mark.parametrize(
    ("n", "access", "function"),
    [(4001, "WRITE", "columns"), (4002, "READ", "fetch_from"), (4003, "WRITE", "bands")],
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
