"""The rehearsal of a release: what it checks, and nightly the whole of it."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from checkout.paths import PACKAGES, ROOT
from installed import closure
from release import rehearsal, sbom
from tasks import build
from whisper_mel_golden import load_manifest
from whisper_mel_golden.store import DATA

VERSION = version("whisper-mel-conformance")
METADATA = f"""\
Metadata-Version: 2.4
Name: whisper-mel-mine
Version: {VERSION}
Summary: mine
Project-URL: Source, https://example.com
License-Expression: Apache-2.0
License-File: LICENSE
Requires-Python: >=3.10
Requires-Dist: numpy>=2
Description-Content-Type: text/markdown

It computes.
"""


def wheel(folder: Path, metadata: str) -> Path:
    path = folder / "whisper_mel_mine-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("whisper_mel_mine-0.1.0.dist-info/METADATA", metadata)
    return path


def source(folder: Path, metadata: str) -> Path:
    path = folder / "whisper_mel_mine-0.1.0.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        entry = tarfile.TarInfo("whisper_mel_mine-0.1.0/PKG-INFO")
        entry.size = len(metadata)
        packed.addfile(entry, io.BytesIO(metadata.encode()))
    return path


@pytest.mark.parametrize("packed", [wheel, source])
@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("", "", None),
        ("Summary: mine\n", "", "expected Summary"),
        ("Requires-Python: >=3.10\n", "", "expected Requires-Python"),
        ("License-File: LICENSE\n", "", "expected License-File"),
        ("Project-URL: Source, https://example.com\n", "", "expected Project-URL"),
        ("\nIt computes.\n", "", "expected a description"),
        ("numpy>=2", "numpy>>2", "requires-dist"),
        ("Apache-2.0", "Apache 2", "license"),
        ("Name: whisper-mel-mine\n", "", "name"),
        (f"Version: {VERSION}\n", "Version: 9.9\n", "has version 9.9: expected"),
    ],
)
def test_metadata_that_an_index_would_not_like_is_refused(
    packed: Any, before: str, after: str, message: str | None, tmp_path: Path
) -> None:
    path = packed(tmp_path, METADATA.replace(before, after) if before else METADATA)
    if message is None:
        rehearsal.check(path)
    else:
        with pytest.raises(rehearsal.Failed, match=f"(?i){message}"):
            rehearsal.check(path)


def test_other_files_have_no_metadata(tmp_path: Path) -> None:
    (tmp_path / "whisper-mel-vectors-1.0.tar.gz").touch()
    rehearsal.check(tmp_path / "whisper-mel-vectors-1.0.tar.gz")


def test_a_step_that_fails_says_what_the_program_said(tmp_path: Path) -> None:
    rehearsal._call(["sh", "-c", "exit 3"], tmp_path, 3)
    with pytest.raises(rehearsal.Failed, match="status 3\nwhy"):
        rehearsal._call(["sh", "-c", "echo why; exit 3"], tmp_path)


def test_a_failed_build_ends_the_rehearsal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rehearsal.wheels, "build", lambda *arguments: 1)
    assert build.run(["rehearse"]) == 1
    assert "the wheels could not be built" in capsys.readouterr().err


@pytest.mark.nightly
@pytest.mark.compiles
def test_a_release_can_be_made(capfd: pytest.CaptureFixture[str]) -> None:
    """All steps, in this order; it downloads what the packages need."""
    assert build.run(["rehearse"]) == 0, capfd.readouterr().err
    assert "rehearsed; " in capfd.readouterr().out


# --------------------------------------------------------------------------- bill of materials


def test_the_bill_names_what_is_ours_what_is_in_it_and_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "ROOT", tmp_path)
    assert build.run(["sbom"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.name == sbom.file_name(VERSION)
    bill = json.loads(path.read_text())
    components = {it["name"]: it for it in bill["components"]}
    assert len(components) == len(bill["components"])
    ours = {f"whisper-mel-{package.name}" for package in PACKAGES}
    recordings = load_manifest(DATA)["recordings"]
    needed = {name.replace("_", "-") for name in closure(ours)} - ours
    assert components.keys() == {*ours, *recordings, *needed, "mojo standard library"}
    assert {"numpy", "pytest", "jinja2"} <= needed
    for name, component in components.items():
        assert component["licenses"], f"{name}: under which licence?"
        is_needed = component.get("scope") == "required"
        assert is_needed == (name in needed)
        assert bool(component.get("hashes")) == (is_needed or name in recordings)
    refs = {it["bom-ref"] for it in bill["components"]}
    assert all({it["ref"], *it["dependsOn"]} <= refs for it in bill["dependencies"])


def test_a_citation_names_the_version() -> None:
    assert f"\nversion: {VERSION}\n" in (ROOT / "CITATION.cff").read_text()
