"""Builds for other CPUs: same values, and what the compiler has made of the kernel."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from daily import by_day
from programs import ran
from whisper_mel_mojo import builder
from whisper_mel_mojo.library import LOG_MEL
from whisper_mel_reference import WHISPER, score

WIDE = ("-D", "WIDTH=16")
TARGETS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("x86-64", "x86-64-v3", "x86-64-v4"), ()),
    **dict.fromkeys(("x86-64-v3 wide", "x86-64-v4 wide"), WIDE),
}
BUILDS = by_day(TARGETS, ["x86-64-v3", "x86-64-v4"])
LIBC = re.compile(r"(calloc|free|malloc|memcpy|memset|getpid|sched_yield|pthread_\w+)(@|$)")


def build(target: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHISPER_MEL_TARGET_CPU", target.split()[0])
    return builder.built_library(None, *TARGETS[target])


def features(library: Path, audio: Any, n_mels: int, smoothing: int) -> Any:
    log_mel = ctypes.CDLL(str(library)).whisper_mel_log_mel
    log_mel.argtypes, log_mel.restype = LOG_MEL, ctypes.c_ssize_t
    trim = 2 if smoothing == 1 else 0
    out = np.full((n_mels - trim, audio.size // 160 - trim), np.nan, np.float32)
    clip = (audio.ctypes.data, 0, 1, audio.size, audio.size, 0, n_mels, smoothing)
    assert log_mel(*clip, out.ctypes.data, out.size, 1, None, None) == 0
    return out


def audio() -> Any:
    """Noise that rises by 80 dB, and a frame count (187) that is no multiple of a group's."""
    random = np.random.default_rng(5)
    loudness = 10 ** np.linspace(-4, 0, 187 * 160)
    return (random.uniform(-0.5, 0.5, 187 * 160) * loudness).astype(np.float32)


def host_runs(target: str) -> bool:
    order = ["x86-64", "x86-64-v3", "x86-64-v4"]
    return builder.target_cpu() in order and order.index(builder.target_cpu()) >= order.index(
        target.split()[0]
    )


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("target", BUILDS)
def test_every_build_is_right(target: str, n_mels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if not host_runs(target):
        pytest.skip(f"this CPU is a {builder.target_cpu()}: it cannot run {target}")
    library = build(target, monkeypatch)
    clip = audio()
    for code, smoothing in enumerate((None, "valid", "same")):
        out = features(library, clip, n_mels, code)
        spec = WHISPER.replace(n_mels=n_mels, smoothing=smoothing)
        assert score(out, clip, spec) <= 1
        if target not in ("x86-64", "x86-64-v3"):  # the width of a vector changes no bit
            narrow = features(build("x86-64-v3", monkeypatch), clip, n_mels, code)
            assert np.array_equal(out, narrow)


def disassembly(library: Path, function: str) -> list[str]:
    """The instructions of a function, whose name is looked up among the library's symbols."""
    names = ran(["nm", "-S", library], check=True)
    (symbol,) = (line for line in names.stdout.splitlines() if f"::{function}" in line)
    start, size = (int(field, 16) for field in symbol.split()[:2])
    command = ["objdump", "-d", "--no-show-raw-insn", str(library)]
    command += [f"--start-address={start}", f"--stop-address={start + size}"]
    listing = ran(command, check=True).stdout
    return re.findall(r"^\s+[0-9a-f]+:\s+(?:\{evex\} )?(.*)$", listing, re.MULTILINE)


def spills(code: list[str]) -> int:
    """Vectors that are kept on the stack for want of registers: stores and loads."""
    return sum(1 for line in code if re.search(r"\(%r[sb]p.*%[xyz]mm|%[xyz]mm.*\(%r[sb]p", line))


# Stack accesses in the code of the transforms. AVX2 has 16 registers for 50 values of a DFT of 25.
SPILLS = {"x86-64-v3": 170, "x86-64-v4": 70}


@pytest.mark.parametrize("target", SPILLS)
def test_vectors_stay_in_registers(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code = disassembly(build(target, monkeypatch), "power_spectrum[")
    fused = sum(1 for line in code if line.startswith(("vfmadd", "vfnmadd", "vfmsub", "vfnmsub")))
    assert fused > 300, "the transforms' multiply-adds are not in there: nothing was checked"
    assert not any(line.startswith("call") for line in code)
    assert spills(code) <= SPILLS[target]


@pytest.mark.nightly
def test_spills_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as many frames to a group as registers are wide: every vector takes two of them."""
    code = disassembly(build("x86-64-v3 wide", monkeypatch), "power_spectrum[")
    assert spills(code) > 2 * SPILLS["x86-64-v3"]


def test_the_clamp_stores_whole_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """AVX2's masked stores take eight times as long, and for some CPU types the compiler chooses
    them. (AVX-512's, which it chooses too, cost nothing.)
    """
    code = disassembly(build("x86-64-v3", monkeypatch), "raise_to(")
    assert any(line.startswith("vmaxps") for line in code)
    assert not any("maskmov" in line for line in code)


@pytest.mark.parametrize("target", BUILDS)
def test_libc_is_all_it_needs(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["nm", "-D", "--undefined-only", str(build(target, monkeypatch))]
    listing = ran(command, check=True).stdout
    needed = re.findall(r" U (\S+)", listing)
    assert "pthread_create@GLIBC_2.34" in needed
    assert [name for name in needed if not LIBC.match(name)] == []


@pytest.mark.nightly
def test_arm_has_neon_and_no_library_calls_for_arithmetic(tmp_path: Path) -> None:
    """Cross-compiled and read: there is no such CPU here."""
    made = tmp_path / "kernel.s"
    command = ["build", "--emit", "asm", "--target-triple", "aarch64-unknown-linux-gnu"]
    command += ["--target-cpu", "generic", str(builder.SOURCE), "-o", str(made)]
    done = builder.run_compiler(command)
    assert done.returncode == 0, done.stderr
    text = made.read_text()
    vectors = len(re.findall(r"\bfml[as]\s+v\d+\.4s", text))
    assert vectors > 600, "multiply-adds of four lanes: 391 of the filterbank and the transforms'"
    called = set(re.findall(r"^\s+bl\s+(\w+)$", text, re.MULTILINE))
    assert "pthread_create" in called
    own = {name for name in called if name.startswith("whisper_mel_")}
    assert {name for name in called - own if not LIBC.match(name)} == set()
