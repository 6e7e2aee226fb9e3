"""./dev: what it makes, when, and what it leaves behind when something goes wrong."""

from __future__ import annotations

import ast
import fcntl
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from checkout.paths import LOCKS, ROOT
from programs import ran
from tasks import LAYERS, TASKS, walk

DEV = ROOT / "dev"
DEFAULT = ("default",)
TEST = ("default", "test")


def load(path: Path) -> Any:
    loader = SourceFileLoader("dev", str(path))
    spec = spec_from_loader("dev", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what ./dev reads, with two local packages."""
    shutil.copy(DEV, tmp_path)
    shutil.copytree(LOCKS, tmp_path / "ci" / "locks")
    for room in ("checkout", "release", "tasks"):
        shutil.copytree(ROOT / "ci" / room, tmp_path / "ci" / room)
    shutil.copy(ROOT / "ci" / "__main__.py", tmp_path / "ci")
    for name in ("reference", "mojo"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").write_text(f"# {name}\n")
    return tmp_path


class Installers:
    """Stands in for venv and pip: keeps their commands in short, can fail at one of them."""

    def __init__(self, dev: Any) -> None:
        self.dev = dev
        self.commands: list[str] = []
        self.fail_at: str | None = None
        self.interrupt_at: int | None = None

    def run(self, command: list[str]) -> tuple[int, str]:
        if "venv" in command:
            short = "venv"
            Path(self.dev.PYTHON).parent.mkdir(parents=True)
            Path(self.dev.PYTHON).touch()
        elif "-r" in command:
            assert "--require-hashes" in command
            locks = [after for word, after in itertools.pairwise(command) if word == "-r"]
            short = "+".join(Path(lock).stem for lock in locks)
        else:
            short = "+".join(Path(x).name for x in command if Path(x).parent == Path(self.dev.ROOT))
        if self.interrupt_at == len(self.commands):
            raise KeyboardInterrupt
        self.commands.append(short)
        return int(short == self.fail_at), f"what {short} says"

    def of(self, layers: tuple[str, ...]) -> list[str]:
        """The commands that making sure of these layers takes."""
        self.commands = []
        os.close(self.dev.ensure(layers))
        return self.commands


@pytest.fixture
def dev(checkout: Path) -> Any:
    return load(checkout / "dev")


@pytest.fixture
def installers(dev: Any, monkeypatch: pytest.MonkeyPatch) -> Installers:
    fake = Installers(dev)
    monkeypatch.setattr(dev, "run", fake.run)
    return fake


FIRST_RUN = ["venv", "default", "reference+mojo"]
ON_TOP = ["golden+docs+test", "torch-cpu"]


def test_first_run_makes_everything_and_the_second_nothing(
    installers: Installers, capsys: pytest.CaptureFixture[str]
) -> None:
    assert installers.of(DEFAULT) == FIRST_RUN
    assert installers.of(DEFAULT) == []
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1, "one line, and nothing of the installers'"


def test_the_test_layer_is_put_on_top(installers: Installers) -> None:
    installers.of(DEFAULT)
    assert installers.of(TEST) == [*ON_TOP, "reference+mojo"]
    assert installers.of(TEST) == []
    assert installers.of(DEFAULT) == []


@pytest.mark.parametrize("name", ["peers", "cuda"])
def test_further_layers_go_on_top_of_test(name: str, installers: Installers) -> None:
    assert installers.of(LAYERS[name]) == [*FIRST_RUN[:2], *ON_TOP, name, "reference+mojo"]
    assert installers.of(LAYERS[name]) == []
    assert installers.of(TEST) == []


def test_the_site_needs_nothing_of_test(installers: Installers) -> None:
    installers.of(DEFAULT)
    assert installers.of(LAYERS["site"]) == ["site", "reference+mojo"]
    assert installers.of(DEFAULT) == []


def test_torch_comes_from_the_index_where_there_is_no_cpu_wheel(
    installers: Installers, capsys: pytest.CaptureFixture[str]
) -> None:
    installers.fail_at = "torch-cpu"
    assert installers.of(TEST)[-3:] == ["torch-cpu", "torch", "reference+mojo"]
    assert "GB" in capsys.readouterr().err
    assert installers.of(TEST) == []


def test_a_changed_lock_makes_everything_anew(checkout: Path, installers: Installers) -> None:
    installers.of(TEST)
    with open(checkout / "ci" / "locks" / "default.txt", "a") as lock:
        lock.write("# another\n")
    assert installers.of(DEFAULT) == FIRST_RUN
    assert ON_TOP[0] in installers.of(TEST), "the test layer went with the old .venv"
    with open(checkout / "ci" / "locks" / "torch.txt", "a") as lock:
        lock.write("# another\n")
    assert installers.of(DEFAULT) == []
    assert installers.of(TEST)[:2] == FIRST_RUN[:2], "stale test packages must go"


def test_a_changed_manifest_installs_the_local_packages_again(
    checkout: Path, installers: Installers
) -> None:
    installers.of(DEFAULT)
    (checkout / "mojo" / "pyproject.toml").write_text("# other entry points\n")
    assert installers.of(DEFAULT) == ["reference+mojo"]
    (checkout / "golden").mkdir()
    (checkout / "golden" / "pyproject.toml").touch()
    assert installers.of(DEFAULT) == ["reference+golden+mojo"]


def test_another_python_or_a_moved_checkout_makes_everything_anew(
    dev: Any, installers: Installers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installers.of(DEFAULT)
    with monkeypatch.context() as patch:
        other = SimpleNamespace(version_info=(3, 99), executable="python3.99", stderr=sys.stderr)
        patch.setattr(dev, "sys", other)
        assert installers.of(DEFAULT) == FIRST_RUN
    assert installers.of(DEFAULT) == FIRST_RUN
    moved = tmp_path / "moved"
    shutil.copytree(dev.VENV, moved / ".venv")
    paths = {"VENV": ".venv", "PYTHON": ".venv/bin/python", "STAMP": ".venv/dev.json"}
    for name, value in paths.items():
        monkeypatch.setattr(dev, name, str(moved / value))
    assert installers.of(DEFAULT) == FIRST_RUN


def test_a_lost_python_makes_everything_anew(dev: Any, installers: Installers) -> None:
    installers.of(DEFAULT)
    os.remove(dev.PYTHON)
    os.symlink("/nowhere/python3", dev.PYTHON)
    assert not dev.finished()


@pytest.mark.parametrize("step", range(len(FIRST_RUN) + len(ON_TOP)))
def test_interrupted_at_any_step_the_next_run_goes_on_with_what_is_missing(
    installers: Installers, step: int
) -> None:
    layers = {"default": FIRST_RUN[:2], "test": ON_TOP}
    whole = [*layers["default"], *layers["test"], FIRST_RUN[2]]
    installers.interrupt_at = step
    with pytest.raises(KeyboardInterrupt):
        installers.of(TEST)
    installers.interrupt_at = None
    finished = 0 if step < 2 else 2 if step < 4 else 4
    assert installers.of(TEST) == whole[finished:]
    assert installers.of(TEST) == []


@pytest.mark.parametrize("content", ["", "{"])
def test_a_damaged_stamp_counts_as_none(dev: Any, installers: Installers, content: str) -> None:
    installers.of(DEFAULT)
    Path(dev.STAMP).write_text(content)
    assert installers.of(DEFAULT) == FIRST_RUN


@pytest.mark.parametrize(
    ("command", "layer"), [("default", "default"), ("golden+docs+test", "test"), ("peers", "peers")]
)
def test_a_failed_install_shows_pips_words_and_leaves_what_is_finished(
    installers: Installers, capsys: pytest.CaptureFixture[str], command: str, layer: str
) -> None:
    installers.fail_at = command
    lock = command.rpartition("+")[2]
    with pytest.raises(SystemExit, match=rf"layer `{layer}` .*{lock}\.txt.*network"):
        installers.of(LAYERS["peers"])
    assert f"what {command} says" in capsys.readouterr().err
    finished = LAYERS["peers"][: LAYERS["peers"].index(layer)]
    assert {"python", "local", *finished} >= installers.dev.finished().keys() >= {*finished}
    if finished:
        assert installers.of(finished) == [FIRST_RUN[2]], "finished layers can be used"
    installers.fail_at = None
    assert command in installers.of(LAYERS["peers"])
    assert not {*finished} & {*installers.commands}


@pytest.mark.parametrize("fail_at", ["venv", "default", "interrupt", "kill"])
def test_the_environment_before_is_put_back_if_no_new_one_comes_about(
    checkout: Path, dev: Any, installers: Installers, fail_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = checkout / "ci" / "locks" / "default.txt"
    before = lock.read_text()
    installers.of(TEST)
    (checkout / ".venv" / "kept").touch()
    lock.write_text(before + "# another\n")
    if fail_at == "kill":  # it cannot tidy up
        monkeypatch.setattr(dev, "settle", lambda: None)
    installers.fail_at = fail_at
    installers.interrupt_at = 1 if fail_at in ("interrupt", "kill") else None
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        installers.of(TEST)
    monkeypatch.undo()
    monkeypatch.setattr(dev, "run", installers.run)
    installers.fail_at = installers.interrupt_at = None
    if fail_at == "kill":
        assert not dev.finished(), "what is not finished does not look so"
        dev.settle()
    lock.write_text(before)
    assert (checkout / ".venv" / "kept").exists()
    assert installers.of(TEST) == []
    lock.write_text(before + "# another\n")
    assert installers.of(TEST)[:2] == FIRST_RUN[:2]
    assert not (checkout / ".venv" / "kept").exists()
    assert not (checkout / ".venv.old").exists()


def test_an_environment_is_finished_though_nobody_reads_what_dev_says(
    installers: Installers, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", Broken())
        assert installers.of(DEFAULT) == FIRST_RUN
    assert installers.of(DEFAULT) == []


def test_help_that_nobody_reads_ends_quietly() -> None:
    """As of `./dev sanitize --help | head -1`."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, str(DEV), "sanitize", "--help"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


@pytest.fixture
def waiting(dev: Any, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when ./dev says that it waits."""
    event = threading.Event()
    monkeypatch.setattr(dev, "say", lambda text: event.set() if "waiting" in text else None)
    return event


def test_a_second_dev_waits_and_then_finds_everything_made(
    dev: Any, installers: Installers, waiting: threading.Event
) -> None:
    first = os.open(dev.ROOT, os.O_RDONLY)
    fcntl.flock(first, fcntl.LOCK_EX)
    second = threading.Thread(target=dev.ensure, args=(DEFAULT,))
    second.start()
    assert waiting.wait(timeout=1800)
    Path(dev.PYTHON).parent.mkdir(parents=True)
    Path(dev.PYTHON).touch()
    Path(dev.STAMP).write_text(json.dumps(dev.wanted(DEFAULT)))
    os.close(first)
    second.join(timeout=1800)
    assert not second.is_alive()
    assert installers.commands == []


def test_nothing_is_changed_under_a_running_task(
    checkout: Path, dev: Any, installers: Installers, waiting: threading.Event
) -> None:
    """Others that need what is there run beside it; who needs more waits until it has ended."""
    installers.of(DEFAULT)
    task = dev.ensure(DEFAULT)
    assert installers.of(DEFAULT) == [], "two tasks at once"
    second = threading.Thread(target=dev.ensure, args=(TEST,))
    second.start()
    assert waiting.wait(timeout=1800)
    assert installers.commands == []
    os.close(task)
    second.join(timeout=1800)
    assert installers.commands == [*ON_TOP, "reference+mojo"]


def locked_until(gate: Path, checkout: Path) -> int:
    """The lock, which somebody holds until the gate is opened."""
    lock = os.open(checkout, os.O_RDONLY)
    try:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        gate.write_text("")
    return lock


def test_a_running_task_keeps_the_lock_when_it_becomes_another_program(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it starts may store bytecode."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    dev = load(checkout / "dev")
    Path(dev.PYTHON).parent.mkdir(parents=True)
    gate = checkout / "gate"
    os.mkfifo(gate)
    Path(dev.PYTHON).write_text(
        f"#!/bin/sh\necho started $PYTHONDONTWRITEBYTECODE\nexec cat {gate}\n"
    )
    Path(dev.PYTHON).chmod(0o755)
    Path(dev.STAMP).write_text(json.dumps(dev.wanted(DEFAULT)))
    command = [sys.executable, str(checkout / "dev"), "env"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as task:
        assert task.stdout is not None
        assert task.stdout.readline() == "started\n"  # else nobody would open the gate
        lock = locked_until(gate, checkout)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(lock)


def test_a_task_within_a_task_does_not_wait_for_it(
    dev: Any, installers: Installers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would wait forever."""
    installers.of(DEFAULT)
    monkeypatch.setenv(dev.INSIDE, dev.VENV)
    assert installers.of(DEFAULT) == []
    with pytest.raises(SystemExit, match=r"`\./dev env test` first"):
        installers.of(TEST)


def test_an_installer_that_outlives_a_killed_dev_keeps_the_lock(checkout: Path) -> None:
    """Otherwise the next ./dev would remake .venv while the old installer still writes into it."""
    started, gate = checkout / "started", checkout / "gate"
    os.mkfifo(started)
    os.mkfifo(gate)
    installer = f"open({str(started)!r}, 'w').close(); open({str(gate)!r}).read()"
    program = (
        "import sys; from importlib.machinery import SourceFileLoader\n"
        f"dev = SourceFileLoader('dev', {str(checkout / 'dev')!r}).load_module()\n"
        f"dev.update = lambda *a: dev.run([sys.executable, '-c', {installer!r}])\n"
        "dev.ensure(['default'])"
    )
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", program])
    started.read_text()
    process.send_signal(signal.SIGKILL)
    process.wait()
    lock = locked_until(gate, checkout)
    fcntl.flock(lock, fcntl.LOCK_EX)  # comes as soon as the installer has ended
    os.close(lock)


@pytest.mark.slow
@pytest.mark.nightly
def test_without_a_network_the_message_says_what_is_missing(checkout: Path) -> None:
    """With a real venv and pip, which are told of no index; by day with stand-ins, above."""
    environment = dict(os.environ, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(checkout))
    command = [sys.executable, str(checkout / "dev"), "env"]
    result = ran(command, env=environment)
    assert result.returncode == 1
    assert "could not install layer `default` (ci/locks/default.txt" in result.stderr
    assert "network" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (checkout / ".venv" / "dev.json").exists()


@pytest.mark.slow
def test_the_task_runs_in_the_environment_from_any_directory(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dev = load(checkout / "dev")
    Path(dev.PYTHON).parent.mkdir(parents=True)
    Path(dev.PYTHON).write_text('#!/bin/sh\necho "${PATH%%:*}"; pwd; printf "%s\\n" "$@"\n')
    Path(dev.PYTHON).chmod(0o755)
    Path(dev.STAMP).write_text(json.dumps(dev.wanted(DEFAULT)))
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    command = [sys.executable, str(checkout / "dev"), "repro", "a b", "--shrink"]
    result = ran(command, cwd=elsewhere, check=True)
    assert result.stdout.splitlines() == [
        str(checkout / ".venv" / "bin"),
        str(elsewhere),
        str(checkout / "ci"),
        "repro",
        "a b",
        "--shrink",
    ]


NAMES = [name for name, _ in walk(TASKS)]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        *((f"{name} --help", 0, f"usage: ./dev {name}") for name in NAMES),
        ("bench -h", 0, "usage: ./dev bench"),
        ("--help", 0, "usage: ./dev TASK"),
        ("", 0, "usage: ./dev TASK"),
        ("tset", 2, "unknown task 'tset': expected env, check, test"),
        ("bench --qiuck", 2, "bench --qiuck: no such option; ./dev bench --help lists"),
        ("golden lsit", 2, "golden lsit: expected make, voxtral, verify"),
        ("golden", 2, "golden: expected make, voxtral, verify"),
        ("gpu compile sm_75 --fast", 2, "gpu compile --fast: no such option"),
        ("lint ruff", 2, "lint ruff: expected no arguments"),
        ("compare", 2, "compare: expected AUDIO"),
        ("compare --seconds 1", 2, "compare: expected AUDIO"),
        ("repro --shrink", 2, "repro: expected PATH"),
        ("build publish", 2, "build publish: expected vVERSION"),
        ("env tets", 2, "env tets: expected test, peers, cuda or site"),
        ("build wheels mjoo", 2, "mjoo: expected a package, of reference, golden, conformance"),
    ],
)
def test_help_and_wrong_usage_are_answered_before_anything_is_made(
    arguments: str,
    status: int,
    words: str,
    dev: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(dev, "ensure", lambda layers: pytest.fail(f"{layers} would be made"))
    with pytest.raises(SystemExit) as ending:
        dev.main(arguments.split())
    assert ending.value.code == status
    require_said(words, status, *capsys.readouterr())


def require_said(words: str, status: int, out: str, err: str) -> None:
    assert words in (err if status else out)
    assert (out if status else err) == ""
    assert err.count("\n") == (status != 0), "one sentence"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [("bench --help", 0, "usage: ./dev bench"), ("bench --qiuck", 2, "bench --qiuck: no such")],
)
def test_usage_takes_python_alone(arguments: str, status: int, words: str, checkout: Path) -> None:
    done = ran([sys.executable, "-S", checkout / "dev", *arguments.split()])
    assert done.returncode == status
    require_said(words, status, done.stdout, done.stderr)
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("version", [(3, 6), (3, 9), (3, 15)])
def test_an_unsupported_python_gets_a_message(
    dev: Any, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int]
) -> None:
    monkeypatch.setattr(dev, "sys", SimpleNamespace(version_info=version, executable="/old"))
    with pytest.raises(SystemExit, match=r"needs Python 3.10 to 3.14, this is 3\.\d+, /old"):
        dev.main(["env"])


def test_dev_parses_on_python_3_6() -> None:
    tree = ast.parse(DEV.read_text(), feature_version=(3, 6))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "__future__" not in modules, "annotations came with 3.7"


def test_what_runs_before_the_environment_is_made_needs_the_standard_library_only() -> None:
    todo, seen = [DEV, *(ROOT / "ci" / "tasks").glob("*.py")], set()
    while todo:
        path = todo.pop()
        seen.add(path)
        for name in imported_at_once(path):
            root = name.partition(".")[0]
            if not (ROOT / "ci" / root / "__init__.py").exists():
                assert root in sys.stdlib_module_names, f"{path}: {name}"
                continue
            module = ROOT / "ci" / Path(*name.split("."))
            files = {module / "__init__.py", module.with_suffix(".py")}
            todo += [file for file in files - seen if file.exists()]
    assert {path.parent.name for path in seen} >= {"checkout", "release", "tasks"}


def imported_at_once(path: Path) -> list[str]:
    """What a module imports when it is imported itself: not in its functions, nor for its types."""

    def is_later(node: ast.stmt) -> bool:
        typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        return path != DEV and (typing or isinstance(node, ast.FunctionDef))

    body = [node for node in ast.parse(path.read_text()).body if not is_later(node)]
    names = []
    for node in (inner for outer in body for inner in ast.walk(outer)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names
