"""The suite's cases today, and what is said of a record that was made with others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from typing import Any


def identity(case_ids: Iterable[str]) -> dict[str, Any]:
    """What a record names a catalogue by: how many cases, and the SHA-256 of their sorted ids."""
    ids = sorted(case_ids)
    return {"cases": len(ids), "sha256": hashlib.sha256("\n".join(ids).encode()).hexdigest()}


@cache
def ids(profile: str = "quick") -> tuple[str, ...]:
    """The ids of a profile's cases, in their order."""
    from whisper_mel_conformance.run.judge import all_cases

    return tuple(case.id for case in all_cases(profile))


def as_of(day: str, profile: str, recorded: dict[str, Any]) -> str:
    """When and by how many cases something was judged; says so where the cases are others today.

    ``recorded`` is the ``identity`` of the catalogue that it was judged by.
    """
    today = identity(ids(profile))
    cases = f"profile {profile}, {recorded['cases']:,} cases"
    if recorded == today:
        return f"{day}, {cases}"
    now = f"{today['cases']:,} today"
    return f"{day}, {cases} then ({now if recorded['cases'] != today['cases'] else 'others today'})"
