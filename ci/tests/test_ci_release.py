"""What only workflows do: handing over a release, running the archive where a GPU is."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from checkout.paths import PACKAGES, ROOT
from programs import ran
from release import publication
from tasks import build, pixi
from whisper_mel_golden import vectors

BESIDE = [f"{vectors.STEM}.tar.gz", f"{vectors.QUICK}.tar.gz", "whisper-mel-0.1.0.cdx.json"]


class Programs:
    """Stands in for what is called: keeps the commands, lets one of them fail."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.ran: list[list[str]] = []
        self.failing = ""
        patch.setattr(subprocess, "call", self.call)

    def call(self, command: list[str], **options: object) -> int:
        self.ran.append(command)
        return int(command[0] == self.failing)


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Programs:
    return Programs(monkeypatch)


@pytest.fixture
def dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a release."""
    monkeypatch.setattr(build, "ROOT", tmp_path)
    folder = tmp_path / "dist"
    folder.mkdir()
    for package in PACKAGES:
        (folder / f"whisper_mel_{package.name}-0.1.0-py3-none-any.whl").touch()
        (folder / f"whisper_mel_{package.name}-0.1.0.tar.gz").touch()
    for name in BESIDE:
        (folder / name).touch()
    (tmp_path / "releases.json").write_text('{"0.1.0": {}}')
    monkeypatch.setattr(publication, "RELEASES", tmp_path / "releases.json")
    return folder


def test_wheels_and_sources_go_to_the_index_and_vectors_to_the_release(
    dist: Path, programs: Programs
) -> None:
    assert build.run(["publish", "v0.1.0"]) == 0
    upload, create = programs.ran
    assert upload[:4] == ["uv", "publish", "--trusted-publishing", "always"]
    assert len(upload[4:]) == 2 * len(PACKAGES)
    assert not any("vectors" in name for name in upload)
    assert create[:4] == ["gh", "release", "create", "v0.1.0"]
    assert create[4:7] == [str(dist / name) for name in BESIDE]


def test_what_the_index_refuses_is_no_release(dist: Path, programs: Programs) -> None:
    programs.failing = "uv"
    assert build.run(["publish", "v0.1.0"]) == 1
    assert len(programs.ran) == 1


@pytest.mark.parametrize(
    "missing", ["*mojo*.whl", "*golden*.tar.gz", "*vectors*", "*quick*", "*.cdx.json"]
)
def test_an_incomplete_release_is_none(
    missing: str, dist: Path, programs: Programs, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in dist.glob(missing):
        path.unlink()
    assert build.run(["publish", "v0.1.0"]) == 2
    assert "missing in" in capsys.readouterr().err
    assert not programs.ran


@pytest.mark.parametrize("arguments", [[], ["0.1.0"], ["v0.2.0"], ["v0.1.0", "v0.1.0"]])
def test_the_tag_is_the_packages_version(
    arguments: list[str], dist: Path, programs: Programs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build.run(["publish", *arguments]) == 2
    assert "expected the tag v0.1.0" in capsys.readouterr().err
    assert not programs.ran


def test_a_release_is_described(
    dist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the changelog, and by what its versions stand for."""
    assert publication.not_ready(dist, "v0.1.0") is None
    (tmp_path / "releases.json").write_text('{"0.0.9": {}}')
    assert "./dev docs --release" in str(publication.not_ready(dist, "v0.1.0"))
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 0.0.9 (2026-01-01)\n")
    monkeypatch.setattr(publication, "ROOT", tmp_path)
    assert "CHANGELOG.md" in str(publication.not_ready(dist, "v0.1.0"))


def test_pixi_makes_its_lock_where_it_is(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert pixi.solve() == 1
    assert "not on the PATH" in capsys.readouterr().err
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    assert pixi.solve() == 0
    assert programs.ran == [["pixi", "lock"]]


# --------------------------------------------------------------------------- ci/run-bundle


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A checkout with the script and a folder for archives."""
    (tmp_path / "ci").mkdir()
    (tmp_path / "dist").mkdir()
    shutil.copy(ROOT / "ci" / "run-bundle", tmp_path / "ci")
    return tmp_path


def add_archive(machine: Path, name: str) -> None:
    folder = machine / name / "ci" / "gpu"
    folder.mkdir(parents=True)
    (folder / "run").write_text('#!/bin/sh\necho "$@"\nexit 3\n')
    (folder / "run").chmod(0o755)
    with tarfile.open(machine / "dist" / f"{name}.tar.gz", "w:gz") as archive:
        archive.add(machine / name, name)


def test_the_archive_is_unpacked_and_run(machine: Path) -> None:
    add_archive(machine, "whisper-mel-gpu-1")
    command = [str(machine / "ci" / "run-bundle"), "--output", "a b"]
    result = ran(command)
    assert (result.returncode, result.stdout) == (3, "--output a b\n")


@pytest.mark.parametrize("count", [0, 2])
def test_which_archive_is_never_guessed(count: int, machine: Path) -> None:
    for number in range(count):
        add_archive(machine, f"whisper-mel-gpu-{number}")
    result = ran([machine / "ci" / "run-bundle"])
    assert result.returncode == 2
    assert "expected one dist/whisper-mel-gpu-*.tar.gz" in result.stderr
