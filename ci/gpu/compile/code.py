"""Measurement of the kernel's compiled code for a target, without a GPU.

``ptxas`` assembles NVIDIA's code, if it is installed; AMD's and Apple's code contains its measures.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Measured:
    """Measures of the compiled kernel; None where they cannot be known here."""

    kernels: int
    cluster: int
    shared: int
    registers: int | None = None
    spills: int | None = None
    scalar_spills: int | None = None
    local: int | None = None
    approximate: int | None = None


def measure(target: str, text: str) -> Measured:
    """Measure a kernel of ``compiled``; raise ``ValueError`` if it is another target's."""
    mapping, _, code = text.partition("\n")
    words = mapping.split()
    if words[::2] != ["threads", "cluster", "shared"]:
        raise ValueError(f"expected the mapping, got {mapping!r}")
    common = {"cluster": int(words[3]), "shared": int(words[5])}
    if target.startswith("sm_"):
        return _measure_nvidia(target, code, common)
    if target.startswith("gfx"):
        return _measure_amd(target, code, common)
    return _measure_apple(code, common)


def _measure_nvidia(target: str, ptx: str, common: dict[str, int]) -> Measured:
    if f".target {target}" not in ptx:
        raise ValueError(f"the code is not for {target}")
    measured: dict[str, Any] = {
        "kernels": len(re.findall(r"^\s*\.visible \.entry ", ptx, re.M)),
        "local": len(re.findall(r"\.local\b", ptx)),
        # Less accurate than IEEE 754 rounding: sine, logarithm, quotient, square root
        "approximate": len(re.findall(r"\.(?:approx|full)\b", ptx)),
        **common,
    }
    ptxas = find_ptxas()
    if ptxas:
        listing = _assemble(ptxas, target, ptx)
        measured["registers"] = max(map(int, re.findall(r"Used (\d+) registers", listing)))
        frames = re.findall(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", listing
        )
        measured["local"] += max(int(stack) for stack, _, _ in frames)
        measured["spills"] = max(int(stores) + int(loads) for _, stores, loads in frames)
    return Measured(**measured)


def find_ptxas() -> str | None:
    """Find NVIDIA's assembler, on the PATH or in a wheel of nvidia-cuda-nvcc; None if absent."""
    found = shutil.which("ptxas")
    if found:
        return found
    places = (place for path in sys.path for place in Path(path).glob("nvidia/*/bin/ptxas"))
    return next((str(place) for place in places if os.access(place, os.X_OK)), None)


def _assemble(ptxas: str, target: str, ptx: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        command = [ptxas, f"-arch={target}", "-v", str(source), "-o", f"{source}.cubin"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"ptxas refused it:\n{result.stderr.strip()}")
    return result.stderr


def _measure_amd(target: str, code: str, common: dict[str, int]) -> Measured:
    if not re.search(rf'\.amdgcn_target "[^"]*{target}"', code):
        raise ValueError(f"the code is not for {target}")

    def number(name: str) -> int:
        return max(int(value) for value in re.findall(rf"\.{name}:\s+(\d+)", code))

    shared = number("group_segment_fixed_size")
    if shared != common["shared"]:
        raise ValueError(f"{shared} bytes of shared memory are declared, not {common['shared']}")
    return Measured(
        kernels=len(re.findall(r"^\s*\.amdhsa_kernel ", code, re.M)),
        registers=number("vgpr_count"),
        spills=number("vgpr_spill_count"),
        scalar_spills=number("sgpr_spill_count"),
        local=number("private_segment_fixed_size"),
        approximate=len(re.findall(r"\bv_(?:log|exp|sin|cos|sqrt|rsq)_", code)),
        **common,
    )


def _measure_apple(code: str, common: dict[str, int]) -> Measured:
    if 'target triple = "air64-apple-macosx' not in code:
        raise ValueError("the code is not AIR")
    floats = [int(n) for n in re.findall(r"addrspace\(3\) global \[(\d+) x float\]", code)]
    if 4 * sum(floats) != common["shared"]:
        raise ValueError(
            f"{floats} floats of shared memory are declared, not {common['shared']} bytes"
        )
    kernels = re.search(r"^!air\.kernel = !\{(.*)\}$", code, re.M)
    return Measured(
        kernels=len(kernels[1].split(",")) if kernels else 0,
        approximate=len(re.findall(r"@air\.(?:fast_\w+|\w*(?:log|exp|sin|cos|sqrt)\w*)", code)),
        **common,
    )
