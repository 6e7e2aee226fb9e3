"""The locks: hashed, free of addresses, complete, and of one mind with each other and pixi.toml."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from checkout.paths import LOCKS, PACKAGES, ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tasks import LAYERS, TASKS, lock, pixi
from tasks.task import layers

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAMES = sorted(path.stem for path in LOCKS.glob("*.txt"))
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
LINUX = {"sys_platform": "linux", "platform_machine": "x86_64"}


def entries(name: str) -> list[tuple[Requirement, list[str]]]:
    """The requirements of a lock, each with what else stands in its entry."""
    text = (LOCKS / f"{name}.txt").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", "")
    split = [line.split(" --") for line in text.splitlines()]
    return [(Requirement(first), rest) for first, *rest in split]


def pins(name: str, python: str) -> dict[str, str]:
    """Package -> version that a lock gives a Python on Linux."""
    where = {**LINUX, "python_version": python, "python_full_version": f"{python}.1"}
    return {
        canonicalize_name(requirement.name): str(requirement.specifier).removeprefix("==")
        for requirement, _ in entries(name)
        if requirement.marker is None or requirement.marker.evaluate(where)
    }


def inputs(name: str) -> list[Requirement]:
    lines = (LOCKS / f"{name}.in").read_text().splitlines()
    return [Requirement(line.partition("#")[0]) for line in lines if line and line[0] != "#"]


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_is_pinned_hashed_and_without_address(name: str) -> None:
    assert entries(name)
    for requirement, rest in entries(name):
        assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), requirement
        assert rest, f"{requirement} has no hash"
        assert all(re.fullmatch(r"hash=sha256:[0-9a-f]{64}\s*", item) for item in rest), requirement
    assert "://" not in (LOCKS / f"{name}.txt").read_text()


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", [path.stem for path in sorted(LOCKS.glob("*.in"))])
def test_a_lock_holds_what_its_input_asks_for(name: str, python: str) -> None:
    pinned = pins(name, python)
    for requirement in inputs(name):
        marker = requirement.marker
        if marker is None or marker.evaluate({**LINUX, "python_version": python}):
            assert pinned[canonicalize_name(requirement.name)] in requirement.specifier


@pytest.mark.parametrize("python", PYTHONS)
def test_locks_that_are_installed_together_agree(python: str) -> None:
    """They are installed on top of each other: a package in two of them has one version."""
    seen: dict[str, str] = {}
    for name in lock.LOCK_FILES:
        for package, version in pins(name, python).items():
            assert seen.setdefault(package, version) == version, f"{package} in {name}.txt"


def test_no_gigabytes_by_accident() -> None:
    for python in PYTHONS:
        for name in lock.LOCK_FILES:
            assert "triton" not in pins(name, python)
            assert name == "torch" or "torch" not in pins(name, python)
        assert not {"torch", "max"} & pins("default", python).keys()


def test_both_torch_locks_hold_one_version() -> None:
    assert pins("torch-cpu", "3.11")["torch"] == pins("torch", "3.11")["torch"] + "+cpu"


def test_the_installed_locks_are_complete() -> None:
    """Installed without looking at dependencies: nothing that a package needs may be missing."""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    has_torch = importlib.metadata.version("torch")
    locks = ["default", "golden", "docs", "test", "torch-cpu" if "+cpu" in has_torch else "torch"]
    installed = {package for name in locks for package in pins(name, python)}
    wrong = []
    for package in sorted(installed):
        for line in importlib.metadata.requires(package) or []:
            need = Requirement(line)
            if need.name == "triton" or (need.marker and not need.marker.evaluate({"extra": ""})):
                continue
            try:
                version = importlib.metadata.version(need.name)
            except importlib.metadata.PackageNotFoundError:
                version = None
            if version is None or not need.specifier.contains(version, prereleases=True):
                wrong.append(f"{package} needs {need}, there is {version}")
    assert not wrong


# --------------------------------------------------------------------------- pixi.toml

PIXI = tomllib.loads((ROOT / "pixi.toml").read_text())


def test_pixi_manifest_follows_its_schema() -> None:
    schema = files("validate_pyproject_schema_store") / "resources" / "pixi.schema.json"
    jsonschema.validate(PIXI, json.loads(schema.read_text()))


def test_pixi_has_devs_tasks() -> None:
    """Each in the layer of ./dev that it needs."""
    assert PIXI["tasks"].keys() == TASKS.keys()
    for name, task in TASKS.items():
        assert PIXI["tasks"][name]["cmd"] == f"python ci {name}"
        environment = PIXI["tasks"][name]["default-environment"]
        assert environment == layers(task, [])[-1]
        assert environment in {"default", *PIXI["environments"]}


# What ./dev installs for its layers, and what the environments are that only pixi has
ENVIRONMENTS = {
    "default": ["default"],
    "golden": ["default", "golden", "torch"],
    "docs": ["default", "docs"],
    "test": ["default", "golden", "docs", "test", "torch"],
    "peers": ["default", "golden", "docs", "test", "torch", "peers"],
    "cuda": ["default", "golden", "docs", "test", "torch", "cuda"],
    "site": ["default", "site"],
    "rocm": ["default", "docs", "test"],
}


def test_pixi_has_these_environments() -> None:
    assert {"default", *PIXI["environments"]} == ENVIRONMENTS.keys()


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_pixi_environment_is_the_union_of_its_locks(name: str) -> None:
    """Whole sets: what others pull in included, nothing that no lock has."""
    python = PIXI["dependencies"]["python"].removesuffix(".*")
    features = PIXI["environments"].get(name, [])
    tables = [PIXI["feature"][feature]["pypi-dependencies"] for feature in features]
    packages: dict[str, Any] = {}
    for table in [PIXI["pypi-dependencies"], *tables]:
        for package, version in table.items():
            assert packages.setdefault(package, version) == version
    for path in PACKAGES:
        local = packages.pop(f"whisper-mel-{path.name}")
        assert local == {"path": path.name, "editable": True}
    locked = {k: v for lock_name in ENVIRONMENTS[name] for k, v in pins(lock_name, python).items()}
    assert len(locked) > 50
    assert packages == {package: f"=={version}" for package, version in locked.items()}


def test_devs_layers_are_made_of_these_locks() -> None:
    module = ast.parse((ROOT / "dev").read_text())
    (table,) = [
        node.value
        for node in module.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAYERS"
    ]
    assert isinstance(table, ast.Dict)
    locks_of = {
        ast.literal_eval(key): ast.literal_eval(value.elts[0])
        for key, value in zip(table.keys, table.values, strict=True)
        if key is not None and isinstance(value, ast.Tuple)
    }
    assert locks_of.keys() == {name for layer in LAYERS.values() for name in layer}
    for name, layer in LAYERS.items():
        locks = {lock_name for part in layer for lock_name in locks_of[part]} - {"torch-cpu"}
        assert locks == set(ENVIRONMENTS[name])


# --------------------------------------------------------------------------- ./dev lock


def test_every_input_is_locked_and_carried_over() -> None:
    assert {path.stem for path in LOCKS.glob("*.in")} == set(lock.LOCK_FILES)
    assert ["default", *pixi.FEATURES] == lock.LOCK_FILES


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the locks and of pixi.toml that ./dev lock may write to."""
    shutil.copytree(LOCKS, tmp_path / "locks")
    shutil.copy(ROOT / "pixi.toml", tmp_path)
    monkeypatch.setattr(lock, "LOCKS", tmp_path / "locks")
    monkeypatch.setattr(pixi, "LOCKS", tmp_path / "locks")
    monkeypatch.setattr(pixi, "MANIFEST", tmp_path / "pixi.toml")
    return tmp_path


def test_lock_says_what_changed_and_writes_it_into_pixis_manifest(
    locks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def resolve(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        if "default.in" in command:
            path = locks / "locks" / "default.txt"
            new = re.sub(r"^jsonschema==\S+", "jsonschema==99.0", path.read_text(), flags=re.M)
            path.write_text(re.sub(r"^pytest==(.*\n)(    .*\n)*", "", new, flags=re.M))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", resolve)
    old = PIXI["pypi-dependencies"]
    assert lock.run([], TASKS) == 0
    out = capsys.readouterr().out
    version, gone = old["jsonschema"].strip("="), old["pytest"].strip("=")
    expected = [
        "ci/locks/default.txt",
        f"  jsonschema: {version} → 99.0",
        f"  pytest: {gone} → (none)",
    ]
    assert "\n".join([*expected, "ci/locks/golden.txt\n"]) in out
    assert "pixi.toml: written" in out
    new = tomllib.loads((locks / "pixi.toml").read_text())
    assert new["pypi-dependencies"].pop("jsonschema") == "==99.0"
    assert {k: v for k, v in old.items() if k not in ("pytest", "jsonschema")} == new.pop(
        "pypi-dependencies"
    )
    assert new["workspace"].pop("exclude-newer") >= PIXI["workspace"]["exclude-newer"]
    rest = {**PIXI, "workspace": {**PIXI["workspace"]}}
    del rest["pypi-dependencies"], rest["workspace"]["exclude-newer"]
    assert new == rest, "what is written by hand stays"
    assert lock.run([], TASKS) == 0
    assert capsys.readouterr().out.endswith("pixi.toml: as it was\n")


def test_pixis_manifest_is_what_dev_lock_writes(locks: Path) -> None:
    assert not pixi.write(TASKS)
    assert (locks / "pixi.toml").read_text() == (ROOT / "pixi.toml").read_text()


def test_a_manifest_without_the_mark_is_left_alone(locks: Path) -> None:
    (locks / "pixi.toml").write_text("[workspace]\n")
    with pytest.raises(SystemExit, match="expected the line"):
        pixi.write(TASKS)
    assert (locks / "pixi.toml").read_text() == "[workspace]\n"


def test_lock_stops_at_the_first_failure(locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        ran.append(command)
        return subprocess.CompletedProcess(command, int("golden.in" in command))

    monkeypatch.setattr(subprocess, "run", run)
    assert lock.run(["--upgrade"], TASKS) == 1
    assert [command[-1] for command in ran] == ["--upgrade"] * 2, "nothing after the failure"
    assert "--constraint=default.txt" in ran[-1]
