"""Building on first use: the cache, several processes at once, and everything that can go wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from whisper_mel_mojo import BuildError, builder

TIME_OUT = 300  # seconds: a guard against hanging

USE = """
import numpy as np
from whisper_mel_mojo import log_mel
print(log_mel(np.zeros(16000, np.float32)).max())
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("WHISPER_MEL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("WHISPER_MEL_TARGET_CPU", raising=False)
    return tmp_path / "cache"


class FakeCompiler:
    """Writes a file quickly, and counts."""

    def __init__(self) -> None:
        self.runs = 0
        self.status = 0

    def __call__(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        self.runs += 1
        if self.status == 0:
            Path(arguments[arguments.index("-o") + 1]).write_bytes(b"library %d" % self.runs)
        return subprocess.CompletedProcess(arguments, self.status, "", "no such type: Flaot32")


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> FakeCompiler:
    fake = FakeCompiler()
    monkeypatch.setattr(builder, "run_compiler", fake)
    return fake


def test_two_processes_without_a_path_or_a_home(cache: Path, tmp_path: Path) -> None:
    """The real compiler, which is found beside the interpreter's packages. Only one compiles."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("cc", "gcc", "ld"):  # what the linker needs; no python3, no mojo
        found = shutil.which(tool)
        if found:
            (tools / tool).symlink_to(found)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", USE],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={"PATH": str(tools), "WHISPER_MEL_CACHE": str(cache), "HOME": "/nonexistent"},
        )
        for _ in range(2)
    ]
    results = [process.communicate(timeout=TIME_OUT) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    assert [out for out, _ in results] == ["-1.5\n", "-1.5\n"]
    assert sorted(err.count("compiling the kernel") for _, err in results) == [0, 1]


def test_built_once(compiler: FakeCompiler, capsys: pytest.CaptureFixture[str]) -> None:
    library = builder.built_library()
    assert library.read_bytes() == b"library 1"
    assert "compiling the kernel (once)" in capsys.readouterr().err
    assert builder.built_library() == library
    assert compiler.runs == 1
    assert capsys.readouterr().err == ""


def _truncate(library: Path) -> None:
    library.write_bytes(library.read_bytes()[:3])


def _empty(library: Path) -> None:
    library.write_bytes(b"")


def _flip(library: Path) -> None:
    data = bytearray(library.read_bytes())
    data[0] ^= 1
    library.write_bytes(data)


def _forget_digest(library: Path) -> None:
    library.with_suffix(".sha256").unlink()


@pytest.mark.parametrize(
    "damage", [_truncate, _empty, _flip, Path.unlink, _forget_digest], ids=lambda f: f.__name__
)
def test_a_damaged_file_is_built_again(
    damage: Callable[[Path], None], compiler: FakeCompiler
) -> None:
    library = builder.built_library()
    damage(library)
    assert builder.built_library() == library
    assert library.read_bytes() == b"library 2"


def test_everything_that_matters_is_in_the_name(
    compiler: FakeCompiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [builder.built_library()]
    changed = tmp_path / "mel_kernel.mojo"
    changed.write_bytes(builder.SOURCE.read_bytes() + b"\n")
    monkeypatch.setattr(builder, "SOURCE", changed)
    names.append(builder.built_library())
    monkeypatch.setattr(builder, "FLAGS", (*builder.FLAGS, "-g"))
    names.append(builder.built_library())
    monkeypatch.setattr(builder, "compiler_version", lambda: "99")
    names.append(builder.built_library())
    monkeypatch.setenv("WHISPER_MEL_TARGET_CPU", "x86-64")
    names.append(builder.built_library())
    assert len(set(names)) == compiler.runs == 5


def test_compiler_errors_are_shown(compiler: FakeCompiler, cache: Path) -> None:
    compiler.status = 1
    with pytest.raises(BuildError, match=r"(?s)could not compile .*Flaot32"):
        builder.built_library()
    assert not list(cache.glob("*.so"))
    compiler.status = 0
    assert builder.built_library().exists()


def test_the_real_compilers_message_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "mel_kernel.mojo"
    wrong.write_text("def f() -> Flaot32:\n    return 0\n")
    monkeypatch.setattr(builder, "SOURCE", wrong)
    with pytest.raises(BuildError, match=r"(?s)could not compile .*Flaot32"):
        builder.built_library()


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise builder.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(builder.importlib.metadata, "version", missing)
    with pytest.raises(BuildError, match="mojo-compiler is not installed"):
        builder.built_library()


def test_a_chosen_cache_must_be_usable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WHISPER_MEL_CACHE", str(tmp_path / "file"))
    with pytest.raises(BuildError, match=r"WHISPER_MEL_CACHE=.*file cannot be used: .*exists"):
        builder.cache_folder()


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WHISPER_MEL_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert builder.cache_folder() == tmp_path / "home" / ".cache" / "whisper-mel"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert builder.cache_folder() == tmp_path / "xdg" / "whisper-mel"


def test_without_a_home_temporary_files_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WHISPER_MEL_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/proc/nobody")
    monkeypatch.setattr(builder.tempfile, "tempdir", str(tmp_path))
    folder = builder.cache_folder()
    assert folder == tmp_path / f"whisper-mel-{os.getuid()}"
    assert "the cache cannot be used" in capsys.readouterr().err
    folder.chmod(0o777)
    with pytest.raises(BuildError, match="is not this user's own"):
        builder.cache_folder()


@pytest.mark.parametrize(
    ("flags", "target"),
    [
        ("fpu sse sse2 avx avx2 bmi1 bmi2 f16c fma abm movbe", "x86-64-v3"),
        ("fpu sse sse2 avx avx2 bmi1 bmi2 f16c fma abm movbe avx512f avx512vl", "x86-64-v3"),
        (
            "fpu sse sse2 avx avx2 bmi1 bmi2 f16c fma abm movbe "
            "avx512f avx512bw avx512cd avx512dq avx512vl",
            "x86-64-v4",
        ),
        ("fpu sse sse2 avx avx2 bmi1 bmi2 f16c abm movbe", "x86-64"),
        ("fpu sse sse2", "x86-64"),
    ],
)
def test_the_target_is_chosen_by_what_the_cpu_has(
    flags: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(Path, "read_text", lambda _: f"processor : 0\nflags\t\t: {flags}\n")
    assert builder.target_cpu() == target
