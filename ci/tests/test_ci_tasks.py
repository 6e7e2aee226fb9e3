"""The tasks: what each needs, what lint finds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tasks import TASKS, conformance, find, lint, main, system


@pytest.mark.parametrize(
    ("arguments", "needs_test"),
    [
        (["test"], True),
        (["golden", "make"], True),
        (["golden", "verify"], False),
        (["conformance", "--profile", "ci"], False),
        (["conformance", "--matrix"], True),
        (["bench"], True),
        (["bench", "--only", "30s/*"], True),
        (["golden", "calibrate"], True),
        (["docs"], False),
        (["bench", "instructions"], False),
        (["compare", "speech.wav"], True),
        (["env"], False),
        (["env", "test"], True),
        (["lint"], False),
    ],
)
def test_only_what_runs_torch_needs_the_test_layer(arguments: list[str], needs_test: bool) -> None:
    assert ("test" in find(arguments).layers(arguments[1:])) == needs_test


@pytest.mark.parametrize("arguments", [["tets"], ["test", "peers"]])
def test_an_unknown_layer_names_the_known_ones(arguments: list[str]) -> None:
    with pytest.raises(
        SystemExit, match=f"env {' '.join(arguments)}: expected .*test, peers, cuda"
    ):
        find(["env"]).layers(arguments)


@pytest.mark.parametrize("task", ["lint", "system"])
def test_arguments_are_not_ignored(task: str) -> None:
    with pytest.raises(SystemExit, match=f"{task} ruff: expected no arguments"):
        main([task, "ruff"])


def test_no_task_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        main([])
    assert ending.value.code == 0
    listing = capsys.readouterr().out
    assert all(f"  {name} " in listing for name in TASKS)


def test_an_unknown_task_names_the_known_ones() -> None:
    with pytest.raises(SystemExit, match="unknown task 'bnech'") as ending:
        main(["bnech"])
    assert all(f"  {name} " in str(ending.value.code) for name in TASKS)


@pytest.mark.parametrize(
    "failing",
    ["ruff", "mypy", "mblack", "actionlint", "zizmor", "check-jsonschema", sys.executable, None],
)
def test_lint_runs_every_checker_and_fails_if_one_did(
    monkeypatch: pytest.MonkeyPatch, failing: str | None
) -> None:
    ran = []

    def call(command: list[str], **options: object) -> int:
        ran.append(command[0])
        return int(command[0] == failing)

    monkeypatch.setattr(subprocess, "call", call)
    assert lint.run([]) == (failing is not None)
    schemas = ["check-jsonschema", "check-jsonschema"]
    assert ran == [
        "ruff",
        "ruff",
        "mypy",
        "mblack",
        "actionlint",
        "zizmor",
        *schemas,
        sys.executable,
    ]


def test_lint_asks_of_mojo_sources_what_mojo_format_makes_of_them(tmp_path: Path) -> None:
    source = tmp_path / "source.mojo"
    long = 80 * "x"
    source.write_text(f"def main():\n  print( '{long}' , 0)\n")
    assert subprocess.run([*lint.MOJO_FORMAT, source], capture_output=True).returncode == 1
    subprocess.run(["mojo", "format", "--quiet", "--line-length", "100", source], check=True)
    assert source.read_text() == f'def main():\n    print("{long}", 0)\n'
    assert subprocess.run([*lint.MOJO_FORMAT, source], capture_output=True).returncode == 0


class Machine:
    """Stands in for a machine with some programs: keeps what is run, can refuse to install."""

    def __init__(self, patch: pytest.MonkeyPatch, *programs: str, user: int = 0) -> None:
        self.programs = set(programs)
        self.ran: list[str] = []
        self.offers = True
        patch.setattr(shutil, "which", lambda name: name if name in self.programs else None)
        patch.setattr(subprocess, "call", self.call)
        patch.setattr(os, "getuid", lambda: user)

    def call(self, command: list[str]) -> int:
        if command[0] not in self.programs:
            raise FileNotFoundError(command[0])
        self.ran.append(" ".join(command))
        if self.offers and "install" in command:
            self.programs.update(command[command.index("--no-install-recommends") + 1 :])
        return int(not self.offers)


def test_system_installs_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, "apt-get")
    assert system.run([]) == 0
    update, *installs = machine.ran
    assert update.endswith(" update")
    assert [install.split()[-1] for install in installs] == ["g++", "valgrind", "chromium"]
    assert system.run([]) == 0
    assert len(machine.ran) == 4, "it is there now"


def test_system_takes_another_browser_for_chromium(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, "g++", "valgrind", "google-chrome")
    assert system.run([]) == 0
    assert machine.ran == []


def test_system_asks_for_the_right_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, "apt-get", "sudo", user=1000)
    assert system.run([]) == 0
    assert all(command.startswith("sudo --non-interactive apt-get ") for command in machine.ran)


@pytest.mark.parametrize("programs", [(), ("apt-get",)])
def test_system_fails_and_names_what_is_missing(
    programs: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No apt-get, or no sudo beside it."""
    Machine(monkeypatch, *programs, user=1000)
    assert system.run([]) == 1
    assert "valgrind is missing" in capsys.readouterr().out


def test_system_fails_where_installing_did(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, "apt-get")
    machine.offers = False
    assert system.run([]) == 1


# --------------------------------------------------------------------------- conformance

NPM = """#!/bin/sh
echo "$@" >> calls
mkdir -p node_modules && touch node_modules/.package-lock.json
"""


def test_javascript_peers_are_installed_once_from_their_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    peer, programs = tmp_path / "peers" / "js", tmp_path / "bin"
    for folder in (peer, programs):
        folder.mkdir(parents=True)
    (peer / "package-lock.json").touch()
    judged: list[list[str]] = []
    monkeypatch.setattr(conformance, "become", lambda *command: judged.append([*command[3:]]))
    monkeypatch.setattr(conformance, "_beside", lambda arguments: [])
    monkeypatch.setattr(conformance, "PEERS", peer.parent)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    conformance.run(["--matrix"])
    assert "npm is missing: js is not judged" in capfd.readouterr().err
    npm = programs / "npm"
    npm.write_text(NPM)
    npm.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(npm))
    conformance.run([])
    assert not (peer / "calls").exists()
    for _ in range(2):
        conformance.run(["--matrix", "--seed", "1"])
    assert (peer / "calls").read_text() == "ci --ignore-scripts --no-audit\n"
    assert judged == [["--matrix"], [], *2 * [["--matrix", "--seed", "1"]]]
    npm.write_text("#!/bin/sh\nexit 1\n")
    shutil.rmtree(peer / "node_modules")
    conformance.run(["--matrix"])
    assert "npm failed: js is not judged" in capfd.readouterr().err
