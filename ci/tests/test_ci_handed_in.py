"""Reports that others hand in: a row of the table, unless nobody could reproduce them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from whisper_mel_conformance.report.environment import PARTS

from docs import handed_in, versions

COMMIT = "0123456789" * 4


def report(**change: Any) -> dict[str, Any]:
    """A report of a run in September 2026, as it would be written today, with a change."""
    made: dict[str, Any] = json.loads(Path(__file__).with_name("report.json").read_text())
    made["environment"]["versions"] |= PARTS
    made["environment"]["flags"]["WHISPER_MEL_COMMIT"] = COMMIT
    made["interrupted"] = None
    made["problems"] = []
    for judged in made["front_ends"]:
        judged["versions"] = {"mine": "1.0"}
    for key, value in change.items():
        *places, last = key.split("/")
        inner: Any = made
        for place in places:
            inner = inner[int(place) if place.isdigit() else place]
        inner[last] = value
    return made


def section(place: Path, **change: Any) -> str:
    (place / "mine.json").write_text(json.dumps(report(**change)))
    return handed_in.section(place)


def test_each_front_end_of_a_report_is_a_row(tmp_path: Path) -> None:
    assert handed_in.section(tmp_path) == handed_in.NOTHING
    rows = section(tmp_path).splitlines()[2:]
    judged = report()["front_ends"]
    assert len(rows) == len(judged)
    for row, front_end in zip(rows, judged, strict=True):
        assert front_end["name"].replace("_", "\\_") in row.replace("\\-", "-")
        assert "mine 1.0" in row
        assert f"| {front_end['counts']['failed']} |" in row
        assert f"cases {PARTS['cases']}, vectors {PARTS['vectors']}, bound {PARTS['bound']}" in row
        assert "`whisper-mel judge --frontend" in row or "`./dev conformance --frontend" in row


def test_a_front_ends_name_is_no_markup(tmp_path: Path) -> None:
    text = section(tmp_path, **{"front_ends/0/name": "<img src=x>|[a](b)"})
    assert "<img" not in text
    assert "[a](b)" not in text
    rows = text.splitlines()
    assert {row.replace("\\|", "").count("|") for row in rows} == {rows[0].count("|")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": "none"}, r"\$.seed"),
        ({"more": 1}, "more"),
        ({"environment/versions": {"python": "3"}}, "the version of cases, vectors, bound"),
        ({"interrupted": "SIGINT"}, "expected a whole one"),
        ({"problems": ["mine: 3 cases have no result"]}, "expected a whole one"),
        ({"profile": "brief"}, "profile brief: expected quick"),
        ({"environment/flags": {}}, "commit: none, and 0.1.0 is no release"),
        ({"environment/flags/WHISPER_MEL_COMMIT": f"{COMMIT}-dirty"}, "commit without changes"),
        ({"front_ends/0/versions": {}}, "names no version"),
        ({"folder": "x" * 2_000_000}, "expected at most 2,000,000"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_nobody_could_reproduce_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        section(tmp_path, **change)


def test_a_release_needs_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = report()["environment"]["versions"]["whisper-mel-conformance"]
    monkeypatch.setattr(versions, "read", lambda: {package: {}})
    assert "mine 1.0" in section(tmp_path, **{"environment/flags": {}})
