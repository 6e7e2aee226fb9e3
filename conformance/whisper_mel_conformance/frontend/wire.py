"""Messages between the judge and a front-end's process: JSON and arrays, never code.

A message is a head (two lengths in bytes), a text in JSON, and the memory of the arrays that the
text names, one after the other. The front-end's code can write any bytes to the socket. Therefore
the size of a message is checked before it is read, its time is limited, and it is decoded as plain
data that is never executed.
"""

from __future__ import annotations

import json
import math
import re
import socket
import struct
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

TEXT_LIMIT = 4 << 20
"""Limit of the bytes of JSON in a message."""

_HEAD = struct.Struct("<QQ")
_DTYPE = re.compile(r"[<>|][biufc]\d{1,2}")
# key of an object that stands for an array; its value is the dtype, "shape" is beside it
_ARRAY = "array of"


class Malformed(ValueError):
    """Bytes that are no message."""


def send(connection: socket.socket, message: Any, timeout: float | None = None) -> int:
    """Send plain data with arrays in it; return the message's size in bytes.

    ``timeout`` is in seconds for the whole message; None means no limit. Raises ``TimeoutError``,
    or ``OSError`` if the other end is gone.
    """
    arrays: list[NDArray[Any]] = []
    text = json.dumps(_encoded(message, arrays)).encode()
    total = sum(array.nbytes for array in arrays)
    parts: list[Any] = [_HEAD.pack(len(text), total), text, *map(_memory, arrays)]
    connection.settimeout(timeout)  # sendall() applies it to all of its bytes
    deadline = _deadline(timeout)
    for part in parts:
        _wait_until(connection, deadline)
        connection.sendall(part)
    return _HEAD.size + len(text) + total


def receive(
    connection: socket.socket, timeout: float | None = None, limit: int | None = None
) -> Any:
    """Receive the next message, with new and writable arrays.

    ``timeout`` is in seconds for the whole message; ``limit`` is the largest size of its arrays in
    bytes; None means no limit. Raises ``EOFError`` if the other end has closed the connection,
    ``Malformed``, ``TimeoutError`` or ``OSError``.
    """
    deadline = _deadline(timeout)
    text_size, total = _HEAD.unpack(_read(connection, _HEAD.size, deadline))
    if text_size > TEXT_LIMIT:
        raise Malformed(f"{text_size} bytes of text: expected at most {TEXT_LIMIT}")
    if limit is not None and total > limit:
        raise Malformed(f"arrays of {total} bytes: expected at most {limit}")
    text = _read(connection, text_size, deadline)
    arrays = _Arrays(_read(connection, total, deadline))
    try:
        message = arrays.placed(json.loads(text))
    except Malformed:
        raise
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON: {error}") from None
    if arrays.taken != total:
        raise Malformed(f"{total} bytes beside a text that names {arrays.taken}")
    return message


def printable(text: str, limit: int | None = None, *, lines: bool = False) -> str:
    """Return ``text`` in a form that can be shown and stored anywhere, XML and HTML included.

    Control characters, lone surrogates and others that cannot be printed are escaped; ``lines``
    keeps line feeds and tabs. What GitHub's runners would obey as a command in a log is escaped,
    too. A text of more than ``limit`` characters loses its middle.
    """
    if limit is not None and len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}…{text[len(text) - (limit - half - 1) :]}"
    text = _COMMAND.sub(lambda found: _hexadecimal(found[0]), text)
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(c if c.isprintable() or c in kept else _escaped(c) for c in text)


_COMMAND = re.compile(r"^\s*::|##\[", re.MULTILINE)
"""The beginning of a workflow command, in both of its forms."""


def _hexadecimal(command: str) -> str:
    """Escape the first character of a command, which follows the line's spaces."""
    words = command.lstrip()
    return command[: len(command) - len(words)] + f"\\x{ord(words[0]):x}{words[1:]}"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _encoded(value: Any, arrays: list[NDArray[Any]]) -> Any:
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {_ARRAY: value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, dict):
        return {key: _encoded(inner, arrays) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encoded(inner, arrays) for inner in value]
    return value


def _memory(array: NDArray[Any]) -> Any:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


class _Arrays:
    """The memory of a message's arrays, and the number of bytes already taken."""

    def __init__(self, memory: bytearray) -> None:
        self._memory = memory
        self.taken = 0

    def placed(self, value: Any) -> Any:
        """Return ``value`` with arrays in place of the objects that name them."""
        if isinstance(value, dict):
            if _ARRAY in value:
                return self._array(value.get(_ARRAY), value.get("shape"))
            return {key: self.placed(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.placed(inner) for inner in value]
        return value

    def _array(self, dtype: Any, shape: Any) -> NDArray[Any]:
        if not (isinstance(dtype, str) and _DTYPE.fullmatch(dtype)):
            raise Malformed(f"an array of {dtype!r}: expected a number type")
        if not (isinstance(shape, list) and len(shape) <= 8 and _are_counts(shape)):
            raise Malformed(f"an array of shape {shape!r}: expected a list of lengths")
        try:
            kind = np.dtype(dtype)
        except TypeError as error:
            raise Malformed(f"an array of {dtype!r}: {error}") from None
        size = math.prod(shape) * kind.itemsize
        if size > len(self._memory) - self.taken:
            raise Malformed(f"an array of shape {shape!r} in {len(self._memory)} bytes")
        start, self.taken = self.taken, self.taken + size
        count = math.prod(shape)
        return np.frombuffer(self._memory, kind, count, start).reshape(shape)


def _are_counts(values: list[Any]) -> bool:
    """Return whether they are lengths, and none is too many even if others are 0."""
    are_whole = all(type(value) is int and value >= 0 for value in values)
    return are_whole and math.prod(max(value, 1) for value in values) < 1 << 48


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _wait_until(connection: socket.socket, deadline: float | None) -> None:
    """Limit the next operation to the time that is left; raise ``TimeoutError`` if none is."""
    if deadline is not None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)


def _read(connection: socket.socket, size: int, deadline: float | None) -> bytearray:
    """Read exactly ``size`` bytes; raise ``EOFError`` if there are fewer."""
    memory = bytearray(size)
    if deadline is None:
        connection.settimeout(None)
    view, done = memoryview(memory), 0
    while done < size:
        _wait_until(connection, deadline)
        count = connection.recv_into(view[done:])
        if count == 0:
            raise EOFError
        done += count
    return memory
