"""A front-end in its process, whose calls are counted and whose manners are checked."""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.frontend.errors import Broken
from whisper_mel_conformance.frontend.load import Loaded

Array = NDArray[Any]

_SHORTEST, _LOUDEST = 201, 1e16
"""Samples, and amplitude, of the clips that every front-end takes. The reference, whose constants
these are, is not imported into a front-end's process.
"""


class Caller:
    """A front-end whose calls are counted, and whose input and output are checked."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._count = itertools.count(1)
        self._able: dict[Hashable, bool] = {}
        self.calls = 0

    @property
    def device(self) -> str:
        return self._loaded.device

    def unchecked(self, audio: Any, **options: Any) -> Any:
        """Return the front-end's result, whatever it is, without delay.

        Raises ``Broken`` if it declines one clip (``NotImplementedError``) and not another whose
        samples alone are others.
        """
        self.calls = next(self._count)  # next() is atomic, so threads are counted, too
        try:
            result = self._loaded.call(audio, **options)
        except NotImplementedError as error:
            self._note(audio, options, False, str(error))
            raise
        self._note(audio, options, True)
        return result

    def _note(self, audio: Any, options: dict[str, Any], able: bool, why: str = "") -> None:
        """Store whether the front-end is able to do this; raise ``Broken`` if that has changed."""
        words = sorted((name, value) for name, value in options.items() if name != "out")
        kind = (audio.dtype.str, str(audio.flags), "out" in options, *words)
        if self._able.get(kind) == able or not _is_ordinary(audio):
            return
        if self._able.setdefault(kind, able) != able:
            raise Broken(
                f"log_mel declines some clips and takes others (NotImplementedError: {why}): "
                "expected the same of all clips with these options; capabilities can have "
                "max_samples and multiple_of"
            )

    def raw(self, audio: Any, **options: Any) -> Any:
        """Return the front-end's result unchecked. Raises ``Broken`` if it modified the audio."""
        before = audio.tobytes()
        result = self.unchecked(audio, **options)
        if audio.tobytes() != before:
            raise Broken(f"log_mel modified its input ({audio.dtype}, shape {audio.shape})")
        return result

    def __call__(self, audio: Array, **options: Any) -> NDArray[np.float32]:
        """Return the features as float32, which holds those of half formats exactly.

        Raises ``Broken`` unless they are of the dtype that is asked for, in memory of their own.
        """
        result = plain_array(self.raw(audio, **options))
        wanted = options.get("dtype") or "float32"
        if result.dtype.name != wanted or not result.dtype.isnative:
            raise Broken(f"log_mel returned dtype {result.dtype}: expected {wanted}")
        if np.may_share_memory(result, audio):
            raise Broken("log_mel returned an array that shares memory with its input")
        return result if wanted == "float32" else result.astype(np.float32)

    def with_lengths(self, audio: Array, lengths: list[int], n_mels: int) -> Any:
        """Return the front-end's features and valid frames of a batch, unchecked."""
        self.calls = next(self._count)
        assert self._loaded.with_lengths is not None
        return self._loaded.with_lengths(audio, lengths, n_mels=n_mels)

    def begin(self, **options: Any) -> Any:
        """Begin a stream; return the front-end's object, unchecked."""
        self.calls = next(self._count)
        return self._loaded.begin(**options)


def _is_ordinary(audio: Any) -> bool:
    """Return whether the error policy has nothing to say of a clip, nor of its samples."""
    if audio.ndim != 1 or audio.dtype.kind not in "fi" or audio.size < _SHORTEST:
        return False
    return bool(np.abs(audio, dtype=np.float64).max() <= _LOUDEST)  # not of NaN


def plain_array(result: Any) -> Array:
    """Return an array's memory as a plain ``numpy.ndarray``; raise ``Broken`` for other objects.

    Methods of a subclass, which may misstate dtype, shape or values, are not used.
    """
    kind = type(result)
    if not issubclass(kind, np.ndarray) or issubclass(kind, np.ma.MaskedArray):
        raise Broken(f"log_mel returned {kind.__name__}: expected numpy.ndarray")
    return np.ndarray.view(result, np.ndarray)
