"""Collects what others build on, and must not be taken away from them: names, options, ids.

``present()`` is what there is, ``pins.json`` what there was when it was last recorded: sections,
each a list of lines. ``test_ci_pins.py`` demands every recorded line; more may be there.

``python ci/tests/pins.py`` adds what is new to ``pins.json``. It removes nothing: a line that is
no longer true is deleted by hand, by whoever has decided that others can do without it.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import json
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
RECORD = Path(__file__).with_name("pins.json")
KERNEL = ROOT / "mojo" / "whisper_mel_mojo"

Pins = dict[str, list[str]]

# The modules whose public names others import. They are read, not run: some need torch or MAX.
# (Of whisper_mel_conformance there is nothing to import: its quirks and capabilities are below.)
MODULES = [
    "whisper_mel_reference",
    "whisper_mel_golden",
    "whisper_mel_mojo",
    "whisper_mel_mojo.audio_file",
    "whisper_mel_mojo.c_library",
    "whisper_mel_mojo.data",
    "whisper_mel_mojo.drop_in",
    "whisper_mel_mojo.drop_in.faster_whisper",
    "whisper_mel_mojo.drop_in.transformers",
    "whisper_mel_mojo.gpu",
    "whisper_mel_mojo.max",
    "whisper_mel_mojo.torch",
]
# The function that parses the options of each command, and the words before them.
COMMANDS = {
    "bench": ("bench.cli:main", []),
    "bench instructions": ("bench.cli:main", ["instructions"]),
    "compare": ("whisper_mel_conformance.__main__:main", ["compare"]),
    "conformance": ("whisper_mel_conformance.__main__:main", []),
    "conformance report": ("whisper_mel_conformance.__main__:main", ["report"]),
    "featurize": ("whisper_mel_mojo.featurize:main", []),
    "golden": ("whisper_mel_golden.__main__:main", []),
    "gpu": ("tasks.gpu:run", []),
    "gpu run": ("gpu.device.cli:main", []),
    "mutants": ("mutants.cli:run", []),
    "repro": ("whisper_mel_conformance.__main__:main", ["repro"]),
    "sanitize": ("sanitize.cli:run", []),
}


def missing(recorded: Mapping[str, list[str]], now: Mapping[str, list[str]]) -> list[str]:
    """The recorded lines that are there no more, each with its section."""
    return [
        f"{section}: {line}"
        for section, lines in recorded.items()
        for line in sorted({*lines} - {*now.get(section, ())})
    ]


def present() -> Pins:
    """All that is pinned, as it is now."""
    found = {
        "cases": _cases(),
        "arguments": _arguments(),
        "goldens": _goldens(),
        "quirks": _quirks(),
        "names": [line for module in MODULES for line in _names(module)],
        "capabilities": _capabilities(),
        "tasks": _tasks(),
        "options": [line for command in COMMANDS for line in _options(command)],
        "pytest options": _pytest_options(),
        "report": list(_fields(report_schema(), "report")),
        "entry points": _entry_points(),
        "symbols": _symbols(),
    }
    return {section: sorted(set(lines)) for section, lines in found.items()}


def record() -> None:
    """Adds to the record what is new."""
    recorded: Pins = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    merged = {
        section: sorted({*recorded.get(section, ()), *lines})
        for section, lines in present().items()
    }
    RECORD.write_text(json.dumps(merged, indent=0, ensure_ascii=False) + "\n")


# --------------------------------------------------------------------------- what is judged


def _cases() -> list[str]:
    """The id of each case, its check and the shortest profile that it is in."""
    from whisper_mel_conformance.cases.catalogue import all_cases

    shortest = {
        (case.id, case.check): profile
        for profile in ("nightly", "ci", "quick")
        for case in all_cases(profile)
    }
    return [f"{id} {check} {profile}" for (id, check), profile in shortest.items()]


def _arguments() -> list[str]:
    """The id of each case of the longest profile, and the beginning of its arguments' SHA-256."""
    from whisper_mel_conformance.cases.catalogue import all_cases

    found = {case.id: json.dumps(case.arguments, sort_keys=True) for case in all_cases("nightly")}
    return [f"{id} {hashlib.sha256(text.encode()).hexdigest()[:12]}" for id, text in found.items()]


def _goldens() -> list[str]:
    from whisper_mel_golden import golden_cases

    return [case.id for case in golden_cases()]


def _quirks() -> list[str]:
    """The ids that ``--frontend whisper_mel_conformance.quirks:ID`` takes."""
    from whisper_mel_conformance import quirks

    return [id for id in quirks.CATALOGUE if callable(getattr(quirks, id))]


def _capabilities() -> list[str]:
    """What a front-end can say of itself."""
    from whisper_mel_conformance.frontend.load import Capabilities

    return [field.name for field in dataclasses.fields(Capabilities)]


# --------------------------------------------------------------------------- Python's names


def _names(module: str) -> Iterator[str]:
    """A module's public names: those of ``__all__``, without it those that are defined there.

    With the parameters of functions and the public members of classes.
    """
    tree = _tree(module)
    defined = {name: node for node in tree.body for name in _targets(node)}
    listed = defined.get("__all__")
    names = ast.literal_eval(listed.value) if isinstance(listed, ast.Assign) else defined
    for name in names:
        if not name.startswith("_"):
            yield f"{module}.{name}"
            for part in _parts(_definition(module, name)):
                yield f"{module}.{name}{part}"


def _tree(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None, module
    return ast.parse(Path(spec.origin).read_text())


def _targets(node: ast.stmt) -> list[str]:
    """The names that a statement defines; imports define none."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _definition(module: str, name: str) -> ast.stmt | None:
    """Where a name is defined: here, or where it is imported from."""
    for node in _tree(module).body:
        if name in _targets(node):
            return node
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("whisper_mel_"):
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return _definition(str(node.module), alias.name)
    return None


def _parts(node: ast.stmt | None) -> Iterator[str]:
    """Parameters, in order: ``(0 audio)``, ``(threads=None)``; or members: ``.replace``."""
    if isinstance(node, ast.FunctionDef):
        given = node.args
        positional = [*given.posonlyargs, *given.args]
        defaults = [None] * (len(positional) - len(given.defaults)) + [*given.defaults]
        for index, (argument, default) in enumerate(zip(positional, defaults, strict=True)):
            yield f"({index} {_parameter(argument, default)})"
        for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
            yield f"({_parameter(argument, default)})"
    if isinstance(node, ast.ClassDef):
        for name in (name for member in node.body for name in _targets(member)):
            if not name.startswith("_"):
                yield f".{name}"


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    return argument.arg + ("" if default is None else f"={ast.unparse(default)}")


# --------------------------------------------------------------------------- commands


def _tasks() -> list[str]:
    """``./dev``'s tasks and subtasks, and the options of each as its help lists them."""
    from tasks import LAYERS, TASKS
    from tasks.task import walk

    found = [f"env {layer}" for layer in LAYERS]
    for name, task in walk(TASKS):
        found += [name, *(f"{name} {option}" for option in task.takes())]
    return found


class _Captured(Exception):
    """Carries the parser that was about to be used."""


def _options(command: str) -> list[str]:
    where, words = COMMANDS[command]

    def capture(parser: argparse.ArgumentParser, *rest: Any) -> NoReturn:
        raise _Captured(parser)

    with mock.patch.object(argparse.ArgumentParser, "parse_known_args", capture):
        try:
            pkgutil.resolve_name(where)(words)
        except _Captured as captured:
            return list(_of_parser(command, captured.args[0]))
    raise AssertionError(f"{where} parsed no options")


def _of_parser(command: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    """Each option, with ``=`` if it takes a value, ``=…`` if it can be repeated; each choice."""
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield f"{command} {name}"
                yield from _of_parser(f"{command} {name}", below)
            continue
        repeated = "…" if isinstance(action, argparse._AppendAction) else ""
        value = "" if action.nargs == 0 else "=" + repeated
        for name in action.option_strings or [f"{action.metavar or action.dest}".upper()]:
            yield f"{command} {name}{value}"
            yield from (f"{command} {name}{value}{choice}" for choice in action.choices or ())


def _pytest_options() -> list[str]:
    from _pytest.config.argparsing import Parser
    from whisper_mel_conformance import plugin

    parser = Parser(_ispytest=True)
    plugin.pytest_addoption(parser)
    plugin.add_earlier_spellings(parser)
    return [it for it in _of_parser("pytest", parser.optparser) if it.startswith("pytest --")]


# --------------------------------------------------------------------------- files


def report_schema() -> Any:
    (path,) = Path(str(files("whisper_mel_conformance"))).rglob("report.schema.json")
    return json.loads(path.read_text())


def _fields(schema: Any, path: str, node: Any = None) -> Iterator[str]:
    """The fields below a node of a JSON schema: path, type, whether it is always there."""
    node = schema if node is None else node
    if "$ref" in node:
        yield from _fields(schema, path, schema["$defs"][node["$ref"].rpartition("/")[2]])
    if "type" in node:
        yield f"{path}: {node['type']}"
    for value in [*node.get("enum", []), *([node["const"]] if "const" in node else [])]:
        yield f"{path} = {json.dumps(value)}"
    for name, below in node.get("properties", {}).items():
        yield f"{path}.{name}" + (" always" if name in node.get("required", ()) else "")
        yield from _fields(schema, f"{path}.{name}", below)
    for below in [*node.get("anyOf", ()), *(node[key] for key in ("then", "else") if key in node)]:
        yield from _fields(schema, path, below)
    for key, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(node.get(key), dict):
            yield from _fields(schema, path + mark, node[key])


def _entry_points() -> list[str]:
    """Entry points of the packages, and the peers, which stand among those of front-ends."""
    from whisper_mel_conformance.frontend.load import GROUP, peers

    return [
        f"{distribution} {entry.group} {entry.name}"
        for distribution in ("reference", "golden", "conformance", "mojo")
        for entry in importlib.metadata.distribution(f"whisper-mel-{distribution}").entry_points
    ] + [f"conformance {GROUP} {name}" for name in peers()]


def _symbols() -> list[str]:
    """What the C library and the kernel export, and what the header declares."""
    exported = (KERNEL / "whisper_mel.map").read_text().partition("local:")[0]
    found = [f"whisper_mel.map {name}" for name in re.findall(r"(\w+);", exported)]
    header = re.sub(r"/\*.*?\*/", "", (KERNEL / "whisper_mel.h").read_text(), flags=re.DOTALL)
    for declared in re.findall(r"^[a-z][\w *]*\([^;{]*\)|WHISPER_MEL_\w+ = \d+", header, re.M):
        found.append(f"whisper_mel.h {' '.join(declared.split())}")
    kernel = (KERNEL / "mel_kernel.mojo").read_text()
    for name, arguments in re.findall(r"^@export\ndef (\w+)\(([^)]*)\)", kernel, re.M):
        found.append(f"mel_kernel.mojo {name}({' '.join(arguments.split()).rstrip(',')})")
    return found


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "ci"))
    record()
