"""Recipes give the same samples everywhere, for any length, and say what is wrong with them."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from whisper_mel_golden.signals import GENERATORS, HOP, render
from whisper_mel_golden.speech import SPEECH, load_recording, read_wav, recordings
from whisper_mel_reference import FrontEndSpec, stages

READING = "sense-and-sensibility"


def _recipe(signal: str, n: int, **parameters: Any) -> dict[str, Any]:
    if signal == "speech":
        parameters.setdefault("recording", READING)
    return {"signal": signal, "n": n, **parameters}


@pytest.mark.parametrize("signal", GENERATORS)
@pytest.mark.parametrize("n", [1, 2, 159, 1000, 16080])
def test_any_length_any_dtype(signal: str, n: int) -> None:
    samples = render(_recipe(signal, n))
    assert samples.dtype == np.float32
    assert samples.shape == (n,)
    assert np.abs(samples).max() < 4
    pcm = render(_recipe(signal, n, dtype="int16"))
    assert pcm.dtype == np.int16
    expected = np.clip(np.rint(32768 * samples.astype(np.float64)), -32768, 32767)
    assert np.abs(pcm - expected).max() <= 1  # samples are rounded to float32, PCM is not


@pytest.mark.parametrize("signal", GENERATORS)
def test_a_recipe_survives_json_and_repeats(signal: str) -> None:
    recipe = _recipe(signal, 4321, gain=0.1)
    again = json.loads(json.dumps(recipe))
    assert np.array_equal(render(recipe), render(again))


def test_no_samples() -> None:
    generators = set(GENERATORS) - {"click"}  # a click needs a place
    assert all(render(_recipe(signal, 0)).shape == (0,) for signal in generators)


# A change here is a change of every golden made from the generator.
DIGESTS = {
    "noise": "70f1b3480732e8f2",
    "noise_ramp": "0390ec8ca87ab82c",
    "chirp": "096c74c5535b5c69",
    "corner": "19786aff95429e4c",
}


@pytest.mark.parametrize("signal", DIGESTS)
def test_bits_never_change(signal: str) -> None:
    samples = render(_recipe(signal, 50_000, gain=0.3))
    assert hashlib.sha256(samples.astype("<f4").tobytes()).hexdigest()[:16] == DIGESTS[signal]


def test_seeds_differ() -> None:
    seeded = [name for name, f in GENERATORS.items() if "seed" in inspect.signature(f).parameters]
    assert len(seeded) >= 8
    for signal in seeded:
        a, b = (render(_recipe(signal, 500, seed=seed)) for seed in (1, 2))
        assert not np.array_equal(a, b), signal


def test_sines_and_levels_are_as_good_as_the_libraries() -> None:
    tone = GENERATORS["tone"](16000, frequency=437.5, phase=0.3)
    expected = [math.cos(2 * math.pi * ((437.5 * t % 16000) / 16000 + 0.3)) for t in range(16000)]
    assert np.abs(tone - expected).max() < 2e-13  # the phase itself is rounded
    ramp = GENERATORS["noise_ramp"](1000, seed=3, start_db=-120.0, stop_db=20.0)
    expected_ramp = GENERATORS["noise"](1000, seed=3) * 10 ** (np.linspace(-120, 20, 1000) / 20)
    assert np.allclose(ramp, expected_ramp, rtol=1e-13, atol=0)


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_noise_is_white_and_of_its_level(distribution: str) -> None:
    samples = GENERATORS["noise"](200_000, seed=5, distribution=distribution)
    deviation = {"uniform": 1 / math.sqrt(3), "normal": 1.0}[distribution]
    assert abs(samples.std() / deviation - 1) < 0.01
    assert abs(samples.mean()) < 0.01
    correlation = np.corrcoef(samples[:-1], samples[1:])[0, 1]
    assert abs(correlation) < 0.01


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("band", ["lowest", "highest"])
@pytest.mark.parametrize("frame", ["first", "last"])
@pytest.mark.parametrize("n", [201, 320, 10_240, 10_399])
def test_corner_has_its_maximum_there(n: int, frame: str, band: str, n_mels: int) -> None:
    audio = render(_recipe("corner", n, frame=frame, band=band))
    log = stages(audio, FrontEndSpec(n_mels=n_mels))["log"]
    row, column = np.unravel_index(np.argmax(log), log.shape)
    assert column == (0 if frame == "first" else log.shape[1] - 1)
    if band == "lowest":
        assert row == (0 if n_mels == 80 else 1)
    else:
        assert row >= n_mels - 3


def test_loud_tail_is_heard_best_by_the_dropped_frame() -> None:
    n = 100 * HOP + 80
    audio = render(_recipe("loud_tail", n))
    kept = stages(audio)["log"]
    everything = stages(audio, FrontEndSpec(drop_last_frame=False))["log"]
    assert everything.max() > kept.max() + 0.05
    assert np.argmax(kept.max(axis=0)) == kept.shape[1] - 1


def test_speech_begins_anew_where_it_ends() -> None:
    pcm = load_recording(READING)
    twice = render(_recipe("speech", 2 * pcm.size - 7, start=7, dtype="int16"))
    assert np.array_equal(twice, np.concatenate([pcm, pcm])[7:])
    assert READING in recordings()


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [(0, b"X", "is damaged"), (22, b"\x02", r"has \(2, 2, 16000\)"), (None, b"", "is damaged")],
)
def test_a_damaged_recording_is_named(
    position: int | None, value: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "cards.wav"
    content = bytearray((SPEECH / path.name).read_bytes())
    if position is None:
        content.clear()
    else:
        content[position : position + 1] = value
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"cards.wav {message}"):
        read_wav(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"signal": "nose"}, "signal='nose': expected one of silence"),
        ({"n": None}, "n=None: expected an integer"),
        ({"n": -1}, "n=-1: expected at least 0"),
        ({"gain": "loud"}, "gain='loud': expected a number"),
        ({"gain": math.nan}, "gain=nan: expected a finite number"),
        ({"gain": 1e39}, "too large for float32"),
        ({"dtype": "float16"}, "dtype='float16': expected float32 or int16"),
        ({"colour": "pink"}, r"colour='pink': noise takes \['seed', 'distribution'\]"),
        ({"seed": True}, "seed=True: expected an integer"),
        ({"seed": -1}, "seed=-1: expected at least 0"),
        ({"distribution": "pink"}, "distribution='pink': expected uniform or normal"),
        ({"signal": "tone", "frequency": 8001}, "frequency=8001: expected 0 to 8000 Hz"),
        ({"signal": "click", "at": 100}, "at=100: expected from -100 to 99"),
        ({"signal": "corner", "frame": "top"}, "frame='top': expected first or last"),
        ({"signal": "corner", "band": 3}, "band=3: expected lowest or highest"),
        ({"signal": "on_off", "quiet_db": 1001}, "quiet_db=1001: expected -1000 to 1000 dB"),
        ({"signal": "speech", "recording": "nobody"}, "recording='nobody': expected one of"),
    ],
)
def test_a_wrong_recipe_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        render({"signal": "noise", "n": 100, **change})
