"""The code in the documentation runs. Above a block there may stand, as comments that nobody sees,

    <!-- given: x = 1 -->          what it takes for granted, in its own language
    <!-- slow -->                  only in the nightly run (commands for the shell always are)
    <!-- not run: the reason -->

Python finds ``np`` and ``audio``, a second of noise. A block that begins with ``# name.py`` is that
file for the commands that follow it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from checkout.paths import ROOT
from programs import ran
from tasks import TASKS
from whisper_mel_mojo import c_library
from whisper_mel_mojo.builder import target_cpu

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GIVEN = """
import numpy as np
audio = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000).astype(np.float32)
"""
C_PROGRAM = """
#include <stdio.h>
#include <whisper_mel.h>
static float audio[16000], out[80 * 3000];
int main(void) {
    const int64_t n = 16000;
    %s
    return status;
}
"""
PARSERS = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}
RUN = {"python", "sh", "c"}
COMMENT = r"<!--(?:(?!-->).)*-->\n"
FENCE = re.compile(rf"^((?:{COMMENT})*)```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    document: str
    line: int
    language: str
    code: str
    notes: dict[str, str]

    @property
    def file(self) -> str | None:
        """The name of the file that it is."""
        found = re.match(r"# (\w+\.py)\n", self.code)
        return found[1] if found else None


def blocks_of(document: str, text: str) -> list[Block]:
    found = []
    for match in FENCE.finditer(text):
        notes, language, code = match.groups()
        comments = re.findall(r"<!-- *([\w ]+?)(?::\s*(.*?))?\s*-->", notes, re.DOTALL)
        line = text.count("\n", 0, match.start(2)) + 1
        found.append(Block(document, line, language, code, dict(comments)))
    return found


def documents() -> list[str]:
    command = ["git", "ls-files", "*.md"]
    done = ran(command, cwd=ROOT, check=True)
    return done.stdout.splitlines()


TEXTS = {name: (ROOT / name).read_text() for name in documents()}
BLOCKS = [block for name, text in TEXTS.items() for block in blocks_of(name, text)]


def parameters() -> list[Any]:
    found = []
    for block in BLOCKS:
        marks = []
        if block.language == "sh" or "slow" in block.notes:
            marks.append(pytest.mark.nightly)
        if "not run" in block.notes:
            marks.append(pytest.mark.skip(reason=block.notes["not run"]))
        if block.language in RUN:
            found.append(pytest.param(block, marks=marks, id=f"{block.document}:{block.line}"))
    return found


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the root of the checkout looks like, with a ``dist`` of its own."""
    monkeypatch.setenv("WHISPER_MEL_TARGET_CPU", target_cpu())  # what others are built for
    for name in ("ci", "dev", "docs", "examples", "mojo"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def execute(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    given = block.notes.get("given", "")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if block.language == "c":
        c_library.install(folder / "dist")
        (folder / "code.c").write_text(C_PROGRAM % block.code)
        compiling = ["cc", "-Idist", "code.c", "-Ldist", "-lwhispermel", "-Wl,-rpath,$ORIGIN/dist"]
        subprocess.run([*compiling, "-o", "code"], cwd=folder, check=True)
        command = ["./code"]
    elif block.language == "python":
        (folder / "block.py").write_text("\n".join([GIVEN, given, block.code]))
        command = [sys.executable, "block.py"]
    else:
        for earlier in BLOCKS:
            if earlier.document == block.document and earlier.line < block.line and earlier.file:
                (folder / earlier.file).write_text(earlier.code)
        command = ["bash", "-e", "-o", "pipefail", "-c", f"{given}\n{block.code}"]
    return ran(command, cwd=folder, env={**os.environ, "PATH": path})


@pytest.mark.compiles
@pytest.mark.parametrize("block", parameters())
def test_code_in_the_documentation_runs(block: Block, workspace: Path) -> None:
    done = execute(block, workspace)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.compiles
@pytest.mark.parametrize(
    ("text", "works"),
    [
        ("```python\nassert audio.shape == (16_000,)\n```\n", True),
        ("```python\nassert audio.shape == (1,)\n```\n", False),
        ("<!-- given: x = 2 -->\n```python\nassert x == 2\n```\n", True),
        ("<!-- given: x = 2 -->\n```python\nassert x == 3\n```\n", False),
        ("```sh\nfalse\ntrue\n```\n", False),
        ("```sh\ntest -x dev\n```\n", True),
        ("<!-- given: n=2 -->\n```sh\ntest $n = 2\n```\n", True),
        ("```c\nint status = 3;\n(void)n;\n```\n", False),
    ],
)
def test_code_that_fails_is_noticed(text: str, works: bool, workspace: Path) -> None:
    (block,) = blocks_of("none.md", text)
    assert (execute(block, workspace).returncode == 0) == works


def test_every_block_says_what_it_is() -> None:
    for block in BLOCKS:
        where = f"{block.document}:{block.line}"
        assert block.language in {*RUN, *PARSERS, "text"}, f"{where}: {block.language!r}"
        assert block.notes.keys() <= {"given", "slow", "not run"}, where
        assert block.notes.get("not run", "reason"), f"{where}: not run, without a reason"
        if block.language in PARSERS:
            assert PARSERS[block.language](block.code)
    languages = [block.language for block in BLOCKS]
    assert len(BLOCKS) > 20
    assert languages.count("python") > 8
    run = [block for block in BLOCKS if block.language in RUN and "not run" not in block.notes]
    assert len(run) > 12


def test_every_task_that_is_named_exists() -> None:
    for name, text in TEXTS.items():
        for task in re.findall(r"\./dev ([a-z]\w*)", text):
            assert task in TASKS, f"{name}: ./dev {task}"


def test_every_link_leads_somewhere() -> None:
    count = 0
    for name, text in TEXTS.items():
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            if "://" not in target:
                assert ((ROOT / name).parent / target).exists(), f"{name}: {target}"
                count += 1
    assert count > 20
