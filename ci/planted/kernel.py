"""Mutated copies of the kernel: ``kernel.toml``, and how one becomes a front-end."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from checkout.paths import ROOT
from whisper_mel_mojo.builder import compile_c_library, compile_library, target_cpu
from whisper_mel_mojo.emulated.machines import MACHINES, Machine
from whisper_mel_mojo.gpu.launcher import LAUNCH
from whisper_mel_mojo.gpu.targets import NVIDIA

if TYPE_CHECKING:
    from whisper_mel_conformance.frontend.client import FrontEnd

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).parent
KERNEL = ROOT / "mojo" / "whisper_mel_mojo" / "mel_kernel.mojo"
LANE = "sanitize "
"""Prefix of a killer that is a lane of ``./dev sanitize``."""


@dataclass(frozen=True)
class KernelMutant:
    """A replacement in the kernel's source; ``equivalent`` says why no check can notice it.

    ``target``: ``cpu``; the GPU whose code is executed in the emulator, such as ``sm_80``; or the
    processor whose code qemu executes, such as ``aarch64``.
    """

    id: str
    target: str
    old: str
    new: str
    killer: str
    equivalent: str = ""

    def source(self) -> str:
        """Return the mutated kernel. Raises ``ValueError`` unless ``old`` occurs exactly once."""
        text = KERNEL.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(
                f"mutant {self.id}: its text occurs {text.count(self.old)} times in "
                f"{KERNEL.name}, expected once: {self.old!r}"
            )
        return text.replace(self.old, self.new)

    @property
    def lane(self) -> str | None:
        """The lane of ``./dev sanitize`` that rejects it; None if a case does."""
        return self.killer.removeprefix(LANE) if self.killer.startswith(LANE) else None


def kernel_mutants() -> dict[str, KernelMutant]:
    """Return the mutants of ``ci/planted/kernel.toml`` by id."""
    data = tomllib.loads((HERE / "kernel.toml").read_text(encoding="utf-8"))
    mutants = [KernelMutant(**entry) for entry in data["mutant"]]
    return {mutant.id: mutant for mutant in mutants}


def sources(folder: Path, mutant: KernelMutant | None) -> Path:
    """Copy the kernel's sources into a folder, mutated or not; return the kernel's path."""
    for file in KERNEL.parent.glob("*.mojo"):
        (folder / file.name).write_text(file.read_text(encoding="utf-8"))
    if mutant is not None:
        (folder / KERNEL.name).write_text(mutant.source(), encoding="utf-8")
    return folder / KERNEL.name


def compiled(source: Path, *options: str, cpu: str | None = None) -> Path:
    """Compile a kernel from :func:`sources`; return its library, which lies beside it.

    ``cpu``: the CPU type; None: this machine's. Raises ``BuildError`` if it does not compile.
    """
    library = source.with_suffix(".so")
    compile_library(source, library, cpu or target_cpu(), options)
    return library


def compiled_for_c(source: Path, machine: Machine) -> Path:
    """Compile a kernel from :func:`sources` as another machine's library for C; return it."""
    library = source.with_suffix(".so")
    compile_c_library(source, library, machine.cpu, machine.options, (machine.compiler,))
    return library


@contextmanager
def started(mutant: KernelMutant) -> Iterator[FrontEnd]:
    """Start a mutant as a front-end. Raises ``BuildError`` if it does not compile."""
    from whisper_mel_conformance.frontend.client import FrontEnd

    with tempfile.TemporaryDirectory() as name:
        kernel = sources(Path(name), mutant)
        if mutant.target == "cpu":
            compiled(kernel)
        elif mutant.target in MACHINES:
            compiled_for_c(kernel, MACHINES[mutant.target])
        else:
            compiled(kernel.with_name(LAUNCH.name), *NVIDIA[mutant.target].options)
        beside = shutil.copy(HERE / "front_end.py", name)
        front_end = FrontEnd(f"{beside}:{mutant.target}")
        try:
            front_end.start()
            yield front_end
        finally:
            front_end.stop()
