"""The error bound's calibration: the committed record is consistent, and stays true here."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibration import calibrate as calibrating
from calibration.calibrate import (
    LIMITS,
    RANGES,
    Judge,
    available,
    calibrate,
    constants,
    digest,
    draw_recipe,
    measure,
    read,
    recipes,
    run,
    search,
    vary_recipe,
    write,
)
from calibration.front_ends import FRONT_ENDS, FrontEnd, roots
from docs.calibration import text
from whisper_mel_golden.signals import render
from whisper_mel_reference import CLASS_A, CLASS_B

figure = pytest.importorskip(
    "calibration.figure", reason="matplotlib is in the layer `test`"
).figure

RECORD = read()
ROWS = {row["name"]: row for row in RECORD["front_ends"]}
NAMES = [front_end.name for front_end in FRONT_ENDS]
NOISE = {"signal": "noise", "n": 1600, "seed": 1, "gain": 0.1}


def _named(name: str) -> FrontEnd:
    return FRONT_ENDS[NAMES.index(name)]


# --------------------------------------------------------------------------- the record


def test_the_record_is_of_these_front_ends_and_constants() -> None:
    again = "run `./dev golden calibrate` with every library installed"
    assert [(row["name"], row["kind"]) for row in RECORD["front_ends"]] == [
        (front_end.name, front_end.kind) for front_end in FRONT_ENDS
    ], again
    assert [name for name, row in ROWS.items() if "absent" in row] == [], again
    assert RECORD["clips"]["count"] >= 60
    assert RECORD["constants"] == constants(), again


@pytest.mark.nightly
def test_the_record_is_of_todays_clips() -> None:
    """Who adds an input need not calibrate at once: until then docs/error-bound.md says so."""
    clips = {"count": len(recipes()), "sha256": digest(recipes())}
    assert RECORD["clips"] == clips, "run `./dev golden calibrate` with every library installed"


def test_the_table_says_if_the_clips_are_others_today() -> None:
    today = f"{RECORD['clips']['count']} clips"
    assert text(RECORD).startswith(f"{today}, ")
    other = {**RECORD, "clips": {"count": 3, "sha256": digest({})}}
    assert text(other).startswith(f"3 clips (as of then; {len(recipes())} today), ")


@pytest.mark.parametrize("name", NAMES)
def test_recorded_scores_are_of_their_kind(name: str) -> None:
    low, high = LIMITS[ROWS[name]["kind"]]
    assert low <= ROWS[name]["score"] <= high


def test_the_classes_lie_between_what_they_part() -> None:
    scores: dict[str, list[float]] = {kind: [] for kind in LIMITS}
    for row in ROWS.values():
        scores[row["kind"]].append(row["score"])
    assert len(scores["careful"]) >= 8
    assert max(scores["careful"]) <= CLASS_A
    # Not needlessly loose: half of class A is used, and every fault fails by a margin.
    assert max(scores["careful"]) >= 0.5 * CLASS_A
    assert min(scores["fault"]) >= 1.25 * CLASS_B


def test_the_search_was_run_for_every_careful_front_end() -> None:
    careful = {front_end.name for front_end in FRONT_ENDS if front_end.kind == "careful"}
    worst = RECORD["search"]["worst"]
    assert set(worst) == careful
    assert max(found["score"] for found in worst.values()) <= CLASS_A


# --------------------------------------------------------------------------- still true


@pytest.mark.parametrize("name", NAMES)
def test_a_front_end_scores_here_as_recorded(name: str) -> None:
    """On the clip that was worst for it. Rounding differs between processors, by less than 3.

    A careless one may be much better: how many partial sums a matrix product is made of is the
    processor's affair. A fault's score may depend on a value next to the clamp: it only has to stay
    a fault's.
    """
    front_end, row = _named(name), ROWS[name]
    if front_end.requires is not None:
        pytest.importorskip(front_end.requires, reason=f"{front_end.requires} is not installed")
    audio = render(recipes()[row["signal"]])
    judge = Judge(audio, row["n_mels"], row["smoothing"])
    score = judge.score(front_end.log_mel(audio, row["n_mels"]))
    low, high = LIMITS[row["kind"]]
    assert low <= score <= high
    if row["kind"] in ("careful", "careless"):
        assert score <= row["score"] * 3
    if row["kind"] == "careful":
        assert score >= row["score"] / 3


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", [f.name for f in FRONT_ENDS if f.kind == "careful"])
def test_careful_front_ends_are_class_a_on_clips_of_other_seeds(name: str, seed: int) -> None:
    front_end = _named(name)
    if front_end.requires is not None:
        pytest.importorskip(front_end.requires, reason=f"{front_end.requires} is not installed")
    ramp = {"signal": "noise_ramp", "n": 8000, "seed": 1000 + seed}
    clicks = {"signal": "clicks", "n": 8000, "seed": 2000 + seed}
    found = measure({"ramp": ramp, "clicks": clicks}, [front_end])
    assert 0 < found[name]["score"] <= CLASS_A


# --------------------------------------------------------------------------- how it is made


def test_transforms_are_transforms() -> None:
    """Each front-end's spectrum is right up to rounding: careful ones agree within 1e-4."""
    audio = render(NOISE)
    expected = Judge(audio, 80).features
    for front_end in FRONT_ENDS:
        if front_end.kind in ("careful", "careless") and available(front_end):
            actual = front_end.log_mel(audio, 80)
            assert actual.dtype == np.float32, front_end.name
            np.testing.assert_allclose(actual, expected, atol=1e-4, err_msg=front_end.name)


def test_roots_are_rounded_once() -> None:
    exact = np.exp(-2j * np.pi * np.arange(400) / 400)
    assert np.abs(roots(400) - exact).max() <= 2**-24.5


def test_a_front_end_that_goes_wrong_is_seen() -> None:
    def nothing(audio: Any, n_mels: int) -> Any:
        return np.full((n_mels, audio.size // 160), np.nan, np.float32)

    found = measure({"noise": NOISE}, [FrontEnd("NaN", "fault", nothing)])["NaN"]
    assert (found["score"], found["signal"]) == (np.inf, "noise")


def test_an_absent_library_is_a_row_with_its_reason() -> None:
    absent = FrontEnd("absent", "careful", FRONT_ENDS[0].log_mel, "no_such_library")
    present = _named("radices 4 4 5 5; float32 window; squared magnitude")
    made = calibrate({"noise": NOISE}, 2, 1, (absent, present))
    first, second = made["front_ends"]
    assert first["absent"] == "no_such_library is not installed"
    assert second["signal"] == "noise"
    assert 0 < second["score"] <= CLASS_A
    assert "| absent | careful | no_such_library is not installed |" in text(made)
    assert _names(made) == [present.name]


def test_the_search_gives_the_clip_it_found() -> None:
    front_end = _named("prime factors 16 x 25; sums in order; series")
    found = search(6, 3, [front_end])[front_end.name]
    assert found == search(6, 3, [front_end])[front_end.name]
    audio = render(found["recipe"])
    again = Judge(audio, found["n_mels"]).score(front_end.log_mel(audio, found["n_mels"]))
    assert again == found["score"] > 0


def test_recipes_of_the_search_are_recipes() -> None:
    rng = np.random.default_rng(4)
    signals = set()
    for _ in range(200):
        recipe = draw_recipe(rng)
        varied = vary_recipe(recipe, rng)
        for made in (recipe, varied):
            assert render(made).size == recipe["n"]
            for name, (low, high) in RANGES[made["signal"]].items():
                assert low <= made[name] <= high
        assert varied["signal"] == recipe["signal"]
        signals.add(recipe["signal"])
    assert signals == set(RANGES)


def _names(calibration: dict[str, Any]) -> list[str]:
    """The front-ends that a picture shows."""
    scores, _ = figure(calibration).axes
    return [label.get_text() for label in scores.get_yticklabels()]


def test_the_picture_shows_every_front_end_and_what_the_search_found() -> None:
    assert _names(RECORD) == NAMES
    scores, frame = figure(RECORD).axes
    rings = [line for line in scores.lines if line.get_fillstyle() == "none"]
    found = [RECORD["search"]["worst"][name]["score"] for name in NAMES[: len(rings)]]
    assert [line.get_xdata().item() for line in rings] == found
    assert [line.get_ydata().tolist() for line in frame.lines] == [
        RECORD["frame"]["bound"],
        RECORD["frame"]["error"],
    ]


def test_the_command_replaces_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "calibration.json"
    monkeypatch.setattr(calibrating, "calibrate", lambda: {"made": "anew"})
    monkeypatch.setattr(calibrating, "write", partial(write, path=path))
    assert run([]) == 0
    assert read(path) == {"made": "anew"}
    with pytest.raises(SystemExit, match="golden calibrate now: expected no arguments"):
        run(["now"])
