"""The report for other programs: JUnit XML, Markdown for a pull request, badges of shields.io."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from typing import Any

from whisper_mel_conformance.folder import slug
from whisper_mel_conformance.frontend.wire import printable
from whisper_mel_conformance.report.documents import Document
from whisper_mel_conformance.report.environment import judged_by
from whisper_mel_conformance.report.facts import (
    Entry,
    commands_for_all,
    entries,
    failing,
    headline,
    is_right,
    problems,
    shortened,
)
from whisper_mel_conformance.report.verdict import counted

COMMENT_LIMIT = 65_536  # largest number of characters of a GitHub comment
_FAILURES = 3  # failures of a front-end that the Markdown names
_FINDINGS = 8  # paragraphs of a diagnosis
_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|~@&$])")


# --------------------------------------------------------------------------- JUnit


def junit(document: Document) -> str:
    """Return JUnit XML with a suite for each front-end; declared failures are skipped tests."""
    root = ET.Element("testsuites", name="whisper-mel conformance")
    for entry in entries(document):
        _suite(root, entry)
    _problems(root, problems(document))
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _problems(root: ET.Element, sentences: list[str]) -> None:
    """Add an error for each problem of the runs."""
    if not sentences:
        return
    count = str(len(sentences))
    suite = ET.SubElement(root, "testsuite", name="the run", tests=count, errors=count)
    for number, sentence in enumerate(sentences, 1):
        test = ET.SubElement(suite, "testcase", classname="the run", name=f"problem {number}")
        ET.SubElement(test, "error", message=printable(sentence))


def _suite(root: ET.Element, entry: Entry) -> None:
    cases, total = entry.data["cases"], entry.total
    suite = ET.SubElement(
        root,
        "testsuite",
        name=printable(entry.name),
        timestamp=entry.run["created"],
        tests=str(len(cases)),
        failures=str(total.failed),
        errors="0",
        skipped=str(total.skipped + total.known),
        time=f"{sum(case['seconds'] for case in cases):.3f}",
    )
    properties = ET.SubElement(suite, "properties")
    facts = {"class": entry.verdict.symbol, "worst": entry.worst, "device": entry.data["device"]}
    facts |= {"platform": entry.run["environment"]["platform"], **entry.data["versions"]}
    facts["judged by"] = judged_by(entry.run["environment"]["versions"])
    for name, value in facts.items():
        ET.SubElement(properties, "property", name=printable(name), value=printable(str(value)))
    for case in cases:
        test = ET.SubElement(
            suite,
            "testcase",
            classname=printable(f"{entry.name}.{case['id'].partition('/')[0]}"),
            name=case["id"],
            time=f"{case['seconds']:.3f}",
        )
        kind = {"failed": "failure", "skipped": "skipped", "known": "skipped"}.get(case["status"])
        if kind is not None:
            prefix = "declared: " if case["status"] == "known" else ""
            message = printable(prefix + case["message"], lines=True)
            outcome = ET.SubElement(test, kind, message=message, type=case["status"])
            text = "\n".join(filter(None, [case["message"], entry.replay(case)]))
            outcome.text = printable(text, lines=True)


# --------------------------------------------------------------------------- Markdown


def markdown(document: Document) -> str:
    """Return a table, and the cause and the first failures of each failing front-end.

    The text has at most ``COMMENT_LIMIT`` characters, and says what it leaves out.
    """
    judged = entries(document)
    mark = "✅" if is_right(document) else "❌"
    blocks = [f"### {mark} whisper-mel conformance: {plain(headline(document), 300)}\n"]
    blocks.append(
        "| front-end | device | passed | failed | declared | worst | class |\n"
        "|---|---|--:|--:|--:|--:|---|\n"
    )
    blocks += [_row(entry) for entry in judged]
    blocks += ["\n*worst*: largest error in units of the bound; A up to 1, B up to 4. "]
    blocks += ["\\*: apart from declared failures; fails\\*: as declared.\n"]
    blocks += [f"All cases: {code(command)}\n" for command in commands_for_all(document)]
    judges = {judged_by(run["environment"]["versions"]): None for run in document.runs}
    blocks += [f"Judged by {plain(judge, 200)}.\n" for judge in judges]
    blocks += [f"\n**Problem:** {plain(problem, 300)}\n" for problem in problems(document)]
    blocks += [_details(entry) for entry in failing(document)]
    return _within(blocks, COMMENT_LIMIT)


def _row(entry: Entry) -> str:
    total = entry.total
    cells = [f"**{plain(entry.name, 80)}**", plain(entry.data["device"], 40)]
    cells += [str(total.passed), str(total.failed), str(total.known)]
    cells += [entry.worst, plain(entry.verdict.symbol, 9)]
    return f"| {' | '.join(cells)} |\n"


def _details(entry: Entry) -> str:
    where = ", ".join(f"{family} {count}" for family, count in entry.failed_by_family.items())
    failures = counted(entry.total.failed, "failure")
    lines = [f"\n#### {plain(entry.name, 80)}: {failures} ({where})", ""]
    lines += [f"**{label}:** {_coded(text, 600)}\n" for label, text in entry.findings[:_FINDINGS]]
    for case in entry.examples(_FAILURES):
        lines.append(f"- `{case['id']}`: {plain(case['message'], 200)}")
        command = entry.replay(case)
        lines += [f"  {code(command)}"] if command else []
    lines += ["", f"Judge it again: {code(entry.command)}", ""]
    return "\n".join(lines)


def code(text: str) -> str:
    """Return a text as Markdown code, whatever backticks are in it."""
    text = " ".join(text.split())
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if "`" in text else f"`{text}`"


def plain(text: str, length: int) -> str:
    """Escape a text for one line of Markdown, without HTML and mentions."""
    return _escaped(shortened(" ".join(text.split()), length))


def _coded(text: str, length: int) -> str:
    """Escape a text as :func:`plain` does, with what is in backticks as code."""
    parts = re.split("`([^`]+)`", shortened(" ".join(text.split()), length))
    return "".join(code(part) if i % 2 else _escaped(part) for i, part in enumerate(parts))


def _escaped(text: str) -> str:
    escaped = _MARKUP.sub(r"\\\1", text)
    return escaped.replace(r"\@", "@\N{ZERO WIDTH SPACE}").replace(r"\<", "&lt;")


def _within(blocks: list[str], limit: int) -> str:
    """Join as many of the blocks as fit, and say how many are left out."""
    text = ""
    for count, block in enumerate(blocks):
        rest = f"\n… {len(blocks) - count} parts are left out: the report has them.\n"
        if len(text) + len(block) + len(rest) > limit:
            return text + rest
        text += block
    return text


# --------------------------------------------------------------------------- badges


def badge(document: Document) -> str:
    """Return the badge of the verdict on all front-ends, or on the only one, for shields.io."""
    judged = entries(document)
    if len(judged) == 1:
        return _badge_of(judged[0])
    good = sum(entry.verdict.conforms for entry in judged)
    colour = "brightgreen" if good == len(judged) and is_right(document) else "orange"
    wrong = failing(document) or not is_right(document)
    return _badge(f"{good} of {len(judged)} conform", "red" if wrong else colour)


def badges(document: Document) -> dict[str, str]:
    """Return a badge for each front-end, by file name."""
    judged = entries(document)
    return {f"badges/{file_name(entry, judged)}.json": _badge_of(entry) for entry in judged}


def file_name(entry: Entry, judged: list[Entry]) -> str:
    """Return the front-end's name as a file name, with a number if several share it."""
    names = [slug(other.name) for other in judged]
    name = names[entry.number]
    earlier = names[: entry.number].count(name)
    return f"{name}-{earlier + 1}" if names.count(name) > 1 else name


def _badge_of(entry: Entry) -> str:
    return _badge(entry.verdict.words, entry.verdict.badge_colour)


def _badge(message: str, colour: str) -> str:
    fields: dict[str, Any] = {"schemaVersion": 1, "label": "whisper-mel", "message": message}
    return json.dumps({**fields, "color": colour}, indent=1) + "\n"
