"""What a failing front-end most likely does: the quirk or the pair of quirks that explains it.

It is asked for the features of a few clips, which show together what single ones hide, and its
answers are compared with the catalogue's. What nothing known explains is described: the first
stage, the frames and the bands that differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import CLASS_B, WHISPER, stages

from whisper_mel_conformance.cases.checks import render_audio
from whisper_mel_conformance.diagnosis.fitting import Answer, Explanation, explain
from whisper_mel_conformance.diagnosis.weights import OtherWeights, other_weights
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Refused, Unsupported
from whisper_mel_conformance.frontend.load import Capabilities

Array = NDArray[Any]


@dataclass(frozen=True)
class Probe:
    """A clip made of ``recipes`` one after the other (or a batch of them), and options."""

    name: str
    recipes: tuple[Mapping[str, Any], ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    is_batch: bool = False

    def audio(self) -> Array:
        """The samples, shape ``(n,)`` or ``(batch, n)``."""
        parts = [render_audio(recipe) for recipe in self.recipes]
        return np.stack(parts) if self.is_batch else np.concatenate(parts)


def _signal(name: str, n: int, **more: Any) -> dict[str, Any]:
    return {"signal": name, "n": n, **more}


_LOUD = (
    _signal("noise", 517, seed=901, gain=0.4),
    _signal("noise_ramp", 1100, seed=902),
    _signal("tone_in_noise", 960, seed=903, frequency=437.0, gain=0.7, noise_db=-110.0),
    _signal("silence", 640),
    _signal("click", 480, at=171, gain=0.5),
    _signal("dc", 240, gain=0.2),
    _signal("noise", 143, seed=904, gain=0.3),
)
_QUIET = (
    _signal("noise", 700, seed=905, gain=2e-4),
    _signal("noise", 1200, seed=906, gain=1.2e-5),
    _signal("tone", 900, frequency=523.0, gain=1e-4),
    _signal("silence", 800),
    _signal("noise", 439, seed=907, gain=3e-3),
)
_LATE = (
    _signal("noise_ramp", 11_200, seed=908, start_db=-80.0, stop_db=-40.0),
    _signal("noise", 1100, seed=909, gain=0.9),
    _signal("noise", 2380, seed=910, gain=1e-4),
)
_TAIL = (_signal("loud_tail", 4080, seed=911),)
_FULL_SCALE = (_signal("noise", 2161, seed=912, gain=1.7), _signal("square", 1200, frequency=441.0))
_REMAINDER = (_signal("noise", 1919, seed=913, gain=0.2),)


def probes(able: Capabilities) -> list[Probe]:
    """The clips that a front-end with these capabilities is asked for."""
    bands = {"n_mels": able.n_mels[0]}
    chosen = [
        Probe("loud", _LOUD, bands),
        Probe("quiet", _QUIET, bands),
        Probe("late", _LATE, bands),
        Probe("loud tail", _TAIL, bands),
        Probe("full scale", _FULL_SCALE, bands),
        Probe("remainder", _REMAINDER, bands),
        Probe("silence", (_signal("silence", 1600),), bands),
    ]
    noise = (_signal("noise_ramp", 2111, seed=914),)
    chosen += [Probe(f"{n_mels} bands", _LOUD, {"n_mels": n_mels}) for n_mels in able.n_mels[1:]]
    for dtype in able.dtypes[1:]:
        recipe = {**noise[0], "dtype": dtype}
        chosen.append(Probe(dtype, (recipe,), bands))
    for smoothing in able.smoothing:
        if smoothing is not None:
            chosen.append(Probe(f"smoothing {smoothing}", noise, {**bands, "smoothing": smoothing}))
    if able.pad_to:
        chosen.append(Probe("padded", noise, {**bands, "pad_to": 4000}))
    if able.batch:
        pair = (_signal("noise", 1777, seed=915, gain=1e-5), _signal("noise", 1777, seed=916))
        chosen.append(Probe("batch", pair, bands, is_batch=True))
    if able.max_samples is not None:
        chosen = [p for p in chosen if p.audio().shape[-1] <= able.max_samples]
    return chosen


@dataclass
class Diagnosis:
    """What is known about a failing front-end.

    ``explanations`` are quirks, or pairs of them, that make its features, the likeliest first;
    ``sentences`` say it for people; ``worst`` is the clip to look at.
    """

    explanations: list[Explanation]
    sentences: list[str]
    worst: Answer | None = None

    def arrays(self) -> dict[str, Array]:
        """``actual``, ``expected`` and ``bound`` of the clip to look at; empty if there is none."""
        if self.worst is None or self.worst.actual is None:
            return {}
        actual = self.worst.actual[0]
        if actual.ndim != 2 or not actual.size:
            return {}
        return {
            "actual": actual,
            "expected": self.worst.expected[0],
            "bound": self.worst.bound[0],
        }

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "summary": self.sentences,
            "explanations": [
                {
                    "score": explanation.score,
                    "quirks": [
                        {
                            "id": variant.id,
                            "value": variant.value,
                            "mechanism": variant.quirk.mechanism,
                            "seen": list(variant.quirk.seen),
                        }
                        for variant in explanation.variants
                    ],
                }
                for explanation in self.explanations
            ],
        }


def diagnose(
    front_end: FrontEnd, chosen: Sequence[Probe] | None = None, failed: Sequence[str] = ()
) -> Diagnosis:
    """Ask a front-end for the features of some clips, and explain them.

    ``failed`` are the ids of the cases that it fails: what they have in common is said where its
    features are right.
    """
    asked = probes(front_end.capabilities) if chosen is None else chosen
    answers = [_ask(front_end, probe) for probe in asked]
    given = [answer for answer in answers if answer.features is not None]
    if not given and not any(answer.error for answer in answers) and chosen is None:
        # Nothing is supported: some take only clips that are filled up to 30 s.
        some = [probe for probe in asked if probe.name in ("loud", "quiet", "128 bands")]
        asked = [replace(p, options={**p.options, "pad_to": 480_000}) for p in some]
        answers = [_ask(front_end, probe) for probe in asked]
        given = [answer for answer in answers if answer.features is not None]
    if not given:
        whys = [answer.error for answer in answers if answer.error]
        why = whys[0] if whys else "it supports none of the clips of the diagnosis"
        return Diagnosis([], [f"It gives no features at all: {why}."])
    again = _ask(front_end, asked[answers.index(given[0])])
    sentence = _of_another_call(given) or _differing(given[0], again)
    if sentence:
        return Diagnosis([], [sentence], given[0])
    wrong = [answer for answer in given if not answer.score <= CLASS_B]
    degenerate = _degenerate(given[0])
    if degenerate:
        return Diagnosis([], [degenerate], given[0])
    sentences = _refusals(answers)
    if not wrong:
        names = ", ".join(answer.name for answer in given)
        sentences.append(
            f"It is right on the clips of the diagnosis ({names}): its failures come from what "
            "differs from those, as memory, order, threads, lengths or bad input."
        )
        sentences += _shown_by(failed)
        return Diagnosis([], sentences)
    worst = max(wrong, key=lambda a: (a.score, a.audio.size))
    weights = other_weights(given)
    # Hundreds of weights fit what is one number, too: a single quirk is the better explanation.
    explanations = explain(given, in_pairs=weights is None)
    if explanations:
        sentences = [*_explained(explanations, worst), *sentences]
    elif weights is not None:
        sentences = [_other_weights(weights, worst), *sentences]
    else:
        sentences = ["Nothing known explains its features.", _located(wrong), *sentences]
    return Diagnosis(explanations, sentences, worst)


def _of_another_call(given: Sequence[Answer]) -> str:
    """A sentence about features that are those of an earlier call's audio."""
    for i, answer in enumerate(given):
        for earlier in given[:i]:
            if answer.score <= CLASS_B or not _differ(answer, earlier):
                continue
            if earlier.score_of_features(answer.actual) <= CLASS_B:
                return (
                    f"On the clip “{answer.name}” it gives the features of “{earlier.name}”, asked "
                    "for before: a result that is kept, cached by too little, or late by a call."
                )
    return ""


def _differ(answer: Answer, other: Answer) -> bool:
    """Whether two clips have different features to begin with."""
    return not other.score_of_features(answer.expected) <= CLASS_B


def _differing(first: Answer, again: Answer) -> str:
    """A sentence about equal calls with different answers."""
    if again.actual is None or first.actual is None:
        return f"Of two equal calls one gives features, the other none: {again.error}."
    if again.actual.tobytes() == first.actual.tobytes():
        return ""
    by = ""
    if again.actual.shape == first.actual.shape:
        with np.errstate(invalid="ignore"):
            by = f" by up to {np.abs(again.actual - first.actual).max():.2g}"
    return (
        f"Equal calls give different features{by}: unwritten memory, state that calls leave "
        "behind, threads, or noise that is added."
    )


def _refusals(answers: Sequence[Answer]) -> list[str]:
    """A sentence for each reason why there are no features."""
    clips: dict[str, list[str]] = {}
    for answer in answers:
        if answer.features is None and answer.error:
            reason = _NUMBERS.sub("N", answer.error)
            clips.setdefault(reason, []).append(answer.name)
    return [
        f"It gives no features for the clips {', '.join(f'“{name}”' for name in names)}: {reason}."
        for reason, names in clips.items()
    ]


_NUMBERS = re.compile(r"\d{3,}")
_SHOWN_BY = {
    "boundary": "clips of some lengths",
    "numerics": "some signals",
    "golden": "some signals",
    "regressions": "some signals",
    "property": "some drawn signals, lengths or calls",
    "buffers": "where the audio or the output lies in memory, or what becomes of it afterwards",
    "batch": "clips that are handed over together",
    "errors": "bad input, and what comes after it",
    "concurrency": "calls in several threads at once, which disturb one another: a data race",
    "determinism": "repeated calls: state that calls leave behind",
    "memory": "what calls leave behind: memory, open files or threads",
}


def _shown_by(failed: Sequence[str]) -> list[str]:
    """A sentence about the cases that fail, where those of the diagnosis do not."""
    if not failed:
        return []
    families = dict.fromkeys(case.split("/")[0] for case in failed)
    shown = "; ".join(f"{_SHOWN_BY[family]} ({family})" for family in families)
    return [f"Its failures are shown by {shown}. The first one is {failed[0]}."]


def _degenerate(answer: Answer) -> str:
    """A sentence about features that have nothing to do with the audio."""
    values = answer.actual
    assert values is not None
    if values.size == 0:
        return f"Its features are empty, of shape {values.shape[1:]}."
    if not np.isfinite(values).any():
        return "None of its features is finite."
    if values.min() == values.max() and answer.expected.min() != answer.expected.max():
        return f"All its features are {values.min():g}: nothing was computed, or nothing written."
    return ""


def _ask(front_end: FrontEnd, probe: Probe) -> Answer:
    audio = probe.audio()
    spec = WHISPER.replace(**probe.options)
    try:
        return Answer(probe.name, audio, spec, front_end.call(audio, **probe.options))
    except Unsupported:
        return Answer(probe.name, audio, spec, None)
    except (Failure, Refused) as error:
        return Answer(probe.name, audio, spec, None, str(error))


def _other_weights(weights: OtherWeights, worst: Answer) -> str:
    return (
        "A filterbank whose weights are slightly off explains the features, score "
        f"{weights.score:.2g} (against the reference {worst.score:.3g}): by up to "
        f"{weights.off:.2%}, in band {weights.band} of {weights.n_mels}. Banks computed in float32 "
        "are: a small weight is the difference of two large numbers."
    )


def _explained(explanations: Sequence[Explanation], worst: Answer) -> list[str]:
    sentences = []
    for i, explanation in enumerate(explanations[:4]):
        mechanisms = " ".join(variant.quirk.mechanism for variant in explanation.variants)
        lead = "It most likely has" if i == 0 else "Or, which its features cannot tell apart:"
        sentences.append(
            f"{lead} {explanation}: explains the features, score {explanation.score:.2g} "
            f"(against the reference {worst.score:.3g}). {mechanisms}"
        )
    return sentences


# --------------------------------------------------------------------------- not explained


def _located(wrong: Sequence[Answer]) -> str:
    """The first stage, the frames and the bands that differ."""
    answer = wrong[0]
    assert answer.actual is not None
    names = ", ".join(f"“{a.name}”" for a in wrong)
    if answer.actual.shape != answer.expected.shape:
        return (
            f"First stage that differs: frames. On {names} it gives shape "
            f"{answer.actual.shape[1:]} where {answer.expected.shape[1:]} is expected."
        )
    with np.errstate(invalid="ignore"):
        right = np.abs(answer.actual - answer.expected) <= CLASS_B * answer.bound
    off: Array = np.asarray(~right.all(axis=0))
    bands, frames = np.flatnonzero(off.any(axis=1)), np.flatnonzero(off.any(axis=0))
    return (
        f"First stage that differs, to judge by where: {_stage(answer, off)}. Values are off on "
        f"{names}; on “{answer.name}” {off.sum()} of {off.size}: frames {_runs(frames)} of "
        f"{off.shape[1]}, bands {_runs(bands)} of {off.shape[0]}; score {answer.score:.3g}."
    )


def _stage(answer: Answer, off: Array) -> str:
    """The earliest stage whose fault would show where these values are off, and only there."""
    plain = answer.audio.ndim == 1 and answer.spec.pad_to is None and answer.spec.smoothing is None
    n_bands, n_frames = off.shape
    frames: Array = np.asarray(off.any(axis=0))
    if frames.sum() <= 2 and not frames[2 : n_frames - 2].any():
        return "padding (only frames that see the clip's ends are off)"
    if frames.sum() <= n_frames // 2:
        return "frames (some frames are off, others right)"
    bands = off.any(axis=1)
    if bands.sum() <= n_bands // 2:
        return "filterbank (some bands are off in most frames, others right)"
    if plain:
        seen = stages(answer.audio, answer.spec)
        clamped = np.less(seen["log"], seen["clamped"])
        at_floor = np.less_equal(seen["mel"], answer.spec.floor)
        if clamped.any() and not off[~clamped].any():
            return "range (only values that the clip's maximum raises are off)"
        if at_floor.any() and not off[~at_floor].any():
            return "logarithm (only values at the floor are off)"
    if not plain:
        return "what the clip's options ask for"
    return "window or spectrum (values everywhere are off)"


def _runs(indices: Array) -> str:
    """``0-3, 7, 9-12``."""
    if not indices.size:
        return "none"
    breaks = np.flatnonzero(np.diff(indices) > 1)
    starts = indices[np.r_[0, breaks + 1]]
    ends = indices[np.r_[breaks, indices.size - 1]]
    runs = [f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True)]
    return ", ".join(runs[:6]) + (" …" if len(runs) > 6 else "")
