"""LLVM IR in the emulator: what small programs of AMD's and Apple's kind compute, and faults."""

from __future__ import annotations

import ctypes
import re
import sys

import numpy as np
import pytest
from whisper_mel_mojo import BuildError
from whisper_mel_mojo.gpu.emulator import llvm
from whisper_mel_mojo.gpu.emulator.program import Finding, Kernel, Launch

pytestmark = pytest.mark.xdist_group("emulator-llvm")

AMD = """
target triple = "amdgcn-amd-amdhsa"
@tile = internal addrspace(3) global [64 x float] undef, align 16
@factors = internal constant { [2 x float] } { [2 x float] [float 5.000000e-01, float f0x3F000000] }
define dso_local amdgpu_kernel void @reversed(ptr %0, ptr %1, ptr %2, i32 noundef %3) #0 {
  %5 = alloca { i64 }, i64 1, align 8, addrspace(5)
  %6 = addrspacecast ptr addrspace(5) %5 to ptr
  %7 = call i32 @llvm.amdgcn.workitem.id.x()
  %8 = zext i32 %7 to i64
  %9 = getelementptr inbounds float, ptr %0, i64 %8
  %10 = load float, ptr %9, align 4
  %11 = getelementptr inbounds float, ptr addrspace(3) @tile, i64 %8
  store float %10, ptr addrspace(3) %11, align 4
  fence syncscope("workgroup") release
  call void @llvm.amdgcn.s.barrier() #4
  fence syncscope("workgroup") acquire
  %12 = sub i64 63, %8
  %13 = getelementptr inbounds float, ptr addrspace(3) @tile, i64 %12
  %14 = load float, ptr addrspace(3) %13, align 4, !dbg !1
  store i64 %12, ptr %6, align 8
  %15 = load i64, ptr %6, align 8
  %16 = and i64 %15, 1
  %17 = getelementptr inbounds [2 x float], ptr @factors, i64 0, i64 %16
  %18 = load float, ptr %17, align 4
  %19 = sitofp i32 %3 to float
  %20 = call float @llvm.fma.f32(float %14, float %18, float %19)
  %21 = getelementptr inbounds float, ptr %2, i64 %8
  store float %20, ptr %21, align 4
  ret void
}
declare void @llvm.amdgcn.s.barrier() #4
attributes #0 = { "target-cpu"="gfx942" }
!0 = !DIFile(filename: "/somewhere/kernel.mojo", directory: "")
!1 = !DILocation(line: 7, column: 9, scope: !2, inlinedAt: !3)
!2 = distinct !DISubprogram(name: "part", file: !0)
!3 = !DILocation(line: 70, column: 5, scope: !2)
"""
AIR = (
    AMD.replace("amdgcn-amd-amdhsa", "air64-apple-macosx")
    .replace("@llvm.amdgcn.workitem.id.x()", "@air.thread_position_in_threadgroup.x()")
    .replace("call void @llvm.amdgcn.s.barrier()", "call void @air.wg.barrier(i32 2, i32 1)")
    .replace("sitofp i32 %3 to float", "call float @air.convert.f.f32.s.i32(i32 %3)")
    .replace("  %5 =", "  %given = load ptr, ptr %0, align 8\n  %5 =")
    .replace("  %5 =", "  %to = load ptr, ptr %2, align 8\n  %5 =")
    .replace("float, ptr %0,", "float, ptr %given,")
    .replace("float, ptr %2,", "float, ptr %to,")
)  # fmt: skip
PROGRAMS = {"AMD": AMD, "AIR": AIR}


def run(code: str, size: int = 64) -> np.ndarray:
    """The result of 64 threads; ``size`` floats of the input are there."""
    given = np.arange(size, dtype=np.float32)
    out = np.zeros(64, np.float32)
    launch = Launch(threads=64, shared=256)
    Kernel(code).run((given, np.zeros(1, np.int64)), out, [ctypes.c_int32(3)], launch, out.nbytes)
    return out


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_computes_what_it_says(name: str) -> None:
    np.testing.assert_array_equal(run(PROGRAMS[name]), np.arange(64)[::-1] * 0.5 + 3)


def test_either_of_two_addresses_of_a_threads_own_memory() -> None:
    """What is chosen of a thread's own memory is its own memory, too; it is not watched."""
    code = AMD.replace("  %7 =", "  %more = alloca { i64 }, i64 1, align 8\n  %7 =").replace(
        "%15 = load i64, ptr %6",
        "%which = select i1 true, ptr %6, ptr %more\n  %15 = load i64, ptr %which",
    )
    np.testing.assert_array_equal(run(code), np.arange(64)[::-1] * 0.5 + 3)


def test_halves() -> None:
    """Each float32 is rounded to nearest even where it is stored."""
    code = AMD.replace(
        "  store float %20, ptr %21",
        "  %half = fptrunc float %10 to half\n  %to = getelementptr inbounds half, ptr %2, i64 %8\n"
        "  store half %half, ptr %to",
    ).replace("store half %half, ptr %to, align 4", "store half %half, ptr %to, align 2")
    given = np.array([1 + 2.0**-11, 1 + 3 * 2.0**-11, 65519, 1e-7, -0.0, np.inf] + [0.5] * 58)
    out = np.zeros(64, np.float16)
    launch = Launch(threads=64, shared=256)
    inputs = (given.astype(np.float32), np.zeros(1, np.int64))
    Kernel(code).run(inputs, out, [ctypes.c_int32(3)], launch, out.nbytes)
    np.testing.assert_array_equal(out.view(np.uint16), given.astype(np.float16).view(np.uint16))


FAULTS = {
    "no barrier": (r"\n  call void @\S+(wg|s)\.barrier\(.*", "", "race|was not written"),
    "unwritten": (r"\n  store float %10, .*", "", "shared memory: read of offset .* not written"),
    "beyond the block's memory": ("i64 63, %8", "i64 64, %8", "4 bytes at 256 are beyond"),
    "before it": ("i64 63, %8", "i64 62, %8", "in no block of the cluster|beyond|multiple"),
    "misaligned": (
        r"inbounds float, ptr addrspace\(3\) @tile, i64 %12",
        "inbounds i8, ptr addrspace(3) @tile, i64 %12",
        "is no multiple of 4",
    ),
    "a write to the input": (r"ptr %(2|to), i64 %8", r"ptr %\g<1>0000, i64 %8", "only read"),
    "beyond the output": (
        r"(ptr %(?:2|to)), i64 %8",
        r"\1, i64 %next",
        "in no memory|beyond the allocation",
    ),
    "beyond the constants": ("%16 = and i64 %15, 1", "%16 = or i64 %15, 2", "beyond|in no memory"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_planted_fault_is_found(name: str, fault: str) -> None:
    pattern, new, message = FAULTS[fault]
    code, count = re.subn(pattern, new, PROGRAMS[name])
    assert count == 1
    given = "%0" if name == "AMD" else "%given"
    code = re.sub(r"%(2|to)0000", given, code)
    if "%next" in code:
        code = code.replace("  %21 =", "  %next = add i64 %8, 1\n  %21 =")
    with pytest.raises(Finding, match=message):
        run(code)


def test_a_finding_names_the_statement_and_its_lines() -> None:
    code = AMD.replace("i64 63, %8", "i64 64, %8")
    with pytest.raises(Finding) as raised:
        run(code)
    assert "`%14 = load float, ptr addrspace(3) %13, align 4` (LLVM IR line 19; " in str(
        raised.value
    )
    assert str(raised.value).endswith("kernel.mojo:7:9 in kernel.mojo:70:5)")


def test_an_input_that_is_too_short_is_found() -> None:
    with pytest.raises(Finding, match=r"in no memory of the device.*thread 63"):
        run(AMD, 63)


REFUSED = {
    "unknown function": ("llvm.fma.f32", "llvm.fancy.f32"),
    "unknown variable": ("internal addrspace(3) global", "internal addrspace(4) global"),
    "unknown parameter of type i16": ("i32 noundef %3", "i16 noundef %3"),
    "unknown instruction": ("%16 = and i64 %15, 1", "%16 = atomicrmw add ptr %9, i64 1 monotonic"),
    "an access of i8": ("store float %20, ptr %21, align 4", "store i8 1, ptr %21, align 1"),
    "that may be a thread's own memory": (
        "%16 = and i64 %15, 1",
        "%16 = and i64 %15, 1\n  %which = select i1 true, ptr %6, ptr %9",
    ),
    "LLVM refuses the program": ("%16 = and i64 %15, 1", "%16 = and i64 %150, 1"),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_unknown_is_refused(words: str) -> None:
    old, new = REFUSED[words]
    assert AMD.count(old) == 1
    with pytest.raises(llvm.IRError, match=words):
        llvm.built(AMD.replace(old, new))


def test_without_llvmlite_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    with pytest.raises(BuildError, match="llvmlite is not installed"):
        llvm.built(AMD + "; anew\n")


@pytest.mark.parametrize(
    ("text", "value"),
    [("f0x3F800000", 1.0), ("5.590170e-01", np.float32(0.559017)), ("-inf", -np.inf)],
)
def test_constants_keep_their_bits(text: str, value: float) -> None:
    found = llvm._floats(f"float {text}, i64 3").split()[1].rstrip(",")
    assert bytes.fromhex(found[2:]) == np.array(value, ">f8").tobytes()
