"""WAV files as blocks of samples, with the standard library and NumPy alone."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
UNKNOWN = (0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Sizes that a program writes which does not know yet how much it will write (SoX, arecord …)."""
BITS = {PCM: (8, 16, 24, 32), FLOAT: (32, 64)}


class Wav:
    """An open WAV file of 8, 16, 24 or 32-bit integers, or of 32 or 64-bit floats.

    ``rate`` is in samples a second; ``length`` is the number of samples of each channel that the
    file announces, None if it announces none.
    """

    def __init__(self, file: BinaryIO, rate: int, channels: int, sample: tuple[int, int]) -> None:
        self.rate, self.channels = rate, channels
        self.length: int | None = None
        self.doubt = ""
        self._file = file
        self._kind, self._bits = sample
        self._left: int | None = None

    def announce(self, size: int) -> None:
        """Take the size of the data in bytes, which the file says."""
        self._left = size
        self.length = size // self._frame

    @property
    def _frame(self) -> int:
        return self.channels * self._bits // 8

    def blocks(self, frames: int) -> Iterator[NDArray[np.float32]]:
        """Yield the samples: float32 of shape ``(n, channels)``, ``n`` up to ``frames``."""
        while True:
            wanted = frames * self._frame
            content = self._file.read(wanted if self._left is None else min(wanted, self._left))
            if self._left is not None:
                self._left -= len(content)
            whole = content[: len(content) // self._frame * self._frame]
            if not whole:
                return
            yield self._samples(whole).reshape(-1, self.channels)

    def _samples(self, content: bytes) -> NDArray[np.float32]:
        if self._kind == FLOAT:
            with np.errstate(over="ignore"):  # infinite samples are counted elsewhere
                return np.frombuffer(content, f"<f{self._bits // 8}").astype(np.float32)
        if self._bits == 8:
            return (np.frombuffer(content, np.uint8) - np.float32(128)) / np.float32(128)
        if self._bits == 24:
            wide = np.zeros((len(content) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
            integers = wide.view("<i4")[:, 0]
        else:
            integers = np.frombuffer(content, f"<i{self._bits // 8}")
        scale = np.float32(2 ** (8 * integers.itemsize - 1))
        return integers.astype(np.float32) / scale


def open_wav(file: BinaryIO) -> Wav | None:
    """Return the WAV file that ``file`` is at its beginning; None if it is another format.

    It is None, too, for a WAV file of samples that are compressed.
    """
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    riff = int.from_bytes(head[4:8], "little")
    found: Wav | None = None
    while len(chunk := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", chunk)
        if name == b"data":
            # Of a head that was filled in, whose chunks go on, 0 is the size; else it is not known.
            is_empty = not size and riff not in UNKNOWN and riff + 8 > file.tell()
            if found and (is_empty or size not in UNKNOWN):
                found.announce(size)
            return found
        end = file.tell() + size + size % 2
        if name == b"fmt ":
            found = _described(file, file.read(min(size, 40)))
            if not found:
                return None
        file.seek(end)
    return None


def _described(file: BinaryIO, content: bytes) -> Wav | None:
    """Return the WAV file that the content of a chunk ``fmt `` describes; None if we read none."""
    if len(content) < 16:
        return None
    kind, channels, rate, _, frame, bits = struct.unpack("<HHIIHH", content[:16])
    if kind == EXTENSIBLE and len(content) >= 26:
        (kind,) = struct.unpack("<H", content[24:26])
    is_plain = bits in BITS.get(kind, ()) and frame == channels * bits // 8
    return Wav(file, rate, channels, (kind, bits)) if is_plain and channels and rate else None
