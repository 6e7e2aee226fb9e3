"""Forms of the JSON that outputs hold: anybody may have written what is read there.

A form is a function that returns whether a value has it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

Form = Callable[[Any], bool]

_NAME = r"\d{6,}-[0-9a-f]{8}"
NAME = re.compile(_NAME)
"""Names of shards. What else is in the folders is not ours, and stays."""


def is_count(value: Any) -> bool:
    """Return whether a value is a whole number from 0 that fits into 63 bits."""
    return type(value) is int and 0 <= value < 1 << 63


def is_name(value: Any) -> bool:
    """Return whether a value can be the name of a file, whose bytes need not be UTF-8."""
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def matches(pattern: str) -> Form:
    """Return the form of texts that match a pattern as a whole."""
    return lambda value: isinstance(value, str) and bool(re.fullmatch(pattern, value))


def one_of(*values: Any) -> Form:
    """Return the form of some values, of the same types."""
    return lambda value: any(type(value) is type(it) and value == it for it in values)


def either(*forms: Form) -> Form:
    """Return the form of what has one of several."""
    return lambda value: any(form(value) for form in forms)


def each(form: Form) -> Form:
    """Return the form of lists whose values have a form."""
    return lambda value: isinstance(value, list) and all(map(form, value))


def row(*forms: Form) -> Form:
    """Return the form of lists with a form for each place."""
    return lambda value: (
        isinstance(value, list)
        and len(value) == len(forms)
        and all(form(it) for form, it in zip(forms, value, strict=True))
    )


def by_name(form: Form) -> Form:
    """Return the form of objects with any names, whose values have a form."""
    return lambda value: (
        isinstance(value, dict) and all(is_name(name) and form(it) for name, it in value.items())
    )


def having(**forms: Form) -> Form:
    """Return the form of objects that have fields of these forms, and others."""
    return lambda value: (
        isinstance(value, dict)
        and all(name in value and form(value[name]) for name, form in forms.items())
    )


_nothing = one_of(None)
_STAMP = having(size=is_count, mtime_ns=is_count, sha256=either(_nothing, matches("[0-9a-f]{64}")))
_SETTINGS = having(
    n_mels=one_of(80, 128),
    window=is_count,
    overlap=is_count,
    channel=either(_nothing, is_count),
    dtype=one_of("float32", "float16"),
    format=one_of("parquet", "tar"),
    columns=either(_nothing, each(is_name)),
    carried=by_name(is_name),
)
_FILE = matches(rf"{_NAME}\.(parquet|tar)")
_LINE = row(is_name, either(_nothing, is_count), lambda value: isinstance(value, str))
REPORT = having(
    name=matches(_NAME),
    settings=_SETTINGS,
    clips=each(row(is_name, either(_nothing, is_count))),
    inputs=by_name(either(_nothing, _STAMP)),
    shard=either(_nothing, having(file=_FILE, rows=is_count, stamp=_STAMP)),
    skipped=each(_LINE),
    notes=each(_LINE),
)
"""The form of the report of a shard."""
_BEGUN = having(settings=_SETTINGS, sources=each(is_name), complete=one_of(False))
_WHOLE = having(
    settings=_SETTINGS,
    sources=each(is_name),
    complete=one_of(True),
    shards=each(having(file=_FILE, rows=is_count)),
)
MANIFEST = either(_BEGUN, _WHOLE)
"""The form of a manifest, of an output that is finished or is not."""
