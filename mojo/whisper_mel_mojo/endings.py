"""The ends of audio files, of which decoders say little: are they missing, do others follow."""

from __future__ import annotations

import os
import re
from typing import BinaryIO, Literal, NamedTuple

from whisper_mel_mojo.wav import UNKNOWN

CUT = "was cut off: its end is missing"
FOLLOWED = "has several recordings, one after the other, of which the first was read"


class _Size(NamedTuple):
    """Where a head says how many bytes there are, with how many more before them."""

    place: int
    bytes: int
    order: Literal["little", "big"]
    before: int


_SIZES = {
    b"RIFF": _Size(4, 4, "little", 8),
    b"RIFX": _Size(4, 4, "big", 8),
    b"FORM": _Size(4, 4, "big", 8),  # AIFF
    b"RF64": _Size(20, 8, "little", 8),
    b"BW64": _Size(20, 8, "little", 8),
    b"riff": _Size(16, 8, "little", 0),  # W64
}
_MP3_FRAME = re.compile(rb"\xff[\xe2-\xff]")
_MP3_TAG = re.compile(rb"Xing|Info")


class Ending(NamedTuple):
    """What a file says of its end.

    ``doubt`` is what should be known of it, or an empty string. ``announces_length``: an MP3 file
    says how long it is, where decoders guess.
    """

    doubt: str
    announces_length: bool


def ending(file: BinaryIO) -> Ending:
    """Return what a file says of its end; rewind it."""
    size = file.seek(0, os.SEEK_END)
    head = _read(file, 0, 32)
    place, frames = _first_of_mp3(file)
    kind = head[:4]
    said = ""
    if kind == b"OggS":
        said = _of_ogg(file, size)
    elif kind == b"caff":
        said = CUT if _end_of_caf(file, size) > size else ""
    elif kind == b".snd":
        length = int.from_bytes(head[8:12], "big")
        said = _of_size(length, int.from_bytes(head[4:8], "big"), size)
    elif kind in _SIZES:
        at, width, order, before = _SIZES[kind]
        said = _of_size(int.from_bytes(head[at : at + width], order), before, size)
    elif (end := _end_of_mp3(place, frames)) and end < size:
        rest = _read(file, end, 131)
        rest = rest[128:] if rest[:3] == b"TAG" else rest  # ID3v1
        said = FOLLOWED if rest[:3] == b"ID3" or _MP3_FRAME.match(rest) else ""
    file.seek(0)
    return Ending(said, bool(_MP3_TAG.search(frames)))


def _read(file: BinaryIO, place: int, size: int) -> bytes:
    file.seek(place)
    return file.read(size)


def _of_size(length: int, before: int, size: int) -> str:
    is_known = length not in (*UNKNOWN, 2**63 - 1, 2**64 - 1)
    return CUT if is_known and before + length > size + 1 else ""  # a byte may fill up the last


def _end_of_caf(file: BinaryIO, size: int) -> int:
    place = 8
    while len(head := _read(file, place, 12)) == 12:
        length = int.from_bytes(head[4:], "big", signed=True)
        if length < 0:  # up to the end
            return size
        place += 12 + length
    return place


def _of_ogg(file: BinaryIO, size: int) -> str:
    """Look at the head of every page: its last page says so, and a first one follows no other."""
    place, is_last, has_begun, is_followed = 0, False, False, False
    while len(head := _read(file, place, 27)) == 27 and head[:4] == b"OggS":
        is_first, is_last = bool(head[5] & 2), bool(head[5] & 4)
        is_followed = is_followed or (is_first and has_begun)
        has_begun = has_begun or not is_first
        place += 27 + head[26] + sum(file.read(head[26]))
        if place > size:
            is_last = False
    if not is_last:
        return CUT
    return FOLLOWED if is_followed else ""


def _first_of_mp3(file: BinaryIO) -> tuple[int, bytes]:
    """Return where the first frames of an MP3 file are, after ID3v2, and their content."""
    head = _read(file, 0, 10)
    place = 0
    if head[:3] == b"ID3":
        for byte in head[6:]:
            place = place << 7 | byte & 127
        place += 10
    return place, _read(file, place, 4096)


def _end_of_mp3(place: int, head: bytes) -> int | None:
    """Return where the frames of an MP3 file end, as it says; None if it does not.

    ``place`` is where they begin, ``head`` what is there.
    """
    frame, tag = _MP3_FRAME.search(head), _MP3_TAG.search(head)
    if not frame or not tag:
        return None
    fields = [int.from_bytes(head[at : at + 4], "big") for at in range(tag.end(), tag.end() + 9, 4)]
    if not fields[0] & 2:  # it has no number of bytes, which may be after a number of frames
        return None
    return place + frame.start() + fields[1 + (fields[0] & 1)]
