"""Builds the kernel for this machine on first use, and keeps the result.

The cache is ``$WHISPER_MEL_CACHE``, else ``whisper-mel`` in ``$XDG_CACHE_HOME`` or ``~/.cache``,
else, where none can be written, a folder of the user's own among the temporary files. A file's
name contains the hash of everything it was made from, so that nothing is ever out of date.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import platform
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).with_name("mel_kernel.mojo")
# Tables are addressed directly; without this option the linker asks for relocations it refuses.
FLAGS = ("--emit", "shared-lib", "-Xlinker", "-Bsymbolic")
# What the kernel gains from in x86-64-v3 is AVX2 and FMA, and in v4 that there are twice as many
# vector registers. Not the host's own CPU type: for some the compiler turns the clamping loop into
# masked stores, which take eight times as long.
_V3 = {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"}
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


class BuildError(RuntimeError):
    """The kernel could not be built; the message says why."""


def built_library(source: Path | None = None, *options: str) -> Path:
    """The shared library of the kernel for this machine; compiles it if it isn't there yet.

    ``source``: another file than the kernel itself, with the kernel, which it imports, beside it;
    ``options``: what the compiler is told besides. Raises ``BuildError`` if there is no compiler,
    no place to write, or if compilation fails.
    """
    target = target_cpu()
    source = source or SOURCE
    flags = (*FLAGS, "--target-cpu", target, *options)
    sources = {source, source.with_name(SOURCE.name)}
    parts = [path.read_bytes() for path in sorted(sources)]
    parts += [" ".join(flags).encode(), compiler_version().encode()]
    key = hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
    folder = cache_folder()
    library = folder / f"{source.stem}-{target}-{key[:20]}.so"
    if not _is_intact(library):
        with _locked(library.with_suffix(".lock")):
            if not _is_intact(library):  # another process may have built it meanwhile
                _build(source, library, flags)
    return library


def target_cpu() -> str:
    """The CPU type to compile for: ``$WHISPER_MEL_TARGET_CPU``, or the best tested one."""
    chosen = os.environ.get("WHISPER_MEL_TARGET_CPU")
    if chosen:
        return chosen
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return "generic"
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "x86-64"
    flags = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "")
    has = set(flags.split())
    return "x86-64-v4" if has >= _V4 else "x86-64-v3" if has >= _V3 else "x86-64"


def compiler_version() -> str:
    try:
        return importlib.metadata.version("mojo-compiler")
    except importlib.metadata.PackageNotFoundError as error:
        raise BuildError(
            "the kernel is compiled on first use, and the package mojo-compiler is not installed"
        ) from error


def cache_folder() -> Path:
    """The cache's folder, which exists and can be written when this returns."""
    chosen = os.environ.get("WHISPER_MEL_CACHE")
    if chosen:
        folder = Path(chosen)
        problem = _unusable(folder)
        if problem:
            raise BuildError(f"WHISPER_MEL_CACHE={chosen} cannot be used: {problem}")
        return folder
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(base) if base else Path.home() / ".cache") / "whisper-mel"
        problem = _unusable(folder)
    except RuntimeError as error:  # no home directory
        problem = str(error)
    if not problem:
        return folder
    private = Path(tempfile.gettempdir()) / f"whisper-mel-{os.getuid()}"
    _announce(f"the cache cannot be used ({problem}): using {private}")
    problem = _unusable(private)
    if problem:
        raise BuildError(f"no place to keep the built kernel: {problem}; set WHISPER_MEL_CACHE")
    # Others can write the folder of temporary files: nobody else may have made ours.
    status = private.lstat()
    if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o022:
        raise BuildError(f"{private} is not this user's own; set WHISPER_MEL_CACHE")
    return private


def _unusable(folder: Path) -> str | None:
    """Why a folder cannot be created or written; None if it can."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return str(error)


def _is_intact(library: Path) -> bool:
    """If the file is what the compiler wrote: loading a damaged one can kill the process."""
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
    """Holds the lock; the system releases it even if the process is killed."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(source: Path, library: Path, flags: tuple[str, ...]) -> None:
    _announce(f"compiling the kernel (once): {library}")
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder) / library.name
        result = run_compiler(["build", *flags, str(source), "-o", str(made)])
        if result.returncode != 0 or not made.exists():
            raise BuildError(
                f"mojo {compiler_version()} could not compile {source} "
                f"(exit status {result.returncode}):\n{result.stderr.strip()}"
            )
        _digest_file(made).write_text(_digest(made))
        _digest_file(made).replace(_digest_file(library))
        made.replace(library)


def run_compiler(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs the compiler of the installed package, wherever that is: nothing need be on PATH."""
    from mojo.run import subprocess_run_mojo

    return subprocess_run_mojo(arguments, capture_output=True, text=True)


def _announce(message: str) -> None:
    print(f"whisper-mel: {message}", file=sys.stderr, flush=True)
