"""The run in a terminal: a bar for each front-end while it is judged, a table at the end.

Without a terminal, and where ``CI`` is set, the bars are plain lines. ``NO_COLOR`` is honoured.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Generator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from whisper_mel_conformance.client import FrontEnd
from whisper_mel_conformance.plugin import RUN
from whisper_mel_conformance.rendering.documents import Document
from whisper_mel_conformance.rendering.facts import (
    MODULE,
    entries,
    failing,
    families,
    headline,
    is_right,
    problems,
    shortened,
)

_SHOWN = 15  # failures of a front-end
_COLOURS = {"A": "green", "B": "yellow", "fails": "bold red"}


# --------------------------------------------------------------------------- while it runs


class Live:
    """A pytest plugin that shows progress instead of pytest's dots."""

    def __init__(self, quiet: bool) -> None:
        self._console = Console(highlight=False)
        self._quiet = quiet
        shows_bars = self._console.is_interactive and not os.environ.get("CI")
        self._totals: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._current = ""
        self._since = time.monotonic()
        self._task: TaskID | None = None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            console=self._console,
            expand=True,
            disable=quiet or not shows_bars,
        )

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            front_end = _front_end(item)
            if front_end is not None:
                self._totals[front_end.name] += 1
        self._progress.start()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        front_end = _front_end(item)
        if front_end is not None and front_end.name != self._current:
            self._finish_line()
            self._current, self._since = front_end.name, time.monotonic()
            self._task = self._progress.add_task(
                escape(shortened(front_end.name, 24)),
                total=self._totals[front_end.name],
                counts="",
            )

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        run = item.config.stash[RUN]
        if self._task is None or not run.results:
            return
        self._counts[run.results[-1].status] += 1
        self._progress.update(self._task, advance=1, counts=self._said(styled=True))

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str]:
        """No dots."""
        return ("xfailed" if hasattr(report, "wasxfail") else report.outcome), "", ""

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        self._finish_line()
        run = session.config.stash.get(RUN, None)
        task = None
        if run is not None and any(result.status == "failed" for result in run.results):
            task = self._progress.add_task("looking for causes", total=None, counts="")
        try:
            return (yield)
        finally:
            if task is not None:
                self._progress.remove_task(task)
            self._progress.stop()

    def _said(self, *, styled: bool) -> str:
        words = [f"{self._counts['passed']} passed"]
        for name, style in (("failed", "bold red"), ("known", "yellow")):
            if self._counts[name]:
                text = f"{self._counts[name]} {'declared' if name == 'known' else name}"
                words.append(f"[{style}]{text}[/]" if styled else text)
        return ", ".join(words)

    def _finish_line(self) -> None:
        """Without bars, a line for each front-end that is done."""
        if self._current and self._progress.disable and not self._quiet:
            took = time.monotonic() - self._since
            line = f"{self._current}: {self._said(styled=False)} in {took:.1f} s"
            self._console.print(line, markup=False, soft_wrap=True)
        self._current = ""
        self._counts.clear()


def _front_end(item: pytest.Item) -> FrontEnd | None:
    front_end = getattr(item, "callspec", None) and item.callspec.params.get("front_end")  # type: ignore[attr-defined]
    return front_end if isinstance(front_end, FrontEnd) else None


# --------------------------------------------------------------------------- at the end


def summary(
    document: Document, folder: Path, *, width: int = 80, colour: bool = False, quiet: bool = False
) -> str:
    """What failed and why, the table, where the report is. ``quiet``: only what is wrong."""
    console = Console(
        file=StringIO(), width=width, force_terminal=colour, no_color=not colour, highlight=False
    )
    with console.capture() as captured:
        _wrong(console, document)
        if not quiet:
            _verdicts(console, document, folder)
    return captured.get()


def _wrong(console: Console, document: Document) -> None:
    for entry in entries(document):
        failed = entry.cases("failed")
        for case in failed[:_SHOWN]:
            _line(console, "FAILED", f"{entry.name} {case['id']}: {case['message']}")
        if len(failed) > _SHOWN:
            _line(console, "…", f"and {len(failed) - _SHOWN} more failures of {entry.name}")
        if entry.data["diagnosis"]:
            _line(console, "DIAGNOSIS", f"{entry.name}:", "bold")
            for sentence in entry.data["diagnosis"]["summary"]:
                _line(console, " ", sentence)
    for problem in problems(document):
        _line(console, "PROBLEM", problem)


def _verdicts(console: Console, document: Document, folder: Path) -> None:
    for run in document.runs:
        for name, why in run["unavailable"].items():
            _line(console, "not available:", f"{name} ({why})", "dim")
    console.print(_table(document))
    _line(console, "worst:", "error in units of the bound. Class A: up to 1, B: up to 4,", "dim")
    _line(console, "*:", "but for what is declared", "dim")
    right = is_right(document)
    mark, style = ("conforms", "bold green") if right else ("does not conform", "bold red")
    _line(console, f"{mark}:", headline(document), style)
    if (folder / "index.html").exists():
        _line(console, "report:", str(folder / "index.html"), "")
    if failing(document):
        _line(console, "replay a failure:", f"{MODULE} repro {folder / 'failures'}/…", "")


def _table(document: Document) -> Table:
    """A line for each front-end; fits into 80 columns."""
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    shown.add_column("front-end", overflow="fold", max_width=24)
    for name in ("passed", "failed", "declared", "worst"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("class", no_wrap=True)
    shown.add_column("fails in", overflow="fold")
    for entry in entries(document):
        total = entry.total
        where = [name for name in families(document) if entry.family(name).failed]
        shown.add_row(
            Text(entry.name),
            str(total.passed),
            Text(str(total.failed), style="bold red" if total.failed else "dim"),
            Text(str(total.known), style="yellow" if total.known else "dim"),
            entry.worst,
            Text(entry.verdict, style=_COLOURS.get(entry.data["class"], "dim")),
            ", ".join(where),
        )
    return shown


def _line(console: Console, mark: str, text: str, style: str = "bold red") -> None:
    """Not wrapped: such lines are searched for, and copied."""
    console.print(Text.assemble((mark, style), f" {text}"), soft_wrap=True)
