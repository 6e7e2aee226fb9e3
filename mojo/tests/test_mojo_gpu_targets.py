"""What the compiler makes of the kernel for devices that need not be there."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from test_mojo_lockstep import PLANTS, planted
from whisper_mel_mojo.builder import SOURCE, run_compiler

if importlib.util.find_spec("max") is None:
    pytest.skip("compiling for GPUs takes the package max", allow_module_level=True)

Target = tuple[object, ...]
"""Its name, n_mels, and options."""
NVIDIA: list[Target] = [
    ("sm_75", 80),
    ("sm_80", 128),
    ("sm_90a", 80, "-D", "CLUSTERS"),
    ("sm_90a", 128, "-D", "CLUSTERS"),
]
OTHERS: dict[Target, str] = {
    ("gfx942", 80): '.amdgcn_target "amdgpu9.42-amd-amdhsa-unknown-gfx942"',
    ("metal:4", 128): 'target triple = "air64-apple-macosx',
}


def assembly(target: Target, folder: Path = SOURCE.parent) -> str:
    name, n_mels, *options = map(str, target)
    source = str(folder / "targets.mojo")
    result = run_compiler(
        ["run", "-D", f"TARGET={name}", "-D", f"N_MELS={n_mels}", *options, source]
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def code() -> Iterator[Callable[[Target], str]]:
    """Each target is compiled once; all of them have been started before the first is needed."""
    with ThreadPoolExecutor(2) as pool:
        compiled: dict[Target, Future[str]] = {
            target: pool.submit(assembly, target) for target in (*NVIDIA, *OTHERS)
        }
        yield lambda target: compiled[target].result()


@pytest.mark.parametrize("target", NVIDIA, ids=str)
def test_ptx(target: Target, code: Callable[[Target], str]) -> None:
    ptx = code(target)
    assert f".target {target[0]}" in ptx
    assert ptx.count(".entry") == 1
    assert ".local" not in ptx  # no array of a thread's own in memory
    assert ".approx" not in ptx  # no sine, logarithm or quotient that is not class A
    assert ("mapa.shared::cluster" in ptx) == ("CLUSTERS" in target)
    assert ("barrier.cluster.arrive" in ptx) == ("CLUSTERS" in target)


@pytest.mark.parametrize("target", NVIDIA, ids=str)
def test_ptxas_spills_nothing(
    target: Target, code: Callable[[Target], str], tmp_path: Path
) -> None:
    ptxas = shutil.which("ptxas")
    if ptxas is None:
        pytest.skip("ptxas is not installed")
    (tmp_path / "kernel.ptx").write_text(code(target))
    report = subprocess.run(
        [ptxas, f"-arch={target[0]}", "-v", "kernel.ptx", "-o", "kernel.cubin"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in report
    used = re.search(r"Used (\d+) registers", report)
    assert used
    threads = 256 if "CLUSTERS" in target else 128
    assert int(used[1]) * threads <= 65536


@pytest.mark.parametrize("target", OTHERS, ids=str)
def test_other_devices(target: Target, code: Callable[[Target], str]) -> None:
    text = code(target)
    assert OTHERS[target] in text


def test_shared_memory_fits(code: Callable[[Target], str]) -> None:
    """Of AMD's and Apple's devices it is declared in the code; of NVIDIA's see the kernel."""
    declared = re.search(r"\.amdhsa_group_segment_fixed_size (\d+)", code(("gfx942", 80)))
    assert declared
    assert 0 < int(declared[1]) <= 48 * 1024
    floats = re.search(r"addrspace\(3\) global \[(\d+) x float\]", code(("metal:4", 128)))
    assert floats
    assert 0 < 4 * int(floats[1]) <= 32 * 1024


def test_a_mutated_phase_changes_the_ptx(code: Callable[[Target], str], tmp_path: Path) -> None:
    """The mutation with which `test_a_wrong_phase_gives_wrong_values` in lockstep."""
    planted(tmp_path, {4004: PLANTS[4004]})
    target = ("sm_75", 80)
    mutated = assembly(target, tmp_path)
    assert "4004" in mutated
    assert "4004" not in code(target)
