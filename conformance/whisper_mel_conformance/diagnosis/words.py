"""Sentences about quirks that explain answers, and how well they do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from whisper_mel_conformance.cases.catalogue import find
from whisper_mel_conformance.diagnosis.answer import Answer
from whisper_mel_conformance.diagnosis.free import Explained
from whisper_mel_conformance.diagnosis.search import Explanation
from whisper_mel_conformance.diagnosis.tried import can_be_tried, passes
from whisper_mel_conformance.frontend.client import InProcess
from whisper_mel_conformance.frontend.load import inspect_front_end
from whisper_mel_conformance.quirks.quirk import QuirkyFrontEnd


def how_fitted(explained: Explained, worst: Answer) -> str:
    """Return a sentence about how well the reference with the stage that was found agrees."""
    return (
        f"With this {explained.free.stage}, which was fitted to other clips, the reference's "
        f"output agrees on all {explained.n} clips that were tried: {explained.score:.2g} of the "
        f"bound, {without_it(worst)} without."
    )


def causes_of(explanation: Explanation) -> str:
    """Return a line for each fault."""
    return "\n".join(f"{variant.quirk.mechanism} [{variant}]" for variant in explanation.variants)


def alternatives(explanations: Sequence[Explanation]) -> list[str]:
    """Return a sentence for each further explanation."""
    return [
        " ".join(["Or, which its features cannot tell apart:", *causes_of(e).splitlines(), ""])
        + " ".join(f"Fix: {variant.quirk.fix}" for variant in e.variants)
        for e in explanations[1:4]
    ]


def agreement_of(
    explanation: Explanation,
    worst: Answer,
    failed: Sequence[str],
    model: Mapping[str, Any] | None,
) -> str:
    """Return a sentence about how well the reference with these faults agrees."""
    tried = _tried_again(explanation, failed, model)
    is_more = len(explanation.variants) > 1
    sentence = (
        f"With {THIS[is_more]} put into the reference its output agrees: "
        f"{explanation.score:.2g} of the bound, {without_it(worst)} without."
    )
    if not tried:
        return sentence
    so_changed = f"{sentence} The reference with {'them' if is_more else 'it'} fails"
    if len(failed) == 1 and all(tried):
        return f"{so_changed} the same case."
    which = f"all {len(tried)}" if all(tried) else f"{sum(tried)} of {len(tried)}"
    of = "" if len(tried) == len(failed) else f", of {len(failed)} in all"
    return f"{so_changed} {which} failing cases that were tried{of}."


THIS = {False: "this", True: "these"}


def without_it(answer: Answer) -> str:
    """Return how far an answer is from the reference, in words where no number says it."""
    if answer.actual is None or answer.actual.shape != answer.expected.shape:
        return "another number of frames"
    return _times(answer.score) if math.isfinite(answer.score) else "values that are not finite"


def _times(score: float) -> str:
    return f"{score:,.0f}" if 100 <= score < 1e15 else f"{score:.3g}"


_TRIED = 3  # failing cases of each family that are tried again


def _tried_again(
    explanation: Explanation, failed: Sequence[str], model: Mapping[str, Any] | None
) -> list[bool]:
    """Return of some failing cases whether the reference with the explanation's faults fails them.

    They are taken from all families.
    """
    faulty = QuirkyFrontEnd([variant.variation for variant in explanation.variants], "faulty")
    front_end = InProcess(inspect_front_end(faulty, "faulty", model))
    outcomes: dict[str, list[bool]] = {}
    for case in filter(can_be_tried, map(find, failed)):
        of_family = outcomes.setdefault(case.family, [])
        if len(of_family) < _TRIED and (is_right := passes(front_end, case)) is not None:
            of_family.append(not is_right)
    return [outcome for of_family in outcomes.values() for outcome in of_family]
