"""Front-ends that are programs: ``cmd:./prog {in} {out} {n_mels}``."""

from __future__ import annotations

import itertools
import json
import math
import os
import shlex
import shutil
import stat
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.frontend.errors import Broken
from whisper_mel_conformance.frontend.output import Output, signal_name

COMMAND_PREFIX = "cmd:"
_PLACEHOLDERS = ("{in}", "{out}", "{n_mels}", "{pad_to}", "{smoothing}", "{maximum}")
_OFFERS = ("{maximum}", "{stream}")
"""Words by which a serving program says what further requests it understands."""


_ANSWER_LIMIT = 64 << 10  # bytes of a line that a program answers
_REFUSALS = range(1, 126)
"""Exit statuses by which a program refuses its input.

Those above are a shell's: 126 and 127 for a program that it cannot run, 128 plus its number for a
signal that ended the program.
"""


class CommandCrashed(BaseException):
    """The end of a program by a signal; no ``Exception``, since it is no refusal of bad input."""


class CommandFrontEnd:
    """A program that reads raw little-endian float32 samples and writes float32 features.

    A program with ``{in}`` and ``{out}`` in its arguments is started for every call. It says what
    it wrote on the last line of its standard output, or in the file ``{out}.json``: ``{"shape":
    [80, 100]}`` or ``{"unsupported": "why"}``. An exit status from 1 to 125 refuses the input; a
    higher one is a crash, as in shells.

    A program without placeholders is started once and serves. For every call it reads one line of
    JSON, ``{"in": path, "out": path, "n_mels": 80, "pad_to": null, "smoothing": null}``, and
    answers with one line as above, or ``{"error": "why"}``.

    A serving program that has ``{maximum}`` among its arguments is also given ``"maximum"``:
    ``"clip"``, ``"chunk"`` or a number. One that has ``{stream}`` is also given the pieces of
    streams: the lines of one have its number as ``"stream"``, ``"finish"`` is true in its last, and
    the answers have the frames that have become final.
    """

    device = "cpu"

    def __init__(self, command: str) -> None:
        self._arguments = shlex.split(command)
        self.name = COMMAND_PREFIX + command
        if not self._arguments:
            raise ValueError(f"front-end {self.name!r}: expected a command after {COMMAND_PREFIX}")
        # Checked now, because a program that cannot be started would seem to refuse bad input
        # rightly.
        if shutil.which(self._arguments[0]) is None:
            raise ValueError(
                f"front-end {self.name!r}: there is no program {self._arguments[0]} that can be "
                "executed: expected a path or a name on PATH"
            )
        takes = {p for p in (*_PLACEHOLDERS, *_OFFERS) if any(p in a for a in self._arguments)}
        self._serves = not takes - {*_OFFERS}
        if not self._serves and not {"{in}", "{out}"} <= takes:
            raise ValueError(
                f"front-end {self.name!r}: expected both {{in}} and {{out}}, or no placeholder"
            )
        every = self._serves
        if every:
            for word in _OFFERS:
                self._arguments = [a.replace(word, word[1:-1]) for a in self._arguments]
        self._takes_maximum = "{maximum}" in takes
        if every and "{stream}" in takes:
            self.stream = self._begin
        self._streams = itertools.count(1)
        maximum = ("clip", "fixed", "chunk") if self._takes_maximum else ("clip",)
        self.capabilities = {
            "n_mels": (80, 128) if every or "{n_mels}" in takes else (80,),
            "pad_to": every or "{pad_to}" in takes,
            "smoothing": (None, "valid", "same") if every or "{smoothing}" in takes else (None,),
            "maximum": maximum,
            "stream": maximum[:2] if every and "{stream}" in takes else (),
            "process_per_call": not self._serves,
            "own_process": True,
        }
        self._server: subprocess.Popen[bytes] | None = None
        self._asking = threading.Lock()  # threads take turns: one request, one answer

    def log_mel(
        self,
        audio: NDArray[np.float32],
        n_mels: int = 80,
        *,
        pad_to: int | None = None,
        smoothing: str | None = None,
        maximum: str | float = "clip",
    ) -> NDArray[np.float32]:
        """Run the program on a clip; return its features.

        Raises ``ValueError`` for input that it refuses, ``NotImplementedError`` for what it
        declares unsupported, ``Broken`` for an invalid answer, ``CommandCrashed``.
        """
        asked = {"n_mels": n_mels, "pad_to": pad_to, "smoothing": smoothing}
        return self._answered(audio, {**asked, **self._with(maximum)})

    def _with(self, maximum: str | float) -> dict[str, Any]:
        return {"maximum": maximum} if self._takes_maximum else {}

    def _begin(self, n_mels: int = 80, *, maximum: str | float = "clip") -> _ProgramStream:
        """Begin a stream of the serving program."""
        asked = {"stream": next(self._streams), "n_mels": n_mels, **self._with(maximum)}
        return _ProgramStream(self, asked)

    def _answered(self, audio: NDArray[np.float32], asked: dict[str, Any]) -> NDArray[np.float32]:
        """Hand over samples with what is asked; return the features that the program writes."""
        try:
            return self._exchanged(audio, asked)
        except OSError as error:  # no refusal: the program has made its files unreadable
            raise Broken(f"the program's files cannot be used: {error}") from error

    def _exchanged(self, audio: NDArray[np.float32], asked: dict[str, Any]) -> NDArray[np.float32]:
        with tempfile.TemporaryDirectory(prefix="whisper-mel-") as folder:
            source, target = Path(folder, "audio.f32"), Path(folder, "features.f32")
            source.write_bytes(np.ascontiguousarray(audio, "<f4").tobytes())
            request = {"in": str(source), "out": str(target), **asked}
            answer = self._ask_in_turn(request) if self._serves else self._run(request)
            if "unsupported" in answer:
                raise NotImplementedError(answer["unsupported"])
            if "error" in answer:
                raise ValueError(answer["error"])
            return self._read(target, answer)

    def close(self) -> None:
        """End the serving program by closing its input; the next call starts another."""
        if self._server is not None:
            self._server.communicate()
            self._server = None

    def _run(self, request: dict[str, Any]) -> dict[str, Any]:
        words = {"{" + key + "}": "" if v is None else str(v) for key, v in request.items()}
        arguments = list(self._arguments)
        for placeholder, word in words.items():
            arguments = [argument.replace(placeholder, word) for argument in arguments]
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        printed, complained = Output(process.stdout), Output(process.stderr)
        status = process.wait()
        said, answer = complained.end(500), printed.end(_ANSWER_LIMIT)
        if status < 0:
            raise CommandCrashed(f"ended by {signal_name(-status)}: {said}")
        if status in _REFUSALS:
            raise ValueError(f"exit status {status}: {said}")
        if status:
            raise CommandCrashed(f"exit status {status} ({_shell_says(status)}): {said}")
        beside = Path(request["out"] + ".json")
        if not os.path.lexists(beside):
            return _parse(answer)
        _require_regular(beside)
        return _parse(_read_text(beside))

    def _ask_in_turn(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._asking:
            return self._ask(request)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._server is None:
            self._server = subprocess.Popen(
                self._arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        try:
            self._server.stdin.write(json.dumps(request).encode() + b"\n")
            self._server.stdin.flush()
            line = self._line(self._server.stdout)
        except BrokenPipeError:
            line = b""
        if not line:
            status, self._server = self._server.wait(), None
            raise CommandCrashed(f"the serving program ended with status {status}")
        return _parse(line.decode(errors="replace"))

    def _line(self, pipe: IO[bytes]) -> bytes:
        """Read the next line and nothing more; raise ``Broken`` if it is too long."""
        line = pipe.readline(_ANSWER_LIMIT)
        if len(line) == _ANSWER_LIMIT:
            raise Broken(f"the program answered {_ANSWER_LIMIT} bytes without a line feed")
        return line

    def _read(self, target: Path, answer: dict[str, Any]) -> NDArray[np.float32]:
        shape = answer.get("shape")
        if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
            raise Broken(f"the program answered {answer}: expected a shape such as [80, 100]")
        expected = 4 * math.prod(shape)
        size = _require_regular(target)
        if size != expected:
            raise Broken(f"the program wrote {size} bytes: expected {expected} for shape {shape}")
        return np.fromfile(target, "<f4").astype(np.float32, copy=False).reshape(shape)


class _ProgramStream:
    """A stream of a serving program."""

    def __init__(self, program: CommandFrontEnd, asked: dict[str, Any]) -> None:
        self._program = program
        self._asked = asked

    def push(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Hand over further samples; return the frames that have become final."""
        return self._program._answered(samples, {**self._asked, "finish": False})

    def finish(self) -> NDArray[np.float32]:
        """End the stream; return the remaining frames."""
        return self._program._answered(np.empty(0, np.float32), {**self._asked, "finish": True})


def _shell_says(status: int) -> str:
    if status < 128:
        return "a shell found no such program, or could not run it"
    return f"a shell's word for {signal_name(status - 128)}"


def _require_regular(path: Path) -> int:
    """Return the size of a file in bytes; raise ``Broken`` unless it is a regular one."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        raise Broken(f"the program wrote no file {path.name}") from None
    if not stat.S_ISREG(found.st_mode):
        raise Broken(f"the program made {path.name}, and it is no regular file")
    return found.st_size


def _read_text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_ANSWER_LIMIT).decode(errors="replace")


def _parse(text: str) -> dict[str, Any]:
    """Parse the last line of a program's answer; raise ``Broken`` if it is not a JSON object."""
    line = text.strip().rpartition("\n")[2]
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise Broken(f"the program answered {line[:200]!r}: expected one line of JSON")
    return answer
