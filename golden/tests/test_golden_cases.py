"""The goldens as they are: enough of them, of what matters, each as good as float32 can be."""

from __future__ import annotations

import numpy as np
import pytest
from whisper_mel_golden import golden_cases, load_manifest
from whisper_mel_golden.inputs import (
    FLAGS,
    INPUTS,
    case_variants,
    lengths,
    noise,
    speech,
    tonal,
    transients,
)
from whisper_mel_golden.store import DATA
from whisper_mel_reference import WHISPER, FrontEndSpec, stages

CASES = golden_cases()


def test_each_input_has_an_id_of_its_own() -> None:
    tables = (lengths, noise, speech, tonal, transients)
    ids = [entry.id for table in tables for entry in table.INPUTS]
    assert sorted(ids) == sorted(INPUTS)


def test_enough_inputs_for_both_filterbanks() -> None:
    ids = {n: {c.input_id for c in CASES if c.n_mels == n} for n in (80, 128)}
    assert ids[80] == ids[128] == INPUTS.keys()
    assert len(INPUTS) >= 60
    assert len({case.id for case in CASES}) == len(CASES)


def test_small_enough() -> None:
    assert sum(path.stat().st_size for path in DATA.rglob("*") if path.is_file()) < 15e6


def test_what_the_flags_say_of_the_signal_is_true() -> None:
    for entry in INPUTS.values():
        audio = CASES[[c.input_id for c in CASES].index(entry.id)].audio()
        is_loud = audio.dtype == np.float32 and np.abs(audio).max() > 1
        assert is_loud == ("above-one" in entry.flags), entry.id
        if not {"floor", "clamped", "constant"} & {*entry.flags}:
            continue
        seen = set()
        for _, n_mels, (pad_to, _) in case_variants(entry):
            log = stages(audio, FrontEndSpec(n_mels=n_mels, pad_to=pad_to))["log"]
            seen |= {"floor"} if (log == -10).any() else set()
            seen |= {"clamped"} if (log < log.max() - WHISPER.dynamic_range).any() else set()
            seen |= {"constant"} if np.ptp(log) == 0 else set()
        assert {"floor", "clamped", "constant"} & {*entry.flags} <= seen, entry.id


def test_every_flag_is_used() -> None:
    assert {flag for case in CASES for flag in case.flags} == FLAGS.keys()


def test_case_of_a_manifest_entry() -> None:
    case = next(c for c in CASES if c.id == "golden/reading/128-pad480000-same")
    assert case.spec == WHISPER.replace(n_mels=128, pad_to=480_000, smoothing="same")
    assert case.shape == (128, 3000)
    assert load_manifest()["inputs"]["reading"]["recipe"] == case.recipe
    assert "human" in case.flags


def test_audio_that_is_not_the_goldens_is_refused() -> None:
    case = CASES[0]
    changed = type(case)(**{**vars(case), "recipe": {**case.recipe, "start": 1}})
    with pytest.raises(ValueError, match=f"input {case.input_id} has sha256"):
        changed.audio()
