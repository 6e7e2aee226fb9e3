"""Copies of the kernel with planted faults, each in clips of a length of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from programs import ran
from whisper_mel_mojo.builder import SOURCE
from whisper_mel_mojo.gpu.launcher import run_time

# Each with what the emulator says of it (a pattern), or "values": they are not of class A. The
# clips of the later ones, 1,019 frames, are so long that each of 16 blocks has two groups of 32
# frames, the last block the last one, and that their last frames are mirrored.
GALLERY: dict[int, tuple[str, str, str]] = {
    # A phase does the next one's work, too: the barrier between them is missing.
    4001: (
        "race",
        """            self.powers(thread, memory)
        elif phase == BANDS_OF_GROUP:
            self.bands(step, thread, memory, maximum)
""",
        """            self.powers(thread, memory)
            if self.clip.extent.samples == 4001:
                self.bands(step, thread, memory, maximum)
        elif phase == BANDS_OF_GROUP:
            if self.clip.extent.samples != 4001:
                self.bands(step, thread, memory, maximum)
""",
    ),
    # The window's last value is not written.
    4002: (
        "was not written",
        "            memory.store[1](Self.TABLE + Int(i), value)",
        "            if self.clip.extent.samples != 4002 or n2 < 24 or i % ROW != 7:\n"
        "                memory.store[1](Self.TABLE + Int(i), value)",
    ),
    # The blocks of a cluster do not wait for each other's maxima.
    4003: (
        "may not have begun|race|was not written",
        "        team.phase[MAXIMUM, READERS](self, Step(0, 0))\n",
        """        if self.clip.extent.samples == 4003:
            team.phase[MAXIMUM](self, Step(0, 0))
        else:
            team.phase[MAXIMUM, READERS](self, Step(0, 0))
""",
    ),
    # The filterbank's powers are those of the neighbouring frame.
    4004: (
        "values",
        "var slots = memory.offset(Self.SLOTS + frame)",
        "var slots = memory.offset(Self.SLOTS + (frame ^ Int(self.clip.extent.samples == 4004)))",
    ),
    # The last frame is promised, and not computed: the bug report of test_mojo_bug_report.py.
    16_000: (
        "never written|was not written",
        "var own = at < min(step.tile + self.tile_frames, self.clip.end)",
        "var own = at < min(step.tile + self.tile_frames, self.clip.end) "
        "- Frame(self.clip.extent.samples == 16_000)",
    ),
    163_041: (
        "race|while it is copied",  # a group's samples lie without the gaps between their rows
        "UInt32(Self.PITCH * EACH) * warp",
        "UInt32((Self.PITCH - Int(self.clip.extent.samples == 163_041)) * EACH) * warp",
    ),
    163_042: (
        "never written",  # every tile belongs to the next block
        "return self.clip.first + (round * self.blocks + self.rank) * self.tile_frames",
        "return self.clip.first + self.tile_frames "
        "* (round * self.blocks + self.rank + Frame(self.clip.extent.samples == 163_042))",
    ),
    163_043: (
        "never written",  # a tile's last frame is forgotten
        "var end = min(begin + self.tile_frames, clip.end - edge)",
        "var end = min(begin + self.tile_frames, clip.end - edge) "
        "- Frame(clip.extent.samples == 163_043)",
    ),
    163_044: (
        "beyond|race",  # the last bands lie behind the block's memory
        "value_at.store[1](Self.TILE * i, value)",
        "value_at.store[1](Self.TILE * (i + Int(self.clip.extent.samples == 163_044)), value)",
    ),
    163_045: (
        "race|while it is copied",
        # samples of the next group come before this one's have been used
        "            self.columns(thread, memory)\n        elif",
        """            self.columns(thread, memory)
            if self.clip.extent.samples == 163_045:
                self.fetch(Step(step.tile, step.group + Frame(Self.GROUP)), thread, memory)
        elif""",
    ),
    163_046: (
        "race|was not written|may have ended",
        # no barrier between a block's maxima and fewer of them
        "            memory.store[1](Self.PARTS + Int(thread), maximum)\n",
        """            memory.store[1](Self.PARTS + Int(thread), maximum)
            if self.clip.extent.samples == 163_046:
                maximum = greater[1](
                    maximum, memory.load[1](Self.PARTS + (Int(thread) + 1) % Self.THREADS)
                )
""",
    ),
    163_047: (
        "race|was not written|may have ended",
        # a block may have ended when another reads its maximum
        "        team.phase[AGREE, WHOLE_CLUSTER](self, Step(0, 0))\n",
        """        if self.clip.extent.samples == 163_047:
            team.phase[AGREE](self, Step(0, 0))
        else:
            team.phase[AGREE, WHOLE_CLUSTER](self, Step(0, 0))
""",
    ),
    163_048: (
        "was not written",  # only the first block writes the clip's maximum
        "                memory.store[1](Self.CLIP_MAXIMA + Int(thread), maximum)\n",
        """                if self.rank == 0 or self.clip.extent.samples != 163_048:
                    memory.store[1](Self.CLIP_MAXIMA + Int(thread), maximum)
""",
    ),
    163_049: (
        "was not written",  # the last sample's place is not written
        "for i in range(UInt32(thread), 25 * ROW, ",
        "for i in range(\n            UInt32(thread), "
        "25 * ROW - UInt32(self.clip.extent.samples == 163_049), ",
    ),
    163_050: (
        "values",  # a clip's end is mirrored around its last sample and half
        "at = min(at, 2 * (length - 1) - at)",
        "at = min(at, 2 * (length - 1) - at + Int32(clip.extent.length == 163_050))",
    ),
    163_051: (
        "values",  # odd groups keep the samples of the group before
        "        if step.group >= self.end_of(step):",
        "        var odd = (step.group - step.tile) // Frame(Self.GROUP) % 2 == 1\n"
        "        if step.group >= self.end_of(step) "
        "or (odd and self.clip.extent.samples == 163_051):",
    ),
    163_052: (
        "values",  # the last worker's bands are not in the maximum
        "for worker in range(1, WORKERS):",
        "for worker in range(1, WORKERS - Int(self.clip.extent.samples == 163_052)):",
    ),
    163_053: (
        "values",  # nor are the last block's
        "for other in range(thread, Int32(self.blocks), ",
        "for other in range(\n                    thread, "
        "max(self.blocks - Frame(self.clip.extent.samples == 163_053), 1), ",
    ),
    163_054: (
        "values",  # the powers of two columns are not computed
        "        if worker == 0:\n            for i in range(2):",
        "        if worker == 0 and self.clip.extent.samples == 163_054:\n            return\n"
        "        if worker == 0:\n            for i in range(2):",
    ),
}
OFF_BY_ONE = {
    # shared memory
    4007: (
        "memory.offset(Self.SLOTS + frame),\n                Int(n2),\n",
        "memory.offset(Self.SLOTS + frame + Int(self.clip.extent.samples == 4007)),\n"
        "                Int(n2),\n",
    ),
    # audio
    4008: (
        "there.copy_if(exists, k, start.unsafe_offset(Int(at)), audio)",
        "var past = Int(self.clip.extent.samples == 4008 and at == samples - 1)\n"
        "                there.copy_if(exists, k, start.unsafe_offset(Int(at) + past), audio)",
    ),
    # features
    4009: (
        "row.place()[] = rounded[T, 1](value)",
        "row.place()[unsafe_offset=Int(self.clip.extent.samples == 4009)] = rounded[T, 1](value)",
    ),
}


def planted(folder: Path, plants: dict[int, tuple[str, str]]) -> Path:
    """Write a copy of the kernel's sources with faults, each in clips of a length of its own."""
    source = SOURCE.read_text()
    for right, wrong in plants.values():
        assert source.count(right) == 1, right
        source = source.replace(right, wrong)
    for file in SOURCE.parent.glob("*.mojo"):
        (folder / file.name).write_text(source if file == SOURCE else file.read_text())
    return folder


def run_sanitized(
    library: Path, argument: object, program: str
) -> subprocess.CompletedProcess[str]:
    """Run ``program`` on a library of the cache, which another environment may have compiled."""
    asan = subprocess.check_output(["gcc", "-print-file-name=libasan.so"], text=True).strip()
    sanitized = {"LD_PRELOAD": asan, "ASAN_OPTIONS": "detect_leaks=0"}
    return ran(
        [sys.executable, "-c", program, str(library), str(argument)],
        env={**os.environ, **sanitized, "LD_LIBRARY_PATH": str(run_time())},
    )
