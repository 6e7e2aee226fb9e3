"""What a diagnosis says: where features are off, by which quirks, how well those explain them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from correct_front_ends import Everything, right
from whisper_mel_conformance.cases.catalogue import find
from whisper_mel_conformance.diagnosis import suspects as suspects_module
from whisper_mel_conformance.diagnosis.answer import Answer, Variant
from whisper_mel_conformance.diagnosis.clips import SPEECH
from whisper_mel_conformance.diagnosis.free import Explained, Free
from whisper_mel_conformance.diagnosis.outcome import Diagnosis, fixes, fixes_of
from whisper_mel_conformance.diagnosis.places import located, only_place
from whisper_mel_conformance.diagnosis.search import Explanation
from whisper_mel_conformance.diagnosis.suspects import faults_of, suspects
from whisper_mel_conformance.diagnosis.tried import can_be_tried, passes
from whisper_mel_conformance.diagnosis.words import (
    agreement_of,
    alternatives,
    causes_of,
    how_fitted,
    without_it,
)
from whisper_mel_conformance.frontend.client import InProcess
from whisper_mel_conformance.frontend.errors import Failure, Refused, Unsupported
from whisper_mel_conformance.frontend.load import inspect_front_end
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_conformance.quirks.path import Variation
from whisper_mel_reference import WHISPER, log_mel

Array = Any


def answer(
    name: str = "noise",
    change: Callable[[Array], Array] | None = None,
    n: int = 4000,
    audio: Array | None = None,
    **spec: Any,
) -> Answer:
    """Return an answer to noise, which ``change`` turns from the right features into wrong ones."""
    if audio is None:
        audio = np.random.default_rng(n).normal(0.0, 0.1, n).astype(np.float32)
    of = WHISPER.replace(**spec)
    features = log_mel(audio, of)
    return Answer(name, audio, of, features if change is None else change(features))


def off(*where: Any) -> Callable[[Array], Array]:
    """Return what makes features wrong at a place."""

    def change(features: Array) -> Array:
        changed = features.copy()
        changed[where] += 0.5
        return changed

    return change


# --------------------------------------------------------------------------- places

PLACES = {
    "the last frame is": off(..., -1),
    "the last 2 frames are": off(..., slice(-2, None)),
    "the first frame is": off(..., 0),
    "the first 3 frames are": off(..., slice(3)),
    "frames from 8 on are": off(..., slice(8, None)),
    "one frame in 5, from 3 on, is": off(..., slice(3, None, 5)),
    "one frame in 2, from 0 on, is": off(..., slice(None, None, 2)),
    "bands 40-47 are": off(slice(40, 48), slice(None)),
    "bands 3, 7-8 are": off([3, 7, 8], slice(None)),
}


@pytest.mark.parametrize("words", PLACES)
def test_the_place_that_all_answers_share_is_named(words: str) -> None:
    """Of clips of several lengths; of two clips nothing is said, nor where one is off elsewhere."""
    wrong = [answer("", PLACES[words], n) for n in (3200, 4000, 5120)]
    assert only_place(wrong) == words
    assert only_place(wrong[:2]) == ""
    assert only_place([*wrong, answer("", off(20, 4), 2400)]) == ""


def test_where_shapes_differ_or_all_is_off_no_place_is_named() -> None:
    shorter = [answer("", lambda y: y[:, :-1], n) for n in (3200, 4000, 5120)]
    assert only_place(shorter) == ""
    assert only_place([answer("", lambda y: y + 1.0, n) for n in (3200, 4000, 5120)]) == ""
    assert only_place([answer("", PLACES["the last frame is"], n) for n in (3200, 4000)]) == ""


def test_values_that_are_off_are_counted_and_located() -> None:
    wrong = [answer("loud", off([0, 1, 2, 4], slice(4, 6))), answer("quiet", off(3, 3))]
    score = wrong[0].score
    assert located(wrong) == (
        "Values are off on “loud”, “quiet”; on “loud” 8 of 2000: frames 4-5 of 25, bands 0-2, 4 "
        f"of 80; score {score:.3g}."
    )
    scattered = located([answer("", off(slice(0, 80, 10), 5))])
    assert "bands 0, 10, 20, 30, 40, 50 … of 80" in scattered
    assert "bands 0, 10, 20, 30, 40, 50 of 80" in located([answer("", off(slice(0, 60, 10), 5))])


def test_a_batch_s_values_are_off_where_any_of_its_clips_is() -> None:
    audio = np.random.default_rng(1).normal(0.0, 0.1, (2, 4000)).astype(np.float32)
    features = np.stack([log_mel(clip) for clip in audio])
    features[1, 5, 6] += 1.0
    said = located([Answer("batch", audio, WHISPER, features)])
    assert "1 of 2000: frames 6 of 25, bands 5 of 80; score" in said


def test_values_that_are_nan_are_off() -> None:
    def some(y: Array) -> Array:
        y[4, 9] = np.nan
        return y

    assert "1 of 2000: frames 9 of 25, bands 4 of 80" in located([answer("", some)])


def test_shapes_that_differ_are_said() -> None:
    wrong = [answer("loud", lambda y: y[:, :-1]), answer("quiet", off(0, 0))]
    assert located(wrong) == (
        "On “loud”, “quiet” values or shapes are off; on “loud” it gives shape (80, 24) where "
        "(80, 25) is expected."
    )


def _loud_and_silent() -> Array:
    loud = np.random.default_rng(2).normal(0.0, 0.3, 8000)
    return np.r_[loud, 1e-5 * loud].astype(np.float32)


def test_what_wrong_values_have_in_common_is_said() -> None:
    """At the clip's ends, raised by its maximum, or at the floor."""
    ends = ", all in frames that reach beyond the clip;"
    for frames in ([0, 1], [-1, -2], [0, -1]):
        assert ends in located([answer("", off(slice(None), frames))])
    for frames in ([2], [-3], [0, 10]):
        assert ends not in located([answer("", off(slice(None), frames))])
    raised = ", all of them values that the clip's maximum raises;"
    clip = _loud_and_silent()
    lowest = log_mel(clip) <= log_mel(clip).min()
    assert raised in located([answer("", lambda y: np.where(lowest, y + 0.1, y), audio=clip)])
    some = lowest.copy()
    some[0, 0] = True
    assert raised not in located([answer("", lambda y: np.where(some, y + 0.1, y), audio=clip)])
    silent = np.r_[np.zeros(4000), 1e-4 * clip[:4000]].astype(np.float32)
    at_floor = log_mel(silent) <= -1.5
    said = located([answer("", lambda y: np.where(at_floor, y + 0.1, y), audio=silent)])
    assert ", all of them at the floor;" in said
    for spec in ({"pad_to": 5000}, {"smoothing": "same"}):
        assert ends not in located([answer("", off(slice(None), 0), **spec)])


# --------------------------------------------------------------------------- quirks in words

ONE = Explanation((Variant("symmetric-window"),), 0.5)
TWO = Explanation((Variant("gain", 0.5), Variant("magnitude")), 3.25)


def test_each_quirk_of_an_explanation_has_a_line() -> None:
    assert str(TWO) == "gain (factor 0.5) and magnitude"
    gain, magnitude = causes_of(TWO).splitlines()
    assert gain == f"{CATALOGUE['gain'].mechanism} [gain (factor 0.5)]"
    assert magnitude == f"{CATALOGUE['magnitude'].mechanism} [magnitude]"


def test_three_other_explanations_are_given_with_their_fixes() -> None:
    assert alternatives([ONE]) == []
    said = alternatives([ONE, TWO, ONE, TWO, ONE])
    assert len(said) == 3
    assert said[0].startswith("Or, which its features cannot tell apart: ")
    for id in ("gain", "magnitude"):
        assert f"Fix: {CATALOGUE[id].fix}" in said[0]
        assert f"{CATALOGUE[id].mechanism} [{id}" in said[0]


def test_how_far_an_answer_is_off_is_said() -> None:
    assert without_it(answer("", lambda y: y[:, :-1])) == "another number of frames"
    assert without_it(answer("", lambda y: y * np.nan)) == "values that are not finite"
    missing = answer()
    missing.actual = None
    assert without_it(missing) == "another number of frames"
    for score, words in ((12.345, "12.3"), (99.94, "99.9"), (100.4, "100"), (12345.6, "12,346")):
        assert without_it(_of_score(score)) == words
    assert without_it(_of_score(3e15)) == "3e+15"


def _of_score(score: float) -> Answer:
    return answer("", lambda y: y + score * answer().bound[0].min())


def test_the_agreement_with_quirks_is_said_with_the_cases_that_fail_with_them() -> None:
    worst = answer("", lambda y: y[:, :-1])
    cases = [f"boundary/length-{n}/80" for n in (240, 320, 400, 480)]
    begin = "With this put into the reference its output agrees: 0.5 of the bound, another number"
    assert agreement_of(ONE, worst, [], None) == f"{begin} of frames without."
    assert agreement_of(ONE, worst, cases[:1], None) == (
        f"{begin} of frames without. The reference with it fails the same case."
    )
    assert agreement_of(ONE, worst, cases[:2], None).endswith(
        "The reference with it fails all 2 failing cases that were tried."
    )
    assert agreement_of(ONE, worst, cases, None).endswith(
        "The reference with it fails all 3 failing cases that were tried, of 4 in all."
    )
    harmless = Explanation((Variant("gain", 1.0),), 0.5)
    assert agreement_of(harmless, worst, cases[:1], None).endswith(
        "The reference with it fails 0 of 1 failing cases that were tried."
    )
    assert agreement_of(TWO, worst, [], None).startswith("With these put into the reference")


def test_how_well_a_stage_that_was_fitted_agrees_is_said() -> None:
    free = Free("window", "It is another one.", "Its values.", Variation(stages={}), "Take Hann's.")
    assert how_fitted(Explained(free, 0.712, 9), _of_score(250.0)) == (
        "With this window, which was fitted to other clips, the reference's output agrees on all 9 "
        "clips that were tried: 0.71 of the bound, 250 without."
    )


# --------------------------------------------------------------------------- diagnoses


def test_a_diagnosis_is_said_shown_and_written() -> None:
    shown = answer("loud", off(0, 0))
    diagnosis = Diagnosis([TWO], causes_of(TWO), ["So it is known."], fixes_of(TWO.variants), shown)
    assert diagnosis.sentences == [*causes_of(TWO).splitlines(), "So it is known."]
    assert diagnosis.title == "the clip “loud”"
    shown.name = SPEECH
    assert diagnosis.title == "two seconds of speech"
    arrays = diagnosis.arrays()
    assert {name: it.shape for name, it in arrays.items()} == {
        "actual": (80, 25),
        "expected": (80, 25),
        "bound": (80, 25),
    }
    assert np.flatnonzero(np.abs(arrays["actual"] - arrays["expected"]) > 0.1).tolist() == [0]
    written = diagnosis.as_json()
    assert written["summary"] == diagnosis.sentences
    assert written["fix"] == fixes("gain", "magnitude")
    assert written["fix"] == [CATALOGUE["gain"].fix, CATALOGUE["magnitude"].fix]
    [explanation] = written["explanations"]
    assert explanation["score"] == 3.25
    assert [(it["id"], it["value"]) for it in explanation["quirks"]] == [
        ("gain", 0.5),
        ("magnitude", None),
    ]
    assert explanation["quirks"][1]["seen"] == [*CATALOGUE["magnitude"].seen]


def test_features_that_are_no_picture_are_not_shown() -> None:
    for shape in ((2000,), (80, 0), (1, 80, 25)):
        shown = answer("", lambda y, shape=shape: np.zeros(shape))  # type: ignore[misc]
        assert Diagnosis([], "It is wrong.", shown=shown).arrays() == {}
    assert Diagnosis([], "It is wrong.").arrays() == {}
    unanswered = answer()
    unanswered.actual = None
    assert Diagnosis([], "It is wrong.", shown=unanswered).arrays() == {}


# --------------------------------------------------------------------------- cases that are tried


def front_end(source: Any, id: str = "faulty") -> InProcess:
    return InProcess(inspect_front_end(source, id))


def test_cases_that_measure_draw_or_fork_are_not_tried() -> None:
    assert can_be_tried(find("boundary/length-480/80"))
    for case in ("concurrency/one-thread/80", "property/delay", "concurrency/fork/80"):
        assert not can_be_tried(find(case)), case


@pytest.mark.parametrize(
    ("error", "passed"),
    [(Unsupported("no"), None), (Failure("no"), False), (Refused(["ValueError"], "no", ""), False)],
)
def test_a_case_passes_fails_or_is_not_supported(error: Exception, passed: bool | None) -> None:
    case = find("boundary/length-480/80")
    assert passes(front_end(right), case) is True

    class Other(InProcess):
        def call(self, *args: Any, **options: Any) -> Array:
            raise error

    assert passes(Other(inspect_front_end(right, "other")), case) is passed
    assert passes(front_end(right), find("batch/three/80")) is None


# --------------------------------------------------------------------------- suspects

OF_STREAMS = ["stream-last-frame-extra", "stream-result-reused"]


def test_a_fault_is_suspected_by_its_own_case() -> None:
    reused = CATALOGUE["stream-result-reused"]
    assert faults_of([]) == []
    assert reused in faults_of([reused.killer])
    assert CATALOGUE["symmetric-window"] not in faults_of([CATALOGUE["symmetric-window"].killer])


def test_one_fault_is_named_without_asking() -> None:
    alone = next(
        it
        for it in CATALOGUE.values()
        if it.vary is None and sum(it.killer == q.killer for q in CATALOGUE.values()) == 1
    )
    [suspect] = suspects(front_end(right), [alone.killer])
    assert suspect.quirk is alone
    assert suspect.evidence == f"It fails {alone.killer}, which is there for {alone.id}."
    assert suspects(front_end(right), ["golden/speech/80"]) == []


@pytest.mark.parametrize("id", OF_STREAMS)
def test_the_fault_that_answers_as_the_front_end_does_is_named(id: str) -> None:
    killer = CATALOGUE[id].killer
    [suspect] = suspects(front_end(CATALOGUE[id].make()), [killer])
    assert suspect.quirk.id == id
    assert suspect.evidence.startswith(f"It fails {killer}, which is there for {id}. Of ")
    assert suspect.evidence.endswith("as this does.")


def test_faults_that_share_a_case_are_told_apart_by_no_more_than_it() -> None:
    """Where nothing may be asked, or nothing is alike: two are named, of more none."""
    for case, named in (
        ("determinism/interleaved", ["previous-result", "cached-by-length"]),
        ("buffers/out-canaries-1600/80", []),
    ):
        assert len(faults_of([case])) >= 2
        found = suspects(front_end(Everything()), [case])
        assert [it.quirk.id for it in found] == named, case
        assert all(it.evidence.endswith(f"there for {it.quirk.id}.") for it in found)


def test_where_no_fault_fails_all_that_failed_each_is_named_by_its_case() -> None:
    """No fault of half precision fails a case of threads: each does as this in one of two."""
    cases = ["half/float16-quiet/80", "maximum/1.5-two-threads/80"]
    found = suspects(front_end(right), cases)
    assert {it.quirk.killer for it in found} == {*cases}
    for it in found:
        assert it.evidence == f"It fails {it.quirk.killer}, which is there for {it.quirk.id}."


def test_what_tells_faults_apart_is_soon_asked() -> None:
    """No case that measures, and none of 30 s."""
    asked = {it.id for it in suspects_module._questions(CATALOGUE.values())}
    families = ("stream/", "half/", "maximum/")
    left_out = {it.killer for it in CATALOGUE.values() if it.killer.startswith(families)} - asked
    assert left_out == {
        *("stream/fixed-memory", "half/float16-near-zero/80", "maximum/chunk-loud-then-quiet"),
    }
