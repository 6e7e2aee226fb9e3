"""The processors for which the library for C is built here and executed by qemu."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from whisper_mel_mojo.builder import (
    SOURCE,
    BuildError,
    built_c_library,
    cross_compile,
    kept,
    run_c_compiler,
)

SERVER = Path(__file__).with_name("server.c")
_FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror")


class Machine(NamedTuple):
    """A kind of processor, and how Mojo's compiler is told of it.

    ``name`` is also part of the names of GNU's tools and of qemu's; ``front_end`` is what the suite
    judges. ``features`` are the extensions
    that every processor has which runs the library; empty: those of ``cpu``.
    """

    name: str
    front_end: str
    cpu: str
    features: str = ""

    @property
    def options(self) -> tuple[str, ...]:
        """The options of Mojo's compiler beside the CPU type."""
        triple = ("--target-triple", f"{self.name}-unknown-linux-gnu")
        return (*triple, *(("--target-features", self.features) if self.features else ()))

    @property
    def compiler(self) -> str:
        """The C compiler."""
        return f"{self.name}-linux-gnu-gcc"

    @property
    def emulator(self) -> tuple[str, ...]:
        """The command before that of a program: qemu, with the folder of the machine's libc."""
        return (f"qemu-{self.name}", "-L", str(self.root))

    @property
    def root(self) -> Path:
        """The folder of the machine's libc, where Debian has it."""
        return Path(f"/usr/{self.name}-linux-gnu")

    def missing(self) -> str:
        """Return what is missing to build and execute programs, in words; empty if nothing is."""
        programs = (self.compiler, self.emulator[0])
        absent = [name for name in programs if shutil.which(name) is None]
        absent += [] if (self.root / "lib" / "crt1.o").exists() else [f"libc in {self.root}"]
        return f"there is no {' and no '.join(absent)}" if absent else ""

    def require(self) -> None:
        """Raise ``BuildError`` that names what is missing to build and execute programs."""
        missing = self.missing()
        if missing:
            raise BuildError(f"{missing}: ./dev system installs them, where it can")

    def library(self) -> Path:
        """Return the library for C; build it if it does not exist yet.

        Raises ``BuildError`` if a program is missing, else as
        :func:`whisper_mel_mojo.builder.built_c_library`.
        """
        self.require()
        return built_c_library(self.cpu, *self.options, compiler=(self.compiler,))

    def compile_kernel(self, made: Path) -> None:
        """Compile the kernel's library, which wheels have, into a file; raise ``BuildError``."""
        cross_compile(SOURCE, made, self.cpu, self.options, (self.compiler,))

    def server(self) -> Path:
        """Return the program of ``server.c``; build it if it does not exist yet.

        Raises ``BuildError`` if a program is missing or the C compiler fails.
        """
        self.require()
        command = [self.compiler, *_FLAGS, str(SERVER)]

        def make(program: Path) -> None:
            run_c_compiler([*command, "-o", str(program)])

        parts = [SERVER.read_bytes(), " ".join(command[:-1]).encode()]
        return kept("a program that serves", f"server-{self.name}-", ".elf", parts, make)

    def command(self, library: Path) -> list[str]:
        """Return the command that serves calls of a library; raise as :meth:`server`."""
        program = self.server()
        os.chmod(program, 0o700)
        return [*self.emulator, str(program), str(library)]


MACHINES = {
    machine.name: machine
    for machine in (
        Machine("aarch64", "mojo-arm", "generic"),  # has NEON
        Machine(
            "riscv64", "mojo-riscv", "generic-rv64", "+m,+a,+f,+d,+c"
        ),  # RV64GC, without vectors
    )
}
