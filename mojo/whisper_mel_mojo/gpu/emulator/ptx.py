"""Reader of PTX text (NVIDIA's PTX ISA): one module with one kernel.

Whatever is not known here raises ``PTXError`` with its line; nothing is skipped but debug data.
"""

from __future__ import annotations

import dataclasses
import re
from bisect import bisect_left
from collections import ChainMap
from dataclasses import dataclass, field
from typing import NamedTuple

from whisper_mel_mojo.gpu.emulator.places import Place

REGISTER_WIDTHS = {"pred": 1, "b16": 16, "b32": 32, "b64": 64}
_SAME = {
    **{f"{kind}{width}": f"b{width}" for kind in "us" for width in (16, 32, 64)},
    "f32": "b32",
    "f64": "b64",
    "pred": "pred",
    "b16": "b16",
    "b32": "b32",
    "b64": "b64",
}
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/', re.S)
_LOC = re.compile(
    r"\.loc\s+(\d+)\s+(\d+)\s+(\d+)(?:\s*,\s*function_name\s+\S+?\s*,"
    r"\s*inlined_at\s+(\d+)\s+(\d+)\s+(\d+))?$"
)
_VARIABLE = re.compile(
    r"\.(?P<space>global|const|shared|local)\s+\.align\s+(?P<align>\d+)\s+\.b8\s+"
    r"(?P<name>[\w$]+)\[(?P<size>\d*)\](?:\s*=\s*\{(?P<values>[^}]*)\})?$"
)
_PARAMETER = re.compile(r"\.param\s+\.(\w+)(?:\s+\.ptr(?:\s+\.\w+)?\s+\.align\s+\d+)?\s+([\w$]+)$")
_KERNEL_DIRECTIVES = (
    *("maxntid", "reqntid", "minnctapersm", "maxnreg"),
    *("reqnctapercluster", "explicitcluster", "maxclusterrank"),
)


class PTXError(ValueError):
    """Text that the emulator does not know; the message names it."""


class Variable(NamedTuple):
    """Memory that the module declares; ``size`` 0: as much as the launch asks for."""

    space: str
    name: str
    size: int
    values: bytes


@dataclass(frozen=True)
class Statement:
    """One instruction. ``guard`` is its predicate register, ``wanted`` the value it must have."""

    line: int
    text: str
    opcode: str
    operands: tuple[str, ...]
    guard: str | None = None
    wanted: bool = True
    place: Place | None = None


@dataclass(frozen=True)
class Label:
    """A place to jump to."""

    name: str


@dataclass
class Module:
    """A module's kernel: ``registers`` and variables by name, ``body`` in order."""

    version: tuple[int, int] = (0, 0)
    target: str = ""
    kernel: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    directives: dict[str, tuple[int, ...]] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)
    registers: dict[str, str] = field(default_factory=dict)
    body: list[Statement | Label] = field(default_factory=list)
    files: dict[int, str] = field(default_factory=dict)


def read(text: str) -> Module:
    """Read a module; raise ``PTXError`` for what is unknown, or unless it has one kernel."""
    module = Module()
    _Reader(module, _without_comments(text)).module()
    if not module.kernel:
        raise PTXError("the text has no kernel (.visible .entry)")
    return module


def read_statement(text: str, line: int) -> Statement:
    """Read one instruction, without its semicolon, as of a line of the kernel."""
    module = Module()
    reader = _Reader(module, f"{text};")
    reader.instruction()
    [statement] = module.body
    assert isinstance(statement, Statement)
    return dataclasses.replace(statement, line=line)


def operands_of(text: str) -> tuple[str, ...]:
    """Split at commas, except within braces, brackets and parentheses."""
    found, depth, start = [], 0, 0
    for i, character in enumerate(text):
        depth += (character in "{[(") - (character in "}])")
        if character == "," and depth == 0:
            found.append(text[start:i].strip())
            start = i + 1
    return (*found, text[start:].strip()) if text.strip() else ()


def _without_comments(text: str) -> str:
    """Replace comments by as many line ends as they have, so that lines keep their numbers."""
    return _PIECE.sub(lambda it: it[0] if it[0][0] == '"' else "\n" * it[0].count("\n"), text)


class _Reader:
    def __init__(self, module: Module, text: str) -> None:
        self.it = module
        self.text = text
        self.ends = [it.start() for it in re.finditer("\n", text)]  # of lines
        self.at = 0
        self.scopes: list[dict[str, str]] = []
        self.scope_count = 0
        self.places: dict[tuple[int, int, int], Place] = {}
        self.place: Place | None = None

    def line(self) -> int:
        return bisect_left(self.ends, self.at) + 1

    def fail(self, what: str) -> PTXError:
        return PTXError(f"line {self.line()}: {what}")

    def skip_space(self) -> bool:
        """Move to the next word; return whether there is one."""
        found = re.compile(r"\S").search(self.text, self.at)
        self.at = found.start() if found else len(self.text)
        return found is not None

    def take(self, pattern: str) -> re.Match[str] | None:
        found = re.compile(pattern, re.S).match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    def until(self, end: str) -> str:
        """Take the text before a character, and the character."""
        at = self.text.find(end, self.at)
        if at < 0:
            raise self.fail(f"expected {end!r}, the text ends")
        found = " ".join(self.text[self.at : at].split())
        self.at = at + 1
        return found

    def module(self) -> None:
        while self.skip_space():
            if found := self.take(r"\.version\s+(\d+)\.(\d+)"):
                self.it.version = (int(found[1]), int(found[2]))
            elif found := self.take(r"\.target\s+(\w+)(?:\s*,\s*debug)?"):
                self.it.target = found[1]
            elif found := self.take(r"\.address_size\s+(\d+)"):
                if found[1] != "64":
                    raise self.fail(f".address_size {found[1]}: expected 64")
            elif self.take(r"\.section\s"):
                self.until("{")
                self.until("}")
            elif self.take(r"\.file\b"):
                number, _, name = self.text[self.at :].partition("\n")[0].strip().partition(" ")
                self.it.files[int(number)] = name.split('"')[1]
                self.until("\n")
            elif self.take(r"(?:\.visible\s+|\.weak\s+)?\.entry\s"):
                self.kernel()
            elif self.take(r"(?:\.extern\s+|\.visible\s+)?(?=\.(?:global|const|shared)\b)"):
                self.variable(self.until(";"))
            else:
                raise self.fail(f"unknown directive {self.text[self.at :].split(None, 1)[0]}")

    def variable(self, text: str) -> None:
        found = _VARIABLE.match(text)
        if found is None:
            raise self.fail(f"unknown variable: {text[:80]}")
        values = bytes(int(value) for value in (found["values"] or "").split(",") if value.strip())
        size = int(found["size"] or 0)
        if found["space"] in ("shared", "local") and values:
            raise self.fail(f"{found['name']}: .{found['space']} memory cannot have values")
        name = found["name"]
        self.it.variables[name] = Variable(found["space"], name, size, values.ljust(size, b"\0"))

    def kernel(self) -> None:
        if self.it.kernel:
            raise self.fail("a second kernel: expected one")
        self.it.kernel = self.until("(")
        for text in operands_of(self.until(")")):
            found = _PARAMETER.match(text)
            if found is None or found[1] not in _SAME:
                raise self.fail(f"unknown parameter: {text}")
            self.it.parameters[found[2]] = found[1]
        while self.skip_space() and not self.take("{"):
            found = self.take(rf"\.({'|'.join(_KERNEL_DIRECTIVES)})\b([\s\d,]*)")
            if found is None:
                raise self.fail(f"unknown directive {self.text[self.at :].split(None, 1)[0]}")
            self.it.directives[found[1]] = tuple(map(int, re.findall(r"\d+", found[2])))
        self.scopes = [{}]
        while self.scopes:
            if not self.skip_space():
                raise self.fail("the kernel does not end")
            self.statement()

    def statement(self) -> None:
        if self.take("{"):
            self.scopes.append({})
            self.scope_count += 1
        elif self.take("}"):
            self.scopes.pop()
        elif found := self.take(r"([\w$]+)\s*:(?!:)"):
            self.it.body.append(Label(found[1]))
        elif self.take(r"\.loc\b"):
            self.at -= len(".loc")
            self.locate(self.until("\n"))
        elif self.take(r"\.reg\s"):
            self.declare(self.until(";"))
        elif self.take(r'\.pragma\s+"nounroll"\s*;'):
            pass
        elif self.take(r"(?=\.(?:local|shared)\s)"):
            self.variable(self.until(";"))
        elif self.text[self.at] == ".":
            raise self.fail(f"unknown directive {self.text[self.at :].split(None, 1)[0]}")
        else:
            self.instruction()

    def locate(self, text: str) -> None:
        found = _LOC.match(text)
        if found is None:
            raise self.fail(f"unknown line table entry: {text}")
        numbers = [int(it) for it in found.groups() if it]
        here = (numbers[0], numbers[1], numbers[2])
        outer = None
        if len(numbers) == 6:
            key = (numbers[3], numbers[4], numbers[5])
            outer = self.places.get(key) or Place(*key)
        self.place = Place(*here, outer)
        self.places[here] = self.place

    def declare(self, text: str) -> None:
        found = re.match(r"\.(\w+)\s+(.*)$", text)
        if found is None or found[1] not in _SAME:
            raise self.fail(f"unknown register: .reg {text}")
        for name in operands_of(found[2]):
            several = re.match(r"([\w$%]+)<(\d+)>$", name)
            names = [f"{several[1]}{i}" for i in range(int(several[2]))] if several else [name]
            for one in names:
                own = one if len(self.scopes) == 1 else f"{one}${self.scope_count}"
                self.scopes[-1][one] = own
                self.it.registers[own] = _SAME[found[1]]

    def instruction(self) -> None:
        line, place = self.line(), self.place
        text = self.until(";")
        found = re.match(r"(?:@(!?)([\w$%]+)\s+)?(\S+)\s*(.*)$", text)
        if found is None:
            raise self.fail(f"unknown statement: {text}")
        names = ChainMap(*reversed(self.scopes))

        def owned(words: str) -> str:
            return re.sub(r"[\w$%]+(?:\.\w+)?", lambda it: names.get(it[0], it[0]), words)

        self.it.body.append(
            Statement(
                line,
                text,
                found[3],
                operands_of(owned(found[4])),
                owned(found[2]) if found[2] else None,
                found[1] != "!",
                place,
            )
        )
