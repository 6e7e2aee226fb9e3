"""A case: a check with its arguments, under a permanent id. A family: cases of one kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from whisper_mel_conformance.cases.check import CHECKS, Arguments
from whisper_mel_conformance.frontend.load import Capabilities

BANDS = (80, 128)

_LACKING = {
    "in_process": "starts a process for each call",
    "same_process": "computes in a process of its own",
    "single_clips": "takes batches",
    "forks": "does not claim that forked children may call it",
}
"""Reasons to skip a case, by the claim that is missing, where its name does not say it."""


@dataclass(frozen=True)
class Case:
    """A check with its arguments.

    ``claims`` are the attributes of ``Capabilities`` that it needs beside what its requests need.
    """

    id: str
    check: str
    arguments: Arguments
    claims: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        return self.id.partition("/")[0]

    def beyond(self, able: Capabilities, drawn: Arguments | None = None) -> str | None:
        """Return why this front-end cannot run the case; None if it can.

        ``drawn`` are the arguments of a case that has none of its own.
        """
        for claim in self.claims:
            if not getattr(able, claim):
                return _LACKING.get(claim, f"does not claim {claim}")
        requests = CHECKS[self.check].requests(drawn or self.arguments, able)
        return next(filter(None, (request.lacking(able) for request in requests)), None)


@dataclass(frozen=True)
class Family:
    """Cases of one kind.

    Attributes
    ----------
    name : what their ids begin with.
    failure : what the failure of one means, as a clause.
    cases : makes those of a profile.
    """

    name: str
    failure: str
    cases: Callable[[str], Iterable[Case]]


def both(name: str, check: str, claims: tuple[str, ...] = (), **arguments: Any) -> Iterator[Case]:
    """Return the case with 80 bands and that with 128."""
    for n_mels in BANDS:
        yield Case(f"{name}/{n_mels}", check, {**arguments, "n_mels": n_mels}, claims)
