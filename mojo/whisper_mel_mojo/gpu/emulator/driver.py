"""Builder of the stand-in for the CUDA driver (``driver.c``), and a way to run PTX with it."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shlex
import sys
from functools import lru_cache
from pathlib import Path

from whisper_mel_mojo.builder import cache_folder, kept, run_c_compiler
from whisper_mel_mojo.gpu.emulator.library import c_compiler

SOURCE = Path(__file__).with_name("driver.c")
HEADER = SOURCE.with_name("launch.h")
NAMES = ("libcuda.so.1", "libnvidia-ml.so.1")
_FLAGS = ("-shared", "-fPIC", "-w", "-O1")


def built_driver(name: str) -> Path:
    """Return the library that stands in for one of ``NAMES``; build it if it does not exist yet.

    Raises ``BuildError`` if the C compiler (``$CC``, else ``cc``) fails.
    """
    compiler = c_compiler(*_FLAGS, f"-Wl,-soname,{name}")
    stubs = "void note(const char *);\n" + "\n".join(
        f'__attribute__((weak)) int {name}() {{ note("{name}"); return 0; }}'
        for name in _asked_by_mojo()
    )
    parts = [stubs.encode(), " ".join(compiler).encode(), SOURCE.read_bytes(), HEADER.read_bytes()]

    def make(library: Path) -> None:
        others = library.with_name("stubs.c")
        others.write_text(stubs)
        command = [*compiler, str(SOURCE), str(others), "-o", str(library)]
        run_c_compiler(command)

    return kept("a stand-in for the CUDA driver", "driver-", ".so", parts, make)


def _asked_by_mojo() -> list[str]:
    """List the functions of the driver and of NVML that Modular's run-time library looks for."""
    package = importlib.util.find_spec("modular")
    places = package.submodule_search_locations if package else None
    found = (it for place in places or () for it in Path(place).rglob("libAsyncRTMojoBindings.so"))
    library = next(found, None)
    if library is None:
        return []
    names = set(re.findall(rb"\0((?:cu|nvml)[A-Z]\w+)(?=\0)", library.read_bytes()))
    return sorted(name.decode() for name in names)


def translator() -> str:
    """Return the command that ``driver.c`` calls for the PTX that arrives.

    It uses this environment and this cache, whatever the process has that calls it.
    """
    cache = f"WHISPER_MEL_CACHE={cache_folder()}"
    return shlex.join(["env", cache, sys.executable, "-I", "-m", __package__])


@lru_cache
def loaded(capability: tuple[int, int] = (9, 0)) -> ctypes.CDLL:
    """Load the stand-in into this process, in the place of the driver of a device.

    Whoever loads ``libcuda.so.1`` later gets it, Modular's run-time library included. Kernels are
    executed.
    """
    os.environ["FAKE_DRIVER_TRANSLATOR"] = translator()
    os.environ["FAKE_DRIVER_CAPABILITY"] = f"{capability[0]}{capability[1]}"
    made, _ = (ctypes.CDLL(str(built_driver(it)), mode=ctypes.RTLD_GLOBAL) for it in NAMES)
    return made
