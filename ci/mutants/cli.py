"""Mutants: faulty front-ends and faulty kernels that the suite must reject.

    ./dev mutants              every quirk of the catalogue by its killer (a minute)
    ./dev mutants --kernel     mutated copies of the kernel, too (each is compiled: up to an hour)
    ./dev mutants --full       quirks and kernels by every quick case, and idle cases (hours)

``-k WORD`` takes only mutants whose id has the word in it; with ``--resume`` what the file has is
kept: mutants that were tried by all short cases are left out, others are tried by their killer and
by the cases that are missing. Clips of more than 10 s are left out for mutants that 100 shorter
cases reject: they tell nothing then, and take most of the time. A mutant that survives its killer
is tried by the other cases: it needs one of those that reject it as its killer, or a new case.
Exit status 1 if a mutant survives, if its killer is another than it is said to be, or rejects it
by little. The rows go to report/mutants.json; with ``--record`` to docs/measurements/mutants.json,
beside those that are there: ``./dev docs`` shows them in docs/quirks.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from tasks.paths import MEASUREMENTS, ROOT

from mutants.kernel import KernelMutant, kernel_mutants, started
from mutants.matrix import GOOD, SIGNS, Row, idle, read, write

if TYPE_CHECKING:
    from whisper_mel_conformance.cases.catalogue import Case
    from whisper_mel_conformance.frontend.client import FrontEnd
    from whisper_mel_conformance.run.result import Result

REPORT = ROOT / "report" / "mutants.json"
RECORD = MEASUREMENTS / "mutants.json"
_LONG = 160_000  # samples
_ENOUGH = 100  # rejecting cases


def run(arguments: list[str]) -> int:
    """Runs the mutants; 1 if one is not killed as it should be."""
    parser = argparse.ArgumentParser(
        prog="./dev mutants",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kernel", action="store_true", help="mutated copies of the kernel, too")
    parser.add_argument("--full", action="store_true", help="each by every case, kernels too")
    parser.add_argument("--record", action="store_true", help="write it to docs/measurements")
    parser.add_argument("--resume", action="store_true", help="only what the file has not")
    parser.add_argument("-k", dest="word", default="", metavar="WORD", help="of a mutant's id")
    options = parser.parse_args(arguments)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # small products; see whisper_mel_conformance
    from mutants.quirks import quick_cases

    cases = list(quick_cases())
    path = RECORD if options.record else REPORT
    rows = _of_today(read(path)) if options.record or options.resume else {}
    known = {id: row.cases for id, row in rows.items()} if options.resume else {}
    tried: dict[str, Row] = {}
    for row in _rows(options.word, options.kernel or options.full, options.full, known):
        tried[row.id] = row
        row.cases = {**rows.get(row.id, row).cases, **row.cases}
        write(rows := _of_today({**rows, row.id: row}), cases, path)
    if not tried and not any(options.word in id for id in rows):
        print(f"no mutant has {options.word!r} in its id")
        return 2
    print(f"written: {path}")
    bad = [row for row in tried.values() if row.verdict not in GOOD]
    counts = {v: sum(row.verdict == v for row in tried.values()) for v in GOOD}
    print(f"{len(tried)} mutants: {counts['killed']} killed, {counts['equivalent']} equivalent")
    for row in bad:
        print(f"{row.verdict.upper()} {row.id}: {row.killer} {row.message}")
    if options.full and not options.word:
        print(f"{len(idle(rows, cases))} of {len(cases)} cases reject no mutant of their own")
    return 1 if bad else 0


def _of_today(rows: Mapping[str, Row]) -> dict[str, Row]:
    """The rows of mutants that there are, in their order."""
    from whisper_mel_conformance.quirks import CATALOGUE

    return {id: rows[id] for id in (*CATALOGUE, *kernel_mutants()) if id in rows}


# --------------------------------------------------------------------------- one mutant


def _rows(
    word: str, with_kernels: bool, full: bool, known: Mapping[str, Mapping[str, str]]
) -> Iterator[Row]:
    """A row for each mutant that is not known in full."""
    from whisper_mel_conformance.quirks import CATALOGUE

    from mutants.quirks import quick_cases

    short = {case.id for case in quick_cases().values() if not _is_long(case)}

    def is_wanted(id: str) -> bool:
        return word in id and not short <= set(known.get(id, ()))

    for quirk in filter(lambda quirk: is_wanted(quirk.id), CATALOGUE.values()):
        row = Row(
            quirk.id, "quirk", quirk.killer, "", None, "", cases=dict(known.get(quirk.id, {}))
        )
        yield _printed(_by_cases(row, _quirk(quirk.id), full))
    if with_kernels:
        for mutant in filter(lambda mutant: is_wanted(mutant.id), kernel_mutants().values()):
            yield _printed(_kernel(mutant, full, known.get(mutant.id, {})))


@contextmanager
def _quirk(id: str) -> Iterator[FrontEnd]:
    from whisper_mel_conformance.quirks import CATALOGUE

    from mutants.quirks import start

    front_end = start(CATALOGUE[id])
    try:
        front_end.start()
        yield front_end
    finally:
        front_end.stop()


def _kernel(mutant: KernelMutant, full: bool, known: Mapping[str, str]) -> Row:
    from whisper_mel_mojo.builder import BuildError

    row = Row(
        mutant.id, "kernel", mutant.killer, "", None, "", mutant.equivalent, cases=dict(known)
    )
    try:
        if mutant.lane is None:
            return _by_cases(row, started(mutant), full)
        by_lane = _by_lane(mutant)
        if full:
            row.cases = _by_cases(row, started(mutant), full).cases
        row.verdict, row.message = by_lane
    except BuildError as error:
        row.verdict, row.message = "does not compile", str(error)[:300]
    return row


def _by_lane(mutant: KernelMutant) -> tuple[str, str]:
    """The verdict and the message of the lane that must reject it."""
    from sanitize.native import Absent, find

    try:
        finding = find(mutant)
    except Absent as absence:
        return "not tried", str(absence)
    return ("killed", finding) if finding else ("survives", "")


def _by_cases(row: Row, opened: AbstractContextManager[FrontEnd], full: bool) -> Row:
    """The row filled in: by its killer, then by what it lacks if asked for or if it survives."""
    from whisper_mel_conformance.report.write import json_number

    from mutants.quirks import quick_cases

    cases = dict(quick_cases())
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
    """Whether its clips may have more than ``_LONG`` samples."""

    def largest(value: Any) -> int:
        if isinstance(value, dict):
            return max(map(largest, value.values()), default=0)
        if isinstance(value, (list, tuple)):
            return max(map(largest, value), default=0)
        return value if isinstance(value, int) else 0

    return case.family == "golden" or largest(case.arguments) > _LONG


def _judge(row: Row, front_end: FrontEnd, case: Case) -> Result:
    from whisper_mel_conformance.run.judge import judge_case

    result = judge_case(front_end, case, profile="quick", seed=0)
    row.cases[case.id] = SIGNS[result.status]
    return result


def _verdict(result: Result) -> str:
    from mutants.quirks import MARGIN

    if result.status != "failed":
        return "survives"
    return "killed" if result.score is None or result.score >= MARGIN else "barely killed"


def _first_line(message: str) -> str:
    """What comes after it, such as a traceback, names folders of this machine."""
    return message.partition("\n")[0][:300]


def _printed(row: Row) -> Row:
    score = "-" if row.score is None else row.score
    print(
        f"{row.verdict:10} {row.id:32} {row.killer:40} {score} "
        f"({len(row.killed_by)} of {len(row.cases)} cases)",
        flush=True,
    )
    return row
