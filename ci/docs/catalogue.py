"""Today's cases, and the words for a record that was made with others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from typing import Any

from docs.sections import table


def identity(case_ids: Iterable[str]) -> dict[str, Any]:
    """Return the number of cases and the SHA-256 of their sorted ids: a catalogue's identity."""
    ids = sorted(case_ids)
    return {"cases": len(ids), "sha256": hashlib.sha256("\n".join(ids).encode()).hexdigest()}


@cache
def ids(profile: str = "quick") -> tuple[str, ...]:
    """Return the ids of a profile's cases, in their order."""
    from whisper_mel_conformance.cases.catalogue import all_cases

    return tuple(case.id for case in all_cases(profile))


def as_of(day: str, profile: str, recorded: dict[str, Any]) -> str:
    """Return the day and the number of cases of a judgement, with a note if cases have changed.

    ``recorded`` is the ``identity`` of the catalogue that was used.
    """
    today = identity(ids(profile))
    cases = f"profile {profile}, {recorded['cases']:,} cases"
    if recorded == today:
        return f"{day}, {cases}"
    now = f"{today['cases']:,} today"
    return f"{day}, {cases} then ({now if recorded['cases'] != today['cases'] else 'others today'})"


def families() -> str:
    """Return the table of the families, and of what a failure of each means."""
    from whisper_mel_conformance.cases.catalogue import FAMILIES

    rows = ((f"`{family.name}/`", family.failure) for family in FAMILIES.values())
    return table(["family", "a failure means"], rows)
