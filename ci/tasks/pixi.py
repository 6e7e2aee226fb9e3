"""What `./dev lock` writes into pixi.toml: tasks, and every pin of the locks.

No pixi.lock is committed, so the manifest itself has to say which version each package has, the
packages that others pull in included. Which features make up an environment is written by hand.
"""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
import sys

from .paths import LOCKS, PACKAGES, ROOT

MANIFEST = ROOT / "pixi.toml"
MARK = "# ---- ./dev lock writes everything from here on ----\n"
FEATURES = ["golden", "docs", "test", "torch", "peers", "cuda"]
"""The locks that are features of their names; the lock ``default`` is the default feature."""


def write() -> bool:
    """Brings pixi.toml up to date with ci/locks and the tasks; says whether that changed it."""
    old = MANIFEST.read_text()
    by_hand, mark, _ = old.partition(MARK)
    if not mark:
        raise SystemExit(f"pixi.toml: expected the line {MARK!r}, below which ./dev lock writes")
    new = by_hand + MARK + generated(python_of(by_hand))
    if new == old:
        return False
    # Whatever the pins do not cover (Python itself, build backends) is as old as they are.
    today = datetime.datetime.now(datetime.timezone.utc).date()
    new = re.sub(r'^exclude-newer = ".*?"', f'exclude-newer = "{today}"', new, flags=re.M)
    MANIFEST.with_suffix(".new").write_text(new)
    MANIFEST.with_suffix(".new").replace(MANIFEST)
    return True


def solve() -> int:
    """Has pixi solve the manifest into pixi.lock; 1 if it cannot, or is not there."""
    if not shutil.which("pixi"):
        print("lock pixi: pixi is not on the PATH", file=sys.stderr)
        return 1
    return subprocess.call(["pixi", "lock"], cwd=ROOT)


def python_of(manifest: str) -> str:
    """The Python that the manifest asks for: ``3.11``."""
    found = re.search(r'^python = "(\d+\.\d+)\.\*"', manifest, re.MULTILINE)
    if not found:
        raise SystemExit('pixi.toml: expected a line as python = "3.11.*"')
    return found[1]


def generated(python: str) -> str:
    """The tables of tasks and of packages, for one Python on Linux."""
    default = dict(pins("default", python))
    lines = ["\n[tasks]", *_tasks(), "\n[pypi-dependencies]"]
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
    """(package, version), as a lock has them for one Python on Linux."""
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


def _tasks() -> list[str]:
    """Each task, in the smallest environment that it runs in without arguments."""
    from . import TASKS
    from .task import layers

    return [
        f'{name} = {{ cmd = "python ci {name}", description = "{task.summary}",'
        f' default-environment = "{layers(task, [])[-1]}" }}'
        for name, task in TASKS.items()
    ]
