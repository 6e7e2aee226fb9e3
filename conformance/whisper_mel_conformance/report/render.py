"""The files that are made from ``report.json`` alone, for people and for other programs.

``python -m whisper_mel_conformance report PATH …`` makes all of them anew.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from whisper_mel_conformance.folder import (
    MARKER,
    claim,
    mark,
    own_folder,
    require_no_link,
    write_whole,
)
from whisper_mel_conformance.options import settings_of
from whisper_mel_conformance.report import documents, formats
from whisper_mel_conformance.report.documents import Document
from whisper_mel_conformance.report.page import page

BADGES = "badges"
"""Name of the folder of badges, one for each front-end."""

OUTPUTS: dict[str, Callable[[Document], str]] = {
    "report.json": Document.text,
    "index.html": page,
    "junit.xml": formats.junit,
    "summary.md": formats.markdown,
    "badge.json": formats.badge,
}


def require_own(folder: Path) -> None:
    """Mark a folder as the report's. Raises ``ValueError`` if it has files of such names from
    elsewhere, or links in place of folders.
    """
    found = [name for name in (*OUTPUTS, BADGES) if (folder / name).exists()]
    if found and not (folder / MARKER).exists() and not _is_report(folder / "report.json"):
        raise ValueError(
            f"report folder {folder}: it has {found[0]}, which no run has written. Name another "
            "folder by --report"
        )
    require_no_link(folder / BADGES)
    mark(folder)
    if (folder / BADGES).is_dir():
        mark(folder / BADGES)


def _is_report(path: Path) -> bool:
    """Return whether a file is a report, perhaps of an earlier version, which left no marker."""
    try:
        documents.read(path)
    except documents.Unreadable:
        return False
    return True


def render(document: Document, folder: Path) -> None:
    """Write ``report.json`` and the files made from it, each one whole. Raises ``OSError``."""
    own_folder(folder / BADGES)
    texts = {name: made(document) for name, made in OUTPUTS.items()}
    for name, text in {**texts, **formats.badges(document)}.items():
        write_whole(folder / name, text.encode("utf-8"))


def main(given: list[str]) -> int:
    """Run the command ``report``; return 0, or 2 for wrong usage and files that are no reports."""
    parser = argparse.ArgumentParser(
        prog="whisper-mel report",
        description="Make index.html, junit.xml, summary.md and badges of report.json; of several, "
        "from other machines or devices, one report of all.",
    )
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="a report.json, or the folder it is in"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="default: the folder of the only PATH"
    )
    for name in ("benchmark", "mutants"):
        parser.add_argument(f"--{name}", **settings_of(name))
    options = parser.parse_args(given)
    if options.output is None and len(options.paths) > 1:
        parser.error("--output DIR: expected with several reports")
    try:
        files = [path / "report.json" if path.is_dir() else path for path in options.paths]
        document = documents.merge([documents.read(path) for path in files])
        beside = documents.beside(options.benchmark, options.mutants)
        document.benchmarks = beside.benchmarks or document.benchmarks
        document.mutants = beside.mutants or document.mutants
        folder = options.output or files[0].parent
        lock = claim(folder)
        try:
            require_own(folder)
            render(document, folder)
        finally:
            os.close(lock)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(folder / "index.html")
    return 0
