"""Verdicts, counts and commands that all formats show, as plain text without escapes."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from whisper_mel_conformance.cases.catalogue import FAMILIES
from whisper_mel_conformance.frontend.load import needs_trust
from whisper_mel_conformance.report.documents import Document
from whisper_mel_conformance.report.verdict import Verdict, counted, verdict

# Id of the benchmark that stands for speed: one clip of 30 s, 80 bands, one thread
BENCHMARKED = "30s/80"


@dataclass(frozen=True)
class Count:
    """Numbers of cases of a front-end by status, in one family or in all."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    known: int = 0

    @property
    def state(self) -> str:
        if self.failed:
            return "failed"
        if self.known:
            return "known"
        return "passed" if self.passed else "skipped"

    def __str__(self) -> str:
        words = [f"{self.passed} passed"]
        words += [f"{self.failed} failed"] if self.failed else []
        words += [f"{self.known} failed as declared"] if self.known else []
        words += [f"{self.skipped} skipped"] if self.skipped else []
        return ", ".join(words)


@dataclass(frozen=True)
class Entry:
    """A front-end in a run; ``number`` is its index among all of the report."""

    number: int
    run: dict[str, Any]
    data: dict[str, Any]
    milliseconds: float | None

    @property
    def name(self) -> str:
        return str(self.data["name"])

    @property
    def verdict(self) -> Verdict:
        families = set(map(family_of, self.data["cases"]))
        return verdict(self.data["class"], {name: vars(self.family(name)) for name in families})

    @property
    def total(self) -> Count:
        return Count(**self.data["counts"])

    @property
    def version(self) -> str:
        return ", ".join(f"{name} {version}" for name, version in self.data["versions"].items())

    def family(self, name: str) -> Count:
        statuses = [c["status"] for c in self.data["cases"] if c["id"].startswith(f"{name}/")]
        return Count(**{s: statuses.count(s) for s in ("passed", "failed", "skipped", "known")})

    def cases(self, status: str) -> list[dict[str, Any]]:
        return [case for case in self.data["cases"] if case["status"] == status]

    @property
    def remarks(self) -> list[str]:
        """What cases that pass have to say, and how many failures are not stored."""
        said = [case["message"] for case in self.cases("passed") if case["message"]]
        lacking = [case for case in self.cases("failed") if case["reproduction"] is None]
        if lacking:
            command = f"{self.command_for_all} -k {shlex.quote(lacking[0]['id'])}"
            said.append(
                f"has {counted(len(lacking), 'failure')} without a reproduction, to keep the "
                f"report small: {command} makes that one"
            )
        return said

    @property
    def worst(self) -> str:
        return "–" if self.data["worst"] is None else number(self.data["worst"]["score"])

    @property
    def worst_value(self) -> float:
        """The worst score, to sort by; -1 if nothing was scored."""
        worst = self.data["worst"]
        return -1.0 if worst is None else min(float(worst["score"]), 1e300)

    def replay(self, case: dict[str, Any]) -> str | None:
        """Return the command for a failure, where the run was made; None without a
        reproduction.
        """
        if case["reproduction"] is None:
            return None
        path = f"{self.run.get('folder', '.')}/{case['reproduction']}".removeprefix("./")
        return replay_command(path, self.data["source"], self.run["environment"])

    @property
    def command(self) -> str:
        """The command that judges the front-end again, with the same cases."""
        profile = "--diagnose" if self.is_brief else f"--profile {self.run['profile']}"
        seed = f" --seed {self.run['seed']}" if self.run["seed"] else ""
        return f"{self.command_for_all} {profile}{seed}"

    @property
    def command_for_all(self) -> str:
        """The command that judges the front-end with every case of the usual profile."""
        program = _program(self.run["environment"], "judge")
        return f"{program} --frontend {shlex.quote(self.data['source'])}"

    @property
    def is_brief(self) -> bool:
        """Whether it was asked for few cases only, those of ``--diagnose``."""
        return bool(self.run["profile"] == "brief")

    @property
    def failed_by_family(self) -> dict[str, int]:
        """The number of failed cases of each family that has some, the most first."""
        return dict(Counter(map(family_of, self.cases("failed"))).most_common())

    @property
    def worst_first(self) -> list[dict[str, Any]]:
        """The failed cases, the worst first."""
        return sorted(self.cases("failed"), key=_badness, reverse=True)

    def examples(self, count: int) -> list[dict[str, Any]]:
        """Return some failed cases: the worst of each family, the worst first."""
        first: dict[str, dict[str, Any]] = {}
        for case in self.worst_first:
            first.setdefault(family_of(case), case)
        return list(first.values())[:count]

    @property
    def findings(self) -> list[tuple[str, str]]:
        """What the diagnosis found, in paragraphs with the words that begin them."""
        return findings(self.data["diagnosis"]) if self.data["diagnosis"] else []

    @property
    def causes(self) -> list[str]:
        """What is wrong: a sentence or two for each fault."""
        return [text for label, text in self.findings if label == "Cause"]


def findings(diagnosis: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a diagnosis of a report in paragraphs: each cause with its fix, then the evidence."""
    if "cause" not in diagnosis:  # of an earlier version
        return [("Diagnosis", sentence) for sentence in diagnosis["summary"]]
    causes = diagnosis["cause"].splitlines()
    found = [
        (word, text)
        for pair in zip_longest(causes, diagnosis["fix"])
        for word, text in zip(("Cause", "Fix"), pair, strict=True)
        if text is not None
    ]
    return [*found, *(("Evidence", sentence) for sentence in diagnosis["evidence"])]


def family_of(case: Mapping[str, Any]) -> str:
    return str(case["id"]).partition("/")[0]


def _badness(case: dict[str, Any]) -> float:
    """Return a case's score to sort by; -1 for a case without one."""
    score = -1.0 if case["score"] is None else float(case["score"])
    return float("inf") if score != score else score


def _program(environment: Mapping[str, Any] | None, command: str) -> str:
    """Return the program with a command, as it is called where a run was made; None: anywhere."""
    if environment is None or CHECKOUT not in environment["flags"]:
        return f"whisper-mel {command}"
    return f"./dev {'conformance' if command == 'judge' else command}"


CHECKOUT = "WHISPER_MEL_LOCKS"
"""The variable that ``./dev`` sets, so that commands are given as they are in a checkout."""


def replay_command(path: str, source: str, environment: Mapping[str, Any] | None) -> str:
    """Return the command that replays the failure in ``path`` of the front-end from ``source``,
    where a run had this environment; None: where only the suite is installed.
    """
    trust = " --trust" if needs_trust(source) else ""
    return f"{_program(environment, 'repro')} {shlex.quote(path)}{trust}"


def entries(document: Document) -> list[Entry]:
    """List the front-ends of all runs."""
    found: list[Entry] = []
    for run in document.runs:
        for data in run["front_ends"]:
            speed = _milliseconds(document, data) if data["device"] == "cpu" else None
            found.append(Entry(len(found), run, data, speed))
    return found


def _milliseconds(document: Document, front_end: dict[str, Any]) -> float | None:
    for row in rows(document):
        if row["id"] == f"{front_end['name']}/{BENCHMARKED}":
            return float(row["other_ms"])
        if row["ours"] == front_end["name"] and row["id"].endswith(f"/{BENCHMARKED}"):
            return float(row["ours_ms"])
    return None


def rows(document: Document) -> Iterator[dict[str, Any]]:
    for benchmark in document.benchmarks:
        yield from benchmark["rows"]


def families(document: Document) -> list[str]:
    """List the families that have a case in the report."""
    seen = {family_of(case) for entry in entries(document) for case in entry.data["cases"]}
    return [family for family in FAMILIES if family in seen]


def problems(document: Document) -> list[str]:
    return [problem for run in document.runs for problem in run["problems"]]


def failing(document: Document) -> list[Entry]:
    return [entry for entry in entries(document) if entry.data["class"] == "fails"]


def headline(document: Document) -> str:
    """Return the verdict in a sentence."""
    judged = entries(document)
    if not judged:
        return "No front-end was judged"
    if len(judged) == 1:
        return _headline_of(judged[0]) + _of_problems(document)
    states = Counter(entry.verdict.state for entry in judged)
    known = states["declared"] + states["apart"]
    words = [f"{states['right'] + states['careless']} conform"]
    words += [f"{known} {'has' if known == 1 else 'have'} known, declared differences"]
    words += [f"{states['wrong']} {'fails' if states['wrong'] == 1 else 'fail'} unexpectedly"]
    words += [f"{states['unknown']} not judged"] if states["unknown"] else []
    return f"{len(judged)} front-ends: {', '.join(words)}{_of_problems(document)}"


def _of_problems(document: Document) -> str:
    has_others = problems(document) and not failing(document)
    return "; the run has problems" if has_others else ""


def _headline_of(entry: Entry) -> str:
    total, result = entry.total, entry.verdict
    ran = counted(total.passed + total.failed + total.known, "case")
    if result.state == "wrong":
        return f"{entry.name} fails {total.failed} of {ran}"
    few = f", by the {ran} of --diagnose"
    return (
        f"{entry.name} {'conforms: ' if result.conforms else ''}{result.words}"
        f"{few if entry.is_brief and result.conforms else ''}"
    )


def commands_for_all(document: Document) -> list[str]:
    """Return the commands that ask every case of front-ends that conform by a few."""
    found = (it for it in entries(document) if it.is_brief and it.verdict.conforms)
    return [entry.command_for_all for entry in found]


def is_right(document: Document) -> bool:
    """Return whether something was judged and nothing is wrong."""
    return bool(entries(document)) and not failing(document) and not problems(document)


def number(value: float | str | None) -> str:
    """Format a score or a time with three digits; ``–`` for None."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return {"inf": "∞", "nan": "not a number"}.get(value, value)
    if value >= 1e5:
        return f"{value:.1e}".replace("e+0", "e").replace("e+", "e")
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
