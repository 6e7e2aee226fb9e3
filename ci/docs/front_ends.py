"""Front-ends in the wild: their record, README's table, the tables of docs/front-ends.md."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from checkout.paths import MEASUREMENTS
from whisper_mel_conformance.cases.catalogue import FAMILIES
from whisper_mel_conformance.frontend.load import peers, registered
from whisper_mel_conformance.report.verdict import Verdict, verdict
from whisper_mel_conformance.run import known
from whisper_mel_conformance.run.result import STATUSES

from docs import runs
from docs.catalogue import as_of, identity
from docs.sections import table

RECORD = MEASUREMENTS / "front-ends.json"
OURS = "mojo-cpu"
FORMAT = 2
NOT_YET = "not judged yet"
Judged = dict[str, Any]


# --------------------------------------------------------------------------- the record


@cache
def names() -> tuple[str, ...]:
    """Return the front-ends that are shown, in order: the kernel, then every peer."""
    return (OURS, *peers())


@cache
def read() -> dict[str, Judged]:
    """Read the recorded front-ends by name, without those that no longer exist.

    Raises ``ValueError`` for a record of another format, or without the catalogue of a front-end.
    """
    data = json.loads(RECORD.read_text(encoding="utf-8"))
    if data["format"] != FORMAT:
        raise ValueError(f"{RECORD}: format {data['format']}: expected {FORMAT}")
    found = {judged["name"]: judged for judged in data["front_ends"]}
    for name, judged in found.items():
        if judged.get("catalogue", {}).keys() != {"cases", "sha256"}:
            raise ValueError(f"{RECORD}: {name} has no catalogue: expected its cases and sha256")
    return {name: found[name] for name in names() if name in found}


def take(report: Mapping[str, Any]) -> None:
    """Replace front-ends in the record by those of a run's report.

    The record leaves out single cases that passed or were skipped, and the kernel's front-ends
    that are not shown (:mod:`docs.runs` takes them). Raises ``ValueError`` for a front-end that is
    neither a peer nor the kernel's.
    """
    found = dict(read())
    for judged in report["front_ends"]:
        if judged["name"] in runs.HOW and judged["name"] != OURS:
            continue
        if judged["name"] not in names():
            raise ValueError(f"front-end {judged['name']!r}: expected one of {', '.join(names())}")
        found[judged["name"]] = _recorded(report, judged)
    front_ends = [found[name] for name in names() if name in found]
    text = json.dumps({"format": FORMAT, "front_ends": front_ends}, indent=1, ensure_ascii=False)
    RECORD.write_text(text + "\n", encoding="utf-8")
    read.cache_clear()


def _recorded(report: Mapping[str, Any], judged: Judged) -> Judged:
    cases = judged["cases"]
    run_keys = ("created", "profile", "seed", "environment")
    own_keys = ("name", "device", "versions", "class", "counts", "worst")
    return {
        **{key: judged[key] for key in own_keys},
        **{key: report[key] for key in run_keys},
        "catalogue": identity(case["id"] for case in cases),
        "families": {family: _family(cases, family) for family in FAMILIES},
        "declared": [
            {**_facts(entry), "cases": [case["id"] for case in cases if _is_declared(case, entry)]}
            for entry in declarations(judged["name"])
        ],
        "failed": [case["id"] for case in cases if case["status"] == "failed"],
        "diagnosis": judged["diagnosis"],
    }


def _family(cases: Iterable[dict[str, Any]], family: str) -> dict[str, int]:
    of_family = [case["status"] for case in cases if case["id"].startswith(f"{family}/")]
    return {status: of_family.count(status) for status in STATUSES}


def declarations(name: str) -> list[known.KnownFailure]:
    """List today's declared failures of a peer."""
    return [entry for entry in known.of_peers() if entry.front_end == name]


def _facts(entry: known.KnownFailure) -> dict[str, str]:
    keys = ("title", "mechanism", "link", "version")
    return {**{key: getattr(entry, key) for key in keys}, "since": entry.since.isoformat()}


def _is_declared(case: Mapping[str, Any], entry: known.KnownFailure) -> bool:
    score = None if case["score"] is None else float(case["score"])
    return case["status"] == "known" and entry.declares(case["id"], score)


def declared_otherwise(judged: Judged) -> bool:
    """Return whether the declared failures of a front-end have changed since it was judged."""
    then = [{key: entry[key] for key in entry if key != "cases"} for entry in judged["declared"]]
    return then != [_facts(entry) for entry in declarations(judged["name"])]


# --------------------------------------------------------------------------- when


def judged_when() -> str:
    """Return when the front-ends were judged and by how many cases, with the exceptions."""
    groups: dict[str, list[str]] = {}
    for name, judged in read().items():
        words = as_of(judged["created"][:10], judged["profile"], judged["catalogue"])
        groups.setdefault(words, []).append(name)
    if len(groups) == 1:
        return f"Judged {next(iter(groups))}."
    largest = max(groups, key=lambda words: len(groups[words]))
    others = [f"{', '.join(groups[words])}: {words}" for words in groups if words != largest]
    return f"Judged {largest}, but for {'; '.join(others)}."


# --------------------------------------------------------------------------- README's table


SHOWN = 8  # front-ends in README's table


def readme() -> str:
    """Return README's sentence about all front-ends, and the table of those that differ most."""
    found = [judged for judged in read().values() if judged["name"] != OURS]
    states = Counter(_verdict(judged).state for judged in found)
    sentence = (
        f"{judged_when()}\nOf {len(found)} front-ends, {states['right'] + states['careless']} "
        f"conform in every case, {states['declared']} in all but some declared ones, and "
        f"{states['apart']} differ in most cases or in a whole family of them"
    )
    sentence += f"; {states['wrong']} fail unexpectedly." if states["wrong"] else "."
    missing = [name for name in names() if name not in read()]
    sentence += f" {', '.join(missing)}: {NOT_YET}." if missing else ""
    differ = sorted(
        (judged for judged in found if judged["counts"]["known"]),
        key=lambda judged: (_verdict(judged).conforms, -judged["counts"]["known"]),
    )
    head = ["front-end", "class", "passed:", "declared:", "what it does otherwise"]
    return f"{sentence}\n\n{table(head, map(_row, differ[:SHOWN]))}"


def _row(judged: Judged) -> list[str]:
    counts = judged["counts"]
    titles = "; ".join(entry["title"] for entry in judged["declared"])
    return [_title(judged), _class(judged), str(counts["passed"]), str(counts["known"]), titles]


def _title(judged: Judged) -> str:
    name = judged["name"]
    package, version = next(iter(judged["versions"].items()))
    return f"{name} {version}" if package == name else f"{name} ({package} {version})"


def _worst(judged: Judged) -> str:
    worst = judged["worst"]
    return "–" if worst is None else f"{float(worst['score']):.2g}"


def _verdict(judged: Judged) -> Verdict:
    """Return the verdict as the report has it."""
    return verdict(judged["class"], judged["families"])


def _class(judged: Judged) -> str:
    return _verdict(judged).symbol.replace("*", "\\*")


# --------------------------------------------------------------------------- docs/front-ends.md


def page() -> str:
    """Return the tables of docs/front-ends.md, and a section for each front-end."""
    sections = [f"## {name}\n\n{_section(name)}" for name in names()]
    return "\n\n".join([judged_when(), _overview(), _by_family(), *sections])


def _overview() -> str:
    head = ["front-end", "", "passed:", "declared:", "skipped:", "worst:", "class"]
    light = {OURS, *peers("light")}
    rows = []
    for name in names():
        title = f"[{name}](#{name}){' •' if name in light else ''}"
        judged = read().get(name)
        if judged is None:
            rows.append([title, "", "", "", "", "", NOT_YET])
            continue
        versions = ", ".join(f"{package} {it}" for package, it in judged["versions"].items())
        counts = [str(judged["counts"][status]) for status in ("passed", "known", "skipped")]
        rows.append([title, versions, *counts, _worst(judged), _class(judged)])
    return table(head, rows)


def _by_family() -> str:
    rows = [
        [name, *(_counts(judged["families"].get(family)) for family in FAMILIES)]
        for name, judged in read().items()
    ]
    text = "## By family\n\nPassed / declared; a dash where every case is skipped.\n\n"
    return text + table(["", *(f"{family}:" for family in FAMILIES)], rows)


def _counts(family: dict[str, int] | None) -> str:
    """Return what became of a family's cases; nothing if the family is newer than the record."""
    if family is None:
        return ""
    text = f"{family['passed']}" + (f" / {family['known']}" if family["known"] else "")
    text += f" (**{family['failed']} failed**)" if family["failed"] else ""
    return "–" if sum(family.values()) == family["skipped"] else text


def _section(name: str) -> str:
    judged = read().get(name)
    if judged is None:
        return f"{about(name)}\n\nIt was {NOT_YET}."
    paragraphs = [about(name)]
    if declared_otherwise(judged):
        paragraphs.append("What is declared of it has changed since; it was not judged again yet.")
    for entry in judged["declared"]:
        cases = len(entry["cases"])
        paragraphs.append(
            f"- **{entry['title']}** ({cases} {'case' if cases == 1 else 'cases'}, seen in "
            f"{entry['version']}, declared {entry['since']}): {entry['mechanism']}. "
            f"[Where]({entry['link']})."
        )
    if judged["failed"]:
        failed = ", ".join(f"`{case}`" for case in judged["failed"])
        paragraphs.append(f"Fails, undeclared: {failed}")
    if judged["diagnosis"]:
        summary = "\n".join(f"> {sentence}" for sentence in judged["diagnosis"]["summary"])
        paragraphs += ["Diagnosis:", summary]
    return "\n\n".join(paragraphs)


@cache
def about(name: str) -> str:
    """Return the first paragraph of a front-end module's docstring; do not import the module."""
    module = registered()[name].module
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(f"front-end {name!r} is registered, but there is no module {module}")
    docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split()).replace("``", "`")
