"""The replacements beside the originals, on real speech."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import whisper
from faster_whisper.feature_extractor import FeatureExtractor
from numpy.typing import NDArray
from whisper.audio import log_mel_spectrogram as openai
from whisper_mel_conformance.peers import leave_out_torchaudio_library
from whisper_mel_golden.signals import render
from whisper_mel_mojo.drop_in import faster_whisper_feature_extractor, log_mel_spectrogram
from whisper_mel_reference import CLASS_A, WHISPER, error_bound, score

pytestmark = pytest.mark.torch

# Where the peers are installed besides, transformers imports torchaudio.
leave_out_torchaudio_library()

from transformers import AutoFeatureExtractor, BatchFeature  # noqa: E402
from transformers import VoxtralRealtimeFeatureExtractor as Realtime  # noqa: E402
from transformers import WhisperFeatureExtractor as Original  # noqa: E402
from transformers.models.whisper import feature_extraction_whisper  # noqa: E402
from whisper_mel_mojo.drop_in.transformers import WhisperFeatureExtractor  # noqa: E402
from whisper_mel_mojo.drop_in.voxtral_realtime import (  # noqa: E402
    VoxtralRealtimeFeatureExtractor,
)

Array = NDArray[Any]
LIMIT = 1800  # seconds: a guard against hanging


def speech(n: int = 48_000) -> Array:
    return render({"signal": "speech", "n": n, "recording": "sense-and-sensibility"})


def assert_alike(ours: Array, theirs: Array, audio: Array, n_mels: int, padding: int) -> None:
    """Ours is of class A, and as near to the original as two of class A may be."""
    audio = np.pad(audio, (0, padding))
    if audio.size < 201:  # the reference does not mirror repeatedly: this has the same first frame
        audio = np.pad(audio, (0, 201 - audio.size), "reflect")
    spec = WHISPER.replace(n_mels=n_mels)
    assert ours.dtype == theirs.dtype == np.float32
    assert ours.shape == theirs.shape
    assert score(ours, audio, spec) <= CLASS_A
    assert (np.abs(ours - theirs) <= 2 * error_bound(audio, spec)).all()


@pytest.mark.parametrize("padding", [0, 160, 480_000])
@pytest.mark.parametrize("n_mels", [80, 128])
def test_openai_whisper(n_mels: int, padding: int) -> None:
    audio = speech()
    theirs = openai(audio, n_mels, padding=padding)
    for given in (audio, torch.from_numpy(audio)):
        ours = log_mel_spectrogram(given, n_mels, padding, device="cpu")
        assert ours.device == theirs.device
        assert_alike(ours.numpy(), theirs.numpy(), audio, n_mels, padding)


def test_openai_whisper_reads_files(monkeypatch: pytest.MonkeyPatch) -> None:
    audio = speech()
    monkeypatch.setattr(whisper.audio, "load_audio", {"speech.flac": audio}.__getitem__)
    assert torch.equal(log_mel_spectrogram("speech.flac"), log_mel_spectrogram(audio))


def test_openai_whisper_batches_have_a_maximum_for_each_clip() -> None:
    batch = np.stack([speech(), 1e-3 * speech()])
    ours = log_mel_spectrogram(torch.from_numpy(batch), padding=160)
    for clip, features in zip(batch, ours, strict=True):
        assert torch.equal(features, log_mel_spectrogram(clip, padding=160))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("padding", [0, 4000])
def test_openai_whisper_has_the_gradient(dtype: torch.dtype, padding: int) -> None:
    """The original's, which is computed in float32, or bfloat16."""
    clips = torch.from_numpy(np.stack([speech(4000), speech(8000)[4000:]])).to(dtype)
    weights = torch.randn(80, (4000 + padding) // 160, generator=torch.Generator().manual_seed(1))
    for audio in (clips[0], -clips[1]):
        gradients = []
        for function in (log_mel_spectrogram, openai):
            leaf = audio.clone().requires_grad_()
            (function(leaf, padding=padding) * weights).sum().backward()
            assert leaf.grad is not None and leaf.grad.dtype == dtype
            gradients.append(leaf.grad.double())
        ours, theirs = gradients
        difference = (ours - theirs).norm() / theirs.norm()
        assert difference <= (1e-3 if dtype == torch.float32 else 2e-2)
    leaf = torch.zeros(2, 0, requires_grad=True)
    log_mel_spectrogram(leaf, padding=480).sum().backward()
    assert leaf.grad is not None and leaf.grad.shape == (2, 0)
    leaf = clips[0].clone().requires_grad_()
    with torch.no_grad():
        assert not log_mel_spectrogram(leaf).requires_grad


@pytest.mark.parametrize("n_mels", [80, 128])
def test_faster_whisper(n_mels: int) -> None:
    audio = speech()
    original = FeatureExtractor(feature_size=n_mels)
    ours = faster_whisper_feature_extractor(feature_size=n_mels)
    assert isinstance(ours, FeatureExtractor)
    assert_alike(ours(audio), original(audio), audio, n_mels, 160)
    for padding in (0, 480_000 - audio.size):
        theirs = original(audio, padding=padding, chunk_length=20)
        assert_alike(ours(audio, padding, chunk_length=20), theirs, audio, n_mels, padding)
    assert (ours.n_samples, ours.nb_max_frames) == (original.n_samples, original.nb_max_frames)
    assert ours.n_samples == 320_000


# --------------------------------------------------------------------- transformers


@pytest.fixture(params=["torch", "numpy"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The two ways of the original."""
    if request.param == "numpy":
        monkeypatch.setattr(feature_extraction_whisper, "is_torch_available", lambda: False)


def both(
    raw_speech: Any, made: dict[str, Any] | None = None, **options: Any
) -> tuple[BatchFeature, BatchFeature]:
    """What ours and the original return, with all the rest but the features compared."""
    options = {"sampling_rate": 16_000, "return_tensors": "np", **options}
    ours = WhisperFeatureExtractor(**made or {})(raw_speech, **options)
    theirs = Original(**made or {})(raw_speech, **options)
    assert list(ours) == list(theirs)
    assert ours.input_features.shape == theirs.input_features.shape
    if "attention_mask" in theirs:
        assert ours.attention_mask.dtype == theirs.attention_mask.dtype
        np.testing.assert_array_equal(ours.attention_mask, theirs.attention_mask)
    return ours, theirs


CLIPS = [speech(n) for n in (48_000, 16_077, 300)]
CALLS: list[dict[str, Any]] = [
    {},
    {"padding": True},
    {"padding": "longest", "pad_to_multiple_of": 1000, "return_attention_mask": True},
    {"max_length": 20_001, "return_attention_mask": True},
    {"max_length": 20_001, "pad_to_multiple_of": 4096, "truncation": True},
    {"max_length": 60_000, "truncation": False},
    {"device": "cpu", "return_attention_mask": False},
    {"return_token_timestamps": True, "max_length": 50_000},  # older versions had it
]


@pytest.mark.parametrize(("n_mels", "options"), [(128, {}), *((80, it) for it in CALLS)], ids=str)
@pytest.mark.usefixtures("path")
def test_transformers(n_mels: int, options: dict[str, Any]) -> None:
    """Padding and truncation, batches and masks."""
    ours, theirs = both(CLIPS, {"feature_size": n_mels, "chunk_length": 5}, **options)
    pad_to = 48_000 if "padding" in options else options.get("max_length", 80_000)
    multiple = options.get("pad_to_multiple_of", 1)
    pad_to = -(-pad_to // multiple) * multiple
    for clip, mine, other in zip(CLIPS, ours.input_features, theirs.input_features, strict=True):
        cut = clip[:pad_to]
        assert_alike(mine, other.astype(np.float32), cut, n_mels, pad_to - cut.size)


@pytest.mark.usefixtures("path")
def test_transformers_takes_all_forms_of_audio() -> None:
    clip = speech(1000)
    exact = both(clip, max_length=2000)[0].input_features
    forms: list[Any] = [
        *(clip.tolist(), tuple(clip), clip.astype(np.float64), torch.from_numpy(clip)),
        *([clip], [clip.tolist()], clip[None], np.repeat(clip, 2)[None, ::2]),
    ]
    for form in forms:
        ours, _ = both(form, max_length=2000)
        np.testing.assert_array_equal(ours.input_features, exact)
    pcm = (clip * 32768).astype(np.int16)  # which the original does not scale
    for form in (pcm, [pcm], pcm[None]):
        ours, theirs = both(form, max_length=2000)
        np.testing.assert_allclose(ours.input_features, theirs.input_features, atol=2e-4)
    silence, _ = both(np.zeros(0, np.float32), {"chunk_length": 1})
    assert (silence.input_features == -1.5).all()
    batch = np.stack([clip, 1e-3 * clip])
    for features, alone in zip(both(batch)[0].input_features, batch, strict=True):
        np.testing.assert_array_equal(features, both(alone)[0].input_features[0])
    for kind in ("pt", None):
        ours, theirs = both(clip, return_tensors=kind)
        assert type(ours.input_features) is type(theirs.input_features)


@pytest.mark.parametrize(
    ("made", "options"),
    [
        ({}, {"do_normalize": True}),
        ({}, {"do_normalize": True, "return_attention_mask": True, "max_length": 9000}),
        ({"return_attention_mask": True}, {"padding": True}),
        ({"return_attention_mask": True}, {"return_attention_mask": False}),
        ({"return_attention_mask": True}, {"do_normalize": False, "return_attention_mask": False}),
        # Not the kernel's padding, but the kernel's features
        ({"padding_side": "left", "return_attention_mask": True}, {}),
        ({"padding_value": 0.25}, {}),
        # The original's
        ({"feature_size": 40}, {}),
        ({"sampling_rate": 8000, "n_fft": 200, "hop_length": 80}, {"sampling_rate": 8000}),
        ({"padding_side": "left", "feature_size": 64}, {}),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")  # its own
@pytest.mark.usefixtures("path")
def test_what_else_transformers_can_be_asked_for(
    made: dict[str, Any], options: dict[str, Any]
) -> None:
    ours, theirs = both(CLIPS[:2], {"chunk_length": 4, **made}, **options)
    np.testing.assert_allclose(ours.input_features, theirs.input_features, atol=2e-4)


@pytest.mark.parametrize("device", [None, "cpu", "cpu:0", torch.device("cpu")], ids=repr)
def test_devices_that_are_the_cpu(device: Any) -> None:
    exact = both(CLIPS[0])[0].input_features
    np.testing.assert_array_equal(both(CLIPS[0], device=device)[0].input_features, exact)
    ours, theirs = (it(CLIPS[0], device=device) for it in (log_mel_spectrogram, openai))
    assert ours.device == theirs.device


def test_dither_is_the_originals() -> None:
    made = {"dither": 1e-3, "chunk_length": 4}
    torch.manual_seed(1)
    ours = WhisperFeatureExtractor(**made)(CLIPS[0], sampling_rate=16_000)
    torch.manual_seed(1)
    theirs = Original(**made)(CLIPS[0], sampling_rate=16_000)
    np.testing.assert_array_equal(ours.input_features, theirs.input_features)


def test_the_originals_methods_are_the_kernels() -> None:
    """Some who derive from the original call them."""
    clip = CLIPS[0]
    expected = log_mel_spectrogram(clip, 80).numpy()
    extractor = WhisperFeatureExtractor()
    np.testing.assert_array_equal(extractor._torch_extract_fbank_features(clip), expected)
    np.testing.assert_array_equal(
        extractor._np_extract_fbank_features(clip[None], "cpu"), expected[None]
    )
    with pytest.raises(ValueError, match="requires torch"):
        extractor._np_extract_fbank_features(clip[None], "cuda")


def test_nothing_is_copied_to_be_padded() -> None:
    clip = speech(400_000)
    extractor = WhisperFeatureExtractor()
    extractor(clip, sampling_rate=16_000)
    tracemalloc.start()
    features = extractor(clip, sampling_rate=16_000).input_features
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    Original()(clip, sampling_rate=16_000)
    _, theirs = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < features.nbytes + 100_000 < clip.nbytes < theirs


def test_saved_loaded_and_pickled(tmp_path: Path) -> None:
    """Also by, and from, the original: what is saved names its class."""
    extractor = WhisperFeatureExtractor(feature_size=128, chunk_length=10)
    extractor.save_pretrained(tmp_path / "ours")
    Original(feature_size=128, chunk_length=10).save_pretrained(tmp_path / "theirs")
    ours, theirs = (tmp_path / name / "preprocessor_config.json" for name in ("ours", "theirs"))
    assert ours.read_text() == theirs.read_text()
    assert type(AutoFeatureExtractor.from_pretrained(tmp_path / "ours")) is Original
    expected = extractor(CLIPS, sampling_rate=16_000).input_features
    for other in (
        WhisperFeatureExtractor.from_pretrained(tmp_path / "theirs"),
        WhisperFeatureExtractor.from_dict(extractor.to_dict()),
        pickle.loads(pickle.dumps(extractor)),
        copy.deepcopy(extractor),
    ):
        assert type(other) is WhisperFeatureExtractor
        assert other.to_dict() == extractor.to_dict()
        actual = other(CLIPS, sampling_rate=16_000).input_features
        np.testing.assert_array_equal(actual, expected)


def test_what_transformers_refuses(caplog: pytest.LogCaptureFixture) -> None:
    extractor = WhisperFeatureExtractor()
    refused: list[tuple[Any, dict[str, Any], str]] = [
        (CLIPS, {"sampling_rate": 8000}, "sampling_rate=8000: expected 16000"),
        (CLIPS, {"padding": False}, "clips of 300, 16077, 48000 samples with padding=False"),
        (CLIPS, {"max_length": 300, "truncation": False}, "clips of 300, 16077, 48000 samples"),
        (CLIPS, {"padding": "half"}, "half is not a valid PaddingStrategy"),
        (CLIPS, {"return_tensors": "tf"}, "tf.? is not a valid TensorType"),
        (speech(200), {"padding": False}, "audio has 200 samples, padding included: exp"),
        ([], {}, "raw_speech is empty: expected at least one clip"),
        (np.zeros((0, 400)), {}, "raw_speech is empty"),
        (np.zeros((1, 2, 400)), {}, r"a clip of shape \(2, 400\): expected \(n,\), mono"),
        ([np.zeros((400, 2))], {}, r"a clip of shape \(400, 2\)"),
    ]
    for wrong, options, message in refused:
        with pytest.raises(ValueError, match=message):
            extractor(wrong, **{"sampling_rate": 16_000, **options})
    logger = feature_extraction_whisper.logger  # which hands nothing on to pytest's
    logger.addHandler(caplog.handler)
    extractor(CLIPS[0])
    logger.removeHandler(caplog.handler)
    assert "sampling_rate is not given" in caplog.text


# --------------------------------------------------------------------- all of them


def test_faster_whisper_can_be_pickled_and_copied() -> None:
    extractor = faster_whisper_feature_extractor(feature_size=128, chunk_length=20)
    expected = extractor(CLIPS[0])
    for other in (pickle.loads(pickle.dumps(extractor)), copy.deepcopy(extractor)):
        assert type(other) is type(extractor)
        assert other.n_samples == 320_000
        np.testing.assert_array_equal(other(CLIPS[0]), expected)


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.nightly)])
def test_in_other_processes(method: str) -> None:
    extractors = [faster_whisper_feature_extractor(), WhisperFeatureExtractor(chunk_length=4)]
    for extractor in extractors:  # before a fork the parent's pool is running
        extractor(np.tile(CLIPS[0], 4))
    with multiprocessing.get_context(method).Pool(1) as pool:
        for extractor in extractors:
            actual = pool.apply_async(extractor, (CLIPS[0],)).get(LIMIT)
            expected = extractor(CLIPS[0])
            if isinstance(actual, BatchFeature):
                actual, expected = actual.input_features, expected.input_features
            np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_goes_through(value: float) -> None:
    batch = np.stack([speech(), speech()])
    batch[1, 1000] = value
    ours = log_mel_spectrogram(batch, padding=160)
    assert ours[1].isnan().all()
    assert torch.equal(ours[0], log_mel_spectrogram(batch[0], padding=160))
    assert np.isnan(faster_whisper_feature_extractor()(batch[1])).all()
    theirs = WhisperFeatureExtractor(chunk_length=4)(batch, sampling_rate=16_000).input_features
    np.testing.assert_array_equal(np.isnan(theirs).all((1, 2)), [False, True])


def by_faster_whisper(padding: int) -> tuple[Callable[[Array], Any], ...]:
    extractors = faster_whisper_feature_extractor(), FeatureExtractor()
    return tuple(partial(extractor, padding=padding) for extractor in extractors)


def by_openai_whisper(padding: int) -> tuple[Callable[[Array], Any], ...]:
    return tuple(partial(function, padding=padding) for function in (log_mel_spectrogram, openai))


def by_transformers(padding: int) -> tuple[Callable[[Array], Any], ...]:
    def of(extractor: Any, clip: Array) -> Array:
        options = {"padding": "max_length", "max_length": clip.size + padding} if padding else {}
        options = {"padding": False, "sampling_rate": 16_000, "return_tensors": "np", **options}
        return extractor(clip, **options).input_features[0]

    return partial(of, WhisperFeatureExtractor()), partial(of, Original())


@pytest.mark.parametrize(
    ("by", "has_torch"),
    [
        *((by_faster_whisper, True), (by_openai_whisper, True)),
        *((by_transformers, True), (by_transformers, False)),
    ],
)
@pytest.mark.parametrize("padding", [0, 1, 160, 2000])
def test_short_clips(
    by: Callable[[int], tuple[Callable[[Array], Any], ...]],
    has_torch: bool,
    padding: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the original has features (from 160 samples on if it is NumPy's, else 201), ours has
    them, and where it raises, ours does.
    """
    monkeypatch.setattr(feature_extraction_whisper, "is_torch_available", lambda: has_torch)
    ours, theirs = by(padding)
    for n in (0, 1, 2, 40, 41, 159, 160, 161, 199, 200, 201, 320):
        clip = speech(2000)[2000 - n :]
        try:
            expected = theirs(clip)
        except (RuntimeError, ValueError, IndexError):
            with pytest.raises(ValueError, match=f"audio has {n + padding} samples, padding incl"):
                ours(clip)
        else:
            expected = np.asarray(expected, np.float32)
            assert_alike(np.asarray(ours(clip)), expected, clip, 80, padding)


def test_errors() -> None:
    with pytest.raises(ValueError, match="n_mels=81: expected 80 or 128"):
        log_mel_spectrogram(speech(), 81)
    for padding, error in ((-1, ValueError), (2.0, TypeError)):
        with pytest.raises(error, match=f"padding={padding}: expected a"):
            faster_whisper_feature_extractor()(speech(), padding)
    for wrong in ({"feature_size": 64}, {"hop_length": 320}, {"sampling_rate": 8000}):
        with pytest.raises(ValueError, match=r"expected \(16000, 160, 400\) and 80 or 128"):
            faster_whisper_feature_extractor(**wrong)


# --------------------------------------------------------------------- Voxtral Realtime


def realtime(
    raw_speech: Any, made: dict[str, Any] | None = None, **options: Any
) -> tuple[BatchFeature, BatchFeature]:
    """What ours and the original return."""
    options = {"sampling_rate": 16_000, "return_attention_mask": True, **options}
    ours, theirs = (
        extractor(**made or {})(raw_speech, **options)
        for extractor in (VoxtralRealtimeFeatureExtractor, Realtime)
    )
    assert list(ours) == list(theirs)
    assert ours.input_features.dtype == theirs.input_features.dtype == torch.float32
    assert ours.input_features.shape == theirs.input_features.shape
    assert torch.equal(ours.attention_mask, theirs.attention_mask)
    return ours, theirs


@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("n", [560, 719, 720, 16_077])
@pytest.mark.parametrize("maximum", [1.5, -0.5])
def test_voxtral_realtime(centre: bool, n: int, maximum: float) -> None:
    """Clips above and below the fixed maximum, of two lengths, with their masks."""
    clips = [30 * speech(n), 1e-2 * speech(n)[: n - 100]]
    ours, theirs = realtime(clips, {"global_log_mel_max": maximum}, center=centre)
    spec = WHISPER.replace(n_mels=128, maximum=maximum, centre=centre)
    for clip, mine, other in zip(clips, ours.input_features, theirs.input_features, strict=True):
        audio = np.pad(clip, (0, n - len(clip)))
        assert score(mine.numpy(), audio, spec) <= CLASS_A
        assert ((mine - other).abs().numpy() <= 2 * error_bound(audio, spec)).all()


def test_voxtral_realtime_in_pieces() -> None:
    """As its processor cuts a stream: the pieces' frames are those of the whole."""
    audio = speech(16_000)
    extractor = VoxtralRealtimeFeatureExtractor()
    first, step = 160 * 20 + 200, 160 * 8
    pieces = [extractor(audio[:first], sampling_rate=16_000, center=True).input_features[..., :20]]
    for begin in range(160 * 20 - 200, len(audio) - step - 400, step):
        piece = audio[begin : begin + step + 400]
        pieces.append(extractor(piece, sampling_rate=16_000, center=False).input_features)
    joined = torch.cat(pieces, dim=-1)
    whole = extractor(audio, sampling_rate=16_000).input_features
    assert joined.shape[-1] > 80
    assert torch.equal(joined, whole[..., : joined.shape[-1]])


@pytest.mark.parametrize(
    "made",
    [{"global_log_mel_max": None}, {"n_fft": 512}, {"hop_length": 100}, {"feature_size": 64}],
)
def test_what_voxtral_realtime_does_not_use_is_left_to_the_original(made: dict[str, Any]) -> None:
    ours, theirs = realtime(speech(2000), made)
    assert torch.equal(ours.input_features, theirs.input_features)


def test_voxtral_realtimes_short_and_damaged_clips() -> None:
    for n, centre in ((200, True), (399, False)):
        for extractor in (VoxtralRealtimeFeatureExtractor(), Realtime()):
            with pytest.raises(RuntimeError):
                extractor(speech(n), sampling_rate=16_000, center=centre)
    assert realtime(speech(401), center=False)[0].input_features.shape == (1, 128, 0)
    damaged = speech(2000).copy()
    damaged[3] = np.nan
    features = realtime([speech(2000), damaged])[0].input_features
    assert features[1].isnan().all()
    assert torch.equal(features[0], realtime(speech(2000))[0].input_features[0])


def test_voxtral_realtime_replaces_a_processors() -> None:
    made = Realtime(feature_size=80, global_log_mel_max=1.25).to_dict()
    ours = VoxtralRealtimeFeatureExtractor.from_dict(made)
    assert (ours.feature_size, ours.global_log_mel_max) == (80, 1.25)
    again = pickle.loads(pickle.dumps(ours))
    features = [one(speech(2000), sampling_rate=16_000).input_features for one in (ours, again)]
    assert features[0].shape == (1, 80, 12)
    assert torch.equal(*features)
