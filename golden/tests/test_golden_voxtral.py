"""The goldens of Voxtral Realtime's extractor: sealed, right, and made by what they name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from whisper_mel_golden import verify, voxtral
from whisper_mel_golden.manifest import FILE
from whisper_mel_reference import CLASS_A, CLASS_B, WHISPER, compare

CASES = voxtral.cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_golden_is_the_specifications(case: voxtral.GoldenCase) -> None:
    assert case.spec == WHISPER.replace(n_mels=128, maximum=1.5)
    found = compare(case.expected(), case.audio(), case.spec)
    assert found.score <= CLASS_A
    assert abs(found.score - case.score) < 1e-4


def test_some_show_that_the_maximum_is_fixed() -> None:
    plain = WHISPER.replace(n_mels=128)
    wrong = [compare(case.expected(), case.audio(), plain).score > CLASS_B for case in CASES]
    assert sum(wrong) >= 3


@pytest.mark.torch
def test_the_extractor_computes_them_today() -> None:
    for case in CASES:
        fresh = voxtral.voxtral_features(case.audio())
        assert compare(fresh, case.audio(), case.spec).score <= CLASS_A, case.id


def test_what_is_wrong_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(verify._check_voxtral()) == []
    folder = tmp_path / "voxtral"
    shutil.copytree(voxtral.FOLDER, folder)
    monkeypatch.setattr(voxtral, "FOLDER", folder)
    monkeypatch.setattr(voxtral, "cases", lambda: voxtral.golden_cases(folder))
    manifest = json.loads((folder / FILE).read_text())
    manifest["cases"][CASES[0].id]["score"] = 0.1
    (folder / FILE).write_text(json.dumps(manifest))
    damaged = folder / "features" / "voxtral-silence" / "128.f32.xz"
    damaged.write_bytes(damaged.read_bytes()[:-8])
    missing = folder / "features" / "voxtral-noise-ramp" / "128.f32.xz"
    missing.unlink()
    found = {where: what for where, what in verify._check_voxtral() if where.startswith("golden")}
    assert "score is 0.1" in found[CASES[0].id]
    assert "damaged" in found["golden/voxtral-silence/128"]
    assert "noise-ramp" in found["golden/voxtral-noise-ramp/128"]
    assert {where for where, what in verify._check_voxtral() if "seal" in what} == {
        FILE,
        CASES[0].id,
    }
    assert np.isfinite(CASES[1].expected()).all()
