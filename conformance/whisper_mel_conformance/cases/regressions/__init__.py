"""The regression corpus: small cases, each with the bug that it was made of. Judged in every run.

``./dev repro PATH --keep NAME --link URL`` adds one; ``shrunken`` arguments are easiest to read.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from whisper_mel_conformance.cases.case import Case, Family
from whisper_mel_conformance.folder import write_whole

FOLDER = Path(__file__).parent
FORMAT = 1


@dataclass(frozen=True)
class Regression:
    """One case of the corpus.

    Attributes
    ----------
    case : its permanent id, ``regressions/…``.
    check, arguments, claims : as those of a :class:`whisper_mel_conformance.cases.case.Case`.
    project, link : whose bug it was, and where it is described.
    mechanism : what was wrong.
    quirk : the entry of the catalogue that has the bug, if there is one.
    since : the day it was added, ISO 8601.
    """

    case: str
    check: str
    arguments: Mapping[str, Any]
    claims: tuple[str, ...]
    project: str
    link: str
    mechanism: str
    quirk: str | None
    since: str


@lru_cache(maxsize=1)
def regressions() -> tuple[Regression, ...]:
    """Return the corpus, by id; raise ``ValueError`` naming a file that is not as it should be."""
    return tuple(read(path) for path in sorted(FOLDER.glob("*.json")))


def read(path: Path) -> Regression:
    """Read an entry. Raises ``ValueError`` that names the file and what is wrong in it."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("format") != FORMAT:
            raise ValueError(f"expected format {FORMAT}")
        data["claims"] = tuple(data["claims"])
        entry = Regression(**data)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
    if entry.case != f"regressions/{path.stem}":
        raise ValueError(f"{path}: case={entry.case!r}: expected 'regressions/{path.stem}'")
    return entry


def write(entry: Regression) -> Path:
    """Add an entry; return its path. Raises ``FileExistsError`` if its name is taken."""
    path = FOLDER / f"{entry.case.removeprefix('regressions/')}.json"
    data = {"format": FORMAT, **vars(entry), "claims": list(entry.claims)}
    if path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    write_whole(path, (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode("utf-8"))
    regressions.cache_clear()
    return path


def _cases(_profile: str) -> Iterator[Case]:
    for entry in regressions():
        yield Case(entry.case, entry.check, entry.arguments, entry.claims)


REGRESSIONS = Family(
    "regressions", "it has a bug that some project had: the case's file says whose", _cases
)
