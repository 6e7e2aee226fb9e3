"""The rows of one front-end, measured in a process of their own."""

from __future__ import annotations

import dataclasses
import functools
import gc
import random
import statistics
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from whisper_mel_conformance.compare.pairing import REST, Timing, measure, quartiles, timed
from whisper_mel_conformance.compare.process import (
    Result,
    reset_peak,
    resident,
    run_worker,
    take_task,
)

from bench.rows import HOUR, OURS, SAMPLE_RATE, Call, Row

if TYPE_CHECKING:
    from whisper_mel_conformance.frontend.load import Loaded

LONGEST_CALL = 5.0
"""Seconds. A row is skipped if the other call is expected to take longer."""
_ESTIMATED_FROM = 30

# the repeatable call, its result, its peak memory
_Called = tuple[Callable[[], Any], Any, int | None]


def measure_in_process(rows: list[Row], budget: float) -> Iterator[Result]:
    """Measure rows that agree in ``process`` in a process of their own; yield the results.

    Raises ``RuntimeError`` if the process ends with an error.
    """
    name, threads, malloc = rows[0].process
    task = {"rows": [dataclasses.asdict(row) for row in rows], "threads": threads, "budget": budget}
    return run_worker("bench.worker", f"measuring {name} with {threads} threads", task, malloc)


def measure_rows(
    rows: list[Row],
    budget: float,
    load: Callable[[str], Loaded],
    timer: Callable[..., Timing] = measure,
) -> Iterator[Result]:
    """Measure rows in this process; yield the results.

    If a front-end is not installed, or cannot do what a row needs, the result says why the row was
    skipped.
    """
    for row in rows:
        name = row.other.front_end
        ours = _first_call(row.ours, load(row.ours.front_end))
        try:
            other_end = load(name)
            if row.other.seconds > _ESTIMATED_FROM:
                _refuse_long(row.other, other_end)
            other = _first_call(row.other, other_end)
        except ImportError as error:
            yield {"id": row.id, "skipped": f"{name} is not installed ({error})"}
        except NotImplementedError as error:
            yield {"id": row.id, "skipped": f"{name}: {error}"}
        except (
            Exception
        ) as error:  # another project's code failed: the other rows can still be measured
            yield {"id": row.id, "skipped": f"{name} failed: {type(error).__name__}: {error}"}
        else:
            result = _measured(row, budget, ours, other, timer)
            yield {**result, "versions": dict(other_end.versions)}


def _measured(
    row: Row, budget: float, our_call: _Called, other_call: _Called, timer: Callable[..., Timing]
) -> Result:
    ours, our_result, our_peak = our_call
    other, other_result, other_peak = other_call
    difference = _difference(our_result, other_result)
    gc.collect()
    gc.disable()
    try:
        # Random, but the same in every run
        order = random.Random(zlib.crc32(row.id.encode()))
        threads = row.process[1]
        rest = REST if threads > 1 and row.other.front_end != OURS else 0
        options: dict[str, Any] = {"cold": row.cold, "threads": threads, "rest": rest}
        timing = timer(ours, other, budget=budget, order=order, **options)
    finally:
        gc.enable()
    return {
        "id": row.id,
        "ours": _side(row.ours, timing.ours, our_peak),
        "other": _side(row.other, timing.other, other_peak),
        "cold": row.cold,
        "malloc": row.malloc,
        "scale": row.scale,
        "rounds": len(timing.ours),
        "ratio": timing.ratio(row.scale),
        "ratio_quartiles": list(timing.ratio_quartiles(row.scale)),
        "others": timing.others,
        "noisy": timing.noisy,
        "difference": difference,
    }


def _side(call: Call, seconds: tuple[float, ...], peak: int | None) -> Result:
    return {
        **dataclasses.asdict(call),
        "median_ms": 1e3 * statistics.median(seconds),
        "quartiles_ms": [1e3 * value for value in quartiles(seconds)],
        "least_ms": 1e3 * _reading_seconds(call.seconds, call.clips) / call.threads,
        "peak_bytes": peak,
    }


@functools.lru_cache(maxsize=4)
def _reading_seconds(seconds: float, clips: int) -> float:
    """Return the seconds that one thread takes at least to read the samples of a call once."""
    import numpy as np

    samples = audio(seconds, clips).ravel()
    read = functools.partial(np.dot, samples, samples)
    return min(timed(read, time.perf_counter) for _ in range(5))


def _refuse_long(call: Call, front_end: Loaded) -> None:
    """Raise ``NotImplementedError`` if the call is expected to take very long."""
    short, _ = _called(dataclasses.replace(call, seconds=_ESTIMATED_FROM), front_end)
    took = min(timed(short, time.perf_counter) for _ in range(3))
    expected = took * call.seconds / _ESTIMATED_FROM
    if expected > LONGEST_CALL:
        raise NotImplementedError(f"would take about {expected:.0f} s ({took:.2f} s for 30 s)")


@functools.lru_cache(maxsize=4)
def audio(seconds: float, clips: int) -> Any:
    """Return noise; a front-end's time does not depend on the content."""
    import numpy as np

    n = int(seconds * SAMPLE_RATE)
    shape = (clips, n) if clips else (n,)
    samples = np.random.default_rng(0).random(shape, np.float32)
    samples -= np.float32(0.5)
    return samples


def bind(call: Call, front_end: Loaded) -> Callable[[], Any]:
    """Return a function without arguments that makes the call and nothing else."""
    import numpy as np

    capabilities = front_end.capabilities
    if capabilities.process_per_call:
        raise NotImplementedError("starts a process for every call")
    if capabilities.own_process:
        raise NotImplementedError("computes in another process, to which the samples are sent")
    if call.n_mels not in capabilities.n_mels:
        raise NotImplementedError(f"has {capabilities.n_mels} bands only")
    if call.clips and not capabilities.batch:
        raise NotImplementedError("takes single clips")
    length = call.pad_to or int(call.seconds * SAMPLE_RATE)
    if capabilities.max_samples is not None and length > capabilities.max_samples:
        raise NotImplementedError(f"takes {capabilities.max_samples} samples at most")
    if length % capabilities.multiple_of:
        raise NotImplementedError(f"takes multiples of {capabilities.multiple_of} samples")
    samples = audio(call.seconds, call.clips)
    options: dict[str, Any] = {}
    for name, value in (("pad_to", call.pad_to), ("smoothing", call.smoothing)):
        if value is not None:
            options[name] = value
    if capabilities.threads:
        options["threads"] = call.threads
    if call.out:
        frames = (call.pad_to or samples.shape[-1]) // 160
        options["out"] = np.empty((*samples.shape[:-1], call.n_mels, frames), np.float32)
    arguments: tuple[Any, ...] = (samples,)
    if front_end.n_mels_as == "keyword":
        options["n_mels"] = call.n_mels
    elif front_end.n_mels_as == "positional":
        arguments = (samples, call.n_mels)
    return functools.partial(front_end.log_mel, *arguments, **options)


def _called(call: Call, front_end: Loaded) -> tuple[Callable[[], Any], Any]:
    """Make the call; return it and its result. If a front-end always pads, pass the length."""
    bound = bind(call, front_end)
    try:
        return bound, bound()
    except NotImplementedError:
        if call.pad_to is not None or not front_end.capabilities.pad_to:
            raise
    bound = bind(dataclasses.replace(call, pad_to=int(call.seconds * SAMPLE_RATE)), front_end)
    return bound, bound()


def _first_call(call: Call, front_end: Loaded) -> _Called:
    """Make the first call; return it, its result, and for an hour of audio the memory's rise."""
    audio(call.seconds, call.clips)
    before = resident("VmRSS") if call.seconds >= HOUR and reset_peak() else None
    bound, result = _called(call, front_end)
    return bound, result, None if before is None else resident("VmHWM") - before


def _difference(ours: Any, other: Any) -> float | None:
    """Return the largest difference of the features; None if their shapes differ."""
    import numpy as np

    if np.shape(ours) != np.shape(other):
        return None
    return float(np.abs(np.asarray(ours) - np.asarray(other)).max())


def main() -> int:
    task, report = take_task()
    from whisper_mel_conformance.frontend import load

    rows = [Row.from_dict(row) for row in task["rows"]]
    for result in measure_rows(rows, task["budget"], functools.lru_cache(load.load)):
        report(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
