"""Mutants of the suite's own Python. One that no test notices does the same, or is not tested.

    ./dev mutants --suite          30 mutants of each module, drawn by seed 0 (most of an hour)

A mutant is a module in which one comparison, constant, condition, result or statement is another.
A fork of this process runs the module's own tests with it: every process that they start imports it
from a folder of its own, where all else is links to this checkout. No file is changed.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import random
import resource
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from checkout.paths import MEASUREMENTS

RECORD = MEASUREMENTS / "suite-mutants.json"
COUNT = 30
_SECONDS = 300  # processor time of one mutant's tests; those that take longer have found it
_OPTIONS = [
    *("-x", "-q", "-n", "0", "-p", "no:cacheprovider"),
    "--assert=plain",  # rewritten assertions are for messages, which nobody reads here
    # A test that waits for a mutant has found it, and none of them takes two minutes otherwise.
    *("-o", "faulthandler_timeout=120", "-o", "faulthandler_exit_on_timeout=true"),
]
_TESTS = "conformance/tests/test_conformance_"
MODULES: dict[str, str] = {
    "whisper_mel_reference.bound": "reference/tests/test_reference_bound.py",
    "whisper_mel_conformance.cases.judging": f"{_TESTS}judging.py",
    "whisper_mel_conformance.run.known": f"{_TESTS}matrix.py -k declar",
    "whisper_mel_conformance.report.verdict": f"{_TESTS}verdict.py",
    "whisper_mel_conformance.frontend.wire": (
        f"{_TESTS}hostile.py -k 'answer or message or arrays or shown or text or workflow or reads'"
    ),
    "whisper_mel_conformance.frontend.client": (
        f"{_TESTS}hostile.py {_TESTS}run.py -k 'answer or calls or lost_too or odd_ends or part_of "
        "or warden or by_which or plain_text or given_up or replaced or loaded'"
    ),
    "whisper_mel_conformance.frontend.worker": (
        f"{_TESTS}hostile.py {_TESTS}run.py -k 'plain_text or cannot_be_used or printable or at_its"
        "_end or first_to_end or odd_ends or not_this or error_policy or memory_is or on_the_cpu "
        "or loaded_is'"
    ),
    "whisper_mel_conformance.frontend.state": f"{_TESTS}state.py -k seen",
    "whisper_mel_conformance.report.facts": (
        f"{_TESTS}facts.py {_TESTS}rendering.py -k 'facts or numbers'"
    ),
    "whisper_mel_conformance.report.documents": (
        f"{_TESTS}rendering.py {_TESTS}files.py -k 'made_of or several or no_reports or benchmark "
        "or mutants or counted or huge or limit or wrong_entr or merging "
        "or text_of'"
    ),
    "whisper_mel_conformance.report.write": f"{_TESTS}write.py",
    **{
        f"whisper_mel_conformance.diagnosis.{module}": f"{_TESTS}{tests}"
        for tests, modules in {
            "condition.py": "asked condition lengths loudest requests values",
            "said.py -k 'place or shape or off or values or batch or common'": "places",
            "said.py -k 'diagnosis or picture'": "outcome",
            "said.py -k 'quirk or explanation or agree or far'": "words",
            "said.py -k 'case or fault'": "suspects tried",
            "stages.py -k frames": "positions",
            "stages.py -k 'weights or slightly'": "weights",
            "stages.py -k 'curve or range or logarithm or scale'": "curve",
            "stages.py -k 'filter or window or halves or gain or usable or factor'": "linear",
            "stages.py -k 'bits or chance or no_precision or noise'": "precision",
            "fitting.py -k 'number or losses or differences'": "fit",
            "fitting.py": "search",
            "guessing.py": "answer guess variants",
            "explaining.py": "causes diagnose free long_clips repeated",
        }.items()
        for module in modules.split()
    },
}
"""Modules that decide a verdict or a diagnosis, each with its own tests."""

Change = Callable[[], str]
"""Changes one place of a syntax tree; returns what it says then."""


def run(word: str, record: bool = False, seed: int = 0) -> int:
    """Try mutants of the modules with ``word`` in their names; return the exit status.

    It is 1 if fewer than nine of ten are found.
    """
    import hypothesis  # noqa: F401  what tests import is there before the forks, but what is tested
    import numpy  # noqa: F401
    import pytest  # noqa: F401

    status = 0
    for module, tests in MODULES.items():
        if word not in module:
            continue
        if _killed(module, None, tests):
            print(f"{module}: its tests fail without a mutant: {tests}", file=sys.stderr)
            return 2
        count = len(list(_changes(_tree(module))))
        drawn = sorted(random.Random(seed).sample(range(count), min(COUNT, count)))
        live = []
        for place in drawn:
            tree = _tree(module)
            said = list(_changes(tree))[place]()
            if not _killed(module, tree, tests):
                live.append(said)
                print(f"{module}: not found: {said}", flush=True)
        row = {"seed": seed, "places": count, "tried": len(drawn), "live": live}
        print(f"{module}: {len(drawn) - len(live)} of {len(drawn)} found", flush=True)
        status |= not len(live) <= 0.1 * len(drawn)
        if record:  # beside what other runs have recorded meanwhile
            rows = json.loads(RECORD.read_text()) if RECORD.exists() else {}
            RECORD.write_text(json.dumps({**rows, module: row}, indent=1) + "\n")
    return int(status)


def _tree(module: str) -> ast.Module:
    path = _source(module)
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _source(module: str) -> Path:
    return Path(_package(module), *module.split(".")[1:]).with_suffix(".py")


def _package(module: str) -> Path:
    """Return the folder of the package that a module is in; import nothing."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def _killed(module: str, tree: ast.Module | None, tests: str) -> bool:
    """Run tests in a fork, in which the module is ``tree`` (None: as it is); say if they fail."""
    with tempfile.TemporaryDirectory(prefix="whisper-mel-mutant-") as folder:
        child = os.fork()
        if child == 0:
            quiet = os.open(os.devnull, os.O_WRONLY)
            for number in (1, 2):
                os.dup2(quiet, number)
            resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
            status = 1
            try:
                if tree is not None:
                    _put_in_place(module, tree, Path(folder))
                import pytest

                status = pytest.main([*_OPTIONS, *shlex.split(tests)])
            finally:
                os._exit(int(status))
        _, ended = os.waitpid(child, 0)
    return ended != 0


def _put_in_place(module: str, tree: ast.Module, folder: Path) -> None:
    """Make this process, and those that it starts, import the module as ``tree`` has it."""
    package, *names = module.split(".")
    here, there = _package(module), folder / package
    for name in names:
        there.mkdir()
        for entry in here.iterdir():
            if entry.name not in (name, f"{name}.py"):
                (there / entry.name).symlink_to(entry)
        here, there = here / name, there / name
    text = ast.unparse(ast.fix_missing_locations(tree))
    there.with_suffix(".py").write_text(text, encoding="utf-8")
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
    sys.dont_write_bytecode = True  # through a link it would go to this checkout
    sys.path.insert(0, str(folder))
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, (str(folder), os.environ.get("PYTHONPATH")))
    )


# --------------------------------------------------------------------------- what is changed

_PAIRS: list[tuple[type[ast.AST], type[ast.AST]]] = [
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.In, ast.NotIn)),
    *((ast.Is, ast.IsNot), (ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.Div)),
]
_OTHER = {a: b for one, other in _PAIRS for a, b in ((one, other), (other, one))}


def _changes(tree: ast.Module) -> Iterator[Change]:
    """Yield every change that can be made in functions, in the order of the text."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if node is not function and not isinstance(node, ast.FunctionDef):
                    yield from _changes_of(node)


def _changes_of(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            if type(op) in _OTHER:
                yield _setter(node, "ops", [*node.ops[:i], _OTHER[type(op)](), *node.ops[i + 1 :]])
    if isinstance(node, (ast.BoolOp, ast.BinOp)) and type(node.op) in _OTHER:
        yield _setter(node, "op", _OTHER[type(node.op)]())
    if isinstance(node, ast.Constant) and type(node.value) in (bool, int):
        value: Any = node.value
        yield _setter(node, "value", not value if isinstance(value, bool) else value + 1)
    if isinstance(node, (ast.If, ast.IfExp, ast.While)):
        yield _setter(node, "test", ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.Return) and ast.unparse(node) not in ("return", "return None"):
        yield _setter(node, "value", ast.Constant(None))
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield _setter(node, "value", ast.Constant(None))


def _setter(node: Any, field: str, value: Any) -> Change:
    def change() -> str:
        before = _first_line(node)
        setattr(node, field, value)
        return f"line {node.lineno}: {before} became {_first_line(node)}"

    return change


def _first_line(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(node)).partition("\n")[0]
