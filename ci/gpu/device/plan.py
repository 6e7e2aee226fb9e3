"""The sections of a run, their purposes, and their results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"


class NotHere(Exception):
    """The reason why a section cannot be run on this machine, in words."""


class Found(Exception):
    """Findings of a section, in words; ``data`` are the measurements that it made nevertheless."""

    def __init__(self, findings: list[str], data: dict[str, Any] | None = None) -> None:
        super().__init__("; ".join(findings))
        self.findings = findings
        self.data = data or {}


@dataclass(frozen=True)
class Section:
    """A section: ``run(*options) -> data`` of a ``module``, and the ``seconds`` it may take."""

    name: str
    summary: str
    module: str
    seconds: int
    options: tuple[str, ...] = ()


SECTIONS = {
    section.name: section
    for section in (
        Section(
            "values", "class A, the bits of the CPU, canaries intact, all written", "values", 60
        ),
        Section("launches", "one launch, no copy: counted by the profiler", "launches", 60),
        Section("timing", "against PyTorch's pipelines in the same run", "timing", 150),
        Section("tuning", "all mappings: same bits, times, the best", "tuning", 240),
        Section("streams", "several streams at once, a captured graph", "streams", 60),
        Section("memory", "peak device memory; too little is a clear error", "memory", 60),
        Section("conformance", "the suite on mojo-gpu and its relatives", "conformance", 240),
        Section("memcheck", "compute-sanitizer: addresses", "sanitizers", 150, ("memcheck",)),
        Section(
            "initcheck", "compute-sanitizer: unwritten memory", "sanitizers", 150, ("initcheck",)
        ),
        Section("synccheck", "compute-sanitizer: barriers", "sanitizers", 150, ("synccheck",)),
        Section("counters", "DRAM bytes, occupancy, issue rate by ncu", "counters", 120),
        Section("racecheck", "compute-sanitizer: races", "sanitizers", 240, ("racecheck",)),
    )
}
"""Ordered by importance: a run that is cut short has finished the most important sections."""
