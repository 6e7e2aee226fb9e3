"""Makes the features of a corpus and keeps them valid: ``whisper-mel featurize SOURCE… -o FOLDER``.

Without the package whisper-mel-conformance it is ``python -m whisper_mel_mojo.featurize``. A SOURCE
is an audio file, a Parquet file with a column ``audio``, or a folder that is searched for both.
docs/corpus.md describes the output.

The exit status is 0 if there are features (with --verify: if all is valid), 1 if not, 2 if the run
could not begin or continue, and 130 if Ctrl-C ended it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from whisper_mel_mojo.audio_file import SAMPLE_RATE
from whisper_mel_mojo.corpus.files import CorpusError
from whisper_mel_mojo.decoders import shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        from whisper_mel_mojo.corpus.run import run
    except ImportError as error:
        return _ended(f'{error}: pip install "whisper-mel-mojo[corpus]"')
    try:
        return run(options)
    except CorpusError as error:
        return _ended(str(error))
    except OSError as error:
        where = f"{shown(error.filename)}: " if error.filename else ""
        return _ended(f"cannot go on: {where}{error.strerror or error}")
    except KeyboardInterrupt:
        _ended("interrupted; the same command continues")
        return 130


def _ended(reason: str) -> int:
    print(f"featurize: {reason}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="whisper-mel featurize",
        description="Make the features of a corpus, on all CPUs of a machine or of a Ray cluster "
        "($RAY_ADDRESS). The same command continues a run that was ended, and brings an output "
        "up to date with its sources.",
        epilog="What is not given is as before, where the output has been begun.",
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="file or folder")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", type=Path)
    parser.add_argument("--n-mels", type=int, choices=(80, 128), help="bands (default: 80)")
    parser.add_argument(
        "--window",
        type=_samples,
        metavar="SECONDS",
        help="shorter clips are padded to this, longer ones become several windows; 0: clips stay "
        "as long as they are (default: 30)",
    )
    parser.add_argument(
        "--overlap", type=_samples, metavar="SECONDS", help="of windows of one clip (default: 0)"
    )
    parser.add_argument(
        "--channel", type=_from(0), metavar="N", help="only this (default: their mean)"
    )
    parser.add_argument("--dtype", choices=("float32", "float16"), help="(default: float32)")
    parser.add_argument(
        "--format", choices=("parquet", "tar"), help="Parquet, or WebDataset's (default: parquet)"
    )
    parser.add_argument(
        "--columns",
        type=lambda text: sorted({name for name in text.split(",") if name}),
        metavar="NAME,...",
        help="columns of Parquet files to carry along, '' for none (default: all but audio)",
    )
    parser.add_argument(
        "--shard", type=_from(1), default=64, metavar="CLIPS", help="in one file (default: 64)"
    )
    parser.add_argument("--cpus", type=_from(1), metavar="N", help="of this machine (default: all)")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="only compare all files with their hashes, and say what is not valid",
    )
    parser.add_argument(
        "--rehash",
        action="store_true",
        help="compare all files with their hashes, not only where size or time has changed",
    )
    parser.add_argument("--retry", action="store_true", help="try clips again that were skipped")
    parser.add_argument(
        "--stats", action="store_true", help="print clips a second, shares of time, bytes a clip"
    )
    return parser


def _samples(text: str) -> int:
    """Return seconds as samples at 16 kHz."""
    try:
        samples = Decimal(text) * SAMPLE_RATE  # exact, where 2.01 s in binary are no whole number
        if 0 <= samples < 2**31 and samples % 1 == 0:
            return int(samples)
    except InvalidOperation:
        pass  # it is no number
    raise argparse.ArgumentTypeError(
        f"{text}: expected seconds, from 0, that are a whole number of samples at 16 kHz"
    )


def _from(least: int) -> Callable[[str], int]:
    """Return what reads an integer of at least ``least``."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text}: expected an integer from {least}")
        return int(text)

    return read


if __name__ == "__main__":
    sys.exit(main())
