"""Numbers in prose, by the names in their marks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from bench import instructions, results, table
from whisper_mel_conformance.frontend.load import peers
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_golden.cases import golden_cases

from docs import speed

Numbers = dict[str, Callable[[], str]]


def _goldens() -> str:
    return f"{len(list(golden_cases())):,}"


def _inputs() -> str:
    return f"{len({case.id.split('/')[1] for case in golden_cases()}):,}"


def _worst_golden() -> str:
    return f"{max(case.score for case in golden_cases()):.2f}"


NUMBERS: Numbers = {
    "goldens": _goldens,
    "golden inputs": _inputs,
    "worst golden": _worst_golden,
    "peers": lambda: str(len(peers())),
    "quirks": lambda: str(len(CATALOGUE)),
    "quirks seen": lambda: str(sum(bool(quirk.seen) for quirk in CATALOGUE.values())),
    "quirks of the path": lambda: str(sum(quirk.vary is not None for quirk in CATALOGUE.values())),
    "million instructions": lambda: f"{instructions.load_budget()['80'] / 1e6:.1f}",
}


def ratios() -> Numbers:
    """Return the recorded ratio of each row of the benchmark, by the name ``speed ROW``."""
    rows: dict[str, Any] = results.measured(results.load(speed.RECORD))
    return {f"speed {id}": partial(table.number, row["ratio"]) for id, row in rows.items()}
