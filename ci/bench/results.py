"""The file ``bench.json``: writing, reading, comparing. ``bench.schema.json`` describes it."""

from __future__ import annotations

import dataclasses
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema

SCHEMA = Path(__file__).with_name("bench.schema.json")
LEAST_FALL = 0.05
"""The smallest relative fall of a ratio that counts. Two runs of one program may differ by as much
without visible noise, because code and data lie at other addresses.
"""
SAME_WORK = 1e-3
"""The largest difference of features of two front-ends that do the same work."""

Document = dict[str, Any]


class Unreadable(ValueError):
    """Refusal of a file that is no valid ``bench.json``; the message says why."""


def save(document: Document, path: Path) -> None:
    """Write a document that follows the schema."""
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def load(path: Path) -> Document:
    """Read a document that ``save`` wrote; raise ``Unreadable`` for other files."""
    try:
        text = path.read_text()
        _require_valid(text)
        document: Document = json.loads(text)
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path}: {error}") from None
    except jsonschema.ValidationError as error:
        raise Unreadable(f"{path} is no result of ./dev bench: {error.message}") from None
    return document


@lru_cache(maxsize=1)  # the docs read one record four times
def _require_valid(text: str) -> None:
    jsonschema.validate(json.loads(text), json.loads(SCHEMA.read_text()))


def measured(document: Document) -> dict[str, Any]:
    """Return the measured rows by id."""
    return {row["id"]: row for row in document["rows"] if "ratio" in row}


def same_work(row: dict[str, Any]) -> bool:
    """Return whether both sides of a measured row have the same features."""
    return row["difference"] is not None and row["difference"] <= SAME_WORK


@dataclasses.dataclass(frozen=True)
class Change:
    """A row in two documents; ``noise`` is the difference of ratios that means nothing."""

    id: str
    before: float
    after: float
    noise: float
    noisy: bool

    @property
    def fell(self) -> bool:
        return not self.after >= self.before - self.noise

    @property
    def rose(self) -> bool:
        return self.after > self.before + self.noise

    def __str__(self) -> str:
        word = "FELL" if self.fell else "rose" if self.rose else "as before"
        late = "  (noisy: says little)" if self.noisy else ""
        return (
            f"{self.id:45} {self.before:8.3g} -> {self.after:8.3g}  "
            f"noise {self.noise:6.2g}  {word}{late}"
        )


def compare(before: Document, after: Document) -> list[Change]:
    """Compare the ratios of common rows; times of two runs are not comparable."""
    old, new = measured(before), measured(after)
    return [_change(name, old[name], new[name]) for name in old if name in new]


def _change(name: str, old: dict[str, Any], new: dict[str, Any]) -> Change:
    """Compare a row's ratios; noise is their mean quartile distance, or ``LEAST_FALL``."""
    spread = sum(row["ratio_quartiles"][1] - row["ratio_quartiles"][0] for row in (old, new)) / 2
    return Change(
        name,
        before=old["ratio"],
        after=new["ratio"],
        noise=max(spread, LEAST_FALL * old["ratio"]),
        noisy=old["noisy"] or new["noisy"],
    )
