"""The synthetic voices among the recordings: espeak-ng, resampled to 16 kHz."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import WHISPER

ESPEAK = "1.51"
"""The espeak-ng version that rendered the committed recordings."""


class Voice(NamedTuple):
    espeak: str
    """espeak-ng's name of the voice, with its variant."""
    pitch: int
    """The voice's pitch, 0 to 99."""
    text: str


VOICES = {
    "voice-english": Voice("en-us", 40, "Every frame hears four hundred samples and forgets them."),
    "voice-scottish": Voice(
        "en-gb-scotland+f4", 65, "The last frame was dropped, and nobody wept."
    ),
    "voice-german": Voice("de+m3", 30, "Zwischen zwei Fenstern ist es leise, aber niemals still."),
    "voice-french": Voice("fr-fr+f2", 70, "Une oreille attentive entend aussi ce qui se tait."),
    "voice-hindi": Voice("hi", 50, "हर आवाज़ की अपनी एक लहर होती है।"),
    "voice-mandarin": Voice("cmn+f5", 55, "窗户开着声音就进来了。"),
}


def espeak_version() -> str | None:
    """Return what ``espeak-ng --version`` prints, or None where it is not installed."""
    if shutil.which("espeak-ng") is None:
        return None
    shown = subprocess.run(["espeak-ng", "--version"], capture_output=True, text=True, check=True)
    return shown.stdout.split("Data at")[0].strip()


def speak(voice: Voice) -> NDArray[np.int16]:
    """Render a voice as PCM at 16 kHz, int16 of shape ``(n,)``; needs espeak-ng."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "voice.wav"
        command = ["espeak-ng", "-v", voice.espeak, "-p", str(voice.pitch), "-w", str(path)]
        subprocess.run([*command, voice.text], check=True)
        with wave.open(str(path)) as file:
            rate = file.getframerate()
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    resampled = np.rint(resample(samples.astype(np.float64), rate, WHISPER.sample_rate))
    return np.clip(resampled, -32768, 32767).astype(np.int16)


def resample(
    samples: NDArray[np.float64], rate: int, new_rate: int, reach: int = 32
) -> NDArray[np.float64]:
    """Resample by band-limited interpolation: a sinc below 95 % of the lower Nyquist frequency.

    A Kaiser window (beta 9) ends it after ``reach`` of its zero crossings.
    """
    cutoff = 0.95 * min(1.0, new_rate / rate)
    half = int(np.ceil(reach / cutoff))
    places = np.arange(samples.size * new_rate // rate) * (rate / new_rate)
    taps = np.arange(1 - half, half + 1) + np.floor(places).astype(np.int64)[:, np.newaxis]
    distance = taps - places[:, np.newaxis]
    kaiser = np.i0(9.0 * np.sqrt(np.clip(1 - (distance / half) ** 2, 0, None))) / np.i0(9.0)
    inside = (taps >= 0) & (taps < samples.size)
    heard = np.where(inside, samples[np.clip(taps, 0, samples.size - 1)], 0.0)
    result: NDArray[np.float64] = np.sum(
        heard * cutoff * np.sinc(cutoff * distance) * kaiser, axis=1
    )
    return result
