"""A run in the process that collects it: the planned cases and their results."""

from __future__ import annotations

from collections.abc import Iterable

from whisper_mel_conformance.cases.catalogue import all_cases
from whisper_mel_conformance.cases.judging import grade
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.run import known as known_failures
from whisper_mel_conformance.run.known import KnownFailure
from whisper_mel_conformance.run.result import Result
from whisper_mel_conformance.run.setup import Setup

Key = tuple[str, str]
"""A front-end's name and a case's id."""


class Run:
    """The front-ends of a run, its planned cases, and the results so far."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.front_ends: list[FrontEnd] = list(setup.started())
        self.planned: dict[Key, None] = {}  # a set in the order of the plan
        self.interrupted: str | None = None  # the name of the signal, or None
        self.stopped: str | None = None  # why pytest ended the run before its last case, or None
        self.spoiled: list[str] = []  # the suite's own files that were changed meanwhile
        self.unwritten: list[str] = []  # sentences about files that could not be written
        self._results: dict[Key, Result] = {}

    @property
    def results(self) -> list[Result]:
        """The results so far, in the order of the plan."""
        keys = {**self.planned, **dict.fromkeys(self._results)}
        return [self._results[key] for key in keys if key in self._results]

    def plan(self, keys: Iterable[Key]) -> None:
        """Add cases that are to be judged."""
        self.planned.update(dict.fromkeys(keys))

    def add(self, result: Result) -> bool:
        """Take a result; return False for a second one of a case unless it turns a pass into a
        failure.
        """
        key = result.front_end, result.case
        first = self._results.get(key)
        if first is not None and (first.status == "failed" or result.status != "failed"):
            return False
        self._results[key] = result
        return True

    def missing(self, name: str) -> list[str]:
        """List the planned cases of a front-end that were not judged."""
        left = [key for key in self.planned if key not in self._results]
        return [case for front_end, case in left if front_end == name]

    def fail_missing(self) -> None:
        """Record a failure for every planned case without a result: its process died."""
        for name, case in self.planned:
            if (name, case) not in self._results:
                message = "internal error of the suite: no result of this case arrived"
                self.add(Result(name, case, "failed", message))

    def of(self, name: str, status: str | None = None) -> list[Result]:
        """List the results of a front-end, of one status or of all."""
        return [
            result
            for result in self.results
            if result.front_end == name and status in (None, result.status)
        ]

    def calls(self, name: str) -> int:
        """Count the calls of a front-end."""
        return sum(result.calls for result in self.of(name))

    def worst(self, name: str) -> Result | None:
        """Return the result with the highest score, without declared failures; None without one."""
        scored = [r for r in self.of(name) if r.score is not None and r.status != "known"]
        return max(scored, key=lambda r: _rank(r.score), default=None)

    def class_of(self, name: str) -> str:
        """Return ``A``, ``B`` or ``fails``.

        It is ``-`` if nothing was scored, a case is missing, or the suite itself was changed.
        """
        worst = self.worst(name)
        if self.of(name, "failed"):
            return "fails"
        if self.spoiled or self.missing(name) or worst is None or worst.score is None:
            return "-"
        return grade(worst.score)

    def problems(self) -> list[str]:
        """Return a sentence for each problem of the run other than failed cases."""
        sentences = list(self.unwritten)
        if self.spoiled:
            sentences.append(
                f"{len(self.spoiled)} of the suite's own files changed while it ran: "
                f"{', '.join(self.spoiled[:5])}"
            )
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
        """Return a sentence for each problem of a front-end's results."""
        planned = sum(front_end == name for front_end, _ in self.planned)
        sentences = []
        missing = self.missing(name)
        if missing and not self.interrupted:
            why = f" ({self.stopped})" if self.stopped else ""
            sentences.append(
                f"{name}: {len(missing)} of {planned} planned cases were not judged{why}, the "
                f"first {missing[0]}"
            )
        are_selected = planned < len(all_cases(self.setup.profile))
        # Of selected cases a peer may be able to run none, and all may fail as declared.
        if self.of(name) and (name in self.setup.named or not are_selected):
            if self.calls(name) == 0:
                sentences.append(f"{name} was never called")
            elif not (self.of(name, "passed") or self.of(name, "failed")) and not (
                self.of(name, "known") and are_selected
            ):
                sentences.append(f"{name} passed no case")
        return sentences

    def _all_pass(self, entry: KnownFailure) -> bool:
        """Return whether all cases of a declaration were judged and none failed as declared."""
        profile = "quick" if self.setup.profile == "brief" else self.setup.profile
        covered = {case.id for case in all_cases(profile) if entry.covers(case.id)}
        judged = {r.case: r for r in self.of(entry.front_end) if r.case in covered}
        failed = [r for r in judged.values() if r.status == "known"]
        return judged.keys() == covered and not any(
            entry.declares(result.case, result.score) for result in failed
        )


def _rank(score: float | None) -> float:
    """Return a sort key of a score: NaN and None rank above any number."""
    return float("inf") if score is None or score != score else score
