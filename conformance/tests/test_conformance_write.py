"""The files of a run: what ``report.json`` and each ``case.json`` say, which arrays are kept."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from running import report_of
from whisper_mel_conformance.cases.catalogue import FAMILIES
from whisper_mel_conformance.diagnosis.diagnose import Diagnosis
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.load import Capabilities
from whisper_mel_conformance.report import write as written
from whisper_mel_conformance.report.documents import Document
from whisper_mel_conformance.run.known import KnownFailure
from whisper_mel_conformance.run.result import Result
from whisper_mel_conformance.run.run import Run
from whisper_mel_conformance.run.setup import Setup

MODEL = {"name": "large", "n_mels": 128, "maximum": "clip", "pad_to": None}
CASE = "boundary/length-401/80"


def description(name: str = "f", **able: Any) -> dict[str, Any]:
    capabilities = asdict(Capabilities(**able))
    said = {"source": f"theirs.{name}:f", "device": "cpu", "versions": {"library": "1.0"}}
    return {"name": name, "capabilities": capabilities, **said}


def front_end(name: str = "f", **able: Any) -> FrontEnd:
    return FrontEnd.of(description(name, **able), timeout=1.0)


def arrays(n_frames: int = 100, height: float = 1.0, error: float = 1.0) -> dict[str, Any]:
    """Features with a ramp of this height, and wrong ones."""
    expected = np.tile(np.linspace(0, height, 80)[:, np.newaxis], n_frames)
    return {"actual": expected + error, "expected": expected, "bound": expected * 0 + 1e-6}


def diagnosis(shown: Mapping[str, Any]) -> Diagnosis:
    answer = SimpleNamespace(name="a clip", actual=[shown["actual"]])
    answer.expected, answer.bound = [shown["expected"]], [shown["bound"]]
    return Diagnosis(
        [], "what is wrong", evidence=["seen"], fix=["repair"], shown=cast(Any, answer)
    )


def declared(name: str, mechanism: str) -> KnownFailure:
    since = datetime.date(2026, 11, 1)
    return KnownFailure(name, ("*",), (), since, "1.0", mechanism, "https://x.invalid/", "title")


def run() -> Run:
    """Two front-ends, one of which was judged: a pass, a failure, and two declared failures."""
    setup = Setup([description(), description("idle")], [declared("f", "a"), declared("f", "b")])
    setup.named, setup.seed = ["f"], 7
    judged = Run(setup)
    results = [
        Result("f", CASE, "passed", score=0.5, seconds=0.123456, calls=2),
        Result("f", "golden/dc/80", "failed", "off", float("inf"), calls=1, arrays=arrays()),
        Result("f", "golden/dc/128", "known", "off", 9.0, declared=1),
        Result("f", "numerics/dc/80", "known", "off", 9.0, declared=1),
    ]
    for result in results:
        judged.add(result)
    return judged


def test_a_report_says_what_became_of_each_case(tmp_path: Path) -> None:
    judged = run()
    failed = judged.of("f", "failed")[0]
    failed.reproduction = tmp_path / "failures" / "f" / "x" / "case.json"
    made = written.document(judged, {"f": diagnosis(arrays())}, tmp_path, Document([], [], []))
    [data] = made.runs
    assert data["seed"] == 7
    assert [one["name"] for one in data["front_ends"]] == ["f"]
    [one] = data["front_ends"]
    assert one["cases"][:2] == [
        {"id": CASE, "status": "passed", "score": 0.5, "seconds": 0.1235, "message": "",
         "reproduction": None},
        {"id": "golden/dc/80", "status": "failed", "score": "inf", "seconds": 0.0,
         "message": "off", "reproduction": "failures/f/x"},
    ]  # fmt: skip
    assert one["counts"] == {"passed": 1, "failed": 1, "skipped": 0, "known": 2}
    assert (one["class"], one["calls"], one["named"], one["model"]) == ("fails", 3, True, None)
    assert one["worst"] == {"case": "golden/dc/80", "score": "inf"}
    assert one["diagnosis"]["cause"] == "what is wrong"
    assert [(entry["mechanism"], entry["cases"]) for entry in one["declared"]] == [("b", 2)]
    assert one["declared"][0]["since"] == "2026-11-01"
    assert [shown["title"] for shown in one["figures"]] == ["the clip “a clip”", "golden/dc/80"]
    assert written.as_json(judged, {}, tmp_path)["front_ends"][0]["diagnosis"] is None
    judged.plan([("idle", CASE)])
    assert len(written.as_json(judged, {}, tmp_path)["front_ends"]) == 2
    (tmp_path / "report").mkdir()
    written.write({"f": diagnosis(arrays())}, made, tmp_path / "report")
    assert report_of(tmp_path)["front_ends"][0]["name"] == "f"
    assert written.picture_path("f", tmp_path / "report").exists()
    nothing = Diagnosis([], "what is wrong")
    (tmp_path / "other").mkdir()
    written.write({"f": nothing}, made, tmp_path / "other")
    assert not (tmp_path / "other" / "failures").exists()


def test_figures_are_few_and_of_what_shows_most() -> None:
    def titles(*results: Result, **diagnoses: Diagnosis) -> list[str]:
        def of(_name: str, status: str) -> list[Result]:
            return [result for result in results if result.status == status]

        judged = cast(Run, SimpleNamespace(of=of))
        return [made["title"] for made in written.figures(judged, diagnoses, "f")]

    def failed(case: str, score: float | None, status: str = "failed", **more: Any) -> Result:
        return Result("f", case, status, score=score, arrays=arrays(**more))

    ordinary = failed("golden/a", 5.0)
    assert titles(ordinary, failed("golden/b", 6.0)) == ["golden/b"]
    assert titles(ordinary, failed("golden/b", float("nan"))) == ["golden/b"]
    assert titles(ordinary, failed("golden/b", None)) == ["golden/a"]
    assert titles(ordinary, failed("golden/b", 6.0, "known")) == ["golden/a"]
    assert titles(ordinary, failed("golden/b", 6.0, n_frames=19)) == ["golden/a"]
    assert titles(ordinary, failed("golden/b", 6.0, n_frames=20)) == ["golden/b"]
    assert titles(ordinary, failed("golden/b", 6.0, height=0.24)) == ["golden/a"]
    assert titles(ordinary, failed("golden/b", 6.0, height=0.26)) == ["golden/b"]
    assert titles(failed("golden/b", 6.0, height=0.1)) == ["golden/b"]  # nothing else is there
    others = [failed(f"{family}/a", 5.0 - i) for i, family in enumerate(("a", "b", "c", "d"))]
    assert titles(*others) == ["a/a", "b/a", "c/a"]
    shown = diagnosis(arrays())
    assert titles(*others, f=shown) == ["the clip “a clip”", "a/a", "b/a"]
    assert titles(Result("f", "golden/a", "failed", arrays={"actual": np.ones(1)})) == []


@pytest.mark.parametrize(
    ("value", "told"), [(None, None), (0.5, 0.5), (float("inf"), "inf"), (float("nan"), "nan")]
)
def test_json_has_no_infinity(value: float | None, told: Any) -> None:
    assert written.json_number(value) == told


def test_a_failure_is_stored_with_what_replays_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = {"recipe": {"signal": "noise", "n": 401, "seed": 1}}
    result = Result("f", CASE, "failed", "é", float("nan"), arguments=asked, arrays=arrays())
    one = front_end(model=MODEL, n_mels=(128,))
    path = written.write_failure(result, one, tmp_path / "report")
    assert (
        result.reproduction == path == tmp_path / "report/failures/f" / path.parts[-2] / "case.json"
    )
    assert path.read_text(encoding="utf-8").startswith('{\n "format": 1,')
    data = json.loads(path.read_text(encoding="utf-8"))
    assert "é" in path.read_text(encoding="utf-8")
    assert (data["case"], data["check"], data["score"]) == (CASE, "scored", "nan")
    assert data["front_end"] == {
        "source": "theirs.f:f",
        "name": "f",
        "device": "cpu",
        "model": "large",
        "versions": {"library": "1.0"},
    }
    assert data["specification"]["n_mels"] == 128
    assert data["command"].endswith(f"repro {path} --trust")
    size = path.with_name(written.STORED).stat().st_size
    for room, is_kept in ((size, True), (size - 1, False)):
        written.write_failure(result, one, tmp_path / "report", room=room)
        assert path.with_name(written.STORED).exists() == is_kept
    result.arrays = {}
    written.write_failure(result, one, tmp_path / "report")
    assert not path.with_name(written.STORED).exists()


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("{here}/below/mine.py:f", "below/mine.py:f"),
        ("below/mine.py:f", "below/mine.py:f"),
        ("/elsewhere/mine.py:f", "/elsewhere/mine.py:f"),
        ("package.module:f", "package.module:f"),
        ("cmd:{here}/mine.py {in}:f", "cmd:{here}/mine.py {in}:f"),
    ],
)
def test_a_source_is_found_by_other_checkouts(
    source: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = str(tmp_path)
    assert written._portable(source.replace("{here}", here)) == told.replace("{here}", here)


def test_paths_to_the_report_are_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are entered again: no climbing up from a deep folder to a shallow one."""
    here = tmp_path / "a" / "b" / "c"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    assert written.shortest(Path("report")) == "report"
    assert written.shortest(here.parent / "out") == "../out"
    assert written.shortest(Path("/x")) == "/x"


def test_each_front_end_has_its_share_of_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 3
    count = 2 * (2 * len(FAMILIES) + free)
    monkeypatch.setattr(written, "REPRODUCTIONS", count)
    sizes: list[tuple[str, int]] = []

    def write_failure(result: Result, one: FrontEnd, folder: Path, *, room: int) -> Path:
        sizes.append((one.name, room))
        path = folder / f"{len(sizes)}" / "case.json"
        path.parent.mkdir()
        path.with_name(written.STORED).write_bytes(bytes(1000))
        return path

    monkeypatch.setattr(written, "write_failure", write_failure)
    failures = written.Failures(tmp_path, 2)
    for name in ("f", "g"):
        for family, of_family in (("golden", 4), ("numerics", 5), ("batch", 2), ("stream", 1)):
            for i in range(of_family):
                failures.write(Result(name, f"{family}/{i}", "failed"), front_end(name))
    # Two of each family, and three more: of the nine above, two and then one.
    rooms = [room for name, room in sizes if name == "f"]
    assert len(rooms) == len(sizes) / 2 == 2 + 2 + 2 + 1 + free
    assert rooms == [written.ARRAYS // 2 - 1000 * i for i in range(len(rooms))]
    written.Failures(tmp_path, 0)  # there is none to be stored


def test_what_is_forgotten_is_the_suite_s_own(tmp_path: Path) -> None:
    one = front_end()
    path = written.write_failure(Result("f", CASE, "failed"), one, tmp_path)
    other = written.write_failure(Result("g", CASE, "failed"), front_end("g"), tmp_path)
    written.render(Document([written.as_json(run(), {}, tmp_path)]), tmp_path)
    assert (tmp_path / "badges").exists()
    written.forget(["f"], tmp_path)
    assert not path.exists()
    assert other.exists()
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "failures"] in (
        [],
        [".whisper-mel"],
    )
    written.forget(["f"], tmp_path)  # nothing to remove


def test_reproductions_are_not_put_where_a_link_leads(tmp_path: Path) -> None:
    assert written.failure_folder("ours", tmp_path) == tmp_path / "failures" / "ours"
    (tmp_path / "failures").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"failures is a link to .*elsewhere: expected none"):
        written.failure_folder("ours", tmp_path)
