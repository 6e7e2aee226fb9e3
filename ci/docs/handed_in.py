"""The table of reports that others have handed in, in docs/front-ends.md.

``docs/handed-in`` has a ``report.json`` for each, by any name. A report that nobody could reproduce
is refused.
"""

from __future__ import annotations

import re
from pathlib import Path

from checkout.paths import ROOT
from whisper_mel_conformance.report.documents import Document, read
from whisper_mel_conformance.report.environment import PARTS
from whisper_mel_conformance.report.facts import Entry, entries
from whisper_mel_conformance.report.formats import code, plain

from docs import versions
from docs.sections import table

FOLDER = ROOT / "docs" / "handed-in"
NOTHING = "None so far."
_LARGEST = 2_000_000  # bytes of a report


def section(folder: Path | None = None) -> str:
    """Return the table; raise ``ValueError`` for a report that is not valid or not reproducible."""
    rows = []
    for path in sorted((folder or FOLDER).glob("*.json")):
        problem = _too_large(path) or why_not(document := read(path))
        if problem:
            raise ValueError(f"docs/handed-in/{path.name}: {problem}")
        rows += [_row(entry) for entry in entries(document)]
    head = ["front-end", "passed:", "failed:", "declared:", "worst:", "class", "judged", "again"]
    return table(head, rows) if rows else NOTHING


def _too_large(path: Path) -> str | None:
    size = path.stat().st_size
    return f"it has {size:,} bytes: expected at most {_LARGEST:,}" if size > _LARGEST else None


def why_not(document: Document) -> str | None:
    """Return why a report cannot be reproduced; None if it can."""
    for run in document.runs:
        made_in = run["environment"]
        missing = [name for name in PARTS if name not in made_in["versions"]]
        if missing:
            return f"it does not name the version of {', '.join(missing)}: judge with a newer suite"
        if run["interrupted"] or run["problems"]:
            return "the run was interrupted, or has problems: expected a whole one"
        if run["profile"] == "brief":
            return "profile brief: expected quick or a longer one"
        commit = made_in["flags"].get("WHISPER_MEL_COMMIT", "")
        package = made_in["versions"].get("whisper-mel-conformance", "")
        if not re.fullmatch("[0-9a-f]{40}", commit) and package not in versions.read():
            said = commit or f"none, and {package or 'no version'} is no release"
            return f"commit: {said}: expected a commit without changes, or a release"
        unnamed = [judged["name"] for judged in run["front_ends"] if not judged["versions"]]
        if unnamed:
            return f"{unnamed[0]} names no version: see `versions` of a front-end"
    return None


def _row(entry: Entry) -> list[str]:
    total, versions_of = entry.total, entry.run["environment"]["versions"]
    parts = ", ".join(f"{name} {versions_of[name]}" for name in PARTS)
    return [
        f"{plain(entry.name, 60)} ({plain(entry.version, 80)})",
        *map(str, (total.passed, total.failed, total.known)),
        entry.worst,
        entry.verdict.symbol.replace("*", "\\*"),
        f"{entry.run['created'][:10]}, {plain(parts, 80)}",
        code(entry.command).replace("|", "\\|"),
    ]
