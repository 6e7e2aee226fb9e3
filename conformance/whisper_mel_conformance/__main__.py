"""``python -m whisper_mel_conformance``: judge front-ends, print the table, write the report.

Exit status: 0 if every front-end reaches what is required of it and declared divergences are all
there is; 1 if not; 2 for wrong usage; 130 or 143 if SIGINT or SIGTERM ended the run early.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import pytest

import whisper_mel_conformance.quiet_blas  # noqa: F401  before anything imports NumPy
from whisper_mel_conformance import plugin
from whisper_mel_conformance.rendering import BENCHMARK, MUTANTS
from whisper_mel_conformance.rendering import main as report
from whisper_mel_conformance.repro import main as repro
from whisper_mel_conformance.running import PROFILES
from whisper_mel_conformance.terminal import Live

OURS = "mojo-cpu"
_COMMANDS = {"repro": repro, "report": report}
_EXIT = {
    pytest.ExitCode.OK: 0,
    pytest.ExitCode.TESTS_FAILED: 1,
    pytest.ExitCode.INTERRUPTED: 130,  # before any case
    130: 130,
    143: 143,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; its exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] and given[0] in _COMMANDS:
        return _COMMANDS[given[0]](given[1:])
    options = _parser().parse_args(given)
    # pytest as in an empty folder: neither the configuration nor the plugins found around here
    # shall change what a verdict means.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)
    return _EXIT.get(pytest.main(_words(options), [plugin, Live(options.quiet)]), 2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}",
        description="Judge implementations of Whisper's log-Mel front-end.",
        epilog=f"`python -m {__package__} repro PATH` replays a failure of an earlier run, "
        f"`python -m {__package__} report PATH …` makes one report of several.",
    )
    parser.add_argument(
        "--frontend",
        action="append",
        default=[],
        metavar="SOURCE",
        help="a registered name, package.module:attribute, path/to/file.py:attribute or "
        f"cmd:'./prog {{in}} {{out}} {{n_mels}}' (repeatable; default: {OURS} and, beside it, "
        "the peers that need neither PyTorch nor Node.js)",
    )
    parser.add_argument(
        "--matrix", action="store_true", help="judge every peer that is installed, too"
    )
    parser.add_argument("--profile", choices=PROFILES, default="quick")
    parser.add_argument("--seed", type=int, default=0, help="of the drawn cases (default: 0)")
    parser.add_argument("--report", type=Path, default=Path("report"), metavar="DIR")
    parser.add_argument(
        "--known-failures", action="append", default=[], metavar="FILE", help="TOML (repeatable)"
    )
    parser.add_argument("--timeout", type=float, default=30.0, metavar="SECONDS", help="of a call")
    parser.add_argument(
        "-k", dest="select", default=None, metavar="WORDS", help="only cases whose id matches"
    )
    parser.add_argument("--benchmark", action="append", default=[], metavar="FILE", help=BENCHMARK)
    parser.add_argument("--mutants", metavar="FILE", help=MUTANTS)
    parser.add_argument(
        "--quiet", action="store_true", help="no progress, and at the end only what is wrong"
    )
    return parser


def _words(options: argparse.Namespace) -> list[str]:
    """What pytest is told."""
    words = [str(Path(__file__).parent), "-c", os.devnull, f"--rootdir={Path.cwd()}"]
    words += ["-qq", "--tb=no", "-rN", "--no-header", "-p", "no:cacheprovider", "--capture=no"]
    words += ["-o", "console_output_style=classic"]
    words += ["-p", "_hypothesis_pytestplugin"]
    words += [f"--frontend={source}" for source in options.frontend or [OURS]]
    light = "none" if options.frontend else "light"
    words += [f"--frontend-peers={'all' if options.matrix else light}"]
    words += [f"--frontend-known={path}" for path in options.known_failures]
    words += [f"--frontend-benchmark={path}" for path in options.benchmark]
    words += [f"--frontend-mutants={options.mutants}"] if options.mutants else []
    words += ["--frontend-quiet"] if options.quiet else []
    words += [
        f"--frontend-profile={options.profile}",
        f"--frontend-report={options.report}",
        f"--frontend-timeout={options.timeout}",
        f"--hypothesis-seed={options.seed}",
    ]
    if options.select is not None:
        words += ["-k", options.select]
    return words


if __name__ == "__main__":
    sys.exit(main())
