"""The report's ``index.html``: one page without any other file and without network.

Names and messages come from front-ends and are escaped by the template engine. The page's content
security policy (CSP) allows only its own style and script. Of very many failures, the page shows
the first.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
from functools import lru_cache
from hashlib import sha256
from typing import Any

import jinja2
from markupsafe import Markup, escape

from whisper_mel_conformance.cases.catalogue import FAMILIES
from whisper_mel_conformance.frontend.wire import printable
from whisper_mel_conformance.report import axes, charts, facts
from whisper_mel_conformance.report.documents import Document
from whisper_mel_conformance.report.facts import Entry
from whisper_mel_conformance.report.figure import FRAMES, STEPS

CASES = 600  # failing cases on a page, in equal parts for the front-ends
EXAMPLES = 3  # of them, those of a family that are shown at once
FIGURES = 60  # figures on a page
MESSAGE = 500  # characters of a message
_LEAST = 5  # failing cases of a front-end that are always shown
_COLUMNS = {
    "1 s": "1s/80",
    "10 s": "10s/80",
    "30 s": "30s/80",
    "1 h": "1h/80",
    "30 s, 128 bands": "30s/128",
}


@lru_cache(maxsize=1)
def _templates() -> jinja2.Environment:
    """Return the templates, each compiled when it is first used."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("whisper_mel_conformance.report", "template"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = facts.number
    environment.filters["coded"] = _coded
    environment.filters["shortened"] = lambda text: facts.shortened(text, MESSAGE)
    environment.tests["web_address"] = lambda text: text.startswith(("https://", "http://"))
    return environment


def page(document: Document) -> str:
    """Return the page as HTML."""
    templates = _templates()
    assert templates.loader is not None
    files = (templates.loader.get_source(templates, name) for name in ("style.css", "script.js"))
    style, script = (source for source, *_ in files)
    entries = facts.entries(document)
    return templates.get_template("page.html").render(
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        document=document,
        headline=facts.headline(document),
        made=_made(document),
        cpus=len({run["environment"]["cpu"] for run in document.runs}),
        is_right=facts.is_right(document),
        problems=facts.problems(document),
        families=facts.families(document),
        entries=[_entry(entry, entries) for entry in entries],
        steps=_steps(),
        examples=EXAMPLES,
        benchmarks=[_benchmark(b) for b in document.benchmarks],
        mutants=_mutants(document.mutants),
    )


def _made(document: Document) -> list[tuple[dict[str, Any], list[str]]]:
    """List runs that are alike as one, each with the time when the first and the last was made."""
    alike: dict[Any, list[dict[str, Any]]] = {}
    for run in document.runs:
        key = run["profile"], run["seed"], run["environment"]["cpu"]
        alike.setdefault(key, []).append(run)
    found = []
    for runs in alike.values():
        times = sorted(run["created"] for run in runs)
        found.append((runs[0], list(dict.fromkeys([times[0], times[-1]]))))
    return found


def _printable(value: Any) -> Any:
    """Escape control characters in plain strings; leave ``Markup``, which this module makes."""
    return printable(value, lines=True) if type(value) is str else value


def _coded(text: str) -> Markup:
    """Return a text as HTML, with what is in backticks as code."""
    parts = [escape(printable(part, lines=True)) for part in re.split("`([^`]*)`", text)]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts)
    )


def _hash(text: str) -> str:
    """Return the hash of an element's text in the form of a content security policy."""
    return "sha256-" + b64encode(sha256(text.encode("utf-8")).digest()).decode("ascii")


# --------------------------------------------------------------------------- front-ends


def _entry(entry: Entry, entries: list[Entry]) -> dict[str, Any]:
    """Return a front-end's data for the template."""
    limit = max(_LEAST, CASES // len(entries))
    room = max(FIGURES - sum(len(e.data["figures"]) for e in entries[: entry.number]), 0)
    return {
        "id": f"front-end-{entry.number}",
        "it": entry,
        "failed": _by_family(entry, entry.worst_first[:limit]),
        "not_shown": max(entry.total.failed - limit, 0),
        "skipped": Counter(case["message"] for case in entry.cases("skipped")).most_common(20),
        "figures": [_figure(figure) for figure in entry.data["figures"][:room]],
        "figures_left_out": len(entry.data["figures"][room:]),
        "seen": _seen(entry.data["diagnosis"]),
    }


def _figure(figure: dict[str, Any]) -> dict[str, Any]:
    bands, frames = figure["shape"]
    last = min(figure["first_frame"] + FRAMES, frames) - 1
    return {
        **figure,
        "range": f"frames {figure['first_frame']} to {last} of {frames}",
        "times": axes.seconds(figure["first_frame"], last + 1 - figure["first_frame"]),
        "bands": axes.bands(bands, upwards=True),
        "chart": charts.spectrum(figure["spectrum"]) if figure["spectrum"] else None,
    }


def _by_family(entry: Entry, cases: list[dict[str, Any]]) -> dict[str, list[tuple[Any, Any]]]:
    """Return failing cases with their commands, by family."""
    found: dict[str, list[tuple[Any, Any]]] = {family: [] for family in entry.failed_by_family}
    for case in cases:
        found[facts.family_of(case)].append((case, entry.replay(case)))
    return {family: some for family, some in found.items() if some}


def _seen(diagnosis: dict[str, Any] | None) -> list[tuple[str, list[str]]]:
    """List the likeliest quirks, and the addresses where each was seen."""
    if not diagnosis or not diagnosis["explanations"]:
        return []
    return [(quirk["id"], quirk["seen"][:6]) for quirk in diagnosis["explanations"][0]["quirks"]]


def _steps() -> list[tuple[str, str]]:
    """List the errors that each colour stands for."""
    named = [(f"up to {limit:,.0f}", colour) for limit, colour in STEPS[:-1]]
    return [*named, ("more, or not finite", STEPS[-1][1])]


# --------------------------------------------------------------------------- speed, mutants


def _benchmark(data: dict[str, Any]) -> dict[str, Any]:
    """Return the times by front-end and column, the fastest front-end first."""
    times: dict[str, dict[str, tuple[float, bool]]] = {}
    for row in data["rows"]:
        front_end, _, kind = row["id"].partition("/")
        for column, name in _COLUMNS.items():
            if kind == name and front_end == row["other"]:
                times.setdefault(row["ours"], {}).setdefault(column, (row["ours_ms"], False))
                times.setdefault(front_end, {})[column] = (row["other_ms"], row["noisy"])
    order = sorted(times, key=lambda name: times[name].get("30 s", (float("inf"), False)))
    values = [cells["30 s"][0] for cells in times.values() if "30 s" in cells]
    slowest = max(values, default=1.0)
    return {
        **data,
        "columns": list(_COLUMNS),
        "lines": [
            {
                "name": name,
                "is_ours": name in {row["ours"] for row in data["rows"]},
                "cells": [times[name].get(column) for column in _COLUMNS],
                "bar": 100.0 * times[name]["30 s"][0] / slowest if "30 s" in times[name] else None,
            }
            for name in order
        ],
    }


def _mutants(mutants: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the kill matrix: for each mutant the number of cases that reject it, by family."""
    if not mutants:
        return None
    reached = {family for mutant in mutants for family in mutant["killed_by"] or ()}
    families = [family for family in FAMILIES if family in reached]
    return {
        "families": families,
        "count": len(mutants),
        "verdicts": Counter(mutant["verdict"] for mutant in mutants).most_common(),
        "survivors": [m for m in mutants if m["verdict"] not in ("killed", "equivalent")],
        "kinds": [
            (title, [mutant for mutant in mutants if mutant["kind"] == kind])
            for kind, title in (("quirk", "Faulty front-ends"), ("kernel", "Faulty kernels"))
        ],
    }
