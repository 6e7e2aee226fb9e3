"""The locks: hashed, free of addresses, complete, and of one mind with each other and pixi.toml."""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from importlib.resources import files

import jsonschema
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tasks import TASKS
from tasks.paths import LOCKS, PACKAGES, ROOT

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
    for name in ("bootstrap", "default", "test", "torch"):
        for package, version in pins(name, python).items():
            assert seen.setdefault(package, version) == version, f"{package} in {name}.txt"


def test_no_gigabytes_by_accident() -> None:
    for python in PYTHONS:
        assert not {"torch", "triton"} & pins("test", python).keys()
        assert "triton" not in pins("torch", python)
        assert not {"torch", "max"} & pins("default", python).keys()


def test_both_torch_locks_hold_one_version() -> None:
    assert pins("torch-cpu", "3.11")["torch"] == pins("torch", "3.11")["torch"] + "+cpu"


def test_the_installed_locks_are_complete() -> None:
    """Installed without looking at dependencies: nothing that a package needs may be missing."""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    has_torch = importlib.metadata.version("torch")
    locks = ["default", "test", "torch-cpu" if "+cpu" in has_torch else "torch"]
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
    tasks = PIXI["tasks"] | PIXI["feature"]["test"]["tasks"]
    assert tasks == {name: f"python ci {name}" for name in TASKS}


def test_pixi_has_the_pins_of_the_locks() -> None:
    python = PIXI["dependencies"]["python"].removesuffix(".*")
    default = dict(PIXI["pypi-dependencies"])
    for package in PACKAGES:
        local = default.pop(f"whisper-mel-{package.name}")
        assert local == {"path": package.name, "editable": True}
    for layer, locks in (
        (default, ["bootstrap", "default"]),
        (PIXI["feature"]["test"]["pypi-dependencies"], ["test", "torch"]),
    ):
        asked = {
            canonicalize_name(need.name): f"=={pins(name, python)[canonicalize_name(need.name)]}"
            for name in locks
            for need in inputs(name)
            if need.marker is None or need.marker.evaluate({**LINUX, "python_version": python})
        }
        assert layer == asked
