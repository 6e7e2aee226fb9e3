"""The definition of a task of ./dev: its help, its options, the layer and the programs it needs.

./dev imports this module before there is an environment, so it uses the standard library only.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

LAYERS = {
    "default": ("default",),
    "test": ("default", "test"),
    "peers": ("default", "test", "peers"),
    "cuda": ("default", "test", "cuda"),
    "site": ("default", "site"),
}
"""The layers that each layer needs, itself last."""


@dataclass(frozen=True)
class Task:
    """A task, or one of its subtasks.

    ``summary`` is its line in lists. ``arguments`` are its positional arguments as the usage shows
    them. ``options`` has a line for each option: ``--name VALUE   what it does``. Others are
    refused, unless ``passed_to`` names the program that receives them. ``layer`` is the layer that
    it needs, ``compiles`` whether it needs a C compiler; both may be functions of the arguments.
    ``run`` runs a task and returns the exit status; its first argument is the name of a subtask.
    ``alone`` says whether the task can be called without arguments.
    """

    summary: str
    arguments: str = ""
    options: str = ""
    passed_to: str = ""
    layer: str | Callable[[list[str]], str] = "default"
    compiles: bool | Callable[[list[str]], bool] = False
    run: Callable[[list[str]], int] | None = None
    subtasks: Mapping[str, Task] = field(default_factory=dict)
    alone: bool = True

    def takes(self) -> dict[str, bool]:
        """Return the names of its options, and whether each has a value after it."""
        lines = re.findall(r"^(-\S+(?:, -\S+)*)( [A-Z]\S*)?", self.options, re.MULTILINE)
        return {name: bool(value) for names, value in lines for name in names.split(", ")}


def walk(tasks: Mapping[str, Task], before: str = "") -> Iterator[tuple[str, Task]]:
    """Yield every task and subtask with its full name, such as ``bench instructions``."""
    for name, task in tasks.items():
        yield before + name, task
        yield from walk(task.subtasks, f"{before}{name} ")


def find(tasks: Mapping[str, Task], arguments: list[str]) -> tuple[str, Task, list[str]]:
    """Return the task that ``arguments`` name, its full name first, and the remaining arguments.

    If help is asked for, print it and end the program. For an unknown task, subtask or option, end
    it with status 2 and one sentence.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help("TASK …", "`./dev TASK --help` says more of each.", tasks))
        sys.exit(0)
    name, *rest = arguments
    if name not in tasks:
        refuse(f"unknown task {name!r}: expected {_one_of(tasks)}")
    task = tasks[name]
    while task.subtasks and rest and rest[0] in task.subtasks:
        name, task, rest = f"{name} {rest[0]}", task.subtasks[rest[0]], rest[1:]
    options, words = _split(rest, task.takes())
    if {"-h", "--help"} & {*options}:
        print(help_of(name, task))
        sys.exit(0)
    if not task.passed_to:
        unknown = [option for option in options if option not in task.takes()]
        if unknown:
            refuse(f"{name} {unknown[0]}: no such option; ./dev {name} --help lists what there is")
        if words and not task.arguments:
            refuse(f"{name} {words[0]}: expected {_one_of(task.subtasks) or 'no arguments'}")
    if task.arguments and task.arguments[0] != "[" and not words:
        refuse(f"{name}: expected {task.arguments}")
    if not (rest or task.alone):
        refuse(f"{name}: expected {_one_of(task.subtasks)}")
    return name, task, rest


def _one_of(names: Iterable[str]) -> str:
    *others, last = [*names] or [""]
    return f"{', '.join(others)} or {last}" if others else last


def _split(arguments: list[str], known: Mapping[str, bool]) -> tuple[list[str], list[str]]:
    """Return the options among arguments, and the other words, without the values of options."""
    options: list[str] = []
    words: list[str] = []
    left = iter(arguments)
    for argument in left:
        if argument == "--":
            words += left
        elif not re.match(r"--?[A-Za-z]", argument):
            words.append(argument)
        elif argument[1] != "-" and known.get(argument[:2]) and argument[2:]:  # -kWORD
            options.append(argument[:2])
        else:
            name, equals, _ = argument.partition("=")
            options.append(name)
            if known.get(name) and not equals:
                next(left, None)
    return options, words


def help_of(name: str, task: Task) -> str:
    """Return the text that ``./dev NAME --help`` prints."""
    subtask = ("[SUBTASK]" if task.alone else "SUBTASK") if task.subtasks else ""
    words = [name, subtask, "[options]" if task.options else "", task.arguments]
    words += [f"[{task.passed_to}'s options]"] if task.passed_to else []
    return _help(" ".join(filter(None, words)), task.summary, task.subtasks, task.options)


def _help(usage: str, summary: str, subtasks: Mapping[str, Task], options: str = "") -> str:
    lines = [f"usage: ./dev {usage}"]
    lines += ["", summary] if summary else []
    if subtasks:
        width = max(map(len, subtasks))
        lines += ["", *(f"  {name:{width}}  {it.summary}" for name, it in subtasks.items())]
    if options:
        lines += ["", *(f"  {line}" for line in options.strip().splitlines())]
    return "\n".join(lines)


def refuse(sentence: str) -> NoReturn:
    """End the program with status 2 for wrong usage."""
    print(f"dev: {sentence}", file=sys.stderr)
    sys.exit(2)


def layers(task: Task, arguments: list[str]) -> tuple[str, ...]:
    """Return the layers that a task needs with these arguments."""
    return LAYERS[task.layer if isinstance(task.layer, str) else task.layer(arguments)]


def require_compiler(name: str, task: Task, arguments: list[str]) -> None:
    """End the program if the task needs a C compiler and there is none."""
    needed = task.compiles if isinstance(task.compiles, bool) else task.compiles(arguments)
    if needed and not any(map(shutil.which, ("cc", "gcc", "clang"))):
        refuse(f"{name} needs a C compiler, and there is none (on Debian: apt install gcc)")
