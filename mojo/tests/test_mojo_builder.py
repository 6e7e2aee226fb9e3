"""Building on first use: the cache, several processes at once, and everything that can go wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from whisper_mel_mojo import BuildError, builder

TIME_OUT = 1800  # seconds: a guard against hanging

ANSWER = """
@export
def answer() abi("C") -> Int32:
    return 42
"""
USE = """
import ctypes, sys
from pathlib import Path
from whisper_mel_mojo.builder import built_library
print(ctypes.CDLL(str(built_library(Path(sys.argv[1])))).answer())
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and nowhere else to put a fake library."""
    monkeypatch.setattr(builder.tempfile, "tempdir", str(tmp_path))
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
    source = tmp_path / "answer.mojo"
    source.write_text(ANSWER)
    source.with_name(builder.SOURCE.name).touch()  # it imports nothing
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("cc", "gcc", "ld"):  # what the linker needs; no python3, no mojo
        found = shutil.which(tool)
        if found:
            (tools / tool).symlink_to(found)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", USE, str(source)],
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
    assert [out for out, _ in results] == ["42\n", "42\n"]
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


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WHISPER_MEL_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert builder.cache_folder() == tmp_path / "home" / ".cache" / "whisper-mel"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert builder.cache_folder() == tmp_path / "xdg" / "whisper-mel"


# --------------------------------------------------------------------------- other users


NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as two users")


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of temporary files of every user's, as /tmp is."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o1777)
        monkeypatch.setattr(builder.tempfile, "tempdir", name)
        yield folder


def give(user: int, *paths: Path) -> None:
    for path in paths:
        os.chown(path, user, user, follow_symlinks=False)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """What is said of the cache, in one sentence."""
    lines = [it for it in capsys.readouterr().err.splitlines() if "cannot be used" in it]
    assert len(lines) == 1, lines
    return lines[0]


def _leads_nowhere(folder: Path) -> None:
    folder.parent.mkdir()
    folder.symlink_to("/proc/nothing")


def _file(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("")


def _circle(folder: Path) -> None:
    folder.parent.mkdir()
    folder.symlink_to(folder)


def _others_write(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)


def _group_writes(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o770)


def _sticky(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o1777)


def _others_write_above(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.parent.chmod(0o777)


def _link_that_others_may_turn(folder: Path) -> None:
    folder.parent.mkdir()
    folder.parent.with_name("target").mkdir(mode=0o700)
    folder.symlink_to(folder.parent.with_name("target"))
    folder.parent.chmod(0o777)


def _link_to_what_others_may_replace(folder: Path) -> None:
    folder.parent.mkdir()
    _others_write_above(folder.parent.with_name("target") / "own")
    folder.symlink_to(folder.parent.with_name("target") / "own")


def _of_another(folder: Path) -> None:
    folder.mkdir(parents=True)
    give(NOBODY, folder)


def _below_another(folder: Path) -> None:
    folder.mkdir(parents=True)
    give(NOBODY, folder.parent)


def _new_below_another(folder: Path) -> None:
    folder.parent.mkdir()
    give(NOBODY, folder.parent)


def _link_of_another(folder: Path) -> None:
    """In a folder where anybody may leave something, to a folder that is the victim's own."""
    folder.parent.mkdir()
    folder.parent.chmod(0o1777)
    target = folder.parent.with_name("target")
    target.mkdir(mode=0o700)
    folder.symlink_to(target)
    give(NOBODY, folder)


def _link(folder: Path) -> None:
    """What another user has put among the temporary files."""
    (folder.parent / "target").mkdir(mode=0o700, exist_ok=True)
    folder.symlink_to(folder.parent / "target")
    give(NOBODY, folder)


def _link_to_another(folder: Path) -> None:
    _of_another(folder.parent.with_name("target"))
    folder.parent.mkdir()
    folder.symlink_to(folder.parent.with_name("target"))


@pytest.mark.parametrize("chosen", ["WHISPER_MEL_CACHE", "XDG_CACHE_HOME", "HOME"])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_leads_nowhere, "usual"),
        (_file, "usual"),
        (_circle, "usual"),
        (_others_write, "others may write"),
        (_group_writes, "others may write"),
        (_sticky, "others may write"),
        (_others_write_above, "others may write"),
        (_link_that_others_may_turn, "others may write"),
        (_link_to_what_others_may_replace, "others may write"),
        pytest.param(_of_another, "belongs to user 65534", marks=as_root),
        pytest.param(_below_another, "belongs to user 65534", marks=as_root),
        pytest.param(_new_below_another, "belongs to user 65534", marks=as_root),
        pytest.param(_link_of_another, "belongs to user 65534", marks=as_root),
        pytest.param(_link_to_another, "belongs to user 65534", marks=as_root),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_cache_that_is_not_ones_own_is_not_used(
    make: Callable[[Path], None],
    words: str,
    chosen: str,
    compiler: FakeCompiler,
    temporary: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A library that others could have put there would run with the rights of who loads it."""
    for name in ("WHISPER_MEL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "usual"
    ends = {"WHISPER_MEL_CACHE": "", "XDG_CACHE_HOME": "whisper-mel", "HOME": ".cache/whisper-mel"}
    monkeypatch.setenv(chosen, str(home / "c" if chosen == "WHISPER_MEL_CACHE" else home))
    folder = home / (ends[chosen] or "c")
    if chosen == "HOME":
        home.mkdir()
    make(folder)
    before = {path: path.lstat() for path in tmp_path.rglob("*")}
    private = temporary / f"whisper-mel-{os.geteuid()}"
    for _ in range(2):
        assert builder.built_library().parent == private
        sentence = said(capsys)
        assert words in sentence
        assert sentence.endswith(f": using {private}")
    assert compiler.runs == 1
    assert private.stat().st_mode & 0o777 == 0o700
    after = {path: path.lstat() for path in tmp_path.rglob("*")}
    assert after.keys() == before.keys(), "nothing is left in a folder that is not used"


@pytest.mark.parametrize(
    "make",
    [_others_write, pytest.param(_of_another, marks=as_root), pytest.param(_link, marks=as_root)],
    ids=lambda make: make.__name__,
)
def test_the_folder_among_temporary_files_may_be_anothers_too(
    make: Callable[[Path], None],
    compiler: FakeCompiler,
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WHISPER_MEL_CACHE", "/proc/nothing")
    name = f"whisper-mel-{os.geteuid()}"
    for path in (temporary / name, temporary / f"{name}-aaa"):
        make(path)
    first, second = builder.cache_folder(), builder.cache_folder()
    assert first == second, "found again"
    assert first.name.startswith(f"{name}-")
    assert first.name != f"{name}-aaa"
    assert first.stat().st_mode & 0o777 == 0o700
    assert capsys.readouterr().err.count(f": using {first}\n") == 2


def test_no_place_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHISPER_MEL_CACHE", "/proc/nothing")
    monkeypatch.setattr(builder.tempfile, "tempdir", "/proc")
    with pytest.raises(BuildError, match=r"no place .*/proc/nothing.*; set WHISPER_MEL_CACHE"):
        builder.cache_folder()


def test_a_link_of_ones_own_is_followed(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    cache.symlink_to(tmp_path / "elsewhere")
    assert builder.cache_folder() == tmp_path / "elsewhere"


@pytest.mark.parametrize("suffix", [".so", ".sha256"])
@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.chmod(0o666),
        lambda path: path.symlink_to(path.rename(path.with_suffix(".other"))),
        pytest.param(lambda path: give(NOBODY, path), marks=as_root),
    ],
    ids=["written by others", "a link", "of another user"],
)
def test_a_file_that_is_not_ones_own_is_built_again(
    change: Callable[[Path], None],
    suffix: str,
    compiler: FakeCompiler,
    capsys: pytest.CaptureFixture[str],
) -> None:
    library = builder.built_library()
    change(library.with_suffix(suffix))
    capsys.readouterr()
    assert builder.built_library().read_bytes() == b"library 2"
    assert "compiling the kernel (once), because " in capsys.readouterr().err
    assert builder.built_library().read_bytes() == b"library 2"


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_the_umask_does_not_matter(
    umask: int,
    compiler: FakeCompiler,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WHISPER_MEL_CACHE", str(tmp_path / "a" / "b" / "c"))
    before = os.umask(umask)
    try:
        builder.built_library()
        library = builder.built_library()
    finally:
        os.umask(before)
    assert library.parent == tmp_path / "a" / "b" / "c"
    assert compiler.runs == 1
    assert "because" not in capsys.readouterr().err
    for path in (library, *library.parents[:3], *library.parent.iterdir()):
        assert not path.stat().st_mode & 0o077, path


@as_root
def test_what_root_has_left_in_a_users_cache_is_no_hindrance(
    compiler: FakeCompiler, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `sudo` with the user's HOME, and a umask of 077: a lock that the user cannot open."""
    version = builder.compiler_version()
    monkeypatch.setattr(builder, "compiler_version", lambda: version)
    folder = temporary / "user"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("WHISPER_MEL_CACHE", str(folder))
    library = builder.built_library()
    give(NOBODY, folder)
    assert {path.stat().st_uid for path in folder.iterdir()} == {0}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    os.seteuid(NOBODY)
    try:
        assert builder.built_library() == library
        assert library.read_bytes() == b"library 2"
    finally:
        os.seteuid(0)
    assert {path.stat().st_uid for path in folder.iterdir()} == {NOBODY}


# --------------------------------------------------------------------------- the CPU's type


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
