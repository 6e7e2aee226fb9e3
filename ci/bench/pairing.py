"""Two calls timed in alternation, and what follows from their times.

Other work, frequency changes and the heat of a machine come and go within seconds: they meet both
calls of a round, and leave the ratio as it is. Which of the two comes first is drawn anew each
round, so that neither always follows the other.
"""

from __future__ import annotations

import dataclasses
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
MAX_WAITED = 0.02
"""… or if the threads were ready to run but did not for more than this share of the time."""


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of each round, ours and the other's; ``waited``: the share of the time in which this
    process stood in the run queue, None where the system does not say.
    """

    ours: tuple[float, ...]
    other: tuple[float, ...]
    waited: float | None

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
        waited = self.waited is not None and not self.waited <= MAX_WAITED
        return waited or not self.spread <= MAX_SPREAD


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def run_delay() -> float | None:
    """Seconds that the threads of this process have waited for a CPU (Linux: schedstat)."""
    total = 0
    try:
        for task in Path("/proc/self/task").iterdir():
            total += int((task / "schedstat").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return total / 1e9


def measure(
    ours: Callable[[], object],
    other: Callable[[], object],
    *,
    cold: bool,
    budget: float,
    order: random.Random,
    clock: Callable[[], float] = time.perf_counter,
    delay: Callable[[], float | None] = run_delay,
) -> Timing:
    """Times both calls in rounds, for about ``budget`` seconds. Both have been called before."""
    calls = (ours, other)
    once = [timed(call, clock) for call in calls]
    before = [0 if seconds > LONG_CALL else WARM_CALLS for seconds in once]
    if cold:
        one_round = 2 * sum(once)
    else:
        one_round = sum((1 + n) * seconds for n, seconds in zip(before, once, strict=True))
    least = MIN_LONG_ROUNDS if one_round > 1 else MIN_ROUNDS
    rounds = max(least, min(MAX_ROUNDS, int(budget / max(one_round, 1e-9))))
    times: tuple[list[float], list[float]] = ([], [])
    begin, waited = clock(), delay()
    for _ in range(rounds):
        for side in order.sample((0, 1), 2):
            if cold:
                calls[1 - side]()
            else:
                for _ in range(before[side]):
                    calls[side]()
            times[side].append(timed(calls[side], clock))
    elapsed, waited_after = clock() - begin, delay()
    share = None if waited is None or waited_after is None else (waited_after - waited) / elapsed
    return Timing(tuple(times[0]), tuple(times[1]), share)


def timed(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """Seconds of one call, the release of what it returns included."""
    begin = clock()
    call()
    return clock() - begin
