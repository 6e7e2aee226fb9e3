"""Files and folders that others have made: nothing outside is written, nothing huge is read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from daily import by_day
from running import CASE, QUIRKS, conformance, report_of
from whisper_mel_conformance import folder
from whisper_mel_conformance.folder import LARGEST, MARKER, own_folder, whole_folder, write_whole
from whisper_mel_conformance.report import documents, render
from whisper_mel_conformance.repro import replay
from whisper_mel_conformance.run import own_files

# --------------------------------------------------------------------------- links


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of somebody else, made by the suite in a run of theirs: it even has the mark."""
    theirs = own_folder(tmp_path / "outside")
    (theirs / "precious").write_text("mine")
    return theirs


def untouched(outside: Path) -> bool:
    return {path.name: path.read_text() for path in outside.iterdir()} == {
        MARKER: "",
        "precious": "mine",
    }


FAILURES = f"failures/{folder.slug(f'{QUIRKS}:all-zero')}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["failures", FAILURES, "badges"])
def test_a_run_follows_no_link_in_its_report(name: str, tmp_path: Path, outside: Path) -> None:
    report = own_folder(tmp_path / "report")
    link = report / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    done = conformance("--frontend", f"{QUIRKS}:all-zero", "-k", "length-401", folder=tmp_path)
    assert done.returncode == 2
    assert str(Path("report", name)) in done.stderr
    assert untouched(outside)
    assert link.is_symlink()


@pytest.mark.slow
def test_files_replace_links(tmp_path: Path, outside: Path) -> None:
    report = own_folder(tmp_path / "report")
    for name in (".report.json.new", "report.json", "index.html"):
        (report / name).symlink_to(outside / "precious")
    conformance("--frontend", f"{QUIRKS}:all-zero", "-k", "length-401", folder=tmp_path)
    assert report_of(tmp_path)
    assert untouched(outside)


def test_the_report_s_own_folder_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "report").symlink_to("elsewhere")
    render.require_own(tmp_path / "report")
    assert (tmp_path / "elsewhere" / MARKER).exists()


MAKERS: dict[str, Callable[[Path], object]] = {
    "own_folder": own_folder,
    "write_whole": lambda path: write_whole(path, b"text"),
    "whole_folder": lambda path: filled(path),
    "require_own": lambda path: render.require_own(path.parent),
}


def filled(path: Path) -> None:
    with whole_folder(path) as new:
        (new / "file").touch()


@pytest.mark.parametrize(
    ("maker", "link", "refuses"),
    [
        ("own_folder", "made", True),
        ("own_folder", f"made/{MARKER}", True),
        ("write_whole", "made", False),
        ("write_whole", ".made.new", False),
        ("whole_folder", "made", False),
        ("whole_folder", ".made.new", False),
        ("require_own", MARKER, True),
        ("require_own", "badges", True),
    ],
)
@pytest.mark.parametrize("to", ["", "precious", "new"])
def test_a_link_is_replaced_or_refused(
    maker: str, link: str, refuses: bool, to: str, tmp_path: Path, outside: Path
) -> None:
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(outside / to)
    if refuses:
        with pytest.raises(ValueError, match=r"is a link to|suite's own|no run has"):
            MAKERS[maker](tmp_path / "made")
    else:
        MAKERS[maker](tmp_path / "made")
        assert (tmp_path / "made").exists()
        assert not (tmp_path / "made").is_symlink()
    assert untouched(outside)


def test_a_smaller_case_is_not_written_through_a_link(
    tmp_path: Path, outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "case.json").write_text(json.dumps(CASE))
    (tmp_path / "shrunken").symlink_to(outside)
    assert replay.main([str(tmp_path), "--shrink"]) == 2
    assert "shrunken is a link to" in capsys.readouterr().err
    assert untouched(outside)


# --------------------------------------------------------------------------- the suite's own files


def test_each_change_of_a_file_is_named(tmp_path: Path) -> None:
    for name in ("kept", "changed", "removed", "sub/changed"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("text")
    before = own_files.fingerprints([tmp_path])
    assert own_files.changes(before, [tmp_path]) == []
    for name in ("changed", "added", "sub/changed", ".hidden", "sub/__pycache__/a", "sub/.new/b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("other")
    (tmp_path / "removed").unlink()
    assert own_files.changes(before, [tmp_path]) == [
        str(tmp_path / name) for name in ("added", "changed", "removed", "sub/changed")
    ]


SPOILING = """
import pathlib, whisper_mel_golden
from whisper_mel_conformance.quirks.table import right
def f(audio, n_mels=80):
    (pathlib.Path(whisper_mel_golden.__file__).parent / "data" / "{name}").write_text("spoiled")
    return right(audio, n_mels)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", by_day(["manifest.json", "new.json"], ["manifest.json"]))
def test_a_front_end_that_changes_goldens_does_not_conform(name: str, tmp_path: Path) -> None:
    """In a copy of the packages, which it may spoil."""
    for package in own_files.FOLDERS:
        shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("node_*"))
    (tmp_path / "spoiling.py").write_text(SPOILING.format(name=name))
    words = ("--frontend", "spoiling.py:f", "-k", "boundary/length-401/80")
    done = conformance(*words, folder=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    said = f"1 of the suite's own files changed while it ran: {tmp_path}/whisper_mel_golden/data"
    assert report_of(tmp_path)["problems"] == [f"{said}/{name}"]
    assert "conforms" not in done.stdout


@pytest.mark.slow
def test_a_run_whose_files_nobody_else_may_read(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        words = ("--frontend", f"{QUIRKS}:all-zero", "-k", "length-401/80")
        done = conformance(*words, folder=tmp_path)
    finally:
        os.umask(before)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert report_of(tmp_path)["problems"] == []
    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "report").rglob("*")}
    assert modes == {0}


# --------------------------------------------------------------------------- sizes


@pytest.fixture
def huge(tmp_path: Path) -> Path:
    """A file of one terabyte, of which the disk holds nothing."""
    path = tmp_path / "report.json"
    path.touch()
    os.truncate(path, 1 << 40)
    return path


def test_a_huge_file_is_said_and_not_read(huge: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert render.main([str(huge)]) == 2
    assert replay.main([str(huge)]) == 2
    assert render.main([str(huge), "--mutants", str(huge)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    for line in said:
        assert line == f"{huge}: it has more than 64 MiB: expected at most that"


def test_the_limit_is_what_is_said(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for size in (LARGEST, LARGEST + 1):
        path.write_bytes(b" " * size)
        if size <= LARGEST:
            assert len(folder.read_foreign(path)) == size
        else:
            with pytest.raises(ValueError, match="more than 64 MiB"):
                folder.read_foreign(path)


def test_many_wrong_entries_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text('{"format": 1, "runs": [' + "{}, " * 200_000 + "{}]}")
    with pytest.raises(documents.Unreadable, match=r"\$\.runs\[\d+\]: .* is a required property"):
        documents.read(path)


def test_merging_keeps_the_order_and_one_of_equal_entries() -> None:
    def document(*names: str) -> documents.Document:
        return documents.Document([{"name": name, "n": 1} for name in names], [{}], [])

    other_way_round = documents.Document([{"n": 1, "name": "c"}])
    merged = documents.merge([document("a", "b"), document("b", "c", "a"), other_way_round])
    assert [run["name"] for run in merged.runs] == ["a", "b", "c"]
    assert merged.benchmarks == [{}]
    assert merged.mutants == []


def test_the_text_of_a_report_can_be_read_by_all() -> None:
    made = documents.Document([{"name": "é"}])
    assert made.text() == '{\n "name": "é",\n "benchmarks": [],\n "mutants": []\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        documents.Document([{"score": float("nan")}]).text()


def test_the_words_for_a_wrong_entry_are_few() -> None:
    with pytest.raises(documents.Unreadable) as error:
        documents._check(Path("x"), "z" * 1000, {"enum": [1]})
    assert len(str(error.value)) == len("x: $: ") + 300
