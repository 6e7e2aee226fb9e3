"""Two calls timed in alternation, and what follows from their times.

Other work, frequency changes and the heat of a machine come and go within seconds: they meet both
calls of a round, and leave the ratio as it is. Which of the two comes first is drawn anew each
round, so that neither always follows the other.
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
"""Seconds. Untimed calls before a longer one are left out: no cache survives it."""
MIN_ROUNDS, MAX_ROUNDS = 9, 101
MIN_LONG_ROUNDS = 3
"""Where a round takes more than a second."""
MAX_SPREAD = 0.10
"""Noisy if the pairwise ratios' quartiles are further apart, relative to the median …"""
MAX_OTHERS = 0.05
"""… or if other processes (or other guests of the host) had more than this share of our CPUs. The
system counts in hundredths of a second."""
REST = 0.02
"""Seconds before each side of a round, where a peer has several threads: idle ones of OpenMP go on
spinning for some milliseconds, and would have the CPU that the other side needs.
"""


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of each round, ours and the other's; ``others``: the share of the CPUs' time that
    other processes had, None where the system does not say.
    """

    ours: tuple[float, ...]
    other: tuple[float, ...]
    others: float | None

    def ratio(self, scale: float = 1) -> float:
        """Of the medians: how many times as long the other takes."""
        return scale * statistics.median(self.other) / statistics.median(self.ours)

    def ratio_quartiles(self, scale: float = 1) -> tuple[float, float]:
        """The first and third quartile of the ratios of the rounds."""
        return quartiles(
            [scale * other / ours for ours, other in zip(self.ours, self.other, strict=True)]
        )

    @property
    def spread(self) -> float:
        """Distance of the quartiles of the pairwise ratios, relative to the ratio."""
        low, high = self.ratio_quartiles()
        return (high - low) / self.ratio()

    @property
    def noisy(self) -> bool:
        disturbed = self.others is not None and not self.others <= MAX_OTHERS
        return disturbed or not self.spread <= MAX_SPREAD


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def others_time() -> float | None:
    """CPU seconds that other processes have had on this process's CPUs (Linux: /proc/stat)."""
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
    """Lets time pass without giving up the CPU, which would be slow after it has slept."""
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
    """Times both calls in rounds, for about ``budget`` seconds. Both have been called before; they
    use ``threads`` CPUs, and others take what ``taken`` counts. ``rest``: seconds before each side.
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
    """Seconds of one call, the release of what it returns included."""
    begin = clock()
    call()
    return clock() - begin
