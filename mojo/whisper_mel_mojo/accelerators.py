"""The devices that the kernel is built for, and what the compiler is told for each."""

from __future__ import annotations

import os
from typing import NamedTuple

from whisper_mel_mojo.builder import BuildError


class Accelerator(NamedTuple):
    """A device as the compiler knows it.

    ``clusters``: a clip is done by a cluster of blocks that have 227 KiB of shared memory each, by
    up to 16 of them (NVIDIA's data-centre GPUs from Hopper on); else by one block.
    """

    name: str
    clusters: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """What ``launch.mojo`` is built with."""
        defined = ("-D", "CLUSTERS") if self.clusters else ()
        return ("--target-accelerator", self.name, *defined)


# By compute capability. Code for one is not always code for the next: only what is listed is built.
_OF_CAPABILITY = {
    (7, 5): Accelerator("sm_75"),
    (8, 0): Accelerator("sm_80"),
    (8, 6): Accelerator("sm_86"),
    (8, 7): Accelerator("sm_87"),
    (8, 9): Accelerator("sm_89"),
    (9, 0): Accelerator("sm_90a", clusters=True),
    (10, 0): Accelerator("sm_100a", clusters=True),
    (10, 3): Accelerator("sm_103a", clusters=True),
    # 99 KiB of shared memory, clusters of up to 8 blocks
    (12, 0): Accelerator("sm_120a"),
    (12, 1): Accelerator("sm_121a"),
}
NVIDIA = {it.name: it for it in _OF_CAPABILITY.values()}


def accelerator(capability: tuple[int, int]) -> Accelerator:
    """What to build for a CUDA device: ``$WHISPER_MEL_ACCELERATOR``, or by its capability.

    Raises ``BuildError`` for devices that the kernel has not been compiled for.
    """
    chosen = os.environ.get("WHISPER_MEL_ACCELERATOR")
    if chosen:
        if chosen not in NVIDIA:
            raise BuildError(
                f"WHISPER_MEL_ACCELERATOR={chosen}: expected one of {', '.join(NVIDIA)}"
            )
        return NVIDIA[chosen]
    if capability not in _OF_CAPABILITY:
        major, minor = capability
        raise BuildError(
            f"the kernel is not built for CUDA devices of compute capability {major}.{minor}: "
            f"set WHISPER_MEL_ACCELERATOR to one of {', '.join(NVIDIA)} to try another's code"
        )
    return _OF_CAPABILITY[capability]
