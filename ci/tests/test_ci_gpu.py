"""What runs where there is a GPU, piece by piece, without one."""

from __future__ import annotations

import ast
import json
import math
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from docs.gpu import NOTHING
from docs.gpu import section as shown
from gpu import device, keeping
from gpu.device import cli, libraries, record, run_section
from gpu.device.plan import FAILED, NOT_RUN, PASSED, SECTIONS, Found, NotHere, Section
from gpu.device.sections import counters, launches, sanitizers, timing, tuning
from gpu.device.sections import peers as peers_module
from gpu.pack import extras
from whisper_mel_conformance.peers import leave_out_torchaudio_library
from whisper_mel_reference import CLASS_A, WHISPER, score

# --------------------------------------------------------------------------- sections


def raising(error: Exception) -> Callable[..., dict[str, Any]]:
    def run(*options: str) -> dict[str, Any]:
        raise error

    return run


@pytest.mark.parametrize(
    ("run", "status", "finding"),
    [
        (lambda: {"calls": 3}, PASSED, ""),
        (dict, FAILED, "nothing was observed"),
        (raising(NotHere("no tool")), NOT_RUN, "no tool"),
        (raising(Found(["race", "overrun"], {"calls": 3})), FAILED, "race"),
        (raising(OSError("disk")), FAILED, "OSError: disk"),
    ],
)
def test_how_a_section_ends(
    run: Callable[..., Any], status: str, finding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("gpu.device.sections.stand_in")
    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gpu.device.sections.stand_in", module)
    monkeypatch.setitem(SECTIONS, "stand-in", Section("stand-in", "", "stand_in", 1))
    ended = run_section.outcome("stand-in")
    assert (ended["status"], ended["findings"][:1]) == (status, [finding] if finding else [])


def test_every_section_has_its_module() -> None:
    for it in SECTIONS.values():
        assert (Path(sanitizers.__file__).parent / f"{it.module}.py").exists(), it.name
    tools = [it.options[0] for it in SECTIONS.values() if it.module == "sanitizers"]
    assert sorted(tools) == sorted(sanitizers.TOOLS)


def test_what_travels_needs_nothing_that_stays() -> None:
    """To be loaded, the modules of ``device`` need NumPy, our packages and each other."""
    known = {"numpy", "whisper_mel_mojo", "whisper_mel_reference", *sys.stdlib_module_names}
    modules = list(Path(device.__file__).parent.rglob("*.py"))
    assert len(modules) > len(SECTIONS)
    for path in modules:
        for node in ast.parse(path.read_text()).body:
            needed = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            needed += [it.name for it in node.names] if isinstance(node, ast.Import) else []
            for name in needed:
                travels = name == "gpu.device" or name.startswith("gpu.device.")
                assert travels or name.partition(".")[0] in known, f"{path}: {name}"


@pytest.mark.slow
def test_a_section_that_crashes_or_hangs_loses_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "sections").mkdir()
    broken = Section("no such name", "", "values", 900)  # its process ends without a result
    slow = Section("values", "", "values", 0)
    real = Section("values", "", "values", 900)
    crashed, hung, fine = (cli.run_one(it, tmp_path, None) for it in (broken, slow, real))
    assert crashed["status"] == FAILED
    assert "the process ended with status 1; it said: …" in crashed["findings"][0]
    assert hung["findings"][0].startswith("not finished within 0 s")
    assert fine["status"] == NOT_RUN
    assert "there is no CUDA device" in fine["findings"][0]


@pytest.mark.slow
def test_what_does_not_fit_the_budget_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "LEAST", 1800.0)  # enough to begin, however busy the machine is
    (tmp_path / "sections").mkdir()
    late = cli.run_one(SECTIONS["values"], tmp_path, 1799.0)
    assert (late["status"], late["findings"]) == (NOT_RUN, ["no time: 1799 s are left"])
    cut = cli.run_one(Section("values", "", "values", 1800), tmp_path, cli.LEAST)
    assert cut["status"] == NOT_RUN  # begun, and found no device


def test_resuming_repeats_only_what_has_not_passed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sections").mkdir()
    ran = []

    def run_one(it: Section, folder: Path, left: float | None) -> dict[str, Any]:
        ran.append(it.name)
        return {"status": PASSED, "findings": [], "data": {"n": 1}, "seconds": 1.0}

    monkeypatch.setattr(cli, "run_one", run_one)
    for name, status in (("values", PASSED), ("timing", FAILED)):
        done = {"status": status, "findings": [], "data": {"n": 0}, "seconds": 1.0}
        run_section.write(cli.result_path(tmp_path, name), done)
    results = cli.run_all([SECTIONS["values"], SECTIONS["timing"]], tmp_path, None, True)
    assert ran == ["timing"]
    assert [results[name]["data"]["n"] for name in ("values", "timing")] == [0, 1]


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        ([PASSED, PASSED], 0),
        ([PASSED, FAILED, NOT_RUN], 1),
        ([PASSED, NOT_RUN], 3),
        ([NOT_RUN], 3),
        ([], 1),
    ],
)
def test_exit_status(statuses: list[str], status: int) -> None:
    assert cli.exit_status(statuses) == status


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--only", "tuning,racing"], "no section 'racing'"), (["--budget", "0"], "positive")],
)
def test_wrong_usage(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        cli.main(words)
    assert ending.value.code == 2
    assert message in capsys.readouterr().err


# --------------------------------------------------------------------------- sanitizers

STAND_IN = """#!/bin/sh
# A stand-in for compute-sanitizer: says what it is told of planted faults and of the kernel itself.
case "$WHISPER_MEL_LAUNCH_LIBRARY$*" in
  */planted.so*|*unwritten) echo "$PLANTED"; exit "$PLANTED_STATUS";;
  *) echo "$CLEAN"; exit "$CLEAN_STATUS";;
esac
"""
FINDING = "========= Invalid __global__ write of size 4 bytes"


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    program = tmp_path / "compute-sanitizer"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)  # as a section, in the folder of its results
    monkeypatch.setattr(sanitizers, "device", lambda: None)
    monkeypatch.setattr(sanitizers, "library", lambda kind, name: Path("/planted.so"))
    calls = f"calls executed: {len(sanitizers.SETS['values'])}"
    for name, value in {
        "PLANTED": FINDING,
        "PLANTED_STATUS": "86",
        "CLEAN": f"{calls}\n========= ERROR SUMMARY: 0 errors",
        "CLEAN_STATUS": "0",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_a_clean_lane(stand_in: pytest.MonkeyPatch) -> None:
    assert sanitizers.run("memcheck")["calls"] == len(sanitizers.SETS["values"])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PLANTED", "========= ERROR SUMMARY: 0 errors", "the planted fault is missed"),
        ("PLANTED_STATUS", "0", "the planted fault is missed"),
        ("CLEAN", f"{FINDING}\n", "Invalid __global__ write"),
        ("CLEAN_STATUS", "86", "exit status 86"),
        ("CLEAN", "========= ERROR SUMMARY: 0 errors", "not all was executed: nothing"),
        ("CLEAN", "calls executed: 1\nERROR SUMMARY: 0 errors", "not all was executed"),
    ],
)
def test_a_lane_that_must_fail(
    name: str, value: str, message: str, stand_in: pytest.MonkeyPatch
) -> None:
    stand_in.setenv(name, value)
    with pytest.raises(Found) as found:
        sanitizers.run("memcheck")
    assert message in "\n".join(found.value.findings)


def test_every_planted_fault_applies_to_the_kernel() -> None:
    for control in extras.CONTROLS.values():
        assert control.source() != control.new
    assert {tool.control for tool in sanitizers.TOOLS.values()} == {None, *extras.CONTROLS}


def test_without_compute_sanitizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sanitizers, "device", lambda: None)
    monkeypatch.setattr(sanitizers, "PLACES", ())
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NotHere, match="compute-sanitizer is not installed"):
        sanitizers.run("memcheck")


# --------------------------------------------------------------------------- counting


def event(name: str, device: str = "DeviceType.CUDA") -> types.SimpleNamespace:
    took = types.SimpleNamespace(elapsed_us=lambda: 7.5)
    return types.SimpleNamespace(name=name, device_type=device, time_range=took)


def test_what_a_profiler_saw_is_sorted_out() -> None:
    events = [
        event("mel_kernel_80"),
        event("Memcpy DtoD (Device -> Device)"),
        event("Memset (Device)"),
        event("aten::add", "DeviceType.CPU"),
        event("cudaLaunchKernel"),
    ]
    assert launches.sorted_out(events) == (1, 1, 1, 7.5)


@pytest.mark.parametrize(
    ("seen", "error", "message"),
    [
        (launches.Counts(0, 0, 0, 0.0), NotHere, "sees nothing"),
        (launches.Counts(2, 0, 0, 9.0), Found, "planted: two kernels and a copy"),
    ],
)
def test_a_profiler_that_misses_what_is_planted(
    seen: launches.Counts,
    error: type[Exception],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launches, "counted", lambda torch, call: seen)
    tensor = types.SimpleNamespace(add_=abs, mul_=abs, copy_=id)
    torch = types.SimpleNamespace(ones=lambda *a, **k: tensor, empty_like=lambda it: tensor)
    with pytest.raises(error, match=message):
        launches.control(torch)


NCU = """==PROF== Connected to process 7
"ID","Kernel Name","gpu__time_duration.sum","dram__bytes_read.sum","dram__bytes_write.sum"
"","","ns","byte","byte"
"0","mel_kernel","512,000","491,520,000","245,760,000"
"""


def test_counters_are_read() -> None:
    [row] = counters.read(NCU)
    assert row == {"time": 512_000.0, "dram_read": 491_520_000.0, "dram_written": 245_760_000.0}
    assert counters.read("==ERROR== ERR_NVGPUCTRPERM") == []


# --------------------------------------------------------------------------- timing


def test_rounds_alternate_and_ratios_are_to_ours() -> None:
    order: list[str] = []

    def side(name: str) -> timing.Side:
        return lambda i: order.append(name)

    cost = {timing.OURS: 2.0, "peer": 30.0}

    def clock(work: Callable[[], object]) -> float:
        before = len(order)
        work()
        return sum(cost[name] for name in order[before:])

    times = timing.alternate({name: side(name) for name in cost}, clock, 5)
    assert times == {timing.OURS: [2.0] * 5, "peer": [30.0] * 5}
    summary = timing.summarised(times, 4, {timing.OURS: 0.3, "peer": math.inf})
    assert (summary["peer"]["ratio"], summary["peer"]["score"]) == (15.0, None)
    assert summary[timing.OURS]["us_per_clip"] == 500.0


def row(batch: int, graph_ms: float, **sides: float) -> dict[str, Any]:
    times = timing.summarised({timing.OURS: [1.0] * 3}, batch, {timing.OURS: 0.3})
    for name, ratio in sides.items():
        key = name.replace("_", "-")
        rounds = {timing.OURS: [1.0] * 3, key: [ratio] * 3}
        times[key] = timing.summarised(rounds, batch, {timing.OURS: 0.3, key: 0.5})[key]
    made = {
        "n_mels": 80,
        "dtype": "float32",
        "batch": batch,
        "seconds": 30.0,
        "sides": times,
        "graph_ms": graph_ms,
    }
    timing.add_shares(made, COPIED)
    return made


COPIED = 2.88e9
"""Bytes a millisecond: a clip of 30 s and its features in a microsecond."""


def test_goals_are_judged_where_they_were_set() -> None:
    rows = [row(1, 0.026), row(256, 0.5, torch_stft=25.0, openai_whisper=19.0)]
    assert timing.goals("NVIDIA A100", rows) == []
    assert [goal["met"] for goal in timing.goals("NVIDIA H100 80GB HBM3", rows)] == [
        *(True, False),
        False,  # openai-whisper's own, where it is installed
    ]


def test_a_row_that_is_worthless() -> None:
    good = row(1, 0.02)
    assert timing.wrong(good) == []
    standing = {**good, "graph_ms": math.nan}
    assert "the clock stands still" in timing.wrong(standing)[0]
    good["sides"][timing.OURS]["score"] = 1.01
    assert "has score 1.01" in timing.wrong(good)[0]


@pytest.mark.parametrize(
    ("batch", "graph_ms", "refused"),
    [
        (256, 0.256, False),  # as fast as a copy
        (256, 0.206, False),
        (256, 0.204, True),
        (256, 0.0, True),
        (1, 0.001, False),
        (1, 0.00054, False),  # its features stay in a cache: the samples alone count
        (1, 0.00053, True),
    ],
)
def test_a_time_that_no_copy_reaches_is_refused(batch: int, graph_ms: float, refused: bool) -> None:
    made = row(batch, 1.0)
    made["graph_ms"] = graph_ms or math.nan
    timing.add_shares(made, COPIED)
    found = [line for line in timing.wrong(made) if "it cannot have computed" in line]
    assert bool(found) == refused
    if refused and graph_ms:
        assert "whisper-mel in a graph would move its bytes 1.2" in found[0]


def test_a_peer_that_is_faster_than_a_copy_is_refused() -> None:
    made = row(256, 0.5, flashmel=0.2)
    [finding] = timing.wrong(made)
    assert "flashmel would move its bytes 1.28 times as fast as a copy" in finding
    assert made["sides"]["flashmel"]["copy_share"] == pytest.approx(1.28)


def test_a_copys_bandwidth_is_of_the_bytes_read_and_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Cuda:
        def milliseconds(self, work: Callable[[], object]) -> float:
            work()
            return next(times)

        def copy(self, to: int, source: int, size: int) -> None:
            copied.append((to, source, size))

        def __getattr__(self, name: str) -> Any:  # fill, wait_for
            return lambda *arguments: None

    times = iter([9.0, *[4.0, 5.0, 8.0] * 5])
    copied: list[tuple[int, int, int]] = []
    memory = iter([types.SimpleNamespace(address=at) for at in (1000, 2000)])
    monkeypatch.setattr(timing, "Memory", lambda shape, dtype: next(memory))
    assert timing.copy_bytes_per_ms(Cuda()) == 2 * (256 << 20) / 4.0  # type: ignore[arg-type]
    assert set(copied) == {(2000, 1000, 256 << 20)}


@pytest.mark.parametrize("name", sorted(peers_module.NOTES))
def test_peers_compute_what_they_are_timed_for(name: str) -> None:
    """On a CPU, where that is possible: their features are as good as openai-whisper's."""
    torch = pytest.importorskip("torch", reason="in the layer `test`")
    leave_out_torchaudio_library()
    if name == "torch-compiled":
        pytest.skip("compiling takes long; it is torch-stft, which is judged")
    try:
        peer = peers_module._MAKERS[name](128, "cpu")
    except ImportError as error:
        pytest.skip(str(error))
    audio = 0.1 * np.random.default_rng(3).standard_normal((1, 16_000)).astype(np.float32)
    given = audio if name in peers_module.ON_HOST else torch.from_numpy(audio)
    features = timing.features_of(peer(given))
    # torchaudio computes its filterbank in float32 (docs/findings.md)
    limit = 10.0 if name == "torchaudio" else CLASS_A
    assert score(features[0], audio[0], WHISPER.replace(n_mels=128)) <= limit


def test_a_peer_that_cannot_be_made_keeps_only_itself_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(n_mels: int, device: str) -> Any:
        raise RuntimeError("CUDA driver too old")

    makers = {"broken": broken, "fine": lambda n_mels, device: abs}
    monkeypatch.setattr(peers_module, "_MAKERS", makers)
    found = peers_module.peers(80, "cuda")
    assert found == {"broken": "RuntimeError: CUDA driver too old", "fine": abs}


# --------------------------------------------------------------------------- tuning


def mapping(ms: float, digest: str = "a", *findings: str) -> dict[str, Any]:
    return {"digests": {"30 s": digest}, "findings": list(findings), "graph_ms": {"1 x 80": ms}}


def test_the_best_mapping_is_a_right_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = {"as-shipped": mapping(2.0), "fast": mapping(1.5), "wrong": mapping(1.0, "a", "no")}
    [best] = tuning.best_of(measured)
    assert (best["best"], best["ms"], best["shipped_ms"]) == ("fast", 1.5, 2.0)

    measured["fast"] = mapping(1.5, "b")
    monkeypatch.setattr(tuning, "device", lambda: None)
    monkeypatch.setattr(tuning, "names", lambda kind: ["fast", "as-shipped", "lost"])
    monkeypatch.setattr(tuning, "library", lambda kind, name: Path(name))
    lost = {"failed": "exit status -11"}
    monkeypatch.setattr(tuning, "in_a_process", lambda path, result: measured.get(path.name, lost))
    with pytest.raises(Found) as found:
        tuning.run()
    assert found.value.findings == [
        "fast: 30 s: other bits than as-shipped",
        "lost: exit status -11",
    ]
    assert found.value.data["best"][0]["best"] == "fast"


def test_the_mappings_that_a_device_can_have() -> None:
    assert list(extras.variants("sm_90a")) == list(extras.VARIANTS)
    assert list(extras.variants("sm_80")) == ["as-shipped"]
    assert extras.options_of("16-blocks") == ("-D", "KIND=0", "-D", "BLOCKS=16")


# --------------------------------------------------------------------------- records


def made(**changes: Any) -> dict[str, Any]:
    """A document as a run on a device leaves it; the numbers are invented."""
    timed = {"rows": [row(1, 0.02), row(256, 0.5, torch_stft=25.0)], "absent": {}, "notes": {}}
    timed["goals"] = timing.goals("H100", timed["rows"])  # type: ignore[arg-type]
    timed["forms"] = [{"form": "smoothed", "batch": 256, "graph_ms": 0.96}]
    variants = {"as-shipped": {"graph_ms": {"1 x 80": 0.02}}}
    variants["16-blocks"] = {"graph_ms": {"1 x 80": 0.015}}
    best = [{"case": "1 x 80", "best": "16-blocks", "ms": 0.015, "shipped_ms": 0.02}]
    done = {"status": PASSED, "findings": [], "seconds": 1.0}
    about = {"device": "NVIDIA H100 80GB HBM3", "why_no_device": None, "cuda": "13.0"}
    return {
        "format": 1,
        "created": "2026-11-25T00:00:00+00:00",
        "scale": "full",
        "bundle": {"commit": 40 * "a", "dirty": False},
        "environment": {**about, "clocks": {"driver": "580.1", "sm_mhz": "1980"}},
        "sections": {
            "timing": {**done, "data": timed},
            "tuning": {**done, "data": {"variants": variants, "best": best}},
            "racecheck": {
                "status": FAILED,
                "findings": ["hazard\nmore"],
                "seconds": 2.0,
                "data": {},
            },
        },
        **changes,
    }


def written(document: dict[str, Any], folder: Path) -> Path:
    path = folder / "gpu.json"
    path.write_text(json.dumps(document))
    return path


def test_a_run_is_kept_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MEASUREMENTS", tmp_path)
    assert shown(tmp_path) == NOTHING
    kept = keeping.keep(written(made(), tmp_path))
    kept.with_name("gpu.json").unlink()
    assert kept.name == "gpu-nvidia-h100-80gb-hbm3.json"
    text = shown(tmp_path)
    for words in (
        "### NVIDIA H100 80GB HBM3",
        "| 256, 80 bands, float32 | 1.95 | 51% | 3.91 | 97.7 (25×) |",
        "- µs per clip of 256: 1.95, wanted 2: met",
        "| smoothed | 3.75 |",
        "| as-shipped | 20 |",
        "| 16-blocks | **15** |",
        "racecheck failed",
    ):
        assert words in text, words


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": "rehearsal"}, "is a rehearsal: expected measurements"),
        ({"environment": {"device": None, "why_no_device": "no GPU"}}, "nothing was measured"),
        ({"bundle": {}}, "is not of a commit"),
        ({"bundle": {"commit": 40 * "a", "dirty": True}}, "is not of a commit"),
        ({"format": 2}, "is no gpu.json"),
        (
            {"sections": {"values": {"status": PASSED, "findings": [], "seconds": 1, "data": {}}}},
            "is no gpu.json",
        ),
    ],
)
def test_what_is_not_kept(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        keeping.keep(written(made(**changes), tmp_path))


def test_the_summary_names_every_section() -> None:
    lines = "\n".join(record.summary(made()))
    assert "racecheck    failed      2.0 s  hazard\n" in lines
    assert "timing       passed" in lines
    assert "nothing here is a measurement" in "\n".join(record.summary(made(scale="rehearsal")))


def test_libraries_of_a_device_that_is_not_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(libraries, "LIBRARIES", tmp_path)
    monkeypatch.setattr(libraries, "architecture", lambda: "sm_120a")
    with pytest.raises(NotHere, match="holds no controls for sm_120a"):
        libraries.library("controls", "race")
    assert libraries.names("variants") == []
