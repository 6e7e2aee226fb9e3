"""One mutant, tried: by the case or the lane that is its killer, then by other cases."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import pytest
from checkout.paths import ROOT
from planted import kernel, quirks
from planted.kernel import KernelMutant, kernel_mutants
from sanitize import Absent
from sanitize.native import find
from whisper_mel_conformance.cases.case import Case
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_conformance.report.write import json_number
from whisper_mel_conformance.run.judge import judge_case
from whisper_mel_conformance.run.result import Result
from whisper_mel_mojo.builder import BuildError

from mutants.matrix import SIGNS, Row

_LONG = 160_000  # samples
_ENOUGH = 100  # rejecting cases


@dataclass
class Trial:
    """A mutant to be tried, as plain data: pytest-xdist sends it to its processes.

    ``known`` has the signs of cases that tried it before; with ``full`` every other case tries it,
    else its killer alone.
    """

    id: str
    full: bool = False
    known: dict[str, str] = field(default_factory=dict)


TRIALS: pytest.StashKey[list[Trial]] = pytest.StashKey()
"""The trials of a run of pytest, where the process that collects them keeps them."""


def planned(
    word: str, *, with_kernels: bool, full: bool, signs: Mapping[str, dict[str, str]]
) -> list[Trial]:
    """Return the mutants with ``word`` in their ids of which ``signs`` lacks a short case."""
    short = {case.id for case in quirks.quick_cases().values() if not _is_long(case)}
    trials = [
        Trial(id, full, signs.get(id, {}))
        for id in (*CATALOGUE, *(kernel_mutants() if with_kernels else ()))
        if word in id
    ]
    return [trial for trial in trials if not short <= trial.known.keys()]


def tried(trial: Trial) -> Row:
    """Try a mutant; return its row."""
    if trial.id not in CATALOGUE:
        return _kernel(kernel_mutants()[trial.id], trial)
    quirk = CATALOGUE[trial.id]
    row = Row(quirk.id, "quirk", quirk.killer, "", None, "", cases=dict(trial.known))
    return _by_cases(row, quirks.started(quirk), trial.full)


def _kernel(mutant: KernelMutant, trial: Trial) -> Row:
    row = Row(mutant.id, "kernel", mutant.killer, "", None, "", mutant.equivalent)
    row.cases = dict(trial.known)
    try:
        if mutant.lane is None:
            return _by_cases(row, kernel.started(mutant), trial.full)
        by_lane = _by_lane(mutant)
        if trial.full:
            row.cases = _by_cases(row, kernel.started(mutant), full=True).cases
        row.verdict, row.message = by_lane
    except Absent as absence:
        row.verdict, row.message = "not tried", str(absence)
    except BuildError as error:
        row.verdict, row.message = "does not compile", " ".join(str(error).split())[:300]
    return row


def _by_lane(mutant: KernelMutant) -> tuple[str, str]:
    """Return the verdict and the message of the lane that must reject a mutant.

    Raises ``Absent`` where the lane cannot run.
    """
    finding = find(mutant)
    return ("killed", finding) if finding else ("survives", "")


def _by_cases(row: Row, opened: AbstractContextManager[FrontEnd], full: bool) -> Row:
    """Fill in a row: by the killer, then by the cases it lacks if ``full`` or if it survives."""
    cases = dict(quirks.quick_cases())
    killer = cases.pop(row.killer, None)
    with opened as front_end:
        if killer is not None:
            result = _judge(row, front_end, killer)
            row.score, row.message = json_number(result.score), _first_line(result.message)
            row.verdict = _verdict(result)
        for case in sorted(cases.values(), key=_is_long):
            if case.id in row.cases or (_is_long(case) and len(row.killed_by) >= _ENOUGH):
                continue
            if not full and (row.verdict != "survives" or row.equivalent or row.killed_by):
                break
            _judge(row, front_end, case)
    if row.equivalent:
        row.verdict = "no longer equivalent" if row.killed_by else "equivalent"
    elif row.verdict == "survives" and row.killed_by:
        row.verdict = "killed by another"
        row.message = ", ".join(row.killed_by[:9])
    return row


def _is_long(case: Case) -> bool:
    """Return whether a case's clips may have more than ``_LONG`` samples."""

    def largest(value: Any) -> int:
        if isinstance(value, dict):
            return max(map(largest, value.values()), default=0)
        if isinstance(value, (list, tuple)):
            return max(map(largest, value), default=0)
        return value if isinstance(value, int) else 0

    return case.family == "golden" or largest(case.arguments) > _LONG


def _judge(row: Row, front_end: FrontEnd, case: Case) -> Result:
    result = judge_case(front_end, case, profile="quick", seed=0)
    row.cases[case.id] = SIGNS[result.status]
    return result


def _verdict(result: Result) -> str:
    if result.status != "failed":
        return "survives"
    enough = result.score is None or result.score >= quirks.MARGIN
    return "killed" if enough else "barely killed"


def _first_line(message: str) -> str:
    """Return the first line, in which the repository's folder is "."; a traceback is behind it."""
    return message.partition("\n")[0].replace(str(ROOT), ".")[:300]
