"""What docs/privacy.md says of reports and reproductions: what is in them, and what is not."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path

import pytest
from running import QUIRKS, conformance

DOCUMENT = Path(__file__).parents[2] / "docs" / "privacy.md"


@pytest.mark.slow
def test_a_report_names_neither_the_machine_nor_its_user(tmp_path: Path) -> None:
    home = tmp_path / "home-of-somebody"
    home.mkdir()
    secrets = {
        "USER": "somebody",
        "LOGNAME": "somebody",
        "HOSTNAME": "machine-of-somebody",
        "HOME": str(home),
        "API_TOKEN": "token-of-somebody",
        "OMP_PLACES": f"{home}/places",
    }
    words = ("--frontend", f"{QUIRKS}:all-zero", "-k", "length-401/80")
    done = conformance(*words, folder=tmp_path, env=secrets)
    assert done.returncode == 1, done.stdout + done.stderr
    report = tmp_path / "report"
    written = [path for path in report.rglob("*") if path.is_file()]
    assert {"report.json", "index.html", "case.json", "arrays.npz"} <= {p.name for p in written}
    for path in written:
        content = path.read_bytes()
        for word in ("somebody", str(tmp_path), f'"{platform.node()}"'):
            assert word.encode() not in content, f"{word} in {path}"
    environment = json.loads((report / "report.json").read_text())["environment"]
    assert environment["flags"]["OMP_PLACES"] == "~/places"  # what is looked for can be there
    _is_documented(report / "failures")


def _is_documented(failures: Path) -> None:
    """The files and fields of a reproduction are those that the document lists."""
    section = DOCUMENT.read_text(encoding="utf-8").split("## What a reproduction contains")[1]
    listed = set(re.findall(r"`([^`]+)`", section.split("No recording of yours")[0]))
    for folder in failures.glob("*/*/"):
        if folder.is_dir():
            assert {path.name for path in folder.iterdir()} <= listed
            case = json.loads((folder / "case.json").read_text())
            assert set(case) | set(case["front_end"]) <= listed
            assert "signal" in json.dumps(case["arguments"]) or "golden" in case["case"]
