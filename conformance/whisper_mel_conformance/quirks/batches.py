"""Quirks of batches: one clip affects another."""

from __future__ import annotations

from typing import Any

import numpy as np

from whisper_mel_conformance.quirks.path import Call
from whisper_mel_conformance.quirks.table import Array, Table, right

BATCH = Table("batch")


def _of_batch(top: Any, call: Call) -> Any:
    return max(kept.max() for kept in call.batch) if call.wanted.maximum == "clip" else top


BATCH.add(
    "maximum-of-batch",
    "A batch has one maximum instead of one for each clip.",
    "a quiet clip beside a loud one: 0.7",
    "https://github.com/openai/whisper/pull/2862",
    fix="Each clip has its own maximum: `log.amax(dim=(-2, -1), keepdim=True)`, "
    "`log.max(axis=(-2, -1), keepdims=True)`.",
    killer="batch/quiet-beside-loud/80",
    top=_of_batch,
)


class _Batches:
    """A front-end that takes batches and computes single clips rightly."""

    capabilities = {"batch": True}

    def log_mel(self, audio: Array, n_mels: int = 80) -> Array:
        return right(audio, n_mels) if audio.ndim == 1 else self.stack(audio, n_mels)

    def stack(self, audio: Array, n_mels: int) -> Array:
        raise NotImplementedError


@BATCH.front_end(
    "first-clip-for-all",
    "All clips of a batch have the first one's features.",
    "another clip's features",
    fix="Move on to the next clip: add the stride of the batch to the pointers of audio"
    " and features.",
    killer="batch/three/80",
)
class FirstClipForAll(_Batches):
    def stack(self, audio: Array, n_mels: int) -> Array:
        return np.stack([right(audio[0], n_mels)] * len(audio))


@BATCH.front_end(
    "sixteen-clips",
    "Clips after the sixteenth of a batch are not computed.",
    "zeros",
    fix="Loop over the whole batch: start as many blocks as it needs, in several "
    "launches where there is a limit.",
    killer="batch/seventeen/80",
)
class SixteenClips(_Batches):
    def stack(self, audio: Array, n_mels: int) -> Array:
        y = right(audio, n_mels)
        y[16:] = 0.0
        return y
