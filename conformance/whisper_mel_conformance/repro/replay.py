"""Replay of a failure from its folder, on any front-end; it can be shrunk, reported and kept.

``whisper-mel repro PATH [--frontend SOURCE | --trust] [--shrink] [--issue] [--keep NAME --link
URL]``

A ``case.json`` may come from anybody. It is checked before it is used, and the code that it names
is run only if the user says so.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whisper_mel_conformance.cases.catalogue import CHECKS, all_cases
from whisper_mel_conformance.cases.regressions import FOLDER, Regression, write
from whisper_mel_conformance.folder import read_foreign, require_no_link, slug, write_whole
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Refused, Unsupported
from whisper_mel_conformance.frontend.load import UnknownFrontEnd, needs_trust, require_known
from whisper_mel_conformance.frontend.wire import printable
from whisper_mel_conformance.report.environment import environment
from whisper_mel_conformance.report.facts import replay_command
from whisper_mel_conformance.report.write import FORMAT, json_number, specification
from whisper_mel_conformance.repro.issue import issue
from whisper_mel_conformance.repro.shrink import shrink
from whisper_mel_conformance.run.setup import fixed_by

Error = Failure | Refused | Unsupported

_FIELDS = {
    "case": str,
    "check": str,
    "arguments": dict,
    "message": str,
    "front_end": dict,
    "front_end.source": str,
}
"""Fields that a ``case.json`` must have, with their types."""


_SHRUNKEN = "shrunken"
"""Folder beside a ``case.json`` for what ``--shrink`` finds."""


@dataclass
class Outcome:
    """The outcome of a replay; ``error`` is None if it passes."""

    error: Error | None
    score: float | None

    @property
    def kind(self) -> tuple[Any, ...]:
        """A key that is equal for failures of the same kind."""
        if isinstance(self.error, Failure):
            return "Failure", self.error.hard, self.error.score is None
        return type(self.error).__name__, getattr(self.error, "types", [""])[0]


class Unfit(ValueError):
    """Arguments that a check cannot be run with."""


def attempt(front_end: FrontEnd, check: str, arguments: Mapping[str, Any]) -> Outcome:
    """Run a check; return its outcome.

    Raises ``Unfit`` where its arguments make the check itself fail.
    """
    try:
        return Outcome(None, CHECKS[check](front_end, **arguments))
    except (Failure, Refused, Unsupported) as error:
        return Outcome(error, getattr(error, "score", None))
    except Exception as error:
        what = printable(f"{type(error).__name__}: {error}", 300)
        raise Unfit(f"the check {check} cannot be run with these arguments: {what}") from error


def main(given: list[str]) -> int:
    """Replay a failure; return 1 if it fails again, 0 if it passes, 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="whisper-mel repro",
        description="Replay a failure: exit status 1 if it fails again, 0 if it passes.",
    )
    parser.add_argument("path", type=Path, help="a case.json, or the folder that it is in")
    parser.add_argument("--frontend", metavar="SOURCE", help="another front-end than its own")
    parser.add_argument(
        "--trust", action="store_true", help="run the program, file or module that PATH names"
    )
    parser.add_argument(
        "--shrink", action="store_true", help="find smaller arguments; writes shrunken/case.json"
    )
    parser.add_argument(
        "--issue",
        action="store_true",
        help="print a bug report; writes picture.png beside the case",
    )
    parser.add_argument("--keep", metavar="NAME", help="add it to the regression corpus")
    parser.add_argument("--link", metavar="URL", help="where the bug is described, for --keep")
    options = parser.parse_args(given)
    if options.keep and not options.link:
        parser.error("--keep NAME: expected --link URL, where the bug is described")
    if options.keep and slug(options.keep) != options.keep:
        parser.error(f"--keep {options.keep!r}: expected letters, digits, '.', '_' and '-'")
    path: Path = options.path / "case.json" if options.path.is_dir() else options.path
    try:
        case = _read(path)
        require_no_link(path.parent / _SHRUNKEN)
        model = fixed_by(case["front_end"].get("model"))
        if options.frontend:
            own = {"source": options.frontend, "name": options.frontend}
            case["front_end"] = {**own, "model": case["front_end"].get("model")}
        elif not options.trust:
            _require_trusted(case["front_end"]["source"], path)
        require_known(case["front_end"]["source"])
    except (ValueError, UnknownFrontEnd) as error:
        print(error, file=sys.stderr)
        return 2
    front_end = FrontEnd(case["front_end"]["source"], model=model)
    try:
        front_end.start()
    except (Failure, Refused) as error:
        front_end.stop()
        print(f"the front-end cannot be loaded: {error}", file=sys.stderr)
        return 2
    if isinstance(name := case["front_end"].get("name"), str) and not options.frontend:
        front_end.name = printable(name, 200)  # as --name said
    try:
        return _replay(front_end, case, path, options)
    except Unfit as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 2
    finally:
        front_end.stop()


def _read(path: Path) -> dict[str, Any]:
    try:
        case: dict[str, Any] = json.loads(read_foreign(path))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}: expected a folder with case.json") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, or not JSON
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(case, dict) or case.get("format") != FORMAT:
        raise ValueError(f"{path}: expected a case of format {FORMAT}")
    for names, kind in _FIELDS.items():
        value: Any = case
        for name in names.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if not isinstance(value, kind):
            raise ValueError(f"{path}: {names}={value!r:.100}: expected {kind.__name__}")
    if case["check"] not in CHECKS:
        raise ValueError(f"{path}: check={case['check']!r:.100}: expected of {', '.join(CHECKS)}")
    if (asked := _samples(case["arguments"])) > _MOST_SAMPLES:
        raise ValueError(f"{path}: clips of {asked} samples: expected at most {_MOST_SAMPLES}")
    model = case["front_end"].get("model")
    if not (model is None or isinstance(model, str)):
        raise ValueError(f"{path}: front_end.model={model!r:.100}: expected str")
    shown = {name: value for name, value in case.items() if name not in ("arguments", "front_end")}
    return case | _plain(shown)


_MOST_SAMPLES = 1 << 27
"""Limit of the samples of all clips of a case together: two hours, which fit the memory."""


def _samples(value: Any, name: str = "") -> int:
    """Return the sum of what arguments call a number of samples."""
    if isinstance(value, dict):
        return sum(_samples(inner, key) for key, inner in value.items())
    if isinstance(value, list):
        return sum(_samples(inner, name) for inner in value)
    return value if name in ("n", "pad_to", "lengths") and isinstance(value, int) else 0


def _plain(value: Any) -> Any:
    """Return plain data with texts that can be shown."""
    if isinstance(value, dict):
        return {printable(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return printable(value, lines=True) if isinstance(value, str) else value


def _require_trusted(source: str, path: Path) -> None:
    """Raise ``ValueError`` if ``case.json`` names code that is not installed."""
    if needs_trust(source):
        raise ValueError(
            f"{path}: it names the front-end {source!r:.200}, which would be run. Give --trust if "
            "that is meant, or --frontend SOURCE to replay it on another"
        )


def _replay(
    front_end: FrontEnd, case: dict[str, Any], path: Path, options: argparse.Namespace
) -> int:
    show = sys.stderr if options.issue else sys.stdout
    print(f"{case['case']} of {front_end.name}: {case['check']}", file=show)
    print(json.dumps(case["arguments"], indent=1), file=show)
    outcome = attempt(front_end, case["check"], case["arguments"])
    if outcome.error is None:
        print(f"passes now, score {outcome.score} (then: {case['message']})", file=show)
        return 0
    print(f"fails again: {outcome.error}", file=show)
    if str(outcome.error) != case["message"]:
        print(f"(then: {case['message']})", file=show)
    if options.shrink:
        given = case["arguments"]
        case = _shrunken(front_end, case, outcome)
        became = "shrunken" if case["arguments"] != given else "nothing smaller fails alike"
        outcome = attempt(front_end, case["check"], case["arguments"])
        path = path.parent / _SHRUNKEN / "case.json"
        path.parent.mkdir(exist_ok=True)
        case["command"] = replay_command(
            str(path), case["front_end"]["source"], case["environment"]
        )
        write_whole(path, (json.dumps(case, indent=1, ensure_ascii=False) + "\n").encode())
        print(f"{became}: {json.dumps(case['arguments'])}\n{outcome.error}\n{path}", file=show)
    if options.issue:
        print(issue(front_end, case, outcome.error, path))
    if options.keep:
        return _keep(case, options.keep, options.link, front_end.name)
    return 1


def _shrunken(front_end: FrontEnd, case: dict[str, Any], outcome: Outcome) -> dict[str, Any]:
    def fails(arguments: dict[str, Any]) -> bool:
        if front_end.given_up:
            return False
        with contextlib.suppress(Unfit):
            return attempt(front_end, case["check"], arguments).kind == outcome.kind
        return False

    arguments = shrink(CHECKS[case["check"]], case["arguments"], fails)
    smaller = attempt(front_end, case["check"], arguments)
    return {
        **case,
        "arguments": arguments,
        "specification": specification(case["check"], arguments, front_end.capabilities),
        "score": json_number(smaller.score),
        "message": str(smaller.error),
        "environment": environment(),
    }


def _keep(case: dict[str, Any], name: str, link: str, front_end: str) -> int:
    claims = {c.id: c.claims for c in all_cases("nightly")}.get(case["case"], ())
    entry = Regression(
        f"regressions/{name}",
        case["check"],
        case["arguments"],
        claims,
        front_end,
        link,
        case["message"],
        None,
        datetime.date.today().isoformat(),
    )
    try:
        path = write(entry)
    except OSError as error:
        print(f"cannot be kept in {FOLDER}: {error}", file=sys.stderr)
        return 2
    print(f"kept: {path} (judged in every run from now on; put the mechanism into words)")
    return 1
