"""The GPUs that the kernel is compiled for: one table for wheels, archive and checks."""

from __future__ import annotations

import os
from typing import NamedTuple

from whisper_mel_mojo.builder import BuildError

MANY, FEW, SMOOTHED, FORMED, DIRECT, DIRECT_FLOAT16, DIRECT_BFLOAT16 = range(7)
"""Kinds of kernels, as ``mel_kernel.mojo`` numbers them."""
KERNELS = {
    MANY: "many clips",
    FEW: "few clips",
    SMOOTHED: "smoothed",
    FORMED: "any form",
    DIRECT: "fixed maximum",
    DIRECT_FLOAT16: "fixed maximum, float16",
    DIRECT_BFLOAT16: "fixed maximum, bfloat16",
}
FORMS = (FORMED, DIRECT, DIRECT_FLOAT16, DIRECT_BFLOAT16)
"""The kinds for other forms than the plain one, which every target has."""


class Target(NamedTuple):
    """A kind of GPU as the compiler names it, some ``devices`` of it, and where its code goes.

    ``capability`` is CUDA's compute capability; None for AMD and Apple, whose code is compiled but
    not launched. ``registers`` are the largest numbers that a thread may use, for each of
    ``all_kernels`` up to ``DIRECT``; None if the compiler does not tell. With ``clusters``, a
    cluster of up to 16 blocks with 227 KiB of shared memory each computes a clip (NVIDIA's
    data-centre GPUs from Hopper on); otherwise one block does. ``wheel`` and ``archive`` say
    whether wheels, and the archive for machines with a GPU, have its code by default.
    ``scalar_spills`` is the number of scalar registers that may be kept in lanes of vector
    registers (AMD).
    """

    name: str
    devices: str
    capability: tuple[int, int] | None
    registers: tuple[int, ...] | None
    clusters: bool = False
    wheel: bool = False
    archive: bool = False
    scalar_spills: int = 0

    @property
    def kernels(self) -> tuple[int, ...]:
        """The kinds of kernels for the plain form, which the first launch loads.

        Where a block does a clip alone, one serves few clips and many.
        """
        return (MANY, FEW, SMOOTHED) if self.clusters else (MANY, SMOOTHED)

    @property
    def all_kernels(self) -> tuple[int, ...]:
        """The kinds of kernels, those for other forms last, which are loaded when they are used."""
        return (*self.kernels, *FORMS)

    def most_registers(self, kernel: int) -> int | None:
        """Return the limit of one of ``all_kernels``; halves take as many as ``DIRECT``."""
        kinds = self.all_kernels
        return self.registers[kinds.index(min(kernel, DIRECT))] if self.registers else None

    @property
    def options(self) -> tuple[str, ...]:
        """The compiler's options for ``launch.mojo``."""
        defined = ("-D", "CLUSTERS") if self.clusters else ()
        return ("--target-accelerator", self.name, *defined)


_SHIPPED = {"wheel": True, "archive": True}
# To add a GPU, add its row; `./dev gpu compile NAME` tells how many registers it needs. Code for
# one GPU may not run on the next: only listed ones are built.
TARGETS = {
    target.name: target
    for target in (
        Target("sm_75", "RTX 20, T4", (7, 5), (112, 149, 160, 96)),
        Target("sm_80", "A100", (8, 0), (112, 149, 164, 96), **_SHIPPED),
        Target("sm_86", "RTX 30, A10", (8, 6), (113, 152, 164, 96), **_SHIPPED),
        Target("sm_87", "Orin", (8, 7), (113, 149, 164, 96)),
        Target("sm_89", "RTX 40, L4", (8, 9), (113, 152, 164, 96), **_SHIPPED),
        Target("sm_90a", "H100, H200", (9, 0), (72, 113, 149, 161, 80), clusters=True, **_SHIPPED),
        Target("sm_100a", "B200", (10, 0), (72, 113, 152, 161, 80), clusters=True, **_SHIPPED),
        Target("sm_103a", "B300", (10, 3), (72, 113, 152, 161, 80), clusters=True),
        # 99 KiB of shared memory, clusters of up to 8 blocks
        Target("sm_120a", "RTX 50", (12, 0), (113, 152, 167, 96), wheel=True),
        Target("sm_121a", "DGX Spark", (12, 1), (113, 152, 167, 96)),
        Target("gfx942", "MI300X", None, (133, 158, 164, 131), scalar_spills=86),
        Target("gfx1100", "RX 7900", None, (91, 112, 120, 88)),
        Target("apple-m4", "M4", None, None),
    )
}
NVIDIA = {name: target for name, target in TARGETS.items() if target.capability is not None}
"""Targets that the kernel can be launched on."""


def target_of(capability: tuple[int, int]) -> Target:
    """Return the target of a CUDA device: ``$WHISPER_MEL_ACCELERATOR``, or by compute capability.

    Raises ``BuildError`` for devices that the kernel has not been compiled for.
    """
    chosen = os.environ.get("WHISPER_MEL_ACCELERATOR")
    if chosen:
        if chosen not in NVIDIA:
            raise BuildError(
                f"WHISPER_MEL_ACCELERATOR={chosen}: expected one of {', '.join(NVIDIA)}"
            )
        return NVIDIA[chosen]
    for target in NVIDIA.values():
        if target.capability == capability:
            return target
    major, minor = capability
    raise BuildError(
        f"the kernel is not built for CUDA devices of compute capability {major}.{minor}: "
        f"set WHISPER_MEL_ACCELERATOR to one of {', '.join(NVIDIA)} to try another's code"
    )
