"""Reports made up for tests: small, of every status, with names and messages that are attacks."""

from __future__ import annotations

from typing import Any

import numpy as np
from whisper_mel_conformance.report.documents import Document
from whisper_mel_conformance.report.environment import environment
from whisper_mel_conformance.report.figure import figure

EVIL = "<script>alert(1)</script> \"quoted\" 'and' `ticks` | @everyone"
MESSAGE = "</code><img src=x onerror=alert(2)> ]]> \x07\x00 | [click](javascript:alert(3)) "
LINK = "javascript:alert(4)"


def shown(seed: int = 0, *, n_mels: int = 80, n_frames: int = 50) -> dict[str, Any]:
    """A figure of noise, with one frame that is wrong and one value that is no number."""
    rng = np.random.default_rng(seed)
    expected = rng.normal(size=(n_mels, n_frames))
    actual = expected.astype(np.float32)
    actual[:, 7] += 0.1
    actual[3, 7] = np.nan
    bound = np.full(expected.shape, 1e-6)
    made = figure(EVIL, {"actual": actual, "expected": expected, "bound": bound})
    assert made is not None
    return made


def case(id: str, status: str, score: Any = None, message: str = "") -> dict[str, Any]:
    where = f"failures/x/{id.replace('/', '--')}" if status == "failed" else None
    return {
        "id": id,
        "status": status,
        "score": score,
        "seconds": 0.01,
        "message": message,
        "reproduction": where,
    }


def front_end(name: str, cases: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    statuses = [c["status"] for c in cases]
    return {
        "name": name,
        "source": f"module:{name}",
        "device": "cpu",
        "versions": {"library": "1.0"},
        "named": True,
        "class": "fails" if "failed" in statuses else "A",
        "required_class": "A",
        "calls": len(cases),
        "counts": {s: statuses.count(s) for s in ("passed", "failed", "skipped", "known")},
        "diagnosis": None,
        "declared": [],
        "figures": [],
        "worst": {"case": cases[0]["id"], "score": 0.25},
        "cases": cases,
        **more,
    }


def run(*front_ends: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "format": 1,
        "created": "2026-11-25T12:00:00+00:00",
        "profile": "quick",
        "seed": 0,
        "environment": environment(),
        "interrupted": None,
        "unavailable": {},
        "problems": [],
        "front_ends": list(front_ends),
        **more,
    }


def good(name: str = "good") -> dict[str, Any]:
    cases = [case("golden/reading/80", "passed", 0.25), case("numerics/dc/80", "passed", 0.1)]
    return front_end(name, [*cases, case("batch/three/80", "skipped", None, "no batch")])


def bad(failures: int = 3) -> dict[str, Any]:
    """Fails cases, is diagnosed, has a declared failure; every text of it is an attack."""
    cases = [case(f"boundary/length-{i}/80", "failed", 1e5 + i, MESSAGE) for i in range(failures)]
    cases += [case("numerics/dc/80", "failed", "inf", MESSAGE), case("golden/dc/80", "passed", 0.2)]
    cases.append(case("errors/nan/80", "known", None, MESSAGE))
    seen = [LINK, "https://x.invalid/"]
    quirk = {"id": EVIL, "value": None, "mechanism": MESSAGE, "fix": MESSAGE, "seen": seen}
    found = {"summary": [MESSAGE], "cause": MESSAGE, "fix": [MESSAGE], "evidence": [EVIL]}
    return front_end(
        EVIL,
        cases,
        diagnosis={**found, "explanations": [{"score": 0.4, "quirks": [quirk]}]},
        declared=[
            {"since": "2026-11-24", "version": "1", "mechanism": MESSAGE, "link": LINK, "cases": 1}
        ],
        figures=[shown()],
        worst={"case": "numerics/dc/80", "score": "inf"},
        versions={EVIL: MESSAGE},
    )


def benchmark() -> dict[str, Any]:
    row = {"ours": "good", "ours_ms": 0.4, "other": "slow", "other_ms": 8.0, "ratio": 20.0}
    return {
        "created": "2026-11-25T12:00:00+00:00",
        "commit": "0123456789abcdef",
        "cpu": MESSAGE,
        "versions": {},
        "rows": [{"id": "slow/30s/80", **row, "noisy": True}],
    }


def mutants() -> list[dict[str, Any]]:
    def mutant(id: str, verdict: str, killed_by: dict[str, int] | None) -> dict[str, Any]:
        fields = {"id": id, "kind": "quirk", "killer": "golden/dc/80", "verdict": verdict}
        return {**fields, "score": 1e38, "equivalent": "", "killed_by": killed_by}

    kills = {"golden": 3, "numerics": 17}
    return [mutant("caught", "killed", kills), mutant(EVIL, "survives", {"golden": 0})]


def document(*, failures: int = 3) -> Document:
    """Of one run, with all there is."""
    whole = run(good(), bad(failures), problems=[MESSAGE], unavailable={EVIL: MESSAGE})
    return Document([whole], [benchmark()], mutants())
