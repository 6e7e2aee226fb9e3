"""The frames left free: where each of them begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import WHISPER, mel_filterbank
from whisper_mel_reference.pipeline import window

from whisper_mel_conformance.diagnosis.answer import Answer
from whisper_mel_conformance.diagnosis.free import Free, see
from whisper_mel_conformance.quirks.path import Variation

Array = NDArray[Any]

_WITHIN = 200  # samples early or late
_NEAR = 4  # samples farther than the frame before
_WHOLE = (
    "Let frame t begin 160 t - 200 samples after the clip's first: in whole numbers, by products."
)
_ALIKE = 1e-3  # the largest mean difference of logarithms of a frame that was found


def free_positions(learnt: Mapping[int, Mapping[str, Answer]]) -> Iterator[Free]:
    """Yield the places at which the frames of an answer begin, as samples late."""
    answer = learnt[min(learnt)]["noise"]
    late = _late(answer)
    if late is None or not late.any():
        return

    def cut(frames: Array, call: Any) -> Array:
        extended, size = call.seen["extended"], frames.shape[1]
        t = np.arange(len(frames))
        starts = call.spec.hop * t + late[np.minimum(t, late.size - 1)]
        around = np.pad(extended, (_WITHIN, _WITHIN + size))
        cut: Array = around[starts[:, None] + _WITHIN + np.arange(size)]
        return cut

    yield Free("frames", *_words(late), Variation(stages={"frames": cut}), _WHOLE)


def _late(answer: Answer) -> Array | None:
    """Return how many samples late each frame begins; None if some frame begins nowhere."""
    seen = see(answer)
    bank = mel_filterbank(answer.spec.n_mels).astype(np.float64)
    weights = window(WHISPER, np.dtype(np.float64))
    clip = np.pad(answer.clips[0], WHISPER.reach, mode="reflect")
    clip = np.pad(clip, _WITHIN + _NEAR)
    every = np.lib.stride_tricks.sliding_window_view(clip, WHISPER.n_fft)
    wanted = np.log(np.maximum(seen.mel, 1e-30)).T
    late: list[int] = []
    for t, frame in enumerate(wanted):
        # The first frames and the last reach beyond the clip.
        around = np.arange(-_NEAR, _NEAR + 1) + late[-1] if late else np.arange(-_WITHIN, _WITHIN)
        places = around[np.abs(around) <= _WITHIN]
        spectra = np.fft.rfft(every[WHISPER.hop * t + places + _WITHIN + _NEAR] * weights)
        logs = np.log(np.maximum(np.square(np.abs(spectra)) @ bank.T, 1e-30))
        off = np.abs(logs - frame).mean(axis=1)
        if not off.min() <= _ALIKE:
            return None
        late.append(int(places[off.argmin()]))
    return np.array(late)


def _words(late: Array) -> tuple[str, str]:
    changes = np.flatnonzero(np.diff(late))
    if not changes.size:
        return f"Frames begin {late[0]} samples late.", "All of them do."
    slope = (late[-1] - late[0]) / (late.size - 1)
    listed = ", ".join(f"{late[t + 1]} from frame {t + 1}" for t in changes[:4])
    return (
        f"Frames drift: each begins {WHISPER.hop + slope:.5g} samples after the one before, on "
        f"average, not {WHISPER.hop}.",
        f"They begin {late[0]} samples late at first, {listed}"
        f"{' …' if changes.size > 4 else ''}, and {late[-1]} at frame {late.size - 1}.",
    )
