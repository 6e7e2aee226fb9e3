"""./dev bench: what is timed, in which order, and what follows from it.

Clocks and front-ends are fakes: nothing here depends on how fast a machine is.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bench import cli, machine, results, table, worker
from bench.rows import (
    BASELINE,
    DROP_INS,
    OURS,
    QUICK,
    Call,
    Row,
    all_rows,
    select,
    thread_counts,
)
from checkout.paths import ROOT
from daily import by_day
from programs import ran
from whisper_mel_conformance.compare import pairing
from whisper_mel_conformance.compare.pairing import (
    MAX_ROUNDS,
    MIN_LONG_ROUNDS,
    MIN_ROUNDS,
    Timing,
    measure,
)
from whisper_mel_conformance.frontend.load import Capabilities, Loaded

from docs import speed

figure = pytest.importorskip("bench.figure", reason="matplotlib is in the layer `test`")

PEERS = [BASELINE, "slow-peer"]


class Clock:
    """Time that passes only in the calls it makes; remembers which was called, and which timed."""

    def __init__(self) -> None:
        self.now = 0.0
        self.taken: float | None = 0.0
        self.events: list[str] = []

    def __call__(self) -> float:
        self.events.append("clock")
        return self.now

    def pause(self, seconds: float) -> None:
        self.events.append("pause")
        self.now += seconds

    def others(self) -> float | None:
        return self.taken

    def call(self, name: str, *seconds: float, others: float = 0) -> Callable[[], None]:
        """A call that takes these times in turn, over and over."""
        count = 0

        def run() -> None:
            nonlocal count
            self.events.append(name)
            self.now += seconds[count % len(seconds)]
            count += 1
            if self.taken is not None:
                self.taken += others

        return run

    def timed_calls(self) -> list[tuple[str, list[str]]]:
        """The timed calls of the rounds, each with the untimed ones since the timed one before."""
        found = []
        untimed: list[str] = []
        timing = False
        # Without the two calls that tell how long they take, and the beginning of the rounds
        for event in self.events[7:]:
            if event == "clock":
                timing = not timing
            elif timing:
                found.append((event, untimed))
                untimed = []
            else:
                untimed.append(event)
        return found


def run(clock: Clock, ours: Any, other: Any, *, seed: int = 0, **options: Any) -> Timing:
    options = {"cold": False, "threads": 1, "budget": 1.0, **options}
    options.update(clock=clock, pause=clock.pause, taken=clock.others)
    return measure(ours, other, order=random.Random(seed), **options)


# --------------------------------------------------------------------------- alternation


def test_warm_each_timed_call_comes_after_two_of_its_own() -> None:
    clock = Clock()
    timing = run(clock, clock.call("ours", 0.001), clock.call("other", 0.01))
    calls = clock.timed_calls()
    assert len(calls) == 2 * len(timing.ours)
    assert all(untimed == [name, name] for name, untimed in calls)


def test_cold_each_timed_call_is_the_first_after_the_other() -> None:
    clock = Clock()
    timing = run(clock, clock.call("ours", 0.001), clock.call("other", 0.01), cold=True)
    calls = clock.timed_calls()
    assert len(calls) == 2 * len(timing.ours)
    opposite = {"ours": "other", "other": "ours"}
    assert all(untimed == [opposite[name]] for name, untimed in calls)


def test_a_round_times_both_in_an_order_that_is_drawn() -> None:
    orders = []
    for seed in (0, 0, 1):
        clock = Clock()
        run(clock, clock.call("ours", 0.001), clock.call("other", 0.01), seed=seed)
        names = [name for name, _ in clock.timed_calls()]
        rounds = list(zip(names[::2], names[1::2], strict=True))
        assert {frozenset(pair) for pair in rounds} == {frozenset({"ours", "other"})}
        assert {pair[0] for pair in rounds} == {"ours", "other"}
        orders.append(rounds)
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize(
    ("ours", "other", "rounds"),
    [
        (0.001, 0.009, 33),  # three calls of each in every round
        (1e-6, 1e-6, MAX_ROUNDS),
        (0.001, 0.3, MIN_ROUNDS),
        (0.001, 3.0, MIN_LONG_ROUNDS),
    ],
)
def test_rounds_fill_the_time_that_there_is(ours: float, other: float, rounds: int) -> None:
    clock = Clock()
    timing = run(clock, clock.call("ours", ours), clock.call("other", other))
    assert len(timing.ours) == len(timing.other) == rounds


def test_long_calls_are_not_made_untimed() -> None:
    clock = Clock()
    run(clock, clock.call("ours", 0.001), clock.call("other", 3.0))
    assert {name: len(untimed) for name, untimed in clock.timed_calls()} == {"ours": 2, "other": 0}


# --------------------------------------------------------------------------- statistics, noise


def test_ratio_is_of_medians_and_its_quartiles_of_rounds() -> None:
    timing = Timing(ours=(1, 1, 2, 1, 100), other=(10, 20, 30, 40, 50), others=0)
    assert timing.ratio() == 30
    assert timing.ratio(scale=0.5) == 15
    rounds = sorted([10, 20, 15, 40, 0.5])
    assert timing.ratio_quartiles() == (rounds[1], rounds[3])
    assert timing.ratio_quartiles(scale=2) == (2 * rounds[1], 2 * rounds[3])


def test_times_and_waiting_are_what_the_clock_and_the_system_say() -> None:
    clock = Clock()
    ours, other = clock.call("ours", 0.001, others=0.0001), clock.call("other", 0.019)
    timing = run(clock, ours, other, cold=True, budget=0)
    assert timing.ours == pytest.approx([0.001] * MIN_ROUNDS)
    assert timing.other == pytest.approx([0.019] * MIN_ROUNDS)
    assert timing.others == pytest.approx(0.0001 / 0.020)
    clock.taken = None
    assert run(clock, ours, other).others is None


@pytest.mark.parametrize(
    ("other", "others", "noisy"),
    [
        ((10, 10.4, 9.6, 10, 10), 0.0, False),
        ((10, 10.4, 9.6, 10, 10), 0.049, False),
        ((10, 10.4, 9.6, 10, 10), 0.051, True),
        ((10, 10.4, 9.6, 10, 10), float("nan"), True),
        ((10, 10.4, 9.6, 10, 10), None, False),
        ((10, 12, 8, 12, 8), 0.0, True),
        ((10, 12, 8, 12, 8), None, True),
    ],
)
def test_noise_is_a_wide_spread_or_others_on_the_cpu(
    other: tuple[float, ...], others: float | None, noisy: bool
) -> None:
    assert Timing((1.0,) * 5, other, others).noisy == noisy


def test_the_time_of_others_is_what_this_process_did_not_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On its own CPUs: hundredths of a second as /proc/stat has them, without idle and iowait."""
    stat = "cpu  9 9 9 9 9 9 9 9 0 0\n" + "".join(
        f"cpu{cpu} {100 * cpu} 1 2 5000 6000 3 4 5 0 0\n" for cpu in range(3)
    )
    monkeypatch.setattr(pairing.os, "sched_getaffinity", lambda pid: {0, 2})
    monkeypatch.setattr(pairing.os, "sysconf", lambda name: 100)
    monkeypatch.setattr(pairing.time, "process_time", lambda: 1.5)
    monkeypatch.setattr(Path, "read_text", lambda path: stat)
    assert pairing.others_time() == pytest.approx(2.0 + 2 * 0.15 - 1.5)
    monkeypatch.setattr(Path, "read_text", lambda path: "cpu 1 2\n")
    assert pairing.others_time() is None


def test_a_rest_comes_before_each_side_begins() -> None:
    clock = Clock()
    ours, other = clock.call("ours", 0.001), clock.call("other", 0.009)
    timing = run(clock, ours, other, threads=2, rest=pairing.REST, budget=1.4)
    sides = ["pause", *3 * ["ours"]], ["pause", *3 * ["other"]]
    events = [event for event in clock.events[7:] if event != "clock"]
    assert [events[i : i + 4] in sides for i in range(0, len(events), 4)] == 40 * [True]
    assert len(timing.ours) == 20, "30 ms of calls and 40 of rest"


# --------------------------------------------------------------------------- rows


def test_rows_have_ids_of_their_own_and_the_sizes_that_matter() -> None:
    rows = {row.id: row for row in all_rows(PEERS)}
    assert len(rows) == len(all_rows(PEERS))
    for size in ("1s", "10s", "30s", "1h"):
        for name in (f"{size}/80", f"{size}/80/2-threads"):
            row = rows[f"{BASELINE}/{name}"]
            assert row.ours == dataclasses.replace(row.other, front_end=OURS, out=True)
        assert f"slow-peer/{size}/80" in rows
    assert rows[f"{BASELINE}/30s/80/cold"].cold
    assert not any(row.other.out for row in rows.values() if row.other.front_end != OURS)
    by_default = {row.id for row in rows.values() if row.malloc == "default"}
    drop_ins = {name for name in rows if name.startswith("drop-in/")}
    assert by_default == {f"{BASELINE}/30s/80/default", *drop_ins}


@pytest.mark.parametrize(
    ("cpus", "threads"),
    [
        (1, [1, 2]),
        (2, [1, 2]),
        (3, [1, 2, 3]),
        (8, [1, 2, 4, 8]),
        (96, [1, 2, 4, 8, 16, 32, 64, 96]),
    ],
)
def test_batches_are_measured_from_one_thread_to_all(cpus: int, threads: list[int]) -> None:
    """Ours with every number of threads, the others with one and with all."""
    assert thread_counts(cpus) == threads
    rows = [row for row in all_rows(PEERS, cpus) if row.ours.clips and "drop-in" not in row.id]
    assert len({row.id for row in rows}) == len(rows)
    for peer in PEERS:
        ours = [row.other for row in rows if row.other.front_end == peer]
        assert [call.threads for call in ours] == [1, threads[-1]]
        assert all(call.clips >= 2 * call.threads and call.pad_to == 480_000 for call in ours)
    own = {row.ours.threads: row.other for row in rows if row.id.endswith("threads-to-1")}
    assert list(own) == threads[1:]
    assert {call.threads for call in own.values()} == {1}
    assert "openai-whisper/16x30s/80/2-threads" in {row.id for row in all_rows(PEERS)}


def test_a_drop_in_is_beside_its_original() -> None:
    rows = [row for row in all_rows(PEERS) if row.id.startswith("drop-in/")]
    assert [row.id.split("/")[1] for row in rows] == list(DROP_INS)
    for row in rows:
        assert row.other == dataclasses.replace(
            row.ours, front_end=f"{row.ours.front_end}_original"
        )
        assert not row.ours.out
        assert row.ours.threads == 2


def test_a_row_survives_its_way_to_the_measuring_process() -> None:
    for row in all_rows(PEERS):
        assert Row.from_dict(json.loads(json.dumps(dataclasses.asdict(row)))) == row


def test_selection_by_pattern() -> None:
    rows = all_rows(PEERS)
    assert [row.id for row in select(rows, ["*/1h/80"])] == [f"{peer}/1h/80" for peer in PEERS]
    assert 0 < len(select(rows, QUICK)) < len(rows) / 1.5
    with pytest.raises(ValueError, match=r"(?s)no row matches '31s'.*self/2-threads-to-1"):
        select(rows, ["self/*", "31s"])


def test_peers_are_all_that_is_registered_but_not_the_kernel() -> None:
    peers = cli.installed_peers()
    assert {BASELINE, "faster-whisper", "whisper-cpp"} <= set(peers)
    assert not any(name.startswith("mojo-") for name in peers)


# --------------------------------------------------------------------------- the worker


def front_end(function: Callable[..., Any], **capabilities: Any) -> Loaded:
    return Loaded("fake", "cpu", Capabilities(**capabilities), function, "keyword", {"fake": "1"})


def zeros(audio: Any, n_mels: int = 80, **options: Any) -> Any:
    frames = (options.get("pad_to") or audio.shape[-1]) // 160
    return np.zeros((*audio.shape[:-1], n_mels, frames), np.float32)


def one_row(other: Loaded, row: Row | None = None) -> dict[str, Any]:
    """The result of a row whose other side is ``other``; the timer is a fake."""
    row = row or Row("peer/1s/80", Call(OURS, 1), Call("peer", 1))
    ours = front_end(zeros, batch=True, pad_to=True, n_mels=(80, 128))

    def timer(ours: Any, other: Any, **options: Any) -> Timing:
        threaded = "2-threads" in row.id and not row.id.startswith("self/")
        assert options["rest"] == (pairing.REST if threaded else 0)
        assert options.keys() == {"cold", "threads", "rest", "budget", "order"}
        return Timing((0.001,) * 5, (0.004,) * 5, 0.0)

    [result] = worker.measure_rows([row], 1.0, {OURS: ours, "peer": other}.__getitem__, timer)
    return result


def test_a_result_has_what_the_schema_asks_for() -> None:
    result = one_row(front_end(zeros))
    assert result["ratio"] == 4
    assert result["difference"] == 0
    assert result.pop("versions") == {"fake": "1"}
    results.jsonschema.validate(document(result), json.loads(results.SCHEMA.read_text()))


def test_rows_with_a_threaded_peer_rest_between_the_sides() -> None:
    for name, peer in (("peer/1s/80/2-threads", "peer"), ("self/2-threads-to-1", OURS)):
        row = Row(name, Call(OURS, 1, threads=2), Call(peer, 1))
        assert "ratio" in one_row(front_end(zeros), row)


def test_a_front_end_that_is_not_installed_is_said_to_be() -> None:
    """The default layer has no torch."""
    rows = [Row("openai-whisper/1s/80", Call(OURS, 1), Call(BASELINE, 1))]

    def load(name: str) -> Loaded:
        if name == BASELINE:
            raise ModuleNotFoundError("No module named 'torch'")
        return front_end(zeros)

    [result] = worker.measure_rows(rows, 1.0, load)
    assert result["skipped"] == "openai-whisper is not installed (No module named 'torch')"


def test_the_kernel_must_be_installed() -> None:
    def load(name: str) -> Loaded:
        raise ModuleNotFoundError("No module named 'mojo'")

    with pytest.raises(ModuleNotFoundError):
        list(worker.measure_rows([Row("x", Call(OURS, 1), Call("peer", 1))], 1.0, load))


def test_what_a_peer_cannot_do_is_skipped_with_the_reason() -> None:
    batch = Row("peer/16x1s/80", Call(OURS, 1, clips=16), Call("peer", 1, clips=16))
    wide = Row("peer/1s/128", Call(OURS, 1, n_mels=128), Call("peer", 1, n_mels=128))
    starts = front_end(zeros, process_per_call=True)
    assert "takes single clips" in one_row(front_end(zeros), batch)["skipped"]
    assert "has (80,) bands only" in one_row(front_end(zeros), wide)["skipped"]
    short = front_end(zeros, max_samples=15_999)
    assert "takes 15999 samples at most" in one_row(short)["skipped"]
    assert "multiples of 480000" in one_row(front_end(zeros, multiple_of=480_000))["skipped"]
    assert "ratio" in one_row(front_end(zeros, max_samples=16_000, multiple_of=16_000))
    assert "starts a process for every call" in one_row(starts)["skipped"]
    elsewhere = front_end(zeros, own_process=True)
    assert "computes in another process" in one_row(elsewhere)["skipped"]

    def broken(audio: Any, n_mels: int = 80) -> Any:
        raise OSError("no such library")

    assert one_row(front_end(broken))["skipped"] == "peer failed: OSError: no such library"


def test_a_record_does_not_say_where_the_checkout_is(tmp_path: Path) -> None:
    def skipping(rows: list[Row], budget: float) -> Any:
        yield from ({"id": row.id, "skipped": f"peer: no {ROOT}/dist/x"} for row in rows)

    assert cli.main(["--quick", "--output", str(tmp_path)], skipping) == 1
    made = json.loads((tmp_path / "bench.json").read_text())
    assert {row["skipped"] for row in made["rows"]} == {"peer: no dist/x"}
    assert str(ROOT.parent) not in cli.RECORD.read_text()


def test_what_always_pads_is_told_the_clips_length() -> None:
    seen = []

    def pads(audio: Any, n_mels: int = 80, pad_to: int | None = None) -> Any:
        seen.append(pad_to)
        if pad_to is None:
            raise NotImplementedError("always pads")
        return zeros(audio, n_mels)

    assert "ratio" in one_row(front_end(pads, pad_to=True))
    assert seen == [None, 16_000]


def test_an_hour_is_skipped_where_it_would_take_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    lengths = []

    def slow(audio: Any, n_mels: int = 80) -> Any:
        lengths.append(audio.size)
        clock.now += audio.size / 480_000
        return zeros(audio)

    monkeypatch.setattr(worker, "time", SimpleNamespace(perf_counter=clock))
    row = Row("peer/20min/80", Call(OURS, 1200), Call("peer", 1200))
    assert "would take about 40 s (1.00 s for 30 s)" in one_row(front_end(slow), row)["skipped"]
    assert set(lengths) == {480_000}, "the long call was never made"
    monkeypatch.setattr(worker, "LONGEST_CALL", 41.0)
    assert "ratio" in one_row(front_end(slow), row)


def hour_of_a_hungry_peer() -> dict[str, Any]:
    """The row's result where an hour is ten seconds long and the peer takes 400 MB.

    That is far more than the pages of files that the system may take back meanwhile.
    """
    worker.HOUR = 10

    def hungry(audio: Any, n_mels: int = 80) -> Any:
        np.ones(100_000_000, np.float32)
        return zeros(audio)

    row = Row("peer/10s/80", Call(OURS, 10), Call("peer", 10))
    return one_row(front_end(hungry), row)


@pytest.mark.slow
def test_an_hours_memory_is_measured() -> None:
    """In a process of its own, as `./dev bench` does."""
    program = "import json, test_ci_bench as t; print(json.dumps(t.hour_of_a_hungry_peer()))"
    folders = os.pathsep.join(str(ROOT / it) for it in ("ci", "ci/tests", "mojo/tests"))
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONPATH": folders}
    done = ran(command, env=environment, check=True)
    result = json.loads(done.stdout)
    assert result["other"]["peak_bytes"] > 250_000_000
    assert result["ours"]["peak_bytes"] < 100_000_000
    [ours, other] = table.memory_lines([result])
    rise = result["other"]["peak_bytes"] / 1e6
    assert other.startswith(f"peer: peak memory rises by {rise:.0f} MB")
    assert ours.endswith("10 s of audio, 0 MB of features")


@pytest.mark.compiles
@pytest.mark.parametrize(
    "name",
    by_day(["faster-whisper", "transformers", "openai-whisper"], ["faster-whisper"]),
)
def test_drop_ins_do_the_work_of_their_originals(name: str) -> None:
    """The real ones, a second of audio."""
    [row] = [row for row in all_rows([]) if row.id.startswith(f"drop-in/{name}/")]
    short = [dataclasses.replace(call, seconds=1.0, threads=1) for call in (row.ours, row.other)]
    changed = dataclasses.replace(row, ours=short[0], other=short[1])
    [result] = worker.measure_in_process([changed], budget=0.0)
    assert results.same_work(result)
    assert name in result["versions"]
    assert cli.wrong({"rows": [result]}) == []


@pytest.mark.compiles
def test_the_real_thing_once() -> None:
    """In a process of its own, with the kernel and the baseline."""
    rows = select(all_rows([BASELINE]), [f"{BASELINE}/1s/80"])
    [result] = worker.measure_in_process(rows, budget=0.0)
    assert result["rounds"] == MIN_ROUNDS
    assert result["ratio"] > 0
    assert results.same_work(result)
    assert result["versions"].keys() >= {"openai-whisper", "torch"}
    for side in (result["ours"], result["other"]):
        assert 0 < side["least_ms"] < side["median_ms"]


def test_a_process_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="measuring openai-whisper with 1 threads ended with"):
        list(worker.measure_in_process(select(all_rows([BASELINE]), ["*/1s/80"]), 0.0))


# --------------------------------------------------------------------------- results


def measured_row(name: str, ratio: float, width: float = 0.0, **changes: Any) -> dict[str, Any]:
    """A row as the worker gives it: our time is 1 ms, the quartiles are ``width`` apart."""
    [row] = [row for row in all_rows(PEERS) if row.id == name]
    side = {"median_ms": 1.0, "quartiles_ms": [1.0, 1.0], "least_ms": 0.1, "peak_bytes": None}
    return {
        "id": name,
        "ours": {**dataclasses.asdict(row.ours), **side},
        "other": {**dataclasses.asdict(row.other), **side, "median_ms": ratio},
        "cold": row.cold,
        "malloc": row.malloc,
        "scale": row.scale,
        "rounds": 5,
        "ratio": ratio,
        "ratio_quartiles": [ratio - width / 2, ratio + width / 2],
        "others": 0.0,
        "noisy": False,
        "difference": 0.0,
        **changes,
    }


def document(*rows: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": 1,
        "created": "2026-11-24T12:00:00+00:00",
        "quick": False,
        "commit": 40 * "a",
        "dirty": False,
        "machine": {
            "cpu": "A CPU",
            "cpus": 2,
            "caches": {"L2": "1024K"},
            "memory_gib": 8.0,
            "system": "Linux",
            "libc": "glibc 2.36",
            "load": 0.1,
        },
        "versions": {"numpy": "2"},
        "library": {"file": "x.so", "target": "x86-64-v3", "options": []},
        "rows": list(rows),
    }


NAME = f"{BASELINE}/30s/80"


@pytest.mark.parametrize(
    ("before", "after", "width", "fell"),
    [
        (16.0, 16.0, 0.0, False),
        (16.0, 15.3, 0.0, False),  # within 5 %
        (16.0, 15.1, 0.0, True),
        (16.0, 15.1, 1.0, False),  # within the quartiles' distance
        (16.0, 14.9, 1.0, True),
        (16.0, float("nan"), 0.0, True),
        (16.0, 20.0, 0.0, False),
    ],
)
def test_a_ratio_that_falls_by_more_than_its_noise(
    before: float, after: float, width: float, fell: bool
) -> None:
    old = document(measured_row(NAME, before, width))
    new = document(measured_row(NAME, after, width))
    [change] = results.compare(old, new)
    assert change.fell == fell
    assert ("FELL" in str(change)) == fell
    assert change.rose == (after == 20.0)


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    for content, message in (
        (None, "No such file"),
        ("{", "Expecting"),
        ("{}", "no result of ./dev bench"),
        (json.dumps({**document(), "format": 2}), "no result of ./dev bench"),
        (json.dumps(document({"id": "x", "ratio": 1})), "no result of ./dev bench"),
    ):
        if content is not None:
            path.write_text(content)
        with pytest.raises(results.Unreadable, match=message):
            results.load(path)
    results.save(document(measured_row(NAME, 16.0)), path)
    assert results.load(path)["rows"][0]["ratio"] == 16.0


# --------------------------------------------------------------------------- the command


class Measure:
    """Stands in for the measuring processes: each row gets the ratio that is planted for it."""

    def __init__(self, **ratios: float) -> None:
        self.ratios = ratios
        self.processes: list[tuple[str, int, str]] = []
        self.budgets: set[float] = set()

    def __call__(self, rows: list[Row], budget: float) -> Iterator[dict[str, Any]]:
        assert len({row.process for row in rows}) == 1
        self.processes.append(rows[0].process)
        self.budgets.add(budget)
        for row in rows:
            ratio = self.ratios.get(row.id, 10.0)
            yield {**measured_row(row.id, ratio), "versions": {row.other.front_end: "1"}}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the checkout, where nothing is built."""
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(cli, "RECORD", tmp_path / "docs" / "cpu.json")
    monkeypatch.setattr(cli, "installed_peers", lambda: PEERS)
    monkeypatch.setattr(cli.os, "sched_getaffinity", lambda pid: {0, 1})
    built = {"file": "x.so", "target": "x86-64-v3", "options": ["-O3"]}
    monkeypatch.setattr(machine, "library", lambda: built)
    return tmp_path


def bench(checkout: Path, *arguments: str, measure: Any = None) -> int:
    options = [*arguments, "--output", str(checkout / "report")]
    return cli.main(options, measure or Measure())


def test_a_run_writes_results_and_picture(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measure = Measure()
    assert bench(checkout, measure=measure) == 0
    document = results.load(checkout / "report" / "bench.json")
    assert {row["id"] for row in document["rows"]} == {row.id for row in all_rows(PEERS)}
    assert len(measure.processes) == len(set(measure.processes)), "each process is started once"
    assert document["versions"].keys() >= {"python", "numpy", BASELINE, "slow-peer"}
    assert document["machine"]["cpus"] == 2
    assert document["quick"] is False
    assert (checkout / "report" / "bench.svg").read_text().startswith("<?xml")
    assert f"{NAME} " in capsys.readouterr().out


def test_what_has_fallen_ends_with_status_1(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = checkout / "earlier.json"
    results.save(
        document(measured_row(NAME, 16.0), measured_row("self/2-threads-to-1", 1.9)), earlier
    )
    against = ["--only", NAME, "--against", str(earlier)]
    assert bench(checkout, *against, measure=Measure(**{NAME: 15.9})) == 0
    assert "1 more rows of the earlier run were not measured" in capsys.readouterr().out
    assert bench(checkout, *against, measure=Measure(**{NAME: 14.0})) == 1
    assert f"{NAME} fell by 12.5%" in capsys.readouterr().out
    assert bench(checkout, "--only", "self/128*", "--against", str(earlier)) == 1
    assert "nothing to compare" in capsys.readouterr().out


def test_an_unreadable_earlier_run_is_found_before_anything_is_measured(checkout: Path) -> None:
    measure = Measure()
    with pytest.raises(SystemExit) as ending:
        bench(checkout, "--against", "nowhere.json", measure=measure)
    assert ending.value.code == 2
    assert measure.processes == []


def test_a_baseline_that_does_other_work_fails_the_run(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for difference in (0.01, None, float("nan")):

        def measure(rows: list[Row], budget: float, difference: Any = difference) -> Any:
            for row in rows:
                yield measured_row(row.id, 16.0, difference=difference)

        assert bench(checkout, "--only", NAME, measure=measure) == 1
        assert "did not do the same work" in capsys.readouterr().out


@pytest.mark.parametrize("side", ["ours", "other"])
@pytest.mark.parametrize("took", [0.004, float("nan")])
def test_a_time_that_does_not_suffice_to_read_the_samples_fails_the_run(
    checkout: Path, capsys: pytest.CaptureFixture[str], side: str, took: float
) -> None:
    """As of a front-end that returns before it has computed anything."""

    def measure(rows: list[Row], budget: float) -> Any:
        for row in rows:
            result = measured_row(row.id, 16.0)
            result[side]["median_ms"] = took
            yield result

    assert bench(checkout, "--record", measure=measure) == 1
    assert "it cannot have computed them" in capsys.readouterr().out
    assert not cli.RECORD.exists()


def test_reading_the_samples_is_shared_by_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([9.0, 3.0, 5.0, 4.0, 6.0])
    monkeypatch.setattr(worker, "timed", lambda call, clock: call() and next(times))
    measured_anew = worker._reading_seconds.__wrapped__
    monkeypatch.setattr(worker, "_reading_seconds", measured_anew)
    row = Row("peer/1s/80", Call(OURS, 1, threads=2), Call("peer", 1, threads=2))
    side = worker._side(row.other, (0.5, 1.0, 2.0), None)
    assert side["least_ms"] == 1500.0
    assert side["median_ms"] == 1000.0


def test_a_run_that_measures_nothing_fails(checkout: Path) -> None:
    def measure(rows: list[Row], budget: float) -> Any:
        return ({"id": row.id, "skipped": "not installed"} for row in rows)

    assert bench(checkout, measure=measure) == 1


def test_two_threads_take_two_cpus(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.os, "sched_getaffinity", lambda pid: {0})
    assert bench(checkout) == 0
    rows = results.load(checkout / "report" / "bench.json")["rows"]
    skipped = {row["id"] for row in rows if "skipped" in row}
    assert skipped == {row.id for row in all_rows(PEERS) if row.process[1] == 2}


def test_readmes_table_is_another_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--readme"])
    assert "is written by ./dev docs" in capsys.readouterr().err


def test_a_run_without_matplotlib_says_why_there_is_no_picture(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "bench.figure")
    monkeypatch.delattr(sys.modules["bench"], "figure")
    assert bench(checkout) == 0
    assert "bench.json; no picture: " in capsys.readouterr().out
    assert not (checkout / "report" / "bench.svg").exists()


def test_a_record_becomes_readmes_table(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(checkout, "--record", measure=Measure(**{NAME: 16.25})) == 0
    assert "`./dev docs` shows it in README" in capsys.readouterr().out
    lines = speed.text(results.load(cli.RECORD)).splitlines()
    assert "16.2 (16.2×)" in next(line for line in lines if line.startswith(f"| {BASELINE} "))


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [([], cli.SECONDS), (["--quick"], cli.QUICK_SECONDS), (["--quick", "--seconds", "0.1"], 0.1)],
)
def test_how_long_a_row_is_measured(checkout: Path, arguments: list[str], seconds: float) -> None:
    measure = Measure()
    assert bench(checkout, *arguments, measure=measure) == 0
    assert measure.budgets == {seconds}
    assert results.load(checkout / "report" / "bench.json")["quick"] == ("--quick" in arguments)


@pytest.mark.parametrize("partial", [["--quick"], ["--only", NAME]])
def test_only_a_whole_run_is_recorded(checkout: Path, partial: list[str]) -> None:
    with pytest.raises(SystemExit):
        bench(checkout, "--record", *partial)
    assert not cli.RECORD.exists()


def test_a_bad_run_is_not_recorded(checkout: Path) -> None:
    def measure(rows: list[Row], budget: float) -> Any:
        return (measured_row(row.id, 16.0, difference=1.0) for row in rows)

    assert bench(checkout, "--record", measure=measure) == 1
    assert not cli.RECORD.exists()


# --------------------------------------------------------------------------- what is shown


def test_noise_is_shown_with_its_reason() -> None:
    row = measured_row(NAME, 16.0, width=3.2, noisy=True, others=0.25)
    text = "noisy: quartiles 20% apart, 25.0% of the CPU's time with others"
    assert table.line(row).endswith(text)
    assert "noisy" not in table.line(measured_row(NAME, 16.0))
    noisy = speed.text(document(row))
    assert "16 (16×~)".replace("~", " ~") in noisy
    assert "the machine was noisy" in noisy
    assert "noisy" not in speed.text(document(measured_row(NAME, 16.0)))


def test_the_fastest_peer_comes_first_and_the_kernel_before_it() -> None:
    rows = [measured_row(NAME, 16.0), measured_row("slow-peer/30s/80", 9.0)]
    lines = speed.text(document(*rows)).splitlines()
    names = [line.split("|")[1].strip() for line in lines if line.startswith("|")]
    assert names == ["front-end", "---", "**whisper-mel**", "slow-peer", BASELINE]


def test_the_headline_is_the_fastest_then_the_drop_ins_then_the_baseline() -> None:
    slow = "slow-peer/30s/80"
    drop_ins = [
        measured_row("drop-in/faster-whisper/30s/80/2-threads", 22.0),
        measured_row("drop-in/transformers/16x30s/80/2-threads", 43.0, noisy=True),
    ]

    def headline(*rows: dict[str, Any]) -> str:
        return speed.headline_of(results.measured(document(*rows)))

    text = headline(measured_row(NAME, 18.0), measured_row(slow, 3.7), *drop_ins)
    assert text == (
        "For a clip of 30 s, one thread, the fastest other front-end, slow-peer, takes 3.7 times "
        "as long as whisper-mel. [Drop-ins](docs/using.md) on two threads, beside their originals: "
        "about 43 times as fast as transformers (a list of 16 clips of 30 s), 22 times as fast as "
        "faster-whisper (a clip of 30 s). openai-whisper itself takes 18 times as long."
    )
    for difference in (0.1, None, float("nan")):  # it computes something else
        text = headline(measured_row(NAME, 18.0), measured_row(slow, 3.7, difference=difference))
        assert "the fastest other front-end, openai-whisper, takes 18 times" in text
        assert "itself" not in text
    assert "Nothing was measured" in headline()


def test_batches_are_shown_in_clips_a_second() -> None:
    rows = [
        measured_row("openai-whisper/16x30s/80", 32.0),  # ours takes 1 ms
        measured_row("slow-peer/16x30s/80", 8.0),
        measured_row("slow-peer/16x30s/80/2-threads", 4.0, noisy=True),
        measured_row("self/16x30s/2-threads-to-1", 0.5),
    ]
    lines = speed.text(document(*rows)).splitlines()
    start = lines.index("| front-end | 1 thread | 2 threads |")
    assert lines[start + 2 : start + 5] == [
        "| **whisper-mel** | **16,000** | **16,000** |",
        "| openai-whisper | 500 (32×) | |",
        "| slow-peer | 2,000 (8×) | 4,000 (4× ~) |",
    ]
    assert "in one batch" not in speed.text(document(measured_row(NAME, 16.0)))


def test_drop_ins_are_shown_beside_their_originals() -> None:
    rows = [measured_row("drop-in/transformers/16x30s/80/2-threads", 43.0)]
    lines = speed.text(document(*rows)).splitlines()
    assert "| transformers | a list of 16 clips of 30 s | 1 | 43 | 43× |" in lines
    assert not any(line.startswith("| drop-in |") for line in lines), "it is no front-end"


def test_the_picture_has_a_bar_for_each() -> None:
    rows = [measured_row(NAME, 16.0), measured_row("slow-peer/30s/80", 500.0)]
    [axes] = figure.figure(document(*rows)).axes
    assert [bar.get_width() for bar in axes.patches] == [1.0, 16.0, 500.0]
    assert axes.get_yticklabels()[0].get_text() == "whisper-mel"
    assert [text.get_text() for text in axes.texts] == ["1", "16 (16×)", "500 (500×)"]
    [axes] = figure.figure(document()).axes
    assert not axes.patches
