"""Front-ends that lie, crash in odd ways or attack the judge: none decides its own verdict."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from running import CASE
from whisper_mel_conformance.cases.catalogue import all_cases
from whisper_mel_conformance.frontend import client, wire, worker
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.effects import USAGE
from whisper_mel_conformance.frontend.errors import Failure, Refused, Unsupported
from whisper_mel_conformance.frontend.load import inspect_front_end
from whisper_mel_conformance.frontend.operations import ANSWERS, OPERATIONS
from whisper_mel_conformance.repro import replay
from whisper_mel_conformance.run import judge

CLIP = np.ones(400, np.float32)
IMPORTS = "import datetime, os, pathlib, signal, socket, struct, sys, time\nimport numpy as np"

Load = Callable[..., FrontEnd]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """A front-end of Python code, in a process of its own."""
    started: list[FrontEnd] = []

    def load_code(body: str, timeout: float | None = None) -> FrontEnd:
        """``timeout`` is in seconds a call, once it is loaded; None leaves enough for any."""
        path = tmp_path / f"code{len(started)}.py"
        path.write_text(f"{IMPORTS}\n{body}\n")
        started.append(FrontEnd(f"{path}:f", timeout=1800.0))
        if timeout is not None:
            started[-1].start()
            started[-1].timeout = timeout
        return started[-1]

    yield load_code
    for front_end in started:
        front_end.stop()


# --------------------------------------------------------------------------- the connection

# Finds the socket to the judge, whatever its number is.
FIND = """
kept = []
def judge():
    for fd in range(3, 64):
        try:
            kept.append(socket.socket(fileno=fd))
            return kept[0]
        except OSError:
            pass
"""

RUNS_CODE = """
import pickle
class Evil:
    def __reduce__(self):
        return os.system, ("touch {marker}",)
data = pickle.dumps(("value", Evil(), 0))
"""


@pytest.mark.slow
def test_what_is_sent_is_never_executed(load: Load, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    code = RUNS_CODE.format(marker=marker)
    for head in ("struct.pack('!i', len(data))", "struct.pack('<QQ', len(data), 0)"):
        front_end = load(
            f"{FIND}{code}\ndef f(audio):\n    judge().sendall({head} + data)\n    time.sleep(3600)"
        )
        with pytest.raises(Failure, match="invalid message"):
            front_end.call(CLIP)
        assert not marker.exists()


def message(text: bytes, memory: bytes = b"") -> bytes:
    return struct.pack("<QQ", len(text), len(memory)) + text + memory


def named(dtype: str, shape: str, memory: bytes = b"") -> bytes:
    """An answer whose value is an array, as it is named in the text."""
    text = f'["value", {{"array of": "{dtype}", "shape": {shape}}}, 0]'
    return message(text.encode(), memory)


@contextlib.contextmanager
def answering(sent: bytes) -> Iterator[FrontEnd]:
    """A front-end that has sent these bytes; there is no process."""
    ours, theirs = socket.socketpair()
    with theirs:
        front_end = FrontEnd("answering", timeout=1800.0)
        front_end._connection = ours
        theirs.sendall(sent)
        yield front_end
        front_end.stop()


@pytest.mark.parametrize(
    ("sent", "failure"),
    [
        (b"rubbish" * 9, "bytes of text"),
        (struct.pack("<QQ", 1 << 62, 0), "bytes of text"),
        (struct.pack("<QQ", wire.TEXT_LIMIT + 1, 0), "expected at most"),
        (struct.pack("<QQ", 2, 1 << 62) + b"{}", "arrays of"),
        (message(b"["), "invalid message .no JSON"),
        (message(b"[" * 100_000), "invalid message .no JSON"),
        (message(b"[" * 900 + b"]" * 900), "invalid message .no JSON"),
        (message(b"{}"), "invalid answer"),
        (named("|O", "[1]"), "number type"),
        (named("<f4", "[-1]"), "lengths"),
        (named("<f4", "[9]"), "in 0 bytes"),
        (named("<f4", "[281474976710656]"), "lengths"),
        (named("<f4", "[0, 4294967296, 4294967296]"), "lengths"),
        (message(b'["value", 1, 0]', b"1234"), "names 0"),
        (message(b'["value", 1, 0]'), "sent a wrong kind of answer to call: 1"),
        (message(b'["value", [], 0]'), "wrong kind of answer"),
        (named("<f8", "[1]", bytes(8)), "wrong kind of answer"),
        (message(b'["value", 1, -1]'), "invalid answer"),
        (message(b'["value", 1, true]'), "invalid answer"),
        (message(b'["value", 1]'), "invalid answer"),
        (message(b'["value", 1, 0, 0]'), "invalid answer"),
        (message(b'["passed", 1, 0]'), "invalid answer"),
        (message(b'["refused", 1, 0]'), "invalid answer"),
        (message(b'["refused", {"types": []}, 0]'), "invalid answer"),
        (message(b'["refused", {"types": ["E"], "message": ""}, 0]'), "invalid answer"),
        (
            message(b'["refused", {"types": [1], "message": "", "traceback": ""}, 0]'),
            "invalid answer",
        ),
        (message(b'["refused", {"types": [], "message": "", "traceback": ""}, 0]'), "invalid"),
        (message(b'["died", 1, 0]'), "invalid answer"),
        (message(b"[[], 1, 0]"), "invalid answer"),
    ],
)
def test_what_is_no_answer_is_a_failure(sent: bytes, failure: str) -> None:
    with answering(sent) as front_end, pytest.raises(Failure, match=failure) as error:
        front_end.call(CLIP)
    assert error.value.hard
    assert str(error.value).startswith("the process sent")
    assert front_end.calls == 0


def test_a_long_answer_is_shown_in_part() -> None:
    sent = message(b'["value", "' + b"x" * 999 + b'", 0]')
    with answering(sent) as front_end, pytest.raises(Failure) as error:
        front_end.call(CLIP)
    words = "the process sent a wrong kind of answer to call: "
    assert len(str(error.value)) == len(words) + 200
    with answering(named("O" * 999, "[1]")) as front_end, pytest.raises(Failure) as error:
        front_end.call(CLIP)
    assert len(str(error.value)) == len("the process sent an invalid message ()") + 200


def test_each_kind_of_answer_is_taken_for_what_it_is() -> None:
    with answering(named("<f4", "[1, 2]", bytes(8)).replace(b" 0]", b" 3]")) as front_end:
        assert front_end.call(CLIP).tolist() == [[0.0, 0.0]]
        assert front_end.calls == 3
    for kind, raised in (("broken", Failure), ("died", Failure), ("unsupported", Unsupported)):
        text = json.dumps([kind, "why\x1b" + "y" * 3000, 2]).encode()
        with answering(message(text)) as front_end, pytest.raises(raised) as error:
            front_end.call(CLIP)
        assert str(error.value).startswith("why\\x1by")
        assert len(str(error.value)) <= 2010
        assert front_end.calls == 2
        assert getattr(error.value, "hard", False) == (kind == "died")
    told = {"types": ["E\n", "Exception"], "message": "no\n", "traceback": "t" * 5000}
    refused = message(json.dumps(["refused", told, 1]).encode())
    with answering(refused) as front_end, pytest.raises(Refused, match="no") as refusal:
        front_end.call(CLIP)
    assert refusal.value.types == ["E\\n", "Exception"]
    assert (refusal.value.message, len(refusal.value.traceback)) == ("no\n", 4000)


def test_the_limit_of_an_answer_grows_with_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_LEAST_ANSWER", 100)
    for n, sent, is_taken in ((1, 100, True), (1, 101, True), (1, 9000, False), (1200, 9000, True)):
        answer = named("<f4", f"[{sent // 4}]", bytes(sent // 4 * 4))
        with answering(answer) as front_end:
            if is_taken:
                assert front_end.call(np.ones(n, np.float32)).nbytes == sent // 4 * 4
            else:
                with pytest.raises(Failure, match="expected at most"):
                    front_end.call(np.ones(n, np.float32))


def test_what_answers_is_described_as_it_described_itself() -> None:
    said = {
        "name": "x",
        "device": "cuda",
        "versions": {"library": "1.0"},
        "capabilities": {"batch": True, "model": None},
    }
    with answering(b"") as front_end:
        front_end._describe(said)
        again = FrontEnd.of(front_end.described(), timeout=1.0)
        front_end._describe({})  # of a process that was started anew: it changes nothing
    assert again.described() == front_end.described()
    assert again.described()["source"] == "answering"
    for name, value in (("name", " "), ("name", 1), ("versions", []), ("capabilities", {"x": 1})):
        with answering(b"") as front_end, pytest.raises(Failure, match=r"not usable|empty"):
            front_end._describe({**said, name: value})
    with answering(b"") as front_end, pytest.raises(Failure, match="'device'"):
        front_end._describe({"name": "x"})


def test_a_process_that_answers_ends_where_the_next_has_other_threads() -> None:
    with answering(b"") as front_end:
        front_end.allow_threads(())
        assert front_end._connection is not None
        assert front_end._threads() == {}  # as its user's environment has them
        front_end.allow_threads(["OMP_NUM_THREADS"])
        assert front_end._connection is None
    with answering(b"") as front_end:
        front_end._threaded = ["OMP_NUM_THREADS", "MKL_NUM_THREADS"]
        front_end.allow_threads(("MKL_NUM_THREADS", "OMP_NUM_THREADS"))
        assert front_end._connection is not None
        threads = front_end._threads()
        assert {*threads} == {*client.THREAD_SETTINGS}
        assert int(threads["OMP_NUM_THREADS"]) >= 2
        assert threads["OPENBLAS_NUM_THREADS"] == "1"


def test_a_process_that_is_lost_too_often_is_not_called_any_more() -> None:
    front_end = FrontEnd("lost", timeout=1800.0)
    front_end.calls = 1
    for _ in range(client.MAX_TIMEOUTS):
        assert not front_end.given_up
        with pytest.raises(Failure, match="no answer"):
            front_end._hang("no answer")
    assert front_end.given_up
    front_end = FrontEnd("lost", timeout=1800.0)
    for _ in range(client.MAX_DEATHS):
        assert not front_end.given_up
        with pytest.raises(Failure, match=r"^the process died$"):
            front_end._die("died")
    assert front_end.given_up
    with pytest.raises(Failure, match=r"^not called: the process died, as before$") as error:
        front_end.call(CLIP)
    assert error.value.hard


@pytest.mark.slow
def test_no_part_of_a_message_outlasts_the_time_out(load: Load) -> None:
    stalls = {
        "sends too little": "judge().sendall(b'123456'); time.sleep(3600)",
        "trickles": "c = judge()\n    while True: c.sendall(b'\\0'); time.sleep(0.2)",
        "reads nothing": "os.kill(os.getpid(), signal.SIGSTOP)",
    }
    for body in stalls.values():  # one that waits longer sees another end, or none
        front_end = load(f"{FIND}\ndef f(audio):\n    {body}", timeout=0.1)
        with pytest.raises(Failure, match="no answer within"):
            front_end.call(CLIP)


def test_a_request_that_nobody_reads_ends(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(TimeoutError):
        wire.send(ours, ["call", {"audio": np.zeros(10_000_000, np.float32)}], 0.2)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(0, np.float32),
        np.array(0.5),
        np.arange(6, dtype=np.int16)[::2],
        np.arange(6.0).reshape(2, 3).T,
        np.arange(3, dtype=">f4"),
        np.array([True, False]),
        np.array([1j], np.complex64),
        np.array([np.nan, np.inf], np.float16),
    ],
)
def test_arrays_arrive_as_they_were_sent(array: Any) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        message = {"audio": array, "calls": [{"audio": array}, 1.5, None, "x", float("inf")]}
        wire.send(ours, message, 1800.0)
        received = wire.receive(theirs, 1800.0)
    for found in (received["audio"], received["calls"][0]["audio"]):
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert found.tobytes() == array.tobytes()
    assert received["calls"][1:] == [1.5, None, "x", float("inf")]


def test_the_size_of_a_message_is_returned() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert wire.send(ours, [CLIP, "x"], 1800.0) == len(theirs.recv(1 << 20)) > CLIP.nbytes


def test_a_message_without_a_limit_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.0)  # of an earlier message
        wire.send(theirs, "x")
        assert wire.receive(ours) == "x"
        assert ours.gettimeout() is None
        wire.send(theirs, "x")
        monkeypatch.setattr(wire.time, "monotonic", lambda: 5.0)
        with pytest.raises(TimeoutError):  # no time is left, to the last digit
            wire.receive(ours, 0.0)


def test_a_long_text_loses_its_middle() -> None:
    assert wire.printable("0123456789", 10) == "0123456789"
    assert wire.printable("0123456789", 9) == "0123…6789"
    assert wire.printable("0123456789", 4) == "01…9"


def test_only_what_cannot_be_shown_is_escaped() -> None:
    assert wire.printable("é\x1b\n\t\u202ex\ud800") == "é\\x1b\\n\\t\\u202ex\\ud800"
    assert wire.printable("é\x1b\n\t", lines=True) == "é\\x1b\n\t"


@pytest.mark.parametrize("command", ["::error::x", "  ::stop-commands::x", "a ##[add-mask]x"])
def test_no_word_of_a_front_end_is_a_command_of_a_workflow(command: str) -> None:
    """GitHub's runners obey lines of a log that begin with two colons, behind spaces, too."""
    for text in (command, f"first\n{command}"):
        shown = wire.printable(text, lines=True)
        assert not any(
            line.lstrip().startswith("::") or "##[" in line for line in shown.split("\n")
        )
        assert shown == wire.printable(shown, lines=True)
    assert wire.printable("std::bad_alloc: ::new") == "std::bad_alloc: ::new"
    assert wire.printable(" ::x\n::y ##[z", lines=True) == " \\x3a:x\n\\x3a:y \\x23#[z"


def test_a_message_cut_short_is_an_end() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(struct.pack("<QQ", 100, 0) + b"[1")
        with pytest.raises(EOFError):
            wire.receive(theirs, 1800.0)


def test_every_operation_has_a_form_of_answer() -> None:
    assert ANSWERS.keys() == OPERATIONS.keys()
    usage = {**dict.fromkeys(USAGE, 0), "bytes": 1.0}
    assert ANSWERS["growth"](usage, {})
    assert not ANSWERS["growth"]({**usage, "bytes": None}, {})
    assert not ANSWERS["growth"]({}, {})
    assert not ANSWERS["in_threads"]([[]], {"calls": [{}]})  # of no result nothing is judged
    assert not ANSWERS["sequence"]([], {"calls": [{}]})
    assert not ANSWERS["call"](np.zeros(3), {})


def test_a_number_of_calls_is_one() -> None:
    limit = 1 << 40
    assert all(map(client._is_count, (0, 1, limit - 1)))
    assert not any(map(client._is_count, (-1, limit, 1.0, True, None)))


# --------------------------------------------------------------------------- ends of a process


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGRTMIN + 3)", r"killed by (signal )?\w+"),
        ("os.closerange(3, 4096); time.sleep(3600)", "closed its connection and continued"),
        ("os._exit(0)", "exited with status 0$"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV; it said: …Fatal Python error"),
        ("sys.exit(0)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        # The whole group, which the judge is not in.
        ("os.kill(0, signal.SIGTERM); time.sleep(3600)", "exited|killed"),
    ],
)
def test_odd_ends_are_failures(
    load: Load, body: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "continued" in message:
        monkeypatch.setattr(client, "_DYING", 0.5)  # it never ends
    front_end = load(f"def f(audio):\n    {body}")
    with pytest.raises(Failure, match=message):
        front_end.call(CLIP)


@pytest.mark.slow
def test_an_error_while_it_is_loaded_is_told(load: Load) -> None:
    failing = load("raise KeyError('at import')")
    with pytest.raises(Refused, match="KeyError: 'at import'"):
        failing.start()
    loaded = load("def f(audio): return np.zeros((80, 2), np.float32)")
    loaded.start()
    assert failing.calls == loaded.calls == 0
    for count in (1, 2):
        loaded.call(CLIP)
        assert loaded.calls == count


@pytest.mark.slow
def test_output_without_end_is_not_kept(load: Load) -> None:
    front_end = load(
        "def f(audio):\n"
        "    for _ in range(2000): os.write(1, b'x' * 100_000)\n"
        "    os.write(1, b'the end')\n"
        "    os.abort()"
    )
    with pytest.raises(Failure, match="SIGABRT") as error:
        front_end.call(CLIP)
    assert len(str(error.value)) < 2000


@pytest.mark.slow
def test_why_a_process_died_is_not_lost_behind_the_list_of_its_modules(load: Load) -> None:
    front_end = load(
        "def f(audio):\n"
        "    os.write(2, b'what(): overflow\\nFatal Python error: Aborted\\n\\n')\n"
        "    os.write(2, b'Extension modules: ' + b'scipy.stats, ' * 300 + b'(total: 300)\\n')\n"
        "    os.abort()"
    )
    with pytest.raises(Failure, match="SIGABRT; it said: …what\\(\\): overflow") as error:
        front_end.call(CLIP)
    assert "scipy" not in str(error.value)


# --------------------------------------------------------------------------- what is said of itself

ODD = """
class F:
    {what}
    def log_mel(self, audio, n_mels=80): return np.zeros((n_mels, 2), np.float32)
f = F()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "what",
    [
        "versions = {1: datetime.date(2026, 1, 1), 'p': pathlib.Path('x')}",
        "versions = {'n': np.float32(1.5), 'bad': '\\ud800', 'ansi': '\\x1b[31m'}",
        "name = '\\x1b[2J\\ud800<b>\\u202e'",
        "name = 'x' * 10_000_000",
        "device = 3",
        "capabilities = {'n_mels': (np.int64(80),)}",
        "import itertools; versions = zip(map(str, itertools.count()), itertools.repeat('1'))",
    ],
)
def test_oddities_become_plain_text(load: Load, what: str) -> None:
    front_end = load(ODD.format(what=what))
    front_end.start()
    said = [front_end.name, front_end.device, *front_end.versions, *front_end.versions.values()]
    assert all(type(word) is str and word.isprintable() and len(word) <= 200 for word in said)
    "".join(said).encode("utf-8")  # no lone surrogate


@pytest.mark.slow
@pytest.mark.parametrize(
    "what",
    [
        "capabilities = {'n_mels': object()}",
        "import itertools; capabilities = {'n_mels': itertools.repeat(80)}",
        "capabilities = {'n_mels': ('80',)}",
        "capabilities = {'n_mels': (0,)}",
        "capabilities = {'n_mels': ()}",
        "capabilities = {'max_samples': 'many'}",
        "capabilities = {'batch': 'no'}",
        "capabilities = {'model': {'name': 'x', 'n_mels': 80, 'maximum': 1e3, 'pad_to': None}}",
        "versions = 'none'",
        "name = ' '",
    ],
)
def test_what_cannot_be_used_is_refused_when_it_is_loaded(load: Load, what: str) -> None:
    with pytest.raises((Failure, Refused)):
        load(ODD.format(what=what)).start()


CLAIMS = {
    "pad_to": True,
    "smoothing": (None, "valid"),
    "maximum": ("clip", 1.5),
    "out_dtypes": ("float32", "float16"),
    "out": True,
    "threads": True,
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_is_claimed_and_cannot_be_asked_for_is_refused_when_it_is_loaded(claim: str) -> None:
    """Each such call would fail, and the suite would look for the reason in the features."""
    parameter = "dtype" if claim == "out_dtypes" else claim

    def source(log_mel: Callable[..., Any]) -> Any:
        return SimpleNamespace(log_mel=log_mel, capabilities={claim: CLAIMS[claim]})

    with pytest.raises(ValueError, match=rf"{claim}=.*log_mel has no parameter '{parameter}'"):
        inspect_front_end(source(lambda audio, n_mels=80: audio), "some")
    takes_any = source(lambda audio, n_mels=80, **options: audio)
    inspect_front_end(takes_any, "some")
    takes_it = eval(f"lambda audio, n_mels=80, *, {parameter}=None: audio")
    inspect_front_end(source(takes_it), "some")


@pytest.mark.slow
def test_no_front_end_says_by_which_model_it_is_judged(load: Load) -> None:
    """What is sent at the start may be the front-end's own words."""
    said = {
        "name": "x",
        "device": "cpu",
        "versions": {},
        "capabilities": {"model": {"name": "x", "n_mels": 80, "maximum": 1e3, "pad_to": None}},
    }
    text = json.dumps(["value", said, 0]).encode()
    head = "struct.pack('<QQ', len(text), 0)"
    with pytest.raises(Failure, match="by which model"):
        load(f"{FIND}\ntext = {text!r}\njudge().sendall({head} + text)\ntime.sleep(3600)").start()


DECLINES = """
class F:
    calls = 0
    def log_mel(self, audio, n_mels=80):
        self.calls += 1
        if {when}: raise NotImplementedError("not this")
        return np.zeros((n_mels, audio.size // 160), np.float32)
f = F()
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["audio.size > 400", "audio.size <= 400", "self.calls > 1"])
def test_a_front_end_does_not_choose_its_clips(load: Load, when: str) -> None:
    front_end = load(DECLINES.format(when=when))
    clips = [np.ones(n, np.float32) for n in (400, 4000)]
    with contextlib.suppress(Unsupported):
        front_end.call(clips[0])
    with pytest.raises(Failure, match="declines some clips and takes others"):
        front_end.call(clips[1])


@pytest.mark.slow
def test_what_the_error_policy_is_about_may_be_declined(load: Load) -> None:
    when = "audio.size < 201 or not np.abs(audio).max() <= 1e16 or audio.ndim > 1 or n_mels == 128"
    front_end = load(DECLINES.format(when=when))
    assert front_end.call(CLIP).shape == (80, 2)
    for audio, n_mels in (
        (CLIP[:100], 80),
        (CLIP * np.nan, 80),
        (CLIP * np.float32(1e19), 80),
        (CLIP[np.newaxis], 80),
        (CLIP, 128),
    ):
        with pytest.raises(Unsupported, match="not this"):
            front_end.call(audio, n_mels=n_mels)
    assert front_end.call(CLIP).shape == (80, 2)


@pytest.mark.slow
def test_a_lock_that_a_front_end_keeps_is_not_waited_for(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(judge, "_WAIT", 0.1)
    lock = tmp_path / f"whisper-mel-measuring-{os.getuid()}"
    front_end = load(
        f"import fcntl\nkept = os.open({str(lock)!r}, os.O_RDWR | os.O_CREAT)\n"
        "def f(audio):\n"
        "    fcntl.flock(kept, fcntl.LOCK_EX)\n"
        "    return np.zeros((80, audio.size // 160), np.float32)"
    )
    front_end.call(CLIP)
    with lock.open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with judge._alone():
        assert not lock.exists()  # the next run makes another
    with judge._alone(), lock.open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.slow
def test_a_stopped_warden_ends(load: Load) -> None:
    front_end = load("def f(audio): os.kill(os.getppid(), signal.SIGSTOP); time.sleep(3600)", 0.5)
    warden = front_end._process
    assert warden is not None
    with pytest.raises(Failure, match="no answer"):
        front_end.call(CLIP)
    assert warden.returncode == 0, "killed, so that it could end no descendant"


@pytest.mark.slow
def test_errors_are_printable_and_have_an_end(load: Load) -> None:
    front_end = load("def f(audio): raise ValueError('\\x1b[31m\\ud800' + 'x' * 10_000_000)")
    with pytest.raises(Refused) as error:
        front_end.call(CLIP)
    str(error.value).encode("utf-8")
    assert "\x1b" not in str(error.value)
    assert len(str(error.value)) < 3000
    silent = load(
        "class E(Exception):\n    def __str__(self): raise RuntimeError\ndef f(audio): raise E"
    )
    with pytest.raises(Refused, match="without words"):
        silent.call(CLIP)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return f(audio)", "RecursionError: maximum recursion depth"),
        ("return np.zeros(1 << 50)", r"Memory\w*Error: Unable to allocate"),
        ("raise SystemError('error return without exception set')", "SystemError: error return"),
    ],
)
def test_an_interpreter_at_its_end_refuses_nothing(load: Load, body: str, message: str) -> None:
    with pytest.raises(Failure, match=message):
        load(f"def f(audio):\n    {body}").call(CLIP)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is not known who ends first")
def test_a_front_end_is_the_first_to_end_for_lack_of_memory(load: Load) -> None:
    body = "raise ValueError(open('/proc/self/oom_score_adj').read())"
    with pytest.raises(Refused, match="1000"):
        load(f"def f(audio): {body}").call(CLIP)


def test_the_words_of_an_error_are_printable_in_length() -> None:
    try:
        raise ValueError("x" * 9000)
    except ValueError as error:
        told = worker._describe(error)
    assert (len(told["message"]), len(told["traceback"])) == (2000, 4000)


# --------------------------------------------------------------------------- arrays that lie


@pytest.mark.slow
def test_an_array_is_what_its_memory_is(load: Load) -> None:
    lies = (
        "class Liar(np.ndarray):\n"
        "    @property\n"
        "    def dtype(self): return np.dtype(np.float32)\n"
        "def f(audio): return np.zeros((80, 2), np.float64).view(Liar)"
    )
    with pytest.raises(Failure, match="float64"):
        load(lies).call(CLIP)
    lazy = "class Lazy:\n    __class__ = np.ndarray\n    dtype = np.dtype(np.float32)\n"
    with pytest.raises(Failure, match="Lazy"):
        load(lazy + "def f(audio): return Lazy()").call(CLIP)
    masked = "def f(audio): return np.ma.zeros((80, 2), np.float32)"
    with pytest.raises(Failure, match="MaskedArray"):
        load(masked).call(CLIP)


# --------------------------------------------------------------------------- programs


def answer_of(program: str, error: type[Exception], message: str) -> None:
    """The program's front-end raises the error when it is called."""
    front_end = FrontEnd(f"cmd:{program}", timeout=1800.0)
    try:
        with pytest.raises(error, match=message):
            front_end.call(CLIP)
    finally:
        front_end.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("echo rubbish", "one line of JSON"),
        ("echo '[1]'", "one line of JSON"),
        ("echo '{\"shape\": [80, true]}'", "expected a shape"),
        ("echo '{\"shape\": [80, 99999999999999999999]}'", "wrote no file"),
        ("printf 123 > {out}; echo '{\"shape\": [80, 2]}'", "3 bytes"),
        ("mkfifo {out}; echo '{\"shape\": [80, 2]}'", "no regular file"),
        ("mkdir {out}.json", "no regular file"),
        ("mkfifo {out}.json", "no regular file"),
        ("ln -s nowhere {out}.json", "no regular file"),
        ("rm -r ${1%/*}; touch ${1%/*}", "files cannot be used"),
        ("ln -s /dev/zero {out}; echo '{\"shape\": [80, 2]}'", "no regular file"),
        ("head -c 200000 /dev/zero", "one line of JSON"),
        ("kill -SEGV $$", "SIGSEGV"),
        ("sh -c 'kill -SEGV $$'; exit $?", "SIGSEGV"),
        ("sh -c 'kill -ABRT $$'; exit $?", "SIGABRT"),
        ("no-such-program; exit $?", "could not run"),
        ("exit 255", "crash|shell"),
    ],
)
def test_only_a_clean_refusal_is_one(tmp_path: Path, program: str, message: str) -> None:
    script = tmp_path / "program"
    script.write_text(f"#!/bin/sh\n{program.replace('{out}', '$2')}\n")
    script.chmod(0o755)
    answer_of(f"{script} {{in}} {{out}}", Failure, message)


@pytest.mark.slow
@pytest.mark.parametrize("status", [1, 101, 125])
def test_an_exit_status_refuses(status: int) -> None:
    code = f'import sys; print("why", file=sys.stderr); sys.exit({status})'
    program = f"{sys.executable} -c '{code}' {{in}} {{out}}"
    answer_of(program, Refused, f"exit status {status}: why")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("print('rubbish', flush=True)", "one line of JSON"),
        ("print('x' * 1_000_000, flush=True)", "without a line feed"),
        ("sys.exit(3)", "ended with status 3"),
        ("os.abort()", "ended with status -6"),
    ],
)
def test_serving_programs_are_held_to_it_too(tmp_path: Path, answer: str, message: str) -> None:
    script = tmp_path / "serve.py"
    script.write_text(f"import os, sys\nfor line in sys.stdin:\n    {answer}\n")
    answer_of(f"{sys.executable} {script}", Failure, message)


# --------------------------------------------------------------------------- files from elsewhere


def replayed(folder: Path, case: Any) -> int:
    (folder / "case.json").write_text(json.dumps(case))
    return replay.main([str(folder)])


def test_a_good_file_is_replayed(tmp_path: Path) -> None:
    assert replayed(tmp_path, CASE) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"case": 3},
        {"check": "no_such_check"},
        {"check": ["scored"]},
        {"arguments": None},
        {"arguments": {}},
        {"arguments": {"recipe": {"signal": "no such signal", "n": 400}}},
        {"arguments": {"recipe": {"signal": "noise", "n": -1, "seed": 1}}},
        {"arguments": {"recipe": {"signal": "noise", "n": "many", "seed": 1}}},
        {"arguments": {"no_such_argument": 1}},
        {"arguments": {"recipe": [1]}},
        {"check": "golden", "arguments": {"case": "golden/nonesuch"}},
        {"message": None},
        {"front_end": None},
        {"front_end": {}},
        {"front_end": {"source": 1}},
        {"front_end": {"source": "nonesuch"}},
        {"front_end": {**CASE["front_end"], "model": {"name": "x"}}},
        {"front_end": {"source": "cmd:touch owned {in} {out}"}},
        {"front_end": {"source": "os:getcwd"}},
    ],
)
def test_a_file_that_is_no_case_is_said_in_a_sentence(
    change: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replayed(tmp_path, {**CASE, **change}) == 2
    said = capsys.readouterr().err.strip()
    assert said
    assert "Traceback" not in said
    assert not Path("owned").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        {"recipe": {"signal": "noise", "n": 1 << 40, "seed": 1}},
        {"recipe": {"parts": [{"signal": "noise", "n": 10_000_000, "seed": 1}] * 1000}},
        {"recipe": {"signal": "noise", "n": 400, "seed": 1}, "pad_to": 1 << 40},
        {"recipe": {"signal": "noise", "n": 0, "seed": 1}, "lengths": [400, 1 << 40]},
    ],
)
def test_no_file_fills_the_memory(
    arguments: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replayed(tmp_path, {**CASE, "arguments": arguments}) == 2
    assert "samples: expected at most 134217728" in capsys.readouterr().err


def test_every_case_of_the_suite_is_small_enough_to_be_replayed() -> None:
    largest = max(replay._samples(case.arguments) for case in all_cases("nightly"))
    assert 0 < largest <= replay._MOST_SAMPLES


@pytest.mark.parametrize("options", [[], ["--issue"]])
def test_the_words_of_a_file_are_shown_escaped(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "\x1b[2J\n::stop-commands::x"
    case = {**CASE, "case": words, "message": words, "environment": {words: words}}
    (tmp_path / "case.json").write_text(json.dumps(case))
    assert replay.main([str(tmp_path), *options]) == 1
    shown = "".join(capsys.readouterr())
    assert "\\x1b[2J" in shown
    assert "\x1b" not in shown
    assert not re.search(r"(?m)^\s*::", shown)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "\x00", "[" * 100_000])
def test_what_is_no_json_object_is_said(text: str, tmp_path: Path) -> None:
    (tmp_path / "case.json").write_text(text)
    assert replay.main([str(tmp_path)]) == 2


def test_a_stranger_s_code_runs_only_if_trusted(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    code = tmp_path / "code.py"
    code.write_text(f"open({str(marker)!r}, 'w')\ndef f(audio): raise ValueError\n")
    case = {**CASE, "front_end": {"source": f"{code}:f"}}
    assert replayed(tmp_path, case) == 2
    assert not marker.exists()
    assert replay.main([str(tmp_path), "--trust"]) == 1
    assert marker.exists()
