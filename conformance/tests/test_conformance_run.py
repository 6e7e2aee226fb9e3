"""The suite as its users see it: command line, pytest, report, reproductions, known failures."""

from __future__ import annotations

import ast
import gc
import json
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from correct_front_ends import right
from daily import by_day
from programs import ran
from running import CORRECT, FEW, QUIRKS, conformance, module, report_of
from whisper_mel_conformance.__main__ import main
from whisper_mel_conformance.cases.catalogue import BRIEF, FAMILIES, all_cases, find
from whisper_mel_conformance.frontend.client import (
    FIRST_CALL_PATIENCE,
    MEMORY_LIMIT,
    FrontEnd,
    InProcess,
)
from whisper_mel_conformance.frontend.errors import Failure, Refused
from whisper_mel_conformance.frontend.load import (
    Capabilities,
    UnknownFrontEnd,
    inspect_front_end,
    load,
    require_known,
)
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_conformance.report.write import ARRAYS, REPRODUCTIONS, Failures, case_path
from whisper_mel_conformance.run.judge import judge_case
from whisper_mel_conformance.run.known import matching_nothing, of_peers
from whisper_mel_conformance.run.result import Result
from whisper_mel_conformance.run.setup import prepare

# --------------------------------------------------------------------------- command line


@pytest.mark.slow
def test_everything_passes_and_is_reported(tmp_path: Path) -> None:
    """A front-end that claims all of Whisper's definition runs cases of every family of that."""
    words = (
        *(FEW, "batch/three", "errors/nan", "out-canaries-1600", "one-thread", "3-threads-80000"),
        *("property/gain", "bad-out", "determinism/interleaved", "memory/left-behind-short/80"),
        *("golden/reading-quiet", "state/modes", "honesty/finished", "pad_to", "bytes", "rank"),
        *("int", "n_mels", "smoothing"),
    )
    options = ("--frontend", f"{CORRECT}:Everything", "-k", " or ".join(words))
    done = conformance(*options, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    report = report_of(tmp_path)
    [front_end] = report["front_ends"]
    assert front_end["class"] == "A"
    assert front_end["counts"]["failed"] == 0
    assert front_end["calls"] > 100
    not_claimed = {"maximum", "half", "stream", "lengths"}  # see test_conformance_models.py
    passed = {c["id"].split("/")[0] for c in front_end["cases"] if c["status"] == "passed"}
    assert passed == FAMILIES.keys() - not_claimed
    assert re.search(r"^everything: \d+ passed in [0-9.]+ s$", done.stdout, re.MULTILINE)
    assert "\x1b" not in done.stdout  # nothing that only a terminal understands
    for name in ("index.html", "junit.xml", "summary.md", "badge.json"):
        assert (tmp_path / "report" / name).stat().st_size > 0, name


@pytest.mark.slow
def test_a_faulty_front_end_fails_and_can_be_replayed(tmp_path: Path) -> None:
    source = f"{QUIRKS}:all-zero"
    done = conformance("judge", source, "-k", FEW, folder=tmp_path)
    assert done.returncode == 1
    [front_end] = report_of(tmp_path)["front_ends"]
    assert front_end["class"] == "fails"
    [path] = (tmp_path / "report" / "failures").glob("*/boundary--length-401--80/case.json")
    case = json.loads(path.read_text())
    assert case["arguments"]["recipe"] == {"signal": "noise_ramp", "n": 401, "seed": 401}
    assert (path.parent / "arrays.npz").exists()
    assert "nothing was computed" in front_end["diagnosis"]["summary"][0]
    assert "Cause    All its features are 0" in done.stdout
    assert (path.parent.parent / "features.png").exists()
    assert conformance("repro", path, folder=tmp_path).returncode == 1
    case["front_end"]["source"] = f"{CORRECT}:Everything"
    path.write_text(json.dumps(case))
    asked = conformance("repro", path.parent, folder=tmp_path)
    assert asked.returncode == 2
    assert "Give --trust" in asked.stderr
    assert conformance("repro", path.parent, "--trust", folder=tmp_path).returncode == 0
    assert conformance("repro", tmp_path, folder=tmp_path).returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    by_day([(("diagnose",),), (("judge", "--diagnose", "--frontend"),)], [(("diagnose",),)]),
)
def test_a_diagnosis_asks_little(words: tuple[str, ...], tmp_path: Path) -> None:
    """Of a front-end that takes 20 ms a clip, these calls and the diagnosis take seconds."""
    source = f"{QUIRKS}:htk-mel"
    done = conformance(*words, source, folder=tmp_path)
    assert done.returncode == 1, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("  ")]
    labels = [words[0] for words in lines if words]
    assert labels.index("Cause") < labels.index("Fix") < labels.index("Evidence")
    report = report_of(tmp_path)
    assert report["profile"] == "brief"
    [front_end] = report["front_ends"]
    assert "golden/reading/80" in [case["id"] for case in front_end["cases"]]
    assert 20 < front_end["calls"] < 250
    assert front_end["diagnosis"]["explanations"][0]["quirks"][0]["id"] == "htk-mel"
    assert "--diagnose" in (tmp_path / "report" / "summary.md").read_text()


def test_the_brief_profile_names_cases_that_exist() -> None:
    assert {case.id for case in all_cases("brief")} == set(BRIEF)


def test_the_brief_profile_has_a_long_clip_and_one_that_fills_what_it_is_padded_to() -> None:
    """What is wrong beyond 10 s or 30 s only, or only there, does not conform by it."""

    def full(audio: Any, n_mels: int = 80, pad_to: int | None = None) -> Any:
        features = right(audio, n_mels, pad_to=pad_to)
        return features + (len(audio) == pad_to)

    def late(audio: Any, n_mels: int = 80, pad_to: int | None = None) -> Any:
        features = right(audio, n_mels, pad_to=pad_to)
        features[:, 3001:] = features[:, 3001:] + 0.01
        return features

    for wrong in (full, late, *(CATALOGUE[id].make() for id in OF_30_SECONDS)):
        inside = InProcess(inspect_front_end(wrong, "wrong"))
        judged = (judge_case(inside, find(id), profile="brief", seed=0) for id in LONG_OR_FULL)
        assert any(result.status == "failed" for result in judged), wrong


OF_30_SECONDS = ("maximum-of-30-seconds", "edges-of-30-seconds", "cut-to-30-seconds")
LONG_OR_FULL = [id for id in BRIEF if id.startswith(("boundary/61-seconds", "boundary/pad-"))]


@pytest.mark.slow
def test_unknown_front_ends_are_errors_that_name_what_exists(tmp_path: Path) -> None:
    done = conformance("--frontend", "nonesuch", folder=tmp_path)
    assert done.returncode == 2
    assert "librosa" in done.stdout + done.stderr
    for source, message in (
        ("no_such_module:f", "no module"),
        ("no/such/file.py:f", "no file"),
        ("no/such/file.py", "expected no/such/file.py:NAME"),
        ("cmd:./no-such-program {in} {out}", "there is no program ./no-such-program"),
        (f"cmd:{sys.executable} {{in}}", r"\{out\}"),
    ):
        with pytest.raises(ValueError, match=message):
            require_known(source)
    front_end = FrontEnd(f"{CORRECT}:nonesuch", timeout=1800.0)
    with pytest.raises(Refused, match=r"has no nonesuch; it has .*Everything"):
        front_end.start()  # what it began is ended: a process left to the collector warns
    del front_end
    gc.collect()
    done = conformance("--frontend", f"{CORRECT}:nonesuch", folder=tmp_path)
    assert done.returncode == 2
    assert (done.stdout + done.stderr).count("has no nonesuch") == 1
    assert "Traceback" not in done.stdout + done.stderr


def test_no_package_of_a_front_end_is_imported_by_the_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").mkdir()
    marker = tmp_path / "imported"
    (tmp_path / "theirs" / "__init__.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    require_known("theirs.front_end:f")
    assert not marker.exists()
    with pytest.raises(UnknownFrontEnd, match=r"no module theirs.front_end on"):
        load("theirs.front_end:f")
    assert marker.exists()
    (tmp_path / "theirs" / "front_end.py").write_text("import no_such_module\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):  # theirs, not the user's
        load("theirs.front_end:f")
    del sys.modules["theirs"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["__main__", "plugin, pytest, whisper_mel_conformance.collecting"])
def test_the_judging_process_begins_with_little(name: str) -> None:
    """One thread, since idle threads of BLAS spin: a diagnosis took four times as long. Nothing of
    hypothesis, which takes a third of the time that a short run takes to begin.
    """
    program = (
        f"import os, sys, whisper_mel_conformance.{name}\n"
        "print([os.listdir('/proc/self/task'), 'hypothesis' in sys.modules])"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "4"}
    done = ran([sys.executable, "-c", program], env=environment, check=True)
    threads, draws = ast.literal_eval(done.stdout)
    assert len(threads) == 1
    assert not draws


def test_what_is_no_command_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mine.py:log_mel", "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "'mine.py:log_mel': expected one of judge, diagnose, compare, repro, report" in error
    assert error.endswith("by --frontend mine.py:log_mel\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--fronted=x"], "ERROR: --fronted: there is no such option; perhaps --frontend (--help)"),
        (["--outpt", "x"], "ERROR: --outpt: there is no such option (--help)"),
        (["--diagnose", "mine.py:f"], "a front-end is named by --frontend mine.py:f"),
    ],
)
def test_words_that_are_no_options_are_said(words: list[str], said: str) -> None:
    """In our own words: nobody asked pytest for anything."""
    done = ran([sys.executable, "-m", "whisper_mel_conformance", *words])
    assert done.returncode == 2
    assert said in done.stderr
    assert "usage" not in done.stdout + done.stderr


@pytest.mark.slow
def test_nothing_to_judge_is_no_success(tmp_path: Path) -> None:
    """Where no front-end is named and no peer is installed."""
    source = tmp_path / "alone.py"
    source.write_text(
        "import sys\n"
        "from whisper_mel_conformance import __main__\n"
        "from whisper_mel_conformance.run import setup\n"
        "setup.peers = lambda which='all': []\n"
        "sys.exit(__main__.main(sys.argv[1:]))\n"
    )
    for words in (("judge",), ("--diagnose", "-n", "0")):
        done = ran([sys.executable, source, *words], cwd=tmp_path)
        assert done.returncode == 2, done.stdout
        assert "no front-end is named (--frontend SOURCE)" in done.stdout + done.stderr


@pytest.mark.slow
def test_a_front_end_that_is_never_called_fails(tmp_path: Path) -> None:
    source = tmp_path / "lazy.py"
    source.write_text(
        "class F:\n"
        "    capabilities = {'n_mels': (80,), 'max_samples': 10}\n"
        "    def log_mel(self, audio, n_mels=80): raise NotImplementedError('later')\n"
    )
    done = conformance("--frontend", f"{source}:F", "-k", "length-401", folder=tmp_path)
    assert done.returncode == 1
    assert "was never called" in done.stdout
    source.write_text("def f(audio): raise NotImplementedError('later')\n")
    done = conformance("--frontend", f"{source}:f", "-k", "length-401", folder=tmp_path)
    assert done.returncode == 1
    assert "passed no case" in done.stdout


@pytest.mark.parametrize("count", by_day([1, 2, 20], [2]))
def test_the_report_of_front_ends_that_fail_everything_is_small(count: int, tmp_path: Path) -> None:
    """Of each case there is a case.json, of several front-ends of as many as there is room for; of
    arrays only as many as there is room for."""
    rng = np.random.default_rng(0)
    failures = Failures(tmp_path, count)
    cases = [case.id for case in all_cases("quick")]
    for name in (f"wrong-{i}" for i in range(count)):
        front_end = SimpleNamespace(
            name=name, source=name, device="cpu", versions={}, capabilities=Capabilities()
        )
        for i, case in enumerate(cases):
            arrays = {"actual": rng.normal(size=(80, 1000))} if i % 10 == 0 and i < 400 else {}
            result = Result(name, case, "failed", "x" * 300, 9e9, arguments={}, arrays=arrays)
            failures.write(result, cast(FrontEnd, front_end))
            assert (result.reproduction is None) == (not case_path(name, case, tmp_path).exists())
        folder = tmp_path / "failures" / name
        assert 9 // count <= len(list(folder.rglob("arrays.npz"))) < 40
        stored = [path.parent.name for path in folder.rglob("case.json")]
        assert len(stored) == min(len(cases), REPRODUCTIONS // count)
        assert {case.partition("--")[0] for case in stored} == set(FAMILIES)
    sizes = {path: path.stat().st_size for path in tmp_path.rglob("*")}
    assert sum(size for path, size in sizes.items() if path.name == "arrays.npz") <= ARRAYS
    # As most file systems count, in blocks; page, report.json and junit.xml take 2 MB more.
    assert sum(-(-size // 4096) * 4096 for size in sizes.values()) <= 18e6


# --------------------------------------------------------------------------- programs


PROGRAM = """
import json, sys
import numpy as np
sys.path.insert(0, {folder!r})
from correct_front_ends import right

def answer(source, target, n_mels):
    y = right(np.fromfile(source, "<f4"), int(n_mels))
    y.tofile(target)
    return json.dumps({{"shape": list(y.shape)}})

if len(sys.argv) > 1:
    print("hello")
    print(answer(*sys.argv[1:]))
else:
    for line in sys.stdin:
        call = json.loads(line)
        if call["pad_to"] or call["smoothing"]:
            print(json.dumps({{"unsupported": "not here"}}), flush=True)
        else:
            print(answer(call["in"], call["out"], call["n_mels"]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("placeholders", by_day([" {in} {out} {n_mels}", ""], [""]))
def test_programs_are_front_ends(tmp_path: Path, placeholders: str) -> None:
    program = tmp_path / "prog.py"
    program.write_text(PROGRAM.format(folder=str(CORRECT.parent)))
    source = f"cmd:{sys.executable} {program}{placeholders}"
    done = conformance("--frontend", source, "-k", f"{FEW} or pad-37", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    [front_end] = report_of(tmp_path)["front_ends"]
    assert front_end["counts"]["passed"] >= 3
    assert front_end["counts"]["skipped"] >= 2


# --------------------------------------------------------------------------- processes


@pytest.mark.slow
def test_a_crash_is_reported_and_the_process_replaced() -> None:
    front_end = FrontEnd(f"{QUIRKS}:crash-on-empty", timeout=1800.0)
    with pytest.raises(Failure, match="SIGABRT"):
        front_end.call(np.empty(0, np.float32))
    assert front_end.call(np.ones(400, np.float32)).shape == (80, 2)
    front_end.stop()


@pytest.mark.slow
def test_a_crash_is_a_failure_of_its_case(tmp_path: Path) -> None:
    """Memory beyond the clip is read; what comes after it is judged in a new process."""
    words = ("--frontend", f"{QUIRKS}:read-beyond-end", "-k", "guard-behind/80 or length-401/80")
    done = conformance(*words, folder=tmp_path)
    assert done.returncode == 1, done.stderr
    [front_end] = report_of(tmp_path)["front_ends"]
    verdicts = {case["id"]: case for case in front_end["cases"]}
    assert "was killed by SIGSEGV" in verdicts["buffers/guard-behind/80"]["message"]
    assert verdicts["boundary/length-401/80"]["status"] == "passed"
    [path] = (tmp_path / "report" / "failures").glob("*/buffers--guard-behind--80/case.json")
    assert json.loads(path.read_text())["check"] == "sweep"


@pytest.mark.slow
def test_a_front_end_that_hangs_is_given_up() -> None:
    front_end = FrontEnd(f"{QUIRKS}:hang", timeout=1800.0)
    front_end.start()
    front_end.timeout = 0.1  # once it is loaded: how long that takes is the machine's affair
    limit = 0.1 * FIRST_CALL_PATIENCE
    with pytest.raises(Failure, match=f"no answer within {limit:g} s"):
        front_end.call(np.ones(400, np.float32))
    with pytest.raises(Failure, match="not called: no answer"):
        front_end.call(np.ones(400, np.float32))


@pytest.mark.slow
def test_memory_is_limited() -> None:
    front_end = FrontEnd(f"{QUIRKS}:memory-eaten", timeout=1800.0)
    with pytest.raises(Failure, match="MemoryError"):
        front_end.call(np.ones(400, np.float32))
    front_end.stop()


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_only_front_ends_on_the_cpu_are_limited(device: str, tmp_path: Path) -> None:
    """A device's driver maps more than any limit, though it uses little of it."""
    path = tmp_path / "driver.py"
    path.write_text(f"""
import mmap
import numpy as np

class FrontEnd:
    device = {device!r}

    def log_mel(self, audio, n_mels=80):
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
        mapped = mmap.mmap(-1, {MEMORY_LIMIT} + (1 << 30), flags=flags)
        return np.zeros((n_mels, 2), np.float32)
""")
    front_end = FrontEnd(f"{path}:FrontEnd", timeout=1800.0)
    try:
        if device == "cuda":
            assert front_end.call(np.ones(400, np.float32)).shape == (80, 2)
        else:
            with pytest.raises(Refused, match="Cannot allocate memory"):
                front_end.call(np.ones(400, np.float32))
    finally:
        front_end.stop()


# --------------------------------------------------------------------------- declared failures


DECLARATION = """front-end = "{name}"
[[failure]]
cases = [{cases}]
since = 2026-11-24
mechanism = "all zeros"
"""


DECLARED = [
    (f"{QUIRKS}:all-zero", '"*"', 0, "0 passed, 5 declared"),
    (f"{QUIRKS}:all-zero", '"boundary/length-401/*"', 1, "FAILED numerics/rising-noise/80"),
    (
        *(f"{CORRECT}:right", '"boundary/length-401/80"]\nexcept = ["boundary/*/80"'),
        *(0, "conforms: class A"),
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "cases", "status", "words"), by_day(DECLARED, DECLARED[1:2]))
def test_a_file_of_declared_failures_is_given(
    name: str, cases: str, status: int, words: str, tmp_path: Path
) -> None:
    (tmp_path / "known.toml").write_text(DECLARATION.format(name=name, cases=cases))
    options = ("--frontend", name, "--known-failures", "known.toml", "-k", FEW)
    done = conformance(*options, folder=tmp_path)
    assert done.returncode == status, done.stdout + done.stderr
    assert words in done.stdout


@pytest.mark.slow
def test_a_selection_without_cases_is_said(tmp_path: Path) -> None:
    done = conformance("--frontend", f"{QUIRKS}:all-zero", "-k", "nonesuch", folder=tmp_path)
    assert done.returncode == 2
    assert "-k 'nonesuch' matches no case of the profile quick. Ids are such as golden/" in (
        done.stdout
    )


@pytest.mark.slow
def test_a_front_end_is_called_as_the_user_says(tmp_path: Path) -> None:
    """In the report and in files of declared failures."""
    source = f"{QUIRKS}:all-zero"
    (tmp_path / "known.toml").write_text(DECLARATION.format(name="mine", cases='"*"'))
    words = ("--name", "mine", "--known-failures", "known.toml", "-k", FEW)
    done = conformance("--frontend", source, *words, folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert report_of(tmp_path)["front_ends"][0]["name"] == "mine"
    with pytest.raises(ValueError, match="--name 'b': expected one for each --frontend, 1"):
        prepare([source], names=["a", "b"])


def test_peers_entries_match_cases() -> None:
    ids = [case.id for case in all_cases("nightly")]
    assert len(of_peers()) > 0
    assert matching_nothing(of_peers(), ids) == []


# --------------------------------------------------------------------------- pytest


PLUGIN = "whisper_mel_conformance.plugin"


@pytest.mark.slow
def test_by_pyargs(tmp_path: Path) -> None:
    words = ("-p", PLUGIN, "--pyargs", "whisper_mel_conformance", "-k", FEW)
    done = module("pytest", *words, "--frontend", f"{CORRECT}:right", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "conforms: class A" in done.stdout
    report_of(tmp_path)
    none = module("pytest", *words, folder=tmp_path)
    assert none.returncode == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.slow
def test_silent_beside_a_foreign_suite(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(
        "import sys\n"
        "def test_theirs():\n"
        "    ours = [m for m in sys.modules if m.startswith('whisper_mel')]\n"
        "    rooms = {m.partition('.')[2] for m in ours}\n"
        "    assert rooms == {'', 'keys', 'options', 'plugin'}, rooms\n"
        "    assert 'numpy' not in sys.modules\n"
        "    assert 'hypothesis' not in sys.modules\n"
    )
    done = module("pytest", "-p", PLUGIN, "-q", folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "whisper" not in done.stdout
    assert not (tmp_path / "report").exists()


@pytest.mark.slow
def test_options_of_others_stay_theirs(tmp_path: Path) -> None:
    """Beside a project with a ``--frontend`` of its own, ours has its prefix only."""
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser):\n"
        "    parser.addoption('--frontend', choices=('qt', 'gtk'), default='qt')\n"
        "    parser.addoption('--frontend-report', action='store_true')\n"
    )
    (tmp_path / "test_theirs.py").write_text(
        "def test_theirs(request):\n"
        "    assert request.config.getoption('--frontend') == 'gtk'\n"
        "    assert request.config.getoption('--frontend-report') is True\n"
    )
    theirs = ("-p", PLUGIN, "-q", "test_theirs.py", "--frontend", "gtk", "--frontend-report")
    done = module("pytest", *theirs, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "report").exists()
    ours = ("--pyargs", "whisper_mel_conformance", "--mel-frontend", f"{CORRECT}:right")
    done = module("pytest", *theirs, *ours, "-k", f"theirs or {FEW}", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "conforms: class A" in done.stdout
    assert report_of(tmp_path)["front_ends"][0]["counts"]["passed"]


def test_a_name_is_required() -> None:
    with pytest.raises(UnknownFrontEnd, match="expected an attribute"):
        require_known("module:")
