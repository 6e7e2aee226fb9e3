"""The examples in other languages that need nothing of ours are judged, and not only taken."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from running import conformance

EXAMPLES = Path(__file__).parents[2] / "examples"
NODE = shutil.which("node", path=str(Path(sys.executable).parent)) or shutil.which("node")
FEW = "length-480 or length-0 or click-first"

pytestmark = [pytest.mark.skipif(NODE is None, reason="node is not installed"), pytest.mark.slow]


def judge(module: Path, folder: Path) -> Any:
    program = f"cmd:{NODE} {EXAMPLES / 'front_end.mjs'} {module}"
    return conformance("--frontend", program, "-k", FEW, folder=folder)


def test_the_javascript_example_is_right(tmp_path: Path) -> None:
    done = judge(EXAMPLES / "log_mel.mjs", tmp_path)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d +A *$", done.stdout, re.MULTILINE), done.stdout


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
