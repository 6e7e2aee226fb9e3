"""Mutations of compiled PTX: which of them the emulator, or the values, show.

A mutant removes a barrier, or changes a comparison, a constant or an address by a little. It is
found if a call ends with a finding, or gives other bits than the program as it was.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from whisper_mel_mojo.gpu.emulator.program import Finding, Program

Array = NDArray[Any]
JUMPS = 100_000
"""Of a thread, after which a mutant is endless; the program itself needs a tenth of it."""
_COMPARISONS = {"lt": "le", "le": "lt", "gt": "ge", "ge": "gt", "eq": "ne", "ne": "eq"}
_COMPARISONS |= {"ltu": "leu", "leu": "ltu", "gtu": "geu", "geu": "gtu"}


class Mutant(NamedTuple):
    """A change of one statement; ``line`` counts from 1 in the PTX."""

    kind: str
    line: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.kind}, line {self.line}: `{self.old}` -> `{self.new or 'removed'}`"


def mutants(ptx: str) -> Iterator[Mutant]:
    """Yield all mutants of a program, in the order of its lines."""
    for line, text in enumerate(ptx.splitlines(), 1):
        words = text.strip()
        if re.match(r"(?:@!?%p\d+\s+)?(?:bar\.sync|barrier\.cluster\.wait)", words):
            yield Mutant("barrier", line, words, "")
            continue
        compared = re.match(r"(.*setp\.)(\w+)(\..*)", words)
        if compared and compared[2] in _COMPARISONS:
            yield Mutant("comparison", line, words, "".join(
                (compared[1], _COMPARISONS[compared[2]], compared[3])
            ))  # fmt: skip
        constant = re.match(r"((?:add|sub|mul\S*|mad\S*|shl|shr|and|min|max|setp)\.\S+\s.*, )"
                            r"(-?\d+)(;.*)", words)  # fmt: skip
        if constant:
            changed = int(constant[2]) + (1 if words.startswith(("sh", "setp")) else 4)
            yield Mutant("constant", line, words, f"{constant[1]}{changed}{constant[3]}")
        address = re.match(
            r"(.*\b(?:ld|st)\.(?:shared|global)\S*\s.*\[%r\w*\+)(-?\d+)(\].*)", words
        )
        if address:
            moved = int(address[2]) + (2 if "16" in words.split()[0] else 4)
            yield Mutant("address", line, words, f"{address[1]}{moved}{address[3]}")


def variant(ptx: str, mutant: Mutant) -> list[tuple[int, str]]:
    """Return a mutant's changed statements; of a cluster's barrier, the arrival goes, too."""
    changes = [(mutant.line, mutant.new.rstrip(";"))]
    if "cluster.wait" in mutant.old:
        lines = ptx.splitlines()
        arrival = next(i for i in reversed(range(mutant.line)) if "cluster.arrive" in lines[i])
        changes.append((arrival + 1, ""))
    return changes


def calls(is_smoothed: bool) -> Iterator[tuple[Array, dict[str, Any]]]:
    """Yield calls that together reach all of a kernel, short ones first."""
    noise = np.random.default_rng(5).uniform(-0.1, 0.1, 800_000).astype(np.float32)
    loud_end = 1e-4 * noise[:60_001]
    t = np.arange(700) / 16000
    loud_end[-700:] += np.float32(0.5) * np.sin(2 * np.pi * 7800 * t).astype(np.float32)
    loud_start = loud_end[::-1].copy()
    shorts = (noise[:9000] * 32768).astype(np.int16)
    damaged = np.stack([noise[:3000]] * 5)
    damaged[1, 700], damaged[2, 1999], damaged[4, 600] = np.nan, np.inf, np.nan
    same: dict[str, Any] = {"smoothing": "same"} if is_smoothed else {}
    valid: dict[str, Any] = {"smoothing": "valid"} if is_smoothed else {}
    yield noise[:4001], same
    yield shorts, valid
    yield damaged, {"lengths": [3000, 3000, 2000, 200, 599], **same}
    yield damaged, {"lengths": [480, 479, 0, -5, 3001], **valid}
    yield noise[:640], {"pad_to": 7000, **same}
    yield loud_end, same
    yield loud_start, valid
    yield noise[:60_001], {"pad_to": 70_000, "order": "backwards", **same}
    yield 10 * noise[: 2 * 9000].reshape(2, 9000), {"order": "shuffled:1", **same}
    yield (noise * 32768).astype(np.int16), {"pad_to": 810_000, **same}
    yield noise[:780_000], {"order": "backwards", **valid}


class Mutated:
    """A program with mutants of it, all in one library."""

    def __init__(self, text: str, n_mels: int, is_smoothed: bool, them: Sequence[Mutant]) -> None:
        ptx = text.partition("\n")[2]
        self.n_mels = n_mels
        self.calls = list(calls(is_smoothed))
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump([variant(ptx, it) for it in them], file)
            file.flush()
            self.program = Program(text, "--variants", file.name)
        self.expected = [self.run(0, it, options) for it, options in self.calls]

    def run(self, number: int, samples: Array, options: dict[str, Any]) -> Array:
        os.environ["FAKE_DRIVER_VARIANT"] = str(number)
        os.environ["FAKE_DRIVER_JUMPS"] = str(JUMPS)
        try:
            return self.program.log_mel(samples, self.n_mels, **options).view(np.uint32)
        finally:
            del os.environ["FAKE_DRIVER_VARIANT"], os.environ["FAKE_DRIVER_JUMPS"]

    def judge(self, number: int) -> str:
        """Return how a mutant, counted from 1, shows; empty if it does not."""
        for (samples, options), wanted in zip(self.calls, self.expected, strict=True):
            try:
                features = self.run(number, samples, options)
            except Finding as error:
                return str(error)
            if not np.array_equal(features, wanted):
                return "other values"
        return ""


def chosen(ptx: str, count: int) -> list[Mutant]:
    """Return all barriers' mutants, and ``count`` others evenly from all kinds and lines."""
    every = list(mutants(ptx))
    barriers = [it for it in every if it.kind == "barrier"]
    others = [it for it in every if it.kind != "barrier"]
    step = max(len(others) / count, 1)
    return barriers + [others[int(i * step)] for i in range(min(count, len(others)))]


def run(text: str, n_mels: int, is_smoothed: bool, count: int) -> dict[Mutant, str]:
    """Judge mutants of a program: all barriers, and ``count`` others; return how each shows.

    Raises ``Finding`` if the program itself shows something.
    """
    them = chosen(text.partition("\n")[2], count)
    program = Mutated(text, n_mels, is_smoothed, them)
    return {mutant: program.judge(number) for number, mutant in enumerate(them, 1)}
