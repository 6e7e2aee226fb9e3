"""The vector set: what is in it, that its bytes stay the same, what its verifier rejects."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from programs import ran
from whisper_mel_golden import __main__, golden_cases, vectors
from whisper_mel_golden.store import fingerprint
from whisper_mel_reference import WHISPER, log_mel, score

pytestmark = [pytest.mark.compiles, pytest.mark.xdist_group("vectors")]

INPUTS = {"length-480", "length-1-padded", "noise-pcm-faint", "chirp"}
CASES = [case for case in golden_cases() if case.input_id in INPUTS]
COMPILER = [*shlex.split(os.environ.get("CC", "cc")), "-O2", "-std=c11", "-Wall", "-Wextra"]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The set of some inputs, unpacked, with its verifier compiled."""
    if not shutil.which(COMPILER[0]):
        pytest.skip(f"no C compiler {COMPILER[0]!r}")
    folder = tmp_path_factory.mktemp("vectors")
    with tarfile.open(vectors.pack(folder, CASES)) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # new Pythons
        archive.extractall(folder)
    (stem,) = folder.glob("whisper-mel-vectors-*/")
    command = [*COMPILER, "-Werror", "-o", "verify", "verify.c", "-lm"]
    subprocess.run(command, cwd=stem, check=True)
    return stem


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """openai-whisper's features of all cases, as a program would have written them."""
    for case in CASES:
        name = case.id.removeprefix("golden/").replace("/", "--")
        (tmp_path / f"{name}.f32").write_bytes(case.expected().astype("<f4").tobytes())
    return tmp_path


def verify(unpacked: Path, features: Path, *limit: str, cases: str | None = None) -> Any:
    listing = (unpacked / "cases.txt").read_text() if cases is None else cases
    command = ["./verify", str(features), *limit]
    return ran(command, cwd=unpacked, input=listing)


def test_the_manifest_says_what_is_there(unpacked: Path) -> None:
    manifest = json.loads((unpacked / "manifest.json").read_text())
    jsonschema.validate(manifest, json.loads((unpacked / "manifest.schema.json").read_text()))
    assert manifest["inputs"].keys() == INPUTS
    assert len(manifest["cases"]) == len(CASES) > 10
    for it in manifest["cases"].values():
        arrays = [manifest["inputs"][it["input"]], it["expected"], it["bound"]]
        audio, expected, bound = (np.load(unpacked / entry["file"]) for entry in arrays)
        for entry, array in zip(arrays, (audio, expected, bound), strict=True):
            assert fingerprint(array) == entry["sha256"]
            assert (unpacked / entry["file"]).stat().st_size == 128 + array.nbytes
        spec = WHISPER.replace(**{key: it[key] for key in ("n_mels", "pad_to", "smoothing")})
        assert list(expected.shape) == list(bound.shape) == it["shape"]
        assert np.abs(expected - log_mel(audio, spec)).max() <= vectors.STEP
        assert score(expected, audio, spec) <= 1 / 256
        assert bound.min() >= 256 * vectors.STEP


def test_the_list_for_shells_says_the_same(unpacked: Path) -> None:
    manifest = json.loads((unpacked / "manifest.json").read_text())
    for line in (unpacked / "cases.txt").read_text().splitlines():
        name, source, dtype, samples, n_mels, pad_to, smoothing, bands, frames = line.split()
        case = manifest["cases"].pop(name)
        assert (source, int(n_mels)) == (case["input"], case["n_mels"])
        assert (int(pad_to) or None, smoothing) == (case["pad_to"], case["smoothing"] or "none")
        assert [int(bands), int(frames)] == case["shape"]
        audio = manifest["inputs"][source]
        assert (dtype, int(samples)) == (audio["dtype"], audio["samples"])
    assert not manifest["cases"]


def test_the_same_cases_make_the_same_bytes(tmp_path: Path) -> None:
    few = CASES[:2]
    first, second = vectors.pack(tmp_path / "a", few), vectors.pack(tmp_path / "b", few)
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in (tmp_path / "a").iterdir()] == [first.name], (
        "nothing half-written"
    )


def test_the_verifier_takes_right_features(unpacked: Path, features: Path) -> None:
    result = verify(unpacked, features, "1")
    assert result.returncode == 0, result.stdout
    assert result.stdout.startswith(f"{len(CASES)} cases, 0 failed; worst score 0.")


def _put(values: Callable[[Any, Any], Any]) -> Callable[[Path, Path], None]:
    """Replaces the last value of a file by what a function makes of it and its bound."""

    def damage(path: Path, unpacked: Path) -> None:
        actual = np.fromfile(path, "<f4")
        bound = np.load(unpacked / "bounds" / f"{path.stem}.npy").reshape(-1)
        actual[-1] = values(actual[-1], bound[-1])
        actual.tofile(path)

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_put(lambda value, bound: value + 6 * bound), "above 4"),
        (_put(lambda value, bound: value - 6 * bound), "above 4"),
        (_put(lambda value, bound: np.nan), "score inf"),
        (_put(lambda value, bound: -np.inf), "score inf"),
        (lambda path, unpacked: path.unlink(), "is missing"),
        (lambda path, unpacked: path.write_bytes(path.read_bytes()[:-4]), "has another size"),
        (lambda path, unpacked: path.write_bytes(path.read_bytes() + b"0"), "has another size"),
        (lambda path, unpacked: path.write_bytes(b""), "has another size"),
    ],
    ids=["high", "low", "nan", "infinite", "missing", "short", "long", "empty"],
)
def test_the_verifier_rejects(
    damage: Callable[[Path, Path], None], message: str, unpacked: Path, features: Path
) -> None:
    damage(features / "chirp--80.f32", unpacked)
    result = verify(unpacked, features)
    assert result.returncode == 1
    assert message in result.stdout
    assert f"{len(CASES)} cases, 1 failed" in result.stdout
    assert "(chirp--80)" in result.stdout


def test_the_verifier_keeps_the_limit_it_is_given(unpacked: Path, features: Path) -> None:
    _put(lambda value, bound: value + 2.5 * bound)(features / "chirp--80.f32", unpacked)
    assert verify(unpacked, features).returncode == 0, "class B"
    assert verify(unpacked, features, "1").returncode == 1


PROGRAM = """#!{python}
import sys
import numpy as np
from whisper_mel_reference import WHISPER, log_mel
source, target, n_mels, pad_to, smoothing, dtype = sys.argv[1:]
changed = {{"n_mels": int(n_mels), "pad_to": int(pad_to) or None}}
changed["smoothing"] = None if smoothing == "none" else smoothing
log_mel(np.fromfile(source, dtype), WHISPER.replace(**changed)).astype("<f4").tofile(target)
"""


def test_the_readmes_commands_judge_a_program(unpacked: Path, tmp_path: Path) -> None:
    (script,) = re.findall(r"^```sh\n(.*?)^```", (unpacked / "README.md").read_text(), re.M | re.S)
    program = tmp_path / "program"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    few = tmp_path / "set"
    shutil.copytree(unpacked, few)
    lines = [line for line in (few / "cases.txt").read_text().splitlines() if " 80 " in line]
    (few / "cases.txt").write_text("\n".join(lines[:4]) + "\n")
    environment = {**os.environ, "PROGRAM": str(program)}
    command = ["bash", "-e", "-c", script]
    done = ran(command, cwd=few, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 cases, 0 failed; worst score 0." in done.stdout


@pytest.mark.parametrize("cases", ["", "chirp--80 chirp\n"])
def test_nothing_judged_is_a_failure(cases: str, unpacked: Path, features: Path) -> None:
    assert verify(unpacked, features, cases=cases).returncode == 1


def test_the_verifier_needs_no_second_page() -> None:
    source = Path(vectors.__file__).with_name("verify.c").read_text()
    assert len(source.splitlines()) <= 60


def test_the_command_packs_what_the_package_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vectors, "golden_cases", lambda: CASES[:1])
    assert __main__.main(["vectors", str(tmp_path)]) == 0
    archive, _ = map(Path, capsys.readouterr().out.splitlines())
    assert archive.parent == tmp_path
    with tarfile.open(archive) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
        assert all(member.mtime == 0 for member in packed.getmembers())
    assert {"README.md", "verify.c", "cases.txt", "manifest.json", "manifest.schema.json"} < names
    assert "speech/LICENSE.pocketsphinx" in names
