"""Mutated copies of the kernel: ``kernel.toml``, and how one becomes a front-end."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.paths import ROOT

if TYPE_CHECKING:
    from whisper_mel_conformance.frontend.client import FrontEnd

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MUTANTS = ROOT / "ci" / "mutants"
KERNEL = ROOT / "mojo" / "whisper_mel_mojo" / "mel_kernel.mojo"
LANE = "sanitize "
"""What the killer of a mutant begins with that is rejected by a lane of ``./dev sanitize``."""


@dataclass(frozen=True)
class KernelMutant:
    """A replacement in the kernel's source; ``equivalent`` says why nothing can tell it."""

    id: str
    target: str
    old: str
    new: str
    killer: str
    equivalent: str = ""

    def source(self) -> str:
        """The mutated kernel. Raises ``ValueError`` unless ``old`` occurs exactly once."""
        text = KERNEL.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(
                f"mutant {self.id}: its text occurs {text.count(self.old)} times in "
                f"{KERNEL.name}, expected once: {self.old!r}"
            )
        return text.replace(self.old, self.new)

    @property
    def lane(self) -> str | None:
        """The lane of ``./dev sanitize`` that rejects it, where no case can."""
        return self.killer.removeprefix(LANE) if self.killer.startswith(LANE) else None


def kernel_mutants() -> dict[str, KernelMutant]:
    """Those of ``ci/mutants/kernel.toml``, by id."""
    data = tomllib.loads((MUTANTS / "kernel.toml").read_text(encoding="utf-8"))
    mutants = [KernelMutant(**entry) for entry in data["mutant"]]
    return {mutant.id: mutant for mutant in mutants}


def sources(folder: Path, mutant: KernelMutant | None) -> Path:
    """The kernel's sources in a folder, mutated or not; the kernel's path."""
    for file in KERNEL.parent.glob("*.mojo"):
        (folder / file.name).write_text(file.read_text(encoding="utf-8"))
    if mutant is not None:
        (folder / KERNEL.name).write_text(mutant.source(), encoding="utf-8")
    return folder / KERNEL.name


@contextmanager
def started(mutant: KernelMutant) -> Iterator[FrontEnd]:
    """The mutant, compiled, as a front-end. Raises ``BuildError`` if it does not compile."""
    from whisper_mel_conformance.frontend.client import FrontEnd
    from whisper_mel_mojo.builder import built_library

    with tempfile.TemporaryDirectory() as folder:
        kernel = sources(Path(folder), mutant)
        os.environ["WHISPER_MEL_CACHE"] = folder
        try:
            is_cpu = mutant.target == "cpu"
            library = built_library(kernel if is_cpu else kernel.with_name("lockstep.mojo"))
        finally:
            del os.environ["WHISPER_MEL_CACHE"]
        os.environ["WHISPER_MEL_MUTANT"] = str(library)
        front_end = FrontEnd(f"{MUTANTS / 'front_end.py'}:{mutant.target}")
        try:
            front_end.start()
            yield front_end
        finally:
            front_end.stop()
