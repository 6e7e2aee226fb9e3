"""What ./dev build makes, and that the wheels work in another place, with nothing else there."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any
from unittest.mock import Mock, call

import numpy as np
import pytest
import yaml
from checkout.paths import PACKAGES, ROOT
from daily import by_day
from installed import closure
from programs import ran
from release import wheels
from tasks import build
from whisper_mel_golden.make import SCRATCH
from whisper_mel_golden.speech import SPEECH
from whisper_mel_mojo import builder
from whisper_mel_reference import score

pytestmark = [pytest.mark.compiles, pytest.mark.xdist_group("build")]

LINUX = sys.platform == "linux"
ACTION = ROOT / ".github" / "actions" / "conformance"


CPUS = {
    "this-cpu": [builder.target_cpu()],
    "all-cpus": wheels.CPUS.get(platform.machine(), ["generic"]),
}


@pytest.fixture(scope="module", params=by_day(CPUS, ["this-cpu"]))
def cpus(request: pytest.FixtureRequest) -> list[str]:
    """CPU types of the kernel's wheel: by day that of the library which all tests use."""
    return CPUS[request.param]


@pytest.fixture(scope="module")
def dist(cpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels and source distributions of all packages, without libraries for GPUs."""
    folder = tmp_path_factory.mktemp("build")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "ROOT", folder)
        patch.setitem(wheels.CPUS, platform.machine(), cpus)
        assert build.run(["wheels", "--accelerator", "none"]) == 0
    return folder / "dist"


def wheel_of(dist: Path, name: str) -> Path:
    (wheel,) = dist.glob(f"whisper_mel_{name}-*.whl")
    return wheel


def tracked(package: Path) -> set[str]:
    """The files of a package that git has, from its folder."""
    command = ["git", "ls-files", "-z"]
    listing = ran(command, cwd=package, check=True)
    return set(filter(None, listing.stdout.split("\0")))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_wheel_and_source_distribution_have_everything(package: Path, dist: Path) -> None:
    files = {name for name in tracked(package) if name.startswith(f"whisper_mel_{package.name}/")}
    with zipfile.ZipFile(wheel_of(dist, package.name)) as packed:
        names = set(packed.namelist())
    names = {name for name in names if not name.endswith("/")}
    added = {name for name in names if "/prebuilt/" in name or ".dist-info/" in name}
    assert names - added == files, "what git tracks, no more and no less"
    assert any(name.endswith("licenses/LICENSE") for name in added)
    (source,) = dist.glob(f"whisper_mel_{package.name}-*.tar.gz")
    with tarfile.open(source) as packed_source:
        sources = {name.partition("/")[2] for name in packed_source.getnames()}
    assert {*files, "pyproject.toml", "LICENSE"} <= sources


SOME = [path for path in PACKAGES if path.name in ("golden", "mojo")]


@pytest.mark.parametrize("package", by_day(PACKAGES, SOME), ids=lambda path: path.name)
def test_what_a_killed_program_leaves_is_in_no_package(package: Path, tmp_path: Path) -> None:
    """Half-made goldens and regressions, npm's packages, what compilers keep beside sources."""
    folder = tmp_path / package.name
    for name in tracked(package):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(package / name, folder / name)
    shutil.copyfile(ROOT / ".gitignore", tmp_path / ".gitignore")
    left = [f"{SCRATCH}/data/a.xz", ".a.json.new", ".a.new/b", "node_modules/a.js", "a.so"]
    for name in [*left, "__mojocache__/a", "__pycache__/a.pyc"]:
        for place in (f"whisper_mel_{package.name}", f"whisper_mel_{package.name}/deeper"):
            (folder / place / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / place / name).write_text("half made")
    subprocess.run(["hatchling", "build"], cwd=folder, check=True, capture_output=True)
    with zipfile.ZipFile(wheel_of(folder / "dist", package.name)) as packed:
        wheel = {name for name in packed.namelist() if ".dist-info/" not in name}
    (source,) = (folder / "dist").glob("*.tar.gz")
    with tarfile.open(source) as packed_source:
        sources = {name.partition("/")[2] for name in packed_source.getnames()}
    assert wheel == {name for name in tracked(package) if name.startswith("whisper_mel_")}
    assert sources == {*tracked(package), ".gitignore", "PKG-INFO"}


def test_only_the_kernels_wheel_is_for_a_platform(dist: Path) -> None:
    for package in PACKAGES:
        name = wheel_of(dist, package.name).name
        if package.name != "mojo":
            assert name.endswith("-py3-none-any.whl")
        elif LINUX:
            # What the libraries ask of glibc, no less: below 2.34 threads were another library's.
            assert name.endswith(f"-py3-none-manylinux_2_34_{platform.machine()}.whl")


def test_a_wheel_of_the_source_distribution_is_pure(dist: Path, tmp_path: Path) -> None:
    """Whoever has no wheel for the platform compiles on first use, with the extra ``build``."""
    (source,) = dist.glob("whisper_mel_mojo-*.tar.gz")
    with tarfile.open(source) as packed:
        packed.extraction_filter = getattr(tarfile, "data_filter", None)  # new Pythons
        packed.extractall(tmp_path)
    (folder,) = tmp_path.iterdir()
    subprocess.run(["hatchling", "build", "-t", "wheel"], cwd=folder, check=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as packed_wheel:
        names = packed_wheel.namelist()
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        asked = packed_wheel.read(metadata).decode()
    assert not any("prebuilt" in name for name in names)
    assert "Requires-Dist: mojo-compiler==1.2.0; extra == 'build'" in asked


@pytest.mark.nightly
def test_the_source_distribution_works_where_a_compiler_is(dist: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, in front of this checkout's packages, it compiles its kernel."""
    (source,) = dist.glob("whisper_mel_mojo-*.tar.gz")
    with tarfile.open(source) as packed:
        packed.extraction_filter = getattr(tarfile, "data_filter", None)  # new Pythons
        packed.extractall(tmp_path)
    (folder,) = tmp_path.glob("whisper_mel_mojo-*/")
    audio = np.random.default_rng(3).standard_normal(16000).astype(np.float32)
    np.save(tmp_path / "audio.npy", audio)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy, whisper_mel_mojo as w\n"
        "numpy.save('features.npy', w.log_mel(numpy.load('audio.npy')))\n"
        "print(w.__file__)"
    )
    environment = {**os.environ, "WHISPER_MEL_CACHE": str(tmp_path / "cache")}
    done = ran([sys.executable, "-c", program, folder], cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(folder))
    assert "compiling the kernel (once)" in done.stderr
    assert score(np.load(tmp_path / "features.npy"), audio) <= 1


@pytest.mark.skipif(not LINUX, reason="reads ELF files")
def test_the_libraries_need_libc_only_and_name_no_folder(
    dist: Path, cpus: list[str], tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheel_of(dist, "mojo")) as packed:
        packed.extractall(tmp_path)
    libraries = sorted((tmp_path / "whisper_mel_mojo" / "prebuilt").glob("*.so"))
    assert len(libraries) == len(cpus)
    for library in libraries:
        command = ["readelf", "-d", str(library)]
        listing = ran(command, check=True).stdout
        assert listing.count("(NEEDED)") == 1
        assert "[libc.so.6]" in listing
        assert "PATH)" not in listing
        assert str(Path(sys.prefix)).encode() not in library.read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ["wheels", "mjoo"],
        ["wheels", "--accelerator", "none", "--accelerator", "sm_90a"],
        ["wheels", "--target", "mips"],
        ["wheels", "golden", "--target", "aarch64"],
        ["wheels", "--target", "aarch64", "--accelerator", "sm_90a"],
    ],
)
def test_wrong_usage_builds_nothing(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subprocess, "call", lambda *command, **options: pytest.fail("ran"))
    with pytest.raises(SystemExit) as ending:
        build.run(arguments)
    assert ending.value.code == 2
    assert "dev: build wheels: " in capsys.readouterr().err


def test_an_unknown_accelerator_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.run(["wheels", "--accelerator", "sm_1"]) == 2
    assert "--accelerator sm_1: expected none, or of sm_75," in capsys.readouterr().err
    everything = [package.name for package in PACKAGES]
    two = ["--accelerator", "sm_89", "--accelerator=sm_75"]
    assert wheels.parse(two) == (everything, ["sm_89", "sm_75"], "")
    assert wheels.parse(["--accelerator", "none"]) == (everything, [], "")
    assert wheels.parse([]) == (everything, None, "")
    assert wheels.parse(["golden", "reference"]) == (["reference", "golden"], None, "")


def test_packages_are_built_with_those_that_they_need() -> None:
    """They are published nowhere: pip finds them beside each other only."""
    for package in PACKAGES:
        asked = (package / "pyproject.toml").read_text().partition("\ndependencies = ")[2]
        needed = re.findall(r'"whisper-mel-(\w+)==', asked.partition("]")[0])
        assert {*wheels.parse([package.name]).packages} == {package.name, *needed}


def test_another_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is the kernel's wheel alone, which test_ci_wheel_for_arm.py builds and executes."""
    made = Mock(return_value=0)
    monkeypatch.setattr(wheels, "build_for", made)
    for arguments in (["--target", "aarch64"], ["mojo", "--target=aarch64"]):
        assert build.layer(["wheels", *arguments]) == "default"
        assert build.compiles(["wheels", *arguments])
        assert build.run(["wheels", *arguments]) == 0
    assert made.call_args_list == 2 * [call(ROOT / "dist", "aarch64")]
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert wheels.build_for(tmp_path, "aarch64") == 1
    assert "build wheels: there is no C compiler aarch64-linux-gnu-gcc" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_only_the_named_packages_are_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "build_kernel", lambda *arguments: pytest.fail("compiled"))
    assert wheels.build(tmp_path, ["conformance", "reference"], None) == 0
    built = sorted(path.name.split("-")[0] for path in tmp_path.iterdir())
    assert built == 2 * ["whisper_mel_conformance"] + 2 * ["whisper_mel_reference"]


def test_what_cannot_be_compiled_makes_no_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise builder.BuildError("no such type: Flaot32")

    monkeypatch.setattr(builder, "prebuild", fail)
    assert wheels.build_kernel(tmp_path, []) == 1
    assert "Flaot32" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------- in another place


class Elsewhere:
    """An environment with our wheels and what these need; no compiler, no sources, no network."""

    def __init__(self, folder: Path, dist: Path) -> None:
        self.folder = folder
        uv = Path(sys.prefix) / "bin" / "uv"
        subprocess.run(
            [uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True
        )
        self.python = folder / "venv" / "bin" / "python"
        (self.packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
        # From this environment instead of an index
        for name in closure(["whisper-mel-conformance", "whisper-mel-mojo", "hatchling", "pip"]):
            for path in importlib.metadata.files(name) or []:
                if ".." not in path.parts and "__pycache__" not in path.parts:
                    to = self.packages / path
                    to.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(str(path.locate()), to)
        install = [str(uv), "pip", "install", "--quiet", "--offline", "--no-index"]
        install += ["--find-links", str(dist), "--python", str(self.python)]
        names = [f"whisper-mel-{package.name}" for package in PACKAGES]
        subprocess.run([*install, *names], check=True)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """The environment's Python, without a PATH."""
        return ran(
            [self.python, *arguments],
            cwd=self.folder,
            env={"HOME": str(self.folder), "PATH": "", **environment},
        )


@pytest.fixture(scope="module")
def elsewhere(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    return Elsewhere(tmp_path_factory.mktemp("elsewhere"), dist)


def test_the_kernel_runs_without_a_compiler(elsewhere: Elsewhere, cpus: list[str]) -> None:
    audio = np.random.default_rng(3).standard_normal(16000).astype(np.float32)
    np.save(elsewhere.folder / "audio.npy", audio)
    program = (
        "import numpy, whisper_mel_mojo as w\n"
        "numpy.save('features.npy', w.log_mel(numpy.load('audio.npy')))\n"
        "print(w.__file__)"
    )
    runnable = {*cpus} & {*builder._runnable_cpus()}
    assert runnable
    for cpu in runnable:
        result = elsewhere.run("-c", program, WHISPER_MEL_TARGET_CPU=cpu)
        assert result.returncode == 0, result.stderr
        assert str(ROOT) not in result.stdout
        assert "compiling" not in result.stderr
        assert score(np.load(elsewhere.folder / "features.npy"), audio) <= 1
        (elsewhere.folder / "features.npy").unlink()
    assert not (elsewhere.folder / ".cache").exists()


def test_a_damaged_library_is_not_loaded_and_the_message_says_what_to_install(
    elsewhere: Elsewhere,
) -> None:
    """Without a compiler there is nothing else to do."""
    program = "import numpy, whisper_mel_mojo as w; w.log_mel(numpy.zeros(16000))"
    folder = elsewhere.packages / "whisper_mel_mojo" / "prebuilt"
    hidden = folder.with_name("hidden")
    shutil.copytree(folder, hidden)
    try:
        for library in folder.glob("*.so"):
            library.write_bytes(library.read_bytes()[:-1])
        result = elsewhere.run("-c", program)
    finally:
        shutil.rmtree(folder)
        hidden.rename(folder)
    assert result.returncode == 1
    assert "whisper-mel-mojo[build]" in result.stderr
    assert elsewhere.run("-c", program).returncode == 0


MYPKG = """
import numpy as np
from whisper_mel_reference import WHISPER, log_mel

def make():
    def mine(audio, n_mels=80):
        spec = WHISPER.replace(n_mels=n_mels)
        return (log_mel(audio, spec, dtype=np.float32) * FACTOR).astype(np.float32)
    return mine
"""


RIGHT_AND_WRONG = [("1", 0), ("1.001", 1)]


@pytest.mark.nightly  # by day, the action judges it, and pytest ours
@pytest.mark.parametrize(("factor", "status"), RIGHT_AND_WRONG)
def test_a_foreign_front_end_is_judged_from_wheels_only(
    factor: str, status: int, elsewhere: Elsewhere
) -> None:
    (elsewhere.folder / "mypkg.py").write_text(MYPKG.replace("FACTOR", factor))
    command = ["-m", "pytest", "--pyargs", "whisper_mel_conformance", "--frontend", "mypkg:make"]
    result = elsewhere.run(*command, "-q", "-k", "golden and click-first", PYTHONPATH=".")
    assert result.returncode == status, result.stdout[-2000:]
    assert ("2 passed" if status == 0 else "2 failed") in result.stdout.splitlines()[-1]


def test_our_front_end_is_found_by_its_name(elsewhere: Elsewhere) -> None:
    command = ["-m", "pytest", "--pyargs", "whisper_mel_conformance", "--frontend", "mojo-cpu"]
    result = elsewhere.run(*command, "-q", "-k", "golden and click-first")
    assert result.returncode == 0, result.stdout[-2000:]


def test_front_ends_are_compared_from_wheels_only(elsewhere: Elsewhere) -> None:
    (elsewhere.folder / "mypkg.py").write_text(MYPKG.replace("FACTOR", "1.001"))
    shutil.copy(SPEECH / "cards.wav", elsewhere.folder)
    command = ["-m", "whisper_mel_conformance", "compare", "cards.wav", "--seconds", "0"]
    command += ["--frontend", "mojo-cpu", "--frontend", "mypkg:make"]
    result = elsewhere.run(*command, PYTHONPATH=".")
    assert result.returncode == 0, result.stdout + result.stderr
    assert 'pip install "whisper-mel-conformance[compare]"' in result.stdout
    record = json.loads((elsewhere.folder / "report" / "compare.json").read_text())
    assert {name: it["class"] for name, it in record["paths"].items()} == {
        "mojo-cpu": "A",
        "mypkg:make": "fails",
    }


def steps(inputs: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
    """The commands of the GitHub action with their environments, for inputs given and defaults."""
    action = yaml.safe_load((ACTION / "action.yml").read_text())
    values = {name: str(it.get("default")) for name, it in action["inputs"].items()} | inputs
    assert inputs.keys() <= action["inputs"].keys()
    return [
        (
            step["run"],
            {
                name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda it: values[it[1]], text)
                for name, text in step.get("env", {}).items()
            },
        )
        for step in action["runs"]["steps"]
        if "run" in step
    ]


@pytest.mark.parametrize(("factor", "status"), by_day(RIGHT_AND_WRONG, [("1", 0)]))
def test_the_github_action_judges(factor: str, status: int, elsewhere: Elsewhere) -> None:
    """Its own commands, in bash, in an environment with pip that has no index."""
    (elsewhere.folder / "theirs.py").write_text(MYPKG.replace("FACTOR", factor))
    common = {
        "GITHUB_ACTION_PATH": str(ACTION),
        "GITHUB_STEP_SUMMARY": str(elsewhere.folder / "summary"),
        "HOME": str(elsewhere.folder),
        "PATH": f"{elsewhere.python.parent}:/usr/bin:/bin",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # which is pip's way to say: without
        "PIP_NO_DEPS": "1",
    }
    inputs = {"front-end": "theirs.py:make", "select": "golden and click-first", "report": "r e"}
    results = [
        ran(
            ["bash", "-e", "-o", "pipefail", "-c", command],
            cwd=elsewhere.folder,
            env={**common, **environment},
        )
        for command, environment in steps(inputs)
    ]
    assert [result.returncode for result in results] == [0, status, 0], results
    assert (elsewhere.folder / "r e" / "report.json").exists()
    summary = elsewhere.folder / "r e" / "summary.md"
    assert summary.exists() == (elsewhere.folder / "summary").exists()


@pytest.mark.nightly
@pytest.mark.skipif(not LINUX, reason="reads ELF files")
def test_a_library_for_gpus_finds_modulars_beside_it(tmp_path: Path) -> None:
    """Loaded from an installed wheel's place, with the run-time libraries in theirs."""
    (tmp_path / "dist").mkdir()
    assert wheels.build_kernel(tmp_path / "dist", ["sm_90a"]) == 0
    with zipfile.ZipFile(wheel_of(tmp_path / "dist", "mojo")) as packed:
        packed.extractall(tmp_path / "site")
    (library,) = (tmp_path / "site" / "whisper_mel_mojo" / "prebuilt").glob("launch-*.so")

    def loading() -> str:  # each time anew: the loader remembers which folders are not there
        program = f"import ctypes; ctypes.CDLL({str(library)!r}).whisper_mel_launch_message"
        command = [sys.executable, "-c", program]
        return ran(command).stderr

    assert "OSError: libKGENCompilerRTShared.so" in loading()
    (modular,) = (path for path in map(Path, sys.path) if (path / "modular" / "lib").is_dir())
    (tmp_path / "site" / "modular").symlink_to(modular / "modular")
    assert loading() == ""
    digest = library.with_suffix(".sha256").read_text()
    assert digest == builder._digest(library), "labelling the wheel has changed nothing"
