"""``whisper-mel``, or ``python -m whisper_mel_conformance``: judge front-ends, and what follows.

Without a command it judges, as ``judge`` does; ``diagnose`` is short for ``judge --diagnose``. Both
take front-ends as ``--frontend SOURCE``, or at once behind the command. Other packages add commands
by entry points of the group ``whisper_mel.commands``.

The exit status is 0 if every front-end reaches its required class and has no failures but declared
ones; 1 if not; 2 for wrong usage; 130 or 143 if SIGINT or SIGTERM ended the run early.
"""

from __future__ import annotations

import whisper_mel_conformance.run.quiet_blas  # noqa: F401  before anything imports NumPy

# isort: split
import argparse
import difflib
import importlib
import itertools
import os
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from whisper_mel_conformance.keys import LIVE
from whisper_mel_conformance.options import OPTIONS, value
from whisper_mel_conformance.report.environment import judged_by, versions
from whisper_mel_conformance.report.terminal import Live

PROGRAM = "whisper-mel"
_COMMANDS = {"compare": "compare.cli", "repro": "repro.replay", "report": "report.render"}
"""The modules of other commands, imported by those who give them."""
_JUDGING: dict[str, tuple[str, ...]] = {"judge": (), "diagnose": ("--diagnose",)}
_EXIT = {
    pytest.ExitCode.OK: 0,
    pytest.ExitCode.TESTS_FAILED: 1,
    pytest.ExitCode.INTERRUPTED: 1,  # by -x or the like; a signal has its own status, below
    pytest.ExitCode.INTERNAL_ERROR: 1,
    130: 130,
    143: 143,
}
_PLUGINS = ("whisper_mel_conformance.plugin", "xdist.plugin", "_hypothesis_pytestplugin")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] and given[0] in _COMMANDS:
        module = importlib.import_module(f"whisper_mel_conformance.{_COMMANDS[given[0]]}")
        status: int = module.main(given[1:])
        return status
    for entry in entry_points(group="whisper_mel.commands", name=(given or [""])[0]):
        return entry.load()(given[1:])
    if given and not given[0].startswith("-"):
        command, *given = given
        if command not in _JUDGING:
            return _unknown(command)
        sources = list(itertools.takewhile(lambda word: not word.startswith("-"), given))
        named = [f"--frontend={source}" for source in sources]
        given = [*_JUDGING[command], *named, *given[len(sources) :]]
    options, others = _parser().parse_known_args(given)
    if not value(options, "frontend") and value(options, "peers") == "none":
        options.mel_peers = "light"
    # pytest runs as in an empty folder: configuration and plugins of the current folder must not
    # change a verdict.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)
    words = [*_WORDS, "-n", _processes(options), *others, *_place(options)]
    if options.keyword:  # the processes of pytest-xdist read it from these words
        words += ["-k", options.keyword]
    if not {"--collect-only", "--co"} & set(others):
        words += ["-p", "no:terminal"]  # :class:`Live` shows the progress instead
    return _EXIT.get(pytest.main(words, [_Chosen(options)]), 2)


def _unknown(command: str) -> int:
    """Say that there is no such command, and what was perhaps meant."""
    added = entry_points(group="whisper_mel.commands").names
    known = ", ".join([*_JUDGING, *_COMMANDS, *sorted(added)])
    print(
        f"{PROGRAM}: {command!r}: expected one of {known}, or options: a front-end is named by "
        f"--frontend {command if ':' in command else 'SOURCE'}",
        file=sys.stderr,
    )
    return 2


def _parser() -> argparse.ArgumentParser:
    added = entry_points(group="whisper_mel.commands").names
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} [judge [SOURCE …]]",
        description="Judge implementations of Whisper's log-Mel front-end: those that are named, "
        "or the installed peers that need neither PyTorch nor Node.js.",
        epilog="All other options are pytest's: -n 0 (one process; as many as there are "
        "processors without it), -x, --lf, --collect-only, "
        f"--junitxml FILE … `{PROGRAM} diagnose SOURCE` says within seconds what is wrong and how "
        f"to fix it, `{PROGRAM} repro PATH` replays a failure of an earlier run, `{PROGRAM} report "
        f"PATH …` makes one report of several, `{PROGRAM} compare AUDIO` shows front-ends side by "
        "side on a recording."
        + "".join(f" `{PROGRAM} {name} --help`: from another package." for name in sorted(added)),
        allow_abbrev=False,
    )
    for option in OPTIONS:
        parser.add_argument(f"--{option.name}", dest=option.attribute, **option.settings)
    parser.add_argument(
        "-k",
        dest="keyword",  # pytest's own option, named here for --help
        default="",
        metavar="WORDS",
        help="only cases whose id matches, such as 'golden or batch/three'",
    )
    parser.add_argument(
        "--version",
        action="version",
        version=judged_by(versions()),
        help="print the versions of the package, the cases, the vectors and the bound",
    )
    parser.add_argument(
        "--diagnose",
        dest="mel_profile",
        action="store_const",
        const="brief",
        help="say what is wrong and how to fix it, within seconds: --profile brief, of real speech "
        "and a few telling clips",
    )
    parser.add_argument(
        "--matrix",
        dest="mel_peers",
        action="store_const",
        const="all",
        help="judge every peer that is installed, too: --peers all",
    )
    return parser


# It looks through all objects at the end, which takes a tenth of a short run, for errors that no
# test of the suite can have caused: front-ends have processes of their own.
_LEFT_OUT = ("no:unraisableexception",)
_WORDS = (
    *(word for plugin in (*_PLUGINS, *_LEFT_OUT) for word in ("-p", plugin)),
    *("-c", os.devnull, "--capture=no"),
)
_TESTS = str(Path(__file__).parent)


def _processes(options: argparse.Namespace) -> str:
    """Return how many processes judge: as many as there are processors.

    A brief run is over before others would have started. In a process of pytest-xdist a test has
    started this run, and others keep the processors busy.
    """
    is_brief = value(options, "profile") == "brief"
    return "0" if is_brief or "PYTEST_XDIST_WORKER" in os.environ else "auto"


def _place(options: argparse.Namespace) -> list[str]:
    """Return pytest's arguments for the folder of tests, and for the cache that ``--lf`` reads."""
    cache = Path(value(options, "report")).resolve() / ".cache"
    return [f"--rootdir={Path.cwd()}", "-o", f"cache_dir={cache}", _TESTS]


class _Chosen:
    """A pytest plugin that hands over the command line's options and shows the progress."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    @pytest.hookimpl(trylast=True)
    def pytest_load_initial_conftests(self, parser: pytest.Parser, args: list[str]) -> None:
        """Refuse words that are no options, ours or pytest's, in our own words."""
        read, unknown = parser.parse_known_and_unknown_args(args)
        for word in unknown:
            if word.startswith("-"):
                name = word.partition("=")[0]
                known = [f"--{option.name}" for option in OPTIONS]
                like = difflib.get_close_matches(name, known, cutoff=0.8)
                perhaps = f"; perhaps {like[0]}" if like else ""
                raise pytest.UsageError(f"{name}: there is no such option{perhaps} (--help)")
        for word in read.file_or_dir:
            if word != _TESTS:
                raise pytest.UsageError(f"{word}: a front-end is named by --frontend {word}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        vars(config.option).update(vars(self._options))
        if not config.pluginmanager.hasplugin("terminalreporter"):
            config.stash[LIVE] = Live(quiet=value(self._options, "quiet"))


if __name__ == "__main__":
    sys.exit(main())
