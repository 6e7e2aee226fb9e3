"""Static checks. Every checker runs, even after one has failed."""

from __future__ import annotations

import os
import subprocess
import sys

from checkout.paths import ROOT

# The formatter that `mojo format --line-length 100` runs, asked for a difference only
MOJO_FORMAT = ["mblack", "--fast", "--preview", "-t", "mojo", "--line-length", "100"]
MOJO_FORMAT += ["--quiet", "--check", "--diff"]

# The contracts are in pyproject.toml; $PYTHONPATH finds the rooms of ci.
IMPORTS = ["lint-imports", "--no-logo", "--no-cache"]
ROOMS = {"PYTHONPATH": "ci"}

SCHEMA = ["check-jsonschema", "--quiet", "--builtin-schema"]


def run(arguments: list[str]) -> int:
    """Run all checkers; return 1 if any found something."""
    mojo_sources = _files("mojo/**/*.mojo")
    checkers = [
        ["ruff", "check"],
        ["ruff", "format", "--check"],
        ["mypy"],
        IMPORTS,
        [*MOJO_FORMAT, *mojo_sources],
        ["actionlint"],
        ["zizmor", "--quiet", "--offline", ".github"],
        [*SCHEMA, "vendor.github-workflows", *_files(".github/workflows/*.yml")],
        [*SCHEMA, "vendor.github-actions", *_files(".github/actions/*/action.yml")],
        [*SCHEMA, "vendor.github-issue-forms", *_files(".github/ISSUE_TEMPLATE/[!c]*.yml")],
        [*SCHEMA, "vendor.citation-file-format", "CITATION.cff"],
        [sys.executable, "ci", "docs", "--check"],
    ]
    environment = {**os.environ, **ROOMS}
    failed = []
    for command in checkers:
        names = {"ruff": " ".join(command[:2]), sys.executable: " ".join(command[2:])}
        name = names.get(command[0], command[0])
        print(f"== {name}", flush=True)
        if subprocess.call(command, cwd=ROOT, env=environment):
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "all clean")
    return 1 if failed else 0


def _files(pattern: str) -> list[str]:
    return sorted(str(path) for path in ROOT.glob(pattern))
