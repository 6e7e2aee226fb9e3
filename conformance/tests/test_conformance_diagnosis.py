"""The diagnosis names what faulty front-ends do, on signals and values not used to build it.

The front-ends here compute in float32; ``./dev test -m nightly`` measures on many more of them.
What is drawn here is for judging alone: who changes the diagnosis tries other seeds, and changes
``HELD_OUT`` after having looked at what these draw.
"""

from __future__ import annotations

import whisper_mel_conformance.run.quiet_blas  # noqa: F401  before anything imports NumPy

# isort: split
import math
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from correct_front_ends import other_order, right
from daily import by_day
from PIL import Image
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis import answer as answers
from whisper_mel_conformance.diagnosis import search
from whisper_mel_conformance.diagnosis.answer import Answer, Model, Variant
from whisper_mel_conformance.diagnosis.diagnose import OF_CHUNKS, Diagnosis, clips, diagnose
from whisper_mel_conformance.diagnosis.guess import likely
from whisper_mel_conformance.frontend.client import InProcess
from whisper_mel_conformance.frontend.load import inspect_front_end
from whisper_mel_conformance.quirks import CATALOGUE, Quirk
from whisper_mel_conformance.quirks.path import FRONT, TAIL, Variation
from whisper_mel_conformance.quirks.quirk import QuirkyFrontEnd
from whisper_mel_conformance.report.picture import comparison
from whisper_mel_reference import WHISPER, log_mel, mel_filterbank

pytestmark = pytest.mark.slow

Array = Any

HELD_OUT = 93_000
LONG = ("always-30-seconds", "30-seconds-appended", "frame-count-in-1500s")
# What only clips of more than 30 s show is told apart in test_conformance_models.py.
OF_LONG_CLIPS = {id for ids in OF_CHUNKS for id in ids}
PATH = [q for q in CATALOGUE.values() if q.vary is not None and q.id not in OF_LONG_CLIPS]
SHORT = [q for q in PATH if q.id not in LONG]


def front_end(source: Any) -> InProcess:
    return InProcess(inspect_front_end(source, "faulty"))


def other_signals(able: Any, seed: int) -> dict[str, Request]:
    """The clips' structure with other noise, other tones, other lengths, and speech."""

    def other(recipe: Any) -> Any:
        if "parts" in recipe:
            return {"parts": [other(part) for part in recipe["parts"]]}
        changed = {**recipe, "n": recipe["n"] + 7 * seed % 40}
        if "seed" in recipe:
            changed["seed"] = recipe["seed"] + 1000 * seed
        if "frequency" in recipe:
            changed["frequency"] = recipe["frequency"] * 1.37
        return changed

    chosen = {}
    for name, clip in clips(able).items():
        recipe = None if clip.recipe is None else other(clip.recipe)
        chosen[name] = replace(clip, recipe=recipe, recipes=[other(r) for r in clip.recipes])
    speech = {"signal": "speech", "n": 8000, "recording": "sense-and-sensibility", "start": 6000}
    return {**chosen, "speech": Request(speech, n_mels=able.n_mels[0])}


def another_value(quirk: Quirk, choice: random.Random) -> float | None:
    """Between two values of the grid, if there are any."""
    if quirk.parameter is None:
        return None
    grid = quirk.parameter.grid
    if quirk.parameter.listed:
        return choice.choice(grid)
    i = choice.randrange(len(grid) - 1)
    low, high, part = grid[i], grid[i + 1], choice.uniform(0.1, 0.9)
    value = low * (high / low) ** part if low > 0 else low + (high - low) * part
    # Of whole numbers, 0 may lie between two: no delay is no fault.
    return (round(value) or high) if quirk.parameter.whole else value


def faulty(quirks: list[Quirk], choice: random.Random) -> InProcess:
    variations = [quirk.variation(another_value(quirk, choice)) for quirk in quirks]
    return front_end(QuirkyFrontEnd(variations, "faulty"))


def names(diagnosis: Diagnosis) -> list[list[str]]:
    return [sorted(v.id for v in e.variants) for e in diagnosis.explanations]


def told(source: InProcess, seed: int) -> Diagnosis:
    return diagnose(source, other_signals(source.capabilities, seed))


def some_or(all: int) -> pytest.MarkDecorator:
    """Whether to take a few, or, at night, all of them."""
    few = pytest.param(False, id="some")
    many = pytest.param(True, id=f"all-{all}", marks=pytest.mark.nightly)
    return pytest.mark.parametrize("every", [few, many])


@some_or(len(PATH))
def test_single_quirks_are_named(every: bool) -> None:
    choice = random.Random(HELD_OUT)
    quirks = PATH if every else choice.sample(SHORT, 6)
    missed = []
    for i, quirk in enumerate(quirks):
        found = names(told(faulty([quirk], choice), HELD_OUT + i))
        if [quirk.id] not in found:
            missed.append((quirk.id, found))
    print(f"{len(quirks) - len(missed)} of {len(quirks)} single quirks named; missed: {missed}")
    assert not len(missed) > 0.05 * len(quirks), missed


@pytest.mark.nightly
def test_pairs_of_quirks_are_named() -> None:
    """Pairs of which one hides the other are no pairs, as far as features show."""
    choice = random.Random(HELD_OUT + 1)
    pairs, missed = 0, []
    for i in range(80):
        two = sorted(choice.sample(PATH, 2), key=PATH.index)
        found = names(told(faulty(two, choice), HELD_OUT + i))
        if found and len(found[0]) == 1:
            continue
        pairs += 1
        if sorted(quirk.id for quirk in two) not in found:
            missed.append(([quirk.id for quirk in two], found))
    print(f"{pairs - len(missed)} of {pairs} pairs named; missed: {missed}")
    assert pairs >= 60
    assert not len(missed) > 0.2 * pairs, missed


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


def _stage(name: str, hook: Callable[[Array, Any], Array]) -> Any:
    return QuirkyFrontEnd([Variation(stages={name: hook})], "faulty")


def _of_right(change: Callable[[Array], Array]) -> Any:
    return lambda audio, n_mels=80: change(right(audio, n_mels)).astype(np.float32)


def _without_band_17(bank: Array, call: Any) -> Array:
    bank = bank.copy()
    bank[17] = 0
    return bank


def _every_seventh(frames: Array, call: Any) -> Array:
    return frames * np.where(np.arange(len(frames)) % 7 == 3, 0.8, 1.0)[:, np.newaxis]


OUTSIDE: dict[str, Callable[[], Any]] = {
    "kaiser window": lambda: _stage("window", lambda w, c: np.kaiser(w.size, 9).astype(w.dtype)),
    "band missing": lambda: _stage("bank", _without_band_17),
    "every seventh frame quiet": lambda: _stage("frames", _every_seventh),
    "curved logarithm": lambda: _stage("log", lambda log, c: log - 0.05 * log * log),
    "triangular window": lambda: _stage("window", lambda w, c: np.bartlett(w.size).astype(w.dtype)),
    "bands swapped": lambda: _of_right(lambda y: np.concatenate([y[1:2], y[:1], y[2:]])),
    "ripple over bands": lambda: _of_right(lambda y: y + 0.01 * np.sin(np.arange(len(y)))[:, None]),
    "frames averaged": lambda: _of_right(lambda y: (y + np.roll(y, 1, axis=1)) / 2),
    "soft clipping": lambda: _stage("audio", lambda x, c: np.tanh(x)),
    "time stretched": lambda: _stage("frames", lambda f, c: f[np.arange(len(f)) * 19 // 20]),
    "median of frames": lambda: _of_right(
        lambda y: np.median([np.roll(y, k, axis=1) for k in (-1, 0, 1)], axis=0)
    ),
    "low bits of the spectrum": lambda: _stage(
        "spectrum", lambda s, c: np.round(s.real, 2) + 1j * np.round(s.imag, 2)
    ),
}
"""Faults that are not in the catalogue, nor pairs of what is in it."""


class Counting(Model):
    """Models that are remembered, for their work to be looked up."""

    all: ClassVar[list[Model]] = []

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.all.append(self)


@some_or(len(OUTSIDE))
def test_what_is_not_in_the_catalogue_is_not_explained(
    every: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "Model", Counting)
    if not every:
        monkeypatch.setattr(search, "_WORK", search._WORK // 8)
    chosen = list(OUTSIDE) if every else ["band missing"]
    explained = {}
    for i, name in enumerate(chosen):
        monkeypatch.setattr(Counting, "all", [])
        diagnosis = told(front_end(OUTSIDE[name]()), HELD_OUT + i)
        if diagnosis.explanations:
            explained[name] = names(diagnosis)
        else:
            assert diagnosis.cause
            work = sum(model.work for model in Counting.all)
            assert work < 1.2 * search._WORK, "seconds, not minutes"
        if name == "band missing":
            assert "The filterbank has other weights" in diagnosis.sentences[0]
            assert "differ in 1 of 80 bands" in diagnosis.sentences[1]
            assert "in band 17, bin" in diagnosis.sentences[1]
    print(f"{len(chosen) - len(explained)} of {len(chosen)} faults left unexplained: {explained}")
    assert not len(explained) > 0.1 * len(chosen), explained


def test_work_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "Model", Counting)
    monkeypatch.setattr(search, "_WORK", 3000)
    monkeypatch.setattr(Counting, "all", [])
    assert told(front_end(OUTSIDE["kaiser window"]()), 5).explanations == []
    assert 3000 < sum(model.work for model in Counting.all) < 6000


def _with_weights_off(relative: float, n_mels: int) -> Any:
    def bank(weights: Array, call: Any) -> Array:
        if call.spec.n_mels != n_mels:
            return weights
        noise = np.random.default_rng(5).uniform(-relative, relative, weights.shape)
        return (weights * (1.0 + noise)).astype(weights.dtype)

    return _stage("bank", bank)


@pytest.mark.parametrize("n_mels", by_day([80, 128], [128]))
def test_a_bank_that_is_slightly_off_is_told_and_measured(n_mels: int) -> None:
    diagnosis = told(front_end(_with_weights_off(0.004, n_mels)), 1)
    assert diagnosis.explanations == []
    assert "weights are slightly off" in diagnosis.sentences[0]
    (off,) = re.findall(r"by up to ([\d.]+)%", diagnosis.sentences[0])
    assert 0.3 < float(off) < 0.5
    assert f"of {n_mels}." in diagnosis.sentences[0]


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
    source = faulty([CATALOGUE[id] for id in ids], choice)
    audio = np.random.default_rng(6).normal(0.0, 0.1, 3000).astype(np.float32)
    model = Model(Answer("noise", audio, WHISPER, source.call(audio, n_mels=80)))
    variants = [v for quirk in SHORT for v in search._coarse(quirk, model)]
    fronts = [v for v in variants if v.variation.is_front]
    pairs = [pair for pair in search._combine(fronts, fronts) if any(v.value for v in pair)]
    kept = likely(model, pairs)
    assert len(kept) < 0.2 * len(pairs)
    assert any({v.id for v in pair} == set(ids) for pair in kept)


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
    source = _stage("window", lambda w, c: np.hamming(w.size).astype(w.dtype))
    assert names(diagnose(front_end(source)))[0] == ["symmetric-hamming-window"]


ELSEWHERE = [
    *("gain", "pad-zero", "symmetric-window", "magnitude"),
    *("half-precision-bank", "floor", "natural-logarithm", "no-range"),
]


@pytest.mark.parametrize("fault", by_day(ELSEWHERE, ["pad-zero", "magnitude", "floor"]))
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
    "128 bands": lambda audio, spec: spec.n_mels == 128,
    "clips of dtype int16": lambda audio, spec: audio.dtype == np.int16,
    "pad_to=4000": lambda audio, spec: spec.pad_to is not None,
    "clips in a batch": lambda audio, spec: audio.ndim == 2,
}


@pytest.mark.parametrize("condition", by_day(BRANCHES, ["128 bands", "clips in a batch"]))
def test_the_condition_of_a_fault_is_said(condition: str) -> None:
    source = _only(BRANCHES[condition], lambda y: y + np.float32(0.25))
    diagnosis = diagnose(front_end(source()))
    assert f"It is wrong with {condition} only: on 1 of 1 such clips" in diagnosis.sentences[-1]
    assert ["offset"] in names(diagnosis)


def test_what_is_wrong_everywhere_has_no_condition() -> None:
    """Though all of its clips are of one type."""
    diagnosis = diagnose(front_end(_written_elsewhere("symmetric-window")))
    assert names(diagnosis) == [["symmetric-window"]]
    assert not any("only" in sentence for sentence in diagnosis.sentences)


def test_what_its_failures_have_in_common_is_said() -> None:
    failed = ["concurrency/four-threads/80", "determinism/interleaved", "concurrency/one-thread/80"]
    diagnosis = diagnose(front_end(right), failed=failed)
    assert "a data race (concurrency); equal calls differ" in diagnosis.sentences[-1]
    assert diagnosis.sentences[-1].endswith("The first one is concurrency/four-threads/80.")


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    diagnosis = diagnose(front_end(CATALOGUE["symmetric-window"].make()))
    path = tmp_path / "features.png"
    path.write_bytes(comparison(**diagnosis.arrays()))
    with Image.open(path) as image:
        image.verify()
        assert image.size == (3 * (36 + 200 * 4 + 6), 6 + 80 * 4 + 22)  # with room for axes
