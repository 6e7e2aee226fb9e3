"""The public matrix: what its adapters share, and what is declared of them."""

from __future__ import annotations

import json
import math
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import whisper_mel_conformance.peers
from programs import ran
from running import CORRECT, QUIRKS
from whisper_mel_conformance.cases.catalogue import all_cases
from whisper_mel_conformance.frontend import load
from whisper_mel_conformance.frontend.command import CommandFrontEnd
from whisper_mel_conformance.frontend.load import peers
from whisper_mel_conformance.run.judge import Judge
from whisper_mel_conformance.run.known import KnownFailure, of_peers, read
from whisper_mel_conformance.run.run import Run
from whisper_mel_conformance.run.setup import prepare

JAVASCRIPT = Path(whisper_mel_conformance.peers.__file__).with_name("transformers_js")


def test_light_peers_are_peers() -> None:
    light = {"faster-whisper", "kaldi-native-fbank", "librosa", "onnx-asr", "transformers"}
    assert {*light, "whisper-cpp"} == set(peers("light")) < set(peers())
    assert peers("none") == []


def test_an_adapter_is_a_peer_by_its_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is the file's; what defines no ``front_end`` helps others."""
    (tmp_path / "heavy_peer.py").write_text("front_end = object()\n")
    (tmp_path / "light_peer.py").write_text("LIGHT = True\nfront_end = object()\n")
    (tmp_path / "light_peer.toml").write_text("front_end = 1\n")
    (tmp_path / "helper.py").write_text("LIGHT = True\nother_front_end = 1\n")
    (tmp_path / "in_a_folder").mkdir()
    (tmp_path / "in_a_folder" / "__init__.py").write_text("front_end = object()\n")
    (tmp_path / "node_modules").mkdir()
    monkeypatch.setattr(load, "PEERS", tmp_path)
    for cached in (load._adapters, load.registered):
        cached.cache_clear()
    try:
        assert peers() == ["heavy-peer", "in-a-folder", "light-peer"]
        assert peers("light") == ["light-peer"]
        entry = load.registered()["heavy-peer"]
        assert entry.value == "whisper_mel_conformance.peers.heavy_peer:front_end"
        assert "mojo-cpu" in load.registered()
    finally:
        for cached in (load._adapters, load.registered):
            cached.cache_clear()


# --------------------------------------------------------------------------- known failures


DECLARATION = """front-end = "{name}"
[[failure]]
since = 2026-11-25
version = "1"
mechanism = "m"
link = "https://example.org"
{fields}
"""


def _judged(folder: Path, source: str, fields: str) -> tuple[list[str], list[str]]:
    """How two cases end with a declaration of them, and what is wrong with the run."""
    path = folder / "known.toml"
    name = source.removeprefix(f"{QUIRKS}:")  # a quirk has a name of its own, a function has none
    path.write_text(DECLARATION.format(name=name, fields=fields))
    judge = Judge(prepare([source], known_files=[path]))
    run = Run(judge.setup)
    for case in all_cases("quick"):
        if case.id in CASES:
            run.add(judge.judge(judge.front_ends[0], case))
    judge.stop()
    return [result.status for result in run.results], run.problems()


CASES = ("numerics/rising-noise/80", "numerics/silence/80")
BOTH = f"cases = {json.dumps(CASES)}"


def test_some_cases_of_a_declaration_may_pass_but_not_all(tmp_path: Path) -> None:
    faulty = f"{QUIRKS}:symmetric-window"  # silence is silence
    assert _judged(tmp_path, faulty, f"{BOTH}\nsome = true") == (["known", "passed"], [])
    assert _judged(tmp_path, faulty, BOTH)[0] == ["known", "failed"]
    assert _judged(tmp_path, faulty, f'cases = ["{CASES[1]}"]')[0] == ["failed", "failed"]
    right = f"{CORRECT}:right"
    statuses, problems = _judged(tmp_path, right, f"{BOTH}\nsome = true")
    assert statuses == ["passed", "passed"]
    assert "all of them pass" in " ".join(problems)
    assert _judged(tmp_path, right, f'{BOTH}\nexcept = ["numerics/*/80"]')[0] == statuses
    for pattern in (
        '"numerics/nonesuch"]',
        f'{json.dumps(CASES[0])}]\nexcept = ["*/80", "nonesuch"]',
    ):
        _, problems = _judged(tmp_path, right, f"cases = [{pattern}")
        assert "nonesuch' matches no case" in " ".join(problems)


def test_a_failure_worse_than_declared_is_one(tmp_path: Path) -> None:
    faulty = f"{QUIRKS}:symmetric-window"
    for worst, status in ((1e9, "known"), (5.0, "failed")):
        fields = f"{BOTH}\nsome = true\nworst = {worst}"
        assert _judged(tmp_path, faulty, fields)[0] == [status, "passed"]


@pytest.mark.parametrize(
    ("part", "other", "message"),
    [
        ("since", 'worst = "much"\nsince', "worst='much': expected a score above 0"),
        ("since", "worst = 0\nsince", "worst=0: expected"),
        ("since", "worst = nan\nsince", "worst=nan: expected"),
        ("since", "some = 1\nsince", "some=1: expected true or false"),
        ("2026-11-25", '"soon"', "since='soon': expected a date"),
        ("2026-11-25", "2026-11-25T10:00:00", "since=.*: expected a date"),
        ("since = 2026-11-25\n", "", "expected .*since"),
        ("since", 'except = "numerics/*"\nsince', "except='numerics/.*': expected a list"),
        ("since", "except = [3]\nsince", "except=.3.: expected a list"),
        ("[[failure]]", "failure = [1]\n[failures]", "expected front-end"),
        ('"name"', '"\udcff"', "utf-8"),
        ('"name"', "3", "expected front-end"),
        ("[[failure]]", "x", "line 2"),
    ],
)
def test_a_declaration_is_checked(tmp_path: Path, part: str, other: str, message: str) -> None:
    text = DECLARATION.format(name="name", fields=BOTH)
    assert part in text
    changed = text.replace(part, other).encode("utf-8", "surrogateescape")
    (tmp_path / "known.toml").write_bytes(changed)
    with pytest.raises(ValueError, match=rf"known\.toml: .*{message}"):
        read(tmp_path / "known.toml")


# --------------------------------------------------------------------------- programs


PROGRAM = """
import json, sys, time
import numpy as np
for line in sys.stdin:
    asked = json.loads(line)
    audio = np.fromfile(asked["in"], "<f4")
    np.full((1, 1), audio[0], "<f4").tofile(asked["out"])
    time.sleep(0.02)
    print(json.dumps({"shape": [1, 1]}), flush=True)
"""


@pytest.mark.slow
def test_threads_that_ask_one_program_get_their_own_answers(tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text(PROGRAM)
    front_end = CommandFrontEnd(f"{sys.executable} {tmp_path / 'prog.py'}")
    clips = [np.full(4, i, np.float32) for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(front_end.log_mel, clips))
    front_end.close()
    assert [answer.item() for answer in answers] == list(range(16))


STUB = """
export class WhisperFeatureExtractor {
  constructor(config) { this.config = config; }
  async _call(audio, { max_length }) {
    if (audio.length < 2) throw new Error("too short");
    const data = new Float32Array([this.config.feature_size, max_length, audio[1]]);
    return { input_features: { data, dims: [1, 3, 1] } };
  }
}
"""


@pytest.mark.slow
def test_the_javascript_program_serves(tmp_path: Path) -> None:
    """With a stand-in for transformers.js; the peer itself is judged by the matrix."""
    if not shutil.which("node"):
        pytest.skip("there is no program node")
    package = tmp_path / "node_modules" / "@huggingface" / "transformers"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"type": "module", "exports": "./index.mjs"}')
    callable_stub = STUB + "const Class = WhisperFeatureExtractor;\n"
    (package / "index.mjs").write_text(
        callable_stub.replace("export class", "class") + "function Callable(config) {\n"
        "  const it = new Class(config);\n"
        "  return (audio, options) => it._call(audio, options);\n"
        "}\n"
        "export { Callable as WhisperFeatureExtractor };\n"
    )
    shutil.copy(JAVASCRIPT / "front_end.mjs", tmp_path)
    front_end = CommandFrontEnd(f"node {tmp_path / 'front_end.mjs'}")
    audio = np.array([0.0, 0.25, 0.5], np.float32)
    assert front_end.log_mel(audio, 128).ravel().tolist() == [128.0, 3.0, 0.25]
    assert front_end.log_mel(audio, 80, pad_to=400).ravel().tolist() == [80.0, 400.0, 0.25]
    with pytest.raises(ValueError, match="too short"):
        front_end.log_mel(audio[:1])
    with pytest.raises(NotImplementedError, match="no smoothing"):
        front_end.log_mel(audio, smoothing="same")
    front_end.close()


@pytest.mark.slow
def test_the_javascript_peer_says_what_it_lacks(tmp_path: Path) -> None:
    """As a front-end that is not available, not as an error of the run."""
    copy = shutil.copytree(
        JAVASCRIPT, tmp_path / "js_peer", ignore=shutil.ignore_patterns("node_modules")
    )
    for path, words in (("/nonexistent", "no program node"), (_with_node(tmp_path), "npm ci")):
        done = ran(
            [
                sys.executable,
                "-c",
                f"import sys; sys.path[:0] = [{str(copy.parent)!r}]\nimport js_peer",
            ],
            env={"PATH": path},
        )
        assert done.returncode == 1
        assert "ImportError" in done.stderr
        assert words in done.stderr


def _with_node(folder: Path) -> str:
    """A PATH with a program of that name."""
    (folder / "node").write_text("#!/bin/sh\n")
    (folder / "node").chmod(0o755)
    return str(folder)


def test_the_javascript_lock_is_hashed_and_without_address() -> None:
    text = (JAVASCRIPT / "package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]
    wanted = json.loads((JAVASCRIPT / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert packages[""]["dependencies"] == wanted
    assert len(packages) > 10
    assert all("integrity" in package for name, package in packages.items() if name)
    assert not {"resolved"} & {key for package in packages.values() for key in package}


def test_what_is_declared_of_an_adapter_is_of_it_alone() -> None:
    [entry] = [entry for entry in of_peers() if entry.front_end == "librosa"]
    assert entry.is_about("librosa", "librosa")
    assert entry.is_about("another name", "librosa")
    assert not entry.is_about("librosa", "mine.py:f")
    assert not entry.is_about("lhotse", "lhotse")
    assert not replace(entry, front_end="mine").is_about("mine", "mine")  # no adapter of the suite


@pytest.mark.parametrize("value", ["9" * 6000, "[" * 100_000 + "]" * 100_000])
def test_a_declaration_that_no_parser_takes_is_said(tmp_path: Path, value: str) -> None:
    path = tmp_path / "known.toml"
    path.write_text(f'front-end = "f"\n[[failure]]\ncases = {value}\n')
    with pytest.raises(ValueError, match=f"^{path}: "):
        read(path)


@pytest.mark.parametrize("worst", [0.5, math.inf])
def test_a_declaration_travels_as_plain_data(worst: float) -> None:
    """To the processes of pytest-xdist, which judge."""
    entry = replace(of_peers()[0], exceptions=("a/*",), worst=worst)
    assert KnownFailure.of_json(json.loads(json.dumps(entry.as_json()))) == entry


def test_a_declared_score_may_be_any_above_zero(tmp_path: Path) -> None:
    text = 'front-end = "f"\n[[failure]]\ncases = ["a/*"]\nsince = 2026-11-28\nmechanism = "m"\n'
    path = tmp_path / "known.toml"
    path.write_text(f"{text}worst = 0.5\n")
    [entry] = read(path)
    assert entry.declares("a/b", 0.5)
    assert not entry.declares("a/b", 0.6)
