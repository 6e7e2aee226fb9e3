"""What the compiler makes of the kernel for devices that need not be there: `./dev gpu compile`.

By day NVIDIA's are compiled that the emulator executes, too; the whole matrix by the workflow.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import re
from functools import lru_cache

import pytest
import tasks.gpu
from daily import by_day
from gpu.compile.budget import BANDS, Key, budget_of, report, violations
from gpu.compile.code import Measured, find_ptxas, measure
from gpu.pack import bundle
from release import wheels
from whisper_mel_mojo.builder import MAX_SOURCE
from whisper_mel_mojo.gpu.code import compiled
from whisper_mel_mojo.gpu.emulator.kernels import texts
from whisper_mel_mojo.gpu.targets import DIRECT, FEW, FORMED, FORMS, MANY, NVIDIA, SMOOTHED, TARGETS

pytestmark = [pytest.mark.compiles, pytest.mark.torch, pytest.mark.xdist_group("gpu-code")]

EXECUTED = (("sm_80", 80, MANY), ("sm_90a", 80, MANY), ("sm_90a", 80, DIRECT))
"""Kernels that the emulator executes by day."""
OTHERS = (
    ("sm_90a", 128, MANY),
    ("sm_80", 80, FORMED),
    ("gfx942", 80, MANY),
    ("apple-m4", 128, SMOOTHED),
)

if importlib.util.find_spec("max") is None:
    pytest.skip("compiling for GPUs takes the package max", allow_module_level=True)

needs_ptxas = pytest.mark.skipif(find_ptxas() is None, reason="ptxas is not installed")


@lru_cache
def code(target: str, n_mels: int, kernel: int) -> str:
    """Of NVIDIA's what the emulator executes, which is kept; each of the others once."""
    if target in NVIDIA:
        return texts(target, n_mels)[n_mels, kernel]
    return compiled(target, n_mels, kernel)[n_mels, kernel]


@pytest.mark.parametrize(("target", "n_mels", "kernel"), by_day([*EXECUTED, *OTHERS], EXECUTED))
def test_within_the_budget(target: str, n_mels: int, kernel: int) -> None:
    measured = measure(target, code(target, n_mels, kernel))
    assert violations(measured, budget_of(TARGETS[target], n_mels, kernel)) == []


@pytest.mark.parametrize("target", TARGETS)
def test_the_budget_is_one_that_devices_can_grant(target: str) -> None:
    """Registers for all threads of a block, and no more shared memory than it can have."""
    is_apple = target.startswith("apple")
    frames = 32 if TARGETS[target].clusters else 8 if is_apple else 16
    most = 227 if TARGETS[target].clusters else 32 if is_apple else 48
    for n_mels, kernel in itertools.product(BANDS, TARGETS[target].all_kernels):
        budget = budget_of(TARGETS[target], n_mels, kernel)
        assert budget["shared"] <= most * 1024
        assert not {"spills", "local", "approximate"} & set(budget)  # 0
    assert (TARGETS[target].registers is None) == is_apple
    for kernel in TARGETS[target].all_kernels:
        threads = 8 * frames * (2 if kernel == FEW else 1)
        resident = 3 if TARGETS[target].clusters and kernel in (MANY, *FORMS[1:]) else 1
        assert (TARGETS[target].most_registers(kernel) or 0) * threads * resident <= 65536


def test_what_is_shipped_is_compiled_and_can_be_launched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`./dev gpu compile` holds every target to its budget, those of wheels and archive among
    them; each is found by a compute capability of its own.
    """
    asked: list[Key] = []

    def measure_all(wanted: list[Key]) -> dict[Key, Measured | str]:
        asked.extend(wanted)
        return dict.fromkeys(wanted, "stand-in")

    monkeypatch.setattr("gpu.compile.budget.measure_all", measure_all)
    assert tasks.gpu.run(["compile"]) == 1
    assert asked == [
        (name, n_mels, kernel)
        for name, target in TARGETS.items()
        for n_mels in BANDS
        for kernel in target.all_kernels
    ]
    shipped = {*wheels.default_accelerators(), *bundle.default_targets()}
    assert shipped == {it.name for it in TARGETS.values() if it.wheel or it.archive}
    assert {"sm_80", "sm_90a"} <= shipped
    assert len({target.capability for target in NVIDIA.values()}) == len(NVIDIA)


def test_maxs_operation_has_the_same_clusters() -> None:
    """``max_op.mojo`` names the architectures that have them."""
    named = set(re.findall(r'"(sm_\d+)" in ARCHITECTURE', MAX_SOURCE.read_text()))
    assert named == {it.name.removesuffix("a") for it in TARGETS.values() if it.clusters}


def test_clusters_exchange_through_shared_memory() -> None:
    for target, n_mels, kernel in EXECUTED[:2]:
        ptx = code(target, n_mels, kernel)
        in_cluster = target == "sm_90a"
        assert ("mapa.shared::cluster" in ptx) == in_cluster
        assert ("barrier.cluster.arrive" in ptx) == in_cluster


# --------------------------------------------------------------------- misses are seen

ALL_WELL = Measured(kernels=1, cluster=1, shared=100, registers=200, spills=0, local=0)
LIMITS = {"kernels": 1, "cluster": 1, "shared": 100, "registers": 200}


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ({"registers": 201}, "registers 201, budget 200"),
        ({"spills": 4}, "spills 4, budget 0"),
        ({"scalar_spills": 1}, "scalar_spills 1, budget 0"),
        ({"local": 8}, "local 8, budget 0"),
        ({"approximate": 1}, "approximate 1, budget 0"),
        ({"shared": 101}, "shared 101, budget 100"),
        ({"kernels": 2}, "kernels 2, budget 1"),
        ({"kernels": 0}, "kernels 0, budget 1"),
        ({"cluster": 8}, "cluster 8, budget 1"),
        ({"registers": None}, "registers not measured, budget 200"),
    ],
)
def test_anything_beyond_the_budget_fails(
    change: dict[str, int], missed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    key = ("sm_1", 80, MANY)
    budget = {key: LIMITS}
    assert report(budget, {key: ALL_WELL}) == 0
    assert "missed" not in capsys.readouterr().out
    assert report(budget, {key: dataclasses.replace(ALL_WELL, **change)}) == 1
    assert f"missed: sm_1, 80 bands, many clips: {missed}\n" in capsys.readouterr().out


def test_what_was_not_measured_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        report({("sm_1", 80, MANY): LIMITS}, {("sm_1", 80, MANY): "it could not be compiled"}) == 1
    )
    assert report({}, {}) == 1
    with pytest.raises(SystemExit):
        tasks.gpu.run(["compile", "sm_1"])
    with pytest.raises(ValueError, match="expected the mapping"):
        measure("sm_75", "\n.target sm_75")
    with pytest.raises(ValueError, match="the code is not for sm_75"):
        measure("sm_75", "threads 1 cluster 1 shared 1\n.target sm_80")


@needs_ptxas
def test_a_planted_spill() -> None:
    """The same code with half of the registers has to spill, and is found to."""
    ptx = code("sm_80", 80, MANY)
    assert ptx.count(".maxntid 128") == 1
    measured = measure("sm_80", ptx.replace(".maxntid 128", ".maxntid 128\n.maxnreg 64"))
    assert measured.registers is not None
    assert measured.registers <= 64
    assert measured.spills
    missed = violations(measured, budget_of(TARGETS["sm_80"], 80, MANY))
    assert any(line.startswith("spills ") for line in missed)
    assert any(line.startswith("local ") for line in missed)


def test_planted_words_in_the_code() -> None:
    """Each word for which the code is searched is one that is found there."""
    another = """
.visible .entry another()
{
    .local .align 4 .b8 array[8];
    .reg .f32 %f<3>;
    lg2.approx.f32 %f1, %f2;
    ret;
}
"""
    measured = measure("sm_80", code("sm_80", 80, MANY) + another)
    assert (measured.kernels, measured.approximate) == (2, 1)
    assert measured.local


@pytest.mark.nightly
def test_planted_words_in_the_code_for_other_vendors() -> None:
    amd = code("gfx942", 80, MANY)
    assert amd.count(".vgpr_spill_count: 0") == 1
    spilled = measure("gfx942", amd.replace(".vgpr_spill_count: 0", ".vgpr_spill_count: 3"))
    assert spilled.spills == 3
    assert measure("gfx942", amd + "\tv_log_f32_e32 v0, v1\n").approximate == 1
    air = code("apple-m4", 128, SMOOTHED)
    assert measure("apple-m4", air + "declare float @air.fast_log.f32(float)\n").approximate == 1


@pytest.mark.nightly
def test_there_is_nothing_to_fuse() -> None:
    """So MAX, which lets the compiler fuse, gives the same bits: one word may be left out."""

    def without_the_word(code: str) -> str:
        return re.sub(r"\b(add|sub|mul)\.rn\.f32", r"\1.f32", code)

    fixed = compiled("sm_90a", 80)
    free = compiled("sm_90a", 80, options=("--fp-mode", "contract=fast"))
    assert fixed.keys() == free.keys()
    for key, code in free.items():
        assert "add.rn.f32" not in code
        assert without_the_word(code) == without_the_word(fixed[key])
