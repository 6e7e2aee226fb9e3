"""What holds for the repository as a whole: its licence, its workflows, what no file may name."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from checkout.paths import PACKAGES, ROOT
from programs import ran
from tasks import LAYERS, TASKS, find
from whisper_mel_conformance.frontend.load import registered

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONS = sorted((ROOT / ".github" / "actions").glob("*/action.yml"))
# Written in two parts, so that this file does not name them either
REGISTRIES = [
    first + second
    for first, second in [
        ("pypi", ".org"),
        ("python", "hosted.org"),
        ("download.pyt", "orch.org"),
        ("npm", "js.org"),
        ("deb.deb", "ian.org"),
    ]
]


def tracked() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached"]
    listing = ran(command, cwd=ROOT, check=True).stdout
    return [path for name in listing.split("\0") if (path := ROOT / name).is_file() and name]


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is a setting of the machine, not of the project."""
    for path in tracked():
        content = path.read_bytes()
        for host in REGISTRIES:
            assert host.encode() not in content, f"{path} names {host}"


def test_the_licence_is_apache_2_and_every_package_says_so() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    for package in PACKAGES:
        assert 'license = "Apache-2.0' in (package / "pyproject.toml").read_text(), package.name


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_only_call_dev(path: Path) -> None:
    """What continuous integration does, anybody can do: the logic is in ci/, not in YAML."""
    commands = re.findall(r"^\s*(?:- )?run: *(.*)", path.read_text(), flags=re.MULTILINE)
    assert commands
    for command in commands:
        assert re.fullmatch(r'(\./dev|ci/run-bundle) [-a-z$][-\w /."$]*', command), command


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_workflows_call_is_there(path: Path) -> None:
    """Tasks, their subtasks and options, layers, and the front-ends and tests that are named."""
    text = path.read_text()
    called = re.findall(r"(?:command:|run: *\./dev) *([a-z][^,}\n]*)", text)
    assert len(called) == text.count("command: ") + text.count("run: ./dev ") - ("$COMMAND" in text)
    for command in called:
        words = [word for word in command.split() if word[0] != "$"]  # these may be empty
        _, task, rest = find(TASKS, words)  # ends the program if there is no such task or option
        ours = {word for word in rest if word.startswith("--")} if task.passed_to else set()
        assert ours <= task.takes().keys(), command
        named = {word for option, word in pairwise(rest) if option == "--frontend"}
        assert named <= registered().keys(), command
        assert all((ROOT / word).exists() for word in rest if "/" in word), command
    assert {*re.findall(r"layer: (\w+)", text)} <= LAYERS.keys()


@pytest.mark.parametrize("path", [*WORKFLOWS, *ACTIONS], ids=lambda path: path.name)
def test_actions_are_pinned_to_commits(path: Path) -> None:
    for action in re.findall(r"uses: *(\S+)", path.read_text()):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}|\./\.github/actions/\w+", action), action


def test_each_test_module_has_a_name_of_its_own() -> None:
    """Test folders are no packages, so two modules of one name would shadow each other."""
    names = [path.name for path in ROOT.glob("*/tests/**/test_*.py")]
    assert sorted(names) == sorted(set(names))
    assert not list(ROOT.glob("*/tests/__init__.py"))
    assert not (ROOT / "mojo" / "__init__.py").exists(), "would hide the namespace package `mojo`"
