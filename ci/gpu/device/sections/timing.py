"""Times of calls on the device, beside PyTorch's pipelines, in alternating rounds."""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from whisper_mel_mojo import gpu
from whisper_mel_reference import CLASS_A, WHISPER, score

from gpu.device.calls import Memory
from gpu.device.driver import Device, device
from gpu.device.plan import Found, NotHere
from gpu.device.scale import scale
from gpu.device.sections.launches import usable_torch
from gpu.device.sections.peers import BASELINE, NOTES, ON_HOST, SUBSTITUTE, peers

OURS = "whisper-mel"
LEAST_ROUND = 4.0
"""Milliseconds that the calls of a round take together, far above the clock's resolution."""
CACHED = 128 << 20
"""Bytes of audio that are read before any is read again, more than a device's L2 holds."""

MOST_OF_A_COPY = 1.25
"""Largest part of a copy's bandwidth that a call can reach. Reading alone is a little faster than
copying; a call that moves its samples and features faster than this cannot have done it.
"""

FORMS: dict[str, dict[str, Any]] = {
    "maximum of the clip": {},
    "fixed maximum": {"maximum": 1.5},
    "fixed maximum, float16": {"maximum": 1.5, "dtype": "float16"},
    "float16": {"dtype": "float16"},
    "smoothed": {"smoothing": "same"},
    "smoothed, fixed maximum": {"smoothing": "same", "maximum": 1.5},
}
"""Forms of the features that are timed beside each other: 80 bands of float32 samples."""

Side = Callable[[int], object]
"""A call on the i-th input."""
Clock = Callable[[Callable[[], object]], float]
"""A function that returns the milliseconds of some work."""


def run() -> dict[str, Any]:
    """Time all combinations of batch, bands and type; without PyTorch, ours only."""
    cuda = device()
    copied = copy_bytes_per_ms(cuda)
    data: dict[str, Any] = {"rows": [], "absent": {}, "notes": NOTES, "copy_gbs": copied / 1e6}
    print(f"a copy within the device's memory moves {copied / 1e6:.0f} GB/s", flush=True)
    findings: list[str] = []
    kinds = [(80, "float32"), (128, "float32"), (80, "int16")]
    for (n_mels, dtype), batch in itertools.product(kinds, scale().batches):
        row = measured(cuda, n_mels, dtype, batch, data["absent"])
        add_shares(row, copied)
        data["rows"].append(row)
        findings += wrong(row)
        print(line(row), flush=True)
    data["forms"] = forms(cuda)
    data["goals"] = goals(cuda.name(), data["rows"])
    if findings:
        raise Found(findings, data)
    return data


def measured(
    cuda: Device, n_mels: int, dtype: str, batch: int, absent: dict[str, str]
) -> dict[str, Any]:
    """Time all sides on the same inputs; return a row of the table."""
    inputs = inputs_of(dtype, batch)
    out = Memory((batch, n_mels, scale().clip // 160), np.float32)

    def ours(i: int) -> object:
        return gpu.log_mel(inputs[i % len(inputs)], n_mels, out=out)

    ours(0)
    cuda.wait_for()
    sample = inputs[0].download()[0]
    scores = {OURS: float(score(out.download()[0], sample, spec(n_mels)))}
    sides: dict[str, Side] = {OURS: ours}
    add_peers(inputs, n_mels, sides, scores, absent)
    times = alternate(sides, cuda.milliseconds, scale().rounds)
    return {
        "n_mels": n_mels,
        "dtype": dtype,
        "batch": batch,
        "seconds": scale().clip / 16_000,
        "sides": summarised(times, batch, scores),
        "graph_ms": graph_milliseconds(cuda, inputs, n_mels),
    }


def forms(cuda: Device) -> list[dict[str, Any]]:
    """Time each of ``FORMS`` by itself, in a graph; return rows."""
    rows = []
    for (name, options), batch in itertools.product(FORMS.items(), scale().batches):
        ms = graph_milliseconds(cuda, inputs_of("float32", batch), 80, **options)
        rows.append({"form": name, "batch": batch, "graph_ms": ms})
        print(f"{batch:>4} clips, {name}: {1e3 * ms / batch:.2f} µs a clip in a graph", flush=True)
    return rows


def copy_bytes_per_ms(cuda: Device) -> float:
    """Return how many bytes the driver's copy reads and writes in a millisecond, at best."""
    size = scale().copied
    source, to = Memory((size,), np.uint8), Memory((size,), np.uint8)
    cuda.fill(source.address, 0, size // 4)
    cuda.wait_for()
    rounds = [
        cuda.milliseconds(lambda: cuda.copy(to.address, source.address, size))
        for _ in range(scale().rounds)
    ]
    return 2 * size / min(rounds)


def add_shares(row: dict[str, Any], copied: float) -> None:
    """Add to a row, and to its sides, the part of a copy's bandwidth that they reach.

    Counted is what a call has to move: the samples are read and the features are written, once.
    """
    moved = sum(bytes_of(row))
    row["copy_share"] = moved / row["graph_ms"] / copied
    for side in row["sides"].values():
        side["copy_share"] = moved / side["ms"] / copied


def bytes_of(row: dict[str, Any]) -> tuple[int, int]:
    """Return the bytes of a row's samples and of its features."""
    n = round(row["seconds"] * 16_000)
    samples = row["batch"] * n * np.dtype(row["dtype"]).itemsize
    return samples, row["batch"] * row["n_mels"] * (n // 160) * 4


def inputs_of(dtype: str, batch: int) -> list[Memory]:
    """Return batches of noise in device memory: several, if one alone would stay in a cache."""
    n = scale().clip
    count = max(1, min(64, CACHED // (n * batch * np.dtype(dtype).itemsize)))
    noise = 0.1 * np.random.default_rng(5).standard_normal((16, n))
    clips = np.rint(32767 * noise) if dtype == "int16" else noise
    which = np.resize(np.arange(16), (count, batch))
    return [Memory((batch, n), dtype).upload(clips[rows]) for rows in which]


def spec(n_mels: int) -> Any:
    return WHISPER.replace(n_mels=n_mels)


def add_peers(
    inputs: Sequence[Memory],
    n_mels: int,
    sides: dict[str, Side],
    scores: dict[str, float],
    absent: dict[str, str],
) -> None:
    """Add the peers that work here, on the same memory as ours, and why others do not."""
    try:
        torch = usable_torch()
    except NotHere as reason:
        absent["PyTorch"] = str(reason)
        return
    tensors = [torch.as_tensor(memory, device="cuda") for memory in inputs]
    for name, peer in peers(n_mels, "cuda").items():
        if isinstance(peer, str):
            absent[name] = peer
            continue
        side = peer_side(torch, name, peer, tensors)
        try:
            first = features_of(side(0))[0]
            scores[name] = float(score(first, inputs[0].download()[0], spec(n_mels)))
        except Exception as error:
            absent[name] = f"{type(error).__name__}: {str(error)[:300]}"
            continue
        sides[name] = side


def peer_side(torch: Any, name: str, peer: Any, tensors: Sequence[Any]) -> Side:
    """Return calls of a peer on its kind of input: floats, in the host's memory if necessary."""

    def as_floats(tensor: Any) -> Any:
        return tensor if tensor.dtype == torch.float32 else tensor.to(torch.float32) / 32768.0

    if name in ON_HOST:
        arrays = [as_floats(tensor).cpu().numpy() for tensor in tensors]
        return lambda i: peer(arrays[i % len(arrays)])
    return lambda i: peer(as_floats(tensors[i % len(tensors)]))


def features_of(result: Any) -> Any:
    if hasattr(result, "cpu"):
        result = result.cpu().numpy()
    elif hasattr(result, "get"):
        result = result.get()
    return np.asarray(result)


def alternate(sides: dict[str, Side], clock: Clock, rounds: int) -> dict[str, list[float]]:
    """Time each side once a round, in a drawn order; return milliseconds a call."""
    counts = {name: calls_in_a_round(side, clock) for name, side in sides.items()}
    times: dict[str, list[float]] = {name: [] for name in sides}
    draw = random.Random(0)
    for _ in range(rounds):
        for name in draw.sample(list(sides), len(sides)):
            side, count = sides[name], counts[name]
            times[name].append(clock(lambda: repeated(side, count)) / count)  # noqa: B023
    return times


def calls_in_a_round(side: Side, clock: Clock) -> int:
    """Return how many calls take ``LEAST_ROUND``; the first ones are not timed."""
    repeated(side, 3)
    once = clock(lambda: repeated(side, 3)) / 3
    return max(1, min(500, int(LEAST_ROUND / max(once, 1e-3)) + 1))


def repeated(side: Side, count: int) -> None:
    for i in range(count):
        side(i)


def summarised(
    times: dict[str, list[float]], batch: int, scores: dict[str, float]
) -> dict[str, dict[str, Any]]:
    """Return medians, and quartiles of the rounds' ratios to ours."""
    summary = {}
    for name, rounds in times.items():
        ratios = [other / own for other, own in zip(rounds, times[OURS], strict=True)]
        median = statistics.median(rounds)
        summary[name] = {
            "ms": median,
            "ms_quartiles": quartiles(rounds),
            "us_per_clip": 1e3 * median / batch,
            "ratio": statistics.median(ratios),
            "ratio_quartiles": quartiles(ratios),
            "score": scores[name] if np.isfinite(scores[name]) else None,
        }
    return summary


def quartiles(values: Sequence[float]) -> list[float]:
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return [low, high]


def graph_milliseconds(
    cuda: Device, inputs: Sequence[Memory], n_mels: int, **options: Any
) -> float:
    """Return the milliseconds of one of our calls without the host, from a graph of many."""
    batch, n = inputs[0].shape
    out = Memory((batch, n_mels, n // 160), options.get("dtype", "float32"))
    stream = cuda.new_stream()

    def calls() -> None:
        for i in range(scale().graph):
            gpu.log_mel(inputs[i % len(inputs)], n_mels, out=out, stream=stream, **options)

    calls()  # a stream's first use cannot be captured
    cuda.wait_for(stream)
    graph = cuda.captured(stream, calls)
    cuda.launch_graph(graph, stream)
    times = [
        cuda.milliseconds(lambda: cuda.launch_graph(graph, stream), stream) / scale().graph
        for _ in range(scale().rounds)
    ]
    return statistics.median(times)


def wrong(row: dict[str, Any]) -> list[str]:
    """Return the reasons why a row is invalid."""
    name = f"{row['n_mels']} bands, {row['dtype']}, batch {row['batch']}"
    ours = row["sides"][OURS]
    findings = []
    if ours["score"] is None or not ours["score"] <= CLASS_A:
        findings.append(f"{name}: what was timed has score {ours['score']}")
    if not (ours["ms"] > 0 and row["graph_ms"] > 0):
        findings.append(f"{name}: the clock stands still")
    samples, features = bytes_of(row)
    # Features of a small batch may stay in a cache, where the next call overwrites them.
    needed = 1.0 if features > CACHED else samples / (samples + features)
    shares = {f"{OURS} in a graph": row["copy_share"]}
    shares.update((side, times["copy_share"]) for side, times in row["sides"].items())
    findings += [
        f"{name}: {side} would move its bytes {needed * share:.2f} times as fast as a copy: it "
        "cannot have computed what was timed"
        for side, share in shares.items()
        if not needed * share <= MOST_OF_A_COPY
    ]
    return findings


def goals(device_name: str, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how the times compare with the project's goals for an H100; none for other devices.

    A goal that is missed is no finding.
    """
    if "H100" not in device_name:
        return []
    found = {(r["n_mels"], r["dtype"], r["batch"]): r for r in rows}
    batch, single = found[80, "float32", 256], found[80, "float32", 1]
    sides = batch["sides"]
    baseline = BASELINE if BASELINE in sides else SUBSTITUTE
    list_of = [
        ("µs per clip of 256", 2.0, 1e3 * batch["graph_ms"] / 256, "at most"),
        ("µs for a single clip", 25.0, 1e3 * single["graph_ms"], "at most"),
    ]
    if baseline in sides:
        list_of.append((f"times {baseline}'s, 256 clips", 20.0, sides[baseline]["ratio"], "least"))
    return [
        {"what": what, "wanted": wanted, "got": got, "met": fits(got, wanted, how)}
        for what, wanted, got, how in list_of
    ]


def fits(got: float, wanted: float, how: str) -> bool:
    return got <= wanted if how == "at most" else got >= wanted


def line(row: dict[str, Any]) -> str:
    """Format a row for a terminal."""
    name = f"{row['batch']:>4} x {row['seconds']:g} s, {row['n_mels']} bands, {row['dtype']}"
    cells = [
        f"{OURS} {1e3 * row['graph_ms'] / row['batch']:.2f} µs a clip in a graph, "
        f"{row['copy_share']:.0%} of a copy's bandwidth"
    ]
    for side, times in row["sides"].items():
        cells.append(f"{side} {times['us_per_clip']:.4g} µs ({times['ratio']:.3g}x)")
    return f"{name}: {', '.join(cells)}"
