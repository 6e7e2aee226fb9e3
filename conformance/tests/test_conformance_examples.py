"""The examples in other languages that need nothing of ours are judged, and not only taken."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from programs import ran
from running import conformance

EXAMPLES = Path(__file__).parents[2] / "examples"
NODE = shutil.which("node", path=str(Path(sys.executable).parent)) or shutil.which("node")
FEW = "length-480/ or length-0 or click-first"

pytestmark = pytest.mark.slow
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def judge_program(program: str, folder: Path) -> Any:
    return conformance("--frontend", f"cmd:{program}", "-k", FEW, folder=folder)


def judge(module: Path, folder: Path) -> Any:
    return judge_program(f"{NODE} {EXAMPLES / 'front_end.mjs'} {module}", folder)


@needs_node
def test_the_javascript_example_is_right(tmp_path: Path) -> None:
    done = judge(EXAMPLES / "log_mel.mjs", tmp_path)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d +A *$", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.nightly
@needs_node
def test_a_wrong_window_in_javascript_is_found(tmp_path: Path) -> None:
    """And called by its name."""
    right = (EXAMPLES / "log_mel.mjs").read_text()
    wrong = right.replace(
        "const WINDOW = COSINE.map((c) => 0.5 - 0.5 * c);",
        "const WINDOW = COSINE.map((_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / 399));",
    )
    assert wrong != right
    (tmp_path / "wrong.mjs").write_text(wrong)
    done = judge(tmp_path / "wrong.mjs", tmp_path)
    assert done.returncode == 1
    assert "symmetric-window" in done.stdout


# ----------------------------------------------------------------------- templates

TEMPLATES = {
    "cpp": ("g++ -O1 -std=c++17 -Wall -Wextra -Werror {source} -o front_end", "./front_end"),
    "rs": ("rustc --edition=2021 -O -D warnings {source} -o front_end", "./front_end"),
    "go": ("go build -o front_end {source}", "./front_end"),
    "cs": ("mcs -warnaserror {source} -out:front_end.exe", "mono front_end.exe"),
    "swift": ("swiftc -O {source} -o front_end", "./front_end"),
}
"""How each template is compiled and called."""
WRONG = {
    "cpp": ("0.5 - 0.5 * cosine[i]", "0.5 - 0.5 * std::cos(2 * pi * i / 399)"),
    "rs": ("0.5 - 0.5 * cosine[i]", "0.5 - 0.5 * (angle(i) * 400.0 / 399.0).cos()"),
    "go": ("0.5 - 0.5*cosine[i]", "0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/399)"),
    "cs": ("0.5 - 0.5 * cosine[i]", "0.5 - 0.5 * Math.Cos(2 * Math.PI * i / 399)"),
    "swift": ("0.5 - 0.5 * cosine[i]", "0.5 - 0.5 * cos(2 * Double.pi * Double(i) / 399)"),
}


def test_every_template_is_tried() -> None:
    assert {path.suffix[1:] for path in (EXAMPLES / "templates").iterdir()} == TEMPLATES.keys()


@pytest.mark.compiles
@pytest.mark.parametrize(
    ("language", "fault"),
    [
        *((language, "right") for language in TEMPLATES),
        ("cpp", "wrong"),
        # By day their wrong windows are found by the vectors: test_golden_loaders.py.
        *(
            pytest.param(language, "wrong", marks=pytest.mark.nightly)
            for language in TEMPLATES
            if language != "cpp"
        ),
    ],
)
def test_a_template_is_right_and_a_fault_in_it_is_named(
    language: str, fault: str, tmp_path: Path
) -> None:
    compile_, run = TEMPLATES[language]
    for program in (compile_.split()[0], run.split()[0]):
        if not program.startswith("./") and shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    source = tmp_path / f"front_end.{language}"
    text = (EXAMPLES / "templates" / source.name).read_text()
    if fault == "wrong":
        before, after = WRONG[language]
        assert text.count(before) == 1
        text = text.replace(before, after)
    source.write_text(text)
    command = compile_.format(source=source.name).split()
    compiled = ran(command, cwd=tmp_path)
    assert compiled.returncode == 0, compiled.stderr
    done = judge_program(run, tmp_path)
    assert done.returncode == (fault == "wrong"), done.stdout
    assert ("[symmetric-window]" in done.stdout) == (fault == "wrong")
    if fault == "right":
        assert re.search(r"\d+ +A *$", done.stdout, re.MULTILINE), done.stdout
