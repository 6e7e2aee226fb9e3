"""Two calls timed in alternation, and the ratio of their times.

Other work, changes of frequency and heat last for seconds. They slow both calls of a round, so the
ratio stays. The order of the calls is drawn for each round, so that neither always follows the
other.
"""

from __future__ import annotations

import dataclasses
import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

WARM_CALLS = 2
LONG_CALL = 0.1
"""Seconds. A longer call has no untimed calls before it, since no cache survives it."""
MIN_ROUNDS, MAX_ROUNDS = 9, 101
MIN_LONG_ROUNDS = 3
"""The smallest number of rounds if a round takes more than a second."""
MAX_SPREAD = 0.10
"""The largest spread of a quiet measurement: the distance of the pairwise ratios' quartiles,
relative to the ratio.
"""
MAX_OTHERS = 0.05
"""The largest share of our CPUs' time that other processes, or other guests of the host, have in a
quiet measurement. The system counts it in hundredths of a second.
"""
REST = 0.02
"""Seconds of rest before each side of a round, if a peer has several threads: idle threads of
OpenMP spin for some milliseconds on a CPU that the other side needs.
"""


@dataclasses.dataclass(frozen=True)
class Timing:
    """The seconds of each round, ours and the other's.

    ``others`` is the share of the CPUs' time that other processes had; None where the system does
    not tell.
    """

    ours: tuple[float, ...]
    other: tuple[float, ...]
    others: float | None

    def ratio(self, scale: float = 1) -> float:
        """Return the ratio of the medians: how many times as long the other takes."""
        return scale * statistics.median(self.other) / statistics.median(self.ours)

    def ratio_quartiles(self, scale: float = 1) -> tuple[float, float]:
        """Return the first and third quartile of the rounds' ratios."""
        return quartiles(
            [scale * other / ours for ours, other in zip(self.ours, self.other, strict=True)]
        )

    @property
    def spread(self) -> float:
        """The distance of the quartiles of the pairwise ratios, relative to the ratio."""
        low, high = self.ratio_quartiles()
        return (high - low) / self.ratio()

    @property
    def is_undecided(self) -> bool:
        """Whether no difference was measured: 1 lies between the quartiles of the ratios."""
        low, high = self.ratio_quartiles()
        return low <= 1.0 <= high

    @property
    def noisy(self) -> bool:
        disturbed = self.others is not None and not self.others <= MAX_OTHERS
        return disturbed or not self.spread <= MAX_SPREAD


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def others_time() -> float | None:
    """Return CPU seconds of other processes on this process's CPUs (Linux: /proc/stat), or None."""
    try:
        lines = dict(line.split(maxsplit=1) for line in Path("/proc/stat").read_text().splitlines())
        busy = 0
        for cpu in os.sched_getaffinity(0):
            user, nice, system, _, _, irq, softirq, steal = lines[f"cpu{cpu}"].split()[:8]
            busy += sum(map(int, (user, nice, system, irq, softirq, steal)))
    except (OSError, KeyError, ValueError):
        return None
    return busy / os.sysconf("SC_CLK_TCK") - time.process_time()


def spin(seconds: float) -> None:
    """Wait without giving up the CPU, which would be slow after a sleep."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def measure(
    ours: Callable[[], object],
    other: Callable[[], object],
    *,
    cold: bool,
    threads: int,
    budget: float,
    order: random.Random,
    rest: float = 0,
    clock: Callable[[], float] = time.perf_counter,
    pause: Callable[[float], None] = spin,
    taken: Callable[[], float | None] = others_time,
) -> Timing:
    """Time both calls in rounds, for about ``budget`` seconds.

    Both have been called before. They use ``threads`` CPUs; ``taken`` counts the CPU time of other
    processes. ``rest`` is the pause before each side, in seconds.
    """
    calls = (ours, other)
    once = [timed(call, clock) for call in calls]
    before = [0 if seconds > LONG_CALL else WARM_CALLS for seconds in once]
    if cold:
        one_round = 2 * sum(once)
    else:
        one_round = sum((1 + n) * seconds for n, seconds in zip(before, once, strict=True))
    least = MIN_LONG_ROUNDS if one_round > 1 else MIN_ROUNDS
    rounds = max(least, min(MAX_ROUNDS, int(budget / max(one_round + 2 * rest, 1e-9))))
    times: tuple[list[float], list[float]] = ([], [])
    begin, taken_before = clock(), taken()
    for _ in range(rounds):
        for side in order.sample((0, 1), 2):
            if rest:
                pause(rest)
            if cold:
                calls[1 - side]()
            else:
                for _ in range(before[side]):
                    calls[side]()
            times[side].append(timed(calls[side], clock))
    elapsed, taken_after = clock() - begin, taken()
    others = None
    if taken_before is not None and taken_after is not None:
        others = max(0.0, (taken_after - taken_before) / (threads * elapsed))
    return Timing(tuple(times[0]), tuple(times[1]), others)


def timed(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return the seconds of one call, including the release of its result."""
    begin = clock()
    call()
    return clock() - begin
