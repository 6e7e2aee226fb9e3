"""The run as the process that collects it knows it: what was planned, what became of it."""

from __future__ import annotations

from collections.abc import Iterable

from whisper_mel_conformance.cases.judging import grade
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.run import known as known_failures
from whisper_mel_conformance.run.judge import all_cases
from whisper_mel_conformance.run.known import KnownFailure
from whisper_mel_conformance.run.result import Result
from whisper_mel_conformance.run.setup import Setup

Key = tuple[str, str]
"""A front-end's name and a case's id."""


class Run:
    """Front-ends to be judged, and the results so far."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.front_ends: list[FrontEnd] = list(setup.started())
        self.planned: dict[Key, None] = {}  # a set in the order of the plan
        self.interrupted: str | None = None  # by which signal
        self.stopped: str | None = None  # why pytest ended the run before its last case
        self.unwritten: list[str] = []  # what could not be written to the report's folder
        self._results: dict[Key, Result] = {}

    @property
    def results(self) -> list[Result]:
        """What became of the cases so far, in the order of the plan."""
        keys = {**self.planned, **dict.fromkeys(self._results)}
        return [self._results[key] for key in keys if key in self._results]

    def plan(self, keys: Iterable[Key]) -> None:
        """Cases that are to be judged."""
        self.planned.update(dict.fromkeys(keys))

    def add(self, result: Result) -> bool:
        """Take a result; False if it is the second of its case, and the first was no better."""
        key = result.front_end, result.case
        first = self._results.get(key)
        if first is not None and (first.status == "failed" or result.status != "failed"):
            return False
        self._results[key] = result
        return True

    def missing(self, name: str) -> list[str]:
        """The planned cases of a front-end that were not judged."""
        left = [key for key in self.planned if key not in self._results]
        return [case for front_end, case in left if front_end == name]

    def fail_missing(self) -> None:
        """Make a failure of every planned case that has no result: a process died with it."""
        for name, case in self.planned:
            if (name, case) not in self._results:
                message = "internal error of the suite: no result of this case arrived"
                self.add(Result(name, case, "failed", message))

    def of(self, name: str, status: str | None = None) -> list[Result]:
        """The results of a front-end."""
        return [
            result
            for result in self.results
            if result.front_end == name and status in (None, result.status)
        ]

    def calls(self, name: str) -> int:
        """How often the front-end was called."""
        return sum(result.calls for result in self.of(name))

    def declaration(self, result: Result) -> KnownFailure | None:
        """What a declared failure was declared by."""
        return None if result.declared is None else self.setup.known[result.declared]

    def worst(self, name: str) -> Result | None:
        """The result with the highest score among those that passed or failed."""
        scored = [r for r in self.of(name) if r.score is not None and r.status != "known"]
        return max(scored, key=lambda r: _rank(r.score), default=None)

    def class_of(self, name: str) -> str:
        """``A``, ``B`` or ``fails``; ``-`` where nothing was scored, or not every case judged."""
        worst = self.worst(name)
        if self.of(name, "failed"):
            return "fails"
        if self.missing(name) or worst is None or worst.score is None:
            return "-"
        return grade(worst.score)

    def problems(self) -> list[str]:
        """What is wrong with the run beside its failed cases."""
        sentences = list(self.unwritten)
        if self.interrupted:
            sentences.append(
                f"interrupted by {self.interrupted} after {len(self._results)} cases: the others "
                "were not judged"
            )
        for front_end in self.front_ends:
            sentences += self._problems_of(front_end.name)
        judged = {f.name: f.source for f in self.front_ends}
        declared = [
            entry
            for entry in self.setup.known
            if any(entry.is_about(name, source) for name, source in judged.items())
        ]
        ids = [case.id for case in all_cases("nightly")]
        sentences += known_failures.matching_nothing(declared, ids)
        return sentences + [
            f"{entry.front_end}: declared as failing some cases since {entry.since}, but all of "
            f"them pass: {entry.title}"
            for entry in declared
            if entry.some and self._all_pass(entry)
        ]

    def _problems_of(self, name: str) -> list[str]:
        """What is wrong with what was seen of a front-end."""
        planned = sum(front_end == name for front_end, _ in self.planned)
        sentences = []
        missing = self.missing(name)
        if missing and not self.interrupted:
            why = f" ({self.stopped})" if self.stopped else ""
            sentences.append(
                f"{name}: {len(missing)} of {planned} planned cases were not judged{why}, the "
                f"first {missing[0]}"
            )
        if self.of(name):
            if self.calls(name) == 0:
                sentences.append(f"{name} was never called")
            elif not self.of(name, "passed"):
                sentences.append(f"{name} passed no case")
        return sentences

    def _all_pass(self, entry: KnownFailure) -> bool:
        """Whether all cases of an entry were judged, and none failed as it says."""
        covered = {case.id for case in all_cases(self.setup.profile) if entry.covers(case.id)}
        judged = {r.case: r for r in self.of(entry.front_end) if r.case in covered}
        failed = [r for r in judged.values() if r.status == "known"]
        return judged.keys() == covered and not any(
            entry.declares(result.case, result.score) for result in failed
        )


def _rank(score: float | None) -> float:
    """To sort scores by: what is no number is worse than any."""
    return float("inf") if score is None or score != score else score
