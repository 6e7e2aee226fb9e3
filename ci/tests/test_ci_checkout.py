"""What results say of the checkout that made them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import commit
from checkout.paths import LOCKS
from tasks import conformance


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one commit, with the locks."""
    shutil.copytree(LOCKS, tmp_path / "locks")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *arguments], cwd=tmp_path, check=True)
    monkeypatch.setattr(commit, "ROOT", tmp_path)
    monkeypatch.setattr(commit, "LOCKS", tmp_path / "locks")
    return tmp_path


def test_the_commit_and_whether_it_was_changed(repository: Path) -> None:
    clean = commit.variables()
    assert re.fullmatch("[0-9a-f]{40}", clean["WHISPER_MEL_COMMIT"])
    (repository / "locks" / "default.txt").write_text("numpy==1.0\n")
    changed = commit.variables()
    assert changed["WHISPER_MEL_COMMIT"] == clean["WHISPER_MEL_COMMIT"] + "-dirty"
    assert re.fullmatch("[0-9a-f]{64}", clean["WHISPER_MEL_LOCKS"])
    assert changed["WHISPER_MEL_LOCKS"] != clean["WHISPER_MEL_LOCKS"]


def test_without_git_there_is_no_commit(repository: Path) -> None:
    shutil.rmtree(repository / ".git")
    assert commit.variables().keys() == {"WHISPER_MEL_LOCKS"}
    assert commit.commit() == {"commit": None, "dirty": None}


def test_the_suite_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    seen: list[tuple[list[str], dict[str, str]]] = []

    def become(*command: str) -> None:
        seen.append((list(command), dict(os.environ)))

    monkeypatch.setattr(conformance, "become", become)
    conformance.run(["--profile", "ci"])
    ((command, environment),) = seen
    assert command[:5] == [sys.executable, "-m", "whisper_mel_conformance", "--profile", "ci"]
    assert environment.items() >= commit.variables().items()
