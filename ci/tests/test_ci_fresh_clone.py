"""Every task of ./dev, from a fresh clone: none asks for less of the environment than it needs.

Slow, and it needs a network: each layer is made anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkout.paths import ROOT
from tasks import LAYERS, TASKS, walk

# A short call of every task and subtask, with the exit status that it has where nothing is wrong
# and no GPU is there; in the order of the layers, so that none finds what another's call has made.
CALLS: dict[str, list[tuple[str, str, int]]] = {
    "default": [
        ("env", "env", 0),
        ("check", "check --help", 0),  # its lint and its tests run by themselves, below
        ("lint", "lint", 0),
        ("test", "test reference -q", 0),
        ("conformance", "conformance --quiet -k click-first", 0),
        ("conformance report", "conformance report report --output report/again", 0),
        ("conformance repro", "conformance repro nowhere", 2),
        ("repro", "repro nowhere", 2),
        ("golden list", "golden list", 0),
        ("golden verify", "golden verify", 0),
        ("golden vectors", "golden vectors dist", 0),
        ("docs", "docs --check", 0),
        ("bench instructions", "bench instructions", 0),
        ("mutants", "mutants -k symmetric-window", 0),
        ("mutants", "mutants --kernel -k gpu-worker-ignored", 0),
        ("sanitize address", "sanitize address", 0),
        ("sanitize thread", "sanitize thread", 0),
        ("sanitize valgrind", "sanitize valgrind", 0),
        ("sanitize arm", "sanitize arm", 0),
        ("sanitize riscv", "sanitize riscv", 0),
        ("sanitize guard", "sanitize guard", 0),
        ("sanitize network", "sanitize network", 0),
        ("sanitize all", "sanitize all --help", 0),
        ("gpu record", "gpu record nowhere.json", 1),
        ("build wheels", "build wheels reference golden conformance", 0),
        ("build wheels", "build wheels --accelerator none", 0),
        ("build c", "build c", 0),
        ("build vectors", "build vectors", 0),
        ("build sbom", "build sbom", 0),
        ("build rehearse", "build rehearse", 0),
        ("worst", "worst librosa --steps 2", 0),
        ("build publish", "build publish v0", 2),
        ("system", "system --help", 0),  # would install programs
        ("lock", "lock --help", 0),  # would ask an index
        ("lock pixi", "lock pixi --help", 0),
    ],
    "test": [
        ("env test", "env test", 0),
        ("build", "build", 0),
        ("docs", "docs", 0),
        ("golden make", "golden make click-first", 0),
        ("golden voxtral", "golden voxtral --help", 0),  # writes the goldens anew
        ("golden calibrate", "golden calibrate --help", 0),  # takes hours
        ("golden variants", "golden variants --help", 0),  # takes minutes, as the next does
        ("golden models", "golden models --help", 0),
        ("bench", "bench --only librosa/1s/* --seconds 0.1", 0),
        ("compare", "compare golden/whisper_mel_golden/data/speech/cards.wav --seconds 0.1", 0),
        ("conformance", "conformance --quiet -k click-first --frontend openai-whisper", 0),
        ("conformance", "conformance --quiet -k click-first --frontend mojo-max --timeout 300", 0),
        ("gpu compile", "gpu compile sm_75", 0),
        ("gpu execute", "gpu execute --target sm_80", 0),
        ("gpu count", "gpu count sm_80", 0),
        ("gpu mutants", "gpu mutants --help", 0),  # takes a quarter of an hour
        ("gpu driver", "gpu driver -q", 0),
        ("gpu reproduce", "gpu reproduce -q", 0),
        ("gpu bundle", "gpu bundle --target sm_90a --bare", 0),
    ],
    "peers": [("env peers", "env peers", 0)],
    "cuda": [
        ("env cuda", "env cuda", 0),
        ("gpu run", "gpu run --only values", 3),
        ("sanitize memcheck", "sanitize memcheck", 3),
        ("sanitize racecheck", "sanitize racecheck", 3),
        ("sanitize initcheck", "sanitize initcheck", 3),
        ("sanitize synccheck", "sanitize synccheck", 3),
        ("sanitize schedules", "sanitize schedules --help", 0),  # takes minutes
    ],
    "site": [("env site", "env site", 0), ("docs", "docs --site", 0)],
}


def test_every_task_is_called() -> None:
    called = {name for calls in CALLS.values() for name, _, _ in calls}
    assert {name for name, task in walk(TASKS) if task.alone or not task.subtasks} == called


@pytest.fixture(scope="module", params=CALLS)
def clone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone for each layer, with nothing but what is committed."""
    folder = tmp_path_factory.mktemp(str(request.param)) / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return folder


@pytest.mark.nightly
def test_each_task_runs_in_the_layers_that_it_asks_for(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = clone.parent.name[:-1]
    failed = []
    for name, call, status in CALLS[layer]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("WHISPER_MEL_")}
        command = [sys.executable, str(clone / "dev"), *call.split()]
        done = subprocess.run(
            command, cwd=clone, env=environment, capture_output=True, text=True, timeout=3600
        )
        if done.returncode != status or "ModuleNotFoundError" in done.stdout + done.stderr:
            failed.append(
                f"{name}: {call}: {done.returncode}\n{done.stdout}\n{done.stderr}"[-3000:]
            )
        if (clone / ".venv" / "dev.json").exists():
            made = (clone / ".venv" / "dev.json").read_text()
            beyond = [it for it in LAYERS if it not in LAYERS[layer] and f'"{it}"' in made]
            assert not beyond, f"{call} has made {beyond}"
    assert not failed, "\n".join(failed)
