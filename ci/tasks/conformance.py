"""The task that judges front-ends; for `--matrix` it installs the JavaScript peers first."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

from checkout import commit
from checkout.paths import ROOT
from checkout.process import become

from .lock import pins
from .task import Task

CONFORMANCE = ROOT / "conformance"
PEERS = CONFORMANCE / "whisper_mel_conformance" / "peers"
OPTIONS = """
--frontend SOURCE       a registered name, package.module:attribute, path/to/file.py:attribute or
                        cmd:'./prog {in} {out} {n_mels}' (repeatable; without it: mojo-cpu and the
                        peers that need neither PyTorch nor Node.js)
--name NAME             what the front-end is called in the report (repeatable, as --frontend)
--model NAME            judge by a model's front-end, such as qwen3-asr (docs/models.md)
--peers WHICH           none, light or all: the peers that are judged, too
--matrix                every peer, too: --peers all
--diagnose              what is wrong and how to fix it, within seconds: --profile brief
--profile NAME          brief, quick, ci or nightly
--seed N                the seed of drawn cases (0)
--report DIR            where the report goes (report)
--known-failures FILE   TOML: declared failures (repeatable)
--timeout SECONDS       limit of a call (30)
-k WORDS                only cases whose id matches, as pytest's -k
-n N                    processes that judge, as pytest-xdist's -n: as many as there are processors
                        without it; 0: one
-x                      end with the first failure
--lf                    only the cases that failed the last time
--benchmark FILE        a bench.json for the report to show (repeatable)
--mutants FILE          a mutants.json for the report to show
--version               the versions of the package, the cases, the vectors and the bound
--quiet                 no progress, and at the end only problems"""
REPORT_OPTIONS = """
--output DIR       without it: the folder of the only PATH
--benchmark FILE   a bench.json for the report to show (repeatable)
--mutants FILE     a mutants.json for the report to show"""
# The locks that each layer adds, of those that peers come from
_LOCKS = {"default": ("default",), "test": ("golden", "torch"), "peers": ("peers",)}
OURS = "mojo-cpu"
_PREFIX = "mojo-"
_OURS_OF_TEST = ("mojo-air", "mojo-amdgpu", "mojo-gpu", "mojo-max", "mojo-ptx", "mojo-torch")


def layer(arguments: list[str]) -> str:
    """Return the layer that has the front-ends to be judged, as far as their names tell."""
    if _every_peer(arguments):
        return "peers"
    found = {layer_of(source) for source in _sources(arguments)}
    return next((name for name in ("peers", "test") if name in found), "default")


def compiles(arguments: list[str]) -> bool:
    """Return whether a kernel must be compiled; if no front-end is named, ours is judged."""
    sources = _sources(arguments) or [OURS]
    return any(source.startswith(_PREFIX) for source in sources)


def layer_of(source: str) -> str:
    """Return the layer that a front-end needs if it is a registered name, else `default`."""
    if source.startswith(_OURS_OF_TEST):
        return "test"
    adapter = PEERS / source.replace("-", "_")
    if not re.fullmatch(r"[\w-]+", source) or not (
        adapter.is_dir() or adapter.with_suffix(".py").exists()
    ):
        return "default"
    return _layer_of_peer(adapter.with_suffix(".py"))


def _layer_of_peer(adapter: Path) -> str:
    """Return the first layer that has all distributions whose versions an adapter states.

    It is `peers` if the adapter states none, as those do that need more than Python's packages.
    """
    source = adapter.read_text(encoding="utf-8") if adapter.exists() else ""
    stated = re.search(r"\bversions\((\"[^)]*)\)", source)
    missing = set(re.findall(r'"([\w.-]+)"', stated[1])) if stated else {""}
    for name, locks in _LOCKS.items():
        for lock in locks:
            missing -= pins(lock).keys()
        if not missing:
            return name
    return "peers"


def _values(arguments: list[str], *options: str) -> list[str]:
    """List the values of these options, which follow them."""
    found = []
    for argument, after in zip_longest(arguments, arguments[1:], fillvalue=""):
        name, equals, value = argument.partition("=")
        if name in options:
            found.append(value if equals else after)
    return found


def _sources(arguments: list[str]) -> list[str]:
    return _values(arguments, "--frontend")


def _every_peer(arguments: list[str]) -> bool:
    return "--matrix" in arguments or "all" in _values(arguments, "--peers")


def _repro_source(arguments: list[str]) -> str:
    """Return the front-end that is called again: of ``--frontend``, else of the case."""
    for source in _sources(arguments):
        return source
    for path in map(Path, arguments):
        file = path / "case.json" if path.is_dir() else path
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return str(json.loads(file.read_text(encoding="utf-8"))["front_end"]["source"])
    return ""  # the task reports the error


REPRO = Task(
    "replay a failing case: --shrink, --issue, --keep NAME --link URL",
    "PATH",
    """
--frontend SOURCE   another front-end than its own
--shrink            find smaller arguments; writes shrunken/case.json
--issue             print a bug report; writes picture.png beside the case
--keep NAME         add it to the regression corpus
--link URL          where the bug is described, for --keep
--trust             run the program, file or module that PATH names""",
    layer=lambda arguments: layer_of(_repro_source(arguments)),
    compiles=lambda arguments: _repro_source(arguments).startswith(_PREFIX),
    run=lambda arguments: run(["repro", *arguments]),
)


def run(arguments: list[str]) -> int:
    """Run the suite's command line; it judges ours if no front-end is named."""
    if _every_peer(arguments):
        _install_javascript_peers()
    os.environ.update(commit.variables())
    words = [*arguments, *_beside(arguments)]
    if arguments[:1] not in (["repro"], ["report"]) and not _sources(arguments):
        words += ["--frontend", OURS]
        words += [] if _values(arguments, "--peers", "--matrix") else ["--peers", "light"]
    become(sys.executable, "-m", "whisper_mel_conformance", *words)


def compare(arguments: list[str]) -> int:
    """Run the suite's command line; ours is the first, beside which the others are measured."""
    words = ["compare", "--frontend", OURS, *arguments]
    if not _sources(arguments) and not _values(arguments, "--peers"):
        words += ["--peers", "all"]
    os.environ.update(commit.variables())
    become(sys.executable, "-m", "whisper_mel_conformance", *words)


def _beside(arguments: list[str]) -> list[str]:
    """Return options that add this checkout's recorded measurements to the report."""
    found = []
    for option, name in (("--benchmark", "cpu.json"), ("--mutants", "mutants.json")):
        path = ROOT / "docs" / "measurements" / name
        is_short = arguments[:1] == ["repro"] or "--diagnose" in arguments
        if path.exists() and not is_short and option not in arguments:
            found += [option, str(path)]
    return found


def _install_javascript_peers() -> None:
    """Install the JavaScript peers with npm by the lock beside each; without npm they are not
    judged.
    """
    npm = shutil.which("npm")
    for lock in sorted(PEERS.glob("*/package-lock.json")):
        done = lock.parent / "node_modules" / ".package-lock.json"  # npm writes it last
        if done.exists() and done.stat().st_mtime >= lock.stat().st_mtime:
            continue
        if npm is None:
            print(f"npm is missing: {lock.parent.name} is not judged", file=sys.stderr)
        elif subprocess.call([npm, "ci", "--ignore-scripts", "--no-audit"], cwd=lock.parent):
            print(f"npm failed: {lock.parent.name} is not judged", file=sys.stderr)
