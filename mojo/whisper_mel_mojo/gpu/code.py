"""The kernel's code for a GPU as text, which needs no GPU: for checks, and for the emulator."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from whisper_mel_mojo.builder import (
    NO_CONTRACTION,
    SOURCE,
    BuildError,
    compiler_version,
    kept,
    run_compiler,
)
from whisper_mel_mojo.gpu.targets import TARGETS

LLVM_IR = ("-D", "EMIT=llvm")
"""Options for the LLVM IR from which the target's own code is made."""
_PRINTER = "targets.mojo"
Code = dict[tuple[int, int], str]
"""The mapping of each kernel, then its code, by number of bands and kind."""


def compiled(
    target: str,
    n_mels: int | None = None,
    kind: int | None = None,
    folder: Path | None = None,
    options: Sequence[str] = (),
) -> Code:
    """Compile kernels of a target in one run of the compiler, which takes little more than one.

    ``n_mels`` and ``kind``, as ``mel_kernel.mojo`` numbers them, choose some; None means all.
    ``folder`` has ``targets.mojo`` and the kernel; None means the package.
    ``options`` are of the compiler. Raises ``BuildError`` with the compiler's message if it fails.
    """
    return _divided(_printed(target, _options(target, n_mels, kind, options), folder))


def kept_code(
    target: str, n_mels: int, folder: Path | None = None, options: Sequence[str] = ()
) -> Code:
    """Return what ``compiled`` does, from the cache; compile it if it is not there yet."""
    words = _options(target, n_mels, None, options)
    sources = ((folder or SOURCE.parent) / name for name in (_PRINTER, SOURCE.name))

    def make(file: Path) -> None:
        file.write_text(_printed(target, words, folder), encoding="utf-8")

    parts = [*(it.read_bytes() for it in sources), " ".join(words).encode()]
    parts.append(compiler_version().encode())
    file = kept(f"the kernels for {target}", f"kernels-{target}-", ".txt", parts, make)
    return _divided(file.read_text(encoding="utf-8"))


def _options(
    target: str, n_mels: int | None, kind: int | None, options: Sequence[str]
) -> list[str]:
    defined = [f"TARGET={target}", *(["CLUSTERS"] if TARGETS[target].clusters else [])]
    defined += [] if n_mels is None else [f"N_MELS={n_mels}"]
    defined += [] if kind is None else [f"KERNEL={kind}"]
    return [*NO_CONTRACTION, *options, *(word for it in defined for word in ("-D", it))]


def _printed(target: str, options: list[str], folder: Path | None) -> str:
    result = run_compiler(["run", *options, str((folder or SOURCE.parent) / _PRINTER)])
    if result.returncode != 0:
        raise BuildError(f"{target}: it could not be compiled:\n{result.stderr.strip()}")
    return result.stdout


def _divided(text: str) -> Code:
    _, *parts = re.split(r"^kernel (\d+) (\d+) ", text, flags=re.MULTILINE)
    bands, kinds = map(int, parts[::3]), map(int, parts[1::3])
    return dict(zip(zip(bands, kinds, strict=True), parts[2::3], strict=True))
