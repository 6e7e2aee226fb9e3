"""Calls of every kind, each made once on memory of exactly its size, for checkers and profilers.

``python -m gpu.device.exercise [values|short|few|one|unwritten|CLIPS]`` makes every kind of call,
those on short clips, some of these, the first, one call on unwritten memory, or two calls of so
many clips. It prints the number of calls.
"""

from __future__ import annotations

import sys

import numpy as np
from whisper_mel_mojo import gpu

from gpu.device.calls import CALLS, SETS, Call, Memory, perform
from gpu.device.driver import device
from gpu.device.scale import scale

SAID = "calls executed: "


def main(what: str) -> int:
    """Make the calls that ``what`` names; return their number."""
    if what in SETS:
        for call in SETS[what]:
            perform(call, 0)
        return len(SETS[what])
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
