"""How often the diagnosis is right, about faulty front-ends that are drawn by seed.

    ./dev mutants --diagnosis N --seed S

draws N front-ends of each group of :mod:`mutants.draws`, and diagnoses them. The diagnosis is told
nothing of what was drawn, but of what is wrong under a condition, as in a run, which cases of the
suite it fails. It is

- right about a single quirk or a pair if the first cause that it names is what was drawn, or makes
  the same features (up to the bound of class B) of eight clips that are drawn for this;
- right about a condition if the one that it states is true of the same of 90 drawn calls, as far as
  their features show, or, of what depends on other calls, if it says which;
- misleading if it names a stage in which no fault is, unless what it names makes the same features.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from typing import Any

from checkout.paths import MEASUREMENTS
from planted.quirks import quick_cases
from whisper_mel_conformance.cases.case import Case
from whisper_mel_conformance.cases.catalogue import CHECKS
from whisper_mel_conformance.cases.properties import Property
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis.answer import Answer, Model, Variants
from whisper_mel_conformance.diagnosis.diagnose import diagnose
from whisper_mel_conformance.diagnosis.outcome import Diagnosis
from whisper_mel_conformance.frontend.client import FrontEnd, InProcess
from whisper_mel_conformance.frontend.errors import Failure, Refused
from whisper_mel_conformance.frontend.load import inspect_front_end
from whisper_mel_conformance.run.judge import judge_case
from whisper_mel_reference import CLASS_B

from mutants.draws import GROUPS, Call, Drawn, When, calls, drawn, held_out

RECORD = MEASUREMENTS / "diagnosis.json"
WANTED = {"single": 0.97, "pair": 0.85, "condition": 0.95, "outside": 1.0}
"""The part of each group about which the diagnosis shall be right."""

Row = dict[str, Any]
"""What came of a front-end: its group and index, what was drawn and what was said, whether that is
right, whether it misleads, and the processor seconds of the diagnosis."""


def run(group: str, count: int, seed: int, *, processes: int, record: bool) -> int:
    """Diagnose ``count`` front-ends of each group whose name has ``group`` in it.

    Prints what came of them (of the first ones, if SIGINT ends it). Returns 1 if the diagnosis is
    right about fewer than it shall be, or misleads; 2 if there is no such group. With ``record``
    the groups are put into the record.
    """
    groups = [name for name in GROUPS if group in name]
    if not groups:
        print(f"no group has {group!r} in its name: expected of {', '.join(GROUPS)}")
        return 2
    each = [(name, seed, index) for name in groups for index in range(count)]
    rows: list[Row] = []
    pool = ProcessPoolExecutor(max(processes, 1))
    try:
        for row in pool.map(_told, each):
            rows.append(row)
            print(_line(row), flush=True)
    except KeyboardInterrupt:
        print("interrupted: these are the first ones alone")
    finally:
        pool.shutdown(cancel_futures=True)
    groups = [name for name in groups if any(row["group"] == name for row in rows)]
    sums = [counted(rows, name) for name in groups]
    for of_group in sums:
        print(
            "{group}: {right} of {n} right ({low:.1%} to {high:.1%}), {misleads} misleading, "
            "{seconds} s".format(**of_group)
        )
    if record:
        _write(sums, rows, seed)
    return int(any(is_missed(of_group) for of_group in sums))


def _write(sums: Sequence[Row], rows: Sequence[Row], seed: int) -> None:
    """Put groups into the record, each with the rows of those that are wrong."""
    made = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for of_group in sums:
        name = of_group["group"]
        own = [row for row in rows if row["group"] == name]
        wrong = [row for row in own if not row["right"] or row["misleads"]]
        made[name] = {"seed": seed, **of_group, "wrong": wrong}
    RECORD.write_text(
        json.dumps({name: made[name] for name in GROUPS if name in made}, indent=1) + "\n"
    )


def is_missed(of_group: Row) -> bool:
    """Return whether the diagnosis misleads, or is right about fewer than it shall be."""
    return not of_group["right"] >= WANTED[of_group["group"]] * of_group["n"] or bool(
        of_group["misleads"]
    )


def counted(rows: Iterable[Row], group: str) -> Row:
    """Count the rows of a group; ``low`` and ``high`` are Wilson's interval of 95 %."""
    own = [row for row in rows if row["group"] == group]
    n, right = len(own), sum(row["right"] for row in own)
    low, high = interval(right, n)
    return {
        "group": group,
        "n": n,
        "right": right,
        "misleads": sum(row["misleads"] for row in own),
        "low": round(low, 4),
        "high": round(high, 4),
        "seconds": round(sum(row["seconds"] for row in own)),
    }


def interval(right: int, n: int) -> tuple[float, float]:
    """Return Wilson's interval of a part, 95 %."""
    z = 1.96
    middle, square = right / n + z * z / (2 * n), z * z / n
    half = z * math.sqrt(right * (n - right) / n**3 + z * z / (4 * n * n))
    return (middle - half) / (1 + square), (middle + half) / (1 + square)


def _line(row: Row) -> str:
    what = "MISLEADS" if row["misleads"] else "right" if row["right"] else "WRONG"
    said = "" if what == "right" else f"\n    {row['said']}"
    return f"{what:8} {row['group']} {row['index']}: {row['drawn']} ({row['seconds']} s){said}"


def _told(which: tuple[str, int, int]) -> Row:
    group, seed, index = which
    return told(group, seed, index)


def told(group: str, seed: int, index: int) -> Row:
    """Diagnose a drawn front-end; return its row."""
    fault = drawn(group, seed, index)
    front_end = InProcess(inspect_front_end(fault.source, "drawn"))
    failed = []
    if fault.when is not None:
        failed = [case.id for case in cases() if _fails(front_end, case)]
    before = time.process_time()
    diagnosis = diagnose(front_end, failed=failed)
    seconds = time.process_time() - before
    choice = random.Random(f"held out/{group}/{seed}/{index}")
    right = about(fault, diagnosis, front_end, choice)
    condition = [] if diagnosis.condition is None else [diagnosis.condition.sentence]
    return {
        "group": group,
        "index": index,
        "drawn": fault.words,
        "said": " ".join([*diagnosis.cause.splitlines(), *condition]),
        "right": right["right"],
        "misleads": right["misleads"],
        "seconds": round(seconds, 1),
    }


_JUDGED = ("scored", "sweep", "in_layout", "batch", "sequence", "repeats", "in_threads")
_LONGEST = 40_000  # samples


@lru_cache(maxsize=1)
def cases() -> tuple[Case, ...]:
    """Return the quick profile's cases of short clips that judge features."""
    return tuple(
        case
        for case in quick_cases().values()
        if case.check in _JUDGED and not isinstance(case, Property) and _longest(case) <= _LONGEST
    )


def _longest(case: Case) -> int:
    requests = CHECKS[case.check].requests(case.arguments)
    return max(max(it.pad_to or 0, it.audio().shape[-1]) for it in requests)


def _fails(front_end: FrontEnd, case: Case) -> bool:
    return judge_case(front_end, case, profile="quick", seed=0).status == "failed"


def about(
    fault: Drawn, diagnosis: Diagnosis, front_end: FrontEnd, choice: random.Random
) -> dict[str, bool]:
    """Return whether a diagnosis is right about a front-end, and whether it misleads."""
    named: Variants = diagnosis.explanations[0].variants if diagnosis.explanations else ()
    ids = {variant.id for variant in named}
    is_named = bool(named) and ids == {variant.id for variant in fault.variants}
    is_equal = is_named or (
        bool(named) and _is_equal(front_end, named, _where_wrong(fault.when, held_out(choice)))
    )
    if diagnosis.explanations:
        misleads = not (is_equal or diagnosis.kinds <= fault.kinds)
    else:
        misleads = bool(diagnosis.kinds) and not diagnosis.kinds & fault.kinds
    if fault.when is not None:
        right = _states(diagnosis, fault.when, front_end, choice)
    else:
        right = is_equal if fault.variants else not misleads
    return {"right": right, "misleads": misleads}


def _where_wrong(when: When | None, requests: Iterable[Request]) -> list[Request]:
    if when is None:
        return list(requests)
    return [request for request in requests if when.holds(Call.of(request))]


def _is_equal(front_end: FrontEnd, variants: Variants, requests: Sequence[Request]) -> bool:
    """Return whether the reference with these quirks gives a front-end's features."""
    for request in requests:
        try:
            answer = _answer(front_end, request)
        except (Failure, Refused):
            return False
        if not Model(answer).score_of(variants) <= CLASS_B:
            return False
    return bool(requests)


def _states(diagnosis: Diagnosis, when: When, front_end: FrontEnd, choice: random.Random) -> bool:
    """Return whether a diagnosis states a condition that is true of the same calls.

    Where it is not, the features decide: a fault need not show in each call that has it.
    """
    if when.said:
        return when.said in " ".join(diagnosis.sentences)
    if diagnosis.condition is None:
        return False
    for request in calls(when, choice):
        holds = diagnosis.condition.holds(request)
        if holds == when.holds(Call.of(request)):
            continue
        if holds == (_answer(front_end, request).score <= CLASS_B):
            return False
    return True


def _answer(front_end: FrontEnd, request: Request) -> Answer:
    audio = request.audio()
    return Answer("", audio, request.spec(), front_end.call(audio, **request.options()))
