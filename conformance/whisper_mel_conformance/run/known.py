"""Declared failures: strict, dated, explained.

A TOML file names a front-end and the cases that it is declared to fail. A file beside an adapter of
the suite applies to that adapter only, even if another front-end has the same name. A file that a
user names applies to all front-ends of that name::

    front-end = "librosa"

    [[failure]]
    cases = ["errors/overflow-*"]
    since = 2026-11-24
    mechanism = "what happens, and why"

``cases`` are ids, with ``*`` for any characters. A declared case that passes is a failure, and so
is a pattern that matches no case. Only a drawn case may pass, since another seed draws another
input.
Optional keys of a table:

- ``except``: ids that are not declared although they match;
- ``worst``: the highest score that is declared; a case that fails with a higher one is a failure;
- ``some = true``: rounding decides which of the cases fail. Some pass, but not all of them;
- ``title``: a few words for tables;
- ``effect``: what users of the front-end notice;
- ``version``, ``link``: of the front-end, and where the failure is described.
"""

from __future__ import annotations

import datetime
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from whisper_mel_conformance.folder import read_foreign
from whisper_mel_conformance.frontend.load import peers

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FIELDS = {"cases", "since", "mechanism"}
_OPTIONAL = {"effect", "except", "link", "some", "title", "version", "worst"}


@dataclass(frozen=True)
class KnownFailure:
    """Cases that a front-end is declared to fail, and the reason.

    ``front_end`` is its name, or with ``of_adapter`` the name of the adapter that it is limited to.
    """

    front_end: str
    patterns: tuple[str, ...]
    exceptions: tuple[str, ...]
    since: datetime.date
    version: str
    mechanism: str
    link: str
    title: str
    worst: float = math.inf
    some: bool = False
    of_adapter: bool = False
    effect: str = ""

    def is_about(self, name: str, source: str) -> bool:
        """Return whether it applies to the front-end of this name, which ``source`` was loaded
        from.
        """
        if self.of_adapter:
            return source == self.front_end and source in peers()
        return name == self.front_end

    def as_json(self) -> dict[str, Any]:
        """Return plain data, which can be sent to another process."""
        worst = None if self.worst == math.inf else self.worst
        return {**vars(self), "since": self.since.isoformat(), "worst": worst}

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> KnownFailure:
        """Create an entry from the data of :meth:`as_json`."""
        return cls(
            **{
                **data,
                "patterns": tuple(data["patterns"]),
                "exceptions": tuple(data["exceptions"]),
                "since": datetime.date.fromisoformat(data["since"]),
                "worst": math.inf if data["worst"] is None else data["worst"],
            }
        )

    def covers(self, case_id: str) -> bool:
        return _matches(case_id, self.patterns) and not _matches(case_id, self.exceptions)

    def declares(self, case_id: str, score: float | None) -> bool:
        """Return whether a failure with this score (None: not scored) is a declared one."""
        as_bad = self.worst == math.inf or (score is not None and score <= self.worst)
        return as_bad and self.covers(case_id)


def _matches(case_id: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(case_id, pattern) for pattern in patterns)


def read(path: Path, *, of_adapter: bool = False) -> list[KnownFailure]:
    """Read the declared failures in a file; ``of_adapter`` is true for the file of an adapter.

    Raises ``ValueError`` that names the file and what is wrong in it.
    """
    try:
        data = tomllib.loads(read_foreign(path))
    except (OSError, ValueError, RecursionError) as error:  # not UTF-8, or not TOML
        raise ValueError(f"{path}: {error}") from error
    name = data.pop("front-end", None)
    entries = data.pop("failure", [])
    if not isinstance(name, str) or data or not _are_tables(entries):
        raise ValueError(f'{path}: expected front-end = "name" and [[failure]] tables only')
    known = []
    for entry in entries:
        if set(entry) - _OPTIONAL != _FIELDS:
            raise ValueError(
                f"{path}: a failure has {sorted(entry)}: expected {', '.join(sorted(_FIELDS))} "
                f"(and {', '.join(sorted(_OPTIONAL))})"
            )
        if type(entry["since"]) is not datetime.date:  # a datetime is one, too
            raise ValueError(f"{path}: since={entry['since']!r}: expected a date")
        for key in ("cases", "except"):
            ids = entry.get(key, [""])
            if not isinstance(ids, list) or not ids or not all(isinstance(i, str) for i in ids):
                raise ValueError(f"{path}: {key}={ids!r}: expected a list of ids")
        worst, some = entry.get("worst", math.inf), entry.get("some", False)
        if isinstance(worst, bool) or not isinstance(worst, (int, float)) or not worst > 0:
            raise ValueError(f"{path}: worst={worst!r}: expected a score above 0")
        if not isinstance(some, bool):
            raise ValueError(f"{path}: some={some!r}: expected true or false")
        known.append(
            KnownFailure(
                name,
                tuple(entry["cases"]),
                tuple(entry.get("except", ())),
                entry["since"],
                str(entry.get("version", "")),
                str(entry["mechanism"]),
                str(entry.get("link", "")),
                str(entry.get("title", entry["mechanism"])),
                worst,
                some,
                of_adapter,
                str(entry.get("effect", "")),
            )
        )
    return known


def _are_tables(entries: Any) -> bool:
    return isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)


def of_peers() -> list[KnownFailure]:
    """Return the declared failures of all adapters."""
    return [*_of_adapters()]


@lru_cache(maxsize=1)
def _of_adapters() -> tuple[KnownFailure, ...]:
    files = sorted(Path(__file__).parents[1].glob("peers/*.toml"))
    return tuple(entry for path in files for entry in read(path, of_adapter=True))


def matching_nothing(known: Iterable[KnownFailure], case_ids: Iterable[str]) -> list[str]:
    """Return a sentence for each pattern that matches no case."""
    ids = list(case_ids)
    return [
        f"{entry.front_end}: declared failure {pattern!r} matches no case"
        for entry in known
        for pattern in (*entry.patterns, *entry.exceptions)
        if not any(_matches(case_id, [pattern]) for case_id in ids)
    ]
