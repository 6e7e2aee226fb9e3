"""Rows of the benchmark: each pairs one call of the kernel with another call."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

OURS = "mojo-cpu"
BASELINE = "openai-whisper"
SAMPLE_RATE = 16_000
THIRTY_SECONDS = 30 * SAMPLE_RATE
HOUR = 3600
SIZES = {"1s": 1, "10s": 10, "30s": 30, "1h": HOUR}
DROP_IN = "drop-in"
"""The first part of the ids of rows that have a drop-in beside its original."""
DROP_INS = {"transformers": 16, "faster-whisper": 0, "openai-whisper": 0}
"""Their clips in a batch, by the original's name; 0: a single clip. ``bench.drop_ins`` calls them.
"""


@dataclasses.dataclass(frozen=True)
class Call:
    """The arguments of one call of a front-end.

    With ``clips`` 0 the audio is one clip of shape ``(n,)``. With ``out``, features are written to
    an array that is used again; otherwise each call returns a new one, as all peers do.
    """

    front_end: str
    seconds: float
    n_mels: int = 80
    clips: int = 0
    threads: int = 1
    smoothing: str | None = None
    pad_to: int | None = None
    out: bool = False


@dataclasses.dataclass(frozen=True)
class Row:
    """A comparison of two calls; its ratio is ``scale`` times the other's time, divided by ours.

    If ``cold``, each timed call is the first after one of the other side; otherwise two untimed
    calls of its own precede it. ``malloc`` is ``"kept"`` (released memory is kept for the next
    call, which makes openai-whisper twice as fast), ``"default"``, or ``"fresh"`` (every larger
    array is new memory, whose pages the system has to provide).
    """

    id: str
    ours: Call
    other: Call
    cold: bool = False
    malloc: str = "kept"
    scale: float = 1

    @property
    def process(self) -> tuple[str, int, str]:
        """The key of the process: rows with equal keys are measured in one process."""
        return self.other.front_end, max(self.ours.threads, self.other.threads), self.malloc

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Row:
        """Create a row from the dictionary that ``dataclasses.asdict`` returns."""
        return cls(**{**row, "ours": Call(**row["ours"]), "other": Call(**row["other"])})


def all_rows(peers: Iterable[str], cpus: int = 2) -> list[Row]:
    """List all rows of a machine with so many CPUs.

    They are against the baseline, against the other peers, of the drop-ins, and against the kernel
    itself.
    """
    others = sorted(set(peers) - {BASELINE})
    rows = list(_baseline_rows(cpus))
    rows += [row for peer in others for row in _peer_rows(peer, cpus)]
    rows += _drop_in_rows()
    rows += _self_rows(cpus)
    return rows


def thread_counts(cpus: int) -> list[int]:
    """List the numbers of threads that batches are measured with: 1, 2, 4 and so on, and all."""
    return [1, *(2**power for power in range(1, 12) if 2**power < cpus), max(cpus, 2)]


def batch(threads: int) -> int:
    """Return the number of clips of a batch for so many threads."""
    return max(16, 2 * threads)


def _pair(name: str, peer: str, seconds: float, *, cold: bool = False, **call: Any) -> Row:
    return Row(
        f"{peer}/{name}",
        Call(OURS, seconds, out=True, **call),
        Call(peer, seconds, **call),
        cold,
    )


def _peer_rows(peer: str, cpus: int) -> Iterator[Row]:
    for name, seconds in SIZES.items():
        yield _pair(f"{name}/80", peer, seconds)
    yield _pair("30s/128", peer, 30, n_mels=128)
    yield _pair("30s/80/2-threads", peer, 30, threads=2)
    for threads in (1, max(cpus, 2)):
        yield _batch_row(peer, threads)


def _batch_row(peer: str, threads: int) -> Row:
    """Return the row of a batch of whole windows, which are what servers compute."""
    clips = batch(threads)
    name = f"{clips}x30s/80" + (f"/{threads}-threads" if threads > 1 else "")
    return _pair(name, peer, 30, clips=clips, threads=threads, pad_to=THIRTY_SECONDS)


def _baseline_rows(cpus: int) -> Iterator[Row]:
    yield from _peer_rows(BASELINE, cpus)
    for n_mels in (80, 128):
        yield _pair(f"30s/{n_mels}/cold", BASELINE, 30, n_mels=n_mels, cold=True)
    for name, seconds in SIZES.items():
        if name != "30s":
            yield _pair(f"{name}/80/2-threads", BASELINE, seconds, threads=2)
    yield _pair("5s-padded/80", BASELINE, 5, pad_to=THIRTY_SECONDS)
    # Typical use from Python: new output arrays on both sides, malloc's default settings
    yield Row(f"{BASELINE}/30s/80/default", Call(OURS, 30), Call(BASELINE, 30), malloc="default")


def _drop_in_rows() -> Iterator[Row]:
    """Yield rows of users' own calls, two threads for both, malloc as Python programs have it."""
    for name, clips in DROP_INS.items():
        module = f"bench.drop_ins:{name.replace('-', '_')}"
        ours, original = (
            Call(front_end, 30, clips=clips, threads=2)
            for front_end in (module, f"{module}_original")
        )
        size = f"{clips}x30s" if clips else "30s"
        yield Row(f"{DROP_IN}/{name}/{size}/80/2-threads", ours, original, malloc="default")


def _self_rows(cpus: int) -> Iterator[Row]:
    """Yield rows within the kernel; a ratio of 1 means no extra cost, or perfect scaling."""

    def ours(seconds: float = 30, **call: Any) -> Call:
        return Call(OURS, seconds, out=True, **call)

    yield Row("self/128-to-80-bands", ours(n_mels=128), ours())
    yield Row("self/smoothing-same-to-none", ours(smoothing="same"), ours())
    yield Row("self/new-output-to-out", Call(OURS, 30), ours(), malloc="fresh")
    yield Row("self/5s-padded-to-30s", ours(5, pad_to=THIRTY_SECONDS), ours())
    yield Row("self/1s-to-thirtieth-of-30s", ours(1), ours(), scale=1 / 30)
    yield Row("self/16-clips-to-16-calls", ours(clips=16), ours(), scale=16)
    yield Row("self/2-threads-to-1", ours(threads=2), ours())
    for threads in thread_counts(cpus)[1:]:
        clips = batch(threads)
        name = f"self/{clips}x30s/{threads}-threads-to-1"
        yield Row(name, ours(clips=clips, threads=threads), ours(clips=clips))


QUICK = (
    "*/30s/80",
    f"{BASELINE}/1s/80",
    f"{BASELINE}/30s/128",
    f"{BASELINE}/30s/80/*",
    "self/*",
    f"{DROP_IN}/*",
)
"""Patterns of the rows of ``--quick``."""


def select(rows: list[Row], patterns: Iterable[str]) -> list[Row]:
    """Return the rows whose id matches one of the patterns, which are like a shell's.

    Raises ``ValueError`` for a pattern that matches no row.
    """
    patterns = list(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(row.id, pattern) for row in rows):
            raise ValueError(
                f"no row matches {pattern!r}; there are\n  " + "\n  ".join(row.id for row in rows)
            )
    return [row for row in rows if any(fnmatchcase(row.id, pattern) for pattern in patterns)]
