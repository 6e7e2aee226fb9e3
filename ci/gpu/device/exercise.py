"""Makes each call once, on memory of exactly its size, for checkers and profilers to watch.

``python -m gpu.device.exercise [values|unwritten|CLIPS]``: every kind of call; one on memory that
nothing wrote; or two calls of so many clips. Prints how many calls were made.
"""

from __future__ import annotations

import sys

import numpy as np
from whisper_mel_mojo import gpu

from gpu.device.calls import CALLS, Call, Memory, perform
from gpu.device.driver import device
from gpu.device.scale import scale

SAID = "calls executed: "


def main(what: str) -> int:
    """Makes the calls that ``what`` names; returns how many."""
    if what == "values":
        for call in CALLS:
            perform(call, 0)
        return len(CALLS)
    if what == "unwritten":
        call = CALLS[0]
        out = Memory(call.shape, np.float32)
        gpu.log_mel(Memory((call.clips, call.samples), np.float32), out=out)
        device().wait_for()
        return 1
    for _ in range(2):
        perform(Call("a batch", int(what), scale().clip), 0)
    return 2


if __name__ == "__main__":
    print(f"{SAID}{main(sys.argv[1])}")
