"""The command ``./dev docs``, which writes the generated parts of README and docs.

Each part is made from a record in docs/measurements, from the code's catalogues, or from both. With
``--check`` nothing is written: the exit status is 1 if a part differs from what would be written,
or a picture shows another record. A ``report.json`` of ``./dev conformance`` is first taken into
the records of front-ends, and of what has run where. examples/picture.py draws README's first
picture, which is not checked.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from bench import results
from calibration import calibrate
from checkout.paths import ROOT

from docs import (
    calibration,
    catalogue,
    diagnosis,
    findings,
    front_ends,
    gpu,
    handed_in,
    models,
    pictures,
    quirks,
    runs,
    site,
    speed,
    versions,
)
from docs.numbers import NUMBERS, ratios
from docs.sections import rewritten

SECTIONS: dict[str, Callable[[], str]] = {
    "front-ends": front_ends.readme,
    "speed": speed.section,
    "headline": speed.headline,
    "front-ends-page": front_ends.page,
    "findings": findings.found,
    "worst-inputs": findings.worst,
    "handed-in": handed_in.section,
    "families": catalogue.families,
    "kill-matrix": quirks.killed,
    "diagnosis": diagnosis.section,
    "quirk-tables": quirks.tables,
    "calibration": calibration.section,
    "variants": calibration.variants_section,
    "models": models.section,
    "measured": gpu.section,
    "kernel-counts": gpu.counted,
    "ptx-mutants": gpu.mutated,
    "versions": versions.section,
    "runs": runs.section,
}
DOCUMENTS = ("*.md", "docs/*.md", "docs/*/*.md", "*/README.md")
UP_TO_DATE = "every generated part is up to date"


def run(arguments: list[str]) -> int:
    """Write or check; return 1 if a part is out of date or cannot be made."""
    parser = argparse.ArgumentParser(prog="./dev docs")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--site", action="store_true")
    parser.add_argument("--release", action="store_true")
    parser.add_argument("report", nargs="*", type=Path)
    options = parser.parse_args(arguments)
    if options.site:
        if options.check or options.report or options.release:
            parser.error("--site: expected nothing beside it")
        return site.build()
    if options.check and (options.report or options.release):
        parser.error("--check: expected no report and no --release: these would be recorded")
    try:
        if options.release:
            versions.record()
        for path in options.report:
            report = json.loads(path.read_text(encoding="utf-8"))
            front_ends.take(report)  # refuses a report before anything of it is recorded
            runs.take(report)
        stale = [*_texts(options.check), *_pictures(options.check)]
    except (ImportError, OSError, ValueError) as error:
        print(f"docs: {error}")
        return 1
    if options.check:
        print(*(f"{what} is out of date: run ./dev docs" for what in stale), sep="\n", end="")
        print("" if stale else UP_TO_DATE)
        return 1 if stale else 0
    print(*(f"written: {what}" for what in stale or ["nothing, " + UP_TO_DATE]), sep="\n")
    return 0


def _texts(check: bool) -> Iterator[str]:
    """Yield the parts that are out of date; write the documents unless ``check``."""
    numbers = {**NUMBERS, **ratios()}
    missing = [*SECTIONS, *NUMBERS]
    for path in sorted(path for pattern in DOCUMENTS for path in ROOT.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT)
        try:
            new, changed = rewritten(text, SECTIONS, numbers)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        if new != text and not check:
            path.write_text(new, encoding="utf-8")
        missing = [part for part in missing if part not in changed]
        yield from (f"{name}: {part}" for part in changed if changed[part])
    if missing:
        raise ValueError(f"no document has a place for {', '.join(missing)}")


def _pictures(check: bool) -> Iterator[str]:
    """Yield the pictures that show another record; draw them anew unless ``check``."""
    drawn: list[tuple[Path, Any, str]] = [
        (speed.RECORD.with_suffix(".png"), results.load(speed.RECORD), "bench.figure"),
        (ROOT / "docs" / "error-bound.png", calibrate.read(), "calibration.figure"),
    ]
    for path, record, module in drawn:
        if not pictures.shows(path, record):
            if not check:
                pictures.save(import_module(module).figure(record), path, record)
            yield str(path.relative_to(ROOT))
