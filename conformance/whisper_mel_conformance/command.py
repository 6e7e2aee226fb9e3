"""Front-ends that are programs: ``cmd:./prog {in} {out} {n_mels}``."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

COMMAND_PREFIX = "cmd:"
_PLACEHOLDERS = ("{in}", "{out}", "{n_mels}", "{pad_to}", "{smoothing}")


class CommandCrashed(BaseException):
    """The program was ended by a signal. Not an ``Exception``: no refusal of bad input."""


class CommandFrontEnd:
    """A program that reads raw little-endian float32 and writes the same.

    With ``{in}`` and ``{out}`` in its arguments it is started for every call. It says on the last
    line of its standard output, or in the file ``{out}.json``, what it wrote: ``{"shape": [80,
    100]}``; or ``{"unsupported": "why"}``. An exit status other than 0 means that it refuses the
    input.

    Without them it is started once and serves: for every call it reads one line of JSON, ``{"in":
    path, "out": path, "n_mels": 80, "pad_to": null, "smoothing": null}``, and answers with one
    line as above, or ``{"error": "why"}``.
    """

    device = "cpu"

    def __init__(self, command: str) -> None:
        self._arguments = shlex.split(command)
        self.name = COMMAND_PREFIX + command
        if not self._arguments:
            raise ValueError(f"front-end {self.name!r}: expected a command after {COMMAND_PREFIX}")
        # Said here: a program that cannot be started would "refuse" bad input as it should.
        if shutil.which(self._arguments[0]) is None:
            raise ValueError(
                f"front-end {self.name!r}: there is no program {self._arguments[0]} that can be "
                "executed: expected a path or a name on PATH"
            )
        takes = {p for p in _PLACEHOLDERS if any(p in a for a in self._arguments)}
        self._serves = not takes
        if not self._serves and not {"{in}", "{out}"} <= takes:
            raise ValueError(
                f"front-end {self.name!r}: expected both {{in}} and {{out}}, or no placeholder"
            )
        every = self._serves
        self.capabilities = {
            "n_mels": (80, 128) if every or "{n_mels}" in takes else (80,),
            "pad_to": every or "{pad_to}" in takes,
            "smoothing": (None, "valid", "same") if every or "{smoothing}" in takes else (None,),
            "process_per_call": not self._serves,
        }
        self._server: subprocess.Popen[str] | None = None
        self._asking = threading.Lock()  # one question, one answer: threads take turns

    def log_mel(
        self,
        audio: NDArray[np.float32],
        n_mels: int = 80,
        *,
        pad_to: int | None = None,
        smoothing: str | None = None,
    ) -> NDArray[np.float32]:
        """Run the program. Raises ``ValueError`` for what it refuses and for broken answers."""
        with tempfile.TemporaryDirectory(prefix="whisper-mel-") as folder:
            source, target = Path(folder, "audio.f32"), Path(folder, "features.f32")
            source.write_bytes(np.ascontiguousarray(audio, "<f4").tobytes())
            request = {
                "in": str(source),
                "out": str(target),
                "n_mels": n_mels,
                "pad_to": pad_to,
                "smoothing": smoothing,
            }
            answer = self._ask_in_turn(request) if self._serves else self._run(request)
            if "unsupported" in answer:
                raise NotImplementedError(answer["unsupported"])
            if "error" in answer:
                raise ValueError(answer["error"])
            return self._read(target, answer)

    def close(self) -> None:
        """End the serving program, by the end of its input; the next call starts another."""
        if self._server is not None:
            self._server.communicate()
            self._server = None

    def _run(self, request: dict[str, Any]) -> dict[str, Any]:
        words = {"{" + key + "}": "" if v is None else str(v) for key, v in request.items()}
        arguments = list(self._arguments)
        for placeholder, word in words.items():
            arguments = [argument.replace(placeholder, word) for argument in arguments]
        done = subprocess.run(
            arguments, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode < 0:
            raise CommandCrashed(f"ended by signal {-done.returncode}: {done.stderr[-500:]}")
        if done.returncode:
            raise ValueError(f"exit status {done.returncode}: {done.stderr[-500:]}")
        beside = Path(request["out"] + ".json")
        text = beside.read_text() if beside.exists() else done.stdout
        return _parse(text.strip().rpartition("\n")[2])

    def _ask_in_turn(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._asking:
            return self._ask(request)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._server is None:
            self._server = subprocess.Popen(
                self._arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
            )
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        try:
            self._server.stdin.write(json.dumps(request) + "\n")
            line = self._server.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status, self._server = self._server.wait(), None
            raise CommandCrashed(f"the serving program ended with status {status}")
        return _parse(line)

    def _read(self, target: Path, answer: dict[str, Any]) -> NDArray[np.float32]:
        shape = answer.get("shape")
        if not isinstance(shape, list) or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise ValueError(f"the program answered {answer}: expected a shape such as [80, 100]")
        if not target.exists():
            raise ValueError(f"the program wrote no file {target.name}")
        values = np.fromfile(target, "<f4")
        if target.stat().st_size != 4 * int(np.prod(shape)):
            raise ValueError(
                f"the program wrote {target.stat().st_size} bytes: "
                f"expected {4 * int(np.prod(shape))} for shape {shape}"
            )
        return values.astype(np.float32, copy=False).reshape(shape)


def _parse(line: str) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except json.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise ValueError(f"the program answered {line[:200]!r}: expected one line of JSON")
    return answer
