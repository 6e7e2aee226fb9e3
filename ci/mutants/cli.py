"""Mutants: faulty front-ends and faulty kernels that the suite must reject.

    ./dev mutants              every quirk of the catalogue by its killer (a minute)
    ./dev mutants --kernel     mutated copies of the kernel, too (each is compiled: up to an hour)
    ./dev mutants --full       quirks and kernels by every quick case, and idle cases (hours)
    ./dev mutants --suite      the suite's own Python by its tests: see mutants.python (an hour)
    ./dev mutants --diagnosis N  what the diagnosis says of N drawn front-ends of each group: see
                               mutants.diagnosis (an hour for 50)

``-k WORD`` takes only mutants whose id has the word in it; with ``--resume`` what the file has is
kept: mutants that were tried by all short cases are left out, others are tried by their killer and
by the cases that are missing. Clips of more than 10 s are left out for mutants that 100 shorter
cases reject: they tell nothing then, and take most of the time. A mutant that survives its killer
is tried by the other cases: it needs one of those that reject it as its killer, or a new case.
Exit status 1 if a mutant survives, if its killer is another than it is said to be, or rejects it
by little; 130 or 143 if SIGINT or SIGTERM ended the run. The rows go, each when it is there, to
report/mutants.json; with ``--record`` to docs/measurements/mutants.json, beside those that are
there: ``./dev docs`` shows them in docs/quirks.md. pytest-xdist spreads the mutants over all
processors, or over ``-n N`` processes; with ``-n 0`` there is one.
"""

from __future__ import annotations

import whisper_mel_conformance.run.quiet_blas  # noqa: F401  before anything imports NumPy

# isort: split
import argparse
import os
import signal
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from checkout.paths import MEASUREMENTS, ROOT
from planted.kernel import kernel_mutants

from mutants import python
from mutants.matrix import GOOD, Row, idle, read, write

if TYPE_CHECKING:
    from mutants.trial import Trial

REPORT = ROOT / "report" / "mutants.json"
RECORD = MEASUREMENTS / "mutants.json"
# pytest without the repository's configuration, and with a progress of ours. A process that has
# nothing left takes mutants from the others.
_PYTEST = ["-c", os.devnull, f"--rootdir={ROOT}", "-p", "no:terminal", "-p", "no:cacheprovider"]
_PYTEST += ["--capture=no", "--dist=worksteal", str(Path(__file__).with_name("suite.py"))]


def run(arguments: list[str]) -> int:
    """Run the mutants; return the exit status (see the module)."""
    options = _parser().parse_args(arguments)
    if options.suite:
        return python.run(options.word, record=options.record)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # of the processes that judge, too
    if options.diagnosis is not None:
        from mutants import diagnosis

        number = options.processes
        return diagnosis.run(
            options.word,
            options.diagnosis,
            options.seed,
            processes=(os.cpu_count() or 1) if number == "auto" else int(number),
            record=options.record,
        )
    from planted.quirks import quick_cases

    from mutants.trial import planned

    path = RECORD if options.record else REPORT
    rows = _of_today(read(path)) if options.record or options.resume else {}
    signs = {id: row.cases for id, row in rows.items()} if options.resume else {}
    with_kernels = options.kernel or options.full
    trials = planned(options.word, with_kernels=with_kernels, full=options.full, signs=signs)
    if not trials and not any(options.word in id for id in rows):
        print(f"no mutant has {options.word!r} in its id")
        return 2
    matrix = Matrix(trials, rows, list(quick_cases()), path)
    status = _judged(matrix, options.processes) if trials else 0
    matrix.conclude()
    if options.full and not options.word and matrix.ended_by is None:
        idlers = idle(matrix.rows, matrix.cases)
        print(f"{len(idlers)} of {len(matrix.cases)} cases reject no mutant of their own")
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./dev mutants")
    parser.add_argument("--kernel", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--suite", action="store_true")
    parser.add_argument("--diagnosis", type=_positive, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("-k", dest="word", default="", metavar="WORD")
    parser.add_argument("-n", dest="processes", type=_processes, default="auto", metavar="N")
    return parser


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of front-ends, 1 or more")
    return int(text)


def _processes(text: str) -> str:
    if text != "auto" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of processes, 0 or more")
    return text


def _of_today(rows: Mapping[str, Row]) -> dict[str, Row]:
    """Return the rows of mutants that there are today, in the catalogue's order."""
    from whisper_mel_conformance.quirks import CATALOGUE

    return {id: rows[id] for id in (*CATALOGUE, *kernel_mutants()) if id in rows}


def _judged(matrix: Matrix, processes: str) -> int:
    """Have pytest judge the trials; return the exit status."""

    def end(number: int, frame: object) -> None:
        matrix.ended_by = number
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        most = f"--maxprocesses={len(matrix.trials)}"
        status = pytest.main([*_PYTEST, "-n", processes, most], [matrix])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if matrix.ended_by is not None:
        return 128 + matrix.ended_by
    return 0 if status == pytest.ExitCode.OK else 1


class Matrix:
    """A pytest plugin of the process that collects: it alone prints and writes the rows.

    ``rows`` are those of the file ``path``, to which each row is added once it is there; ``cases``
    are the ids of all cases.
    """

    def __init__(
        self, trials: Iterable[Trial], rows: dict[str, Row], cases: list[str], path: Path
    ) -> None:
        self.trials = {trial.id: trial for trial in trials}
        self.rows = rows
        self.cases = cases
        self.ended_by: int | None = None  # the number of a signal
        self._path = path
        self._tried: dict[str, Row] = {}

    def pytest_configure(self, config: pytest.Config) -> None:
        from mutants.trial import TRIALS

        config.stash[TRIALS] = list(self.trials.values())

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Hand the trials to a process of pytest-xdist."""
        node.workerinput["trials"] = [asdict(trial) for trial in self.trials.values()]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        sent: dict[str, Any] = dict(report.user_properties)
        if report.when == "call" and sent:
            self._take(Row(**sent["row"]))
        elif report.failed:  # it is not the mutant's fault, and says nothing of it
            print(report.longreprtext, flush=True)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            print(report.longreprtext, flush=True)

    def _take(self, row: Row) -> None:
        score = "-" if row.score is None else row.score
        print(
            f"{row.verdict:10} {row.id:32} {row.killer:40} {score} "
            f"({len(row.killed_by)} of {len(row.cases)} cases)",
            flush=True,
        )
        self._tried[row.id] = row
        row.cases = {**self.rows.get(row.id, row).cases, **row.cases}
        self.rows = _of_today({**self.rows, row.id: row})
        write(self.rows, self.cases, self._path)

    def conclude(self) -> None:
        """Print what became of the trials, in their order."""
        rows = [self._tried[id] for id in self.trials if id in self._tried]
        if rows or not self.trials:
            print(f"written: {self._path}")
        counts = {v: sum(row.verdict == v for row in rows) for v in GOOD}
        print(f"{len(rows)} mutants: {counts['killed']} killed, {counts['equivalent']} equivalent")
        for row in rows:
            if row.verdict not in GOOD:
                print(f"{row.verdict.upper()} {row.id}: {row.killer} {row.message}")
        if len(rows) < len(self.trials):
            missing = [id for id in self.trials if id not in self._tried]
            print(f"NOT TRIED {', '.join(missing)}")
