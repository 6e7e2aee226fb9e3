"""The verdict on a front-end: one function decides class, words and colour for every output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Counts = Mapping[str, Mapping[str, int]]
"""Numbers of cases, by family and by status."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on a front-end.

    Attributes
    ----------
    symbol : ``A``, ``B``, ``A*``, ``B*``, ``fails``, ``fails*`` or ``-``, for tables.
    words : the same in words, for a badge.
    state : ``right``, ``careless`` (class B), ``declared``, ``apart`` (fails, as declared),
        ``wrong`` or ``unknown``; a page has a colour for each.
    """

    symbol: str
    words: str
    state: str

    @property
    def badge_colour(self) -> str:
        """The colour of a badge, as shields.io names it."""
        return _COLOURS[self.state][0]

    @property
    def style(self) -> str:
        """The style in a terminal."""
        return _COLOURS[self.state][1]

    @property
    def conforms(self) -> bool:
        """Whether nothing is wrong but a minority of declared differences."""
        return self.state in ("right", "careless", "declared")


_COLOURS = {
    "right": ("brightgreen", "green"),
    "careless": ("yellow", "yellow"),
    "declared": ("yellowgreen", "yellow"),
    "apart": ("orange", "bold yellow"),
    "wrong": ("red", "bold red"),
    "unknown": ("lightgrey", "dim"),
}


def verdict(grade: str, families: Counts) -> Verdict:
    """Return the verdict on a front-end with this class (``A``, ``B``, ``fails`` or ``-``).

    The class is that of the cases that are not declared to fail. It counts, with ``*``, where
    fewer cases are declared than passed and where something of each family passed. Otherwise the
    front-end fails, as declared.
    """
    if grade == "fails":
        return Verdict("fails", "fails", "wrong")
    if grade not in ("A", "B"):
        return Verdict("-", "not judged", "unknown")
    known = sum(counts["known"] for counts in families.values())
    passed = sum(counts["passed"] for counts in families.values())
    lost = any(counts["known"] and not counts["passed"] for counts in families.values())
    if lost or known >= passed > 0:
        return Verdict("fails*", f"fails, as declared: {counted(known, 'case')}", "apart")
    if known:
        return Verdict(f"{grade}*", f"class {grade}, {known} declared", "declared")
    return Verdict(grade, f"class {grade}", "right" if grade == "A" else "careless")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless there is one: ``"1 case"``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
