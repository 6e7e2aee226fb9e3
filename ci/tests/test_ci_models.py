"""The models that hear Whisper's features: the table, and transformers' own extractors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from calibration import extractors
from calibration.extractors import EXTRACTORS, Model, features_of, score_of
from checkout.paths import ROOT
from whisper_mel_golden.signals import render
from whisper_mel_reference import CLASS_A, CLASS_B, MODELS, WHISPER, score

RECORD = extractors.read()
CLIP = render({"signal": "noise_ramp", "n": 16_077, "seed": 3})


def test_the_record_has_every_model() -> None:
    assert [model.name for model in EXTRACTORS] == [*RECORD["scores"]] == [*MODELS]
    assert all(0 < score <= CLASS_A for score in RECORD["scores"].values())


@pytest.mark.torch
@pytest.mark.parametrize("model", EXTRACTORS, ids=lambda model: model.name)
def test_a_models_extractor_computes_what_its_specification_says(model: Model) -> None:
    assert 0 < score_of(model, CLIP) <= CLASS_A


@pytest.mark.torch
def test_another_specification_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = next(model for model in EXTRACTORS if model.name == "voxtral-realtime")
    features = features_of(model, CLIP)
    assert score(features, CLIP, WHISPER.replace(n_mels=128)) > CLASS_B
    assert score(features, CLIP, WHISPER.replace(n_mels=128, maximum=1.4)) > CLASS_B
    monkeypatch.setitem(MODELS, "voxtral-realtime", WHISPER.replace(n_mels=128, pad_to=16_000))
    with pytest.raises(ValueError, match=r"16077 samples: expected at most"):
        score_of(model, CLIP)
    monkeypatch.setitem(MODELS, "voxtral-realtime", MODELS["qwen3-asr"])
    assert score_of(model, CLIP) > CLASS_B


@pytest.mark.torch
def test_every_extractor_of_mel_features_is_in_the_page() -> None:
    """Those of transformers' modules that speak of mel bands, by the beginnings of their names."""
    import transformers

    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+?)(?:…|(?:Audio)?FeatureExtractor)`", page))
    modules = (Path(transformers.__file__).parent / "models").glob("*/feature_extraction_*.py")
    found = {
        name
        for path in modules
        if "mel_" in (text := path.read_text(encoding="utf-8")) or "melscale" in text.lower()
        for name in re.findall(r"^class (\w+)FeatureExtractor\(", text, re.MULTILINE)
    }
    assert len(found) > 15
    missing = [name for name in found if not any(name.startswith(known) for known in named)]
    assert missing == []
