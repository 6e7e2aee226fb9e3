"""Compilation of a kernel's LLVM IR, of AMD's and Apple's targets, into a library for this machine.

LLVM itself (the package llvmlite) reads and compiles the text, so all that computes means what it
means there. Each access to memory of the device becomes a call of the watcher in ``runtime.h``;
what is special to a kind of device is replaced by what every target has. Whatever of it is not
known here raises ``IRError``.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from whisper_mel_mojo.builder import BuildError, run_c_compiler, target_cpu
from whisper_mel_mojo.gpu.emulator.library import RUNTIME, c_compiler, kept_library
from whisper_mel_mojo.gpu.emulator.places import Place, described, quoted

WATCHER = RUNTIME.with_name("watched.h")
_C_FLAGS = ("-shared", "-fPIC", "-w", "-O1", "-std=gnu11", "-fno-strict-aliasing")
_SHARED_BEGINS = 1 << 24
"""The address of a block's shared memory: ``RANK_SHIFT`` of ``runtime.h``."""

# What Apple's and AMD's programs call, and the intrinsic or instruction that is the same
_REPLACED = (
    (r"call float @air\.convert\.f\.f32\.s\.(i\d+)\(i\d+ ([^)]*)\)", r"sitofp \1 \2 to float"),
    (r"@air\.f(max|min)\.f32\(", r"@llvm.\1num.f32("),
    (r"@air\.(max|min)\.([su])\.(i\d+)\(", r"@llvm.\2\1.\3("),
    (r"@(?:air\.thread_position_in_threadgroup|llvm\.amdgcn\.workitem\.id)\.x\(", "@watch_thread("),
    (r"@(?:air\.threadgroup_position_in_grid|llvm\.amdgcn\.workgroup\.id)\.x\(", "@watch_block("),
    (r"call void @(?:air\.wg\.barrier|llvm\.amdgcn\.s\.barrier)\([^)]*\)",
     "call void @watch_barrier(i32 SITE)"),
)  # fmt: skip
_KNOWN = r"watch_\w+|llvm\.(?:fma|fabs|abs|maxnum|minnum|[su](?:max|min)|vector\.reduce\.fmax)\.\w+"
_DECLARED = """
declare void @watch_read_shared(ptr, i32, i32)
declare void @watch_write_shared(ptr, i32, i32)
declare void @watch_read_global(ptr, i32, i32)
declare void @watch_write_global(ptr, i32, i32)
declare void @watch_barrier(i32)
declare i32 @watch_thread()
declare i32 @watch_block()
@watched = external global [4 x i64]
"""
_SIZES = {"i16": 2, "half": 2, "i32": 4, "i64": 8, "float": 4, "ptr": 8}
_PARAMETERS = {
    "ptr": ("void *", 8),
    "i32": ("int32_t", 4),
    "i64": ("int64_t", 8),
    "float": ("float", 4),
}
_SHARED = re.compile(
    r"@(?P<name>\S+) = internal addrspace\(3\) global \[(?P<count>\d+) x float\] undef, "
    r"align (?:4|16)$"
)
_CONSTANT = re.compile(
    r"@(?P<name>[\w.]+) = internal constant "
    r"(?P<type>\{ \[(?P<count>\d+) x float\] \}) (?P<value>.*)"
)
_KERNEL = re.compile(r"define .*void @(?P<name>\w+)\((?P<parameters>.*)\)[^)]*\{$")
_ACCESS = re.compile(
    r"(?P<head>\s*(?:%\S+ = )?)(?P<what>load|store) "
    r"(?P<kind><.*?>|\{.*?\}|\w+)(?: (?P<value>.*))?, "
    r"ptr(?P<shared> addrspace\(3\))? (?P<address>[%@\w.]+|getelementptr .*\)), align \d+$"
)


class IRError(ValueError):
    """Text that the translation does not know; the message names it."""


class _Program(NamedTuple):
    """A kernel ready to be compiled: its text for LLVM, and the C around it."""

    ir: str
    c: str


def is_ir(text: str) -> bool:
    """Return whether the text is LLVM IR rather than PTX."""
    return "\ntarget triple = " in text


def built(text: str, *options: str) -> Path:
    """Return the library of a kernel's LLVM IR; compile it if it does not exist yet.

    ``options`` are of the C compiler, which is ``$CC``, else ``cc``. Raises ``IRError`` for what is
    unknown, ``BuildError`` if a compiler fails or llvmlite is missing.
    """
    compiler = c_compiler(*_C_FLAGS, *options)

    def make(library: Path) -> None:
        program = _read(text)
        compiled, around = library.with_suffix(".o"), library.with_suffix(".c")
        compiled.write_bytes(_compiled(program.ir))
        around.write_text(program.c)
        command = [*compiler, str(around), str(compiled), "-o", str(library), "-lm"]
        run_c_compiler(command)

    parts = (text, target_cpu(), " ".join(compiler))
    return kept_library("a GPU's program for this machine", "llvm-", parts, make)


def _compiled(ir: str) -> bytes:
    """Compile text by LLVM; return the object file."""
    try:
        import llvmlite.binding as llvm
    except ImportError as error:
        raise BuildError("llvmlite is not installed: pip install llvmlite") from error
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    try:
        module = llvm.parse_assembly(ir)
        module.verify()
    except RuntimeError as error:
        raise IRError(f"LLVM refuses the program: {error}") from error
    cpu = target_cpu() if target_cpu().startswith("x86-64") else llvm.get_host_cpu_name()
    target = llvm.Target.from_default_triple()
    machine: Any = target.create_target_machine(cpu=cpu, opt=1, reloc="pic", codemodel="default")
    tuning: Any = llvm.create_pipeline_tuning_options(speed_level=1)
    builder: Any = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    return machine.emit_object(module)


def _read(text: str) -> _Program:
    """Read a module with one kernel."""
    lines = text.splitlines()
    metadata = dict(it.split(" = ", 1) for it in lines if re.match(r"!\d+ = ", it))
    return _Reader(metadata).program(lines)


class _Reader:
    def __init__(self, metadata: dict[str, str]) -> None:
        self.metadata = metadata
        files = (
            (key, re.search(r'DIFile\(filename: "([^"]*)"', it)) for key, it in metadata.items()
        )
        self.files = {int(key[1:]): it[1] for key, it in files if it}
        self.shared: dict[str, int] = {}
        self.shared_size = 0
        self.constants: dict[str, int] = {}
        self.kernel = ""
        self.parameters: list[str] = []
        self.local: set[str] = set()  # addresses of what is the thread's own
        self.is_apple = False  # then the kernel is given addresses of its pointers
        self.sites: list[str] = []

    def program(self, lines: list[str]) -> _Program:
        ir: list[str] = []
        for number, line in enumerate(lines, 1):
            self.line, self.number = line, number
            ir += self.translated(line)
        if not self.kernel:
            raise IRError("there is no kernel")
        return _Program("\n".join([*ir, _DECLARED]), self.around())

    def fail(self, what: str) -> IRError:
        return IRError(f"line {self.number}: {what}: {self.line.strip()[:200]}")

    def translated(self, line: str) -> Iterator[str]:
        """Yield the lines for LLVM that stand for one of the text."""
        if line.startswith('target triple = "air64-'):
            self.is_apple = True
        if not line.strip() or re.match(
            r";|!|source_filename|target |declare |attributes |\s+fence syncscope"
            r'\("workgroup"\) (?:acquire|release)|\s+call void @llvm\.lifetime\.',
            line,
        ):
            return
        place = re.search(r", !dbg (!\d+)", line)
        line = re.sub(r", ![\w.]+ !\d+", "", line)
        if line.startswith("@"):
            yield from self.variable(line)
        elif line.startswith("define"):
            yield self.define(line)
        elif line == "}" or re.match(r"\w+:", line):
            yield line
        else:
            yield from self.instruction(line, place[1] if place else "")

    def variable(self, line: str) -> Iterator[str]:
        shared, constant = _SHARED.match(line), _CONSTANT.match(line)
        if shared:
            self.shared[shared["name"]] = self.shared_size = (self.shared_size + 15) // 16 * 16
            self.shared_size += 4 * int(shared["count"])
        elif constant:
            self.constants[constant["name"]] = 4 * int(constant["count"])
            yield f"@{constant['name']} = constant {constant['type']} {_floats(constant['value'])}"
        else:
            raise self.fail("unknown variable")

    def define(self, line: str) -> str:
        found = _KERNEL.match(re.sub(r" #\d+| !dbg !\d+", "", line))
        if found is None or self.kernel:
            raise self.fail("expected one kernel")
        self.kernel = found["name"]
        self.parameters = [it.split()[0] for it in found["parameters"].split(", ")]
        unknown = [it for it in self.parameters if it not in _PARAMETERS]
        if unknown:
            raise self.fail(f"unknown parameter of type {unknown[0]}")
        if self.is_apple:
            self.local |= {f"%{i}" for i, kind in enumerate(self.parameters) if kind == "ptr"}
        given = ", ".join(f"{kind} %{i}" for i, kind in enumerate(self.parameters))
        return f"define void @{self.kernel}({given}) {{"

    def instruction(self, line: str, place: str) -> Iterator[str]:
        line = re.sub(r" #\d+$", "", line)
        for pattern, new in _REPLACED:
            line = re.sub(pattern, new, line)
        if "SITE" in line:
            line = line.replace("SITE", str(self.site(place)))
        called = re.search(r"\bcall [^@]*@([\w.]+)\(", line)
        if called and not re.fullmatch(_KNOWN, called[1]):
            raise self.fail(f"unknown function {called[1]}")
        if re.search(r"\bdouble\b|\batomicrmw\b|\bcmpxchg\b|\bfence\b|\bvolatile\b", line):
            raise self.fail("unknown instruction")
        self.follow(line)
        access = _ACCESS.match(line)
        if access is None and re.search(r"\b(?:load|store)\b", line):
            raise self.fail("unknown instruction")
        line = self.plain(line)
        if access is None or access["address"] in self.local:
            yield line
        else:
            yield from self.watched(access, place)

    def follow(self, line: str) -> None:
        """Keep in mind which values are addresses of a thread's own memory."""
        made = re.match(
            r"\s*(%\S+) = (alloca|getelementptr|addrspacecast|bitcast|phi|select) ", line
        )
        if made is None:
            return
        used = set(re.findall(r"ptr(?: addrspace\(\d\))? (%\S+?)(?=[,\s]|$)", line))
        used |= set(re.findall(r"\[ (%\S+),", line)) if " phi ptr" in line else set()
        own = used & self.local
        if made[2] == "alloca" or own:
            if made[2] in ("phi", "select") and own != used:
                raise self.fail("an address that may be a thread's own memory, or not")
            self.local.add(made[1])

    def plain(self, line: str) -> str:
        """Return a line without address spaces; addresses of shared memory are numbers."""
        line = re.sub(r",? ?addrspace\(\d\)", "", line).replace(" addrspacecast ", " bitcast ")
        for name, offset in self.shared.items():
            address = f"inttoptr (i64 {_SHARED_BEGINS + offset} to ptr)"
            line = re.sub(rf"@{re.escape(name)}(?![\w.])", address, line)
        return _floats(line)

    def watched(self, access: re.Match[str], place: str) -> Iterator[str]:
        """Yield an access as a call of the watcher, and as one to ``watched``."""
        space = "shared" if access["shared"] else "global"
        stored = access["what"] == "store"
        kind, value = access["kind"], access["value"]
        size = _size(kind)
        if size is None or size > 32 or (stored and space == "global" and size < 2):
            raise self.fail(f"an access of {kind}, which the watcher does not know")
        arguments = f"ptr {self.plain(access['address'])}, i32 {size}, i32 {self.site(place)}"
        if stored:
            yield f"  store {kind} {_floats(value)}, ptr @watched"
            yield f"  call void @watch_write_{space}({arguments})"
        else:
            yield f"  call void @watch_read_{space}({arguments})"
            yield f"{access['head']}load {kind}, ptr @watched"

    # ---------------------------------------------------------------- where it comes from

    def site(self, place: str) -> int:
        """Return the number of a statement that can be found."""
        words = re.sub(r", !\w+ !\d+", "", self.line.strip())
        self.sites.append(described(words, "LLVM IR", self.number, self.place(place), self.files))
        return len(self.sites) - 1

    def place(self, name: str) -> Place | None:
        """Return the place that a ``DILocation`` names; None if there is none."""
        text = self.metadata.get(name, "")
        found = re.search(r"DILocation\(line: (\d+)(?:, column: (\d+))?, scope: (!\d+)", text)
        if found is None:
            return None
        scope = found[3]
        while "DILexicalBlock" in self.metadata.get(scope, ""):
            scope = self._named("scope", self.metadata[scope])
        file = self._named("file", self.metadata.get(scope, ""))
        around = self.place(self._named("inlinedAt", text))
        return Place(int(file[1:] or 0), int(found[1]), int(found[2] or 0), around)

    @staticmethod
    def _named(field: str, text: str) -> str:
        found = re.search(rf"\b{field}: (!\d+)", text)
        return found[1] if found else "!0"

    # ---------------------------------------------------------------- the C around it

    def around(self) -> str:
        kinds = [_PARAMETERS[it] for it in self.parameters]
        types = ", ".join(c for c, _ in kinds)
        given = ", ".join(
            f"launch->arguments[{i}]" if self.is_apple and c == "void *"
            else f"*({c} *)launch->arguments[{i}]"
            for i, (c, _) in enumerate(kinds)
        )  # fmt: skip
        rows = [f"{{(uintptr_t){name}, {size}}}" for name, size in self.constants.items()]
        return "\n".join([
            '#include "launch.h"',
            *(f"extern const uint8_t {name}[];" for name in self.constants),
            f"void {self.kernel}({types});",
            f"enum {{ constant_count = {len(rows)}, static_shared = {self.shared_size}, "
            "most_threads = 1024 };",
            f"static const struct memory constants[] = {{{', '.join(rows) or '{0}'}}};",
            f"const uint32_t parameter_sizes[] = {{{', '.join(str(n) for _, n in kinds)}, 0}};",
            "static const char *const sites[] = {",
            *(f"{quoted(it)}," for it in self.sites),
            "};",
            f'#include "{RUNTIME.name}"',
            f'#include "{WATCHER.name}"',
            f"static void kernel(void) {{ {self.kernel}({given}); }}",
            "",
        ])  # fmt: skip


def _size(kind: str) -> int | None:
    """Return the bytes of a value of this type; None if it is not known."""
    vector = re.fullmatch(r"<(\d+) x (\w+)>", kind)
    if vector:
        each = _SIZES.get(vector[2])
        return each and int(vector[1]) * each
    return _SIZES.get(kind)


def _floats(line: str) -> str:
    """Return a line with its float32 constants as every version of LLVM reads them."""
    line = re.sub(r"\bf0x([0-9A-F]{8})\b", lambda it: _hexadecimal(bytes.fromhex(it[1])), line)
    line = re.sub(
        r"(?<![\w.])-?\d+\.\d+e[+-]\d+",
        lambda it: _hexadecimal(struct.pack(">f", float(it[0]))),
        line,
    )
    for name, bits in (("inf", "7F800000"), ("qnan", "7FC00000"), ("nan", "7FC00000")):
        for sign, top in (("+", "7F"), ("-", "FF")):
            value = _hexadecimal(bytes.fromhex(top + bits[2:]))
            line = re.sub(rf"(?<![\w.]){re.escape(sign)}{name}\b", value, line)
    return line


def _hexadecimal(float32: bytes) -> str:
    (value,) = struct.unpack(">f", float32)
    return f"0x{struct.pack('>d', value).hex().upper()}"
