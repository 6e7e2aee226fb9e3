"""The sentences about how often the diagnosis is right, from the record of drawn front-ends."""

from __future__ import annotations

import json

from mutants.diagnosis import RECORD, WANTED, Row, is_missed

from docs.sections import table

_GROUPS = {
    "single": "one quirk of the catalogue, its number drawn",
    "pair": "two quirks of different kinds",
    "condition": "a quirk under a condition: the condition is stated",
    "outside": "one or two faults outside the catalogue: no wrong stage is named",
}


def section() -> str:
    """Return the table of ``./dev mutants --diagnosis``, and what is missed."""
    groups: dict[str, Row] = json.loads(RECORD.read_text())
    rows = [
        [
            _GROUPS[name],
            f"{it['right']} of {it['n']}",
            f"{it['low']:.0%} to {it['high']:.0%}",
            f"{WANTED[name]:.0%}" + (" (missed)" if is_missed(it) else ""),
            str(it["misleads"]),
            str(it["seed"]),
        ]
        for name, it in groups.items()
    ]
    head = ["drawn", "right:", "95 % interval:", "wanted:", "misleading stages:", "seed:"]
    return table(head, rows)
