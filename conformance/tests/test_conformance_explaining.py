"""The steps of a diagnosis, each alone: which comes first, and what is made of what it finds.

Searches and fits are replaced by what they would find; ``test_conformance_diagnosis.py`` has them.
"""

from __future__ import annotations

import whisper_mel_conformance.run.quiet_blas  # noqa: F401  before anything imports NumPy

# isort: split
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from whisper_mel_conformance.cases.recipes import length, noise
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis import causes, diagnose, free, long_clips, repeated
from whisper_mel_conformance.diagnosis.answer import Answer, Variant
from whisper_mel_conformance.diagnosis.asked import Asked
from whisper_mel_conformance.diagnosis.causes import FITS, Causes
from whisper_mel_conformance.diagnosis.clips import SPEECH
from whisper_mel_conformance.diagnosis.condition import Condition
from whisper_mel_conformance.diagnosis.free import LEARNT, Explained, Free, explain_by, learn, see
from whisper_mel_conformance.diagnosis.outcome import Diagnosis, fixes
from whisper_mel_conformance.diagnosis.precision import Imprecise
from whisper_mel_conformance.diagnosis.search import Explanation, Partial
from whisper_mel_conformance.diagnosis.weights import free_bank
from whisper_mel_conformance.frontend.errors import Failure
from whisper_mel_conformance.frontend.load import Capabilities
from whisper_mel_conformance.quirks.path import Variation
from whisper_mel_conformance.quirks.quirk import QuirkyFrontEnd
from whisper_mel_reference import WHISPER, stages

Array = Any
ABLE = Capabilities(n_mels=(80, 128), batch=True, pad_to=True, threads=True)


def front_end(able: Capabilities = ABLE, **methods: Any) -> Any:
    return SimpleNamespace(capabilities=able, **methods)


def said(name: str = "loud", score: float = 9.0, features: Any = (1.0, 2.0), **more: Any) -> Any:
    """Return what stands for an answer, with any score."""
    values = None if features is None else np.array(features)
    given = {"name": name, "score": score, "features": values, "actual": values, "error": ""}
    return SimpleNamespace(**{**given, "expected": np.array([1.0, 3.0]), **more})


def nothing(*args: Any, **options: Any) -> Any:
    raise AssertionError("this is not asked for")


# --------------------------------------------------------------------------- other calls


def test_features_of_an_earlier_clip_are_told() -> None:
    words = "On the clip “second” it gives the features of “first”, asked for before: "
    late = said("second", 9.0, "second", expected="other")
    first = said("first", 0.5, "f", score_of_features={"second": 4.0, "other": 9.0}.get)
    late.actual, late.expected = "second", "other"
    assert repeated.of_another_call([first, late]).startswith(words)
    for changed in (
        {"score": 4.0},  # it is right
        {"actual": "far"},  # it is wrong in another way
        {"expected": "same"},  # both clips have the same features
    ):
        features = {"second": 4.0, "far": 4.1, "other": 9.0, "same": 4.0}
        first.score_of_features = features.get
        other: Any = SimpleNamespace(**{**vars(late), **changed})
        assert repeated.of_another_call([first, other]) == ""
    assert repeated.of_another_call([late, first]) == ""


def differing(monkeypatch: pytest.MonkeyPatch, first: Any, *again: Any) -> str:
    """Return what is said of two equal calls, and of further ones."""
    answers = [*again]
    monkeypatch.setattr(repeated, "ask", lambda *args: answers.pop(0) if answers else again[-1])
    return repeated.differing(front_end(), Request(noise(300)), first)


def test_two_equal_calls_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    assert differing(monkeypatch, said(), said()) == ""
    none = differing(monkeypatch, said(), said(features=None, error="it ended"))
    assert none == (
        "Of two equal calls, of the clip “loud”, one gives features, the other none: it ended."
    )
    comes = "What is wrong comes and goes: of two equal calls, of the clip “loud”, one gives "
    for scores in ((0.5, 9.0), (9.0, 0.5), (4.0, 9.0)):
        first, again = (said(score=it, features=(it, 1.0)) for it in scores)
        words = f"{comes}features with score {min(scores):.2g}, the other with 9. State that"
        assert differing(monkeypatch, first, again).startswith(words)
    for other in (9.5, 4.0):
        first = said(score=4.0 if other == 4.0 else 9.0)
        words = differing(monkeypatch, first, said(score=other, features=(1.0, 2.25)))
        assert words.startswith("Equal calls give different features by up to 0.25: unwritten")
    words = differing(monkeypatch, said(), said(features=(1.0, 2.0, 3.0)))
    assert words.startswith("Equal calls give different features: unwritten")


def test_wrong_calls_are_counted_if_they_follow_each_other_evenly() -> None:
    def counted(wrong: Sequence[int], times: int = 20) -> int | None:
        calls = iter(range(times))
        return repeated.every(lambda: next(calls) in wrong, times)

    assert counted([2, 5, 8]) == 3
    assert counted(range(0, 20, 2)) == 2
    for uneven in ([], [2], [2, 5], [2, 5, 9], [0, 1, 2], range(20)):
        assert counted(uneven) is None


def test_how_often_a_call_is_wrong_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to class B it is not; of programs that start for each call few are asked for."""
    for right, wrong, said_so in ((4.0, 9.0, True), (1.0, 4.0, False)):
        for able, times in ((ABLE, 160), (replace(ABLE, process_per_call=True), 12)):
            calls = iter(range(1000))
            monkeypatch.setattr(
                repeated,
                "ask",
                lambda *_, right=right, wrong=wrong, calls=calls: said(
                    score=wrong if next(calls) % 4 == 1 else right
                ),
            )
            words = f"Of {times} equal calls one in 4 was wrong, each time. "
            found = repeated._how_often(front_end(able), Request(noise(300)))
            assert found == (words if said_so else "")
            assert next(calls) == times


def test_what_is_wrong_in_some_calls_is_looked_for_where_cases_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(repeated, "_how_often", nothing)
    assert repeated.in_some_calls(front_end(), []) is None
    assert repeated.in_some_calls(front_end(replace(ABLE, max_samples=300)), ["a/b"]) is None
    asked = []

    def often(source: Any, request: Request) -> str:
        asked.append(request)
        return "One in 4."

    monkeypatch.setattr(repeated, "_how_often", often)
    for multiple, n in ((160, 640), (700, 700)):
        able = Capabilities(n_mels=(128,), multiple_of=multiple)
        found = repeated.in_some_calls(front_end(able), ["a/b"])
        assert found is not None
        assert found.cause == "What is wrong comes and goes. One in 4.Something counts the calls."
        assert found.fix == fixes("sometimes-wrong")
        assert (asked[-1].audio().size, asked[-1].n_mels) == (n, 128)


def test_new_threads_are_tried_where_a_case_with_threads_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their first calls are named if these alone are wrong, in each thread."""
    monkeypatch.setattr(repeated, "_how_often", lambda *_: "")
    monkeypatch.setattr(repeated, "Answer", lambda name, audio, spec, y: said(score=y))
    failed = ["batch/three/80", "concurrency/one-thread/80"]

    def named(outputs: Any, failed: Sequence[str] = failed, **of: Any) -> bool:
        def perform(operation: str, **given: Any) -> Any:
            assert (operation, len(given["calls"])) == ("in_threads", 3)
            if isinstance(outputs, Failure):
                raise outputs
            return outputs

        found = repeated.in_some_calls(front_end(perform=perform, **of), failed)
        assert found is None or found.fix == fixes("thread-first-call-wrong")
        assert found is None or "wrong: in each of 3 new threads; later" in found.cause
        return found is not None

    assert named([[9.0, 4.0]] * 3)
    for other in ([[0.5, 9.0]] * 3, [[9.0, 0.5], [0.5]], [[4.0, 0.5]] * 3, [[9.0]] * 3):
        assert not named(other)
    assert not named(Failure("it hangs"))
    assert not named([[9.0, 4.0]] * 3, failed[:1])
    outside = replace(ABLE, process_per_call=True)
    assert not outside.in_process
    assert not named([[9.0, 4.0]] * 3, able=outside)


# --------------------------------------------------------------------------- clips of 30 s


def test_clips_of_more_than_30_seconds_are_loud_before_or_behind_them() -> None:
    able = Capabilities(n_mels=(128, 80), maximum=("clip", "fixed", "chunk"))
    asked = long_clips._long_clips(able)
    assert [*asked] == [
        f"{parts}, maximum {maximum}"
        for parts in ("loud, then quiet", "quiet, then loud")
        for maximum in ("clip", "chunk")
    ]
    assert [it.maximum for it in asked.values()] == [None, "chunk"] * 2
    for name, request in asked.items():
        assert request.n_mels == 128
        assert request.recipe is not None
        parts = request.recipe["parts"]
        assert sum(map(length, parts[:-2])) == 480_000
        assert length(request.recipe) == 544_000
        n = len(parts)
        loud = [i for i, part in enumerate(parts) if part.get("gain", 0.0) > 0.1]
        assert loud == ([0, n - 3] if name[0] == "l" else [n - 2])
    fixed = replace(able, model={"name": "of a model", "maximum": "chunk"})
    assert [it.maximum for it in long_clips._long_clips(fixed).values()] == [None, None]


def test_a_fault_of_30_seconds_is_named_if_it_explains_every_long_clip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = ("maximum-of-30-seconds", "edges-of-30-seconds")

    def found(right: Sequence[str] = both, score: float = 4.0, **of: Any) -> Diagnosis | None:
        def ask(source: Any, name: str, request: Request) -> Any:
            return of.get("answer") or said(name, 80.0 if "loud, then" in name else 70.0)

        class Model:
            def __init__(self, answer: Any) -> None:
                self.answer = answer

            def score_of(self, variants: Any) -> float:
                is_right = [it.id for it in variants] == [*right]
                return score if is_right and self.answer.name else 90.0

        monkeypatch.setattr(long_clips, "ask", ask)
        monkeypatch.setattr(long_clips, "Model", Model)
        monkeypatch.setattr(long_clips, "_at_seams", lambda wrong: None)
        monkeypatch.setattr(long_clips, "without_it", lambda worst: f"{worst.score:.0f}")
        return long_clips.of_30_seconds(
            front_end(of.get("able", ABLE)), of.get("failed", ["golden/long/80"])
        )

    named = found()
    assert named is not None
    assert named.explanations == [Explanation(tuple(map(Variant, both)), 4.0)]
    assert named.fix == fixes(*both)
    assert named.shown is not None
    assert named.shown.score == 80.0
    assert "of more than 30 s: 4 of the bound, 80 without." in named.evidence[0]
    assert "“quiet, then loud, maximum clip” only" in named.evidence[1]
    assert found(score=4.1) is None
    assert found(right=["gain"]) is None
    assert found(answer=said(score=4.0)) is None
    assert found(answer=said(features=None)) is None
    assert found(able=replace(ABLE, max_samples=480_000)) is None
    assert found(failed=["batch/three/80"]) is None


# --------------------------------------------------------------------------- a stage left free


def answer(
    stages: Any = None, n: int = 1700, name: str = "clip", n_mels: int = 80, **noisy: Any
) -> Answer:
    audio = Request(noise(n, 44, **{"gain": 0.2, **noisy})).audio()
    source = QuirkyFrontEnd([Variation(stages=stages or {})], "faulty")
    features = source.log_mel(audio, n_mels)
    return Answer(name, audio, WHISPER.replace(n_mels=n_mels), features)


def test_clips_are_learnt_from_if_all_are_answered() -> None:
    def learnt(changed: dict[str, Any] | None = None, able: Any = ABLE) -> Any:
        def ask(name: str, request: Request) -> Any:
            assert request.recipe == LEARNT[name]
            features = np.full((1, request.n_mels, 3), 1.0)
            it = said(name, audio=np.zeros(9), features=features, expected=features)
            return SimpleNamespace(**{**vars(it), **((name == "chirp" and changed) or {})})

        return learn(ask, able, able.n_mels)

    found = learnt()
    assert [*found] == [80, 128]
    assert [*found[128]] == [*LEARNT]
    assert found[128]["ramp"].actual.shape == (1, 128, 3)
    for changed in (
        {"audio": np.zeros((2, 9))},
        {"actual": None},
        {"actual": np.zeros((1, 80, 2))},
        {"actual": np.full((1, 80, 3), np.nan)},
    ):
        assert learnt(changed) == {}
    assert learnt(able=replace(ABLE, max_samples=60_000)) == {}


def test_the_first_stage_that_explains_all_unseen_answers_is_taken() -> None:
    def stage(by: float) -> Free:
        twice = Variation(stages={"mel": lambda mel, call: mel * mel.dtype.type(by)})
        return Free("transform", "It is louder.", "By a factor.", twice, "Do not.")

    two, three = stage(2.0), stage(3.0)
    fits = [lambda learnt: iter([three]), lambda learnt: iter([stage(4.0), two])]
    unseen = [answer(dict(two.variation.stages), n) for n in (1700, 900)]
    learnt = {80: {"noise": unseen[0]}}
    found = explain_by(fits, learnt, unseen)
    assert found is not None
    assert found.free is two
    assert found.n == 2
    assert 0.0 < found.score <= 1.0
    assert explain_by(fits[:1], learnt, unseen) is None
    assert explain_by(fits, learnt, [*unseen, answer()]) is None
    assert explain_by(fits, {}, unseen) is None
    none = Answer("none", unseen[0].audio, WHISPER, None)
    assert explain_by(fits, learnt, [*unseen, none]) is None
    assert two.kind == "spectrum"
    assert replace(two, stage="window").kind == "window"


def test_a_stage_must_leave_a_tenth_of_what_was_wrong() -> None:
    model: Any = SimpleNamespace(answer=said(), score_of=lambda variants: model.left)
    stage: Any = None
    for score, left, explained in ((100.0, 10.0, True), (100.0, 10.1, False), (9.0, 4.0, True)):
        model.answer.score, model.left = score, left
        found = free._worst(stage, [model])
        assert found == (left if explained else None)
    model.answer.score, model.left = 1e9, 16.1
    assert free._worst(stage, [model]) is None
    assert [free.is_promising(it) for it in (160.0, 160.1, float("nan"))] == [True, False, False]


def test_a_fit_sees_the_mel_powers_that_features_stand_for() -> None:
    """Where nothing is clamped; with what one bound of the features makes of them."""
    clip = answer(n=3000)
    seen = see(clip)
    mel = stages(clip.audio, WHISPER)["mel"][:, :18]
    assert seen.mel[seen.usable] == pytest.approx(mel[seen.usable], rel=1e-4)
    assert seen.usable.mean() > 0.9
    assert {name: len(seen.steps[name]) for name in seen.steps} == {
        **dict.fromkeys(("frames", "windowed", "spectrum", "power"), 18),
        **dict.fromkeys(("mel", "log"), 80),
    }
    assert seen.steps["mel"].shape == (80, 18)
    assert seen.unit == pytest.approx(4.0 * np.log(10.0) * clip.bound[0])
    assert clip.actual is not None
    lowest = clip.actual.min()
    clip.actual[0, 5:8, 3] = lowest, lowest + 0.0009, lowest + 0.0011
    assert see(clip).usable[5:8, 3].tolist() == [False, False, True]
    clip.actual[0, 5:9, 3] = 8.6, 8.4, -6.4, -6.6  # mel powers of 10^30.4, 10^29.6, and so on
    clip.actual[0, 9, 3] = -9.0
    assert see(clip).usable[5:10, 3].tolist() == [False, True, True, False, False]
    assert not see(Answer("", clip.audio, WHISPER, np.full((80, 18), 1.0))).usable.any()


# --------------------------------------------------------------------------- causes

LAST = Request(noise(1700, 44))
ONE = Explanation((Variant("magnitude"),), 0.5)
TWO = Explanation((Variant("symmetric-window"), Variant("magnitude")), 0.5)
WINDOW = Free("window", "The window is another one.", "So it is.", Variation(), "Take Hann's.")


def _off(by: float) -> dict[str, Any]:
    return {"features": lambda y, call: y + y.dtype.type(by)}


class Found:
    """What a search finds."""

    singles: Any = ()
    combined: Any = ()
    partial: Any = None
    peeled: Any = None
    tried: Any = Counter()


def caused(
    monkeypatch: pytest.MonkeyPatch,
    given: Sequence[Answer],
    *,
    fitted: Any = None,
    noise: Imprecise | None = None,
    condition: Condition | None = None,
    failed: Sequence[str] = (),
    **found: Any,
) -> Causes:
    """Return the causes of answers, of which a search, fits and noise find this."""

    def search(answers: Sequence[Answer]) -> Any:
        assert answers is given
        it = SimpleNamespace(
            **{name: found.get(name, getattr(Found, name)) for name in ("partial", "tried")}
        )
        for name in ("singles", "combined", "peeled"):
            setattr(it, name, lambda name=name: found.get(name, getattr(Found, name)))
        return it

    monkeypatch.setattr(causes, "Search", search)
    monkeypatch.setattr(causes, "ask", lambda source, name, request: said(name, features=None))
    monkeypatch.setattr(causes, "learn", lambda ask, able, n_mels: {80: {}})

    def explain(fits: Any, learnt: Any, unseen: Any) -> Explained | None:
        return next((Explained(fitted[fit], 0.7, 5) for fit in fits if fit in (fitted or {})), None)

    monkeypatch.setattr(causes, "explain_by", explain)
    monkeypatch.setattr(causes._Stages, "noise", lambda self: noise)
    asked = {it.name: LAST for it in given}
    return Causes(front_end(), asked, given, failed, condition)


FAR, SLIGHT = [answer(_off(0.3))], [answer(_off(0.004))]
NOISY = Imprecise("Too little precision.", "So it grows.", frozenset(("window",)))


def test_one_quirk_comes_before_a_bank_that_is_slightly_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bank = {free_bank: replace(WINDOW, stage="filterbank", cause="It is slightly off.")}
    for given in (FAR, SLIGHT):
        found = caused(monkeypatch, given, singles=[ONE, TWO], fitted=bank).simple()
        assert found is not None
        assert found.explanations == [ONE, TWO]
        assert found.kinds == {"spectrum"}
        assert found.fix == fixes("magnitude")
        assert found.evidence[1].startswith("Or, which its features cannot tell apart")
    assert caused(monkeypatch, FAR, fitted=bank).simple() is None
    found = caused(monkeypatch, SLIGHT, fitted=bank).simple()
    assert found is not None
    assert found.cause == "It is slightly off."
    assert found.kinds == {"filterbank"}
    assert caused(monkeypatch, SLIGHT).simple() is None
    # It was tried before all others, so that it is not tried again.
    assert caused(monkeypatch, SLIGHT, fitted=bank).combined() is None
    assert caused(monkeypatch, FAR, fitted=bank).combined() is not None
    for given in (FAR, SLIGHT):
        assert caused(monkeypatch, given, fitted={FITS[0]: WINDOW}).combined() is not None


def test_several_quirks_come_before_a_stage_and_that_before_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fitted: Any = {FITS[3]: WINDOW}
    partial = Partial(ONE.variants, 0.5, FAR)
    peeled = (TWO.variants, 0.8, 0.05)
    every = {"combined": [TWO], "fitted": fitted, "noise": NOISY}
    found = caused(monkeypatch, FAR, **every).combined()
    assert found is not None
    assert found.explanations == [TWO]
    assert found.kinds == {"window", "spectrum"}
    every.pop("combined")
    found = caused(monkeypatch, FAR, **every).combined()
    assert found is not None
    assert (found.cause, found.fix) == (WINDOW.cause, [WINDOW.fix])
    assert found.kinds == {"window"}
    assert "on all 5 clips that were tried: 0.7 of the bound" in found.evidence[1]
    every.pop("fitted")
    found = caused(monkeypatch, FAR, **every, partial=partial, peeled=peeled).combined()
    assert found is not None
    assert (found.cause, found.kinds) == (NOISY.cause, NOISY.kinds)
    assert "Compute in float32 throughout" in found.fix[0]
    assert found.evidence[0] == NOISY.shown
    assert found.evidence[1].startswith("Values are off on “clip”")
    tried = Counter({2: 1234, 3: 7, 4: 6})
    found = caused(monkeypatch, FAR, peeled=peeled, tried=tried).combined()
    assert found is not None
    assert found.explanations == []
    assert found.kinds == {"window", "spectrum"}
    assert "[magnitude]\nSomething else is wrong besides, which nothing" in found.cause
    assert found.evidence[0] == (
        "With these put into the reference 80% of its output agrees up to roundings, 5% without."
    )
    assert ", 1,234 pairs of them, 7 threes of them, 6 fours of them, 5 stages" in found.evidence[1]
    one = caused(monkeypatch, FAR, peeled=(ONE.variants, 0.8, 0.05)).combined()
    assert one is not None
    assert one.evidence[0].startswith("With this put into the reference 80%")
    assert "path that are known, 5 stages, each left free, too little prec" in one.evidence[1]
    nearly = caused(monkeypatch, FAR, peeled=(ONE.variants, 0.9999, 0.29)).combined()
    assert nearly is not None
    assert "reference 99% of its output agrees up to roundings, 29% without." in nearly.evidence[0]
    assert caused(monkeypatch, FAR).combined() is None


def test_quirks_of_all_answers_but_those_with_an_option_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = [answer(_off(0.3), name="plain"), answer(_off(0.4), name="odd")]
    partial = Partial(ONE.variants, 0.5, given[1:])
    looking = caused(monkeypatch, given, partial=partial)
    assert looking.combined() is None
    looking._asked["odd"] = replace(LAST, pad_to=9000)
    found = looking.combined()
    assert found is not None
    assert found.explanations == [partial]
    assert found.fix == fixes("magnitude")
    assert found.evidence[0] == (
        "This explains all clips of the diagnosis but “odd”: with pad_to beyond the number of "
        "samples something else is wrong, besides."
    )
    assert "[magnitude]" in found.cause
    assert found.evidence[2].startswith("Values are off on “odd”;")


CONDITION: Any = SimpleNamespace(
    words="with 128 bands", sentence="It is wrong with 128 bands only."
)
CONDITION.put = lambda request: replace(request, n_mels=128)


def test_where_values_are_off_is_said_of_what_nothing_explains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = caused(monkeypatch, FAR).unexplained()
    assert found.cause == "Nothing known explains its features."
    assert found.evidence[0].startswith("Values are off on “clip”")
    assert found.evidence[1].startswith("Tried in vain: each of the ")
    assert found.shown is FAR[0]
    found = caused(monkeypatch, FAR, condition=CONDITION).unexplained()
    assert found.cause == "It is wrong with 128 bands only, and nothing known explains how."
    assert found.evidence[0] == CONDITION.sentence
    assert found.condition is CONDITION

    def last(y: Array, call: Any) -> Array:
        y[:, -1] += 1.0
        return y

    def first(y: Array, call: Any) -> Array:
        y[:, 0] += 1.0
        return y

    for change, place, fix in (
        (last, "the last frame is", fixes("last-frame-off")),
        (first, "the first frame is", []),
    ):
        some = [answer({"features": change}, n) for n in (900, 1700, 2500)]
        found = caused(monkeypatch, some).unexplained()
        assert found.cause == f"Of its features only {place} off, in every clip that is wrong."
        assert found.fix == fix


def test_speech_is_shown_where_it_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    worst, wrong = FAR[0], said(SPEECH)
    asked: list[Request] = []

    def shown(spoken: Any, able: Capabilities = ABLE) -> Any:
        def ask(source: Any, name: str, request: Request) -> Any:
            asked.append(request)
            return spoken

        monkeypatch.setattr(causes, "ask", ask)
        return causes._speech(front_end(able), worst, CONDITION.put)

    assert shown(wrong) is wrong
    assert asked[0].n_mels == 128
    assert shown(said(score=4.0)) is shown(said(features=None)) is worst
    assert len(asked) == 3
    assert shown(wrong, replace(ABLE, max_samples=9000)) is worst
    assert len(asked) == 3


def test_stages_are_fitted_to_further_clips_that_meet_the_condition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And tried on all answers, on speech if that is wrong; noise on plain loud ones."""
    asked: list[Request] = []
    monkeypatch.setattr(causes, "ask", lambda source, name, request: asked.append(request))

    def learn(ask: Any, able: Any, n_mels: Any) -> Any:
        ask("noise", LAST)
        assert n_mels == [80, 128]
        return {80: {name: name for name in LEARNT}}

    monkeypatch.setattr(causes, "learn", learn)
    monkeypatch.setattr(causes, "explain_by", lambda *args: args)
    monkeypatch.setattr(causes, "imprecise", lambda *args: args)
    loud, just = answer(name="loud"), answer(name="just")
    just.audio = just.audio * np.float32(0.01) / np.abs(just.audio).max()
    just.audio[np.abs(just.audio).argmax()] = np.float32(0.01)
    quiet = answer(name="quiet", gain=1e-4)
    several = SimpleNamespace(**{**vars(loud), "audio": np.stack([loud.audio] * 2)})
    others = [quiet, answer(name="int16", dtype="int16"), answer(name="bands", n_mels=128), several]
    speech = said(SPEECH, spec=WHISPER, audio=loud.audio)
    given: Any = [loud, just, *others]
    freed: Any = causes._Stages(front_end(), given, speech, CONDITION.put)
    fits, learnt, unseen = freed.by(FITS)
    assert (fits, [*learnt]) == (FITS, [80])
    assert unseen == [*given, speech]
    assert [it.n_mels for it in asked] == [128]
    assert freed.noise() == (["noise", "chirp", "ramp"], [loud, just, speech], "noise", "softer")
    assert causes._Stages(front_end(), given, loud, CONDITION.put)._unseen == given
    monkeypatch.setattr(causes, "learn", lambda *_: {})
    assert causes._Stages(front_end(), given, loud, CONDITION.put).noise() is None
    looking = caused(monkeypatch, FAR)
    assert looking._freed._put(LAST) is LAST
    assert caused(monkeypatch, FAR, condition=CONDITION)._freed._put(LAST).n_mels == 128


# --------------------------------------------------------------------------- the whole


class Asking:
    """What stands for all that a diagnosis asks, with what each step would find."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **found: Any) -> None:
        self.found = found
        self.done: list[str] = []
        self.requests: list[tuple[str, Request]] = []
        self.causes: list[Any] = []
        for name in ("of_another_call", "differing"):
            monkeypatch.setattr(diagnose, name, self._step(name, ""))
        for name in ("of_30_seconds", "find_condition", "in_some_calls", "ask_around"):
            monkeypatch.setattr(diagnose, name, self._step(name, None))
        monkeypatch.setattr(diagnose, "suspects", self._step("suspects", []))
        monkeypatch.setattr(diagnose, "ask", self._ask)
        monkeypatch.setattr(diagnose, "Causes", self._causes)
        monkeypatch.setattr(Asked, "can_ask", lambda asked, request: request.n_mels in (80, 128))

    def _step(self, name: str, default: Any) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            self.done.append(name)
            return self.found.get(name, default)

        return step

    def _ask(self, source: Any, name: str, request: Request) -> Any:
        self.requests.append((name, request))
        answer = self.found["answers"].get(name, said(name, 0.5))
        return answer(request) if callable(answer) else answer

    def _causes(self, *args: Any) -> Any:
        asked, given, condition = args[1], args[2], (*args, None)[4]
        found = self.found["causes"](given, condition)
        self.causes.append((asked, [it.name for it in given], condition))
        return SimpleNamespace(
            simple=lambda: found.get("simple"),
            combined=self._step("combined", found.get("combined")),
            unexplained=lambda: Diagnosis([], "Unexplained."),
        )

    def diagnosis(self, *names: str, failed: Sequence[str] = (), able: Any = ABLE) -> Diagnosis:
        chosen = {name: replace(LAST, threads=i + 1) for i, name in enumerate(names)}
        return diagnose.diagnose(front_end(able), chosen or None, failed)


def _named(cause: str, **more: Any) -> Diagnosis:
    return Diagnosis([], cause, **more)


def test_without_features_clips_are_filled_up_or_the_reason_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = dict.fromkeys(("loud", "quiet", "late", "128 bands"), LAST)
    monkeypatch.setattr(diagnose, "clips", lambda able: dict(asked))
    none = {name: said(name, features=None) for name in asked}
    asking = Asking(monkeypatch, answers=none)
    cause = "It gives no features at all: it supports none of the clips of the diagnosis."
    assert asking.diagnosis().cause == cause
    assert [(name, it.pad_to) for name, it in asking.requests] == [
        *((name, None) for name in asked),
        *((name, 480_000) for name in ("loud", "quiet", "128 bands")),
    ]
    padded = {"quiet": lambda it: said("quiet", 0.5, None if it.pad_to is None else (1.0, 2.0))}
    asking = Asking(monkeypatch, answers={**none, **padded})
    assert asking.diagnosis().cause.startswith("It is right on the clips of the diagnosis (quiet)")
    raised = {**none, "late": said("late", features=None, error="ValueError: no")}
    asking = Asking(monkeypatch, answers=raised)
    assert asking.diagnosis().cause == "It gives no features at all: ValueError: no."
    assert len(asking.requests) == 4
    asking = Asking(monkeypatch, answers=none)
    assert asking.diagnosis("loud", "late").cause == cause
    assert len(asking.requests) == 2
    assert Asking(monkeypatch, answers={}).diagnosis().cause.startswith("It is right on")


def test_what_depends_on_calls_comes_before_what_is_wrong_in_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = said("one", 0.5)
    answers = {"one": one, "two": said("two")}
    asking = Asking(monkeypatch, answers=answers, of_another_call="It is late.")
    found = asking.diagnosis("one", "two")
    assert (found.cause, found.fix, found.shown) == (
        "It is late.",
        fixes("cached-by-beginning"),
        one,
    )
    asking = Asking(monkeypatch, answers=answers, causes=lambda *_: {"simple": _named("Quirk.")})
    again = []

    def differing(source: Any, request: Request, first: Any) -> str:
        again.append((request.threads, first.name))
        return ""

    monkeypatch.setattr(diagnose, "differing", differing)
    assert asking.diagnosis("one", "two").cause == "Quirk."
    assert again == [(1, "one"), (2, "two"), (2, "two")]
    asking = Asking(monkeypatch, answers=answers, differing="It comes and goes.")
    found = asking.diagnosis("one", "two")
    assert (found.cause, found.fix, found.shown) == (
        "It comes and goes.",
        fixes("sometimes-wrong"),
        one,
    )
    zero = said("one", 9.0, (0.5, 0.5))
    found = Asking(monkeypatch, answers={"one": zero}).diagnosis("one", "two")
    assert found.cause == "All its features are 0.5: nothing was computed, or nothing written."
    assert (found.fix, found.shown) == (fixes("all-zero"), zero)
    flat = said("one", 0.5, (0.5, 0.5), expected=np.zeros(2))  # as of silence
    assert diagnose._degenerate(flat) == diagnose._degenerate(said()) == ""
    assert diagnose._degenerate(said("", 9.0, np.full(3, np.inf))).startswith("None of its")
    some = said("", 9.0, (np.nan, 1.0))
    assert diagnose._degenerate(some) == ""
    assert diagnose._degenerate(said("", 9.0, np.zeros((1, 80, 0)))) == (
        "Its features are empty, of shape (80, 0)."
    )


def test_where_the_clips_are_right_other_calls_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed = ["concurrency/four-threads/80"]
    steps = ["ask_around", "of_30_seconds", "find_condition", "in_some_calls", "suspects"]
    suspect: Any = SimpleNamespace(
        quirk=SimpleNamespace(mechanism="Threads race.", id="race", fix="Lock."),
        evidence="So.",
        is_sure=False,
    )

    def done(**found: Any) -> tuple[Diagnosis, list[str]]:
        asking = Asking(monkeypatch, answers={}, **found)
        diagnosis = asking.diagnosis("one", "two", failed=failed)
        return diagnosis, [it for it in asking.done if it in steps]

    right, order = done()
    assert order == steps
    assert right.evidence[0].startswith("It is right on the clips of the diagnosis (one, two): its")
    assert right.cause.startswith("Calls in several threads at once")
    assert right.cause.endswith("The first case that shows it is concurrency/four-threads/80.")
    assert done(suspects=[suspect])[0].cause == "Perhaps: Threads race. [race]"
    for more in ({"kinds": frozenset(("output",))}, {"fix": ["Do."]}):
        for i, name in enumerate(("of_30_seconds", "find_condition", "in_some_calls")):
            if name != "find_condition":
                known = _named("Known.", **more)
                found, order = done(**{name: known, "suspects": [suspect]})
                assert found is known
                assert order == steps[: i + 2]
    # Of what is found without a stage or a fix, the faults of the failing cases are as good.
    vague = _named("Vague.", condition=CONDITION)
    found, order = done(in_some_calls=vague)
    assert found is vague
    assert order == steps
    found, _ = done(in_some_calls=vague, suspects=[suspect])
    assert (found.cause, found.fix, found.condition) == (
        "Perhaps: Threads race. [race]",
        ["Lock."],
        CONDITION,
    )
    assert found.evidence[:2] == ["So.", CONDITION.sentence]


def test_refusals_are_the_cause_where_the_rest_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with the same reason are one, whatever numbers are in it."""
    answers = {
        name: said(name, features=None, error=f"ValueError: {n} samples")
        for name, n in (("two", 1234), ("three", 567))
    }
    answers["four"] = said("four", features=None, error="TypeError: no")
    answers["five"] = said("five", features=None)  # is not supported
    asking = Asking(monkeypatch, answers=answers)
    found = asking.diagnosis("one", "two", "three", "four", "five", failed=["batch/three/80"])
    assert found.cause == (
        "It gives no features for the clips “two”, “three”: ValueError: N samples. "
        "It gives no features for the clips “four”: TypeError: no."
    )
    assert found.evidence[0].startswith("It is right on the clips of the diagnosis (one): ")
    assert "suspects" not in asking.done
    answers = {"one": said("one"), "two": answers["two"]}
    asking = Asking(monkeypatch, answers=answers, causes=lambda *_: {"simple": _named("Quirk.")})
    found = asking.diagnosis("one", "two")
    assert found.cause == "Quirk."
    assert found.evidence == ["It gives no features for the clips “two”: ValueError: N samples."]
    assert diagnose._meaning([]) == ""


def test_one_cause_comes_before_a_condition_and_that_before_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def done(condition: Any = None, one_is_right: bool = False, **found: Any) -> Any:
        answers = {"one": said("one", 0.5 if one_is_right else 9.0), "two": said("two", 8.0)}

        def causes(given: Any, under: Any) -> Any:
            return {} if under is None and condition else found

        asking = Asking(monkeypatch, answers=answers, find_condition=condition, causes=causes)
        return asking.diagnosis("one", "two"), asking

    simple, combined = _named("One quirk."), _named("Two quirks.")
    found, asking = done(simple=simple, combined=combined)
    assert found is simple
    assert "find_condition" not in asking.done
    found, asking = done(combined=combined)
    assert found is combined
    assert asking.done[-2:] == ["find_condition", "combined"]
    assert done()[0].cause == "Unexplained."
    found, asking = done(CONDITION, simple=simple)
    assert found is simple
    assert [(given, under) for _, given, under in asking.causes] == [
        (["one", "two"], None),
        (["one", "two"], CONDITION),
    ]
    assert asking.causes[1][0]["two"] == replace(LAST, threads=2, n_mels=128)
    found, asking = done(CONDITION, combined=combined)
    assert found is combined
    found, asking = done(CONDITION, one_is_right=True)
    assert found.cause == "Unexplained."
    assert [given for _, given, under in asking.causes if under] == [["one", "two"], ["two"]]


def test_under_a_condition_what_is_right_tells_faults_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def done(change: Any = CONDITION.put, failed: Any = (), **answers: Any) -> Any:
        condition = SimpleNamespace(**{**vars(CONDITION), "put": change})
        asking = Asking(monkeypatch, answers=answers, find_condition=condition, **found)
        asked = dict.fromkeys(("loud", "late", "other"), LAST)
        calls = Asked(nothing, ABLE)
        result = diagnose._under_a_condition(front_end(), asked, calls, failed, with_pairs=pairs)
        return result, asking

    pairs = True
    found: Any = {"causes": lambda given, under: {"combined": _named("Two.")} if pairs else {}}
    wrong, right = said("late"), said("other", 4.0)
    result, asking = done(late=wrong, other=right)
    assert result.cause == "Two."
    assert [given for _, given, _ in asking.causes] == [["loud", "late", "other"], ["late"]]
    pairs = False
    result, asking = done(late=wrong)
    assert result.cause == "Unexplained."
    assert "combined" not in asking.done
    # Of long clips two are asked for.
    for n, names in ((60_000, ["loud", "late", "other"]), (60_001, ["loud", "late"])):
        result, asking = done(lambda it, n=n: replace(it, recipe=noise(n)), late=wrong)
        assert [name for name, _ in asking.requests] == names
    result, asking = done()
    assert (result.cause, result.evidence) == ("Nothing known explains it.", [CONDITION.sentence])
    assert result.condition is not None
    raised = said("late", features=None, error="ValueError: no")
    assert done(late=raised)[0].cause == "It gives no features: ValueError: no."
    # What may not be asked for is not.
    assert done(lambda it: replace(it, n_mels=64))[1].requests == []


def test_a_condition_is_looked_for_where_a_quirk_would_be_wrong_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Model:
        def __init__(self, answer: Any) -> None:
            self.answer = answer

        def score_of(self, variants: Any) -> float:
            assert variants == ONE.variants
            return self.answer.with_it

    monkeypatch.setattr(diagnose, "Model", Model)
    named = Diagnosis([ONE], "One quirk.")

    def done(condition: Any = CONDITION, able: Any = ABLE, **of: float) -> Diagnosis:
        named.evidence, named.condition = [], None
        lengths = {
            f"{n} samples": said(f"{n} samples", score, with_it=with_it)
            for n, (score, with_it) in ((240, (4.0, 4.0)), (801, (of["score"], of["with_it"])))
        }
        asking = Asking(
            monkeypatch,
            answers={"one": said("one"), **lengths, "16000 samples": said(score=9.0)},
            find_condition=condition,
            causes=lambda *_: {"simple": named},
        )
        found = asking.diagnosis("one", able=able)
        assert found is named
        assert all(it.n_mels == able.n_mels[0] for name, it in asking.requests[1:])
        return found

    found = done(score=0.5, with_it=9.0)
    assert found.evidence == [CONDITION.sentence]
    assert found.condition is CONDITION
    for same in ({"score": 0.5, "with_it": 4.0}, {"score": 9.0, "with_it": 9.0}):
        assert done(**same).evidence == []
    assert done(None, score=0.5, with_it=9.0).evidence == []
    few = replace(ABLE, n_mels=(128,))
    assert done(able=few, score=0.5, with_it=9.0).condition is CONDITION
    short = replace(ABLE, max_samples=200)
    assert done(able=short, score=0.5, with_it=9.0).condition is None
