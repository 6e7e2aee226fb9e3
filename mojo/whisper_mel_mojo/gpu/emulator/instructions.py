"""The instructions that compute: what each makes of its operands, as the PTX ISA defines it.

``FORMS`` has one entry for each opcode with all its modifiers and types, and one more where it
takes three sources as well as two (:func:`form_of`); there is no other way for an instruction to be
known. Memory and barriers are in ``translate.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

WIDTHS = (16, 32, 64)
SIGNED = tuple(f"s{width}" for width in WIDTHS)
UNSIGNED = tuple(f"u{width}" for width in WIDTHS)
BITS = tuple(f"b{width}" for width in WIDTHS)


class Form(NamedTuple):
    """One opcode: types of destination and sources, and its value as a C expression.

    The expression has the sources as ``a``, ``b``, ``c``, ``d``. Integers have C's types of that
    sign and width and wrap around; the value is cut to the destination's width. ``f32`` is a
    ``float``, for which functions of ``runtime.h`` canonicalise NaN.
    """

    result: str
    sources: tuple[str, ...]
    value: str


_OF_THREE = " of three"
"""The end of a key of ``FORMS``, of the minimum or maximum of three (since PTX ISA 8.8)."""
_ORDERED = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_UNSIGNED_NAMES = {"lo": "<", "ls": "<=", "hi": ">", "hs": ">="}


def width_of(kind: str) -> int:
    """Return the width of a type in bits, 1 for a predicate."""
    return 1 if kind == "pred" else int(kind[1:])


def c_type(kind: str) -> str:
    """Return the C type in which a value of a PTX type is computed."""
    if kind in ("pred", "f32"):
        return {"pred": "bool", "f32": "float"}[kind]
    return f"{'' if kind[0] == 's' else 'u'}int{width_of(kind)}_t"


def _double(kind: str) -> str:
    return (
        f"{'' if kind[0] == 's' else 'unsigned '}__int128"
        if width_of(kind) == 64
        else (c_type(f"{kind[0]}{2 * width_of(kind)}"))
    )


def _arithmetic() -> Iterator[tuple[str, Form]]:
    for t in (*SIGNED, *UNSIGNED):
        two, three = (t, t), (t, t, t)
        high = f"({_double(t)})a * b >> {width_of(t)}"
        yield f"add.{t}", Form(t, two, "a + b")
        yield f"sub.{t}", Form(t, two, "a - b")
        yield f"mul.lo.{t}", Form(t, two, "a * b")
        yield f"mad.lo.{t}", Form(t, three, "a * b + c")
        yield f"mul.hi.{t}", Form(t, two, high)
        yield f"mad.hi.{t}", Form(t, three, f"({high}) + c")
        yield f"min.{t}", Form(t, two, "a < b ? a : b")
        yield f"max.{t}", Form(t, two, "a > b ? a : b")
        if width_of(t) < 64:
            wide = f"{t[0]}{2 * width_of(t)}"
            yield f"mul.wide.{t}", Form(wide, two, f"({c_type(wide)})a * b")
            yield f"mad.wide.{t}", Form(wide, (t, t, wide), f"({c_type(wide)})a * b + c")
        # By 0 the value is unspecified, so that it is a finding.
        quotient, remainder = "a / divisor(b, SITE)", "a % divisor(b, SITE)"
        if t[0] == "s":  # the most negative number by -1 would trap
            quotient, remainder = f"b == -1 ? -a : {quotient}", f"b == -1 ? 0 : {remainder}"
        yield f"div.{t}", Form(t, two, quotient)
        yield f"rem.{t}", Form(t, two, remainder)
    for t in SIGNED:
        yield f"neg.{t}", Form(t, (t,), "-a")
        yield f"abs.{t}", Form(t, (t,), "a < 0 ? -a : a")


def _bits() -> Iterator[tuple[str, Form]]:
    for t in ("pred", *BITS):
        yield f"and.{t}", Form(t, (t, t), "a & b")
        yield f"or.{t}", Form(t, (t, t), "a | b")
        yield f"xor.{t}", Form(t, (t, t), "a ^ b")
        yield f"not.{t}", Form(t, (t,), "!a" if t == "pred" else "~a")
    for width in WIDTHS:
        yield f"shl.b{width}", Form(f"b{width}", (f"b{width}", "u32"), f"b < {width} ? a << b : 0")
        for kind in "bu":
            t = f"{kind}{width}"
            yield f"shr.{t}", Form(t, (t, "u32"), f"b < {width} ? a >> b : 0")
        t = f"s{width}"
        yield f"shr.{t}", Form(t, (t, "u32"), f"a >> (b < {width} ? b : {width - 1})")
    pair = "(uint64_t)b << 32 | a"
    for mode, amount in (("wrap", "(c & 31)"), ("clamp", "(c < 32 ? c : 32)")):
        three = ("b32", "b32", "u32")
        yield f"shf.l.{mode}.b32", Form("b32", three, f"({pair}) << {amount} >> 32")
        yield f"shf.r.{mode}.b32", Form("b32", three, f"({pair}) >> {amount}")
    yield "prmt.b32", Form("b32", ("b32", "b32", "b32"), "permuted(a, b, c)")
    yield "lop3.b32", Form("b32", ("b32", "b32", "b32", "u32"), "any_logic(a, b, c, d)")


def _comparisons() -> Iterator[tuple[str, Form]]:
    for width in WIDTHS:
        for kind in "bsu":
            t = f"{kind}{width}"
            names = dict(list(_ORDERED.items())[:2]) if kind == "b" else _ORDERED
            names = {**names, **_UNSIGNED_NAMES} if kind == "u" else names
            for name, sign in names.items():
                yield f"setp.{name}.{t}", Form("pred", (t, t), f"a {sign} b")
            yield f"selp.{t}", Form(t, (t, t, "pred"), "c ? a : b")
    unordered = "(isnan(a) || isnan(b))"
    for name, sign in _ORDERED.items():
        ordered = f"!{unordered} && a {sign} b"
        yield f"setp.{name}.f32", Form("pred", ("f32", "f32"), ordered)
        yield f"setp.{name}u.f32", Form("pred", ("f32", "f32"), f"{unordered} || a {sign} b")
    yield "setp.num.f32", Form("pred", ("f32", "f32"), f"!{unordered}")
    yield "setp.nan.f32", Form("pred", ("f32", "f32"), unordered)
    yield "selp.f32", Form("b32", ("b32", "b32", "pred"), "c ? a : b")


def _floats() -> Iterator[tuple[str, Form]]:
    one, two, three = ("f32",), ("f32", "f32"), ("f32", "f32", "f32")
    for name, sign in (("add", "+"), ("sub", "-"), ("mul", "*")):
        for rounding in ("", ".rn"):
            yield f"{name}{rounding}.f32", Form("f32", two, f"a {sign} b")
    yield "fma.rn.f32", Form("f32", three, "fmaf(a, b, c)")
    yield "div.rn.f32", Form("f32", two, "a / b")
    yield "rcp.rn.f32", Form("f32", one, "1 / a")
    yield "sqrt.rn.f32", Form("f32", one, "sqrtf(a)")
    yield "neg.f32", Form("b32", ("b32",), "a ^ 0x80000000")
    yield "abs.f32", Form("b32", ("b32",), "a & 0x7FFFFFFF")
    for name in ("min", "max"):
        yield f"{name}.f32", Form("f32", two, f"{name}imum(a, b)")
        yield f"{name}.NaN.f32", Form("f32", two, f"isnan(a) || isnan(b) ? NAN : {name}imum(a, b)")
        least = f"{name}imum({name}imum(a, b), c)"
        any_nan = "isnan(a) || isnan(b) || isnan(c)"
        yield f"{name}.f32{_OF_THREE}", Form("f32", three, least)
        yield f"{name}.NaN.f32{_OF_THREE}", Form("f32", three, f"{any_nan} ? NAN : {least}")


def _conversions() -> Iterator[tuple[str, Form]]:
    integers = (*SIGNED, *UNSIGNED)
    for source in integers:
        for result in integers:
            yield f"cvt.{result}.{source}", Form(result, (source,), "a")
        yield f"cvt.rn.f32.{source}", Form("f32", (source,), "(float)a")
    yield "cvt.rn.f16.f32", Form("b16", ("f32",), "half_of(a)")


FORMS: dict[str, Form] = {}
for _table in (_arithmetic, _bits, _comparisons, _floats, _conversions):
    FORMS.update(_table())


def form_of(opcode: str, sources: int) -> Form | None:
    """Return the form of an opcode with this number of sources; None if there is none."""
    of_three = FORMS.get(opcode + _OF_THREE) if sources == 3 else None
    return of_three or FORMS.get(opcode)
