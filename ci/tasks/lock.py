"""Resolve ci/locks/*.in into hash-pinned *.txt without addresses, for Python 3.10 to 3.14.

One universal resolution serves every platform that Mojo runs on. torch has locks of its own:
torch.txt (from torch.in) holds the package index's build and what it loads; torch-cpu.txt is
written by hand, since the CPU wheel's hash cannot be had from every index.
"""

from __future__ import annotations

import subprocess

from .paths import LOCKS

UV = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.10"]
UV += ["--generate-hashes", "--no-emit-index-url", "--no-header", "--no-annotate"]
# Each lock: the earlier ones whose pins it takes, and what it leaves out. triton (1 GB, which
# log-Mel never touches) comes with openai-whisper and torch; torch is no part of the test lock.
LOCK_FILES = {
    "bootstrap": ([], ""),
    "default": ([], ""),
    "test": (["default"], "torch\ntriton"),
    "torch": (["default", "test"], "triton"),
}


def run(arguments: list[str]) -> int:
    """Regenerates the locks; `arguments` (as `--upgrade`) go to uv."""
    for name, (earlier, left_out) in LOCK_FILES.items():
        print(f"ci/locks/{name}.txt", flush=True)
        constraints = [f"--constraint={other}.txt" for other in earlier]
        command = [*UV, f"{name}.in", f"--output-file={name}.txt", *constraints, "--excludes=-"]
        status = subprocess.run([*command, *arguments], cwd=LOCKS, input=left_out, text=True)
        if status.returncode:
            return status.returncode
    return 0
