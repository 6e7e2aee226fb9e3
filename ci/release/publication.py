"""Publishing of a release, from a workflow that the package index trusts, without a password."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from checkout.paths import MEASUREMENTS, PACKAGES, ROOT

from release import sbom

RELEASES = MEASUREMENTS / "releases.json"


def publish(dist: Path, arguments: list[str]) -> int:
    """Publish wheels and sources on the index, and what is beside them in the release.

    `arguments` is the tag, which names the release: `v` and the version of every package. Returns 2
    if something is missing.
    """
    (tag,) = arguments if len(arguments) == 1 else ("",)
    problem = not_ready(dist, tag)
    if problem:
        print(f"build publish {tag}: {problem}", file=sys.stderr)
        return 2
    uploads = sorted(str(path) for path in [*dist.glob("*.whl"), *_sources(dist, tag)])
    status = subprocess.call(["uv", "publish", "--trusted-publishing", "always", *uploads])
    beside = [str(dist / name) for name in _beside(tag)]
    create = ["gh", "release", "create", tag, *beside, "--verify-tag", "--generate-notes"]
    return status or subprocess.call(create, cwd=ROOT)


def not_ready(dist: Path, tag: str) -> str | None:
    """Return why this tag cannot be released; None if it can."""
    for package in PACKAGES:
        text = (package / "pyproject.toml").read_text()
        version = re.search(r'^version = "(.*)"', text, re.MULTILINE)
        if not version or tag != f"v{version[1]}":
            return f"expected the tag v{version and version[1]}, the version of {package.name}"
    if f"\n## {tag[1:]} " not in (ROOT / "CHANGELOG.md").read_text():
        return f"expected a section '## {tag[1:]} (date)' in CHANGELOG.md"
    if tag[1:] not in json.loads(RELEASES.read_text()):
        return f"expected {tag[1:]} in {RELEASES.name}: ./dev docs --release"
    wanted = [f"whisper_mel_{package.name}-{tag[1:]}-*.whl" for package in PACKAGES]
    wanted += [f"whisper_mel_{package.name}-{tag[1:]}.tar.gz" for package in PACKAGES]
    wanted += _beside(tag)
    missing = [name for name in wanted if not list(dist.glob(name))]
    return f"missing in {dist}: {', '.join(missing)}" if missing else None


def _beside(tag: str) -> list[str]:
    """List what goes to the release: the vectors and the bill of materials."""
    from whisper_mel_golden.vectors import QUICK, STEM  # not there yet when ./dev begins

    return [f"{STEM}.tar.gz", f"{QUICK}.tar.gz", sbom.file_name(tag[1:])]


def _sources(dist: Path, tag: str) -> list[Path]:
    return [dist / f"whisper_mel_{package.name}-{tag[1:]}.tar.gz" for package in PACKAGES]
