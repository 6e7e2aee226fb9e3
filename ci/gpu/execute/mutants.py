"""Mutations of compiled PTX: which of them the emulator, or the values, show.

A mutant removes a barrier, or changes a comparison, a constant or an address by a little. It is
found if a call ends with a finding, or gives other bits than the program as it was. ``silent.py``
says why some show nowhere.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from checkout.paths import MEASUREMENTS
from numpy.typing import NDArray
from whisper_mel_conformance.report.columns import aligned
from whisper_mel_mojo.gpu.emulator.kernels import Kernels
from whisper_mel_mojo.gpu.emulator.program import Finding, Program
from whisper_mel_mojo.gpu.emulator.ptx import Module, Statement, read
from whisper_mel_mojo.gpu.targets import (
    DIRECT,
    DIRECT_BFLOAT16,
    DIRECT_FLOAT16,
    FEW,
    FORMED,
    KERNELS,
    MANY,
    NVIDIA,
    SMOOTHED,
)

from gpu.execute.lines import barrier_after, functions_of
from gpu.execute.silent import reason

Array = NDArray[Any]
RECORD = MEASUREMENTS / "ptx-mutants.json"
FORMAT = 1
TARGETS = ("sm_80", "sm_90a")
"""One block for each clip, and a cluster of blocks."""
BANDS = 80
EACH = 6
"""Mutants of each kind that are drawn; barriers are all tried."""
JUMPS = 100_000
"""Of a thread, after which a mutant is endless; the program itself needs a tenth of it."""
OTHER_VALUES = "other values"
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
        number = re.match(r"((?:fma|add|sub|mul|selp|min|max)\.\S+\s.*)0f(\w{8})(.*)", words)
        if number:
            changed = int(number[2], 16) ^ 0x1000
            yield Mutant("float", line, words, f"{number[1]}0f{changed:08X}{number[3]}")
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


class Call(NamedTuple):
    """A call of a kernel: its name, samples and options of ``Program.log_mel``."""

    name: str
    samples: Array
    options: dict[str, Any]


_FORMS: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {
    SMOOTHED: ({"smoothing": "same"}, {"smoothing": "valid"}),
    FORMED: ({"dtype": "float16"}, {"maximum": 0.5, "smoothing": "same"}),
    # With few blocks, which do several groups, and with as many as groups.
    DIRECT: ({"maximum": 0.5, "blocks": 2}, {"maximum": 0.5}),
    DIRECT_FLOAT16: (
        {"maximum": 0.5, "dtype": "float16", "blocks": 2},
        {"maximum": 0.5, "dtype": "float16"},
    ),
    DIRECT_BFLOAT16: (
        {"maximum": 0.5, "dtype": "bfloat16", "blocks": 2},
        {"maximum": 0.5, "dtype": "bfloat16"},
    ),
}
"""Two forms of calls that each kind of kernel serves; others serve the plain form and chunks."""


def calls(kind: int) -> Iterator[Call]:
    """Yield calls that together reach all of a kernel, short ones first."""
    one, two = _FORMS.get(kind, ({}, {"maximum": "chunk"}))
    noise = np.random.default_rng(5).uniform(-0.1, 0.1, 800_000).astype(np.float32)
    loud_end = 1e-2 * noise[:60_001]
    t = np.arange(700) / 16000
    loud_end[-700:] += np.float32(0.5) * np.sin(2 * np.pi * 7800 * t).astype(np.float32)
    loud_start = loud_end[::-1].copy()
    shorts = (noise[:9000] * 32768).astype(np.int16).reshape(2, 4500)
    damaged = np.stack([noise[:3000]] * 5)
    damaged[1, 700], damaged[2, 1999], damaged[4, 600] = np.nan, np.inf, np.nan
    quieter = np.where(np.arange(500_000) < 480_000, 1, 1e-3).astype(np.float32)
    several = 10 * noise[: 2 * 9000].reshape(2, 9000)
    yield Call("one frame", noise[:240], one)
    yield Call("short", noise[:5121], one)  # 32 frames: whole groups, to the last hop
    yield Call("int16", shorts, two)
    yield Call("ragged", damaged, {"lengths": [3000, 3000, 2000, 200, 201], **one})
    yield Call("impossible lengths", damaged, {"lengths": [480, 479, 0, -5, 3001], **two})
    yield Call("padded", noise[:640], {"pad_to": 7000, **one})
    # Samples end in each fifth of a hop: in the first group, where one of 64 frames ends, and in a
    # tile's second group of 64. The first of these has none: its first group ends with the samples.
    ends = [605, 637, 669, 701, 733, 9885, 9915, 9950, 9985, 10_015]
    later = [9800, 10_045, 10_075, 10_110, 10_145, 10_175]
    for lengths, pad_to in ((ends, 20_000), (later, 168_960)):
        size = len(lengths), lengths[-1]
        samples = noise[: size[0] * size[1]].reshape(size)
        ragged = {"lengths": lengths, "pad_to": pad_to, **one}
        yield Call(f"ends at {size[1]}", samples, ragged)
        yield Call(f"ends at {size[1]}, int16", (samples * 32768).astype(np.int16), ragged)
    yield Call("loud end", loud_end, one)
    yield Call("loud start", loud_start, two)
    yield Call("several", several, {"order": "shuffled:1", **one})
    yield Call("several groups", noise[:60_001], {"pad_to": 70_000, "order": "backwards", **one})
    # 130 frames reach into the samples: two more than whole groups, and of smoothed tiles of 33 one
    # ends with a whole group.
    many = (noise[:20_500] * 32768).astype(np.int16)
    yield Call("several groups, int16", many, {"pad_to": 42_000, **one})
    # Whole groups of 64 frames, of which the last block has several
    yield Call("50 s, int16", (noise[:798_720] * 32768).astype(np.int16), two)
    yield Call("50 s", noise[:798_730], {"order": "backwards", **one})
    if kind in (MANY, FEW, FORMED):
        chunks = noise[:500_000] * quieter
        yield Call("chunks", chunks, {**one, "maximum": "chunk"})


SHORT = 7
"""Number of the calls that take little."""


class Mutated:
    """A program with mutants of it, all in one library; the first ``most`` calls are made."""

    def __init__(
        self, text: str, kind: int, them: Sequence[Mutant], most: int | None = None
    ) -> None:
        ptx = text.partition("\n")[2]
        self.calls = list(calls(kind))[:most]
        self.count = len(them)
        traps = [[(it.line, "trap")] for it in them]
        self.program = Program(text, variants=[*(variant(ptx, it) for it in them), *traps])
        self.expected = [self.run(0, it) for it in self.calls]

    def run(self, number: int, call: Call) -> bytes:
        os.environ["FAKE_DRIVER_VARIANT"] = str(number)
        os.environ["FAKE_DRIVER_JUMPS"] = str(JUMPS)
        try:
            return self.program.log_mel(call.samples, BANDS, **call.options).tobytes()
        finally:
            del os.environ["FAKE_DRIVER_VARIANT"], os.environ["FAKE_DRIVER_JUMPS"]

    def shown(self, number: int) -> Iterator[tuple[str, str]]:
        """Yield the calls that show a mutant, counted from 1: their names, and how it shows."""
        for call, wanted in zip(self.calls, self.expected, strict=True):
            try:
                if self.run(number, call) != wanted:
                    yield call.name, OTHER_VALUES
            except Finding as error:
                yield call.name, _in_short(str(error))

    def is_reached(self, number: int) -> bool:
        """Whether a call executes the statement that a mutant changes."""
        return any(self.shown(self.count + number))


def _in_short(finding: str) -> str:
    """Return the first words of a finding, without its numbers."""
    words = re.sub(r"^(?:found: )?(?:\d+ (?:of \d+ )?)?", "", finding)
    return re.split(r"[:;]|, | \d", words)[0]


def chosen(ptx: str, each: int) -> list[Mutant]:
    """Return all barriers' mutants, and ``each`` of every other kind, evenly from all lines."""
    found = []
    for kind, group in groupby(sorted(mutants(ptx)), lambda it: it.kind):
        every = list(group)
        step = 1.0 if kind == "barrier" else max(len(every) / each, 1)
        found += [every[int(i * step)] for i in range(int(len(every) / step))]
    return found


def judge(text: str, kind: int, each: int = EACH, most: int | None = None) -> dict[str, Any]:
    """Judge mutants of a kernel; return what the record has of it.

    ``most`` is the number of calls; None means all. Raises ``Finding`` if the program itself shows
    something.
    """
    ptx = text.partition("\n")[2]
    them = chosen(ptx, each)
    program = Mutated(text, kind, them, most)
    module = read(ptx)
    statements = {it.line: it for it in module.body if isinstance(it, Statement)}
    found: Counter[str] = Counter()
    silent, barriers = [], []
    for number, mutant in enumerate(them, 1):
        place = statements[mutant.line].place
        shows = program.shown(number)
        if mutant.kind == "barrier":
            names = dict(shows)
            barriers.append({"after": barrier_after(module, place), "calls": [*names]})
            how = next(iter(names.values()), "")
        else:
            how = next(shows, ("", ""))[1]
        if how:
            found[how] += 1
        else:
            reached = program.is_reached(number)
            silent.append(_silent(mutant, module, statements[mutant.line], reached))
    return {
        "judged": dict(Counter(it.kind for it in them)),
        "calls": [it.name for it in program.calls],
        "found": dict(found.most_common()),
        "silent": silent,
        "barriers": barriers,
    }


def _silent(mutant: Mutant, module: Module, statement: Statement, reached: bool) -> dict[str, str]:
    """Return what is known of a mutant that no call shows; ``why`` is empty for the unexplained."""
    after = barrier_after(module, statement.place) if mutant.kind == "barrier" else ""
    where = after or " in ".join(functions_of(module, statement.place)[:4])
    kind = mutant.kind if reached else f"unreached {mutant.kind}"
    old, new = (" ".join(it.split()) for it in (mutant.old, mutant.new))
    told = {"kind": kind, "old": old, "new": new, "where": where}
    return {**told, "why": reason(**told)}


def run(targets: Sequence[str], save: bool) -> int:
    """Judge mutants of all kernels of some targets; print, and record with ``save``.

    Return 1 if one shows nowhere for no known reason, else 0.
    """
    made = {}
    for target in targets:
        kernels = Kernels(target, BANDS)
        for kind in NVIDIA[target].all_kernels:
            name = f"{target}, {KERNELS[kind]}"
            made[name] = judge(kernels.text(kind), kind)
            print(f"{name}: done", file=sys.stderr, flush=True)
    print(*aligned(rows(made)), sep="\n")
    if save:
        kept = {**(recorded() if RECORD.exists() else {}), **made}
        RECORD.write_text(json.dumps({"format": FORMAT, "kernels": kept}, indent=1) + "\n")
        print(f"written: {RECORD}")
    unexplained = [it for kernel in made.values() for it in kernel["silent"] if not it["why"]]
    for it in unexplained:
        print(f"silent, why? {it['kind']}: `{it['old']}` -> `{it['new']}`, {it['where']}")
    return 1 if unexplained else 0


def recorded() -> dict[str, Any]:
    """Return the record by kernel. Raises ``ValueError`` for one of another format."""
    data = json.loads(RECORD.read_text(encoding="utf-8"))
    if data["format"] != FORMAT:
        raise ValueError(f"{RECORD}: format {data['format']}: expected {FORMAT}")
    kernels: dict[str, Any] = data["kernels"]
    return kernels


def rows(made: dict[str, Any]) -> list[list[str]]:
    """Return a table, a row for each kernel: how many mutants were judged, how many show how."""
    table = [["kernel", "changes", "found by the watcher", "by other values", "silent"]]
    for name, it in made.items():
        values = it["found"].get(OTHER_VALUES, 0)
        watched = sum(it["found"].values()) - values
        numbers = (sum(it["judged"].values()), watched, values, len(it["silent"]))
        table.append([name, *map(str, numbers)])
    return table
