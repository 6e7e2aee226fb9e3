"""A run in a terminal: a bar for each front-end while it is judged, a table at the end.

Without a terminal, and where ``CI`` is set, plain lines replace the bars. ``NO_COLOR`` switches
colours off.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

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

from whisper_mel_conformance.report.documents import Document
from whisper_mel_conformance.report.facts import (
    Entry,
    commands_for_all,
    entries,
    families,
    headline,
    is_right,
    problems,
    shortened,
)
from whisper_mel_conformance.report.verdict import counted
from whisper_mel_conformance.run.result import Result

_SHOWN = 3  # failures that are shown of a front-end
_LENGTH = 160  # characters of a failure's message


# --------------------------------------------------------------------------- while it runs


class _Output(Console):
    """Standard output, which may be closed before the end, as by ``| head``: nothing else ends."""

    def on_broken_pipe(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Live:
    """The progress: a bar for each front-end in a terminal, else a line when it is done."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = _Output(highlight=False)
        self._quiet = quiet
        shows_bars = self._console.is_interactive and not os.environ.get("CI")
        self._shown: dict[str, _Progress] = {}
        self._totals: Counter[str] = Counter()
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

    def start(self, planned: Iterable[tuple[str, str]]) -> None:
        """Start with the planned cases: names of front-ends, and ids."""
        self._totals = Counter(name for name, _ in planned)
        self._progress.start()

    def add(self, result: Result) -> None:
        """Add a result to the progress."""
        name = result.front_end
        if name not in self._shown:
            task = self._progress.add_task(
                escape(shortened(name, 24)), total=self._totals[name], counts=""
            )
            self._shown[name] = _Progress(task)
        shown = self._shown[name]
        shown.counts[result.status] += 1
        self._progress.update(shown.task, advance=1, counts=shown.said(styled=True))
        if shown.counts.total() == self._totals[name]:
            self._say(name, shown)

    def look_for_causes(self) -> None:
        """Say that the cases are done and the diagnosis has begun, which takes a while."""
        self._progress.add_task("diagnosing failures", total=None, counts="")

    @property
    def width(self) -> int:
        """The number of columns of the terminal."""
        return self._console.width

    @property
    def colour(self) -> bool:
        """Whether the terminal shows colours."""
        return self._console.is_terminal and not self._console.no_color

    def finish(self, text: str) -> None:
        """End the bars, print the lines of front-ends that were not finished, and ``text``."""
        self._progress.stop()
        for name, shown in self._shown.items():
            self._say(name, shown)
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            self._console.on_broken_pipe()

    def _say(self, name: str, shown: _Progress) -> None:
        """Print a front-end's line once, if no bar shows it."""
        if self._progress.disable and not self._quiet and not shown.is_said:
            took = time.monotonic() - shown.since
            line = f"{name}: {shown.said(styled=False)} in {took:.1f} s"
            self._console.print(line, markup=False, soft_wrap=True)
        shown.is_said = True


@dataclass
class _Progress:
    """The progress of a front-end; ``since`` is its start in seconds of the monotonic clock."""

    task: TaskID
    since: float = field(default_factory=time.monotonic)
    counts: Counter[str] = field(default_factory=Counter)
    is_said: bool = False

    def said(self, *, styled: bool) -> str:
        words = [f"{self.counts['passed']} passed"]
        for name, style in (("failed", "bold red"), ("known", "yellow")):
            if self.counts[name]:
                text = f"{self.counts[name]} {'declared' if name == 'known' else name}"
                words.append(f"[{style}]{text}[/]" if styled else text)
        return ", ".join(words)


# --------------------------------------------------------------------------- at the end


def summary(
    document: Document, folder: Path, *, width: int = 80, colour: bool = False, quiet: bool = False
) -> str:
    """Return causes and fixes, the table, and where the report is; ``quiet``: only problems."""
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
        if not entry.total.failed:
            continue
        console.print(Text(f"{entry.name}: {entry.verdict.words}", style=entry.verdict.style))
        for label, text in entry.findings:
            _line(console, f"  {label:8}", text, "bold")
        _failures(console, entry)
    for problem in problems(document):
        _line(console, "PROBLEM", problem)


def _failures(console: Console, entry: Entry) -> None:
    """Print how many cases failed in each family, and some of them with their commands."""
    counts = ", ".join(f"{family} {count}" for family, count in entry.failed_by_family.items())
    _line(console, "  Failed  ", f"{counted(entry.total.failed, 'case')}: {counts}", "bold")
    for case in entry.examples(_SHOWN):
        _line(console, "  FAILED", f"{case['id']}: {shortened(case['message'], _LENGTH)}")
        command = entry.replay(case)
        if command is not None:
            _line(console, "         ", command, "dim")


def _verdicts(console: Console, document: Document, folder: Path) -> None:
    for run in document.runs:
        for name, why in run["unavailable"].items():
            _line(console, "not available:", f"{name} ({why})", "dim")
    console.print(_table(document))
    for entry in entries(document):
        for remark in entry.remarks:
            _line(console, "note:", f"{entry.name} {remark}", "dim")
    _line(console, "worst:", "error in units of the bound. Class A: up to 1, B: up to 4,", "dim")
    if any(entry.total.known for entry in entries(document)):
        _line(console, "*:", "apart from declared failures; fails*: as declared", "dim")
    console.print(
        Text(headline(document), style="bold green" if is_right(document) else "bold red"),
        soft_wrap=True,
    )
    for command in commands_for_all(document):
        _line(console, "all cases:", command, "")
    if (folder / "index.html").exists():
        _line(console, "report:", str(folder / "index.html"), "")


def _table(document: Document) -> Table:
    """Return a table with a row for each front-end that fits into 80 columns."""
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
            Text(entry.verdict.symbol, style=entry.verdict.style),
            ", ".join(where),
        )
    return shown


def _line(console: Console, mark: str, text: str, style: str = "bold red") -> None:
    """Print a line without wrapping it, so that it can be searched for and copied."""
    console.print(Text.assemble((mark, style), f" {text}"), soft_wrap=True)
