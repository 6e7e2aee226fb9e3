"""The worst known inputs: kept, replayed after an update, and found where something is wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Refused
from whisper_mel_conformance.frontend.load import Capabilities, peers
from worst import cli, inputs

RECIPE = {"signal": "noise", "n": 480, "seed": 1, "gain": 0.5}
ENTRY = inputs.Worst("mine", "1.0", 0.5, inputs.Input(RECIPE, 80, 0), "2026-11-27")


def started(source: str) -> Iterator[FrontEnd]:
    front_end = FrontEnd(source, timeout=1800.0)
    try:
        front_end.start()
    except Refused as error:
        pytest.skip(f"{source} is not installed: {error}")
    yield front_end
    front_end.stop()


@pytest.mark.nightly
@pytest.mark.parametrize("name", peers("light"))
def test_a_front_end_that_was_updated_is_replayed(name: str) -> None:
    """The installed version is in the record, and its input is as bad as the record says.

    Other processors choose other code for transforms, so that a score may differ by a factor of 2.
    """
    for front_end in started(name):
        of_name = {it.version: it for it in inputs.read() if it.front_end == name}
        version = inputs.version_of(front_end)
        assert version in of_name, f"{name} {version} is new: run ./dev worst {name} --record"
        known = of_name[version]
        score = inputs.score(front_end, known.input)
        assert score is not None
        assert known.score / 2 <= score <= known.score * 2


def test_every_peer_has_a_worst_input() -> None:
    entries = inputs.read()
    assert {entry.front_end for entry in entries} == {*peers()}
    assert len({(it.front_end, it.version) for it in entries}) == len(entries)
    assert all(entry.score > 0 and entry.version for entry in entries)


def test_a_search_finds_what_is_wrong_and_not_what_is_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = inputs.score
    for source, is_right in (("faster-whisper", True), ("QUIRK:symmetric-window", False)):
        for front_end in started(source.replace("QUIRK", "whisper_mel_conformance.quirks")):
            found: list[float | None] = []

            def kept(*given: Any, found: list[float | None] = found) -> float | None:
                found.append(plain(*given))
                return found[-1]

            monkeypatch.setattr(inputs, "score", kept)
            score, asked = inputs.find(front_end, [], steps=30, seed=3)
            assert len(found) == 31, "one is a trial"
            assert score == max(filter(None, found[1:])) == plain(front_end, asked)
            assert (score <= 1) == is_right, (source, score)
            assert asked.recipe["n"] % 160 == 0


class Wrong:
    """Stands in for a front-end: right but for clips of more than 800 samples, or as it is told."""

    name = source = "wrong"
    capabilities = Capabilities()

    def __init__(self, **change: Any) -> None:
        self.change = change

    def call(self, audio: Any, *, n_mels: int, pad_to: int | None) -> Any:
        from whisper_mel_reference import WHISPER, log_mel

        if self.change.get("needs_pad_to") and pad_to is None:
            raise Refused(["ValueError"], "expected pad_to", "")
        features = log_mel(audio, WHISPER.replace(n_mels=n_mels, pad_to=pad_to)).astype(np.float32)
        if self.change.get("shape"):
            return features[:, 1:]
        return features + self.change.get("add", 0.0) * (audio.size > 800)


def score_of(change: dict[str, Any], **asked: Any) -> float | None:
    wrong: Any = Wrong(**change)
    return inputs.score(wrong, replace(ENTRY.input, **asked))


def test_scores() -> None:
    right = score_of({})
    assert right is not None and right < 0.5
    assert score_of({"shape": True}) == math.inf
    assert score_of({"add": math.nan}, recipe={**RECIPE, "n": 960}) == math.inf
    assert score_of({"needs_pad_to": True}) is None
    assert score_of({"needs_pad_to": True}, pad_to=960) is not None


def test_what_is_kept_is_tried_first() -> None:
    """So the search of an update begins with what was hard for the version before it."""
    wrong: Any = Wrong(add=0.1)
    kept = inputs.Input({**RECIPE, "n": 960}, 80, 0)
    score, asked = inputs.find(wrong, [kept], steps=0)
    assert (score > 4, asked) == (True, kept)
    refusing: Any = Wrong(needs_pad_to=True)
    with pytest.raises(ValueError, match="computes features of no clip"):
        inputs.find(refusing, [kept], steps=0)
    _, asked = inputs.find(refusing, [], steps=1)
    assert asked.pad_to == 480_000


def test_a_version_keeps_one_input_and_earlier_versions_theirs(tmp_path: Path) -> None:
    path = tmp_path / "worst.json"
    later = replace(ENTRY, version="2.0", score=math.inf)
    worse = replace(ENTRY, score=0.75)
    other = replace(ENTRY, front_end="another")
    entries: list[inputs.Worst] = []
    for entry in (ENTRY, later, other, worse):
        entries = inputs.with_entry(entries, entry)
    assert entries == [other, later, worse]
    inputs.write(entries, path)
    assert inputs.read(path) == entries


@pytest.mark.slow
def test_the_command_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "faster-whisper"
    monkeypatch.setattr(inputs, "RECORD", tmp_path / "worst.json")
    inputs.write([ENTRY])
    assert cli.run([name, "no-such-front-end", "--steps", "4", "--record"]) == 1
    said = capsys.readouterr().out
    assert re.match(rf"{name} \d", said)
    assert "\nno-such-front-end: " in said
    [found, kept] = inputs.read()
    assert (found.front_end, kept) == (name, ENTRY)
    inputs.write([replace(found, found="2026-01-01"), kept])
    assert cli.run([name, "--steps", "2", "--record"]) == 0
    assert inputs.read()[0].found == "2026-01-01", "the same input was found then"
    assert cli.run([name, "--steps", "2"]) == 0
