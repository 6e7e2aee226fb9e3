"""Builder of the kernel for this machine, at first use, with a cache.

The cache is ``$WHISPER_MEL_CACHE``, else ``whisper-mel`` in ``$XDG_CACHE_HOME`` or ``~/.cache``. If
that cannot be written, or others could put a library there, it is a folder among the temporary
files. A file's name contains a hash of everything it was made from, so no file is ever out of date.

A library in the package's folder ``prebuilt`` is preferred. :func:`prebuild` fills that folder for
machines without a compiler.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("mel_kernel.mojo")
# Tables are addressed directly; without this option the linker asks for relocations it refuses.
FLAGS = ("--emit", "shared-lib", "-Xlinker", "-Bsymbolic")
# Modular's run-time library would print an index out of bounds; the kernel needs libc only.
NO_ASSERTIONS = ("-D", "ASSERT=none")
# Only what the source says is rounded once: so a CPU and a GPU give the same bits.
NO_CONTRACTION = ("--fp-mode", "contract=off")
PREBUILT = SOURCE.with_name("prebuilt")
_COMPILER_FILE = "compiler"  # name of the file with the compiler's version in that folder
MAX_SOURCE = SOURCE.with_name("max_op.mojo")
C_SOURCE = SOURCE.with_name("whisper_mel.c")
SONAME = "libwhispermel.so.0"  # another number if a program that was linked would no longer run
C_FLAGS = (
    *("-shared", "-fPIC", "-O2", "-std=c11", "-pthread", "-Wall", "-Wextra", "-Werror"),
    *("-Wl,--version-script=whisper_mel.map", f"-Wl,-soname,{SONAME}", "-Wl,-z,defs"),
    "-Wl,-z,nodelete",  # never unloaded, because the pool's threads would continue in it
)
# x86-64-v3 gives the kernel AVX2 and FMA, v4 twice as many vector registers. The host's own CPU
# type is not used: for some types, the compiler turns the clamping loop into masked stores, which
# take eight times as long.
_V3 = {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"}
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


class BuildError(RuntimeError):
    """Failure to build the kernel; the message says why."""


def built_library(source: Path | None = None, *options: str) -> Path:
    """Return the kernel's shared library for this machine; compile it if it does not exist yet.

    ``source`` is another file, beside the kernel, which imports the kernel; None means the kernel
    itself. ``options`` are further options of the compiler. Raises ``BuildError`` if there is no
    compiler, no place to write, or if compilation fails.
    """
    source = source or SOURCE
    for target in _runnable_cpus():
        ready = _prebuilt(source, target, options)
        if ready:
            return ready
    return built_for(target_cpu(), source, options)


def built_for(target: str, source: Path, options: tuple[str, ...]) -> Path:
    """Return the library for a CPU type like :func:`built_library`, from the cache only."""

    def make(library: Path) -> None:
        compile_library(source, library, target, options)

    flags = _flags(target, options)
    return _kept(f"{source.stem}-{target}-", ".so", _sources(source), flags, make)


def compile_library(source: Path, made: Path, target: str, options: tuple[str, ...]) -> None:
    """Compile a library like :func:`built_for` into the file ``made``, past the cache."""
    compile_mojo(source, made, _flags(target, options))


def _sources(source: Path) -> set[Path]:
    return {source, source.with_name(SOURCE.name)}


def _flags(target: str, options: tuple[str, ...]) -> tuple[str, ...]:
    return (*FLAGS, *NO_ASSERTIONS, *NO_CONTRACTION, "--target-cpu", target, *options)


def prebuild(
    folder: Path,
    source: Path | None = None,
    *options: str,
    cpu: str | None = None,
    made: Path | None = None,
) -> Path:
    """Put the library for other machines into a package's folder ``prebuilt``.

    ``folder`` is that folder; ``cpu`` is the CPU type (None: :func:`distributed_cpu`); ``made`` is
    the library, if another machine's (None: it is built); the others are as for
    :func:`built_library`. Returns the library in the folder; call :func:`sign` after changing it.
    """
    cpu, source = cpu or distributed_cpu(), source or SOURCE
    folder.mkdir(exist_ok=True)
    (folder / _COMPILER_FILE).write_text(compiler_version())
    library = folder / _library_name(source, cpu, options, compiler_version())
    shutil.copyfile(made or built_for(cpu, source, options), library)
    sign(library)
    return library


def sign(library: Path) -> None:
    """Record a library's digest; a library with another digest is never loaded."""
    _digest_file(library).write_text(_digest(library))


def _prebuilt(source: Path, target: str, options: tuple[str, ...]) -> Path | None:
    """Return the package's library if it exists and was made of these sources; None otherwise."""
    try:
        compiler = (PREBUILT / _COMPILER_FILE).read_text()
    except OSError:
        return None
    library = PREBUILT / _library_name(source, target, options, compiler)
    return library if _is_intact(library) else None


def _library_name(source: Path, target: str, options: tuple[str, ...], compiler: str) -> str:
    key = _key(_sources(source), _flags(target, options), compiler)
    return f"{source.stem}-{target}-{key}.so"


def built_c_library(target: str | None = None, *options: str, compiler: Sequence[str] = ()) -> Path:
    """Return the library for C (``whisper_mel.h``); build it if it does not exist yet.

    ``target`` is the CPU type (None: this machine's). ``options`` are further options of Mojo's
    compiler, such as another machine's triple. ``compiler`` is the C compiler; without it ``$CC``,
    else ``cc``. Raises as :func:`built_library`.
    """
    target = target or target_cpu()
    compiler = compiler or shlex.split(os.environ.get("CC", "cc"))
    sources = {SOURCE, *(C_SOURCE.with_suffix(suffix) for suffix in (".c", ".h", ".map"))}

    def make(library: Path) -> None:
        compile_c_library(SOURCE, library, target, options, compiler)

    flags = (*_object_flags(target, options), *compiler, *C_FLAGS)
    return _kept(f"libwhispermel-{target}-", ".so", sources, flags, make)


def compile_c_library(
    source: Path, made: Path, target: str, options: tuple[str, ...], compiler: Sequence[str]
) -> None:
    """Compile the library for C of a kernel's source into the file ``made``, past the cache.

    The other arguments are those of :func:`built_c_library`.
    """
    # In the sources' folder, since the flags name the list of exported symbols there
    _link(source, made, target, options, (*compiler, *C_FLAGS, C_SOURCE.name))


def cross_compile(
    source: Path, made: Path, target: str, options: tuple[str, ...], compiler: Sequence[str]
) -> None:
    """Compile another machine's library like :func:`compile_library`, linked by its C compiler."""
    flags = ("-shared", "-pthread", "-Wl,-Bsymbolic", "-Wl,-z,defs")
    _link(source, made, target, options, (*compiler, *flags))


def _link(
    source: Path,
    made: Path,
    target: str,
    options: tuple[str, ...],
    command: tuple[str, ...],
) -> None:
    """Compile a kernel to an object file, and link it by a command in the sources' folder."""
    if shutil.which(command[0]) is None:  # checked before the kernel is compiled
        raise BuildError(f"there is no C compiler {command[0]}: set CC")
    kernel = made.with_suffix(".o")
    compile_mojo(source, kernel, _object_flags(target, options))
    words = [*command, str(kernel), "-o", str(made)]
    try:
        run_c_compiler(words, cwd=C_SOURCE.parent)
    finally:
        kernel.unlink()


def run_c_compiler(command: Sequence[str], **options: Any) -> None:
    """Run a C compiler; raise ``BuildError`` with its words if it fails. ``options`` are those of
    ``subprocess.run``.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode != 0:
        raise BuildError(f"{' '.join(command)} failed:\n{done.stderr.strip()}")


def _object_flags(target: str, options: tuple[str, ...]) -> tuple[str, ...]:
    flags = ("--emit", "object", *NO_ASSERTIONS, *NO_CONTRACTION, "--target-cpu", target)
    return (*flags, *options)


def built_max_package() -> Path:
    """Return the package of MAX's custom operation, made of the kernel and ``max_op.mojo``.

    It is compiled, for no particular machine, if it does not exist yet. Raises as
    :func:`built_library`.
    """
    sources = {SOURCE, MAX_SOURCE}

    def make(package: Path) -> None:
        with tempfile.TemporaryDirectory(dir=package.parent) as folder:
            for source in sources:
                shutil.copy(source, folder)
            Path(folder, "__init__.mojo").write_text(f"from .{MAX_SOURCE.stem} import LogMel\n")
            result = run_compiler(["precompile", folder, "-o", str(package)])
        if result.returncode != 0 or not package.exists():
            raise BuildError(f"mojo precompile failed:\n{result.stderr.strip()}")

    # Named like a Mojo module, without dashes
    return _kept("whisper_mel_max_", ".mojoc", sources, ("precompile",), make)


def _kept(
    stem: str,
    suffix: str,
    sources: set[Path],
    options: tuple[str, ...],
    make: Callable[[Path], None],
) -> Path:
    """Return the file in the cache that ``make`` writes of these sources; make it if missing."""
    key = _key(sources, options, compiler_version())
    return _cached("the kernel", f"{stem}{key}{suffix}", make)


def kept(
    what: str, stem: str, suffix: str, parts: Iterable[bytes], make: Callable[[Path], None]
) -> Path:
    """Return the file in the cache that ``make`` writes; make it if missing.

    ``parts`` is everything that it depends on; ``what`` names it for people who wait for it.
    """
    return _cached(what, f"{stem}{_key_of(parts)}{suffix}", make)


def _cached(what: str, name: str, make: Callable[[Path], None]) -> Path:
    library = cache_folder() / name
    if not _is_kept(library):
        with _locked(library.with_suffix(".lock")):
            if not _is_kept(library):  # another process may have built it meanwhile
                _announce(f"compiling {what} (once){_because(library)}: {library}")
                _build(library, make)
    return library


def _is_kept(library: Path) -> bool:
    """Return whether the file in the cache is as this user's compiler wrote it."""
    return not _because(library) and _is_intact(library)


def _because(library: Path) -> str:
    """Return why others could have written a cached file, as a clause; empty if they could not."""
    files = (library, _digest_file(library))
    problems = filter(None, (_foreign(path, own=True) for path in files))
    return next((f", because {problem}" for problem in problems), "")


def _key(sources: set[Path], options: tuple[str, ...], compiler: str) -> str:
    """Return the part of a file's name that stands for sources, options and compiler version."""
    parts = [path.read_bytes() for path in sorted(sources)]
    return _key_of([*parts, " ".join(options).encode(), compiler.encode()])


def _key_of(parts: Iterable[bytes]) -> str:
    digests = b"\0".join(hashlib.sha256(part).digest() for part in parts)
    return hashlib.sha256(digests).hexdigest()[:20]


def _runnable_cpus() -> list[str]:
    """List the CPU types whose code this machine runs, the best first."""
    best = target_cpu()
    levels = ["x86-64-v4", "x86-64-v3", "x86-64"]
    return levels[levels.index(best) :] if best in levels else [best]


def target_cpu() -> str:
    """Return the CPU type to compile for: ``$WHISPER_MEL_TARGET_CPU``, or the best tested one."""
    chosen = os.environ.get("WHISPER_MEL_TARGET_CPU")
    if chosen:
        return chosen
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return "generic"
    has = set(cpu_features().split())
    return "x86-64-v4" if has >= _V4 else "x86-64-v3" if has >= _V3 else "x86-64"


def cpu_features() -> str:
    """Return this CPU's features as the system lists them; empty where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def distributed_cpu() -> str:
    """Return the CPU type for other machines.

    It is ``$WHISPER_MEL_TARGET_CPU``; or on x86-64 a type with AVX2; or this machine's.
    """
    chosen = os.environ.get("WHISPER_MEL_TARGET_CPU")
    return chosen or ("x86-64-v3" if target_cpu().startswith("x86-64") else target_cpu())


def compiler_version() -> str:
    try:
        return importlib.metadata.version("mojo-compiler")
    except importlib.metadata.PackageNotFoundError as error:
        raise BuildError(
            "the kernel is compiled on first use, and the package mojo-compiler is not installed: "
            "pip install 'whisper-mel-mojo[build]'"
        ) from error


def cache_folder() -> Path:
    """Return the cache's folder, which exists, belongs to this user and can be written.

    If the usual folder cannot be used, a sentence on standard error says why, and names the other
    one. Raises ``BuildError`` if there is no place at all.
    """
    problems = []
    for folder in _folders():
        problem = _unusable(folder)
        if problem is None:
            break
        problems.append(problem)
    else:  # others own those among the temporary files, too
        try:
            folder = Path(tempfile.mkdtemp(prefix=f"{_temporary_folder().name}-"))
        except OSError as error:
            problems.append(str(error))
            raise BuildError(
                f"no place to keep the built kernel: {'; '.join(problems)}; set WHISPER_MEL_CACHE"
            ) from error
    if problems:
        _announce(f"the cache cannot be used ({problems[0]}): using {folder}")
    return folder.resolve()


def _folders() -> Iterator[Path]:
    """Yield possible folders of the cache: the usual one, then those among the temporary files."""
    chosen = os.environ.get("WHISPER_MEL_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    if chosen:
        yield Path(chosen).absolute()
    else:
        with contextlib.suppress(RuntimeError):  # no home directory
            yield (Path(base) if base else Path.home() / ".cache").absolute() / "whisper-mel"
    folder = _temporary_folder()
    yield folder
    yield from sorted(folder.parent.glob(f"{folder.name}-*"))


def _temporary_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"whisper-mel-{os.geteuid()}"


def _unusable(folder: Path) -> str | None:
    """Return why a folder cannot be this user's cache; None if it can."""
    try:
        # By its name and by its target: a link could be changed, or a folder above it replaced.
        for path in (folder, folder.resolve()):
            for part in path.parents:
                problem = _foreign(part)
                if problem:
                    return problem
        for part in (*reversed(folder.parents), folder):
            if not part.exists():
                part.mkdir(mode=0o700, exist_ok=True)
        problem = _foreign(folder) or _foreign(folder.resolve(), own=True)
        if problem:
            return problem
        with tempfile.TemporaryFile(dir=folder):
            return None
    except (OSError, RuntimeError) as error:  # RuntimeError: a cycle of links
        return str(error)


def _foreign(path: Path, *, own: bool = False) -> str | None:
    """Return why others could change a path; None if only this user and the system's owner can.

    With ``own`` it must belong to this user, be no link, and allow nobody else to write. A path
    that does not exist is accepted.
    """
    try:
        status = path.lstat()
    except OSError:
        return None
    is_link = stat.S_ISLNK(status.st_mode)
    if own and is_link:
        return f"{path} is a symbolic link"
    users = {os.geteuid()} if own else {os.geteuid(), 0, os.stat("/").st_uid}
    if status.st_uid not in users:
        return f"{path} belongs to user {status.st_uid}"
    # in such a folder only owners rename and remove
    is_shared = status.st_mode & stat.S_ISVTX and not own
    if status.st_mode & 0o022 and not is_shared and not is_link:
        return f"others may write {path}"
    return None


def _is_intact(library: Path) -> bool:
    """Return whether a file is what the compiler wrote: a damaged library can crash the process."""
    try:
        return _digest_file(library).read_text() == _digest(library)
    except OSError:
        return False


def _digest(library: Path) -> str:
    return hashlib.sha256(library.read_bytes()).hexdigest()


def _digest_file(library: Path) -> Path:
    return library.with_suffix(".sha256")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock; the system releases it even if the process is killed."""
    if _foreign(path, own=True):
        path.unlink(missing_ok=True)
    lock = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _build(library: Path, make: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder) / library.name
        make(made)
        sign(made)
        for path in (_digest_file(made), made):
            path.chmod(0o600)  # whatever the umask: files that others may write are not used
        _digest_file(made).replace(_digest_file(library))
        made.replace(library)


def compile_mojo(source: Path, made: Path, flags: tuple[str, ...]) -> None:
    """Run ``mojo build``; raise ``BuildError`` with the compiler's message if it fails."""
    result = run_compiler(["build", *flags, str(source), "-o", str(made)])
    if result.returncode != 0 or not made.exists():
        raise BuildError(
            f"mojo {compiler_version()} could not compile {source} "
            f"(exit status {result.returncode}):\n{result.stderr.strip()}"
        )


def run_compiler(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the compiler of the installed package, which need not be on PATH.

    By default it reports every start to its maker's server. That is switched off here unless the
    variable is set already.
    """
    from mojo.run import subprocess_run_mojo

    os.environ.setdefault("MODULAR_TELEMETRY_ENABLED", "false")
    return subprocess_run_mojo(arguments, capture_output=True, text=True)


def _announce(message: str) -> None:
    print(f"whisper-mel: {message}", file=sys.stderr, flush=True)
