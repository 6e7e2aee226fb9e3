"""Translation of a PTX module into a library for this machine, statement by statement."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from whisper_mel_mojo.builder import run_c_compiler, target_cpu
from whisper_mel_mojo.gpu.emulator.instructions import c_type, form_of, width_of
from whisper_mel_mojo.gpu.emulator.library import RUNTIME, c_compiler, kept_library
from whisper_mel_mojo.gpu.emulator.places import described, quoted
from whisper_mel_mojo.gpu.emulator.ptx import (
    REGISTER_WIDTHS,
    Label,
    Module,
    PTXError,
    Statement,
    Variable,
    read,
    read_statement,
)

Variant = Sequence[tuple[int, str]]
"""Changed statements: the line, and the new text without its semicolon; empty: none."""
# No rounding but those of the instructions; signed integers wrap around.
FLAGS = (
    *("-shared", "-fPIC", "-w", "-Og", "-std=gnu11"),
    *("-ffp-contract=off", "-fwrapv", "-fno-strict-aliasing"),
)
SPECIAL = {
    "%tid.x": "current % block_threads",
    "%ntid.x": "block_threads",
    "%ctaid.x": "first_block + rank_of(current)",
    "%nctaid.x": "launch->grid",
    "%laneid": "current % 32",
    "%clusterid.x": "first_block / cluster_size",
    "%nclusterid.x": "launch->grid / cluster_size",
    "%cluster_ctaid.x": "rank_of(current)",
    "%cluster_nctaid.x": "cluster_size",
    "%cluster_ctarank": "rank_of(current)",
    "%cluster_nctarank": "cluster_size",
    **{f"%{name}.{axis}": "0" for name in ("tid", "ctaid", "clusterid", "cluster_ctaid")
       for axis in "yz"},
    **{f"%{name}.{axis}": "1" for name in ("ntid", "nctaid", "nclusterid", "cluster_nctaid")
       for axis in "yz"},
}  # fmt: skip

_CACHES = r"(?:\.(?:ca|cg|cs|lu|cv|wb|wt))?"
_HINTS = r"(?:\.L1::\w+)?(?:\.L2::\w+)?"
_LOAD = re.compile(
    r"ld\.(?P<space>param(?:::entry)?|global|const|local|shared(?:::c(?:ta|luster))?)(?:\.nc)?"
    rf"{_CACHES}{_HINTS}(?:\.v(?P<n>[24]))?\.(?P<kind>[bsu](?:8|16|32|64)|f32|f64)$"
)
_STORE = re.compile(
    r"st\.(?P<space>global|local|shared(?:::c(?:ta|luster))?)"
    rf"{_CACHES}{_HINTS}(?:\.v(?P<n>[24]))?\.(?P<kind>[bsu](?:8|16|32|64)|f32|f64)$"
)
_COPY = re.compile(
    r"cp\.async\.c[ag]\.shared(?:::cta)?\.global(?P<hint>\.L2::cache_hint)?(?:\.L2::(?:64|128|256)B)?$"
)
_POLICY = re.compile(r"createpolicy\.fractional\.L2::evict_(?:first|last|normal)\.b64$")
_SYNC = re.compile(r"(?:bar|barrier)(?:\.cta)?\.(?P<what>sync|arrive)(?:\.aligned)?$")
_CLUSTER = re.compile(
    r"barrier\.cluster\.(?:(?P<arrive>arrive)(?P<relaxed>\.relaxed|\.release)?|wait(?:\.acquire)?)"
    r"(?:\.aligned)?$"
)


def built(text: str, *options: str, variants: Sequence[Variant] = ()) -> Path:
    """Return the library of a PTX module; translate and compile it if it does not exist yet.

    ``options`` are of the C compiler. With ``variants`` a launch chooses one of
    them by its number, from 1; 0 is the module as it is.

    The C compiler is ``$CC``, else ``cc``. Raises ``PTXError`` for what is unknown, and
    ``BuildError`` if the C compiler fails.
    """
    machine = [f"-march={target_cpu()}"] if target_cpu().startswith("x86-64") else []
    compiler = c_compiler(*FLAGS, *machine, *options)

    def make(library: Path) -> None:
        code = translated(read(text), variants)
        command = [*compiler, "-x", "c", "-", "-o", str(library), "-lm"]
        run_c_compiler(command, input=code)

    parts = (text, repr(variants), " ".join(compiler))
    return kept_library("a PTX program for this machine", "ptx-", parts, make)


def translated(module: Module, variants: Sequence[Variant] = ()) -> str:
    """Return a module as C; raise ``PTXError`` for an instruction that is unknown."""
    return _Translation(module, variants).text()


def describe(module: Module, it: Statement) -> str:
    """Return a statement with its line, and the lines of Mojo that it was made of."""
    return described(it.text, "PTX", it.line, it.place, module.files)


class _Translation:
    def __init__(self, module: Module, variants: Sequence[Variant]) -> None:
        self.it = module
        self.variants: dict[int, list[tuple[int, str]]] = defaultdict(list)
        for number, changes in enumerate(variants, 1):
            for line, new in changes:
                self.variants[line].append((number, new))
        self.statements = [it for it in module.body if isinstance(it, Statement)]
        self.shared: dict[str, int] = {}
        size = 0
        for variable in self._of("shared"):
            self.shared[variable.name] = size = (size + 15) // 16 * 16
            size += variable.size
        self.shared_size = size
        self.offsets: dict[str, int] = {name: i for i, name in enumerate(module.parameters)}

    def _of(self, space: str) -> list[Variable]:
        """Return the variables of a space; those of unknown size last."""
        found = [it for it in self.it.variables.values() if it.space == space]
        return sorted(found, key=lambda it: it.size == 0)

    def text(self) -> str:
        fixed = [*self._of("global"), *self._of("const")]
        local = self._of("local")
        if len(local) > 1:
            raise PTXError(f"{local[1].name}: expected one variable in local memory")
        limit = self.it.directives.get("maxntid") or self.it.directives.get("reqntid") or (1024,)
        lines = ['#include "launch.h"']
        lines += [
            f"static const uint8_t {_name(it.name)}[{it.size}] __attribute__((aligned(16))) = "
            f"{{{', '.join(map(str, it.values))}}};"
            for it in fixed
        ]
        sizes = "".join(f"{width_of(kind) // 8}, " for kind in self.it.parameters.values())
        rows = [f"{{(uintptr_t){_name(it.name)}, {it.size}}}" for it in fixed]
        lines += [
            f"enum {{ constant_count = {len(rows)}, static_shared = {self.shared_size}, "
            f"most_threads = {limit[0]} }};",
            f"static const struct memory constants[] = {{{', '.join(rows) or '{0}'}}};",
            f"const uint32_t parameter_sizes[] = {{{sizes}0}};",
            "static const char *const sites[] = {",
            *(f"{quoted(describe(self.it, it))}," for it in self.statements),
            "};",
            f'#include "{RUNTIME.name}"',
            "static void kernel(void) {",
        ]
        for it in local:
            lines.append(f"uint8_t {_name(it.name)}[{it.size}] __attribute__((aligned(16)));")
            lines.append(f"uint8_t {_name(it.name)}_written[{it.size}] = {{0}};")
        for name, kind in self.it.registers.items():
            lines.append(f"{c_type(_unsigned(kind))} {_name(name)} = 0;")
        site = 0
        for part in self.it.body:
            if isinstance(part, Label):
                lines.append(f"L{_name(part.name)}: ;")
                continue
            lines.append(self.statement(part, site))
            site += 1
        return "\n".join([*lines, "}", ""])

    def statement(self, it: Statement, site: int) -> str:
        code = self.unvaried(it, site)
        for number, new in self.variants[it.line]:
            other = self.unvaried(read_statement(new, it.line), site) if new else ""
            code = f"if (launch->variant == {number}) {{ {other} }} else {{ {code} }}"
        return code

    def unvaried(self, it: Statement, site: int) -> str:
        self.now = it
        code = self.instruction(it.opcode, it.operands)
        if it.guard is not None:
            code = f"if ({'' if it.wanted else '!'}{self.register(it.guard, 'pred')}) {{ {code} }}"
        return f"AT({site}) {code}".replace("SITE", str(site))

    def fail(self, what: str) -> PTXError:
        return PTXError(f"line {self.now.line}: {what}: {self.now.text}")

    def need(self, count: int) -> None:
        if len(self.now.operands) != count:
            raise self.fail(f"expected {count} operands")

    # ---------------------------------------------------------------- operands

    def register(self, name: str, kind: str, *, wider: bool = False) -> str:
        """Return a register's name in C; its width must be the type's, or may be ``wider``."""
        declared = self.it.registers.get(name)
        if declared is None:
            raise self.fail(f"unknown operand {name}")
        width, wanted = REGISTER_WIDTHS[declared], width_of(kind)
        if (width < wanted or kind == "pred") if wider else width != wanted:
            raise self.fail(f"{name} has {width} bits, {kind} has {wanted}")
        return _name(name)

    def value(self, operand: str, kind: str, *, wider: bool = False) -> str:
        """Return an operand as a C expression of the type's C type."""
        if operand in SPECIAL:
            if width_of(kind) != 32 or kind == "f32":
                raise self.fail(f"{operand} has 32 bits, {kind} has not")
            return f"(({c_type(kind)})({SPECIAL[operand]}))"
        if re.match(r"0[fF][0-9a-fA-F]{8}$", operand):
            if width_of(kind) != 32:
                raise self.fail(f"a constant of 32 bits, not {kind}")
            bits = f"0x{operand[2:]}U"
            return f"as_float({bits})" if kind == "f32" else f"(({c_type(kind)}){bits})"
        number = re.match(r"(-?)(0[xX][0-9a-fA-F]+|\d+)U?$", operand)
        if number:
            if kind == "f32":
                raise self.fail(f"{operand} is no float")
            digits = int(number[2], 16 if number[2][:2] in ("0x", "0X") else 10)
            if kind == "pred":
                return "true" if digits else "false"
            # From bits, so that the smallest number needs no care
            return f"(({c_type(kind)}){-digits % 2**64 if number[1] else digits}U)"
        if operand in self.it.variables:
            return f"(({c_type(kind)}){self.address_of(operand)})"
        name = self.register(operand, kind, wider=wider)
        if kind == "f32":
            return f"as_float({name})"
        return name if kind == "pred" else f"(({c_type(kind)}){name})"

    def address_of(self, name: str) -> str:
        variable = self.it.variables[name]
        if variable.space == "shared":
            return f"{self.shared[name]}U"
        return f"(uintptr_t){_name(name)}"

    def address(self, operand: str) -> str:
        found = re.match(r"\[\s*([\w$%]+)\s*(?:\+\s*(-?\d+))?\s*\]$", operand)
        if found is None:
            raise self.fail(f"unknown address {operand}")
        base, offset = found[1], int(found[2] or 0)
        if base in self.it.variables:
            return f"(uint64_t)({self.address_of(base)} + {offset})"
        width = REGISTER_WIDTHS.get(self.it.registers.get(base, ""), 0)
        if width not in (32, 64):
            raise self.fail(f"unknown address {operand}")
        # In 32 bits, shared memory's addresses wrap around as they do on a device
        return f"(uint64_t)(uint{width}_t)({_name(base)} + {offset}LL)"

    def several(self, operand: str, count: int) -> list[str]:
        """Return the parts of a vector operand; a single operand is a list of one."""
        if count == 1:
            return [operand]
        parts = [it.strip() for it in operand.strip("{} ").split(",")]
        if not operand.startswith("{") or len(parts) != count:
            raise self.fail(f"expected {count} registers in braces, got {operand}")
        return parts

    def put(self, operand: str, kind: str, value: str, *, wider: bool = False) -> str:
        name = self.register(operand, kind, wider=wider)
        if kind == "f32":
            return f"{name} = as_bits({value});"
        return f"{name} = ({c_type(kind)})({value});"

    # ---------------------------------------------------------------- instructions

    def instruction(self, opcode: str, operands: tuple[str, ...]) -> str:
        form = form_of(opcode, len(operands) - 1)
        if form is not None:
            self.need(1 + len(form.sources))
            wider = opcode.startswith("cvt.")
            given = " ".join(
                f"{c_type(kind)} {name} = {self.value(operand, kind, wider=wider)};"
                for name, operand, kind in zip("abcd", operands[1:], form.sources, strict=False)
            )
            return f"{{ {given} {self.put(operands[0], form.result, form.value, wider=wider)} }}"
        for pattern, translate in _OTHERS:
            found = pattern.match(opcode)
            if found:
                return translate(self, found, operands)
        raise self.fail(f"unknown instruction {opcode}")

    def move(self, found: re.Match[str], operands: tuple[str, ...]) -> str:
        self.need(2)
        kind, (to, source) = found["kind"], operands
        if source.startswith("{"):
            return self.pack(kind, to, source)
        if to.startswith("{"):
            return self.unpack(kind, to, source)
        kind = "b32" if kind == "f32" else kind
        return self.put(to, kind, self.value(source, kind))

    def pack(self, kind: str, to: str, source: str) -> str:
        parts = [it.strip() for it in source.strip("{} ").split(",")]
        each = width_of(kind) // len(parts)
        if len(parts) not in (2, 4) or each not in (16, 32):
            raise self.fail(f"unknown vector {source}")
        values = [self.value(it, f"b{each}") for it in parts]
        joined = " | ".join(f"(uint64_t){it} << {each * i}" for i, it in enumerate(values))
        return self.put(to, kind, joined)

    def unpack(self, kind: str, to: str, source: str) -> str:
        parts = [it.strip() for it in to.strip("{} ").split(",")]
        each = width_of(kind) // len(parts)
        if len(parts) not in (2, 4) or each not in (16, 32):
            raise self.fail(f"unknown vector {to}")
        puts = [
            self.put(it, f"b{each}", f"all >> {each * i}")
            for i, it in enumerate(parts)
            if it != "_"
        ]
        return f"{{ uint64_t all = {self.value(source, kind)}; {' '.join(puts)} }}"

    def load(self, found: re.Match[str], operands: tuple[str, ...]) -> str:
        self.need(2)
        kind, count, space = found["kind"], int(found["n"] or 1), found["space"]
        kind = kind.replace("f", "b")
        size = count * width_of(kind) // 8
        element = c_type(kind)
        if space.startswith("param"):
            code = self.read_parameter(operands[1], size)
        else:
            code = self.access("read", space, operands[1], size)
        puts = [
            self.put(it, kind, f"v[{i}]", wider=True)
            for i, it in enumerate(self.several(operands[0], count))
            if it != "_"
        ]
        return f"{{ {element} v[{count}]; {code} {' '.join(puts)} }}"

    def store(self, found: re.Match[str], operands: tuple[str, ...]) -> str:
        self.need(2)
        kind, count = found["kind"].replace("f", "b"), int(found["n"] or 1)
        size = count * width_of(kind) // 8
        if found["space"] == "global" and size < 2:
            raise self.fail("unknown instruction: the watcher keeps account of half words")
        parts = self.several(operands[1], count)
        values = ", ".join(self.value(it, kind, wider=True) for it in parts)
        code = self.access("write", found["space"], operands[0], size)
        return f"{{ {c_type(kind)} v[] = {{{values}}}; {code} }}"

    def access(self, what: str, space: str, operand: str, size: int) -> str:
        if space.startswith("shared") and size < 2:
            raise self.fail("unknown instruction: the watcher keeps account of half words")
        space = {"const": "global"}.get(space, space.partition("::")[0])
        arguments = f"{self.address(operand)}, v, {size}"
        if space == "local":
            [local] = self._of("local")
            name = _name(local.name)
            arguments += f", {name}, {name}_written, {local.size}"
        return f"{what}_{space}({arguments}, SITE);"

    def read_parameter(self, operand: str, size: int) -> str:
        found = re.match(r"\[\s*([\w$]+)\s*(?:\+\s*(\d+))?\s*\]$", operand)
        kind = self.it.parameters.get(found[1]) if found else None
        if found is None or kind is None:
            raise self.fail(f"unknown parameter {operand}")
        offset = int(found[2] or 0)
        if offset + size > width_of(kind) // 8:
            raise self.fail(f"{operand} is beyond the parameter's {width_of(kind)} bits")
        at = f"(const char *)launch->arguments[{self.offsets[found[1]]}] + {offset}"
        return f"memcpy(v, {at}, {size});"

    def copy(self, found: re.Match[str], operands: tuple[str, ...]) -> str:
        policy = ""
        if found["hint"]:
            if len(operands) < 4:
                raise self.fail("expected a cache policy")
            policy = f"need_policy({self.value(operands[-1], 'u64')}, SITE); "
            operands = operands[:-1]
        if len(operands) not in (3, 4) or operands[2] not in ("4", "8", "16"):
            raise self.fail("unknown operands")
        if ".cg." in found[0] and operands[2] != "16":
            raise self.fail("expected 16 bytes")
        source = self.value(operands[3], "u32") if len(operands) == 4 else operands[2]
        where = f"{self.address(operands[0])}, {self.address(operands[1])}"
        return f"{policy}copy_async({where}, {operands[2]}, {source}, SITE);"

    def make_policy(self, found: re.Match[str], operands: tuple[str, ...]) -> str:
        self.need(2)
        if operands[1] not in ("1.0", "0f3F800000"):
            raise self.fail("unknown operands: expected a policy for all of the memory, 1.0")
        return self.put(operands[0], "u64", "CACHE_POLICY")

    def synchronise(self, found: re.Match[str], operands: tuple[str, ...]) -> str:
        if len(operands) not in ((2,) if found["what"] == "arrive" else (1, 2)):
            raise self.fail("unknown operands")
        count = self.value(operands[1], "u32") if len(operands) == 2 else "0"
        return f"barrier_{found['what']}({self.value(operands[0], 'u32')}, {count}, SITE);"

    def synchronise_cluster(self, found: re.Match[str], operands: tuple[str, ...]) -> str:
        self.need(0)
        if found["arrive"]:
            return f"cluster_arrive({str(found['relaxed'] != '.relaxed').lower()}, SITE);"
        return "cluster_wait(SITE);"

    def jump(self, found: re.Match[str], operands: tuple[str, ...]) -> str:
        self.need(1)
        if Label(operands[0]) not in self.it.body:
            raise self.fail(f"there is no label {operands[0]}")
        return f"JUMP(SITE) goto L{_name(operands[0])};"

    def map(self, found: re.Match[str], operands: tuple[str, ...]) -> str:
        self.need(3)
        address, rank = (self.value(it, "u32") for it in operands[1:])
        return self.put(operands[0], "u32", f"map_shared({address}, {rank}, SITE)")


def _name(name: str) -> str:
    """Return a name of PTX as one of C."""
    return re.sub(r"\W", "_", name.replace("$", "__").replace("%", "r_"))


def _unsigned(kind: str) -> str:
    return kind if kind == "pred" else f"u{width_of(kind)}"


def _fixed(code: str, count: int = 0) -> Callable[..., str]:
    def translate(it: _Translation, found: re.Match[str], operands: tuple[str, ...]) -> str:
        it.need(count)
        return code.format(*operands)

    return translate


_OTHERS: list[tuple[re.Pattern[str], Callable[..., str]]] = [
    (re.compile(r"mov\.(?P<kind>pred|[bsu](?:16|32|64)|f32)$"), _Translation.move),
    (_LOAD, _Translation.load),
    (_STORE, _Translation.store),
    (_COPY, _Translation.copy),
    (_POLICY, _Translation.make_policy),
    (re.compile(r"cp\.async\.commit_group$"), _fixed("commit_group(SITE);")),
    (re.compile(r"cp\.async\.wait_group$"), _fixed("wait_group({0});", 1)),
    (re.compile(r"cp\.async\.wait_all$"), _fixed("wait_all_copies();")),
    (_SYNC, _Translation.synchronise),
    (_CLUSTER, _Translation.synchronise_cluster),
    (re.compile(r"mapa\.shared::cluster\.u32$"), _Translation.map),
    (re.compile(r"bra(?:\.uni)?$"), _Translation.jump),
    (re.compile(r"(?:ret|exit)$"), _fixed("return;")),
    (re.compile(r"trap$"), _fixed('found(SITE, "a trap");')),
    (
        re.compile(r"cvta(?:\.to)?\.(?:global|const|local)\.u64$"),
        lambda it, found, operands: it.put(operands[0], "u64", it.value(operands[1], "u64")),
    ),
]
