"""The kill matrix: which case rejects which mutant.

It is written to ``docs/measurements/mutants.json`` (``mutants.schema.json`` beside this file says
what is in it), row by row, so that an interrupted run loses nothing and a part of it can be run
again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 1
REJECTS, ACCEPTS, SKIPPED, UNTRIED = "x", ".", "-", "?"
SIGNS = {"failed": REJECTS, "passed": ACCEPTS, "skipped": SKIPPED}
GOOD = ("killed", "equivalent")
"""Verdicts with which a mutant does not fail the run."""


@dataclass
class Row:
    """The result of trying a mutant.

    ``kind`` is ``"quirk"`` or ``"kernel"``. ``score`` is its killer's, in units of the bound; None
    if the process, the shape or a refusal is wrong instead of values. ``cases`` has a sign for each
    case that was tried.
    """

    id: str
    kind: str
    killer: str
    verdict: str
    score: float | str | None
    message: str
    equivalent: str = ""
    cases: dict[str, str] = field(default_factory=dict)

    @property
    def killed_by(self) -> list[str]:
        return [case for case, sign in self.cases.items() if sign == REJECTS]

    @property
    def is_gross(self) -> bool:
        """Whether every case that could be tried rejects it, which says nothing about a case."""
        return len(self.cases) > 1 and ACCEPTS not in self.cases.values()


def read(path: Path) -> dict[str, Row]:
    """Return the rows of a file by id; none if there is no file."""
    if not path.exists():
        return {}
    data = json.loads(path.read_text(encoding="utf-8"))
    rows = {}
    for entry in data["mutants"]:
        signs = zip(data["cases"], entry.pop("cases"), strict=True)
        cases = {case: sign for case, sign in signs if sign != UNTRIED}
        rows[entry["id"]] = Row(**entry, cases=cases)
    return rows


def write(rows: Mapping[str, Row], cases: Sequence[str], path: Path) -> None:
    """Replace the file by one with these rows; a row is a string of one sign for each case."""
    from whisper_mel_conformance.folder import write_whole

    data: dict[str, Any] = {"format": FORMAT, "cases": list(cases)}
    data["mutants"] = [
        {**asdict(row), "cases": "".join(row.cases.get(case, UNTRIED) for case in cases)}
        for row in rows.values()
    ]
    write_whole(path, (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode())


def idle(rows: Mapping[str, Row], cases: Sequence[str]) -> list[str]:
    """Return the cases that reject no mutant but those that every case rejects."""
    busy = {case for row in rows.values() if not row.is_gross for case in row.killed_by}
    return [case for case in cases if case not in busy]
