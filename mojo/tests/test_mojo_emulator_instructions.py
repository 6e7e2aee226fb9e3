"""Each instruction that the emulator knows, against its definition in the PTX ISA.

The definitions here are written from the manual, in integers and fractions of Python. One program
executes all forms on the same operands; hypothesis draws these.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pytest
from daily import by_day
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from whisper_mel_mojo.gpu.emulator.instructions import FORMS, width_of
from whisper_mel_mojo.gpu.emulator.kernels import texts
from whisper_mel_mojo.gpu.emulator.program import Kernel, Launch
from whisper_mel_mojo.gpu.emulator.ptx import PTXError, Statement, read
from whisper_mel_mojo.gpu.emulator.translate import translated
from whisper_mel_mojo.gpu.targets import NVIDIA

CANONICAL = 0x7FFFFFFF
OF_THREE = " of three"  # ends a name in FORMS
REGISTERS = {1: "p", 16: "h", 32: "w", 64: "d"}


def program() -> str:
    """PTX: thread t takes four words of 64 bits, and stores a word for each form."""
    lines = []
    for i, (opcode, form) in enumerate(FORMS.items()):
        names = [
            "%{}{}".format(REGISTERS[width_of(t)], "abcd"[j]) for j, t in enumerate(form.sources)
        ]
        if re.match(r"(div|rem)\.[su]", opcode):
            names[1] = names[1].replace("b", "n")  # never 0
        if opcode == "lop3.b32":
            names[3] = "0xB1"
        width = width_of(form.result)
        result = f"%{REGISTERS[width]}r"
        lines.append(f"{opcode.removesuffix(OF_THREE)} {result}, {', '.join(names)};")
        if width == 1:
            lines.append(f"selp.b64 %dr, 1, 0, {result};")
        elif width < 64:
            lines.append(f"cvt.u64.u{width} %dr, {result};")
        lines.append(f"st.global.b64 [%dout+{8 * i}], %dr;")
    divisors = "".join(
        f"setp.eq.b{w} %pr, %{r}b, 0; selp.b{w} %{r}n, 7, %{r}b, %pr;\n"
        for w, r in REGISTERS.items()
        if w > 1
    )
    loads = "".join(
        f"ld.global.b64 %d{name}, [%dat+{8 * j}]; cvt.u32.u64 %w{name}, %d{name};"
        f" cvt.u16.u64 %h{name}, %d{name}; and.b64 %dr, %d{name}, 1;"
        f" setp.ne.b64 %p{name}, %dr, 0;\n"
        for j, name in enumerate("abcd")
    )
    registers = "".join(
        f".reg .{'pred' if w == 1 else f'b{w}'} {', '.join(f'%{r}{x}' for x in 'abcdnr')};\n"
        for w, r in REGISTERS.items()
    )
    return f"""
.version 8.5
.target sm_90a
.address_size 64
.visible .entry forms(.param .u64 p0, .param .u64 p1, .param .u64 p2)
{{
{registers}.reg .b64 %dat, %dout, %dt;
.reg .b32 %wt;
ld.param.b64 %dat, [p0];
ld.param.b64 %dout, [p2];
mov.u32 %wt, %tid.x;
mul.wide.u32 %dt, %wt, 32;
add.s64 %dat, %dat, %dt;
mul.wide.u32 %dt, %wt, {8 * len(FORMS)};
add.s64 %dout, %dout, %dt;
{loads}{divisors}{chr(10).join(lines)}
ret;
}}
"""


# --------------------------------------------------------------------- definitions


def signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) & 1 else value


def integer(value: int, kind: str) -> int:
    value &= (1 << width_of(kind)) - 1
    return signed(value, width_of(kind)) if kind[0] == "s" else value


def number(bits: int) -> float:
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def negative(bits: int) -> int:
    return bits >> 31


def rounded(exact: Fraction, sign_of_zero: int) -> int:
    """The bits of the nearest float32; ties go to the even one."""
    if exact == 0:
        return sign_of_zero << 31
    sign, size = int(exact < 0), abs(exact)
    exponent = max(
        math.floor(math.log2(size.numerator)) - math.floor(math.log2(size.denominator)) - 1, -126
    )
    while exponent > -126 and size < Fraction(2) ** exponent:
        exponent -= 1
    while size >= Fraction(2) ** (exponent + 1):
        exponent += 1
    step = Fraction(2) ** (exponent - 23)
    whole = round(size / step)  # Python rounds ties to even
    value = whole * step
    if value >= Fraction(2) ** 128:
        return sign << 31 | 0x7F800000
    return sign << 31 | struct.unpack("<I", struct.pack("<f", float(value)))[0]


def fused(a: int, b: int, c: int) -> int:
    """a * b + c with one rounding."""
    x, y, z = map(number, (a, b, c))
    if any(map(math.isnan, (x, y, z))):
        return CANONICAL
    sign = negative(a) ^ negative(b)
    if math.isinf(x) or math.isinf(y):
        if x == 0 or y == 0 or (math.isinf(z) and negative(c) != sign):
            return CANONICAL
        return sign << 31 | 0x7F800000
    if math.isinf(z):
        return c
    product = Fraction(x) * Fraction(y)
    zero = sign if product == 0 and z == 0 and sign == negative(c) else 0
    if product == 0 and z == 0:
        return zero << 31
    return rounded(product + Fraction(z), 0)


def add(a: int, b: int) -> int:
    return fused(0x3F800000, a, b)


def product(a: int, b: int) -> int:
    sign = negative(a) ^ negative(b)
    result = fused(a, b, sign << 31)  # plus a zero of the product's sign
    return result if number(result) != 0 else sign << 31


def quotient(a: int, b: int) -> int:
    x, y = number(a), number(b)
    sign = negative(a) ^ negative(b)
    both = (math.isinf(x) and math.isinf(y)) or (x == 0 and y == 0)
    if math.isnan(x) or math.isnan(y) or both:
        return CANONICAL
    if math.isinf(x) or y == 0:
        return sign << 31 | 0x7F800000
    if math.isinf(y) or x == 0:
        return sign << 31
    return rounded(Fraction(x) / Fraction(y), sign) | sign << 31


def root(a: int) -> int:
    x = number(a)
    if math.isnan(x) or (x < 0):
        return CANONICAL
    if x == 0 or math.isinf(x):
        return a
    return struct.unpack("<I", struct.pack("<f", np.float32(math.sqrt(x))))[0]


def extreme(a: int, b: int, largest: bool, nan: bool) -> int:
    x, y = number(a), number(b)
    if math.isnan(x) or math.isnan(y):
        if nan or (math.isnan(x) and math.isnan(y)):
            return CANONICAL
        return b if math.isnan(x) else a
    if x == y:  # +0 is larger than -0
        return (a if negative(a) < negative(b) else b) if largest else max(a, b, key=negative)
    return a if (x > y) == largest else b


COMPARE: dict[str, Callable[[float, float], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "lo": lambda a, b: a < b,
    "ls": lambda a, b: a <= b,
    "hi": lambda a, b: a > b,
    "hs": lambda a, b: a >= b,
}


def compared(name: str, kind: str, a: int, b: int) -> bool:
    if kind != "f32":
        return COMPARE[name](integer(a, kind), integer(b, kind))
    x, y = number(a), number(b)
    unordered = math.isnan(x) or math.isnan(y)
    if name in ("num", "nan"):
        return unordered == (name == "nan")
    if name not in COMPARE:
        return unordered or COMPARE[name[:-1]](x, y)
    return not unordered and COMPARE[name](x, y)


def truncated(a: int, b: int) -> int:
    """Quotient, rounded towards zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def of_integers(name: str, part: str, kind: str, a: int, b: int, c: int) -> int:
    width = width_of(kind)
    x, y, z = (integer(it, kind) for it in (a, b, c))
    if part == "wide" and name == "mad":
        z = integer(c, f"{kind[0]}{2 * width}")
    value = {
        "add": lambda: x + y,
        "sub": lambda: x - y,
        "mul": lambda: x * y >> (width if part == "hi" else 0),
        "mad": lambda: (x * y >> (width if part == "hi" else 0)) + z,
        "min": lambda: min(x, y),
        "max": lambda: max(x, y),
        "div": lambda: truncated(x, y),
        "rem": lambda: x - truncated(x, y) * y,
        "neg": lambda: -x,
        "abs": lambda: abs(x),
        "and": lambda: x & y,
        "or": lambda: x | y,
        "xor": lambda: x ^ y,
        "not": lambda: ~x,
        "shl": lambda: x << min(b & 0xFFFFFFFF, width),
        "shr": lambda: x >> min(b & 0xFFFFFFFF, width),
    }[name]()
    return value & ((1 << (2 * width if part == "wide" else width)) - 1)


def of_floats(name: str, part: str, a: int, b: int, c: int) -> int:
    return {
        "add": lambda: add(a, b),
        "sub": lambda: add(a, b ^ 1 << 31) if not math.isnan(number(b)) else CANONICAL,
        "mul": lambda: product(a, b),
        "fma": lambda: fused(a, b, c),
        "div": lambda: quotient(a, b),
        "rcp": lambda: quotient(0x3F800000, a),
        "sqrt": lambda: root(a),
        "neg": lambda: a ^ 1 << 31,
        "abs": lambda: a & ~(1 << 31),
        "min": lambda: extreme(a, b, False, part == "NaN"),
        "max": lambda: extreme(a, b, True, part == "NaN"),
    }[name]()


def permuted(a: int, b: int, selector: int) -> int:
    every = (b << 32 | a).to_bytes(8, "little")
    result = 0
    for i in range(4):
        nibble = selector >> 4 * i & 15
        byte = every[nibble & 7]
        if nibble & 8:
            byte = 0xFF if byte & 0x80 else 0
        result |= byte << 8 * i
    return result


def logic(a: int, b: int, c: int, table: int) -> int:
    result = 0
    for bit in range(32):
        at = (a >> bit & 1) << 2 | (b >> bit & 1) << 1 | (c >> bit & 1)
        result |= (table >> at & 1) << bit
    return result


def funnel(left: bool, clamps: bool, a: int, b: int, c: int) -> int:
    amount = min(c, 32) if clamps else c & 31
    both = b << 32 | a
    return (both << amount >> 32 if left else both >> amount) & 0xFFFFFFFF


def defined(opcode: str, a: int, b: int, c: int) -> int:
    """What an instruction makes of the low bits of its operands, in the destination's width."""
    if opcode.endswith(OF_THREE):
        of_two = opcode.removesuffix(OF_THREE)
        return defined(of_two, defined(of_two, a, b, 0), c, 0)
    name, *parts = opcode.split(".")
    kind = parts[-1]
    part = parts[0] if len(parts) > 1 else ""
    low = tuple(it & 0xFFFFFFFF for it in (a, b, c))
    if name == "setp":
        mask = (1 << width_of(kind)) - 1
        return int(compared(part, kind, a & mask, b & mask))
    if name == "selp":
        return (a if c & 1 else b) & ((1 << width_of(kind)) - 1)
    if opcode == "cvt.rn.f16.f32":
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            half = np.uint32(low[0]).view(np.float32).astype(np.float16)
        return 0x7FFF if np.isnan(half) else int(half.view(np.uint16))
    if name == "cvt" and parts[0] == "rn":
        exact = Fraction(integer(a, kind))
        return rounded(exact, 0)
    if name == "cvt":
        return integer(a, kind) & ((1 << width_of(part)) - 1)
    if name == "prmt":
        return permuted(*low)
    if name == "lop3":
        return logic(low[0], low[1], low[2], 0xB1)
    if name == "shf":
        return funnel(parts[0] == "l", parts[1] == "clamp", *low)
    if kind == "pred":
        x, y = a & 1, b & 1
        return {"and": x & y, "or": x | y, "xor": x ^ y, "not": 1 - x}[name]
    if kind == "f32":
        return of_floats(name, part, *low)
    if name in ("div", "rem") and not b & ((1 << width_of(kind)) - 1):
        b = 7
    return of_integers(name, part, kind, a, b, c)


# --------------------------------------------------------------------- the comparison

THREADS = 32
SPECIAL = [
    *(0, 1, 2, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 0x7FFF, 0x8000, 0xFFFF, 0x10000),
    *(0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFF, 0x100000000, 1 << 63, (1 << 63) - 1),
    (1 << 64) - 1,
]
FLOATS = [
    *(0x00000000, 0x80000000, 0x3F800000, 0xBF800000, 0x7F800000, 0xFF800000, 0x7FC00000),
    *(0x7F800001, 0xFFC00001, 0x00000001, 0x80000001, 0x007FFFFF, 0x00800000, 0x7F7FFFFF),
    *(0x33800000, 0x34000000, 0x4B800000, 0x4F000000, 0x5F000000, 0x1F800000, 0x20000000),
]
words = st.one_of(
    st.sampled_from(SPECIAL + FLOATS),
    st.integers(0, (1 << 64) - 1),
    st.floats(width=32).map(lambda x: struct.unpack("<I", struct.pack("<f", x))[0]),
)
operands = st.tuples(words, words, words, words)


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    return Kernel(program())


def run(kernel: Kernel, rows: Sequence[tuple[int, ...]]) -> NDArray[np.uint64]:
    """The results of all forms, of rows of operands."""
    given_words = np.array(rows, np.uint64)
    out = np.zeros((THREADS, len(FORMS)), np.uint64)
    kernel.run((given_words, given_words), out, (), Launch(THREADS), out.nbytes)
    return out


def require_defined(kernel: Kernel, rows: Sequence[tuple[int, ...]]) -> None:
    for row, results in zip(rows, run(kernel, rows), strict=True):
        a, b, c, _ = row
        for opcode, result in zip(FORMS, results, strict=True):
            expected = defined(opcode, a, b, c)
            assert int(result) == expected, (
                f"{opcode} of {a:#x}, {b:#x}, {c:#x}: {int(result):#x}, expected {expected:#x}"
            )


@pytest.mark.parametrize("step", by_day([1, 5], [5]))
def test_every_pair_of_special_operands(kernel: Kernel, step: int) -> None:
    every = [(a, b, a ^ b, 0) for a in SPECIAL + FLOATS for b in SPECIAL + FLOATS]
    every += [(a, b, c, 0) for a in FLOATS[:8] for b in FLOATS[:8] for c in FLOATS[:8]]
    every = every[::step]
    every += [(0, 0, 0, 0)] * (-len(every) % THREADS)
    for i in range(0, len(every), THREADS):
        require_defined(kernel, every[i : i + THREADS])


@pytest.mark.parametrize("most", by_day([15, 60], [15]))
def test_any_operands(kernel: Kernel, most: int) -> None:
    @settings(max_examples=most, deadline=None)
    @given(rows=st.lists(operands, min_size=THREADS, max_size=THREADS))
    @example(rows=[(0x80000000, 0xFFFFFFFF, 1 << 31, 0)] * THREADS)
    def tried(rows: list[tuple[int, ...]]) -> None:
        require_defined(kernel, rows)

    tried()


MODIFIERS = (
    *("sat", "ftz", "relu", "satfinite", "noftz", "oob", "approx", "full", "cc", "hi", "wide"),
    *("rn", "rz", "rm", "rp", "rni", "rzi", "rna", "rs", "NaN", "xorsign", "abs", "x2", "f16x2"),
    *("bf16", "f16", "f32", "f64", "s8", "u32", "b32"),
)


@settings(max_examples=300, deadline=None)
@given(
    opcode=st.sampled_from(sorted(it for it in FORMS if not it.endswith(OF_THREE))),
    modifier=st.sampled_from(MODIFIERS),
    at=st.integers(0, 3),
    replaces=st.booleans(),
)
def test_any_other_modifier_is_an_error(
    opcode: str, modifier: str, at: int, replaces: bool
) -> None:
    """A modifier more, or another one in its place: known by an entry of its own, or an error."""
    name, *parts = opcode.split(".")
    at = min(at, len(parts) - replaces)
    other = ".".join([name, *parts[:at], modifier, *parts[at + replaces :]])
    assume(other not in FORMS)
    operands = ", ".join(["%wr", *("%wa" for _ in FORMS[opcode].sources)])
    head = program().partition("{")[0]
    text = f"{head}{{\n.reg .b32 %wr, %wa;\n{other} {operands};\nret;\n}}\n"
    with pytest.raises(PTXError, match=rf"unknown instruction {re.escape(other)}: "):
        translated(read(text))


@pytest.mark.parametrize("target", by_day(NVIDIA, ["sm_80", "sm_90a"]))
def test_every_opcode_of_the_kernels_is_compared_with_its_definition(target: str) -> None:
    """What computes is in the table, whose entries are all tried; the rest moves and orders."""
    codes = [text.partition("\n")[2] for text in texts(target, 80).values()]
    used = {it.opcode for code in codes for it in read(code).body if isinstance(it, Statement)}
    others = r"(ld|st|mov|cvta|cp\.async|createpolicy|bar|barrier|mapa|bra|ret|exit)\b.*"
    assert sorted(it for it in used - set(FORMS) if not re.match(others, it)) == []
    assert len(used & set(FORMS)) > 50
    for code in codes:
        translated(read(code))  # with the operands that they have


def test_the_definitions_are_of_the_machine() -> None:
    """A definition that agrees with anything would show nothing: float64 rounds the same here."""
    rng = np.random.default_rng(0)
    for a, b in rng.uniform(-2, 2, (200, 2)).astype(np.float32):
        bits = [int(np.float32(it).view(np.uint32)) for it in (a, b)]
        assert number(add(*bits)) == np.float32(a + b)
        assert number(product(*bits)) == np.float32(a * b)
        assert number(quotient(*bits)) == np.float32(a / b)
