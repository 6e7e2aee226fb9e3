"""The lane that asks SentryWard, with a stand-in for it: what it asks, and what it concludes."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest
from sanitize import Absent, Finding, schedules
from whisper_mel_mojo.gpu.targets import MANY

KERNEL = """threads 128 cluster 1 shared 40176
.version 8.1
.target sm_80
.address_size 64
.global .align 4 .b8 table[8] = {1, 0, 0, 0, 2, 0, 0, 0};
.visible .entry kernel(.param .u64 audio, .param .u64 lengths, .param .u64 out,
.param .b32 is_int16, .param .b64 samples)
{
.reg .b64 %d;
mov.b64 %d, table;
bar.sync 0;
bar.sync 0;
ret;
}
"""
STAND_IN = """#!{python}
import json, pathlib, sys

code, config = sys.argv[1], sys.argv[2].removeprefix("--input=")
barriers = pathlib.Path(code).read_text().count("bar.sync")
pathlib.Path({folder!r}, "asked.json").write_text(pathlib.Path(config).read_text())
pathlib.Path({folder!r}, "asked.ptx").write_text(pathlib.Path(code).read_text())
result = {answers!r}[barriers]
reasons = [] if "_" in result else [{{"code": "why"}}]
print(json.dumps({{"result": result, "diagnostics": reasons}}))
"""


class Kernels:
    def __init__(self, target: str, n_mels: int) -> None:
        assert (target, n_mels) == ("sm_80", 80)

    def text(self, kind: int) -> str:
        assert kind == MANY
        return KERNEL


def lane(folder: Path, monkeypatch: pytest.MonkeyPatch, *answers: str) -> int:
    """Run the lane; the stand-in's answers are by the number of barriers that it is shown."""
    program = folder / "sentryward"
    program.write_text(
        STAND_IN.format(python=sys.executable, folder=str(folder), answers=dict(enumerate(answers)))
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setattr(schedules, "Kernels", Kernels)
    return schedules.schedules(0)


def test_every_barrier_is_removed_before_the_whole_is_proved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lane(tmp_path, monkeypatch, "", "potential_race", "race_free") == 3
    asked = json.loads((tmp_path / "asked.json").read_text())
    assert asked["launch"]["block_dim"] == [128, 1, 1]
    assert asked["launch"]["dynamic_shared_bytes"] == 40176
    assert asked["arguments"] == [
        {"parameter": 3, "type": "b32", "value": 0},
        {"parameter": 4, "type": "b64", "value": 0},
    ]
    code = (tmp_path / "asked.ptx").read_text()
    assert ".param .b64 samples,\n.param .u64 of_table\n)" in code
    assert "ld.param.b64 %d, [of_table];" in code


@pytest.mark.parametrize(
    ("answers", "finding"),
    [
        (("", "race_free", "race_free"), "the planted fault is missed: no barrier after"),
        (("", "unsupported", "race_free"), "the planted fault is missed: no barrier after"),
        (("", "potential_race", "potential_race"), "sm_80, many clips: potential_race"),
        (("", "potential_race", "unsupported"), "sm_80, many clips: unsupported why"),
    ],
)
def test_findings(
    answers: tuple[str, ...], finding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Finding, match=finding):
        lane(tmp_path, monkeypatch, *answers)


def test_without_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Absent, match=r"\./dev env cuda installs it"):
        schedules.schedules(0)
