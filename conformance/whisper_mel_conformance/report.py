"""What a run leaves behind: the table, ``report.json``, a reproduction of every failure."""

from __future__ import annotations

import json
import platform
import shlex
import shutil
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from whisper_mel_reference import WHISPER

from whisper_mel_conformance.catalogue import FAMILIES
from whisper_mel_conformance.client import FrontEnd
from whisper_mel_conformance.command import COMMAND_PREFIX
from whisper_mel_conformance.folder import whole_folder, write_whole
from whisper_mel_conformance.running import STATUSES, Result, Run

FORMAT = 1
_DISTRIBUTIONS = (
    "numpy",
    "hypothesis",
    "whisper-mel-reference",
    "whisper-mel-golden",
    "whisper-mel-conformance",
)
_SHOWN = 15  # failures in the summary


# --------------------------------------------------------------------------- for people


def table(run: Run) -> list[str]:
    """Front-end by family: passed/failed/skipped; the declared failures; the worst score."""
    header = ["front-end", *FAMILIES, "known", "worst", "class", "worst case"]
    rows = [header]
    for front_end in run.front_ends:
        name = front_end.name
        if not run.of(name):
            continue
        cells = [name]
        for family in FAMILIES:
            of_family = [r for r in run.of(name) if r.case.family == family]
            counts = [sum(r.status == s for r in of_family) for s in STATUSES[:3]]
            cells.append("/".join(map(str, counts)))
        worst = run.worst(name)
        known = len(run.of(name, "known"))
        cells += [str(known), "-" if worst is None else f"{worst.score:.3g}"]
        cells += [
            run.class_of(name) + ("*" if known else ""),
            "-" if worst is None else worst.case.id,
        ]
        rows.append(cells)
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def summary(run: Run, folder: Path) -> list[str]:
    """The table, and what is to be done."""
    lines = []
    for front_end in run.front_ends:
        failed = run.of(front_end.name, "failed")
        for result in failed[:_SHOWN]:
            lines.append(f"FAILED {front_end.name} {result.case.id}: {result.message}")
        if len(failed) > _SHOWN:
            lines.append(f"… and {len(failed) - _SHOWN} more failures of {front_end.name}")
        if failed and front_end.name in run.diagnoses:
            lines += [f"DIAGNOSIS {front_end.name}:"]
            lines += [f"  {line}" for line in run.diagnoses[front_end.name].sentences]
            picture = picture_path(front_end.name, folder)
            lines += [f"  picture: {picture}"] if picture.exists() else []
    lines += [f"PROBLEM {problem}" for problem in run.problems()]
    lines += [f"not available: {name} ({why})" for name, why in run.unavailable.items()]
    lines += ["", "passed/failed/skipped; worst: error / bound; known: declared divergences"]
    lines += ["(class*: but for those)", ""]
    lines += table(run)
    if (folder / "report.json").exists():
        lines += ["", f"report: {folder / 'report.json'}"]
    if any(result.status == "failed" for result in run.results):
        lines.append(f"replay a failure: python -m {__package__} repro {folder / 'failures'}/…")
    return lines


# --------------------------------------------------------------------------- for machines


def machine() -> dict[str, Any]:
    """The machine and the versions that a result depends on."""
    versions = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return {"platform": platform.platform(), "machine": platform.machine(), "versions": versions}


def as_json(run: Run) -> dict[str, Any]:
    """The run as plain data; described by ``report.schema.json``."""
    return {
        "format": FORMAT,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "profile": run.profile,
        "seed": run.seed,
        "environment": machine(),
        "interrupted": run.interrupted,
        "unavailable": run.unavailable,
        "problems": run.problems(),
        "front_ends": [_front_end(run, f) for f in run.front_ends if run.of(f.name)],
    }


def _front_end(run: Run, front_end: FrontEnd) -> dict[str, Any]:
    name = front_end.name
    worst = run.worst(name)
    return {
        "name": name,
        "source": front_end.source,
        "device": front_end.device,
        "versions": front_end.versions,
        "named": name in run.named,
        "class": run.class_of(name),
        "required_class": front_end.capabilities.required_class,
        "calls": front_end.calls,
        "counts": {status: len(run.of(name, status)) for status in STATUSES},
        "diagnosis": run.diagnoses[name].as_json() if name in run.diagnoses else None,
        "worst": None if worst is None else {"case": worst.case.id, "score": _number(worst.score)},
        "cases": [
            {
                "id": result.case.id,
                "status": result.status,
                "score": _number(result.score),
                "seconds": round(result.seconds, 4),
                "message": result.message,
            }
            for result in run.of(name)
        ],
    }


def _number(value: float | None) -> float | str | None:
    """JSON knows no infinity."""
    return value if value is None or np.isfinite(value) else str(value)


def write(run: Run, folder: Path) -> None:
    """``report.json``, ``table.txt``, and a picture of each front-end that was diagnosed.

    Raises ``OSError``; each file is then what it was, or not there.
    """
    for name, diagnosis in run.diagnoses.items():
        picture = diagnosis.picture()
        if picture is not None:
            write_whole(picture_path(name, folder), picture)
    text = json.dumps(as_json(run), indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(folder / "report.json", f"{text}\n".encode())
    lines = [f"PROBLEM {problem}" for problem in run.problems()] + table(run)
    write_whole(folder / "table.txt", ("\n".join(lines) + "\n").encode())


# --------------------------------------------------------------------------- reproductions


def failure_folder(front_end: str, folder: Path) -> Path:
    """Where the reproductions of a front-end are."""
    return folder / "failures" / "".join(c if c.isalnum() or c in "-_." else "_" for c in front_end)


def picture_path(front_end: str, folder: Path) -> Path:
    """Where the picture of a failing front-end's features is, if there is one."""
    return failure_folder(front_end, folder) / "features.png"


def forget(run: Run, folder: Path) -> None:
    """Remove an earlier run's report, and its reproductions of the front-ends of this one."""
    for name in ("report.json", "table.txt"):
        (folder / name).unlink(missing_ok=True)
    for front_end in run.front_ends:
        shutil.rmtree(failure_folder(front_end.name, folder), ignore_errors=True)


def write_failure(result: Result, front_end: FrontEnd, folder: Path) -> Path:
    """Write down all that is needed to replay a failure; the path of its ``case.json``.

    Raises ``OSError``; there is no reproduction then.
    """
    where = failure_folder(front_end.name, folder) / result.case.id.replace("/", "--")
    path = where / "case.json"
    case = {
        "format": FORMAT,
        "case": result.case.id,
        "front_end": {
            "source": _absolute(front_end.source),
            "name": front_end.name,
            "device": front_end.device,
            "versions": front_end.versions,
        },
        "check": result.case.check,
        "arguments": result.arguments,
        "specification": _specification(result),
        "score": _number(result.score),
        "message": result.message,
        "environment": machine(),
        "command": shlex.join(["python", "-m", str(__package__), "repro", str(path)]),
    }
    text = json.dumps(case, indent=1, ensure_ascii=False)
    with whole_folder(where) as new:
        (new / path.name).write_text(text + "\n", encoding="utf-8")
        for name, array in result.arrays.items():
            np.save(new / f"{name}.npy", array)
    return path


def _absolute(source: str) -> str:
    module, colon, attribute = source.rpartition(":")
    if source.startswith(COMMAND_PREFIX) or not module.endswith(".py"):
        return source
    return f"{Path(module).resolve()}{colon}{attribute}"


def _specification(result: Result) -> dict[str, Any]:
    """How the case's features are specified, where they differ from Whisper's defaults."""
    given = {**result.case.context, **result.arguments}
    fields = {name: given.get(name) for name in ("n_mels", "pad_to", "smoothing")}
    changed = {name: value for name, value in fields.items() if value is not None}
    spec = WHISPER.replace(**changed)
    return {"n_mels": spec.n_mels, "pad_to": spec.pad_to, "smoothing": spec.smoothing}
