"""Make, verify and list goldens: ``python -m whisper_mel_golden make|verify|list|…``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from whisper_mel_golden import vectors, voxtral
from whisper_mel_golden.cases import golden_cases
from whisper_mel_golden.make import make
from whisper_mel_golden.verify import verify


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="whisper-mel-golden", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make", help="make the goldens with openai-whisper")
    making.add_argument("input", nargs="*", help="only those of these inputs (default: all)")
    commands.add_parser("voxtral", help="make those of Voxtral Realtime with transformers")
    commands.add_parser("verify", help="check every golden, name everything that is wrong")
    commands.add_parser("list", help="list the goldens: id, score, flags, purpose")
    packing = commands.add_parser(
        "vectors", help="pack inputs, features and bounds for C and others"
    )
    packing.add_argument(
        "folder", type=Path, help="where to put the archives whisper-mel-vectors-VERSION….tar.gz"
    )
    options = parser.parse_args(arguments)
    if options.command == "verify":
        return _verify()
    if options.command == "vectors":
        print(*vectors.pack_all(options.folder), sep="\n")
        return 0
    if options.command == "list":
        for case in (*golden_cases(), *voxtral.cases()):
            print(f"{case.id}  {case.score:.3f}  [{' '.join(case.flags)}]  {case.purpose}")
        return 0
    try:
        voxtral.make() if options.command == "voxtral" else make(options.input)
    except (RuntimeError, ValueError) as error:
        print(f"make: {error}", file=sys.stderr)
        return 1
    return 0


def _verify() -> int:
    try:
        problems = verify()
    except ImportError as error:
        print(f"verify: {error}: install whisper-mel-golden[verify]", file=sys.stderr)
        return 1
    for where, what in problems:
        print(f"{where}: {what}")
    print(f"{len(problems)} problems" if problems else "all goldens are in order")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
