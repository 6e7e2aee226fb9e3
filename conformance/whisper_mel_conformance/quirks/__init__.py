"""The catalogue of quirks: ways in which front-ends are wrong, as data that can be run.

One catalogue serves three ends: the suite must reject each of them (by the case named as its
killer), a failing front-end is compared with them (:mod:`whisper_mel_conformance.diagnosis`), and
``docs/quirks.md`` lists them. Each can be judged as a front-end, too::

    ./dev conformance --frontend whisper_mel_conformance.quirks:symmetric-window
"""

from __future__ import annotations

from typing import Any

from whisper_mel_conformance.quirks.adapter import ADAPTER
from whisper_mel_conformance.quirks.quirk import KINDS, Parameter, Quirk
from whisper_mel_conformance.quirks.signal import SIGNAL

__all__ = ["CATALOGUE", "KINDS", "Parameter", "Quirk"]

CATALOGUE: dict[str, Quirk] = {quirk.id: quirk for quirk in (*SIGNAL, *ADAPTER)}
"""Every quirk by its id."""

assert len(CATALOGUE) == len(SIGNAL) + len(ADAPTER), "ids are unique"
assert all(quirk.kind in KINDS for quirk in CATALOGUE.values())


def __getattr__(name: str) -> Any:
    """A factory of the front-end that has the quirk ``name``."""
    if name in CATALOGUE:
        return CATALOGUE[name].make
    raise AttributeError(f"there is no quirk {name!r}")
