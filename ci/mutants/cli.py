"""Mutants: faulty front-ends and faulty kernels that the suite must reject.

    ./dev mutants              every quirk of the catalogue by its killer (a minute)
    ./dev mutants --kernel     mutated copies of the kernel, too (each is compiled: 15 minutes)
    ./dev mutants --full       every quirk by every quick case, and idle cases (hours)

``-k WORD`` takes only mutants whose id has the word in it. ``--kernel`` and ``--full`` write what
they found to report/mutants.json, ``--record`` to docs/mutants.md. Exit status 1 if a mutant
survives.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MUTANTS = ROOT / "ci" / "mutants"
KERNEL = ROOT / "mojo" / "whisper_mel_mojo" / "mel_kernel.mojo"
REPORT = ROOT / "report" / "mutants.json"
RECORD = ROOT / "docs" / "mutants.md"


@dataclass(frozen=True)
class KernelMutant:
    """A replacement in the kernel's source; ``equivalent`` says why nothing can tell it."""

    id: str
    target: str
    old: str
    new: str
    killer: str
    equivalent: str = ""

    def source(self) -> str:
        """The mutated kernel. Raises ``ValueError`` unless ``old`` occurs exactly once."""
        text = KERNEL.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(
                f"mutant {self.id}: its text occurs {text.count(self.old)} times in "
                f"{KERNEL.name}, expected once: {self.old!r}"
            )
        return text.replace(self.old, self.new)


def kernel_mutants() -> list[KernelMutant]:
    """Those of ``ci/mutants/kernel.toml``."""
    data = tomllib.loads((MUTANTS / "kernel.toml").read_text(encoding="utf-8"))
    return [KernelMutant(**entry) for entry in data["mutant"]]


def run(arguments: list[str]) -> int:
    """Runs the mutants; 1 if one survives."""
    parser = argparse.ArgumentParser(prog="./dev mutants", description=__doc__)
    parser.add_argument("--kernel", action="store_true", help="mutated copies of the kernel, too")
    parser.add_argument("--full", action="store_true", help="every quirk by every quick case")
    parser.add_argument("--record", action="store_true", help="write docs/mutants.md")
    parser.add_argument("-k", dest="word", default="", metavar="WORD", help="of a mutant's id")
    options = parser.parse_args(arguments)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # small products; see whisper_mel_conformance
    rows = list(_quirks(options.word, options.full))
    if options.kernel:
        rows += _kernels(options.word)
    if not rows:
        print(f"no mutant has {options.word!r} in its id")
        return 2
    survivors = [row for row in rows if row["verdict"] not in ("killed", "equivalent")]
    counts = {v: sum(row["verdict"] == v for row in rows) for v in ("killed", "equivalent")}
    print(f"{len(rows)} mutants: {counts['killed']} killed, {counts['equivalent']} equivalent")
    for row in survivors:
        print(f"{row['verdict'].upper()} {row['id']}: {row['killer']} {row['message']}")
    if options.kernel or options.full:
        REPORT.parent.mkdir(exist_ok=True)
        REPORT.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"written: {REPORT}")
    if options.record:
        RECORD.write_text(record(rows), encoding="utf-8")
        print(f"written: {RECORD}")
    if options.full:
        _print_idle_cases(rows)
    return 1 if survivors else 0


def record(rows: list[dict[str, Any]]) -> str:
    """What became of the mutants, in Markdown."""
    reasons = {mutant.id: mutant.equivalent for mutant in kernel_mutants()}
    lines = [
        "# Mutants",
        "",
        "Faulty front-ends ([quirks](quirks.md)) and faulty copies of the kernel "
        "(`ci/mutants/kernel.toml`), each judged by the case that must reject it. Written by "
        "`./dev mutants --kernel --record`; *score* is the error in units of the bound where "
        "values are wrong, `-` where the process, the shape or a refusal is.",
        "",
        "| mutant | killer | verdict | score |",
        "|---|---|---|--:|",
    ]
    for row in rows:
        score = row["score"]
        number = "-" if score is None else f"{float(score):.3g}"
        why = reasons.get(row["id"], "")
        verdict = f"{row['verdict']}: {why}" if why else row["verdict"]
        lines.append(f"| {row['id']} | `{row['killer']}` | {verdict} | {number} |")
    return "\n".join(lines) + "\n"


def _row(id: str, killer: str, result: Any, verdict: str) -> dict[str, Any]:
    score = result.score
    if score is not None and not score < float("inf"):
        score = str(score)
    print(f"{verdict:10} {id:32} {killer:40} {score if score is not None else '-'}", flush=True)
    return {
        "id": id,
        "killer": killer,
        "verdict": verdict,
        "score": score,
        "message": result.message[:300],
    }


def _quirks(word: str, full: bool) -> Iterator[dict[str, Any]]:
    from whisper_mel_conformance.quirks import CATALOGUE
    from whisper_mel_conformance.quirks.killing import MARGIN, kill, quick_cases, start
    from whisper_mel_conformance.running import judge_case

    for quirk in CATALOGUE.values():
        if word not in quirk.id:
            continue
        result = kill(quirk.id)
        killed = result.status == "failed" and (result.score is None or result.score >= MARGIN)
        row = _row(quirk.id, quirk.killer, result, "killed" if killed else "survives")
        if full:
            front_end = start(quirk)
            front_end.start()
            row["killed_by"] = [
                case.id
                for case in quick_cases().values()
                if judge_case(front_end, case, profile="quick", seed=0).status == "failed"
            ]
            front_end.stop()
            print(f"{'':10} {quirk.id}: {len(row['killed_by'])} cases reject it", flush=True)
        yield row


def _kernels(word: str) -> Iterator[dict[str, Any]]:
    from whisper_mel_conformance.client import FrontEnd
    from whisper_mel_conformance.quirks.killing import quick_cases
    from whisper_mel_conformance.running import Result, judge_case
    from whisper_mel_mojo.builder import BuildError, built_library

    for mutant in kernel_mutants():
        if word not in mutant.id:
            continue
        case = quick_cases()[mutant.killer]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for file in KERNEL.parent.glob("*.mojo"):
                (folder / file.name).write_text(file.read_text(encoding="utf-8"))
            (folder / KERNEL.name).write_text(mutant.source(), encoding="utf-8")
            os.environ["WHISPER_MEL_CACHE"] = str(folder)
            try:
                built = KERNEL if mutant.target == "cpu" else KERNEL.with_name("lockstep.mojo")
                library = built_library(folder / built.name)
            except BuildError as error:
                nothing = Result("mutant", case, "failed", str(error))
                yield _row(mutant.id, mutant.killer, nothing, "does not compile")
                continue
            finally:
                del os.environ["WHISPER_MEL_CACHE"]
            os.environ["WHISPER_MEL_MUTANT"] = str(library)
            front_end = FrontEnd(f"{MUTANTS / 'front_end.py'}:{mutant.target}")
            front_end.start()
            try:
                result = judge_case(front_end, case, profile="quick", seed=0)
            finally:
                front_end.stop()
        verdict = "killed" if result.status == "failed" else "survives"
        if mutant.equivalent:
            verdict = "equivalent" if result.status == "passed" else "no longer equivalent"
        yield _row(mutant.id, mutant.killer, result, verdict)


def _print_idle_cases(rows: list[dict[str, Any]]) -> None:
    from whisper_mel_conformance.quirks.killing import quick_cases

    busy = {case for row in rows for case in row.get("killed_by", ())}
    busy |= {row["killer"] for row in rows}
    idle = [case for case in quick_cases() if case not in busy]
    print(f"{len(idle)} of {len(quick_cases())} cases reject no mutant: {', '.join(idle)}")
