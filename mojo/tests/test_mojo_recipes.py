"""The recipes of docs/using.md for hosts that have no drop-in of their own."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tiny_en
import torch
import whisper
from programs import ran
from whisper_mel_conformance.peers import leave_out_torchaudio_library
from whisper_mel_golden.speech import load_recording
from whisper_mel_mojo import log_mel
from whisper_mel_mojo.drop_in import log_mel_spectrogram

# Where the peers are installed besides, transformers imports torchaudio.
leave_out_torchaudio_library()

import transformers  # noqa: E402  its classes are imported when they are used: for seconds
from whisper_mel_mojo.drop_in.transformers import WhisperFeatureExtractor, register  # noqa: E402

pytestmark = pytest.mark.torch

Original = transformers.WhisperFeatureExtractor
CLIP = load_recording("cards").astype(np.float32) / np.float32(32768)


# --------------------------------------------------------------------- whatever loads by name

by_name = pytest.mark.xdist_group("transformers")  # importing its models takes seconds


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's configuration, extractor and tokenizer, as transformers saves them."""
    transformers.WhisperConfig().save_pretrained(tmp_path)
    tokenizer = transformers.WhisperTokenizerFast(
        tokenizer_file=str(tiny_en.MODEL / "tokenizer.json"), pad_token="<|endoftext|>"
    )
    transformers.WhisperProcessor(Original(), tokenizer).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """After ``register()``; afterwards transformers is as it was."""
    for name in ("transformers", "transformers.models.whisper"):
        monkeypatch.setattr(import_module(name), "WhisperFeatureExtractor", Original)
    register()


def loaded(folder: Path) -> list[Any]:
    """The extractors that others get from a folder."""
    processors = transformers.AutoProcessor, transformers.WhisperProcessor
    return [
        transformers.AutoFeatureExtractor.from_pretrained(folder),
        *(it.from_pretrained(folder).feature_extractor for it in processors),
    ]


@by_name
def test_without_register_others_load_the_original(folder: Path) -> None:
    assert {type(it) for it in loaded(folder)} == {Original}


@by_name
@pytest.mark.usefixtures("registered")
def test_register_makes_others_load_ours(folder: Path, tmp_path: Path) -> None:
    for extractor in loaded(folder):
        assert type(extractor) is WhisperFeatureExtractor
        assert isinstance(extractor, Original)
    assert import_module("transformers").WhisperFeatureExtractor is WhisperFeatureExtractor
    extractor.save_pretrained(tmp_path / "saved")
    again = transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "saved")
    assert type(again) is WhisperFeatureExtractor


@by_name
@pytest.mark.usefixtures("registered")
def test_servers_get_the_kernels_features(folder: Path) -> None:
    """vLLM and SGLang call the processor that AutoProcessor loads; these are their calls of it."""
    processor = transformers.AutoProcessor.from_pretrained(folder)
    expected = log_mel(CLIP, 80, pad_to=480_000)
    text = "<|startoftranscript|>"
    for made in (
        processor(text=text, audio=[CLIP], sampling_rate=16_000, return_tensors="pt"),
        processor(text=[text], audio=[CLIP], padding=True, return_tensors="pt"),
    ):
        features = made["input_features"]
        assert tuple(features.shape)[:2] == (1, 80)
        frames = min(features.shape[-1], CLIP.size // 160 - 2)
        np.testing.assert_array_equal(features[0, :, :frames].numpy(), expected[:, :frames])
        assert "labels" in made


# --------------------------------------------------------------------- whatever calls whisper's


def test_whisper_timestamped_gets_the_kernels_features(monkeypatch: pytest.MonkeyPatch) -> None:
    """It calls ``whisper.log_mel_spectrogram(sub_audio, n_mels)``, and whisper's transcribe."""
    for name in ("whisper", "whisper.transcribe"):
        monkeypatch.setattr(import_module(name), "log_mel_spectrogram", log_mel_spectrogram)
    features = whisper.log_mel_spectrogram(CLIP, 80).to("cpu")
    np.testing.assert_array_equal(features.numpy(), log_mel(CLIP, 80))


def test_whisperx_gets_what_its_own_function_returns() -> None:
    """Its pipeline calls it so; its function is openai-whisper's, with ``n_mels`` required."""
    padding = 480_000 - CLIP.shape[0]
    ours = log_mel_spectrogram(CLIP, n_mels=80, padding=padding)
    theirs = whisper.log_mel_spectrogram(CLIP, n_mels=80, padding=padding)
    assert (ours.shape, ours.dtype, ours.device) == (theirs.shape, theirs.dtype, theirs.device)
    assert float((ours - theirs).abs().max()) < 1e-4


# --------------------------------------------------------------------- lhotse


def test_lhotse_stores_the_kernels_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the extractor of examples/lhotse_features.py, from recordings to storage and back."""
    pytest.importorskip("lhotse", reason="lhotse is in the layer peers only")
    from lhotse import CutSet, Recording

    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    example: Any = import_module("lhotse_features")
    clips = [CLIP, CLIP[:16_079], CLIP[:16_080]]  # the last has a frame more, by lhotse's count
    cuts = []
    for number, clip in enumerate(clips):
        soundfile.write(tmp_path / f"{number}.wav", clip, 16_000, subtype="FLOAT")
        cuts.append(Recording.from_file(tmp_path / f"{number}.wav").to_cut())
    stored = CutSet.from_cuts(cuts).compute_and_store_features(
        example.MelExtractor(example.MelConfig(n_mels=128)), tmp_path / "features", num_jobs=1
    )
    for cut, clip in zip(stored, clips, strict=True):
        features, expected = cut.load_features(), log_mel(clip, 128).T
        assert features.shape == (cut.num_frames, cut.num_features)
        # lhotse stores what it has rounded, to a hundredth or so
        np.testing.assert_allclose(features[: len(expected)], expected, atol=0.02)
        assert len(features) - len(expected) == (clip.size == 16_080)
        extractor = example.MelExtractor(example.MelConfig(n_mels=128))
        np.testing.assert_array_equal(extractor.extract(clip[None], 16_000)[-1], expected[-1])


# --------------------------------------------------------------------- MAX's encoder


RUN = """
import runpy, sys
from whisper_mel_conformance.peers import leave_out_torchaudio_library
leave_out_torchaudio_library()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.nightly
@pytest.mark.xdist_group("max")
def test_maxs_encoder_hears_by_the_kernel(tmp_path: Path) -> None:
    """examples/max_encoder.py does what transformers does, on a small Whisper of random weights."""
    small = {"d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 2}
    small |= {"encoder_ffn_dim": 128, "decoder_layers": 1, "decoder_ffn_dim": 64}
    small |= {"decoder_attention_heads": 2}
    torch.manual_seed(1)
    model = transformers.WhisperModel(transformers.WhisperConfig(**small)).eval()
    model.save_pretrained(tmp_path / "model")
    soundfile.write(tmp_path / "cards.wav", CLIP, 16_000, subtype="FLOAT")
    program = Path(__file__).parents[2] / "examples" / "max_encoder.py"
    words = [tmp_path / "model", tmp_path / "cards.wav", tmp_path / "states.npy"]
    done = ran([sys.executable, "-c", RUN, program, *words])
    assert done.returncode == 0, done.stderr
    states = np.load(tmp_path / "states.npy")
    features = whisper.log_mel_spectrogram(CLIP, padding=480_000 - CLIP.size)
    with torch.no_grad():
        expected = model.encoder(features[None]).last_hidden_state.numpy()
    assert states.shape == expected.shape == (1, 1500, 64)
    assert expected.std() > 0.5
    np.testing.assert_allclose(states, expected, atol=1e-3)
