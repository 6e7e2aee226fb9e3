"""The files of a run: ``report.json``, and a reproduction of every failure.

Every ``case.json`` has all that is needed to compute its arrays. For a few failures of each family,
the arrays are stored beside it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from whisper_mel_conformance.cases.catalogue import CHECKS, FAMILIES, find
from whisper_mel_conformance.diagnosis.outcome import Diagnosis
from whisper_mel_conformance.folder import (
    own_folder,
    remove_own_folder,
    require_no_link,
    slug,
    whole_folder,
    write_whole,
)
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.command import COMMAND_PREFIX
from whisper_mel_conformance.frontend.load import Capabilities
from whisper_mel_conformance.report.documents import FORMAT, Document, merge
from whisper_mel_conformance.report.environment import environment
from whisper_mel_conformance.report.facts import replay_command
from whisper_mel_conformance.report.figure import figure
from whisper_mel_conformance.report.picture import comparison
from whisper_mel_conformance.report.render import BADGES, OUTPUTS, render, require_own
from whisper_mel_conformance.run.result import STATUSES, Result, compressed
from whisper_mel_conformance.run.run import Run

_FIGURES = 2  # figures of a front-end's failures, beside the figure of its diagnosis
_FLAT = 0.2  # features of which most differ by less are of silence, or as good as that
_FEW_FRAMES = 20  # a picture of fewer frames shows little


Diagnoses = Mapping[str, Diagnosis]
"""The diagnoses of front-ends, by name."""


def document(run: Run, diagnoses: Diagnoses, folder: Path, beside: Document) -> Document:
    """Return the report of a run and of what is shown beside it; ``folder`` is the report's."""
    return merge([Document([as_json(run, diagnoses, folder)]), beside])


def as_json(run: Run, diagnoses: Diagnoses, folder: Path) -> dict[str, Any]:
    """Return the run as plain data (see ``report.schema.json``); ``folder`` is the report's."""
    return {
        "format": FORMAT,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "profile": run.setup.profile,
        "seed": run.setup.seed,
        "folder": shortest(folder),
        "environment": environment(),
        "interrupted": run.interrupted,
        "unavailable": run.setup.unavailable,
        "problems": run.problems(),
        "front_ends": [
            _front_end(run, diagnoses, f, folder)
            for f in run.front_ends
            if run.of(f.name) or run.missing(f.name)
        ],
    }


def shortest(folder: Path) -> str:
    """Return the shorter one of a folder's paths from here and from the root."""
    return min(os.path.relpath(folder), os.path.abspath(folder), key=len)


def _front_end(run: Run, diagnoses: Diagnoses, front_end: FrontEnd, folder: Path) -> dict[str, Any]:
    name = front_end.name
    worst = run.worst(name)
    return {
        "name": name,
        "source": front_end.source,
        "device": front_end.device,
        "versions": front_end.versions,
        "named": name in run.setup.named,
        "class": run.class_of(name),
        "required_class": front_end.capabilities.required_class,
        "model": model_of(front_end),
        "calls": run.calls(name),
        "counts": {status: len(run.of(name, status)) for status in STATUSES},
        "diagnosis": diagnoses[name].as_json() if name in diagnoses else None,
        "declared": _declared(run, name),
        "figures": figures(run, diagnoses, name),
        "worst": None if worst is None else {"case": worst.case, "score": json_number(worst.score)},
        "cases": [_case(result, folder) for result in run.of(name)],
    }


def model_of(front_end: FrontEnd) -> str | None:
    """Return the name of the model that a front-end is judged by; None for Whisper's definition."""
    model = front_end.capabilities.model
    return None if model is None else str(model["name"])


def _case(result: Result, folder: Path) -> dict[str, Any]:
    where = result.reproduction
    return {
        "id": result.case,
        "status": result.status,
        "score": json_number(result.score),
        "seconds": round(result.seconds, 4),
        "message": result.message,
        "reproduction": None if where is None else where.relative_to(folder).parent.as_posix(),
    }


def _declared(run: Run, name: str) -> list[dict[str, Any]]:
    """List the declarations that explain a front-end's failures, with the number of these."""
    counts = Counter(result.declared for result in run.of(name, "known"))
    return [
        {
            "since": entry.since.isoformat(),
            "version": entry.version,
            "mechanism": entry.mechanism,
            "link": entry.link,
            "cases": counts[number],
        }
        for number, entry in enumerate(run.setup.known)
        if counts[number]
    ]


def figures(run: Run, diagnoses: Diagnoses, name: str) -> list[dict[str, Any]]:
    """Return the figures of a front-end: the diagnosis's clip, and the worst failure of each
    family.

    Declared failures come after others, clips of a few frames after longer ones. Silence and other
    clips whose features are much the same everywhere are shown only if there is nothing else.
    """

    def rank(result: Result) -> tuple[bool, bool, bool, float]:
        is_short = result.arrays["bound"].shape[-1] < _FEW_FRAMES
        error = np.nan_to_num(result.score or 0.0, nan=np.inf)
        return result.status == "known", is_flat(result.arrays), is_short, -float(error)

    def is_flat(arrays: Mapping[str, Any]) -> bool:
        low, high = np.percentile(arrays["expected"], (10, 90))
        return not high - low > _FLAT

    wrong = [*run.of(name, "failed"), *run.of(name, "known")]
    by_family: dict[str, Result] = {}
    for result in sorted((r for r in wrong if "bound" in r.arrays), key=rank):
        by_family.setdefault(result.family, result)
    found = [(r.case, r.arrays) for r in by_family.values()]
    if name in diagnoses and diagnoses[name].arrays():
        found.insert(0, (diagnoses[name].title, diagnoses[name].arrays()))
    found = ([one for one in found if not is_flat(one[1])] or found)[: _FIGURES + 1]
    return [shown for shown in (figure(*one) for one in found) if shown is not None]


def json_number(value: float | None) -> float | str | None:
    """Return a number in a form that JSON can represent: infinity and NaN as text."""
    return value if value is None or np.isfinite(value) else str(value)


def write(diagnoses: Diagnoses, made: Document, folder: Path) -> None:
    """Write ``report.json``, the files made from it, and a picture for each diagnosis.

    Raises ``OSError``; a file that could not be written is unchanged or absent.
    """
    for name, diagnosis in diagnoses.items():
        arrays = diagnosis.arrays()
        if arrays:
            own_folder(failure_folder(name, folder))
            write_whole(picture_path(name, folder), comparison(**arrays))
    render(made, folder)


# --------------------------------------------------------------------------- reproductions


def failure_folder(front_end: str, folder: Path) -> Path:
    """Return the folder of a front-end's reproductions.

    Raises ``ValueError`` if the folder of all of them is a link.
    """
    require_no_link(folder / "failures")
    return folder / "failures" / slug(front_end)


def case_path(front_end: str, case: str, folder: Path) -> Path:
    """Return the path of the ``case.json`` that reproduces a failure."""
    return failure_folder(front_end, folder) / slug(case.replace("/", "--")) / "case.json"


def picture_path(front_end: str, folder: Path) -> Path:
    """Return the path of the picture of a failing front-end's features."""
    return failure_folder(front_end, folder) / "features.png"


def forget(names: Iterable[str], folder: Path) -> None:
    """Remove the report of an earlier run, and its reproductions of these front-ends.

    Raises ``ValueError``, and removes nothing, if a file was not written by a run.
    """
    require_own(folder)
    for name in names:
        remove_own_folder(failure_folder(name, folder))
    remove_own_folder(folder / BADGES)
    for name in OUTPUTS:
        (folder / name).unlink(missing_ok=True)


ARRAYS = 6 << 20
"""Bytes of arrays that are stored, shared by all front-ends of a run; ``./dev repro`` computes
others again.
"""


REPRODUCTIONS = 1400
"""Failures of a run that are stored, of all front-ends together: of one front-end every case.

Each takes 8 KB, in blocks of a file system.
"""
_OF_FAMILY = 2  # failures of each front-end and family that have a place kept for them


class Failures:
    """The reproductions of a run of so many front-ends in the folder of its report.

    Each front-end has an equal share of what may be stored.
    """

    def __init__(self, folder: Path, front_ends: int) -> None:
        self._folder = folder
        self._share = ARRAYS // max(front_ends, 1)
        self._room: dict[str, int] = {}
        kept = _OF_FAMILY * len(FAMILIES)
        self._freely = max(REPRODUCTIONS // max(front_ends, 1) - kept, 0)
        self._stored: Counter[tuple[str, str]] = Counter()  # by front-end and family

    def write(self, result: Result, front_end: FrontEnd) -> None:
        """Write a failure as :func:`write_failure` does, with its arrays while there is room.

        Nothing is written beyond the front-end's share, but for the first failures of a family.
        """
        of = front_end.name, result.family
        beyond = self._stored[of] >= _OF_FAMILY
        if beyond and self._free_places_taken(front_end.name) >= self._freely:
            return
        self._stored[of] += 1
        room = self._room.setdefault(front_end.name, self._share)
        arrays = write_failure(result, front_end, self._folder, room=room).with_name(STORED)
        if arrays.exists():
            self._room[front_end.name] -= arrays.stat().st_size

    def _free_places_taken(self, front_end: str) -> int:
        counts = (count for (name, _), count in self._stored.items() if name == front_end)
        return sum(max(count - _OF_FAMILY, 0) for count in counts)


STORED = "arrays.npz"
"""Name of the file of arrays beside a ``case.json``."""


def write_failure(result: Result, front_end: FrontEnd, folder: Path, *, room: int = ARRAYS) -> Path:
    """Write all that is needed to replay a failure; return the path of its ``case.json``.

    Its arrays are stored if they take ``room`` bytes at most. Raises ``OSError`` or ``ValueError``;
    no reproduction is left then.
    """
    path = case_path(front_end.name, result.case, folder)
    check = find(result.case).check
    described = {
        "format": FORMAT,
        "case": result.case,
        "front_end": {
            "source": _portable(front_end.source),
            "name": front_end.name,
            "device": front_end.device,
            "versions": front_end.versions,
            "model": model_of(front_end),
        },
        "check": check,
        "arguments": result.arguments,
        "specification": specification(check, result.arguments, front_end.capabilities),
        "score": json_number(result.score),
        "message": result.message,
        "environment": (made_in := environment()),
        "command": replay_command(str(path), front_end.source, made_in),
    }
    text = json.dumps(described, indent=1, ensure_ascii=False)
    own_folder(failure_folder(front_end.name, folder))
    with whole_folder(path.parent) as new:
        (new / path.name).write_text(text + "\n", encoding="utf-8")
        data = compressed(result.arrays) if result.arrays else b""
        if 0 < len(data) <= room:
            (new / STORED).write_bytes(data)
    result.reproduction = path
    return path


def _portable(source: str) -> str:
    """Make the path in a front-end's source relative if it is below this folder, for other
    checkouts.
    """
    module, colon, attribute = source.rpartition(":")
    if source.startswith(COMMAND_PREFIX) or not module.endswith(".py"):
        return source
    path = Path(module).resolve()
    path = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{path}{colon}{attribute}"


def specification(check: str, arguments: Mapping[str, Any], able: Capabilities) -> dict[str, Any]:
    """Return the fields of the specification of what a check asks for first."""
    spec = CHECKS[check].specification(arguments, able)
    return {name: getattr(spec, name) for name in ("n_mels", "pad_to", "smoothing", "maximum")}
