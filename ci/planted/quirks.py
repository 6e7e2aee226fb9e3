"""Quirks as mutants, and the check that a quirk's killer rejects it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from whisper_mel_conformance.cases.case import Case
from whisper_mel_conformance.cases.catalogue import all_cases
from whisper_mel_conformance.frontend.client import FrontEnd, InProcess
from whisper_mel_conformance.frontend.load import inspect_front_end
from whisper_mel_conformance.quirks import CATALOGUE, Quirk
from whisper_mel_conformance.run.judge import judge_case
from whisper_mel_conformance.run.result import Result
from whisper_mel_reference import CLASS_B

MARGIN = 2.0 * CLASS_B
"""The least score of a quirk that is rejected by its values: a lower one would mean a weak case."""

HANGING = (
    *("hang", "deadlock", "pool-not-in-child", "library-threads-not-in-child"),
    *("asked-threads-not-in-child", "lock-held-at-fork"),
)
_SHORT_TIMEOUT = 1.0  # seconds a call, for those that hang for ever: once they are loaded


@lru_cache(maxsize=1)
def quick_cases() -> dict[str, Case]:
    """Return the quick profile's cases by id."""
    return {case.id: case for case in all_cases("quick")}


@contextmanager
def started(quirk: Quirk) -> Iterator[FrontEnd]:
    """Start a quirk as a front-end: in this process if it cannot harm it."""
    source = f"whisper_mel_conformance.quirks:{quirk.id}"
    if quirk.vary is not None:
        front_end: FrontEnd = InProcess(inspect_front_end(quirk.make(), source))
    else:
        front_end = FrontEnd(source, timeout=60.0)
    try:
        front_end.start()
        if quirk.id in HANGING:  # no time-out while it loads is short
            front_end.timeout = _SHORT_TIMEOUT
        yield front_end
    finally:
        front_end.stop()


def kill(name: str, case: str | None = None) -> Result:
    """Judge the quirk ``name`` by a case, its killer by default."""
    quirk = CATALOGUE[name]
    chosen = quick_cases()[quirk.killer if case is None else case]
    with started(quirk) as front_end:
        return judge_case(front_end, chosen, profile="quick", seed=0)
