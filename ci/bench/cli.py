"""The command ``./dev bench``."""

from __future__ import annotations

import argparse
import datetime
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from checkout.commit import commit

from bench import instructions, machine, results, table
from bench.rows import BASELINE, DROP_IN, QUICK, Row, all_rows, select
from bench.worker import measure_in_process

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "docs" / "measurements" / "cpu.json"
SECONDS, QUICK_SECONDS = 1.0, 0.5
"""Seconds for each row, unless its smallest number of rounds takes longer."""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./dev bench")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--against", type=Path, metavar="FILE")
    parser.add_argument("--output", type=Path, default=ROOT / "report", metavar="DIR")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--readme", action="store_true")
    return parser


def main(arguments: list[str], measure: Callable[..., Iterator[Any]] = measure_in_process) -> int:
    """Run ``./dev bench``; return its exit status."""
    if arguments[:1] == ["instructions"]:
        return _instructions(arguments[1:])
    options = parser().parse_args(arguments)
    if options.readme:
        parser().error("--readme: README's table is written by ./dev docs")
    if options.seconds is None:
        options.seconds = QUICK_SECONDS if options.quick else SECONDS
    if options.record and (options.quick or options.only):
        parser().error("--record: expected all rows, neither --quick nor --only")
    try:
        earlier = results.load(options.against) if options.against else None
        rows = _chosen(options)
    except ValueError as error:
        parser().error(str(error))
    begin = time.monotonic()
    document = _measured(rows, options, measure)
    output = options.output / "bench.json"
    results.save(document, output)
    print(*table.memory_lines(document["rows"]), _drawn(document, output), sep="\n")
    print(f"took {(time.monotonic() - begin) / 60:.1f} min")
    problems = wrong(document)
    if options.record and not problems:
        results.save(document, RECORD)
        print(f"written: {RECORD}; `./dev docs` shows it in README")
    if earlier:
        problems += fallen(earlier, document)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def _instructions(arguments: list[str]) -> int:
    counting = argparse.ArgumentParser(prog="./dev bench instructions")
    counting.add_argument("--record", action="store_true")
    return instructions.run(counting.parse_args(arguments).record)


def _chosen(options: argparse.Namespace) -> list[Row]:
    """List the rows to be measured, in groups that share a process."""
    rows = all_rows(installed_peers(), len(os.sched_getaffinity(0)))
    if options.quick:
        rows = select(rows, QUICK)
    if options.only:
        rows = select(rows, options.only)
    return sorted(rows, key=lambda row: row.process)


def installed_peers() -> list[str]:
    """List the registered front-ends that are not the kernel's own."""
    from whisper_mel_conformance.frontend.load import registered

    return [
        name
        for name, entry in registered().items()
        if not entry.value.startswith("whisper_mel_mojo.")
    ]


def _measured(
    rows: list[Row], options: argparse.Namespace, measure: Callable[..., Iterator[Any]]
) -> Any:
    """Return the results of a run, which are printed as they come."""
    document = {
        "format": 1,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "quick": options.quick,
        **commit(),
        "machine": machine.machine(),
        "versions": machine.versions(),
        "library": machine.library(),
        "rows": [],
    }
    cpus = len(os.sched_getaffinity(0))
    print(table.HEADING)
    for process in dict.fromkeys(row.process for row in rows):
        ours = [row for row in rows if row.process == process]
        if process[1] > cpus:
            reason = f"takes {process[1]} CPUs, there is {cpus}"
            found: Any = ({"id": row.id, "skipped": reason} for row in ours)
        else:
            found = measure(ours, options.seconds)
        for result in found:
            document["versions"].update(result.pop("versions", {}))
            if "skipped" in result:  # a record is published: it does not say where this checkout is
                result["skipped"] = result["skipped"].replace(f"{ROOT}/", "")
            document["rows"].append(result)
            print(table.line(result), flush=True)
    return document


def _drawn(document: Any, output: Path) -> str:
    """Draw the picture beside the results; return the names of the files."""
    try:
        from bench import figure
    except ImportError as error:
        return f"{output}; no picture: {error}"
    figure.figure(document).savefig(output.with_suffix(".svg"))
    return f"{output} and {output.stem}.svg"


def wrong(document: Any) -> list[str]:
    """Return the reasons why a run is invalid."""
    rows = results.measured(document)
    if not rows:
        return ["no row was measured"]
    problems = [
        f"{name}: the features differ by {row['difference']}, so that both did not do the same work"
        for name, row in rows.items()
        if name.startswith((f"{BASELINE}/", f"{DROP_IN}/")) and not results.same_work(row)
    ]
    problems += [
        f"{name}: {side['front_end']} took {side['median_ms']:.3g} ms; reading its samples alone "
        f"takes {side['least_ms']:.3g} ms: it cannot have computed them"
        for name, row in rows.items()
        for side in (row["ours"], row["other"])
        if not side["median_ms"] >= side["least_ms"]
    ]
    return problems


def fallen(earlier: Any, document: Any) -> list[str]:
    """Print the comparison with an earlier run; return a sentence for each ratio that fell."""
    changes = results.compare(earlier, document)
    print(*changes, sep="\n")
    left = len(results.measured(earlier)) - len(changes)
    if left:
        print(f"{left} more rows of the earlier run were not measured this time")
    if earlier["machine"]["cpu"] != document["machine"]["cpu"]:
        print(f"another CPU: {earlier['machine']['cpu']}. Ratios may differ for that reason.")
    if not changes:
        return ["nothing to compare: the runs have no row in common"]
    return [
        f"{change.id} fell by {1 - change.after / change.before:.1%}"
        for change in changes
        if change.fell
    ]
