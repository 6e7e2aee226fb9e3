"""Every case by its permanent id, in the order of the families."""

from __future__ import annotations

from functools import lru_cache

from whisper_mel_conformance.cases import (
    batch,
    boundary,
    buffers,
    errors,
    golden,
    half,
    honesty,
    lengths,
    maximum,
    numerics,
    properties,
    regressions,
    repeated,
    state,
    stream,
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
        maximum.MAXIMUM,
        half.HALF,
        stream.STREAM,
        lengths.LENGTHS,
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

CASES_VERSION = "1.0"
"""The version of the cases: another minor number with new ones, another major number if one of them
asks something else than before (docs/versions.md).
"""


BRIEF = (
    *("golden/reading/80", "golden/reading/128", "golden/reading/80-pad480000"),
    *("boundary/length-0", "boundary/length-160", "boundary/length-400/80"),
    *("boundary/length-401/80", "boundary/length-401/128", "boundary/every-remainder/80"),
    *("boundary/61-seconds/80", "boundary/pad-1637-to-1637/80"),
    *("numerics/rising-noise/80", "numerics/rising-noise-e3/80", "numerics/near-floor-noise/80"),
    *("numerics/dc/80", "numerics/square/80", "numerics/quiet-noise-int16/80"),
    *("buffers/stride-2-400", "buffers/offset-20-400", "buffers/results-kept/80"),
    *("batch/three/80", "batch/quiet-beside-loud/80", "errors/nan-at-2000", "errors/inf-at-2000"),
    *("errors/longer-than-pad_to", "errors/overflow-1e+19"),
    *("concurrency/four-threads/80", "determinism/interleaved"),
)
"""The cases of the profile ``brief``: real speech, and those that tell most in seconds."""


@lru_cache(maxsize=4)
def all_cases(profile: str) -> tuple[Case, ...]:
    """Return the cases of a profile: the fixed ones by family, then the drawn ones.

    A longer profile has all cases of the shorter ones.
    """
    if profile == "brief":
        return tuple(case for case in all_cases("quick") if case.id in BRIEF)
    cases = [case for family in FAMILIES.values() for case in family.cases(profile)]
    assert len({case.id for case in cases}) == len(cases)
    return tuple(sorted(cases, key=lambda case: isinstance(case, properties.Property)))


@lru_cache(maxsize=1)
def _by_id() -> dict[str, Case]:
    return {case.id: case for case in all_cases("nightly")}


def find(case_id: str) -> Case:
    """Return the case with this id, of any profile; raise ``KeyError`` if there is none."""
    return _by_id()[case_id]
