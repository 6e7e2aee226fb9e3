"""The part of pixi.toml that `./dev lock` writes: tasks, and every pin of the locks.

No pixi.lock is committed. Therefore the manifest pins every package, including dependencies of
others. The environments' features are written by hand.
"""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping

from checkout.paths import LOCKS, PACKAGES, ROOT

from .task import Task, layers

MANIFEST = ROOT / "pixi.toml"
MARK = "# ---- ./dev lock writes everything from here on ----\n"
FEATURES = ["golden", "docs", "test", "torch", "peers", "cuda", "site"]
"""Locks that are features of the same name; the lock ``default`` is the default feature."""


def write(tasks: Mapping[str, Task]) -> bool:
    """Bring pixi.toml up to date with ci/locks and the tasks; return whether it changed."""
    old = MANIFEST.read_text()
    by_hand, mark, _ = old.partition(MARK)
    if not mark:
        raise SystemExit(f"pixi.toml: expected the line {MARK!r}, below which ./dev lock writes")
    new = by_hand + MARK + generated(python_of(by_hand), tasks)
    if new == old:
        return False
    # Packages without a pin (Python itself, build backends) may not be newer than the pins.
    today = datetime.datetime.now(datetime.timezone.utc).date()
    new = re.sub(r'^exclude-newer = ".*?"', f'exclude-newer = "{today}"', new, flags=re.M)
    MANIFEST.with_suffix(".new").write_text(new)
    MANIFEST.with_suffix(".new").replace(MANIFEST)
    return True


def solve() -> int:
    """Let pixi solve the manifest into pixi.lock; return 1 if it fails or is not installed."""
    if not shutil.which("pixi"):
        print("lock pixi: pixi is not on the PATH", file=sys.stderr)
        return 1
    return subprocess.call(["pixi", "lock"], cwd=ROOT)


def python_of(manifest: str) -> str:
    """Return the Python version that the manifest asks for, such as ``3.11``."""
    found = re.search(r'^python = "(\d+\.\d+)\.\*"', manifest, re.MULTILINE)
    if not found:
        raise SystemExit('pixi.toml: expected a line as python = "3.11.*"')
    return found[1]


def generated(python: str, tasks: Mapping[str, Task]) -> str:
    """Return the tables of tasks and of packages, for one Python on Linux."""
    default = dict(pins("default", python))
    lines = ["\n[tasks]", *_commands(tasks), "\n[pypi-dependencies]"]
    lines += [
        f'whisper-mel-{package.name} = {{ path = "{package.name}", editable = true }}'
        for package in PACKAGES
    ]
    lines += _table(default)
    for name in FEATURES:
        lines += [f"\n[feature.{name}.pypi-dependencies]"]
        lines += _table(dict(it for it in pins(name, python) if it[0] not in default))
    return "\n".join(lines) + "\n"


def pins(lock: str, python: str) -> list[tuple[str, str]]:
    """List the packages and versions that a lock has for one Python on Linux."""
    from packaging.markers import Marker

    machine = {"sys_platform": "linux", "platform_machine": "x86_64", "platform_system": "Linux"}
    where = {**machine, "python_version": python, "python_full_version": f"{python}.1"}
    lines = re.findall(
        r"^([\w.-]+)==([^\s;]+)(?: ; (.*?))? *\\$", (LOCKS / f"{lock}.txt").read_text(), re.M
    )
    return [
        (package, version)
        for package, version, marker in lines
        if not marker or Marker(marker).evaluate(where)
    ]


def _table(packages: dict[str, str]) -> list[str]:
    return [f'{package} = "=={version}"' for package, version in sorted(packages.items())]


def _commands(tasks: Mapping[str, Task]) -> list[str]:
    """List the tasks, each with the smallest environment that runs it without arguments."""
    return [
        f'{name} = {{ cmd = "python ci {name}", description = "{task.summary}",'
        f' default-environment = "{layers(task, [])[-1]}" }}'
        for name, task in tasks.items()
    ]
