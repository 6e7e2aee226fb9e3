"""Report files: reading, checking, merging and writing.

A file holds one run, or under ``runs`` several, each from its own machine. It also carries the
results of benchmarks and of mutants, which are shown beside the verdicts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

from whisper_mel_conformance.folder import read_foreign

FORMAT = 1


class Unreadable(ValueError):
    """Refusal of a file of another form than expected; the message names it and says why."""


@dataclass
class Document:
    """The content of a report: runs (see ``report.schema.json``), benchmarks, and mutants."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    benchmarks: list[dict[str, Any]] = field(default_factory=list)
    mutants: list[dict[str, Any]] = field(default_factory=list)

    def text(self) -> str:
        """Return the content of ``report.json``; a single run is its own top level."""
        top = self.runs[0] if len(self.runs) == 1 else {"format": FORMAT, "runs": self.runs}
        top = {**top, "benchmarks": self.benchmarks, "mutants": self.mutants}
        return json.dumps(top, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read(path: Path) -> Document:
    """Read a ``report.json``; raise ``Unreadable`` for other files."""
    data = _load(path)
    _check(path, data, _schema())
    beside = data.pop("benchmarks", []), data.pop("mutants", [])
    return Document(data.get("runs", [data]), *beside)


def merge(documents: Iterable[Document]) -> Document:
    """Merge documents into one, without duplicates."""
    every = [*documents]
    return Document(
        _distinct(run for document in every for run in document.runs),
        _distinct(benchmark for document in every for benchmark in document.benchmarks),
        _distinct(mutant for document in every for mutant in document.mutants),
    )


def _distinct(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """List entries in their order, of equal ones one. There may be very many."""
    return [*{json.dumps(entry, sort_keys=True): entry for entry in entries}.values()]


def beside(benchmarks: Iterable[str], mutants: str | None) -> Document:
    """Read the results of ``./dev bench`` and ``./dev mutants`` that are shown beside the verdicts.

    Raises ``Unreadable``.
    """
    found = read_mutants(Path(mutants)) if mutants else []
    return Document([], [read_benchmark(Path(path)) for path in benchmarks], found)


def read_benchmark(path: Path) -> dict[str, Any]:
    """Read what the report shows of a ``bench.json``. Raises ``Unreadable``."""
    data = _load(path)
    try:
        summary = {
            "created": data["created"],
            "commit": data["commit"],
            "cpu": data["machine"]["cpu"],
            "versions": data["versions"],
            "rows": [
                {
                    "id": row["id"],
                    "ours": row["ours"]["front_end"],
                    "ours_ms": row["ours"]["median_ms"],
                    "other": row["other"]["front_end"],
                    "other_ms": row["other"]["median_ms"],
                    "ratio": row["ratio"],
                    "noisy": row["noisy"],
                }
                for row in data["rows"]
                if "ratio" in row
            ],
        }
    except (KeyError, TypeError) as error:
        raise Unreadable(f"{path} is no result of `./dev bench`: {error!r}") from error
    _check(path, summary, _part("benchmark"))
    return summary


def read_mutants(path: Path) -> list[dict[str, Any]]:
    """Read what the report shows of a ``mutants.json``. Raises ``Unreadable``."""
    data = _load(path)
    try:
        families = [case_id.partition("/")[0] for case_id in data["cases"]]
        mutants = [
            {
                **{key: row[key] for key in ("id", "kind", "killer", "verdict", "score")},
                "equivalent": row["equivalent"],
                "killed_by": _by_family(row["cases"], families),
            }
            for row in data["mutants"]
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Unreadable(f"{path} is no result of `./dev mutants`: {error!r}") from error
    _check(path, mutants, _part("mutants"))
    return mutants


def _by_family(signs: str, families: list[str]) -> dict[str, int] | None:
    """Count the cases of each family that reject a mutant (``x``); None if no case was tried."""
    if not set(signs) - set("?-"):
        return None
    return dict(Counter(f for s, f in zip(signs, families, strict=True) if s == "x"))


def _load(path: Path) -> Any:
    try:
        return json.loads(read_foreign(path))
    except (OSError, ValueError, RecursionError) as error:
        raise Unreadable(f"{path}: {error}") from error


def _schema() -> dict[str, Any]:
    text = files("whisper_mel_conformance.report").joinpath("report.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _part(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}", "$defs": _schema()["$defs"]}


_MOST_ERRORS = 100  # of which the best is said: a file may have one in each of its million entries


def _check(path: Path, data: Any, schema: dict[str, Any]) -> None:
    import jsonschema  # slow to import, and needed for files from elsewhere only

    errors = jsonschema.Draft202012Validator(schema).iter_errors(data)
    error = jsonschema.exceptions.best_match(islice(errors, _MOST_ERRORS))
    if error is not None:
        raise Unreadable(f"{path}: {error.json_path}: {error.message[:300]}")
