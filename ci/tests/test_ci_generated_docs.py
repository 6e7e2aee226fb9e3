"""./dev docs: what is generated, and that nothing out of date gets by its check."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench import results
from checkout.paths import MEASUREMENTS, ROOT
from docs.sections import rewritten, table
from whisper_mel_conformance.cases.case import Family
from whisper_mel_conformance.cases.catalogue import CASES_VERSION, FAMILIES
from whisper_mel_conformance.frontend.load import peers, registered
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_conformance.run import known
from whisper_mel_mojo.emulated.machines import MACHINES
from whisper_mel_mojo.gpu.targets import TARGETS

from docs import catalogue, cli, findings, front_ends, pictures, quirks, runs, speed, versions

pytestmark = pytest.mark.xdist_group("docs")

# --------------------------------------------------------------------------- sections

MARKS = ("<!-- one: from here on written by `./dev docs` -->", "<!-- one: up to here -->")
PARTS = {"one": lambda: "new"}
NUMBERS = {"n": lambda: "1,234"}


def test_parts_between_marks_and_after_them_are_replaced() -> None:
    text = f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nof <!--=n-->9.8 and <!--=n-->5. After\n"
    new, changed = rewritten(text, PARTS, NUMBERS)
    assert new == (
        f"before\n{MARKS[0]}\n\nnew\n\n{MARKS[1]}\nof <!--=n-->1,234 and <!--=n-->1,234. After\n"
    )
    assert changed == {"one": True, "n": True}
    assert rewritten(new, PARTS, NUMBERS) == (new, {"one": False, "n": False})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{MARKS[0]}\n", "a mark of a generated part is broken"),
        (f"{MARKS[1]}\n", "a mark of a generated part is broken"),
        (f"{MARKS[0]}\n{MARKS[1].replace('one', 'two')}\n", "a mark of a generated part is broken"),
        ("the <!--=n-->nine", "a mark of a generated part is broken"),
        ("\n<!--=n-->9 begin a line", "may not begin a line"),
        ("the <!--=m-->9", "'m' is no generated part: expected of n"),
        (f"{MARKS[0]}\n{MARKS[1]}".replace("one", "two"), "'two' is no generated part"),
        (2 * f"{MARKS[0]}\n{MARKS[1]}\n", "the section 'one' stands there twice"),
    ],
)
def test_broken_marks_are_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rewritten(text, PARTS, NUMBERS)


def test_columns_of_numbers_are_aligned_to_the_right() -> None:
    text = table(["name", "", "n:"], [["a", "", "1"]])
    assert text == "| name | | n |\n|---|---|--:|\n| a | | 1 |"


# --------------------------------------------------------------------------- the command


@contextmanager
def documents_in(folder: Path) -> Iterator[None]:
    """The command's documents and records are those of another folder."""
    record = folder / "docs" / "measurements" / "front-ends.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "ROOT", folder)
        patch.setattr(speed, "RECORD", record.with_name("cpu.json"))
        patch.setattr(front_ends, "RECORD", record)
        patch.setattr(runs, "RECORD", record.with_name("runs.json"))
        front_ends.read.cache_clear()
        yield
    front_ends.read.cache_clear()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the documents, of their pictures and records, with nothing out of date."""
    folder = tmp_path_factory.mktemp("written")
    for pattern in (*cli.DOCUMENTS, "docs/*.png", "docs/measurements/*"):
        for path in ROOT.glob(pattern):
            copy = folder / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    with documents_in(folder):
        assert cli.run([]) == 0
    return folder


@pytest.fixture
def checkout(written: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of these for one test."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    with documents_in(tmp_path):
        yield tmp_path


def _edit(path: Path, pattern: str, new: str) -> None:
    text, n = re.subn(pattern, new, path.read_text(encoding="utf-8"), count=1)
    assert n == 1, pattern
    path.write_text(text, encoding="utf-8")


def _check(capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    status = cli.run(["--check"])
    return status, capsys.readouterr().out.splitlines()


PLANTED = [
    (
        "docs/internals/benchmark.md",
        r"\| openai-whisper \| 0\.\d+",
        "| openai-whisper | 9",
        "speed",
    ),
    ("README.md", r"quick, [\d,]+ cases", "quick, 7 cases", "front-ends"),
    ("README.md", r"For a clip of 30 s", "For 30 s", "headline"),
    ("docs/front-ends.md", r"## By family", "## By", "front-ends-page"),
    ("docs/front-ends.md", r"-->\d+ implementations", "-->7 implementations", "peers"),
    ("docs/quirks.md", r"`symmetric-window`", "`window`", "quirk-tables"),
    ("docs/quirks.md", r"-->\d+ ways", "-->7 ways", "quirks"),
    ("docs/quirks.md", r"has \d+ mutants", "has 7 mutants", "kill-matrix"),
    ("docs/writing-a-front-end.md", r"a clip's features depend", "features depend", "families"),
    ("docs/writing-a-front-end.md", r"\d+ of \d+ \| \d+% to", "7 of 7 | 1% to", "diagnosis"),
    ("docs/error-bound.md", r"\| openai-whisper \|.*\n", "", "calibration"),
    ("docs/gpu.md", r"(?=<!-- measured: up to here)", "more\n", "measured"),
    ("docs/emulator.md", r"(?=<!-- kernel-counts: up to here)", "more\n", "kernel-counts"),
    ("docs/emulator.md", r"(?=<!-- ptx-mutants: up to here)", "more\n", "ptx-mutants"),
    ("docs/front-ends.md", r"None so far", "None", "handed-in"),
    ("docs/findings.md", r"\| \[lhotse\].*\n", "", "findings"),
    ("docs/findings.md", r"\| librosa \| [\d.]+ \| 0", "| librosa | 0.1 | 9", "worst-inputs"),
    ("docs/versions.md", r"\| 0\.1\.0 ", "| 0.0.9 ", "versions"),
    ("docs/error-bound.md", r"\| float16, cut \|.*\n", "", "variants"),
    ("docs/models.md", r"\| `qwen3-asr` \|", "| `qwen3` |", "models"),
    ("docs/what-has-run.md", r"\| AVX2 \|", "| AVX |", "runs"),
    ("golden/README.md", r"-->\d+ arrays", "-->7 arrays", "goldens"),
]


def test_the_check_names_every_file_and_part(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _check(capsys) == (0, [cli.UP_TO_DATE])
    paths = {document: checkout / document for document, *_ in PLANTED}
    whole = {document: path.read_text(encoding="utf-8") for document, path in paths.items()}
    for document, pattern, new, _ in PLANTED:
        _edit(paths[document], pattern, new)
    stale = {f"{document}: {part}" for document, _, _, part in PLANTED}
    status, lines = _check(capsys)
    assert status == 1
    assert set(lines) == {f"{what} is out of date: run ./dev docs" for what in stale}
    assert cli.run([]) == 0
    assert set(capsys.readouterr().out.splitlines()) == {f"written: {what}" for what in stale}
    assert whole == {document: path.read_text("utf-8") for document, path in paths.items()}
    assert {part for *_, part in PLANTED} >= cli.SECTIONS.keys()


@pytest.mark.slow
def test_a_picture_of_another_record_is_drawn_anew(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = checkout / "docs" / "measurements" / "cpu.png"
    _edit(speed.RECORD, r'"quick": false', '"quick": true')
    stale = "docs/measurements/cpu.png is out of date: run ./dev docs"
    assert _check(capsys) == (1, [stale])
    assert cli.run([]) == 0
    assert pictures.shows(picture, results.load(speed.RECORD))
    picture.unlink()
    capsys.readouterr()
    assert _check(capsys) == (1, [stale])


def test_a_part_without_a_place_and_a_broken_mark_are_named(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _edit(checkout / "golden" / "README.md", "<!--=goldens-->", "")
    assert _check(capsys) == (1, ["docs: no document has a place for goldens"])
    _edit(checkout / "docs" / "gpu.md", "<!-- measured: up to here -->", "")
    assert _check(capsys)[1][0].startswith(
        "docs: docs/gpu.md: a mark of a generated part is broken"
    )


@pytest.mark.parametrize("word", ["report.json", "--release"])
def test_nothing_is_recorded_by_the_check(word: str) -> None:
    with pytest.raises(SystemExit):
        cli.run(["--check", word])


# --------------------------------------------------------------------------- findings


def test_every_finding_has_an_effect_and_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were declared after the record, too."""
    new = replace(known.of_peers()[0], title="new", mechanism="it is new", patterns=("golden/*",))
    entries = [*known.of_peers(), new]
    monkeypatch.setattr(known, "of_peers", lambda: entries)
    rows = findings.found().splitlines()[2:]
    assert len(rows) == len(entries)
    for row in rows:
        _, project, version, mechanism, effect, cases, since, _ = re.split(r" ?\| ?", row)
        assert all((project, version, mechanism, since))
        assert effect, f"{project}: what do its users notice? `effect` in its TOML file says it"
        assert re.fullmatch(r"\d+ cases?, such as `[a-z]+/.+`", cases), cases
    assert any("| it is new |" in row and "1 case, such as `golden/*`" in row for row in rows)


# --------------------------------------------------------------------------- releases


def test_a_recorded_release_is_kept(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever changes needs another version than the release's: a case, a vector, a bound."""
    monkeypatch.setattr(versions, "RECORD", checkout / "docs" / "measurements" / "releases.json")
    assert "(unreleased)" in versions.section()
    assert cli.run(["--release"]) == 0
    number = importlib.metadata.version("whisper-mel-conformance")
    page = (checkout / "docs" / "versions.md").read_text(encoding="utf-8")
    row = f"| {number} | {CASES_VERSION}: {len(catalogue.ids('nightly')):,}, SHA-256 `"
    assert row in page and "(unreleased)" not in page
    capsys.readouterr()
    assert _check(capsys) == (0, [cli.UP_TO_DATE])
    kept = versions.RECORD.read_text(encoding="utf-8")
    for thing, key, other in [
        ("cases", "count", 7),
        ("vectors", "sha256", "7"),
        ("bound", "values", []),
    ]:
        releases = json.loads(kept)
        content = releases[number][thing]
        content[key] = other
        versions.RECORD.write_text(json.dumps(releases), encoding="utf-8")
        status, lines = _check(capsys)
        assert status == 1
        assert f"{thing} {content['version']} differs from that of release {number}" in lines[0]
        content["version"] = "0.9"  # so it was an earlier one, and what changed has another one now
        versions.RECORD.write_text(json.dumps(releases), encoding="utf-8")
        assert _check(capsys)[1] == ["docs/versions.md: versions is out of date: run ./dev docs"]


def test_bounds_are_compared_up_to_rounding() -> None:
    now = versions.today()
    values = now["bound"]["values"]
    for factor, is_kept in [(1 + 1e-12, True), (1 + 1e-6, False), (float("nan"), False)]:
        was = {**now, "bound": {**now["bound"], "values": [it * factor for it in values]}}
        assert (versions.broken({"1": was}, now) == []) == is_kept
    assert len({*values}) > 5
    fewer = {**now, "bound": {**now["bound"], "values": values[1:]}}
    assert versions.broken({"1": fewer}, now)


# --------------------------------------------------------------------------- other cases today


def test_a_record_made_with_other_cases_says_so(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after a case was added: until all is written anew, the check fails."""
    judged = catalogue.ids()
    _judged_by(judged)
    assert cli.run([]) == 0
    readme = checkout / "README.md"
    assert f"profile quick, {len(judged):,} cases.\n" in readme.read_text(encoding="utf-8")
    monkeypatch.setattr(catalogue, "ids", lambda profile="quick": (*judged, "golden/new/80"))
    capsys.readouterr()
    _, lines = _check(capsys)
    stale = ["README.md: front-ends", "docs/front-ends.md: front-ends-page"]
    stale += ["docs/quirks.md: kill-matrix", "docs/what-has-run.md: runs"]
    assert lines == [f"{what} is out of date: run ./dev docs" for what in stale]
    assert cli.run([]) == 0
    assert f"{len(judged):,} cases then ({len(judged) + 1:,} today).\n" in readme.read_text("utf-8")
    page = (checkout / "docs" / "quirks.md").read_text(encoding="utf-8")
    tried = set().union(*(row.cases for row in quirks.matrix().values()))
    untried = 1 + sum(it.startswith("golden/") and it not in tried for it in judged)
    assert re.search(rf"^Cases not tried yet: .*\b{untried} of `golden/`", page, re.MULTILINE)
    monkeypatch.setattr(catalogue, "ids", lambda profile="quick": (*judged[1:], "golden/new/80"))
    assert "cases then (others today)." in front_ends.judged_when()


def _judged_by(cases: tuple[str, ...], *names: str) -> None:
    """Changes the record: some front-ends (all) were judged by these cases."""
    data = json.loads(front_ends.RECORD.read_text(encoding="utf-8"))
    for judged in data["front_ends"]:
        if judged["name"] in (names or front_ends.names()):
            judged["catalogue"] = catalogue.identity(cases)
    front_ends.RECORD.write_text(json.dumps(data), encoding="utf-8")
    front_ends.read.cache_clear()


def test_front_ends_that_were_judged_by_other_cases_are_named(checkout: Path) -> None:
    _judged_by(catalogue.ids())
    _judged_by(("golden/reading/80",), "librosa", "lhotse")
    day = front_ends.read()["librosa"]["created"][:10]
    assert front_ends.judged_when().endswith(
        f"cases, but for lhotse, librosa: {day}, profile quick, 1 cases then "
        f"({len(catalogue.ids()):,} today)."
    )


def test_a_family_that_is_newer_than_the_record_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "new", Family("new", "it is new", lambda profile: []))
    page = front_ends.page()
    assert re.search(r"^\| \| golden \| .* \| regressions \| new \|$", page, re.MULTILINE)
    assert re.search(r"^\| librosa \| .* \| \|$", page, re.MULTILINE)
    assert "| `new/` | it is new |" in catalogue.families()


def test_a_record_that_does_not_name_its_cases_is_refused(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _edit(front_ends.RECORD, r'"catalogue": \{\s+"cases": \d+,', '"catalogue": {')
    front_ends.read.cache_clear()
    status, lines = _check(capsys)
    assert status == 1
    assert "mojo-cpu has no catalogue: expected its cases and sha256" in lines[0]


def test_a_quirk_that_was_not_tried_yet_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def untried() -> int:
        found = re.search(r"^Mutants not tried yet: (\d+) quirks", quirks.killed(), re.MULTILINE)
        assert found
        return int(found[1])

    before = untried()
    new = replace(CATALOGUE["floor"], id="new-quirk")
    monkeypatch.setitem(CATALOGUE, new.id, new)
    [row] = [line for line in quirks.tables().splitlines() if line.startswith("| `new-quirk`")]
    assert "| not tried yet |" in row
    assert untried() == before + 1


# --------------------------------------------------------------------------- front-ends


def test_a_peer_that_was_not_judged_yet_says_so(checkout: Path) -> None:
    data = json.loads(front_ends.RECORD.read_text(encoding="utf-8"))
    data["front_ends"] = [it for it in data["front_ends"] if it["name"] != "librosa"]
    data["front_ends"].append({**data["front_ends"][0], "name": "gone"})
    front_ends.RECORD.write_text(json.dumps(data), encoding="utf-8")
    front_ends.read.cache_clear()
    assert re.search(r"\blibrosa\b[^.]*: not judged yet\.", front_ends.readme())
    page = front_ends.page()
    assert "| [librosa](#librosa) • | | | | | | not judged yet |\n" in page
    section = page.partition("\n## librosa\n\n")[2].partition("\n## ")[0]
    assert section.startswith("librosa: `librosa.feature.melspectrogram`")
    assert section.strip().endswith("It was not judged yet.")
    assert "gone" not in front_ends.read()


def test_a_changed_declaration_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "What is declared of it has changed since"
    as_recorded = [it for it in front_ends.read().values() if not front_ends.declared_otherwise(it)]
    unchanged = next(it for it in as_recorded if it["declared"])
    before = front_ends.page().count(said)
    entries = [replace(entry, title="another") for entry in known.of_peers()]
    monkeypatch.setattr(known, "of_peers", lambda: entries)
    assert front_ends.declared_otherwise(unchanged)
    assert front_ends.page().count(said) > before


def test_a_run_replaces_what_was_recorded_of_its_front_ends(checkout: Path, tmp_path: Path) -> None:
    before = front_ends.read()
    path = tmp_path / "report.json"
    path.write_text(json.dumps(_report("librosa", ["golden/reading/80", "batch/three/80"])))
    assert cli.run([str(path)]) == 0
    after = front_ends.read()
    assert list(after) == list(before)
    assert {name for name in after if after[name] != before[name]} == {"librosa"}
    assert after["librosa"]["families"]["golden"]["known"] == 1
    assert after["librosa"]["catalogue"]["cases"] == 2
    assert "librosa: 2026-11-25, profile quick, 2 cases then" in front_ends.judged_when()


def test_only_the_kernel_and_peers_are_recorded(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(_report("mine", ["golden/reading/80"])))
    assert cli.run([str(path)]) == 1
    assert "'mine': expected one of mojo-cpu, " in capsys.readouterr().out


def test_failures_are_not_hidden_on_the_page(checkout: Path) -> None:
    front_ends.take(_report("librosa", ["golden/reading/80"], "failed"))
    text = front_ends.page()
    assert "Fails, undeclared: `golden/reading/80`" in text
    assert "| fails |" in text
    assert "(**1 failed**)" in text


def _report(name: str, cases: list[str], status: str = "known") -> dict[str, Any]:
    counts = {"passed": 0, "failed": 0, "skipped": 0, "known": 0, status: len(cases)}
    judged = {
        "name": name,
        "device": "cpu",
        "versions": {name: "1"},
        "class": "fails",
        "counts": counts,
        "worst": None,
        "diagnosis": None,
        "cases": [{"id": case, "status": status, "score": None} for case in cases],
    }
    return {
        "created": "2026-11-25T00:00:00+00:00",
        "profile": "quick",
        "seed": 0,
        "environment": {},
        "front_ends": [judged],
    }


def test_the_record_of_front_ends_is_sound() -> None:
    for name, judged in front_ends.read().items():
        assert judged["counts"]["passed"] > 0, name
        assert judged["failed"] == [], name
        families = judged["families"].values()
        assert sum(sum(family.values()) for family in families) == sum(judged["counts"].values())
        assert all(entry["cases"] for entry in judged["declared"]), name


@pytest.mark.nightly
def test_every_peer_was_judged_by_todays_cases_and_declarations() -> None:
    """After a change: ``./dev conformance --matrix``, then ``./dev docs report/report.json``.

    Until then README and docs/front-ends.md say which were not, or by which cases.
    """
    assert list(front_ends.read()) == ["mojo-cpu", *peers()]
    for name, judged in front_ends.read().items():
        assert judged["catalogue"] == catalogue.identity(catalogue.ids(judged["profile"])), name
        assert not front_ends.declared_otherwise(judged), name


# --------------------------------------------------------------------------- what has run where


def test_every_target_has_a_row() -> None:
    assert {*MACHINES} <= {*runs.CPUS}
    ours = {name for name in registered() if name.startswith("mojo-")}
    executing = {it for it in ours if not it.endswith("-gpu")}  # those on a device: gpu-*.json
    assert {*runs.HOW} == executing - {"mojo-max", "mojo-torch"}
    rows = runs.section().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [*runs.CPUS, *TARGETS]


def run_of(
    name: str, versions: dict[str, str], failed: int = 0, families: str = "ab"
) -> dict[str, Any]:
    counts = {"passed": 7, "failed": failed, "skipped": 0, "known": 0}
    judged: dict[str, Any] = {"name": name, "versions": versions, "class": "A", "counts": counts}
    judged["cases"] = [{"id": f"{family}/a"} for family in families]
    judged["worst"] = {"case": "a/b", "score": 0.25}
    return {"created": "2026-11-27T01:02:03+00:00", "profile": "quick", "front_ends": [judged]}


def test_a_run_is_recorded_for_its_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "RECORD", tmp_path / "runs.json")
    assert runs.read() == {}
    runs.take(run_of("mojo-arm", {"target": "aarch64"}))
    runs.take(run_of("mojo-arm", {"target": "aarch64"}, failed=2))
    runs.take(run_of("mojo-cpu", {"target": "x86-64-v3"}))
    runs.take(run_of("mojo-ptx", {"target": "sm_86"}, families="g"))
    runs.take(run_of("librosa", {"librosa": "1"}))
    assert [*runs.read()] == ["x86-64-v3", "aarch64", "sm_86"]
    text = runs.section(tmp_path)
    cells = {row.split("`")[1]: row.split(" | ") for row in text.splitlines()[2:]}
    said = "class A, 7 passed, worst 0.25 (`mojo-cpu`, 2026-11-27, profile quick, 2 cases then"
    assert cells["x86-64-v3"][3] == "as on the right"
    assert cells["x86-64-v3"][4].startswith(said)
    assert cells["aarch64"][3].startswith("by qemu: class A, 7 passed, **2 failed**, worst 0.25")
    assert cells["aarch64"][4].startswith("not yet")
    assert cells["sm_86"][3].endswith("worst 0.25 (`mojo-ptx`, 2026-11-27, the 1 cases `g/…`)")
    assert cells["sm_90a"][3:] == ["not yet", "not yet |"]


def test_a_device_is_in_the_row_of_its_target() -> None:
    [row] = (row for row in runs.section().splitlines() if row.startswith("| `sm_90a`"))
    made = json.loads((MEASUREMENTS / "gpu-nvidia-h200.json").read_text(encoding="utf-8"))
    assert f"[NVIDIA H200, {made['created'][:10]}: class A" in row
    assert "the CPU's bits](gpu.md#measured)" in row


# --------------------------------------------------------------------------- records

_FOLDER_OF_A_MACHINE = re.compile(r"/(home|root|tmp|Users|work)/")


def test_a_folder_of_a_machine_is_seen() -> None:
    assert _FOLDER_OF_A_MACHINE.search('"os.getcwd(): /home/somebody/whisper-mel became /"')
    assert not _FOLDER_OF_A_MACHINE.search('"golden/reading/80", "os.getcwd(): . became /"')


@pytest.mark.parametrize("path", sorted(MEASUREMENTS.glob("*.json")), ids=lambda path: path.stem)
def test_a_record_names_no_folder_of_a_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text
    found = _FOLDER_OF_A_MACHINE.search(text)
    assert found is None, text[found.start() - 100 : found.end() + 100]
