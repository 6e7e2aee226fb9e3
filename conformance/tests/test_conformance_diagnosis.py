"""The diagnosis names what faulty front-ends do, on signals and values not used to build it.

How often it does is measured by ``./dev mutants --diagnosis``, on front-ends that are drawn.
"""

from __future__ import annotations

import whisper_mel_conformance.run.quiet_blas  # noqa: F401  before anything imports NumPy

# isort: split
import itertools
import math
import random
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from correct_front_ends import other_order, right
from daily import by_day
from mutants import outside
from mutants.draws import PATH, another_value
from PIL import Image
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis import answer as answers
from whisper_mel_conformance.diagnosis import search
from whisper_mel_conformance.diagnosis.answer import Answer, Model, Variant
from whisper_mel_conformance.diagnosis.clips import clips
from whisper_mel_conformance.diagnosis.diagnose import diagnose, right_here
from whisper_mel_conformance.diagnosis.guess import likely
from whisper_mel_conformance.diagnosis.outcome import Diagnosis
from whisper_mel_conformance.diagnosis.repeated import every
from whisper_mel_conformance.diagnosis.suspects import Suspect
from whisper_mel_conformance.diagnosis.variants import coarse, combine, with_one_more
from whisper_mel_conformance.frontend.client import InProcess
from whisper_mel_conformance.frontend.errors import Failure
from whisper_mel_conformance.frontend.load import inspect_front_end
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_conformance.quirks.path import FRONT, TAIL, Variation
from whisper_mel_conformance.quirks.quirk import QuirkyFrontEnd
from whisper_mel_conformance.report.picture import comparison
from whisper_mel_reference import CLASS_B, WHISPER, log_mel, mel_filterbank, pipeline

pytestmark = pytest.mark.slow

Array = Any


def front_end(source: Any) -> InProcess:
    return InProcess(inspect_front_end(source, "faulty"))


def names(diagnosis: Diagnosis) -> list[list[str]]:
    return [sorted(v.id for v in e.variants) for e in diagnosis.explanations]


@pytest.mark.nightly
@pytest.mark.parametrize(
    "quirks",
    [
        {"offset": 3.2, "divisor": 5.3},
        {"gain": 0.31, "power-exponent": 1.66},
        {"pre-emphasis": 0.93, "short-window": 334},
        {"lowest-frequency": 24.0, "highest-frequency": 7540.0},
    ],
    ids="-and-".join,
)
def test_two_numbers_are_found(quirks: dict[str, float]) -> None:
    """Each far from any value to begin with, so that neither alone brings the features nearer."""
    variations = [CATALOGUE[id].variation(value) for id, value in quirks.items()]
    diagnosis = diagnose(front_end(QuirkyFrontEnd(variations, "faulty")))
    found = [{v.id: v.value for v in e.variants} for e in diagnosis.explanations]
    assert any(e == pytest.approx(quirks, rel=1e-3) for e in found if e.keys() == quirks.keys())


def test_quirks_of_the_bank_add_up() -> None:
    """HTK's scale does not undo another highest frequency, nor the other way round."""
    quirks = {"highest-frequency": 7300.0, "htk-mel": None, "lowest-frequency": 55.0}
    audio = np.random.default_rng(3).normal(0.0, 0.1, 1600)
    changed = WHISPER.replace(f_min=55.0, f_max=7300.0, mel_scale="htk")
    for order in (1, -1):
        variations = [CATALOGUE[id].variation(value) for id, value in [*quirks.items()][::order]]
        features = QuirkyFrontEnd(variations, "faulty").log_mel(audio.astype(np.float32))
        np.testing.assert_allclose(features, log_mel(audio, changed), atol=1e-3)


def _stage(**stages: Callable[[Array, Any], Array]) -> Any:
    return QuirkyFrontEnd([Variation(stages=stages)], "faulty")


def _of_right(change: Callable[[Array], Array]) -> Any:
    return lambda audio, n_mels=80: change(right(audio, n_mels)).astype(np.float32)


class Counting(Model):
    """Models that are remembered, for their work to be looked up."""

    all: ClassVar[list[Model]] = []

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.all.append(self)


def test_work_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds, not minutes; where it ends, a stage is tried that is left free."""
    monkeypatch.setattr(search, "Model", Counting)
    monkeypatch.setattr(search, "_WORK", 3000)
    monkeypatch.setattr(Counting, "all", [])
    diagnosis = diagnose(front_end(_stage(**outside.kaiser_window(random.Random(5)))))
    assert diagnosis.explanations == []
    assert 3000 < sum(model.work for model in Counting.all) < 6000


def test_features_that_were_just_asked_for_cost_nothing() -> None:
    audio = np.random.default_rng(6).normal(0.0, 0.1, 3000).astype(np.float32)
    model = Model(Answer("noise", audio, WHISPER, right(audio)))
    first = model.features((Variant("gain", 0.5),))
    before = model.work
    assert model.features((Variant("gain", 0.5),)) is first
    assert model.work == before
    model.features((Variant("gain", 0.6),))
    assert model.work > before


def test_stages_are_used_again_where_the_same_quirks_make_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was evaluated before changes no features, and a bank needs no new spectrum."""
    audio = np.random.default_rng(6).normal(0.0, 0.1, 1234).astype(np.float32)
    given = Answer("noise", audio, WHISPER, right(audio))
    model, made, spectra = Model(given), [], pipeline.spectra

    def noted(*them: Any) -> Any:
        made.append(them)
        return spectra(*them)

    monkeypatch.setattr(pipeline, "spectra", noted)
    for id in ("gain", "real-part-only"):
        before = Variant(id, 0.5 if id == "gain" else None)
        for quirk in PATH:
            other = Variant(quirk.id, quirk.parameter.example if quirk.parameter else None)
            both = with_one_more((before,), other)
            wanted = Model(given).predict(both, with_bound=False)
            model.predict((before, Variant("symmetric-window")), with_bound=False)
            model.predict((before, Variant("htk-mel")), with_bound=False)
            made.clear()
            found = model.predict(both, with_bound=False)
            assert (found is None) == (wanted is None), both
            if found is not None and wanted is not None:
                np.testing.assert_array_equal(found[0], wanted[0], err_msg=str(both))
            if quirk.id == "povey-window":
                assert len(made) == 1
            assert not (made and quirk.kind == "filterbank" and quirk.parameter is None), both


def test_frames_that_are_filled_up_are_work() -> None:
    """Each evaluation makes and compares them, though their mel powers are never computed."""
    audio = np.random.default_rng(6).normal(0.0, 0.1, 3000).astype(np.float32)
    work = []
    for value in (None, -1.0):
        filled = [] if value is None else [Variant("filled-to-3000-frames", value)]
        source = front_end(QuirkyFrontEnd([v.variation for v in filled], "faulty"))
        model = Model(Answer("noise", audio, WHISPER, source.call(audio, n_mels=80)))
        for floor in range(20):
            model.features((Variant("floor", 1e-9 * (floor + 1)), *filled))
        work.append(model.work)
    assert work[1] > 5 * work[0]


SLIGHT: list[dict[str, float | None]] = [
    {"int16-by-32767": None, "pre-emphasis": 0.97, "floor": 1e-5},
    {"int16-by-32767": None, "symmetric-window": None},
]


@pytest.mark.parametrize("quirks", by_day(SLIGHT, SLIGHT[1:]), ids="-and-".join)
def test_a_slight_fault_beside_great_ones_is_named(quirks: dict[str, float | None]) -> None:
    """Its score is that of a careless front-end, which is no reason to leave it out."""
    variations = [CATALOGUE[id].variation(value) for id, value in quirks.items()]
    diagnosis = diagnose(front_end(QuirkyFrontEnd(variations, "faulty")))
    assert names(diagnosis) == [sorted(quirks)]
    assert diagnosis.explanations[0].score <= 1.0


HIDDEN: list[dict[str, float | None]] = [
    {"symmetric-window": None, "magnitude": None, "range-width": 9.5},
    {"float-as-int16": None, "no-mel-norm": None, "natural-logarithm": None},
    {"pad-zero": None, "symmetric-window": None, "htk-mel": None, "natural-logarithm": None},
    dict.fromkeys(("int16-by-32767", "no-centre-zero-tail", "symmetric-window", "no-range")),
]


@pytest.mark.parametrize("quirks", by_day(HIDDEN, HIDDEN[:1]), ids="-and-".join)
def test_quirks_that_hide_each_other_are_found_soon(
    quirks: dict[str, float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within three quarters of the work that the search may do: not after all pairs."""
    monkeypatch.setattr(search, "Model", Counting)
    monkeypatch.setattr(Counting, "all", [])
    variations = [CATALOGUE[id].variation(value) for id, value in quirks.items()]
    diagnosis = diagnose(front_end(QuirkyFrontEnd(variations, "faulty")))
    assert names(diagnosis) == [sorted(quirks)]
    assert sum(model.work for model in Counting.all) < 0.75 * search._WORK


def test_a_quirk_that_is_idle_is_left_out() -> None:
    """An epsilon that is fitted to next to nothing, beside three quirks, explains no silence."""
    quirks = ["htk-mel", "natural-logarithm", "symmetric-window"]
    faulty = QuirkyFrontEnd([CATALOGUE[id].variation() for id in quirks], "faulty")
    diagnosis = diagnose(front_end(lambda audio, n_mels=80: faulty.log_mel(audio, n_mels)))
    assert names(diagnosis) == [quirks]


def test_shapes_that_are_told_early_are_right() -> None:
    """A quirk's own features are never taken for ones of another shape."""
    audio = np.random.default_rng(7).normal(0.0, 0.1, 1234).astype(np.float32)
    told = 0
    for quirk in PATH:
        for spec in (WHISPER, WHISPER.replace(smoothing="valid")):
            reference = Answer("noise", audio, spec, log_mel(audio, spec))
            variants = (Variant(quirk.id, quirk.parameter.example if quirk.parameter else None),)
            made = Model(reference).predict(variants, with_bound=False)
            if made is not None:
                own = Model(Answer("own", audio, spec, made[0][0]))
                assert own.predict(variants, with_bound=False, of_shape=True) is not None, variants
                told += Model(reference).predict(variants, with_bound=False, of_shape=True) is None
    assert told > 10


def test_the_one_frame_that_is_off_is_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_WORK", 500)
    diagnosis = diagnose(front_end(CATALOGUE["last-frame-off"].make()))
    assert (
        diagnosis.cause
        == "Of its features only the last frame is off, in every clip that is wrong."
    )
    assert not diagnosis.kinds
    assert diagnosis.fix == [CATALOGUE["last-frame-off"].fix]


def test_the_clips_show_every_quirk_of_the_path() -> None:
    """With each value of its grid; long clips are asked for where cases of those fail."""
    asked = clips(front_end(QuirkyFrontEnd([], "right")).capabilities)
    for quirk in PATH:
        for value in [None] if quirk.parameter is None else quirk.parameter.grid:
            spoiled = front_end(QuirkyFrontEnd([quirk.variation(value)], "faulty"))
            assert any(
                not _answer(spoiled, request).score <= CLASS_B for request in asked.values()
            ), (quirk.id, value)


def _answer(source: InProcess, request: Request) -> Answer:
    audio, options = request.audio(), request.options()
    try:
        features = source.call(audio, **options)
    except Failure:
        features = None
    return Answer("", audio, request.spec(), features)


def _with_weights_off(relative: float, n_mels: int) -> Any:
    def bank(weights: Array, call: Any) -> Array:
        if call.spec.n_mels != n_mels:
            return weights
        noise = np.random.default_rng(5).uniform(-relative, relative, weights.shape)
        return (weights * (1.0 + noise)).astype(weights.dtype)

    return _stage(bank=bank)


def test_a_slight_fault_does_not_hide_a_great_one() -> None:
    """A bank that was rounded, of 128 bands, in a front-end that extends clips by zeros."""
    slight, great = _with_weights_off(4e-5, 128), CATALOGUE["pad-right-zero"]
    source = QuirkyFrontEnd([great.variation(), *slight._variations], "faulty")
    assert names(diagnose(front_end(source)))[0] == ["pad-right-zero"]


def _ramp(features: Array, call: Any) -> Array:
    """Adds what depends on each stage before the mel powers, and on each after them."""
    total = sum(np.abs(call.seen[name]).max() for name in (*FRONT, *TAIL[:-1]))
    return features + features.dtype.type(0.01) * np.arange(features.shape[1]) * total


def test_hooks_see_the_same_stages_in_the_diagnosis(monkeypatch: pytest.MonkeyPatch) -> None:
    """There, the mel powers of a call may come from another call."""
    ramp = Variation(stages={"features": _ramp})
    quirk = replace(CATALOGUE["gain"], id="ramp", vary=lambda: ramp, parameter=None)
    monkeypatch.setitem(CATALOGUE, quirk.id, quirk)
    audio = np.random.default_rng(4).normal(0.0, 0.1, 1600).astype(np.float32)
    model = Model(Answer("noise", audio, WHISPER, log_mel(audio)))
    for others in ((), (Variant("gain", 0.5),), (Variant("transform-zero-extended", 512.0),)):
        variants = (*others, Variant(quirk.id))
        made = QuirkyFrontEnd([v.variation for v in variants], "faulty").log_mel(audio)
        for with_bound in (False, True, False):  # first computed, then kept
            predicted = model.predict(variants, with_bound=with_bound)
            assert predicted is not None
            np.testing.assert_allclose(made, predicted[0][0], rtol=1e-4)


def test_a_stage_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match="'feature' is none of audio, padded, extended, frames"):
        Variation(stages={"feature": lambda features, call: features})
    early = Variation(stages={"audio": lambda audio, call: audio * call.seen["power"].max()})
    with pytest.raises(KeyError, match="stage 'power' comes later"):
        QuirkyFrontEnd([early], "faulty").log_mel(np.ones(400, np.float32))


GUESSED = [
    ("pre-emphasis", "short-window"),
    ("gain", "symmetric-window"),
    ("hann-power", "half-precision-power"),
    ("pad-zero", "power-exponent"),
    ("lowest-frequency", "magnitude"),
]


@pytest.mark.parametrize(
    "ids", by_day([(it,) for it in GUESSED], [(it,) for it in GUESSED[:2]]), ids="-and-".join
)
def test_guesses_keep_what_is_likely(ids: tuple[str, str]) -> None:
    choice = random.Random(6)
    changes = [CATALOGUE[id].variation(another_value(CATALOGUE[id], choice)) for id in ids]
    source = front_end(QuirkyFrontEnd(changes, "faulty"))
    audio = np.random.default_rng(6).normal(0.0, 0.1, 3000).astype(np.float32)
    model = Model(Answer("noise", audio, WHISPER, source.call(audio, n_mels=80)))
    variants = [v for quirk in PATH for v in coarse(quirk, model)]
    fronts = [v for v in variants if v.variation.is_front]
    pairs = [pair for pair in combine(fronts, fronts) if any(v.value for v in pair)]
    kept = [pair for pair in likely(model, fronts) if any(v.value for v in pair)]
    assert len(kept) < 0.2 * len(pairs)
    assert any({v.id for v in pair} == set(ids) for pair in kept)


def test_pairs_that_change_one_field_may_have_any_shape() -> None:
    """Each of these keeps the last frame; together they do, and drop the first one."""
    ids = ("no-centre", "first-frame-dropped")
    source = front_end(QuirkyFrontEnd([CATALOGUE[id].variation() for id in ids], "faulty"))
    audio = np.random.default_rng(6).normal(0.0, 0.1, 3000).astype(np.float32)
    model = Model(Answer("noise", audio, WHISPER, source.call(audio, n_mels=80)))
    assert likely(model, [Variant(id) for id in ids])


def test_memory_does_not_grow_with_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of features of 30 s, all that might explain them would be gigabytes."""
    audio = np.random.default_rng(4).normal(0.0, 0.1, 1600)
    model = Model(Answer("noise", audio, WHISPER, log_mel(audio)))
    windows = [Variant(id) for id in CATALOGUE if id.endswith("-window")][:6]
    monkeypatch.setattr(answers, "_KEPT", 3 * 80 * 11 * 8)  # three of these, one frame is dropped
    for window in windows:
        for variants in ((window,), (window, Variant("magnitude"))):
            assert model.predict(variants, with_bound=False) is not None
    assert [front for front, _ in model._fronts] == [(window,) for window in windows[-3:]]


# --------------------------------------------------------------------------- written elsewhere


def _written_elsewhere(fault: str) -> Callable[..., Array]:
    """A front-end that shares no code with the catalogue, complex64 throughout."""

    def f(audio: Array, n_mels: int = 80) -> Array:
        x = np.array(audio, np.float32) * np.float32(0.37 if fault == "gain" else 1.0)
        padded = np.pad(x, 200, mode="constant" if fault == "pad-zero" else "reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][: x.size // 160]
        turns = np.arange(400) / (399 if fault == "symmetric-window" else 400)
        window = (0.5 - 0.5 * np.cos(2 * np.pi * turns)).astype(np.float32)
        spectrum = np.fft.fft((frames * window).astype(np.complex64))[:, :201]
        power = np.abs(spectrum) if fault == "magnitude" else np.abs(spectrum) ** 2
        bank = mel_filterbank(n_mels)
        if fault == "half-precision-bank":
            bank = bank.astype(np.float16).astype(np.float32)
        mel = bank @ power.T.astype(np.float32)
        least = np.float32(3e-9 if fault == "floor" else 1e-10)
        log = np.log10(np.maximum(mel, least))
        if fault == "natural-logarithm":
            log = np.log(np.maximum(mel, least))
        log = log if fault == "no-range" else np.maximum(log, log.max() - 8)
        return ((log + 4) / 4).astype(np.float32)

    return f


def test_numpy_s_hamming_window_is_told() -> None:
    """From the wild: it is symmetric."""
    source = _stage(window=lambda w, c: np.hamming(w.size).astype(w.dtype))
    assert names(diagnose(front_end(source)))[0] == ["symmetric-hamming-window"]


ELSEWHERE = [
    *("gain", "pad-zero", "symmetric-window", "magnitude"),
    *("half-precision-bank", "floor", "natural-logarithm", "no-range"),
]


@pytest.mark.parametrize("fault", by_day(ELSEWHERE, ["pad-zero", "floor"]))
def test_front_ends_written_elsewhere_are_told(fault: str) -> None:
    assert names(diagnose(front_end(_written_elsewhere(fault))))[0] == [fault]


def test_a_value_is_found() -> None:
    [explanation] = diagnose(front_end(_written_elsewhere("gain"))).explanations
    [variant] = explanation.variants
    assert variant.value is not None
    assert math.isclose(variant.value, 0.37, rel_tol=1e-6)


# --------------------------------------------------------------------------- other answers


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("all-zero", "nothing was computed"),
        ("every-call-differs", "Equal calls give different"),
        ("right", "right on the clips of the diagnosis"),
        ("raises", "gives no features at all: ValueError: no"),
        ("scalar", "gives shape"),
        ("late", "“quiet” it gives the features of “loud”, asked for before"),
        ("modifies", "“loud”, “quiet”, “late”"),
    ],
)
def test_what_it_says_of_others(name: str, words: str) -> None:
    calls: list[Any] = []

    def differing(audio: Array, n_mels: int = 80) -> Array:
        calls.append(1)
        return right(audio, n_mels) + np.float32(len(calls))

    def raising(audio: Array, n_mels: int = 80) -> Array:
        raise ValueError("no")

    def late(audio: Array, n_mels: int = 80) -> Array:
        calls.append(right(audio, n_mels))
        return calls[-2] if len(calls) > 1 else calls[-1]

    def modifying(audio: Array, n_mels: int = 80) -> Array:
        audio -= audio.mean()
        return right(audio, n_mels)

    sources = {
        "late": late,
        "modifies": modifying,
        "all-zero": _of_right(np.zeros_like),
        "every-call-differs": differing,
        "right": other_order,
        "raises": raising,
        "scalar": lambda audio, n_mels=80: right(audio, n_mels)[:, :1].ravel(),
    }
    diagnosis = diagnose(front_end(sources[name]))
    assert diagnosis.explanations == []
    assert words in " ".join(diagnosis.sentences)


@pytest.mark.parametrize("every", by_day([2, 3, 4, 5, 8], [2, 5]))
def test_what_comes_and_goes_is_named_so(every: int) -> None:
    calls: list[Any] = []

    def f(audio: Array, n_mels: int = 80) -> Array:
        calls.append(1)
        y = right(audio, n_mels)
        return np.roll(y, 1, axis=1) if len(calls) % every == 0 else y

    diagnosis = diagnose(front_end(f))
    assert diagnosis.explanations == []
    [sentence] = diagnosis.sentences
    assert "comes and goes" in sentence


def _only(condition: Callable[..., bool], fault: Callable[..., Array]) -> Callable[[], Any]:
    class Branching:
        capabilities = QuirkyFrontEnd.capabilities

        def log_mel(
            self,
            audio: Array,
            n_mels: int = 80,
            *,
            pad_to: int | None = None,
            smoothing: Any = None,
        ) -> Array:
            spec = WHISPER.replace(n_mels=n_mels, pad_to=pad_to, smoothing=smoothing)
            y = log_mel(audio, spec, dtype=np.float32)
            return fault(y) if condition(audio, spec) else y

    return Branching


BRANCHES = {
    "with 128 bands": lambda audio, spec: spec.n_mels == 128,
    "with clips of dtype int16": lambda audio, spec: audio.dtype == np.int16,
    "with pad_to": lambda audio, spec: spec.pad_to is not None,
    "with pad_to equal to the number of samples": lambda audio, spec: (
        spec.pad_to == audio.shape[-1]
    ),
    "with clips in a batch": lambda audio, spec: audio.ndim == 2,
    "with clips in a batch of 3 or more": lambda audio, spec: audio.ndim == 2 and len(audio) > 2,
    "with more than 5,123 samples": lambda audio, spec: audio.shape[-1] > 5123,
    "with fewer than 1,234 samples": lambda audio, spec: audio.shape[-1] < 1234,
    "with a number of samples that is a multiple of 56": (
        lambda audio, spec: audio.shape[-1] % 56 == 0
    ),
    "with a number n of samples of which n % 7 is not 2": (
        lambda audio, spec: audio.shape[-1] % 7 != 2
    ),
    "with samples that do not lie one behind the other in memory": (
        lambda audio, spec: audio.strides[-1] != audio.itemsize
    ),
    "if the loudest sample is among the last 321": (
        lambda audio, spec: (
            np.abs(np.atleast_2d(audio)[0].astype(np.float64)).argmax() >= audio.shape[-1] - 321
        )
    ),
}
UNSEEN: dict[str, Callable[[Array, Any], bool]] = {
    "with more than 22,475 samples": lambda audio, spec: audio.shape[-1] > 22_475,
    "with 320 to 1,555 samples": lambda audio, spec: 320 <= audio.shape[-1] <= 1555,
    "with pad_to equal to the number of samples": (
        lambda audio, spec: spec.pad_to == audio.shape[-1]
    ),
    "with samples at an address that is no multiple of 8 bytes": (
        lambda audio, spec: audio.ctypes.data % 8 != 0
    ),
    "if the loudest sample is among the first 300": (
        lambda audio, spec: np.abs(np.atleast_2d(audio)[0]).argmax() < 300
    ),
}
FAILED = (
    *("boundary/length-480/80", "boundary/pad-1637-to-1637/80", "buffers/stride-2-400"),
    *("batch/three/80", "boundary/length-560/80"),
)
"""Cases that are told to have failed: what they ask for is asked for again."""


@pytest.mark.parametrize("condition", by_day(BRANCHES, ["with clips in a batch"]))
def test_the_condition_of_a_fault_is_said(condition: str) -> None:
    source = _only(BRANCHES[condition], lambda y: y + np.float32(0.25))
    diagnosis = diagnose(front_end(source()), failed=FAILED)
    said = [sentence for sentence in diagnosis.sentences if "It is wrong" in sentence]
    assert said
    assert said[0].startswith(f"It is wrong {condition} only: on ")
    assert ["offset"] in names(diagnosis)


@pytest.mark.parametrize("condition", by_day(UNSEEN, ["with 320 to 1,555 samples"]))
def test_a_condition_is_found_without_a_case_that_shows_it(condition: str) -> None:
    """A plain clip is asked for in every way where the clips are right."""
    source = _only(UNSEEN[condition], lambda y: y + np.float32(0.25))
    diagnosis = diagnose(front_end(source()), failed=["memory/files-left"])
    assert any(it.startswith(f"It is wrong {condition} only") for it in diagnosis.sentences)


def test_what_is_right_under_a_condition_tells_faults_apart() -> None:
    """A low maximum that is fixed would give the same features, but of a loud clip."""
    faulty = QuirkyFrontEnd([CATALOGUE["floor"].variation(2.5e-6)], "faulty")

    def log_mel(audio: Array, n_mels: int = 80) -> Array:
        return (faulty.log_mel if audio.shape[-1] > 22_000 else right)(audio, n_mels)

    diagnosis = diagnose(front_end(log_mel), failed=FAILED)
    assert names(diagnosis) == [["floor"]]


def test_lengths_that_are_few_in_a_case_are_found() -> None:
    """None of the diagnosis' own clips has one, and of the case's 160 lengths four have."""
    source = _only(lambda audio, spec: audio.shape[-1] % 42 == 0, lambda y: y + np.float32(0.25))
    diagnosis = diagnose(front_end(source()), failed=["boundary/every-remainder/80"])
    said = "It is wrong with a number of samples that is a multiple of 42 only: on "
    assert any(sentence.startswith(said) for sentence in diagnosis.sentences)
    assert names(diagnosis) == [["offset"]]


@pytest.mark.parametrize("every", [7, 50])
def test_calls_that_are_wrong_now_and_then_are_counted(every: int) -> None:
    calls: list[Any] = []

    def f(audio: Array, n_mels: int = 80) -> Array:
        calls.append(1)
        y = right(audio, n_mels)
        return y + np.float32(0.25) if len(calls) % every == 0 else y

    diagnosis = diagnose(front_end(f), failed=["determinism/first-1000-calls"])
    assert f"Of 160 equal calls one in {every} was wrong, each time." in diagnosis.cause


def test_calls_that_are_all_wrong_are_not_counted() -> None:
    assert every(lambda: True, 9) is None
    turns = itertools.cycle([True, False])
    assert every(lambda: next(turns), 9) == 2


def test_the_first_call_of_a_thread_is_named() -> None:
    own = threading.local()

    def f(audio: Array, n_mels: int = 80) -> Array:
        is_first, own.called = not hasattr(own, "called"), True
        y = right(audio, n_mels)
        return y + np.float32(0.25) if is_first else y

    source = front_end(f)
    source.call(np.zeros(400, np.float32), n_mels=80)
    assert not diagnose(source).cause.startswith("The first call of a thread")
    diagnosis = diagnose(source, failed=["concurrency/one-thread/80"])
    assert diagnosis.cause.startswith("The first call of a thread is wrong: in each of 3 new")


@pytest.mark.nightly
def test_what_is_left_of_three_faults_is_said() -> None:
    """Pre-emphasis, zeros at both ends, another window; zeros of pad_to before all of these."""

    def f(audio: Array, n_mels: int = 80, *, pad_to: int | None = None) -> Array:
        x = np.asarray(audio, np.float64)
        x = np.pad(x, (0, 0 if pad_to is None else pad_to - x.size))
        x = np.pad(np.append(x[:1], x[1:] - 0.97 * x[:-1]), 200)
        frames = np.lib.stride_tricks.sliding_window_view(x, 400)[::160][:-1]
        power = np.abs(np.fft.rfft(frames * np.hanning(400))) ** 2
        log = np.log10(np.maximum(mel_filterbank(n_mels) @ power.T, 1e-10))
        return ((np.maximum(log, log.max() - 8) + 4) / 4).astype(np.float32)

    diagnosis = diagnose(front_end(f))
    assert names(diagnosis) == [["pad-zero", "pre-emphasis", "symmetric-window"]]
    said = "but “padded”: with pad_to beyond the number of samples something else is wrong"
    assert said in diagnosis.evidence[0]


@pytest.mark.nightly
def test_three_faults_that_each_change_every_value_are_found() -> None:
    """As of ``torch.stft`` with 512 points and zeros at both ends, and HTK's bank."""
    quirks = {"pad-zero": None, "transform-zero-extended": 512.0, "htk-mel": None}
    variations = [CATALOGUE[id].variation(value) for id, value in quirks.items()]
    assert names(diagnose(front_end(QuirkyFrontEnd(variations, "faulty")))) == [sorted(quirks)]


@pytest.mark.nightly
def test_faults_beside_one_that_nothing_explains_are_named() -> None:
    """A symmetric window and magnitudes; of the last 16 bands, something else as well."""

    def f(audio: Array, n_mels: int = 80) -> Array:
        x = np.pad(np.asarray(audio, np.float64), 200, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(x, 400)[::160][:-1]
        magnitudes = np.abs(np.fft.rfft(frames * np.hanning(400)))
        log = np.log10(np.maximum(mel_filterbank(n_mels) @ magnitudes.T, 1e-10))
        y = (np.maximum(log, log.max() - 8) + 4) / 4
        y[-16:] += 0.05 * np.sin(40 * y[-16:] + np.arange(16)[:, None])
        return y.astype(np.float32)

    diagnosis = diagnose(front_end(f))
    assert {"[magnitude]", "[symmetric-window]"} <= {*re.findall(r"\[\S+\]", diagnosis.cause)}
    assert "Something else is wrong besides" in diagnosis.cause
    assert len(diagnosis.fix) >= 2
    assert re.search(
        r" known, [\d,]+ pairs of them, [\d,]+ threes of them, ", diagnosis.evidence[1]
    )
    assert re.search(r"put into the reference \d+% of its output agrees", diagnosis.evidence[0])


def test_a_condition_of_what_nothing_explains_is_the_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Values that no stage makes; the picture's title says that its clip was changed."""
    monkeypatch.setattr(search, "_WORK", 3000)

    def f(audio: Array, n_mels: int = 80) -> Array:
        y = right(audio, n_mels)
        if n_mels == 128:
            y = y + 0.1 * np.sin(40.0 * y * (1.0 + np.arange(y.shape[1])))
        return y.astype(np.float32)

    diagnosis = diagnose(front_end(f))
    words = "It is wrong with 128 bands only"
    assert diagnosis.cause == f"{words}, and nothing known explains how."
    assert diagnosis.evidence[0].startswith(f"{words}: on ")
    assert diagnosis.title == "two seconds of speech, changed to meet the condition"


def test_calls_that_are_refused_are_the_cause() -> None:
    """Its features are right elsewhere: no fault of the features is to blame."""

    class Refusing:
        capabilities: ClassVar[dict[str, Any]] = {"maximum": ("clip", "fixed")}

        def log_mel(self, audio: Array, n_mels: int = 80, *, maximum: Any = "clip") -> Array:
            if maximum != "clip":
                raise RuntimeError("no other maximum")
            return right(audio, n_mels)

    for failed in ((), ("maximum/1.5-rising-noise/80", "maximum/1.5-two-threads/80")):
        diagnosis = diagnose(front_end(Refusing()), failed=failed)
        assert "RuntimeError: no other maximum" in diagnosis.cause
        assert diagnosis.fix == []


def test_faults_that_cannot_be_told_apart_are_named_once() -> None:
    named = [Suspect(quirk, "It fails that.") for quirk in itertools.islice(CATALOGUE.values(), 3)]
    said = right_here([], (), [], named).cause.splitlines()
    assert len(said) == len(set(said)) == 3


def test_what_is_wrong_everywhere_has_no_condition() -> None:
    """Though all of its clips are of one type."""
    diagnosis = diagnose(front_end(_written_elsewhere("symmetric-window")))
    assert names(diagnosis) == [["symmetric-window"]]
    assert not any("only" in sentence for sentence in diagnosis.sentences)


def test_what_its_failures_have_in_common_is_said() -> None:
    failed = ["concurrency/four-threads/80", "determinism/interleaved", "concurrency/one-thread/80"]
    diagnosis = diagnose(front_end(right), failed=failed)
    assert "a data race (concurrency); equal calls differ" in diagnosis.sentences[-1]
    assert diagnosis.sentences[-1].endswith(
        "The first case that shows it is concurrency/four-threads/80."
    )


def test_no_fault_is_named_that_gives_other_features() -> None:
    """Its case failed for another one: of audio that is read backwards one band is wrong."""

    def f(audio: Array, n_mels: int = 80) -> Array:
        features = right(audio, n_mels)
        features[3] += 0.05 if audio.strides[0] < 0 else 0.0
        return features

    failed = ["buffers/reversed-400"]
    cause = "It is wrong with samples that lie in memory as reversed only, and there only band 3 is"
    assert diagnose(front_end(f), failed=failed).cause == f"{cause} off."
    ignored = diagnose(front_end(CATALOGUE["direction-ignored"].make()), failed=failed)
    assert "[reversed-input]" in ignored.cause


def test_the_cause_is_what_its_failures_mean_where_no_fault_is_named() -> None:
    diagnosis = diagnose(front_end(right), failed=["state/unchanged"])
    assert diagnosis.cause == (
        "A call changes what belongs to the whole process, or is spoiled by it (state). "
        "The first case that shows it is state/unchanged."
    )
    assert any(it.startswith("It is right on the clips") for it in diagnosis.evidence)


@pytest.mark.slow
def test_a_fault_of_streams_is_named_by_asking() -> None:
    """Of those whose case fails, the one that answers the same cases as the front-end does."""
    named = ["stream-last-frame-extra", "stream-result-reused"]
    failed = ["stream/fixed-10-ms/80"]
    assert {CATALOGUE[id].killer for id in named} == {*failed}
    for id in named:
        diagnosis = diagnose(front_end(CATALOGUE[id].make()), failed=failed)
        assert diagnosis.fix[0] == CATALOGUE[id].fix
        assert "cases it fails" in diagnosis.evidence[0]


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    diagnosis = diagnose(front_end(CATALOGUE["symmetric-window"].make()))
    path = tmp_path / "features.png"
    path.write_bytes(comparison(**diagnosis.arrays()))
    with Image.open(path) as image:
        image.verify()
        assert image.size == (3 * (36 + 200 * 4 + 6), 6 + 80 * 4 + 22)  # with room for axes
