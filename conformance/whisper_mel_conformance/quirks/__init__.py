"""The catalogue of quirks: ways in which front-ends are wrong, as data that can be run.

The catalogue has three uses: the suite must reject each quirk (by the case named as its killer),
the diagnosis compares a failing front-end with them (:mod:`whisper_mel_conformance.diagnosis`), and
``docs/quirks.md`` lists them. Each can also be judged as a front-end::

    ./dev conformance --frontend whisper_mel_conformance.quirks:symmetric-window
"""

from __future__ import annotations

from typing import Any

from whisper_mel_conformance.quirks.batches import BATCH
from whisper_mel_conformance.quirks.errors import ERRORS
from whisper_mel_conformance.quirks.half import HALF
from whisper_mel_conformance.quirks.honesty import HONESTY
from whisper_mel_conformance.quirks.lengths import LENGTHS
from whisper_mel_conformance.quirks.memory import MEMORY
from whisper_mel_conformance.quirks.out import API
from whisper_mel_conformance.quirks.processes import CONCURRENCY, PROCESS
from whisper_mel_conformance.quirks.quirk import KINDS, Parameter, Quirk
from whisper_mel_conformance.quirks.results import FILTERBANK, FRAMES, SHAPE
from whisper_mel_conformance.quirks.settings import SETTINGS
from whisper_mel_conformance.quirks.signal import SIGNAL
from whisper_mel_conformance.quirks.state import STATE
from whisper_mel_conformance.quirks.streams import STREAM

__all__ = ["CATALOGUE", "KINDS", "Parameter", "Quirk"]

_TABLES = (
    *SIGNAL,
    *(FRAMES, FILTERBANK, SHAPE),
    *(ERRORS, STATE, MEMORY, API, BATCH, CONCURRENCY, PROCESS, SETTINGS),
    *(HALF, STREAM, LENGTHS, HONESTY),
)

CATALOGUE: dict[str, Quirk] = {quirk.id: quirk for table in _TABLES for quirk in table.quirks}
"""Every quirk by its id; variations of the reference's path first."""

assert len(CATALOGUE) == sum(len(table.quirks) for table in _TABLES), "ids are unique"


def __getattr__(name: str) -> Any:
    """Return a factory of the front-end with the quirk ``name``; ``--frontend`` looks it up."""
    if name not in CATALOGUE:
        raise AttributeError(f"there is no quirk {name!r}")
    return CATALOGUE[name].make
