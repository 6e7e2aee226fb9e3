"""What is made of report.json: the page, JUnit's XML, Markdown, badges; alone, merged, hostile."""

from __future__ import annotations

import base64
import json
import re
import xml.etree.ElementTree as ET
from hashlib import sha256
from html.parser import HTMLParser
from importlib import metadata
from importlib.resources import files
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import documents
import jsonschema
import numpy as np
import pytest
from documents import EVIL, LINK, bad, document, good, run, shown
from PIL import Image
from whisper_mel_conformance.frontend.wire import printable
from whisper_mel_conformance.report import environment as environments
from whisper_mel_conformance.report.documents import (
    Document,
    Unreadable,
    merge,
    read,
    read_benchmark,
    read_mutants,
)
from whisper_mel_conformance.report.environment import environment
from whisper_mel_conformance.report.facts import entries, number
from whisper_mel_conformance.report.figure import FRAMES, STEPS, figure
from whisper_mel_conformance.report.render import OUTPUTS, formats, main, page, render
from whisper_mel_conformance.report.write import figures
from whisper_mel_conformance.run.result import Result
from whisper_mel_conformance.run.run import Run

ROOT = Path(__file__).parents[2]
MADE = [name for name in OUTPUTS if name != "report.json"]
_VOID = {"br", "img", "input", "link", "meta", "path", "rect", "polyline"}

REPORT = "whisper_mel_conformance.report"


class Outline(HTMLParser):
    """The elements of a page, and what is wrong with their nesting."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.faults: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self._open]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()} closes something else")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts.setdefault(self._open[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


# --------------------------------------------------------------------------- the page


def test_the_page_says_it_all() -> None:
    text = " ".join(" ".join(parts) for parts in Outline(page(document())).texts.values())
    for word in (
        "2 front-ends: 1 conform, 0 have known, declared differences, 1 fails unexpectedly",
        "Fix",
        "required class A",
        "whisper-mel repro failures/x/boundary--length-0--80",
        "--profile quick",
        "no batch",
        "since 2026-11-24",
        "SHA-256",
        "2 mutants",
        "survives",
        "0.4 ms",
        "∞",
    ):
        assert word in text, word
    assert EVIL in text  # as text, in full


def test_of_one_front_end_cause_and_fix_come_first() -> None:
    several = document()
    one = Document([{**several.runs[0], "front_ends": several.runs[0]["front_ends"][1:]}])
    for report, parts in ((several, ("verdicts", "front-ends")), (one, ("front-ends", "verdicts"))):
        made = page(report)
        assert [made.count(f'<h2 id="{part}">') for part in parts] == [1, 1]
        first, then = (made.index(f'<h2 id="{part}">') for part in parts)
        assert first < then


def test_runs_that_are_alike_are_one_line() -> None:
    several = document().runs * 2
    later = "2026-11-26T09:00:00+00:00"
    text = page(Document([several[0], {**several[1], "created": later}]))
    assert text.count(" UTC</time>") == 2
    assert f'12:00 UTC</time> to <time datetime="{later}"' in text
    assert text.count('<br><span class="muted">') == 0  # one processor, named once
    elsewhere = {**several[0], "environment": {**several[0]["environment"], "cpu": "another"}}
    assert page(Document([several[0], elsewhere])).count('<br><span class="muted">') == 4


def test_nothing_that_a_front_end_says_becomes_markup() -> None:
    outline = Outline(page(document()))
    assert outline.faults == []
    assert len(outline.all("script")) == 1
    assert not {"\x00", "\x07"} & set(page(document()))
    assert not any(a.get("src") == "x" for a in outline.all("img"))
    assert not any(name.startswith("on") for _, a in outline.elements for name in a)
    links = [a["href"] for a in outline.all("a")]
    assert LINK not in links
    assert "https://x.invalid/" in links
    assert all(link is not None and link.startswith(("#", "https://")) for link in links)


def test_an_unescaped_page_would_be_seen() -> None:
    """The positive control of the test above."""
    text = page(document())
    hostile = text.replace("&lt;script&gt;", "<script>").replace("&lt;/script&gt;", "</script>")
    assert len(Outline(hostile).all("script")) > 1


def test_the_page_needs_nothing_else() -> None:
    outline = Outline(page(document()))
    addresses = [a.get("src") for _, a in outline.elements if "src" in a]
    assert addresses
    assert all(str(address).startswith("data:image/png;base64,") for address in addresses)
    assert outline.all("link") == []
    [policy] = [a["content"] for a in outline.all("meta") if "http-equiv" in a]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    assert not any("style" in a for _, a in outline.elements)  # the policy would refuse it


def test_the_page_can_be_found_through() -> None:
    """Headings of tables have a scope, pictures a text, links a target."""
    outline = Outline(page(document()))
    ids = [a["id"] for _, a in outline.elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert all(a.get("scope") in ("col", "row") for a in outline.all("th"))
    assert all(a.get("alt") for a in outline.all("img"))
    labels = {a["aria-labelledby"] for _, a in outline.elements if "aria-labelledby" in a}
    assert labels <= set(ids)
    targets = {str(a["href"])[1:] for a in outline.all("a") if str(a["href"]).startswith("#")}
    assert targets <= set(ids)
    scrolling = [a for a in outline.all("div") if a.get("class") == "scroll"]
    assert scrolling
    assert all(a.get("tabindex") == "0" and a.get("role") == "region" for a in scrolling)
    levels = [int(tag[1]) for tag, _ in outline.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(a: str, b: str) -> float:
    """WCAG 2.2's contrast ratio."""
    bright, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_text_can_be_read_in_both_schemes_and_in_print() -> None:
    style = files(REPORT).joinpath("template/style.css").read_text()
    schemes = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    assert len(schemes) == 3
    for scheme in schemes:
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", scheme))
        pairs = [(text, "paper") for text in ("text", "muted", "link", "good", "bad", "declared")]
        pairs += [(text, "panel") for text in ("text", "muted", "link")]
        pairs += [(text, f"{text}-tint") for text in ("good", "bad", "declared")]
        for text, ground in [*pairs, ("text", "bad-tint")]:
            ratio = _contrast(colours[text], colours[ground])
            assert ratio >= 4.5, f"{text} on {ground}: {ratio:.2f}"
    assert _contrast("#999999", "#ffffff") < 4.5  # grey on white, which is known to be too little


@pytest.mark.slow
def test_thousands_of_failures_are_a_page_that_says_what_is_left_out() -> None:
    many = [bad(500) for _ in range(20)]
    text = page(Document([run(*many)]))
    assert len(text) < 4_000_000
    assert "more failing cases: see report.json and junit.xml" in text
    assert len(page(document(failures=5000))) < 1_500_000


def test_nothing_judged_is_no_success() -> None:
    empty = Document([run()])
    assert "No front-end was judged" in page(empty)
    assert json.loads(formats.badge(empty))["color"] == "red"
    assert "❌" in formats.markdown(empty)


# --------------------------------------------------------------------------- figures


def decoded(picture: str) -> Any:
    return np.asarray(Image.open(BytesIO(base64.b64decode(picture))).convert("RGB"))


def test_a_figure_shows_where_features_are_wrong() -> None:
    made = shown()
    assert made["frame"] == 7
    assert made["spectrum"]["actual"][3] is None
    error = decoded(made["error"])
    assert error.shape == (80, 50, 3)
    colours = [tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for _, c in STEPS]
    assert tuple(error[79 - 3, 7]) == colours[-1]  # NaN; low bands are below
    assert tuple(error[0, 7]) == colours[-2]  # finite, below a million bounds
    assert tuple(error[0, 8]) == colours[0]
    expected, actual = decoded(made["expected"]), decoded(made["actual"])
    assert (expected[:, 8] == actual[:, 8]).all()
    assert (expected[:, 7] != actual[:, 7]).any()


def test_wrong_values_are_seen_on_white_and_on_black() -> None:
    """3 times the contrast, as WCAG 2 wants it of drawings; what is nearly right may be pale."""

    def light(colour: str) -> float:
        values = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = (v / 12.92 if v <= 0.04 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
        return float(np.dot(tuple(linear), (0.2126, 0.7152, 0.0722))) + 0.05

    for limit, colour in STEPS:
        assert light(colour) / light("#12161b") >= 3.0, colour
        assert light("#ffffff") / light(colour) >= 3.0 or limit < 100.0, colour


def test_a_figure_of_a_long_clip_is_what_is_around_the_worst_frame() -> None:
    expected = np.zeros((80, 3000))
    actual = expected.copy()
    actual[5, 2990] = 1.0
    bound = np.full(expected.shape, 1e-6)
    made = figure("long", {"actual": actual, "expected": expected, "bound": bound})
    assert made is not None
    assert made["first_frame"] == 3000 - FRAMES
    assert decoded(made["error"]).shape == (80, FRAMES, 3)
    assert len(json.dumps(made)) < 20_000


def test_a_figure_of_a_batch_is_its_worst_clip() -> None:
    expected = np.zeros((3, 80, 10))
    actual = expected.copy()
    actual[2, 0, 4] = np.inf
    arrays = {"actual": actual, "expected": expected, "bound": np.full(expected.shape, 1e-6)}
    made = figure("batch", arrays)
    assert made is not None
    assert made["frame"] == 4


def test_figures_are_of_clips_that_show_something() -> None:
    """The worst of those with more than a few frames; short ones where there are no others."""

    def failed(family: str, name: str, n_frames: int, score: float) -> Result:
        expected = np.zeros((80, n_frames))
        arrays = {"actual": expected + 1, "expected": expected, "bound": expected + 1e-6}
        return Result("mine", f"{family}/{name}", "failed", score=score, arrays=arrays)

    results = [
        failed("boundary", "one-frame", 1, 9e9),
        failed("boundary", "slightly-wrong", 100, 5.0),
        failed("boundary", "wrong", 100, 50.0),
        failed("numerics", "one-frame", 1, 9e9),
    ]
    judged = SimpleNamespace(of=lambda name, status: results if status == "failed" else [])
    titles = [made["title"] for made in figures(cast(Run, judged), {}, "mine")]
    assert titles == ["boundary/wrong", "numerics/one-frame"]


def test_a_figure_of_another_shape_shows_no_difference() -> None:
    right = np.ones((80, 10))
    arrays = {"actual": right[:, :9], "expected": right, "bound": right}
    made = figure("shape", arrays)
    assert made is not None
    assert (made["error"], made["spectrum"], made["actual_shape"]) == (None, None, [80, 9])
    assert figure("nothing", {"actual": np.zeros((80, 9))}) is None
    # Nor does its page say which colour is which difference.
    wrong = document()
    legend = '<ul class="steps"'
    assert legend in page(wrong)
    for entry in entries(wrong):
        entry.data["figures"] = [made] if entry.data["figures"] else []
    text = page(wrong)
    assert "of shape 80 × 9" in text and legend not in text


# --------------------------------------------------------------------------- other formats


def test_junit_counts_what_the_report_counts() -> None:
    root = ET.fromstring(formats.junit(document()))
    suites = root.findall("testsuite")
    assert suites[0].get("name") == "good"
    assert suites[1].get("name") == EVIL
    assert suites[-1].get("name") == "the run"
    problems = [error.get("message") for error in suites.pop().findall("testcase/error")]
    assert problems == [printable(problem) for r in document().runs for problem in r["problems"]]
    for suite, entry in zip(suites, entries(document()), strict=True):
        tests = suite.findall("testcase")
        assert suite.get("tests") == str(len(tests)) == str(len(entry.data["cases"]))
        assert suite.get("failures") == str(sum(t.find("failure") is not None for t in tests))
        assert suite.get("failures") == str(entry.total.failed)
        assert suite.get("skipped") == str(sum(t.find("skipped") is not None for t in tests))
    failure = suites[1].find("testcase/failure")
    assert failure is not None
    assert "repro failures/x/boundary--length-0--80" in str(failure.text)
    assert "\x07" not in formats.junit(document())  # no XML has a way to say it


def test_markdown_is_short_and_inert() -> None:
    text = formats.markdown(document())
    assert "### ❌ whisper-mel conformance: 2 front-ends: 1 conform, 0 have" in text
    assert "boundary/length-2/80" in text  # the worst of its family
    code = re.sub(r"(`+) ?.*?\1", "", text)
    assert "<script" not in code
    assert "<img" not in code
    assert "@everyone" not in code
    assert "[click](" not in code
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {8}
    many = Document([run(*[good(f"front-end-{i}") for i in range(3000)])])
    assert len(formats.markdown(many)) <= formats.COMMENT_LIMIT
    assert "parts are left out" in formats.markdown(many)


def test_code_of_a_fix_is_code_in_markdown() -> None:
    made = document()
    made.runs[0]["front_ends"][1]["diagnosis"]["fix"] = ["Write `f(x_1, x_2)`, not @all: `"]
    right = "**Fix:** Write `f(x_1, x_2)`, not @\N{ZERO WIDTH SPACE}all: \\`\n"
    assert right in formats.markdown(made)


def test_every_report_names_what_judged() -> None:
    """The package, and each part with a version of its own, where the report has it."""
    versions = {"whisper-mel-conformance": "7.0", "cases": "7.1", "vectors": "7.2", "bound": "73"}
    judge = "whisper-mel-conformance 7.0, cases 7.1, vectors 7.2, bound 73"
    assert environment()["versions"].keys() > versions.keys()
    for known in (versions, {"whisper-mel-conformance": "6.0"}):
        judged = Document([run(good(), environment={**environment(), "versions": known})])
        words = judge if known is versions else "whisper-mel-conformance 6.0"
        assert f'name="judged by" value="{words}"' in formats.junit(judged)
        assert f"Judged by {words}." in formats.markdown(judged).replace("\\", "")
        assert all(f"{name} {known[name]}" in page(judged) for name in known)


def test_what_is_left_of_a_package_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without metadata, as an interrupted removal leaves."""
    for name in ("gone-1.0", "there_it-2.0"):
        (tmp_path / f"{name}.dist-info").mkdir()
    head = "Metadata-Version: 2.4\nName: There_It\nVersion: 2.0\n\nName: of the description\n"
    (tmp_path / "there_it-2.0.dist-info" / "METADATA").write_text(head)
    found = metadata.distributions(path=[str(tmp_path)])
    monkeypatch.setattr(environments, "distributions", lambda: found)
    digest = sha256(b"there-it==2.0").hexdigest()
    assert environments._packages.__wrapped__() == {"count": 1, "sha256": digest}


def test_badges_are_what_shields_reads() -> None:
    badges = formats.badges(document())
    assert json.loads(badges["badges/good.json"]) == {
        "schemaVersion": 1,
        "label": "whisper-mel",
        "message": "class A",
        "color": "brightgreen",
    }
    assert json.loads(formats.badge(document()))["message"] == "1 of 2 conform"
    assert all(re.fullmatch(r"badges/[A-Za-z0-9_-]+\.json", name) for name in badges)
    twice = Document([run(good()), run(good())])
    assert set(formats.badges(twice)) == {"badges/good-1.json", "badges/good-2.json"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), ("inf", "∞"), (0.2512, "0.251"), (123.4, "123"), (3.4e7, "3.4e7")],
)
def test_numbers(value: Any, text: str) -> None:
    assert number(value) == text


# --------------------------------------------------------------------------- reading, merging


def test_all_is_made_of_report_json_alone(tmp_path: Path) -> None:
    render(document(), tmp_path)
    schema = json.loads(
        files("whisper_mel_conformance.report").joinpath("report.schema.json").read_text()
    )
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads((tmp_path / "report.json").read_text()), schema)
    before = {name: (tmp_path / name).read_bytes() for name in MADE}
    for name in MADE:
        (tmp_path / name).unlink()
    assert main([str(tmp_path)]) == 0
    assert {name: (tmp_path / name).read_bytes() for name in MADE} == before


def test_reports_of_several_machines_are_one(tmp_path: Path) -> None:
    here, there = run(good()), run(good(), created="2026-11-25T13:00:00+00:00")
    there["environment"] = {**there["environment"], "cpu": "Another CPU", "accelerators": ["A GPU"]}
    render(Document([here], [documents.benchmark()]), tmp_path / "a")
    render(Document([there]), tmp_path / "b")
    paths = [str(tmp_path / "a"), str(tmp_path / "b" / "report.json"), str(tmp_path / "a")]
    assert main([*paths, "--output", str(tmp_path / "all")]) == 0
    merged = read(tmp_path / "all" / "report.json")
    assert merged.runs == [here, there]  # the one given twice is there once
    text = (tmp_path / "all" / "index.html").read_text()
    assert "Another CPU" in text
    assert "A GPU" in text
    assert (
        "2 front-ends: 2 conform, 0 have known, declared differences, 0 fail unexpectedly" in text
    )
    again = merge([merged, read(tmp_path / "b" / "report.json")])
    assert again.runs == merged.runs
    with pytest.raises(SystemExit):
        main(paths)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:100], "report.json: "),
        (lambda text: text.replace('"format": 1', '"format": 7'), "format"),
        (lambda text: text.replace('"class": "A"', '"class": "Z"'), "'Z' is not one of"),
        (lambda text: "[]", "object"),
        (lambda text: '{"format": 1, "runs": 3}', "runs"),
    ],
)
def test_files_that_are_no_reports_are_named(
    tmp_path: Path, change: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    path.write_text(change(Document([run(good())]).text()))
    with pytest.raises(Unreadable, match=r"report\.json") as caught:
        read(path)
    assert message in str(caught.value)
    assert main([str(path)]) == 2
    assert "report.json" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == [path]


def test_the_benchmark_of_this_checkout_is_shown(tmp_path: Path) -> None:
    path = ROOT / "docs" / "measurements" / "cpu.json"
    shown = read_benchmark(path)
    timed = {row["ours"] for row in shown["rows"] if not row["id"].startswith("drop-in/")}
    assert timed == {"mojo-cpu"}
    document = Document([run(good("librosa"), good("mojo-cpu"))], [shown])
    [librosa, ours] = entries(document)
    assert librosa.milliseconds is not None
    assert ours.milliseconds is not None
    assert ours.milliseconds < librosa.milliseconds
    with pytest.raises(Unreadable, match="no result of"):
        read_mutants(path)


def test_mutants_are_counted_by_family(tmp_path: Path) -> None:
    path = tmp_path / "mutants.json"
    fields = {"kind": "kernel", "killer": "golden/a", "message": "", "equivalent": "", "score": 9.0}
    cases = ["golden/a", "golden/b", "batch/c", "errors/d"]
    signs = ("xx.-", "??--", "...x")
    rows = [{"id": s, "verdict": "killed", "cases": s, **fields} for s in signs]
    path.write_text(json.dumps({"format": 1, "cases": cases, "mutants": rows}))
    kills = [mutant["killed_by"] for mutant in read_mutants(path)]
    assert kills == [{"golden": 2}, None, {"errors": 1}]
    rows[0]["cases"] = "x"
    path.write_text(json.dumps({"format": 1, "cases": cases, "mutants": rows}))
    with pytest.raises(Unreadable, match=r"mutants\.json is no result"):
        read_mutants(path)
    rows[0] |= {"cases": signs[0], "verdict": 3}
    path.write_text(json.dumps({"format": 1, "cases": cases, "mutants": rows}))
    with pytest.raises(Unreadable, match=r"mutants\.json: .*verdict"):
        read_mutants(path)
