"""Too little precision: how many bits are left, and in which stage.

Errors of a stage that computes in few bits look like noise. How large they are, over frames and
bands, depends on the stage: those of a transform are a part of its frame's largest magnitude, those
of powers that are stored in half precision a part of each. A stage is named if its model of the
noise, with a level found on some clips, says how large errors are on others, and no other stage's
model says it as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import WHISPER, mel_filterbank
from whisper_mel_reference.pipeline import window

from whisper_mel_conformance.diagnosis.answer import Answer
from whisper_mel_conformance.diagnosis.free import see

Array = NDArray[Any]

_LEVELS = 2.0 ** np.arange(-4.5, -23.0, -0.25)
_EVERY = 4  # of so many frames of the longer clips one is looked at
_FLOAT32 = 3.0  # parts of a bound: of such a part the noise of float32 is, at most
_FAR = 1e-3  # how likely errors of any size are, beside noise
_LOUD = 0.3  # relative errors of mel powers up to which noise adds to them
_BLOCKS = 4  # of bands, in each of which, and on each clip, errors must have the right size
_FEW = 40  # values of such a group, in which noise is above float32's
_GROUPS = 6  # at least
_FACTOR = 2.2  # by which a group's errors may be larger or smaller than the model says
_FAR_OFF = 4.0  # times its size: an error that is farther off counts as one that is not
_OUTLIERS = 0.03  # part of the values that may be that far off
_ODD = 0.125  # of the groups, whose errors may be of another size: coarse sines are off for tones
_SAME = 0.5  # correlation of errors at two levels of the same audio, from which on it is no chance
_SPREAD = 0.3  # of the size of errors, at least: less is a constant
_ALIKE = 0.05  # a value: what a stage must explain better than any other, in logarithms
_ROUNDING = 0.42  # of the largest relative error of roundings: the root of the mean square
_SQUARES = float(np.square(window(WHISPER, np.dtype(np.float64))).sum())


class _Part(NamedTuple):
    """Values of a clip, ``(n_mels, n_frames)`` but ``power``, ``(n_bins, n_frames)``.

    ``error`` is that of the logarithm of the mel power, ``bound`` what float32 may have; values are
    ``used`` where neither a floor nor the range has a say.
    """

    power: Array
    frames: Array
    mel: Array
    feature: Array
    error: Array
    bound: Array
    used: Array
    bank: Array


class _Noise(NamedTuple):
    """A model of noise: ``size`` returns a clip's errors of the logarithms of the mel powers, by a
    level; ``words`` says what that level means; ``kinds`` are those of quirks in the stage."""

    stage: str
    kinds: tuple[str, ...]
    size: Callable[[_Part, float], Array]
    words: Callable[[float], str]


class Imprecise(NamedTuple):
    """Precision that is lost, in words: ``cause`` says where and how much, ``shown`` how that is
    known. ``kinds`` are those of quirks there."""

    cause: str
    shown: str
    kinds: frozenset[str]


def imprecise(
    learnt: Sequence[Answer], unseen: Sequence[Answer], louder: Answer, softer: Answer
) -> Imprecise | None:
    """Say where precision is lost, by answers to plain clips with one number of bands.

    ``louder`` and ``softer`` are answers to one clip at two levels: errors that are the same for
    both are no chance. None if no model says how large errors are, or a shape is another one.
    """
    every = (*learnt, *unseen, louder, softer)
    if any(it.actual is None or it.actual.shape != it.expected.shape for it in every):
        return None
    with np.errstate(all="ignore"):
        return _imprecise(learnt, unseen, _part(louder), _part(softer))


def _imprecise(
    learnt: Sequence[Answer], unseen: Sequence[Answer], louder: _Part, softer: _Part
) -> Imprecise | None:
    fitted = [_part(answer, every=_EVERY) for answer in learnt]
    others = [_part(answer) for answer in unseen]
    found = []
    for noise in _MODELS:
        likely = [_likelihood(noise, fitted, level) for level in _LEVELS]
        level = float(_LEVELS[int(np.argmax(likely))])
        found.append((_likelihood(noise, others, level), noise, level))
    found.sort(key=lambda entry: -entry[0])
    alike = [(noise, level) for value, noise, level in found if value > found[0][0] - _ALIKE]
    noise, level = alike[0]
    if level == _LEVELS[0] or not _is_everywhere(noise, [*fitted, *others], level):
        return None
    # Tables of a transform may be coarse: then its errors are the same.
    if noise.stage != _TRANSFORM and not _is_chance(noise, level, louder, softer):
        return None
    stages = dict.fromkeys(noise.stage for noise, _ in alike)
    kinds = frozenset(kind for noise, _ in alike for kind in noise.kinds)
    shown = "How errors grow and shrink over frames and bands is what such noise makes"
    if len(stages) > 1:
        return Imprecise(
            f"Too little precision in {' or in '.join(stages)}: {noise.words(level)}.",
            f"{shown}; these stages explain it alike.",
            kinds,
        )
    return Imprecise(
        f"Too little precision in {noise.stage}: {noise.words(level)}.",
        f"{shown}; noise of no other stage explains it as well.",
        kinds,
    )


def _part(answer: Answer, every: int = 1) -> _Part:
    assert answer.actual is not None
    seen = see(answer)
    expected = answer.expected[0]
    mel, bank = seen.steps["mel"], mel_filterbank(answer.spec.n_mels).astype(np.float64)
    used = seen.usable & (mel > answer.spec.floor)
    error = np.where(used, np.log(seen.mel / mel), 0.0)
    some = slice(None, None, every)
    return _Part(
        power=seen.steps["power"][some].T,
        frames=seen.steps["windowed"][some],
        mel=mel[:, some],
        feature=expected[:, some],
        error=error[:, some],
        bound=seen.unit[:, some],
        used=used[:, some],
        bank=bank,
    )


def _sizes(noise: _Noise, part: _Part, level: float) -> tuple[Array, Array]:
    """Return the size of the noise, and with that of float32, of the values that are used."""
    size = noise.size(part, level)[part.used]
    return size, np.sqrt(size**2 + (part.bound[part.used] / _FLOAT32) ** 2)


def _likelihood(noise: _Noise, parts: Sequence[_Part], level: float) -> float:
    """Compute how likely errors are, the mean logarithm."""
    total, n = 0.0, 0
    for part in parts:
        _, size = _sizes(noise, part, level)
        near = np.exp(-0.5 * np.square(part.error[part.used] / size)) / size
        total += float(np.log(near + _FAR).sum())
        n += size.size
    return total / max(n, 1)


def _is_everywhere(noise: _Noise, parts: Sequence[_Part], level: float) -> bool:
    """Return whether errors have the right size on each clip, in low and in high bands."""
    groups = []
    for part in parts:
        noisy, size = _sizes(noise, part, level)
        scaled = part.error[part.used] / size
        counts = (noisy > part.bound[part.used] / _FLOAT32) & (noisy < _LOUD)
        blocks = np.nonzero(part.used)[0] * _BLOCKS // len(part.bank)
        groups += [scaled[counts & (blocks == block)] for block in range(_BLOCKS)]
    groups = [group for group in groups if group.size >= _FEW]
    if len(groups) < _GROUPS:
        return False
    outliers = np.mean(np.abs(np.concatenate(groups)) > _FAR_OFF)
    cut = [np.clip(group, -_FAR_OFF, _FAR_OFF) for group in groups]
    sizes = np.array([np.sqrt(np.square(group).mean()) for group in cut])
    off = np.maximum(sizes, 1.0 / sizes)
    odd = np.mean(off > _FACTOR)
    return bool(outliers <= _OUTLIERS and off.max() <= _FAR_OFF and odd <= _ODD)


def _is_chance(noise: _Noise, level: float, louder: _Part, softer: _Part) -> bool:
    """Return whether errors are others at another level of the same audio, and no constant."""
    used = louder.used & softer.used
    scaled = [(part.error / noise.size(part, level))[used] for part in (louder, softer)]
    first, second = (np.clip(values, -_FAR_OFF, _FAR_OFF) for values in scaled)
    spread = first.std() / np.sqrt(np.square(first).mean())
    return bool(spread >= _SPREAD and np.abs(np.corrcoef(first, second)[0, 1]) <= _SAME)


def _of_spectrum(part: _Part, deviation: Array) -> Array:
    """Compute the errors that noise of a frame's spectrum makes, by its deviation, ``(n_frames,)``,
    in each of real and imaginary part."""
    crossed = 4.0 * (np.square(part.bank) @ part.power) * np.square(deviation)
    own = 2.0 * part.bank.sum(axis=1)[:, None] * np.square(deviation)
    size: Array = np.log1p(np.sqrt(crossed + np.square(own)) / part.mel)
    return size


def _bits(level: float) -> str:
    return f"about {max(round(-np.log2(level / _ROUNDING)), 0)} bits are left"


_TRANSFORM, _EACH = (
    "the transform or the windowed frames",
    "the spectrum's values or their powers",
)
_MODELS = (
    _Noise(
        _TRANSFORM,
        ("window", "spectrum"),
        lambda part, level: _of_spectrum(part, level * np.sqrt(part.power.max(axis=0))),
        lambda level: (
            f"about {-np.log2(level):.0f} bits are left; errors are 2^-{-np.log2(level):.1f} of "
            "the frame's largest magnitude, whatever the band"
        ),
    ),
    _Noise(
        _TRANSFORM,
        ("window", "spectrum"),
        lambda part, level: _of_spectrum(part, level * np.linalg.norm(part.frames, axis=1)),
        lambda level: (
            f"about {-np.log2(level):.0f} bits are left; errors are 2^-{-np.log2(level):.1f} of "
            "the root of the windowed frame's energy, whatever the band"
        ),
    ),
    _Noise(
        "the audio, the frames or the spectrum, in fixed point",
        ("input", "window", "spectrum"),
        lambda part, level: _of_spectrum(
            part, level * np.sqrt(_SQUARES / 2.0) * np.ones(part.power.shape[1])
        ),
        lambda level: (
            f"about {1.0 - np.log2(level * np.sqrt(12.0)):.0f} bits are left; errors are those of "
            f"samples with steps of 2^{np.log2(level * np.sqrt(12.0)):.1f}, however loud they are"
        ),
    ),
    _Noise(
        _EACH,
        ("spectrum",),
        lambda part, level: (
            level * np.sqrt(np.square(part.bank) @ np.square(part.power)) / part.mel
        ),
        lambda level: (
            f"{_bits(level)}; errors are 2^-{-np.log2(level):.1f} of each bin's power, and less in "
            "bands of many bins"
        ),
    ),
    _Noise(
        "the mel powers or an approximation of their logarithms",
        ("filterbank", "logarithm"),
        lambda part, level: np.full(part.mel.shape, level),
        lambda level: f"{_bits(level)}; errors are 2^-{-np.log2(level):.1f} of each mel power",
    ),
    _Noise(
        "the logarithm",
        ("logarithm",),
        lambda part, level: level * np.log(10.0) * np.abs(np.log10(part.mel)),
        lambda level: f"{_bits(level)}; errors are 2^-{-np.log2(level):.1f} of each logarithm",
    ),
    _Noise(
        "the features",
        ("output",),
        lambda part, level: level * 4.0 * np.log(10.0) * np.abs(part.feature),
        lambda level: f"{_bits(level)}; errors are 2^-{-np.log2(level):.1f} of each feature",
    ),
)
