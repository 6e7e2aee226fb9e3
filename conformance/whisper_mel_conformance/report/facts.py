"""Verdicts, counts and commands that all formats show, as plain text without escapes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from whisper_mel_conformance.cases.catalogue import FAMILIES
from whisper_mel_conformance.frontend.load import needs_trust
from whisper_mel_conformance.report.documents import Document

MODULE = "python -m whisper_mel_conformance"
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
    def verdict(self) -> str:
        """``A``, ``B``, ``fails`` or ``-``, with ``*`` if there are declared failures."""
        return str(self.data["class"]) + ("*" if self.total.known else "")

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
    def worst(self) -> str:
        return "–" if self.data["worst"] is None else number(self.data["worst"]["score"])

    @property
    def worst_value(self) -> float:
        """The worst score, to sort by; -1 if nothing was scored."""
        worst = self.data["worst"]
        return -1.0 if worst is None else min(float(worst["score"]), 1e300)

    def replay(self, case: dict[str, Any]) -> str | None:
        """Return the command for a failure, in the report's folder; None without a reproduction."""
        path = case["reproduction"]
        return None if path is None else replay_command(path, self.data["source"])

    @property
    def command(self) -> str:
        """The command that judges the front-end again, with the same cases."""
        words = f"--frontend {shlex.quote(self.data['source'])} --profile {self.run['profile']}"
        return f"{MODULE} {words} --seed {self.run['seed']}"


def replay_command(path: str, source: str) -> str:
    """Return the command that replays the failure in ``path`` of the front-end from ``source``."""
    trust = " --trust" if needs_trust(source) else ""
    return f"{MODULE} repro {shlex.quote(path)}{trust}"


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
    seen = {case["id"].partition("/")[0] for e in entries(document) for case in e.data["cases"]}
    return [family for family in FAMILIES if family in seen]


def problems(document: Document) -> list[str]:
    return [problem for run in document.runs for problem in run["problems"]]


def failing(document: Document) -> list[Entry]:
    return [entry for entry in entries(document) if entry.data["class"] == "fails"]


def headline(document: Document) -> str:
    """Return the verdict in a sentence."""
    judged, wrong = entries(document), failing(document)
    if not judged:
        return "No front-end was judged"
    are = "1 front-end" if len(judged) == 1 else f"{len(judged)} front-ends"
    if wrong:
        return f"{len(wrong)} of {are} {'fails' if len(wrong) == 1 else 'fail'}"
    if problems(document):
        return f"{are} judged, but the run has problems"
    known = sum(bool(entry.total.known) for entry in judged)
    return f"{are} judged, none fails" + (f"; {known} with declared failures" if known else "")


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
