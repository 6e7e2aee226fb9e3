"""Every case by its permanent id, in the order of the families."""

from __future__ import annotations

from functools import lru_cache

from whisper_mel_conformance.cases import (
    batch,
    boundary,
    buffers,
    errors,
    golden,
    numerics,
    properties,
    regressions,
    repeated,
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
        regressions.REGRESSIONS,
    )
}
"""What cases are about, by what their ids begin with."""


@lru_cache(maxsize=4)
def all_cases(profile: str) -> tuple[Case, ...]:
    """The cases of a profile, those that are drawn last. Longer profiles have those of shorter."""
    cases = [case for family in FAMILIES.values() for case in family.cases(profile)]
    assert len({case.id for case in cases}) == len(cases)
    return tuple(sorted(cases, key=lambda case: isinstance(case, properties.Property)))


@lru_cache(maxsize=1)
def _by_id() -> dict[str, Case]:
    return {case.id: case for case in all_cases("nightly")}


def find(case_id: str) -> Case:
    """The case with this id, of any profile. Raises ``KeyError``."""
    return _by_id()[case_id]
