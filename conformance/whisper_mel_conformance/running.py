"""One run: front-ends, their cases, what became of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whisper_mel_conformance import known as known_failures
from whisper_mel_conformance.catalogue import Case, fixed_cases
from whisper_mel_conformance.checks import CHECKS
from whisper_mel_conformance.client import FrontEnd, Refused, Unsupported
from whisper_mel_conformance.diagnosis import Diagnosis, diagnose
from whisper_mel_conformance.frontend import UnknownFrontEnd, peers, require_known
from whisper_mel_conformance.judging import Failure, grade
from whisper_mel_conformance.known import KnownFailure
from whisper_mel_conformance.properties import EXAMPLES, PROPERTIES, Found, Property, search
from whisper_mel_conformance.rendering.documents import Document

PROFILES = ("quick", "ci", "nightly")
STATUSES = ("passed", "failed", "skipped", "known")


@dataclass
class Result:
    """What became of a case. ``known`` is a failure that was declared, in ``declared``;
    ``reproduction`` is where a failure was written down."""

    front_end: str
    case: Case
    status: str
    message: str = ""
    score: float | None = None
    seconds: float = 0.0
    arguments: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Any] = field(default_factory=dict)
    declared: KnownFailure | None = None
    reproduction: Path | None = None


def all_cases(profile: str) -> tuple[Case, ...]:
    """Fixed cases and properties, in the order of the families."""
    return (*fixed_cases(profile), *PROPERTIES)


def judge_case(front_end: FrontEnd, case: Case, *, profile: str, seed: int) -> Result:
    """Run one case; declared divergences are not considered here."""
    result = Result(front_end.name, case, "passed", arguments=case.arguments)
    start = time.perf_counter()
    reason = case.beyond(front_end.capabilities)
    if reason is not None:
        result.status, result.message = "skipped", reason
        return result

    def attempt(arguments: Mapping[str, Any]) -> float | None:
        return CHECKS[case.check](front_end, **arguments)

    try:
        if isinstance(case, Property):
            result.score, result.arguments = search(
                case, front_end.capabilities, attempt, examples=EXAMPLES[profile], seed=seed
            )
        else:
            result.score = attempt(case.arguments)
    except Found as found:
        result.arguments = found.arguments
        _note(result, found.error)
    except (Failure, Refused, Unsupported) as error:
        _note(result, error)
    result.seconds = time.perf_counter() - start
    return result


def _note(result: Result, error: Exception) -> None:
    if isinstance(error, Unsupported):
        result.status, result.message = "skipped", f"unsupported: {error}"
        return
    result.status, result.message = "failed", str(error)
    if isinstance(error, Failure):
        result.score, result.arrays = error.score, error.arrays
    elif isinstance(error, Refused):
        result.message = f"raised {error}"
    else:
        raise error


class Run:
    """Front-ends to be judged, and the results so far.

    ``sources`` name front-ends that must be there; of the suite's adapters those that
    ``with_peers`` says (``"none"``, ``"light"`` or ``"all"``) and that can be imported are judged,
    too; ``beside`` is to be shown with them. Raises ``UnknownFrontEnd`` for a front-end that does
    not exist or cannot be loaded, ``ValueError`` for a broken file of known failures.
    """

    def __init__(
        self,
        sources: Sequence[str],
        *,
        with_peers: str = "none",
        profile: str = "quick",
        seed: int = 0,
        timeout: float = 30.0,
        known_files: Sequence[Path] = (),
        beside: Document | None = None,
    ) -> None:
        self.profile = profile
        self.seed = seed
        self.beside = beside or Document()
        self.results: list[Result] = []
        self.interrupted: str | None = None  # by which signal
        self.unwritten: list[str] = []  # what could not be written to the report's folder
        self.unavailable: dict[str, str] = {}
        self.diagnoses: dict[str, Diagnosis] = {}
        self._explains_known = with_peers == "all"
        self.known: list[KnownFailure] = known_failures.of_peers()
        for path in known_files:
            self.known += known_failures.read(path)
        for source in sources:
            require_known(source)
        self.front_ends = [self._start(source, timeout) for source in dict.fromkeys(sources)]
        self.named = [front_end.name for front_end in self.front_ends]
        self._add_peers(peers(with_peers), timeout)
        names = [front_end.name for front_end in self.front_ends]
        for name in names:
            if names.count(name) > 1:
                raise UnknownFrontEnd(f"two front-ends are called {name}")

    def _start(self, source: str, timeout: float) -> FrontEnd:
        front_end = FrontEnd(source, timeout=timeout)
        try:
            front_end.start()
        except Refused as error:
            if UnknownFrontEnd.__name__ in error.types:  # says all there is to say
                raise UnknownFrontEnd(error.message) from error
            raise UnknownFrontEnd(
                f"front-end {source!r} cannot be loaded: {error}\n{error.traceback}"
            ) from error
        except Failure as error:
            raise UnknownFrontEnd(f"front-end {source!r} cannot be loaded: {error}") from error
        return front_end

    def _add_peers(self, sources: Sequence[str], timeout: float) -> None:
        for source in sources:
            if source in self.named:
                continue
            front_end = FrontEnd(source, timeout=timeout)
            try:
                front_end.start()
            except Refused as error:
                if "ImportError" not in error.types:
                    raise UnknownFrontEnd(f"peer {source} cannot be loaded: {error}") from error
                self.unavailable[source] = error.message
            else:
                self.front_ends.append(front_end)

    def plan(self) -> Iterator[tuple[FrontEnd, Case]]:
        """Every case of every front-end, one front-end after the other."""
        for front_end in self.front_ends:
            for case in all_cases(self.profile):
                yield front_end, case

    def judge(self, front_end: FrontEnd, case: Case) -> Result:
        """Run a case and note its result."""
        if self.results and self.results[-1].front_end != front_end.name:
            self._by_name(self.results[-1].front_end).stop()
        result = judge_case(front_end, case, profile=self.profile, seed=self.seed)
        self._apply_known(result)
        self.results.append(result)
        return result

    def _apply_known(self, result: Result) -> None:
        entries = [entry for entry in self.known if entry.front_end == result.front_end]
        case = result.case
        if result.status == "failed":
            declared = [entry for entry in entries if entry.declares(case.id, result.score)]
            if declared:
                result.status, result.declared = "known", declared[0]
                result.message = f"{declared[0].mechanism} ({result.message})"
        elif result.status == "passed" and not isinstance(case, Property):
            declared = [entry for entry in entries if entry.covers(case.id) and not entry.some]
            if declared:
                result.status = "failed"
                result.message = (
                    f"passes, but is declared as a known failure since {declared[0].since}: "
                    "remove the entry"
                )

    def diagnose(self) -> None:
        """Find out what the front-ends that failed cases do wrong; each is asked once.

        Those that failed only as declared are asked where they are named or all peers are judged.
        """
        for front_end in self.front_ends:
            name = front_end.name
            wanted = self._explains_known or name in self.named
            failed = self.of(name, "failed") or (self.of(name, "known") if wanted else [])
            if failed and front_end.calls:
                ids = [result.case.id for result in failed]
                self.diagnoses[front_end.name] = diagnose(front_end, failed=ids)
                front_end.stop()

    def _by_name(self, name: str) -> FrontEnd:
        return next(f for f in self.front_ends if f.name == name)

    def stop(self) -> None:
        """End every process."""
        for front_end in self.front_ends:
            front_end.stop()

    def of(self, name: str, status: str | None = None) -> list[Result]:
        """The results of a front-end."""
        return [
            result
            for result in self.results
            if result.front_end == name and status in (None, result.status)
        ]

    def worst(self, name: str) -> Result | None:
        """The result with the highest score among those that passed or failed."""
        scored = [r for r in self.of(name) if r.score is not None and r.status != "known"]
        return max(scored, key=lambda r: r.score or 0.0, default=None)

    def class_of(self, name: str) -> str:
        """``A``, ``B`` or ``fails``; ``-`` where nothing was scored, or not every case judged."""
        worst = self.worst(name)
        if self.of(name, "failed"):
            return "fails"
        if self.interrupted and name == self.results[-1].front_end:
            return "-"
        if worst is None or worst.score is None:
            return "-"
        return grade(worst.score)

    def problems(self) -> list[str]:
        """What is wrong with the run beside its failed cases."""
        sentences = list(self.unwritten)
        if self.interrupted:
            sentences.append(
                f"interrupted by {self.interrupted} after {len(self.results)} cases: the cases "
                "after those were not judged"
            )
        for front_end in self.front_ends:
            if not self.of(front_end.name):
                continue
            if front_end.calls == 0:
                sentences.append(f"{front_end.name} was never called")
            elif not self.of(front_end.name, "passed"):
                sentences.append(f"{front_end.name} passed no case")
        judged = {f.name for f in self.front_ends}
        declared = [entry for entry in self.known if entry.front_end in judged]
        ids = [case.id for case in all_cases("nightly")]
        sentences += known_failures.matching_nothing(declared, ids)
        return sentences + [
            f"{entry.front_end}: declared as failing some cases since {entry.since}, but all of "
            f"them pass: {entry.title}"
            for entry in declared
            if entry.some and self._all_pass(entry)
        ]

    def _all_pass(self, entry: KnownFailure) -> bool:
        """Whether all cases of an entry were judged, and none failed as it says."""
        covered = {case.id for case in all_cases(self.profile) if entry.covers(case.id)}
        judged = {r.case.id: r for r in self.of(entry.front_end) if r.case.id in covered}
        failed = [r for r in judged.values() if r.status == "known"]
        return judged.keys() == covered and not any(
            entry.declares(result.case.id, result.score) for result in failed
        )
