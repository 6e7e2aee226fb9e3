"""The kernel's code for GPUs in the emulator: values, bits, and planted faults that are found."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import noise
from daily import by_day
from gpu.execute import counts, mutants
from numpy.typing import NDArray
from plants import GALLERY, OFF_BY_ONE, planted
from whisper_mel_golden.cases import GoldenCase, golden_cases
from whisper_mel_golden.signals import render
from whisper_mel_mojo import log_mel as on_cpu
from whisper_mel_mojo.builder import SOURCE, target_cpu
from whisper_mel_mojo.gpu.emulator.kernels import FEWEST, Kernels
from whisper_mel_mojo.gpu.emulator.program import Finding
from whisper_mel_mojo.gpu.targets import KERNELS, MANY, NVIDIA
from whisper_mel_reference import CLASS_A, WHISPER, score

pytestmark = [pytest.mark.torch, pytest.mark.xdist_group("gpu-code")]

Array = NDArray[Any]
SECOND = 16000
SMOOTHING: tuple[Any, ...] = (None, "valid", "same")
ORDERS = ("forwards", "backwards", "warps:1", "shuffled:1", "shuffled:2")
TARGETS = ("sm_80", "sm_90a")
"""One block for each clip, and a cluster of blocks."""
CLUSTERS = TARGETS[1:]
OTHERS = ("apple-m4", "gfx942")
"""LLVM IR for other vendors' devices: one block for each clip."""
# Compiling and translating a target's kernels is what takes long. By day, they are of 80 bands: one
# block computes the plain form, and a cluster all. `./dev gpu compile` compiles the rest, other
# vendors' too; faults are planted in the compiled program.
NIGHTLY = pytest.mark.nightly
FORMED_ON = by_day([(CLUSTERS,), (TARGETS,)], [(CLUSTERS,)])


kernels = lru_cache(Kernels)


def log_mel(target: str, audio: Array, n_mels: int = 80, **options: Any) -> Array:
    return kernels(target, n_mels).log_mel(audio, **options)


def both(
    audio: Array, n_mels: int = 80, *, targets: tuple[str, ...] = TARGETS, **options: Any
) -> Array:
    """The features for all targets, which must be the same bits."""
    first, *others = (log_mel(target, audio, n_mels, **options) for target in targets)
    for features in others:
        np.testing.assert_array_equal(features, first)
    return first


@pytest.fixture(params=by_day([((),), (OTHERS,)], [((),)]), ids=str)
def everywhere(request: pytest.FixtureRequest) -> Callable[..., Array]:
    """The features for all targets, other vendors' among them."""
    return partial(both, targets=TARGETS + request.param)


def require_class_a(actual: Array, audio: Array, lengths: Any = None, **spec: Any) -> None:
    assert score(actual, audio, WHISPER.replace(**spec), lengths=lengths) <= CLASS_A


def require_right(actual: Array, audio: Array, **options: Any) -> None:
    """The bits of this processor, which are held to class A elsewhere; class A if it cannot fuse,
    and has other bits.
    """
    if target_cpu() == "x86-64":
        require_class_a(actual, audio, **options)
    else:
        np.testing.assert_array_equal(actual, on_cpu(audio, **options))


# --------------------------------------------------------------------- values


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    by_day(golden_cases(), [case for case in golden_cases() if case.n_mels == 80][::8]),
    ids=lambda case: case.id,
)
def test_goldens(case: GoldenCase) -> None:
    audio = case.audio()
    smoothing: Any = case.smoothing
    features = both(audio, case.n_mels, pad_to=case.pad_to, smoothing=smoothing)
    require_right(features, audio, n_mels=case.n_mels, pad_to=case.pad_to, smoothing=smoothing)


@NIGHTLY
@pytest.mark.parametrize("target", [name for name in NVIDIA if name not in CLUSTERS])
def test_goldens_of_other_targets(target: str) -> None:
    for case in golden_cases():
        smoothing: Any = case.smoothing
        options = {"pad_to": case.pad_to, "smoothing": smoothing}
        features = log_mel(target, case.audio(), case.n_mels, **options)
        require_class_a(features, case.audio(), n_mels=case.n_mels, **options)


@pytest.mark.slow
@pytest.mark.parametrize("smoothing", by_day(SMOOTHING, [None, "same"]))
@pytest.mark.parametrize("n_mels", by_day([80, 128], [80]))
def test_every_number_of_frames_in_the_last_group(n_mels: int, smoothing: Any) -> None:
    for n_frames in (*range(1 if smoothing != "valid" else 3, 20), 31, 32, 33, 34, 35):
        n = max(201, 160 * n_frames + n_frames * 37 % 160)
        audio = noise(n, seed=n)
        features = both(audio, n_mels, smoothing=smoothing)
        require_right(features, audio, n_mels=n_mels, smoothing=smoothing)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_mels", "seconds", "smoothing"),
    by_day(
        [*((80, 45, it) for it in SMOOTHING), (128, 47, "same")], [(80, 45, None), (80, 45, "same")]
    ),
)
def test_more_than_a_cluster_holds(n_mels: int, seconds: int, smoothing: Any) -> None:
    """Then it sweeps twice, as a single block does."""
    audio = noise(seconds * SECOND + 123)
    features = both(audio, n_mels, smoothing=smoothing)
    require_right(features, audio, n_mels=n_mels, smoothing=smoothing)


@NIGHTLY
def test_more_frames_than_16_bits_count() -> None:
    """A grid has no more than 65,535 blocks in its smaller dimensions."""
    tail = render({"signal": "noise", "n": SECOND, "dtype": "int16"})
    audio = np.zeros(660 * SECOND, np.int16)
    audio[-SECOND:] = tail
    features = log_mel("sm_90a", audio)
    short = log_mel("sm_90a", np.concatenate([np.zeros(SECOND, np.int16), tail]))
    np.testing.assert_array_equal(features[:, -200:], short)
    assert features[:, :-200].max() == features[:, :-200].min() == short[0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("target", by_day(TARGETS, CLUSTERS))
def test_hours(target: str) -> None:
    """360,000 frames, most of which nothing reaches: cheap here, and the same indices."""
    audio = (noise(20 * SECOND) * 32768).astype(np.int16)
    features = log_mel(target, audio, pad_to=3600 * SECOND)
    short = log_mel(target, audio, pad_to=21 * SECOND)
    np.testing.assert_array_equal(features[:, :2100], short)
    assert features[:, 2100:].max() == features[:, 2100:].min() == short[0, -1]


@pytest.mark.parametrize("smoothing", SMOOTHING)
@pytest.mark.parametrize("pad_to", [None, 7000])
def test_ragged_batches(
    pad_to: int | None, smoothing: Any, everywhere: Callable[..., Array]
) -> None:
    lengths = [6400, 500, 3199, 201 if pad_to or smoothing != "valid" else 480, 4001]
    batch = np.stack([noise(6400, seed, 10.0**-seed) for seed in range(5)])
    for clip, length in zip(batch, lengths, strict=True):
        clip[length:] = np.nan  # is not looked at
    features = everywhere(batch, pad_to=pad_to, smoothing=smoothing, lengths=lengths)
    batch[np.isnan(batch)] = 0
    require_class_a(features, batch, lengths, pad_to=pad_to, smoothing=smoothing)


FORMS: list[dict[str, Any]] = [
    {"maximum": 1.5},
    {"maximum": -2.5, "smoothing": "valid"},
    {"maximum": 1.5, "dtype": "float16"},
    {"maximum": -2.5, "dtype": "bfloat16"},
    {"maximum": 1.5, "dtype": "float16", "smoothing": "same"},
    {"dtype": "float16"},
    {"dtype": "bfloat16", "smoothing": "valid"},
]


@pytest.mark.slow
@pytest.mark.parametrize("targets", FORMED_ON, ids=str)
@pytest.mark.parametrize("form", by_day(FORMS, FORMS[1:3]), ids=str)
def test_forms_have_the_bits_of_a_cpu(form: dict[str, Any], targets: tuple[str, ...]) -> None:
    """Other maxima and types: one clip and several, padded, of lengths of their own."""
    if form.get("dtype") == "bfloat16":
        pytest.importorskip("ml_dtypes", reason="ml_dtypes is an extra")
    batch = np.stack([noise(20_011, seed, 10.0**-seed) for seed in range(3)])
    calls: list[tuple[Array, dict[str, Any]]] = [
        (batch[0, :480], {}),
        (batch, {}),
        (batch[0], {"pad_to": 23_000}),
        (batch, {"lengths": [20_011, 500, 4001]}),
    ]
    for audio, options in calls:
        features = both(audio.copy(), targets=targets, **form, **options)
        expected = on_cpu(audio, **form, **options)
        assert features.dtype == expected.dtype
        assert features.tobytes() == expected.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", by_day(["float32", "float16"], ["float32"]))
def test_chunks_have_the_bits_of_a_cpu(dtype: str) -> None:
    """A clip and a half of 30 s, the second part quieter; and one that ends in its first chunk."""
    clip = noise(45 * SECOND)
    clip[30 * SECOND :] *= np.float32(1e-4)
    options: dict[str, Any] = {"maximum": "chunk", "dtype": dtype}
    assert both(clip, **options).tobytes() == on_cpu(clip, **options).tobytes()
    batch, lengths = np.stack([clip, clip]), [45 * SECOND, 20 * SECOND]
    features = both(batch, **options, lengths=lengths)
    assert features.tobytes() == on_cpu(batch, **options, lengths=lengths).tobytes()


@pytest.mark.parametrize("targets", FORMED_ON, ids=str)
def test_only_what_sees_a_bad_sample_is_nan(targets: tuple[str, ...]) -> None:
    """Frames with a fixed maximum; a chunk with the chunk's; a short clip as a whole."""
    audio = noise(6000)
    audio[3000] = np.nan
    plain = np.isnan(both(audio, targets=targets, maximum=1.5))
    assert (plain == plain[0]).all()
    assert np.flatnonzero(plain[0]).tolist() == [18, 19, 20]  # 160 i - 200 <= 3000 < 160 i + 200
    smoothed = np.isnan(both(audio, targets=targets, maximum=1.5, smoothing="same"))
    assert np.flatnonzero(smoothed[0]).tolist() == [17, 18, 19, 20, 21]
    two = np.stack([noise(6000)] * 2)
    ragged = both(two, targets=targets, maximum=1.5, lengths=[6000, 200])
    assert np.isnan(ragged).all((1, 2)).tolist() == [False, True]
    assert not np.isnan(ragged[0]).any()


def test_the_emulator_takes_the_kernel_that_a_launch_takes() -> None:
    assert f"return FEW if clips <= {FEWEST} else MANY" in SOURCE.read_text(encoding="utf-8")


def test_damaged_clips_of_a_ragged_batch_are_nan(everywhere: Callable[..., Array]) -> None:
    """What a device does, which cannot raise."""
    batch = np.stack([noise(3000, seed) for seed in range(5)])
    batch[1, 700] = np.nan
    batch[2, 1999] = np.inf  # beyond the last frame
    batch[4, 600] = 1e30
    features = everywhere(batch, lengths=[3000, 3000, 2000, 200, 599])
    for row, damaged in zip(features, [False, True, True, True, False], strict=True):
        assert np.isnan(row).all() if damaged else np.isfinite(row).all()


def test_ragged_clips_too_short_to_be_smoothed_are_nan(everywhere: Callable[..., Array]) -> None:
    batch = np.stack([noise(3000, seed) for seed in range(2)])
    features = everywhere(batch, smoothing="valid", lengths=[480, 479])
    assert np.isfinite(features[0]).all()
    assert np.isnan(features[1]).all()


@pytest.mark.parametrize("pad_to", [None, 4000])
def test_impossible_lengths_are_nan(pad_to: int | None, everywhere: Callable[..., Array]) -> None:
    """Only the device knows them, and it must not read what they promise."""
    batch = np.stack([noise(3000, seed) for seed in range(5)])
    features = everywhere(batch, pad_to=pad_to, lengths=[3000, 3001, 0, -5, 1 << 40])
    assert np.isfinite(features[0]).all()
    assert np.isnan(features[1:]).all()


@pytest.mark.parametrize("dtype", by_day([np.float32, np.int16], [np.float32]))
def test_bits_depend_neither_on_order_nor_on_neighbours(
    dtype: Any, everywhere: Callable[..., Array]
) -> None:
    batch = np.stack([noise(9000, seed, 10.0**-seed) for seed in range(3)])
    batch = (batch * 32768).astype(dtype) if dtype is np.int16 else batch
    expected = everywhere(batch, smoothing="same")
    for order in ORDERS[1:]:
        np.testing.assert_array_equal(everywhere(batch, smoothing="same", order=order), expected)
    for clip, features in zip(batch, expected, strict=True):
        np.testing.assert_array_equal(everywhere(clip, smoothing="same"), features)


# --------------------------------------------------------------------- counts


@NIGHTLY
@pytest.mark.parametrize(("target", "most"), [("sm_90a", 1.1), ("sm_80", 1.15)])
def test_audio_is_read_once_and_values_are_written_once(target: str, most: float) -> None:
    """Loads of audio, neighbouring groups' overlap included; values are read again."""
    counted = counts.count(target, 80)
    values = 80 * 3000
    loaded = counted["global_bytes"] - counted["global_bytes_stored"]
    assert counts.SAMPLES <= loaded / 4 - values <= most * counts.SAMPLES
    assert values <= counted["global_bytes_stored"] / 4 < 2 * values  # clamped ones again


def test_accesses_of_shared_memory_have_a_limit() -> None:
    """The record keeps it; what 128 bands take would be too much for 80."""
    record = json.loads(counts.RECORD.read_text(encoding="utf-8"))
    assert counts.violations(record, record) == []
    name = "sm_90a, 80 bands, many clips"
    record[name] = record["sm_90a, 128 bands, many clips"]
    [found] = counts.violations(record, record)
    assert re.match(rf"{name}: 2,\d+ accesses of shared memory, at most 2,000", found)


# --------------------------------------------------------------------- planted faults


@pytest.fixture(scope="module")
def faulty_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sources of the kernels with every planted fault, each in clips of a length of its own."""
    gallery = {n: (right, wrong) for n, (_, right, wrong) in GALLERY.items()} | OFF_BY_ONE
    return planted(tmp_path_factory.mktemp("faulty"), gallery)


@pytest.fixture(scope="module")
def faulty(faulty_folder: Path) -> Callable[[str], Kernels]:
    return lru_cache(lambda target: Kernels(target, 80, faulty_folder))


def clips_of(n: int) -> tuple[Array, Array]:
    """Noise, and a clip that is loud at its end only, where the maximum then matters."""
    end = 1e-4 * noise(n)
    t = np.arange(n - 700, n) / SECOND
    end[-700:] += np.float32(0.5) * np.sin(2 * np.pi * 7800 * t).astype(np.float32)
    return noise(n), end


def shown(kernels: Kernels, n: int, order: str = "forwards") -> str:
    """How a planted fault shows, without smoothing and with it: findings, and `values`."""
    found = []
    for smoothing in (None, "same"):
        for audio in clips_of(n):
            try:
                features = kernels.log_mel(audio, smoothing=smoothing, order=order)
            except Finding as error:
                found.append(str(error))
                continue
            if not score(features, audio, WHISPER.replace(smoothing=smoothing)) <= CLASS_A:
                found.append("values")
    return "\n".join(found)


@NIGHTLY
@pytest.mark.parametrize("target", [*TARGETS, *OTHERS])
@pytest.mark.parametrize("n", [4000, 163_040])
def test_clips_without_a_fault(n: int, target: str, faulty: Callable[[str], Kernels]) -> None:
    assert shown(faulty(target), n) == ""


ONLY_IN_CLUSTERS = (4003, 163_047, 163_048, 163_053)
"""Faults of the gallery by which a block alone can do no wrong."""


@NIGHTLY
@pytest.mark.parametrize(
    ("n", "targets"),
    [(n, CLUSTERS if n in ONLY_IN_CLUSTERS else (*TARGETS, *OTHERS)) for n in GALLERY],
)
def test_the_gallery_of_faults(
    n: int, targets: tuple[str, ...], faulty: Callable[[str], Kernels]
) -> None:
    """Every fault is found, for each target if it can show there; a finding has its Mojo line."""
    lane = GALLERY[n][0]
    for target in targets:
        found = shown(faulty(target), n, ORDERS[n % len(ORDERS)])
        assert re.search(lane, found), found
        assert "`" not in found or f"{SOURCE.name}:" in found, found


@NIGHTLY
@pytest.mark.parametrize("target", ["sm_80", *OTHERS])
@pytest.mark.parametrize("n", OFF_BY_ONE)
def test_an_index_that_is_off_by_one(
    n: int, target: str, faulty_folder: Path, faulty: Callable[[str], Kernels]
) -> None:
    """In shared memory, in the audio, in the features: found with a line of that function."""
    source = (faulty_folder / SOURCE.name).read_text().splitlines()
    place = next(i for i, line in enumerate(source) if f"samples == {n}" in line)
    starts = [i for i, line in enumerate(source) if line.startswith("    def ")]
    lines = range(max(i for i in starts if i < place) + 1, min(i for i in starts if i > place) + 1)
    found = shown(faulty(target), n)
    assert any(f":{line}:" in found for line in lines), found


def unexplained(made: dict[str, Any]) -> list[dict[str, str]]:
    """The mutants that show nowhere, for no reason that `silent.py` has."""
    return [it for it in made["silent"] if not it["why"]]


@pytest.mark.slow
def test_some_mutants_of_the_compiled_program() -> None:
    """Every barrier is needed by some call; of other changes a few are tried, by short calls."""
    made = mutants.judge(kernels("sm_80", 80).text(MANY), MANY, each=2, most=mutants.SHORT)
    assert unexplained(made) == []
    assert {it["after"] for it in made["barriers"]} >= {"FETCH", "COLUMNS", "POWERS", "AGREE"}
    assert all(it["calls"] for it in made["barriers"]), made["barriers"]
    assert sum(made["found"].values()) > len(made["silent"])


@NIGHTLY
@pytest.mark.parametrize(
    ("target", "kind"), [(it, kind) for it in TARGETS for kind in NVIDIA[it].all_kernels]
)
def test_mutants_of_the_compiled_program(target: str, kind: int) -> None:
    """Nearly all changes show; the rest have a reason, and the barriers are those of the docs."""
    made = mutants.judge(kernels(target, 80).text(kind), kind)
    assert unexplained(made) == []
    assert len(made["silent"]) <= 0.25 * sum(made["judged"].values())
    assert made["barriers"] == mutants.recorded()[f"{target}, {KERNELS[kind]}"]["barriers"]
