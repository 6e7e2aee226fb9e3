"""Operations on a front-end's streams: samples pushed in pieces, frames that come back.

See :mod:`whisper_mel_conformance.frontend.operations`.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from whisper_mel_conformance.frontend.caller import Array, Caller, plain_array
from whisper_mel_conformance.frontend.effects import allocated_bytes
from whisper_mel_conformance.frontend.errors import Broken

_LOUD = np.float32(12345.0)


def stream(
    caller: Caller, streams: Sequence[Mapping[str, Any]], *, reuse_buffer: bool = False
) -> list[dict[str, Any]]:
    """Push the pieces of several streams in turns, then finish each.

    Each of ``streams`` has its ``audio``, its ``pieces`` (their lengths, together the audio's), and
    the options of ``stream``. With ``reuse_buffer``, all pieces are pushed in one array, which is
    overwritten with loud samples as soon as the push is over.

    Returns the ``features`` of each stream, put together, and how many frames each push and the end
    gave (``counts``). Raises ``Broken`` unless results are float32 of one number of bands, and stay
    as they are until the last stream is finished.
    """
    buffer = np.empty(max(max(one["pieces"], default=0) for one in streams), np.float32)
    begun = [_Stream(caller, one) for one in streams]
    for turn in range(max(len(one["pieces"]) for one in streams)):
        for one in begun:
            piece = one.piece(turn)
            if piece is None:
                continue
            given = buffer[: piece.size] if reuse_buffer else np.empty_like(piece)
            given[...] = piece
            one.take(one.object.push(given))
            if given.tobytes() != piece.tobytes():
                raise Broken("push modified its samples")
            if reuse_buffer:
                buffer[...] = _LOUD
    for one in begun:
        one.take(one.object.finish())
    return [one.together() for one in begun]


def stream_growth(caller: Caller, audio: Array, *, times: int, **options: Any) -> float:
    """Return how many bytes more a stream keeps of ``times`` further pushes of ``audio``.

    It is the smallest growth of the last three of four runs of ``times`` pushes: what else is
    allocated meanwhile is not the stream's. Results are not kept.
    """
    begun = caller.begin(**options)

    def pushed() -> int:
        for _ in range(times):
            begun.push(np.array(audio))
        gc.collect()
        return allocated_bytes()

    usages = [pushed() for _ in range(4)]
    begun.finish()
    return float(np.diff(usages).min())


class _Stream:
    """A stream of a front-end, its pieces, and the frames that it has given so far."""

    def __init__(self, caller: Caller, asked: Mapping[str, Any]) -> None:
        options = dict(asked)
        self._audio: Array = options.pop("audio")
        self._pieces = list(_cut(self._audio, options.pop("pieces")))
        self.object = caller.begin(**options)
        self._given: list[Array] = []
        self._copies: list[Array] = []

    def piece(self, turn: int) -> Array | None:
        """Return the piece for a turn; None if there are no more."""
        return self._pieces[turn] if turn < len(self._pieces) else None

    def take(self, result: Any) -> None:
        """Note the frames of a push or of the end; raise ``Broken`` for what is none."""
        frames = plain_array(result)
        if frames.dtype != np.float32 or not frames.dtype.isnative:
            raise Broken(f"a stream gave dtype {frames.dtype}: expected float32")
        bands = frames.shape[:1] if not self._copies else self._copies[0].shape[:1]
        if frames.ndim != 2 or frames.shape[:1] != bands:
            raise Broken(f"a stream gave shape {frames.shape}: expected (n_mels, k), k may be 0")
        self._given.append(frames)
        self._copies.append(np.array(frames))

    def together(self) -> dict[str, Any]:
        """Return all frames and their numbers; raise ``Broken`` if some have changed since."""
        for i, (given, copy) in enumerate(zip(self._given, self._copies, strict=True), 1):
            if given.tobytes() != copy.tobytes():
                raise Broken(f"the frames that push {i} gave were changed by a later one")
        features = np.ascontiguousarray(np.concatenate(self._copies, axis=1))
        return {"features": features, "counts": [copy.shape[1] for copy in self._copies]}


def _cut(audio: Array, lengths: Sequence[int]) -> Iterator[Array]:
    start = 0
    for length in lengths:
        yield audio[start : start + length]
        start += length
