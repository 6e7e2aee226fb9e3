"""The table of docs/versions.md: what versions of the cases, the vectors and the bound stand for.

A release is recorded in docs/measurements/releases.json, an object by the package's version. Under
a version that is recorded, nothing else may follow.
"""

from __future__ import annotations

import hashlib
import json
import math
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
from checkout.paths import MEASUREMENTS
from whisper_mel_conformance.cases.catalogue import CASES_VERSION, all_cases
from whisper_mel_golden import golden_cases, load_manifest, vectors
from whisper_mel_golden.store import DATA
from whisper_mel_reference import BOUND_VERSION, error_bound

from docs.sections import table

RECORD = MEASUREMENTS / "releases.json"
Content = dict[str, dict[str, Any]]
"""The content of each thing that has a version of its own, by the thing's name."""


def read() -> dict[str, Content]:
    """Read the recorded releases by the package's version, the earliest first."""
    found: dict[str, Content] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


def record() -> None:
    """Record today's content as that of the package's version."""
    releases = read() | {version("whisper-mel-conformance"): today()}
    RECORD.write_text(json.dumps(releases, indent=1) + "\n", encoding="utf-8")


@cache
def today() -> Content:
    """Return the content of today's versions."""
    cases = {case.id: case.arguments for case in all_cases("nightly")}
    manifest = load_manifest(DATA)
    goldens = {case.id: manifest["cases"][case.id]["sha256"] for case in golden_cases()}
    return {
        "cases": {"version": CASES_VERSION, **_identity(cases)},
        "vectors": {"version": vectors.VERSION, **_identity(goldens)},
        "bound": {"version": BOUND_VERSION, "values": _bounds()},
    }


def _identity(content: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(content, sort_keys=True)
    return {"count": len(content), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _bounds() -> list[float]:
    """Return the bounds of some values of noise that fades: loud, quiet and clamped ones."""
    noise = np.random.default_rng(0).uniform(-1, 1, 3200)
    bound = error_bound((noise * np.logspace(0, -7, noise.size)).astype(np.float32))
    return [float(value) for value in bound[::13].reshape(-1)[::11]]


def broken(releases: dict[str, Content], now: Content) -> list[str]:
    """Return a sentence for each thing that has changed under a version that was released."""
    return [
        f"{thing} {was['version']} differs from that of release {release}: expected another version"
        for release, content in releases.items()
        for thing, was in content.items()
        if was["version"] == now[thing]["version"] and not _same(was, now[thing])
    ]


def _same(was: dict[str, Any], now: dict[str, Any]) -> bool:
    """Return whether contents are equal; bounds up to the rounding of other machines."""
    was, now = dict(was), dict(now)
    values = was.pop("values", []), now.pop("values", [])
    return was == now and len(values[0]) == len(values[1]) and all(map(_close, *values))


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9)


def section() -> str:
    """Return the table of releases; raise ``ValueError`` if one is not kept."""
    releases, now = read(), today()
    problems = broken(releases, now)
    if problems:
        raise ValueError("; ".join(problems))
    named = version("whisper-mel-conformance")
    rows = [[name, *map(_cell, content.values())] for name, content in releases.items()]
    if named not in releases:
        rows += [[f"{named} (unreleased)", *(it["version"] for it in now.values())]]
    return table(["package", *now], rows)


def _cell(content: dict[str, Any]) -> str:
    if "count" not in content:
        return str(content["version"])
    return f"{content['version']}: {content['count']:,}, SHA-256 `{content['sha256'][:12]}…`"
