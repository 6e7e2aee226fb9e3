"""Every quirk says what to write instead, and a diagnosis says it: cause, fix, evidence."""

from __future__ import annotations

import ast
import importlib
import os
import re
from collections.abc import Iterator

import numpy as np
import pytest
from daily import by_day
from whisper_mel_conformance.cases.catalogue import all_cases
from whisper_mel_conformance.diagnosis.diagnose import diagnose
from whisper_mel_conformance.frontend.client import InProcess
from whisper_mel_conformance.frontend.load import inspect_front_end
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_conformance.quirks.quirk import QuirkyFrontEnd
from whisper_mel_conformance.quirks.signal.common import (
    CLAMPED,
    LOG10,
    MIRRORED,
    PERIODIC_HANN,
    SCALED,
    SLANEY_BANK,
)
from whisper_mel_conformance.report.facts import findings
from whisper_mel_reference import WHISPER, log_mel, mel_filterbank

PYTHON = re.compile(r"(C: )?`([^`]*)`")
LIBRARIES = {"np": "numpy"} | {
    name: name for name in ("hashlib", "librosa", "scipy", "torch", "torchaudio")
}


def python_of(text: str) -> list[str]:
    """The code of a fix that is not C."""
    return [code for is_c, code in PYTHON.findall(text) if not is_c]


@pytest.mark.parametrize("id", CATALOGUE)
def test_a_fix_is_a_line_or_two_and_its_python_compiles(id: str) -> None:
    fix = CATALOGUE[id].fix
    assert 20 < len(fix) <= 280
    assert fix.endswith(".")
    assert fix.count("`") % 2 == 0
    for code in python_of(fix):
        compile(code, id, "exec")


def names_of(code: str) -> Iterator[str]:
    """Dotted names of libraries that a piece of code has, as ``np.fft.rfft``."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if re.fullmatch(r"[\w.]+", name) and name.split(".")[0] in LIBRARIES:
                yield name


def exists(name: str) -> bool:
    """Whether a library has what a dotted name says."""
    first, *rest = name.split(".")
    value = pytest.importorskip(LIBRARIES[first], reason=f"{first} is not in this environment")
    path = LIBRARIES[first]
    for part in rest:
        path += f".{part}"
        try:
            value = getattr(value, part)
        except AttributeError:
            try:
                value = importlib.import_module(path)
            except ImportError:
                return False
    return True


NAMES = sorted({name for q in CATALOGUE.values() for c in python_of(q.fix) for name in names_of(c)})


@pytest.mark.torch
@pytest.mark.xdist_group("fixes")  # what they name takes seconds to import
@pytest.mark.parametrize("name", NAMES)
def test_what_a_fix_names_exists(name: str) -> None:
    assert exists(name)


def test_a_fix_that_is_wrong_would_be_seen() -> None:
    with pytest.raises(SyntaxError):
        compile(python_of("Write `np.(x)`.")[0], "wrong", "exec")
    assert not exists("np.hannning")
    assert list(names_of("np.fft.rfft(x)")) == ["np.fft.rfft", "np.fft"]


@pytest.mark.torch
def test_windows_and_banks_of_fixes_are_the_right_ones() -> None:
    import librosa
    import scipy.signal
    import torch

    scope = {"np": np, "scipy": scipy, "torch": torch, "librosa": librosa}
    right = np.sin(np.pi * np.arange(400) / 400) ** 2
    codes = python_of(PERIODIC_HANN)
    assert len(codes) == 3
    for code in codes:
        window = np.asarray(eval(code, scope))
        np.testing.assert_allclose(window, right, rtol=0, atol=1e-6)
    [bank] = (eval(code, scope) for code in python_of(SLANEY_BANK))
    np.testing.assert_allclose(bank, mel_filterbank(80), atol=1e-9)
    assert not np.allclose(np.hanning(400), right, rtol=0, atol=1e-6)


def test_the_steps_that_fixes_name_make_whisper_s_features() -> None:
    """Those that end in code, one after the other, are the front-end."""
    audio = np.random.default_rng(0).normal(size=16_000) * 0.1
    scope: dict[str, object] = {"np": np, "x": audio}
    [mirror], [log10] = python_of(MIRRORED), python_of(LOG10)
    padded = eval(mirror, scope)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][:-1]
    power = np.abs(np.fft.rfft(frames * np.hanning(401)[:-1])) ** 2
    scope["mel"] = mel_filterbank(80).astype(float) @ power.T
    scope["log"] = eval(log10, scope)
    for text in (CLAMPED, SCALED):
        for code in python_of(text):
            exec(code, scope)
    np.testing.assert_allclose(np.asarray(scope["y"]), log_mel(audio, WHISPER), atol=1e-9)


@pytest.mark.parametrize(
    ("quirk", "failed"),
    [
        ("symmetric-window", ["golden/reading/80", "boundary/length-401/80"]),
        ("htk-mel", ["boundary/length-401/80", "numerics/dc/80"]),
        ("htk-mel", ["numerics/dc/80"]),
        ("nan-swallowed", ["errors/nan-at-2000"]),
        ("strides-ignored", ["buffers/stride-2-400"]),
        ("read-beyond-end", ["buffers/guard-behind/80"]),
    ],
)
def test_a_diagnosis_says_cause_fix_and_evidence(quirk: str, failed: list[str]) -> None:
    front_end = InProcess(inspect_front_end(CATALOGUE[quirk].make(), quirk))
    found = diagnose(front_end, failed=failed)
    assert CATALOGUE[quirk].mechanism in found.cause
    assert CATALOGUE[quirk].fix in found.fix
    assert found.as_json()["fix"] == found.fix
    if CATALOGUE[quirk].vary is not None:
        of_all = f"fails all {len(failed)} failing cases that were tried"
        words = of_all if len(failed) > 1 else "fails the same case."
        assert words in found.evidence[0]
        assert found.title == "two seconds of speech"


def test_what_has_no_features_is_not_asked_for_again() -> None:
    """Of failed cases: what is not finite, refused lengths, and what else a front-end refuses."""
    quirk = CATALOGUE["nan-swallowed"]
    front_end = InProcess(inspect_front_end(quirk.make(), quirk.id))
    failed = [case.id for case in all_cases("quick") if case.family == "errors"]
    assert quirk.killer in failed and len(failed) > 50
    assert quirk.mechanism in diagnose(front_end, failed=failed).cause


def test_failures_that_a_fault_does_not_explain_are_counted() -> None:
    quirk = CATALOGUE["symmetric-window"]
    front_end = InProcess(inspect_front_end(quirk.make(), quirk.id))
    failed = ["golden/reading/80", "numerics/silence/80"]
    assert "fails 1 of 2 failing cases" in diagnose(front_end, failed=failed).evidence[0]


def test_cases_that_fork_are_not_tried_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside threads in calls that hangs for ever: NumPy's BLAS holds its locks in both."""
    monkeypatch.setattr(os, "fork", lambda: pytest.fail("a fork of the judging process"))
    quirk = CATALOGUE["symmetric-window"]
    front_end = InProcess(inspect_front_end(quirk.make(), quirk.id))
    failed = [case.id for case in all_cases("quick") if case.check == "forked"]
    assert len(failed) > 2
    evidence = diagnose(front_end, failed=failed).evidence[0]
    assert "With this put into the reference" in evidence and "tried" not in evidence


THREE: list[dict[str, float | None]] = [
    {"symmetric-window": None, "no-mel-norm": None, "last-frame-kept": None},
    {"symmetric-window": None, "htk-mel": None, "natural-logarithm": None},
    {"last-frame-kept": None, "htk-mel": None, "natural-logarithm": None},
    # One that scales the features hides the others.
    {"magnitude": None, "natural-logarithm": None, "maximum-of-each-frame": None},
    # The first two explain loud clips to the last bit; the third shows in quiet ones alone.
    {"float-as-int16": None, "no-mel-norm": None, "floor": 1.0},
    # Two kinds of pre-emphasis and of zeros are alike but where a clip ends in the last frame.
    {"pre-emphasis": 0.97, "pad-zero": None, "symmetric-window": None},
]


@pytest.mark.slow
@pytest.mark.parametrize("values", by_day(THREE, THREE[:1]))
def test_three_faults_that_hide_each_other_are_named(values: dict[str, float | None]) -> None:
    ids = [*values]
    variations = [CATALOGUE[id].variation(value) for id, value in values.items()]
    front_end = InProcess(inspect_front_end(QuirkyFrontEnd(variations, "three"), "three"))
    found = diagnose(front_end)
    assert {variant.id for variant in found.explanations[0].variants} == {*ids}
    assert sorted(found.fix) == sorted(CATALOGUE[id].fix for id in ids)
    # Each cause is followed by its own fix, and the evidence says what was wrong without a riddle.
    labels = [label for label, _ in findings(found.as_json())]
    assert labels[:6] == 3 * ["Cause", "Fix"]
    quirks = [variant.quirk for variant in found.explanations[0].variants]
    texts = [text for _, text in findings(found.as_json())][:6]
    for quirk, cause, fix in zip(quirks, texts[::2], texts[1::2], strict=True):
        assert cause.startswith(quirk.mechanism) and fix == quirk.fix
    differs = "another number of frames" if "last-frame-kept" in ids else "of the bound, [0-9,]+"
    assert re.search(f"With these put into the reference .*{differs} without", found.evidence[0])
