"""Reproductions: replayed, shrunken, reported, kept; and the corpus of those that were kept."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import whisper_mel_conformance.run.quiet_blas  # noqa: F401  before anything imports NumPy
from correct_front_ends import Everything
from running import CORRECT, QUIRKS, conformance
from whisper_mel_conformance.cases import regressions as corpus
from whisper_mel_conformance.cases.catalogue import CHECKS, all_cases, find
from whisper_mel_conformance.cases.regressions import Regression, regressions
from whisper_mel_conformance.frontend.client import FrontEnd, InProcess
from whisper_mel_conformance.frontend.errors import Failure
from whisper_mel_conformance.frontend.load import inspect_front_end
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_conformance.report.write import failure_folder, write_failure
from whisper_mel_conformance.repro import issue
from whisper_mel_conformance.repro import replay as repro
from whisper_mel_conformance.repro.shrink import shrink
from whisper_mel_conformance.run.judge import judge_case
from whisper_mel_reference import WHISPER, log_mel

KEPT = pytest.mark.parametrize("entry", regressions(), ids=lambda entry: entry.case)


@pytest.mark.slow
@KEPT
def test_a_bug_of_the_corpus_fails_and_what_is_right_passes(entry: Regression) -> None:
    assert entry.quirk is not None
    quirk = CATALOGUE[entry.quirk]
    faulty = FrontEnd(f"{QUIRKS}:{quirk.id}", timeout=1800.0)
    if quirk.vary is not None:
        faulty = InProcess(inspect_front_end(quirk.make(), quirk.id))
    assert entry.link in quirk.seen
    try:
        with pytest.raises(Failure) as caught:
            CHECKS[entry.check](faulty, **entry.arguments)
    finally:
        faulty.stop()
    assert caught.value.score is None or caught.value.score >= 8.0
    right = InProcess(inspect_front_end(Everything, "everything"))
    score = CHECKS[entry.check](right, **entry.arguments)
    assert score is not None
    assert score <= 1.0


def test_the_corpus_is_of_several_projects() -> None:
    assert len({entry.link for entry in regressions()}) >= 10


def failing(tmp_path: Path, quirk: str, case_id: str | None = None) -> Path:
    """The folder of a reproduction, of the quirk's killer if no case is named."""
    wanted = case_id or CATALOGUE[quirk].killer
    front_end = FrontEnd(f"{QUIRKS}:{quirk}", timeout=1800.0)
    front_end.start()
    case = next(c for c in all_cases("quick") if c.id == wanted)
    result = judge_case(front_end, case, profile="quick", seed=0)
    front_end.stop()
    path = write_failure(result, front_end, tmp_path)
    assert failure_folder(front_end.name, tmp_path) in path.parents
    return path.parent


@pytest.mark.slow
def test_on_another_machine_and_another_front_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = failing(tmp_path, "pad-zero")
    moved = folder.rename(tmp_path / "elsewhere")
    assert repro.main([str(moved)]) == 1
    out = capsys.readouterr().out
    assert "fails again: value[" in out
    assert "(then:" not in out, "it fails as it did"
    assert repro.main([str(moved), "--frontend", f"{QUIRKS}:symmetric-window"]) == 1
    assert re.search(r"fails again: value\[.*\n\(then: value\[", capsys.readouterr().out)
    assert repro.main([str(moved), "--frontend", f"{CORRECT}:Everything"]) == 0
    assert "passes now" in capsys.readouterr().out
    assert repro.main([str(moved), "--frontend", "nonesuch"]) == 2
    assert "no such name" in capsys.readouterr().err


@pytest.mark.slow
def test_in_another_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A front-end's file is known by its place below the folder that the suite was run in."""
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "code").mkdir(parents=True)
    (here / "code" / "mine.py").write_text(
        f"from {QUIRKS} import CATALOGUE\ndef f():\n    return CATALOGUE['pad-zero'].make()\n"
    )
    monkeypatch.chdir(here)
    front_end = FrontEnd("code/mine.py:f", timeout=1800.0)
    front_end.start()
    case = next(c for c in all_cases("quick") if c.id == "boundary/length-401/80")
    result = judge_case(front_end, case, profile="quick", seed=0)
    front_end.stop()
    path = write_failure(result, front_end, Path("report"))
    assert str(here) not in path.read_text()
    assert json.loads(path.read_text())["environment"]["cpu"]
    here.rename(there)
    monkeypatch.chdir(there)
    assert repro.main([str(path), "--trust"]) == 1
    (there / "code").rename(there / "elsewhere")
    capsys.readouterr()
    assert repro.main([str(path), "--trust"]) == 2
    assert "there is no file code/mine.py" in capsys.readouterr().err


@pytest.mark.slow
def test_it_is_shrunken(tmp_path: Path) -> None:
    folder = failing(tmp_path, "maximum-of-each-frame")
    assert repro.main([str(folder), "--shrink"]) == 1
    path = folder / "shrunken" / "case.json"
    before, after = (json.loads(p.read_text()) for p in (folder / "case.json", path))
    assert after["arguments"]["recipe"]["n"] < before["arguments"]["recipe"]["n"] / 10
    assert after["score"] != before["score"]
    assert after["message"] != before["message"]
    assert repro.main([str(path), "--trust"]) == 1


@pytest.mark.slow
def test_a_recording_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = failing(tmp_path, "symmetric-window", "golden/voice-german/80")
    assert repro.main([str(folder), "--shrink"]) == 1
    assert "nothing smaller fails alike" in capsys.readouterr().out


def test_shrinking_keeps_what_is_needed() -> None:
    """Of three lengths one, of its samples three."""
    recipe = {"signal": "noise_ramp", "n": 0, "seed": 3, "start_db": -60.0}
    arguments = {"recipe": recipe, "lengths": [300, 777, 400], "n_mels": 128, "layout": "offset-4"}

    def fails(given: dict[str, Any]) -> bool:
        first, _last = given["recipe"].get("keep", [0, 10_000])
        return 777 in given["lengths"] and first <= 1 and given["recipe"].get("seed") == 3

    found = shrink(CHECKS["sweep"], arguments, fails)
    assert found["lengths"] == [777]
    assert found["recipe"]["seed"] == 3
    assert "start_db" not in found["recipe"]
    assert "n_mels" not in found
    assert "layout" not in found


def test_shrinking_finds_the_one_sample_that_matters() -> None:
    def fails(given: dict[str, Any]) -> bool:
        recipe = given["recipe"]
        first, last = recipe.get("keep", [0, recipe["n"] - 1])
        return bool(recipe["signal"] != "silence" and first <= 777 <= last and recipe["n"] > 777)

    arguments = {"recipe": {"signal": "noise", "n": 16_000, "seed": 3, "gain": 0.5}}
    found = shrink(CHECKS["scored"], arguments, fails)
    assert found == {"recipe": {"signal": "dc", "n": 778, "keep": [777, 777]}}


@pytest.mark.slow
def test_it_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # many small products: see quiet_blas
    monkeypatch.setenv("WHISPER_MEL_LOCKS", "of a checkout")
    monkeypatch.setenv("WHISPER_MEL_DEV", "/where/it/is")
    folder = failing(tmp_path, "symmetric-window")
    case = json.loads((folder / "case.json").read_text())
    case["front_end"]["name"] = "mine"
    (folder / "case.json").write_text(json.dumps(case))
    done = conformance("repro", folder, "--issue", folder=tmp_path)
    assert done.returncode == 1
    for words in ("## mine: ", "**Cause:** The Hann", "**Fix:**", "- numpy ", "```json"):
        assert words in done.stdout
    assert "/where/it/is" not in done.stdout
    # The command is for the reader, who has no checkout, and not this folder.
    assert done.stdout.count("whisper-mel repro case.json") == 2
    assert "./dev" not in done.stdout
    [code] = re.findall(r"```python\n(.*?)```", done.stdout, re.DOTALL)
    assert len(code.splitlines()) <= 6
    printed: list[Any] = []
    wrong = CATALOGUE["symmetric-window"].make().log_mel
    for f in (lambda x, n_mels: log_mel(x, WHISPER.replace(n_mels=n_mels)), wrong):
        exec(code, {"log_mel": f, "print": printed.append})
    [actual] = re.findall(r"It gives ([-.\d]+);", done.stdout)
    [expected] = re.findall(r"expected: ([-\d]+\.\d+)\.", done.stdout)
    assert abs(float(expected) - printed[0]) < 1e-6
    assert abs(float(actual) - printed[1]) < 1e-5
    assert abs(printed[0] - printed[1]) > 1e-3
    assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("quirk", "case", "words"),
    [
        ("pad-zero", "boundary/length-401/80", "x[1] = 0.5"),
        ("int16-by-32767", "numerics/quiet-noise-int16/80", "astype(np.int16)"),
        ("maximum-of-batch", "batch/quiet-beside-loud/80", "np.stack"),
        ("padded-with-zeros", "golden/reading/80-pad480000", "pad_to=480000"),
        ("last-frame-kept", "boundary/length-401/80", "print(y.shape)"),
    ],
)
def test_a_plain_signal_shows_a_fault(quirk: str, case: str, words: str) -> None:
    front_end = InProcess(inspect_front_end(CATALOGUE[quirk].make(), quirk))
    entry = find(case)
    request = CHECKS[entry.check].requests(entry.arguments)[0]
    shown = issue.first_wrong(front_end, request)
    assert shown is not None
    assert words in "\n".join(issue._lines(shown))
    right = InProcess(inspect_front_end(Everything(), "right"))
    assert issue.first_wrong(right, request) is None


@pytest.mark.slow
def test_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert all_cases("nightly")  # before the corpus is another one: they are cached
    monkeypatch.setattr(corpus, "FOLDER", tmp_path / "corpus")
    corpus.FOLDER.mkdir()
    folder = failing(tmp_path, "pad-zero")
    with pytest.raises(SystemExit):
        repro.main([str(folder), "--keep", "mine-1"])
    words = [str(folder), "--keep", "mine-1", "--link", "https://example.org/1"]
    corpus.regressions.cache_clear()
    assert repro.main(words) == 1
    [entry] = corpus.regressions()
    corpus.regressions.cache_clear()
    assert entry.case == "regressions/mine-1"
    assert entry.link == "https://example.org/1"
    assert entry.check == "scored"
    assert repro.main(words) == 2  # there is one of this name
    assert "cannot be kept" in capsys.readouterr().err

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert repro.main([*words, "--keep", "mine-2"]) == 2
    assert "No space left" in capsys.readouterr().err
    assert [path.name for path in corpus.FOLDER.iterdir()] == ["mine-1.json"], "nothing half made"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "JSONDecodeError"),
        ('{"format": 2}', "format"),
        ('{"format": 1, "case": "x"}', "claims"),
    ],
)
def test_files_of_the_corpus_are_checked(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        corpus.read(path)
