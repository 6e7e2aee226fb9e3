"""One set of bits: every front-end of the kernel gives those of the library for this CPU."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sanitize import bits
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Refused
from whisper_mel_conformance.frontend.load import registered
from whisper_mel_mojo import builder
from whisper_mel_mojo.library import library

CPU, ACCELERATOR = "WHISPER_MEL_TARGET_CPU", "WHISPER_MEL_ACCELERATOR"
FRONT_ENDS: dict[str, dict[str, str]] = {
    **{name: {} for name in ("mojo-cpu", "mojo-c", "mojo-arm", "mojo-riscv")},
    **{f"mojo-cpu {level}": {CPU: level} for level in ("x86-64-v3", "x86-64-v4")},
    **{name: {} for name in ("mojo-torch", "mojo-max")},
    **{f"mojo-ptx {target}": {ACCELERATOR: target} for target in ("sm_80", "sm_90a")},
    "mojo-air": {},
    **{f"mojo-amdgpu {target}": {ACCELERATOR: target} for target in ("gfx942", "gfx1100")},
    **{name: {} for name in ("mojo-gpu", "mojo-torch-gpu", "mojo-max-gpu")},
}
"""The environment in which each is started; the first word is its registered name."""
ABSENT = ("DeviceError", "BuildError", "ImportError")


def test_no_front_end_is_left_out() -> None:
    ours = {name for name in registered() if name.startswith("mojo-")}
    assert {name.split()[0] for name in FRONT_ENDS} == ours


@contextmanager
def started(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FrontEnd]:
    """The front-end in a process of its own; tests are skipped where it cannot be had."""
    for variable, value in FRONT_ENDS.get(name, {}).items():
        monkeypatch.setenv(variable, value)
    front_end = FrontEnd(name.split()[0], timeout=1800.0)
    try:
        front_end.start()
    except Refused as error:
        if not {*error.types} & {*ABSENT}:
            raise
        pytest.skip(f"{name}: {error.message.splitlines()[0]}")
    try:
        yield front_end
    finally:
        front_end.stop()


def differences(front_end: FrontEnd) -> tuple[int, list[str]]:
    able = front_end.capabilities
    claims = {"pad_to": able.pad_to, "smoothing": len(able.smoothing) > 1, "batch": able.batch}
    claims["int16"] = "int16" in able.dtypes
    claims |= {kind: kind in able.maximum for kind in ("fixed", "chunk")}
    claims |= {dtype: dtype in able.out_dtypes for dtype in ("float16", "bfloat16")}
    return bits.differences(front_end.call, [what for what, it in claims.items() if not it])


EMULATED = ("mojo-ptx", "mojo-air", "mojo-amdgpu", "mojo-arm", "mojo-riscv")
"""Their bits are those of this processor in test_mojo_emulated_kernel.py and
test_mojo_emulated.py, too."""


def marked(name: str) -> Any:
    """What takes long is nightly: MAX compiles a graph for each kind of call, and no other test by
    day needs the kernel for x86-64-v3.
    """
    takes_long = name.startswith(("mojo-max", "mojo-cpu x86-64-v3", *EMULATED))
    return pytest.param(name, marks=[pytest.mark.nightly] if takes_long else [])


@pytest.fixture(autouse=True)
def _of_this_cpu() -> None:
    """This process's library, with which bits are compared, is loaded before the environment of a
    front-end says another one.
    """
    library()


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.parametrize("name", [marked(it) for it in FRONT_ENDS])
def test_the_bits_are_those_of_the_library(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = FRONT_ENDS[name].get(CPU, "")
    levels = ["x86-64", "x86-64-v3", "x86-64-v4"]
    if needed and needed not in levels[: levels.index(best()) + 1]:
        pytest.skip(f"this CPU is a {best()}: it cannot run {needed}")
    with started(name, monkeypatch) as front_end:
        made, found = differences(front_end)
    assert found == []
    assert made >= 45


def best() -> str:
    """This machine's level, of those of x86-64; the lowest elsewhere."""
    return builder.target_cpu() if platform.machine() == "x86_64" else "x86-64"


@pytest.mark.nightly
@pytest.mark.skipif(platform.machine() != "x86_64", reason="every other processor fuses")
def test_other_bits_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without fused multiply-add there are other bits: the one exception, and what shows here."""
    monkeypatch.setenv(CPU, "x86-64")
    with started("mojo-cpu", monkeypatch) as front_end:
        made, found = differences(front_end)
    assert len(found) > made / 2, "few calls are of silence or of a single group"
    assert found[0].startswith("speech, int16: other bits in ")
