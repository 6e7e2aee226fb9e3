"""Nothing that others build on is taken away: names, options, ids, the report's format."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pins
import pytest

REPORT = Path(__file__).with_name("report.json")
"""A run as it was written on 27 November 2026: one front-end fails, one has declared failures."""


@pytest.fixture(scope="module")
def recorded() -> pins.Pins:
    found: pins.Pins = json.loads(pins.RECORD.read_text())
    return found


@pytest.fixture(scope="module")
def now() -> pins.Pins:
    return pins.present()


def test_all_that_was_there_is_there(recorded: pins.Pins, now: pins.Pins) -> None:
    lost = pins.missing(recorded, now)
    assert not lost, "gone or changed:\n" + "\n".join(lost)


@pytest.mark.parametrize(
    "section",
    [
        *("cases", "arguments", "goldens", "quirks", "names", "capabilities", "tasks", "options"),
        *("pytest options", "report", "entry points", "symbols"),
    ],
)
def test_what_is_taken_away_is_named(section: str, recorded: pins.Pins, now: pins.Pins) -> None:
    """What collects nothing, or compares nothing, would pin nothing."""
    first, *others = recorded[section]
    assert pins.missing(recorded, {**now, section: others}) == [f"{section}: {first}"]
    changed = [*others, first + " changed"]
    assert pins.missing(recorded, {**now, section: changed}) == [f"{section}: {first}"]
    nothing = {name: lines for name, lines in now.items() if name != section}
    assert len(pins.missing(recorded, nothing)) == len(recorded[section])


def test_more_may_be_there(recorded: pins.Pins, now: pins.Pins) -> None:
    more = {section: [*lines, "new"] for section, lines in now.items()}
    assert pins.missing(recorded, {**more, "new": ["new"]}) == []


# --------------------------------------------------------------------------- the report


def test_an_earlier_report_is_still_valid() -> None:
    report = json.loads(REPORT.read_text())
    schema = pins.report_schema()
    jsonschema.validate(report, schema)
    del report["front_ends"][0]["cases"]
    with pytest.raises(jsonschema.ValidationError, match="'cases' is a required property"):
        jsonschema.validate(report, schema)


@pytest.mark.slow
def test_an_earlier_report_is_still_rendered(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "whisper_mel_conformance", "report", str(REPORT)]
    subprocess.run([*command, "--output", str(tmp_path)], check=True)
    made = json.loads((tmp_path / "report.json").read_text())
    assert made.items() >= json.loads(REPORT.read_text()).items()
    for name in ("index.html", "junit.xml", "summary.md"):
        text = (tmp_path / name).read_text()
        for words in ("symmetric-window", "kaldi-native-fbank", "librosa", "golden/clicks/80"):
            assert words in text, name
    assert 'failures="8"' in (tmp_path / "junit.xml").read_text()
    assert "The Hann window is symmetric" in (tmp_path / "summary.md").read_text()
    assert "frame k begins at sample 160 k - 120" in (tmp_path / "index.html").read_text()
    assert {path.stem for path in (tmp_path / "badges").glob("*.json")} == {
        *("symmetric-window", "kaldi-native-fbank", "librosa")
    }
