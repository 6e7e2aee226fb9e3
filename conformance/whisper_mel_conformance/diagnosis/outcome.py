"""What a diagnosis says: cause, fix, evidence, and the answer to look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from whisper_mel_conformance.diagnosis.answer import Answer, Array, Variants
from whisper_mel_conformance.diagnosis.clips import SPEECH
from whisper_mel_conformance.diagnosis.condition import Condition
from whisper_mel_conformance.diagnosis.search import Explanation
from whisper_mel_conformance.quirks import CATALOGUE


@dataclass
class Diagnosis:
    """What is known about a failing front-end, in words and as quirks.

    Attributes
    ----------
    explanations : quirks, or pairs of them, that make its features, the likeliest first.
    cause : what is wrong, in a sentence or two; of several faults, a line for each.
    evidence : sentences about how that is known, and about what else was seen.
    fix : what to write instead, a text for each fault; empty where nobody can say.
    shown : the answer to look at, if it has features: real speech where that is wrong.
    kinds : the kinds of quirks (see :data:`quirks.KINDS`) that the cause names, of a loss of
        precision those that it may be; empty where it names no stage.
    condition : what wrong calls share and right ones lack; None if nothing is known.
    """

    explanations: list[Explanation]
    cause: str
    evidence: list[str] = field(default_factory=list)
    fix: list[str] = field(default_factory=list)
    shown: Answer | None = None
    kinds: frozenset[str] = frozenset()
    condition: Condition | None = None

    @property
    def sentences(self) -> list[str]:
        """The causes, and the evidence."""
        return [*self.cause.splitlines(), *self.evidence]

    @property
    def title(self) -> str:
        """What is shown, in words."""
        assert self.shown is not None
        title = self.shown.name if self.shown.name == SPEECH else f"the clip “{self.shown.name}”"
        return title if self.condition is None else f"{title}, changed to meet the condition"

    def arrays(self) -> dict[str, Array]:
        """``actual``, ``expected`` and ``bound`` of the clip to look at; empty if there is none."""
        if self.shown is None or self.shown.actual is None:
            return {}
        actual = self.shown.actual[0]
        if actual.ndim != 2 or not actual.size:
            return {}
        return {
            "actual": actual,
            "expected": self.shown.expected[0],
            "bound": self.shown.bound[0],
        }

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "summary": self.sentences,
            "cause": self.cause,
            "fix": self.fix,
            "evidence": self.evidence,
            "explanations": [
                {
                    "score": explanation.score,
                    "quirks": [
                        {
                            "id": variant.id,
                            "value": variant.value,
                            "mechanism": variant.quirk.mechanism,
                            "fix": variant.quirk.fix,
                            "seen": list(variant.quirk.seen),
                        }
                        for variant in explanation.variants
                    ],
                }
                for explanation in self.explanations
            ],
        }


def fixes(*quirks: str) -> list[str]:
    return [CATALOGUE[quirk].fix for quirk in quirks]


def fixes_of(variants: Variants) -> list[str]:
    return [variant.quirk.fix for variant in variants]
