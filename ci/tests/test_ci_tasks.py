"""The tasks: what each needs, what lint finds."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout.paths import PACKAGES, ROOT
from programs import ran
from tasks import LAYERS, TASKS, check, conformance, lint, needs, system, walk
from tasks.task import layers

NEEDS = {
    "default": """
        env | check | lint | conformance | conformance report report | conformance repro nowhere
        conformance --profile ci | conformance --frontend librosa | conformance --frontend mojo-c
        conformance --frontend=cmd:./openai-whisper
        golden verify | golden list | golden vectors dist | docs --check
        bench instructions | mutants | sanitize address | sanitize thread
        sanitize valgrind | sanitize arm | sanitize riscv
        sanitize guard | sanitize network | sanitize all
        repro nowhere | repro nowhere --frontend librosa | gpu record gpu.json
        build c | build vectors | build sbom | build rehearse | build publish v1
        worst librosa | worst --steps 3 librosa | system | lock | lock pixi
        build wheels conformance | build wheels reference golden | build wheels --accelerator none
        test reference | test reference golden/tests conformance/tests/test_conformance_matrix.py
        test -x reference::test_a | test -rP golden | test --tb=short ./golden""",
    "test": """
        env test | docs | docs report.json | golden make | golden voxtral
        golden calibrate | golden variants | golden models
        compare a.wav
        mutants --kernel | conformance --frontend mojo-ptx | gpu execute | gpu count
        gpu mutants | gpu mutants sm_80
        gpu | gpu compile | gpu driver | gpu reproduce | gpu bundle
        build | build wheels | build wheels mojo | build wheels --accelerator sm_90a
        test | test mojo | test reference ci | test -k reference | test -m reference
        test --ignore reference | test -k smoothing
        conformance --frontend openai-whisper | conformance --frontend=mojo-max
        conformance --frontend librosa --frontend mojo-torch | repro nowhere --frontend mojo-gpu""",
    "peers": """
        env peers | bench | bench --record | bench --only 30s/*
        conformance --matrix | conformance --peers all
        conformance --frontend torchaudio | worst | worst --record | worst librosa lhotse
        conformance --frontend transformers-js --frontend mojo-torch | repro x --frontend lhotse""",
    "cuda": """
        env cuda | gpu run | sanitize memcheck | sanitize racecheck | sanitize initcheck
        sanitize synccheck | sanitize schedules""",
    "site": "env site | docs --site",
}
CALLS = [
    (call.strip(), layer)
    for layer, calls in NEEDS.items()
    for call in calls.replace("\n", "|").split("|")
    if call.strip()
]


@pytest.mark.parametrize(("call", "layer"), CALLS)
def test_each_call_gets_the_layers_that_it_needs_and_no_other(call: str, layer: str) -> None:
    arguments = call.split()
    task = TASKS[arguments[0]]
    if call == "gpu":  # cannot be called so: the environment of pixi's task
        assert layers(task, []) == LAYERS[layer]
    else:
        assert needs(arguments) == LAYERS[layer]


BARE = """
import json, sys
sys.path[:0] = [{ci!r}]
import tasks
for call in json.loads({calls!r}):
    try:
        tasks.needs(call)
    except SystemExit as ending:
        assert ending.code == 0, call
    except BaseException as error:
        error.add_note(f"./dev {{' '.join(call)}}") if hasattr(error, "add_note") else print(call)
        raise
"""


def test_nothing_needs_to_be_installed_before_the_environment() -> None:
    """``./dev`` asks what a task needs, and shows its help, by a Python that has no packages."""
    calls = [call.split() for call, _ in CALLS if call != "gpu"]
    calls += [[*name.split(), "--help"] for name, _ in walk(TASKS)] + [["--help"], ["-h"]]
    program = BARE.format(ci=str(ROOT / "ci"), calls=json.dumps(calls))
    done = ran([sys.executable, "-I", "-S", "-c", program], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: ./dev") >= len([*walk(TASKS)]), done.stdout[:2000]


def test_the_layers_of_every_task_and_subtask_are_known() -> None:
    known = {call for call, _ in CALLS} | {call.rpartition(" ")[0] for call, _ in CALLS}
    groups = {"golden", "sanitize"}
    assert {name for name, _ in walk(TASKS)} - groups <= known | {"compare", "repro"}


def test_a_case_is_replayed_in_the_layer_of_its_front_end(tmp_path: Path) -> None:
    (tmp_path / "case.json").write_text('{"front_end": {"source": "openai-whisper"}}')
    assert needs(["repro", str(tmp_path)]) == LAYERS["test"]
    assert needs(["conformance", "repro", f"{tmp_path}/case.json"]) == LAYERS["test"]
    assert needs(["repro", str(tmp_path), "--frontend", "librosa"]) == LAYERS["default"]
    (tmp_path / "case.json").write_text("[]")
    assert needs(["repro", str(tmp_path)]) == LAYERS["default"]


COMPILE = (
    "bench|bench instructions|build|build c|compare a|conformance|gpu driver|sanitize all|test"
)


@pytest.mark.parametrize("call", COMPILE.split("|"))
def test_without_a_c_compiler_one_sentence_says_what_to_install(
    call: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SystemExit) as ending:
        needs(call.split())
    assert ending.value.code == 2
    err = capsys.readouterr().err
    assert "needs a C compiler" in err and "apt install gcc" in err and err.count("\n") == 1


FREE = (
    "lint|golden verify|build wheels golden|conformance --frontend librosa|test reference|mutants"
)


@pytest.mark.parametrize("call", FREE.split("|"))
def test_what_compiles_nothing_needs_no_c_compiler(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    needs(call.split())


# The commands behind the tasks, whose own help tells the options that they take
COMMANDS = {
    "bench": "bench.cli",
    "bench instructions": "bench.cli",
    "compare": "whisper_mel_conformance.compare.cli",
    "conformance": "whisper_mel_conformance.__main__",
    "conformance report": "whisper_mel_conformance.__main__",
    "conformance repro": "whisper_mel_conformance.__main__",
    "docs": "docs.cli",
    "worst": "worst.cli",
    "gpu bundle": "tasks.gpu",
    "gpu count": "tasks.gpu",
    "gpu execute": "tasks.gpu",
    "gpu mutants": "tasks.gpu",
    "gpu run": "gpu.device.cli",
    "mutants": "mutants.cli",
    "sanitize all": "sanitize.cli",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_has_the_options_that_the_command_takes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(COMMANDS[name])
    command = getattr(module, "main" if hasattr(module, "main") else "run")
    words = [] if name in ("gpu run", "sanitize all") else name.split()[1:]
    with pytest.raises(SystemExit):
        command([*words, "--help"])
    usage = capsys.readouterr().out.partition("\n\n")[0].removeprefix("usage: ")
    takes = {
        option: bool(value) for option, value in re.findall(r"\[(--?[\w-]+)( [^]]+)?\]", usage)
    }
    del takes["-h"]
    if name == "conformance":  # of pytest's options the table shows some
        takes |= {"-n": True, "-x": False, "--lf": False}
    assert dict(walk(TASKS))[name].takes() == takes


def test_every_option_is_in_the_table() -> None:
    with_options = {name for name, task in walk(TASKS) if task.takes()}
    elsewhere = {"repro", "build wheels", *(f"sanitize {it}" for it in TASKS["sanitize"].subtasks)}
    assert with_options - elsewhere <= COMMANDS.keys()


def test_registered_front_ends_are_known_to_the_table() -> None:
    """A name that needs more than the default layer is one of these, or an adapter not light."""
    from whisper_mel_conformance.frontend.load import peers, registered

    light = {name for name in registered() if conformance.layer_of(name) == "default"}
    ours = {name for name in registered() if name.startswith("mojo-")}
    assert light - ours == {*peers("light")}
    assert light & ours == {"mojo-arm", "mojo-c", "mojo-cpu", "mojo-riscv"}


CHECKERS = ["ruff", "ruff", "mypy", "lint-imports", "mblack", "actionlint", "zizmor"]
CHECKERS += [*(4 * ["check-jsonschema"]), sys.executable]


@pytest.mark.parametrize("failing", [*dict.fromkeys(CHECKERS), None])
def test_lint_runs_every_checker_and_fails_if_one_did(
    monkeypatch: pytest.MonkeyPatch, failing: str | None
) -> None:
    ran = []

    def call(command: list[str], **options: object) -> int:
        ran.append(command[0])
        return int(command[0] == failing)

    monkeypatch.setattr(subprocess, "call", call)
    assert lint.run([]) == (failing is not None)
    assert ran == CHECKERS


@pytest.mark.parametrize(("lint_status", "pytest_status"), [(0, 0), (1, 0), (0, 1)])
def test_check_runs_both_and_fails_if_one_did(
    lint_status: int, pytest_status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[list[str]] = []

    def call(command: list[str], **options: object) -> int:
        ran.append(command)
        return pytest_status

    monkeypatch.setattr(lint, "run", lambda arguments: lint_status)
    monkeypatch.setattr(check, "quiet", lambda: None)
    monkeypatch.setattr(subprocess, "call", call)
    assert check.run([]) == (lint_status or pytest_status)
    [command] = ran
    assert command[command.index("-m") + 1] == check.SUBSET


@pytest.mark.parametrize("arguments", ["", "mojo -x", "-n 0", "--dist loadfile", "-k pdb"])
def test_tests_are_spread_and_the_users_words_come_last(arguments: str) -> None:
    words = arguments.split()
    assert check.command(words) == ["pytest", *check.SPREAD, *words]


@pytest.mark.parametrize(
    "arguments",
    ["-p no:xdist", "-pno:xdist", "-s mojo", "--pdb", "--trace", "--collect-only", "ci/a.py::b"],
)
def test_what_takes_one_process_is_not_spread(arguments: str) -> None:
    assert check.command(arguments.split()) == ["pytest", *arguments.split()]


def test_libraries_compute_on_one_thread_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "9")  # so that it is put back
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    check.quiet()
    assert (os.environ["OPENBLAS_NUM_THREADS"], os.environ["OMP_NUM_THREADS"]) == ("1", "3")


def test_lint_asks_of_mojo_sources_what_mojo_format_makes_of_them(tmp_path: Path) -> None:
    source = tmp_path / "source.mojo"
    long = 80 * "x"
    source.write_text(f"def main():\n  print( '{long}' , 0)\n")
    assert subprocess.run([*lint.MOJO_FORMAT, source], capture_output=True).returncode == 1
    subprocess.run(["mojo", "format", "--quiet", "--line-length", "100", source], check=True)
    assert source.read_text() == f'def main():\n    print("{long}", 0)\n'
    assert subprocess.run([*lint.MOJO_FORMAT, source], capture_output=True).returncode == 0


ARROWS = {
    "a floor up, for its type only": (
        "whisper_mel_conformance/frontend/wire.py",
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import whisper_mel_conformance.run.run",
        "a room of conformance imports rooms of lower floors only",
    ),
    "to the same floor, when it is called": (
        "whisper_mel_conformance/run/known.py",
        "def f():\n    import whisper_mel_conformance.diagnosis.search",
        "a room of conformance imports rooms of lower floors only",
    ),
    "from a room on no floor": (
        "whisper_mel_conformance/attic.py",
        "",
        "a room of conformance imports rooms of lower floors only",
    ),
    "back": (
        "whisper_mel_conformance/quirks/path.py",
        "def f():\n    import whisper_mel_conformance.quirks.table",
        "no circle in a room",
    ),
    "to the kernel": (
        "whisper_mel_conformance/repro/shrink.py",
        "def f():\n    import whisper_mel_mojo",
        "what judges imports neither the kernel nor ci",
    ),
    "to ci": (
        "whisper_mel_golden/store.py",
        "import mutants",
        "what judges imports neither the kernel nor ci",
    ),
    "from the reference to goldens": (
        "whisper_mel_reference/spec.py",
        "import whisper_mel_golden.store",
        "reference imports no other package, golden only reference",
    ),
    "from what is packed to the tasks": (
        "ci/gpu/pack/bundle.py",
        "def f():\n    from tasks import check",
        "a room of ci imports rooms of lower floors only",
    ),
}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of the modules of the packages and of ci's rooms, and of the contracts."""
    folder = tmp_path_factory.mktemp("packages")
    shutil.copy(ROOT / "pyproject.toml", folder)
    packages = [(it, "whisper_mel_*/**/*.py") for it in PACKAGES]
    for source, pattern in (*packages, (ROOT, "ci/*/**/*.py")):
        for module in source.glob(pattern):
            copy = folder / module.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(module, copy)
    return folder


def broken_contracts(folder: Path) -> list[str]:
    done = ran(lint.IMPORTS, cwd=folder, env={**os.environ, **lint.ROOMS})
    broken = re.findall(r"^(.*) BROKEN$", done.stdout, re.MULTILINE)
    assert done.returncode == bool(broken), done.stdout + done.stderr
    return broken


def test_imports_keep_the_contracts(packages: Path) -> None:
    assert broken_contracts(packages) == []


@pytest.mark.parametrize("arrow", ARROWS)
def test_an_arrow_that_is_planted_breaks_a_contract(arrow: str, packages: Path) -> None:
    name, source, contract = ARROWS[arrow]
    module = packages / name
    before = module.read_text() if module.exists() else None
    module.write_text(f"{before or ''}\n{source}\n")
    try:
        assert contract in broken_contracts(packages)
    finally:
        if before is None:
            module.unlink()
        else:
            module.write_text(before)


def test_no_room_of_ci_is_forgotten_by_the_contracts() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    rooms = {path.parent.name for path in (ROOT / "ci").glob("*/__init__.py")}
    for room in rooms:
        assert f'"{room}"' in text.partition("forbidden_modules = [")[2].partition("]")[0], room


class Machine:
    """Stands in for a machine with some programs: keeps what is run, can refuse to install."""

    def __init__(self, patch: pytest.MonkeyPatch, *programs: str, user: int = 0) -> None:
        self.programs = set(programs)
        self.ran: list[str] = []
        self.offers = True
        patch.setattr(shutil, "which", lambda name: name if name in self.programs else None)
        patch.setattr(system, "_exists", lambda needed: needed in self.programs)
        patch.setattr(subprocess, "call", self.call)
        patch.setattr(os, "getuid", lambda: user)

    def call(self, command: list[str]) -> int:
        if command[0] not in self.programs:
            raise FileNotFoundError(command[0])
        self.ran.append(" ".join(command))
        if self.offers and "install" in command:
            for name in command[command.index("--no-install-recommends") + 1 :]:
                self.programs.update(system.PACKAGES[name])
        return int(not self.offers)


def test_system_installs_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, "apt-get")
    assert system.run([]) == 0
    update, *installs = machine.ran
    assert update.endswith(" update")
    assert [install.split()[-1] for install in installs] == [*system.PACKAGES]
    assert system.run([]) == 0
    assert machine.ran == [update, *installs], "it is there now"


def test_system_takes_another_browser_for_chromium(monkeypatch: pytest.MonkeyPatch) -> None:
    others = (needed for name, (needed, *_) in system.PACKAGES.items() if name != "chromium")
    machine = Machine(monkeypatch, *others, "google-chrome")
    assert system.run([]) == 0
    assert machine.ran == []


def test_system_asks_for_the_right_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, "apt-get", "sudo", user=1000)
    assert system.run([]) == 0
    assert all(command.startswith("sudo --non-interactive apt-get ") for command in machine.ran)


@pytest.mark.parametrize("programs", [(), ("apt-get",)])
def test_system_fails_and_names_what_is_missing(
    programs: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No apt-get, or no sudo beside it."""
    Machine(monkeypatch, *programs, user=1000)
    assert system.run([]) == 1
    assert "valgrind is missing" in capsys.readouterr().out


def test_system_fails_where_installing_did(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, "apt-get")
    machine.offers = False
    assert system.run([]) == 1


# --------------------------------------------------------------------------- conformance

NPM = """#!/bin/sh
echo "$@" >> calls
mkdir -p node_modules && touch node_modules/.package-lock.json
"""


def test_javascript_peers_are_installed_once_from_their_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    peer, programs = tmp_path / "peers" / "js", tmp_path / "bin"
    for folder in (peer, programs):
        folder.mkdir(parents=True)
    (peer / "package-lock.json").touch()
    judged: list[list[str]] = []
    monkeypatch.setattr(conformance, "become", lambda *command: judged.append([*command[3:]]))
    monkeypatch.setattr(conformance, "_beside", lambda arguments: [])
    monkeypatch.setattr(conformance, "PEERS", peer.parent)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    conformance.run(["--matrix"])
    assert "npm is missing: js is not judged" in capfd.readouterr().err
    npm = programs / "npm"
    npm.write_text(NPM)
    npm.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(npm))
    conformance.run([])
    assert not (peer / "calls").exists()
    for _ in range(2):
        conformance.run(["--matrix", "--seed", "1"])
    assert (peer / "calls").read_text() == "ci --ignore-scripts --no-audit\n"
    ours = ["--frontend", "mojo-cpu"]
    assert judged == [
        ["--matrix", *ours],
        [*ours, "--peers", "light"],
        *2 * [["--matrix", "--seed", "1", *ours]],
    ]
    npm.write_text("#!/bin/sh\nexit 1\n")
    shutil.rmtree(peer / "node_modules")
    conformance.run(["--matrix"])
    assert "npm failed: js is not judged" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["--frontend", "mojo-cpu", "--peers", "light"]),
        (["-x", "--peers=none"], ["-x", "--peers=none", "--frontend", "mojo-cpu"]),
        (["--frontend=librosa"], ["--frontend=librosa"]),
        (["repro", "report"], ["repro", "report"]),
        (["report", "report"], ["report", "report"]),
    ],
)
def test_ours_and_the_light_peers_are_judged_if_no_front_end_is_named(
    arguments: list[str], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[list[str]] = []
    monkeypatch.setattr(conformance, "become", lambda *command: judged.append([*command[3:]]))
    monkeypatch.setattr(conformance, "_beside", lambda arguments: [])
    conformance.run(arguments)
    assert judged == [words]
