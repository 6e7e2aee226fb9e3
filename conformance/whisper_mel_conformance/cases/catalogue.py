"""Every case by its permanent id, in the order of the families."""

from __future__ import annotations

from functools import lru_cache

from whisper_mel_conformance.cases import (
    batch,
    boundary,
    buffers,
    errors,
    golden,
    honesty,
    numerics,
    properties,
    regressions,
    repeated,
    state,
)
from whisper_mel_conformance.cases.case import Case, Family
from whisper_mel_conformance.cases.check import CHECKS as CHECKS  # all of them, from here

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        golden.GOLDEN,
        boundary.BOUNDARY,
        numerics.NUMERICS,
        properties.PROPERTY,
        buffers.BUFFERS,
        batch.BATCH,
        errors.ERRORS,
        repeated.CONCURRENCY,
        repeated.DETERMINISM,
        repeated.MEMORY,
        state.STATE,
        honesty.HONESTY,
        regressions.REGRESSIONS,
    )
}
"""The families by their names, in the order of the report."""


@lru_cache(maxsize=4)
def all_cases(profile: str) -> tuple[Case, ...]:
    """Return the cases of a profile: the fixed ones by family, then the drawn ones.

    A longer profile has all cases of the shorter ones.
    """
    cases = [case for family in FAMILIES.values() for case in family.cases(profile)]
    assert len({case.id for case in cases}) == len(cases)
    return tuple(sorted(cases, key=lambda case: isinstance(case, properties.Property)))


@lru_cache(maxsize=1)
def _by_id() -> dict[str, Case]:
    return {case.id: case for case in all_cases("nightly")}


def find(case_id: str) -> Case:
    """Return the case with this id, of any profile; raise ``KeyError`` if there is none."""
    return _by_id()[case_id]
