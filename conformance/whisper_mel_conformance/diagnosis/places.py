"""Where features are off: in which clips, frames and bands, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from whisper_mel_reference import CLASS_B, stages

from whisper_mel_conformance.diagnosis.answer import Answer, Array


def located(wrong: Sequence[Answer]) -> str:
    """Say on which clips, in which frames and bands values are off."""
    answer = wrong[0]
    assert answer.actual is not None
    names = ", ".join(f"“{a.name}”" for a in wrong)
    if answer.actual.shape != answer.expected.shape:
        return (
            f"On {names} values or shapes are off; on “{answer.name}” it gives shape "
            f"{answer.actual.shape[1:]} where {answer.expected.shape[1:]} is expected."
        )
    off = is_off(answer)
    bands, frames = np.flatnonzero(off.any(axis=1)), np.flatnonzero(off.any(axis=0))
    return (
        f"Values are off on {names}; on “{answer.name}” {off.sum()} of {off.size}: frames "
        f"{_runs(frames)} of {off.shape[1]}, bands {_runs(bands)} of {off.shape[0]}"
        f"{_only(answer, off)}; score {answer.score:.3g}."
    )


def is_off(answer: Answer) -> Array:
    """Return which features are off, in any of the clips: shape ``(bands, frames)``."""
    assert answer.actual is not None
    with np.errstate(invalid="ignore"):
        right = np.abs(answer.actual - answer.expected) <= CLASS_B * answer.bound
    return np.asarray(~right.all(axis=0))


def only_place(wrong: Sequence[Answer]) -> str:
    """Name the frames or bands that are off alone, the same in all answers, with a verb; empty if
    there are none, or too few answers to tell."""
    alike = [a for a in wrong if a.actual is not None and a.actual.shape == a.expected.shape]
    if not len(alike) == len(wrong) >= _TELLING:
        return ""
    masks = [is_off(answer) for answer in wrong]
    frames = [np.flatnonzero(off.any(axis=0)).tolist() for off in masks]
    each = [*zip(frames, (off.shape[1] for off in masks), strict=True)]
    first, k = frames[0][0], len(frames[0])
    step = frames[0][1] - first if k > 1 else 0
    if all(of == [*range(n - k, n)] for of, n in each):
        return "the last frame is" if k == 1 else f"the last {k} frames are"
    if all(of == [*range(k)] for of in frames):
        return "the first frame is" if k == 1 else f"the first {k} frames are"
    if first and all(of == [*range(first, n)] for of, n in each):
        return f"frames from {first} on are"
    if step > 1 and all(of == [*range(first, n, step)] for of, n in each):
        return f"one frame in {step}, from {first} on, is"
    bands = [np.flatnonzero(off.any(axis=1)).tolist() for off in masks]
    if all(of == bands[0] for of in bands) and len(bands[0]) < min(map(len, masks)):
        runs = _runs(np.array(bands[0]))
        return f"band {runs} is" if len(bands[0]) == 1 else f"bands {runs} are"
    return ""


_TELLING = 3  # answers whose wrong values lie in one place alone tell that it is there


def _only(answer: Answer, off: Array) -> str:
    """Say what all values that are off have in common, if it is something; begins with a comma."""
    if answer.audio.ndim != 1 or answer.spec.pad_to is not None or answer.spec.smoothing:
        return ""
    n_frames = off.shape[1]
    if not off[:, 2 : n_frames - 2].any():
        return ", all in frames that reach beyond the clip"
    seen = stages(answer.audio, answer.spec)
    clamped = np.less(seen["log"], seen["clamped"])
    if clamped.any() and not off[~clamped].any():
        return ", all of them values that the clip's maximum raises"
    at_floor = np.less_equal(seen["mel"], answer.spec.floor)
    if at_floor.any() and not off[~at_floor].any():
        return ", all of them at the floor"
    return ""


def _runs(indices: Array) -> str:
    """``0-3, 7, 9-12``."""
    if not indices.size:
        return "none"
    breaks = np.flatnonzero(np.diff(indices) > 1)
    starts = indices[np.r_[0, breaks + 1]]
    ends = indices[np.r_[breaks, indices.size - 1]]
    runs = [f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True)]
    return ", ".join(runs[:6]) + (" …" if len(runs) > 6 else "")
