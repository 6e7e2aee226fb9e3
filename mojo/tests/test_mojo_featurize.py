"""``whisper-mel featurize`` with Ray: killed at any time, no clip is lost, none is there twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from corpora import assert_complete, corpus, featurize, reasons, times, without_ray
from programs import interruptible, ran
from whisper_mel_mojo.corpus import engine, run
from whisper_mel_mojo.corpus.files import CorpusError
from whisper_mel_mojo.data import Features

pytestmark = pytest.mark.torch


def command(sources: Path, output: Path, shard: int = 6) -> list[str]:
    program = [sys.executable, "-m", "whisper_mel_mojo.featurize", str(sources), "-o", str(output)]
    return [*program, "--window", "2", "--shard", str(shard), "--cpus", "2"]


def environment(**more: str) -> dict[str, str]:
    return {name: it for name, it in os.environ.items() if name != "RAY_ADDRESS"} | more


@contextmanager
def endless(sources: Path, output: Path) -> Iterator[subprocess.Popen[str]]:
    """The program with shards of one clip, one of which takes for ever: so it does not end before
    it is ended, however busy the machine is. Afterwards that clip is gone.
    """
    endless = sources / "endless.flac"
    endless.write_text("for ever")
    (output.parent / "soundfile.py").write_text(DECODER)
    pipe = subprocess.PIPE
    options: dict[str, Any] = {"stdout": pipe, "stderr": pipe, "text": True}
    options["env"] = environment(PYTHONPATH=str(output.parent))
    with interruptible():
        words = command(sources, output, 1)
        process = subprocess.Popen(words, start_new_session=True, **options)
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    endless.unlink()


def wait_for(condition: Any, process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, "it ended before"
        time.sleep(0.005)


def made(output: Path) -> int:
    return len(list((output / "reports").glob("*.json")))


# A decoder that aborts its process, or takes for ever, at files that begin with such a word.
DECODER = """
import importlib.machinery, importlib.util, os, sys, time

here = os.path.dirname(os.path.abspath(__file__))
paths = [path for path in sys.path if os.path.abspath(path or ".") != here]
spec = importlib.machinery.PathFinder.find_spec("soundfile", paths)
real = importlib.util.module_from_spec(spec)
spec.loader.exec_module(real)
LibsndfileError = real.LibsndfileError

def SoundFile(file):
    word = file.read(6)
    if word == b"deadly":
        os.abort()
    while word == b"for ev":
        time.sleep(1)
    file.seek(0)
    return real.SoundFile(file)
"""


def test_an_interrupted_run_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By Ray first, in this process then: to start Ray takes most of the time."""
    sources, output = corpus(tmp_path / "sources", 38), tmp_path / "out"
    with endless(sources, output) as process:
        wait_for(lambda: made(output) >= 5, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=1800)
    assert process.returncode == 130
    assert not out
    assert "featurize: interrupted; the same command continues\n" in err
    assert "Traceback" not in err
    before = times(output)
    without_ray(monkeypatch)
    assert featurize(sources, output) == 0
    said = f"39 clips in {output} (41 rows), 1 skipped, 1 files not heard, 0 notes (skipped.jsonl)"
    printed = capsys.readouterr()
    assert printed.out == f"{said}\n"
    assert "40/40" in printed.err, "progress"
    assert_complete(sources, output)
    now = times(output)
    assert all(now[it] == before[it] for it in before if it.endswith("json")), "not computed again"
    monkeypatch.setattr(run, "make_shards", None)  # there is nothing to do
    assert featurize(sources, output) == 0
    assert times(output) == now


@pytest.mark.filterwarnings("ignore:.use_:DeprecationWarning")  # of Ray, by Ray
@pytest.mark.parametrize(
    ("failures", "message", "starts"),
    [
        (2, "node timed out during startup", 3),
        (9, "node timed out during startup", 5),
        (9, "no such address", 1),
    ],
)
def test_ray_may_be_slow_to_start(
    monkeypatch: pytest.MonkeyPatch, failures: int, message: str, starts: int
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    outcomes = [*(failures * [RuntimeError(message)]), None]
    init = Mock(side_effect=outcomes)
    monkeypatch.setattr(engine.ray, "init", init)
    monkeypatch.setattr(engine.ray, "cluster_resources", lambda: {"CPU": 2.0})
    if failures > 2:
        with pytest.raises(CorpusError, match=message), engine.running_ray(2):
            pass
    else:
        with engine.running_ray(2) as cpus:
            assert cpus == 2
    assert init.call_count == starts
    assert init.call_args.kwargs["address"] == "local"
    assert init.call_args.kwargs["num_cpus"] == 2


@pytest.mark.filterwarnings("ignore:.use_:DeprecationWarning")  # of Ray, by Ray
def test_a_command_line_that_ray_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(engine.ray, "init", lambda **_: "\udce9".encode())
    with pytest.raises(CorpusError, match="name a folder above"), engine.running_ray(2):
        pass


@pytest.mark.filterwarnings("ignore:.use_:DeprecationWarning")  # of Ray, by Ray
def test_what_ray_reports_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.ray, "init", Mock())
    monkeypatch.setattr(engine.ray, "cluster_resources", lambda: {"CPU": 2.0})
    with pytest.raises(CorpusError, match=r"^Ray failed: the node died$"), engine.running_ray(2):
        raise engine.ray.exceptions.RayError("the node died\nand much more")


# --------------------------------------------------------------------------- what dies


def workers(root: int) -> list[int]:
    """Ray's processes that compute, of those that a process has started."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            parents[int(place.name)] = int(fields[1]), (place / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended

    def is_ours(process: int) -> bool:
        while process in parents and process != root:
            process = parents[process][0]
        return process == root

    return [it for it, (_, name) in parents.items() if b"make_shard" in name and is_ours(it)]


@pytest.mark.nightly
def test_killed_workers_and_a_killed_run(tmp_path: Path) -> None:
    sources, output = corpus(tmp_path / "sources", 100), tmp_path / "out"

    def kill_a_worker() -> bool:
        found = workers(process.pid) if made(output) >= 5 else []
        if found:
            os.kill(found[0], signal.SIGKILL)
        return bool(found)

    with endless(sources, output) as process:
        wait_for(kill_a_worker, process)
        enough = min(made(output) + 40, 100)  # of 102
        wait_for(lambda: made(output) >= enough, process)  # then it is killed, too
    before = times(output)
    done = ran(command(sources, output, 1), env=environment())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"101 clips in {output} (103 rows), 1 skipped")
    assert_complete(sources, output)
    now = times(output)
    assert all(now[it] == before[it] for it in before if it.endswith("json")), "not computed again"


@pytest.mark.nightly
def test_a_clip_that_kills_whoever_reads_it_costs_itself(tmp_path: Path) -> None:
    """As a file does that crashes a decoder, or takes more memory than there is."""
    sources, output = corpus(tmp_path / "sources", 10), tmp_path / "out"
    (sources / "deadly.flac").write_text("deadly")
    (tmp_path / "soundfile.py").write_text(DECODER)
    done = ran(command(sources, output), env=environment(PYTHONPATH=str(tmp_path)))
    assert done.returncode == 0, done.stderr
    said = reasons(output)
    assert said.keys() == {"corrupt.wav", "deadly.flac"}
    assert said["deadly.flac"].startswith("the process that computed it died")
    assert len(Features(output)) == 10 + 3
    (sources / "deadly.flac").unlink()
    assert featurize(sources, output) == 0
    assert_complete(sources, output)


# --------------------------------------------------------------------------- several machines

CLUSTER = """
import os, sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
cluster.add_node(num_cpus=1)
cluster.wait_for_nodes()
os.environ["RAY_ADDRESS"] = cluster.address
from whisper_mel_mojo.featurize import main

status = main(sys.argv[1:])
cluster.shutdown()
sys.exit(status)
"""


@pytest.mark.nightly
def test_two_nodes(tmp_path: Path) -> None:
    """Of a cluster on this machine: the one that has a CPU works for the one that has none."""
    sources, output = corpus(tmp_path / "sources", 40), tmp_path / "out"
    arguments = [*command(sources, output, 2)[3:], "--stats"]
    done = ran([sys.executable, "-c", CLUSTER, *arguments], env=environment())
    assert done.returncode == 0, done.stderr
    assert "on 1 CPU:" in done.stdout
    assert_complete(sources, output)
