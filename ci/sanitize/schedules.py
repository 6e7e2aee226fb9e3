"""SentryWard on the kernels' PTX: no race and no wrong barrier, in any order of the threads.

The emulator executes some orders of threads; SentryWard, a static verifier, follows the code of one
launch with all that its parameters determine, and proves its barriers and accesses for every order.
docs/emulator.md says what it assumes.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from gpu.execute.lines import barrier_after, lines_of, source
from gpu.execute.mutants import Mutant, mutants, variant
from whisper_mel_mojo.gpu.emulator.kernels import Kernels
from whisper_mel_mojo.gpu.emulator.ptx import Statement, read
from whisper_mel_mojo.gpu.targets import KERNELS, MANY
from whisper_mel_mojo.library import CLIP

from sanitize import Absent, demand

BANDS = 80
SECONDS = 1800
"""For one proof, which takes less than a minute on an idle machine."""
PROVED = "race_free"
RACE = ("potential_race", "unsupported shared_constant_dependency_unproven")
"""How a verdict on a race begins: two accesses are unordered, or a table is read that may not be
there yet."""
_OF_FINITE = {"setp.lt.f32": True, "setp.geu.f32": False}
"""Comparisons of a finite clip's maximum with ``OVERFLOW``, and what they give."""
_TABLE = "of_"
"""Begin of the names of parameters that are addresses of tables."""


class Launch(NamedTuple):
    """A launch that is proved: so many samples that a block does two groups of frames."""

    target: str
    kind: int
    samples: int


LAUNCHES = (Launch("sm_80", MANY, 2720),)


def schedules(calls: int) -> int:
    """Prove each launch, and find its removed barriers; return the number of proofs."""
    if shutil.which("sentryward") is None:
        raise Absent("SentryWard is not installed: ./dev env cuda installs it")
    return sum(map(_judge, LAUNCHES))


def _judge(launch: Launch) -> int:
    name = f"{launch.target}, {KERNELS[launch.kind]}"
    text = Kernels(launch.target, BANDS).text(launch.kind)
    mapping, _, ptx = text.partition("\n")
    module = read(ptx)
    places = {it.line: it.place for it in module.body if isinstance(it, Statement)}
    barriers = [it for it in mutants(ptx) if it.kind == "barrier"]
    demand(barriers, f"{name}: there is no barrier")
    missed = []
    for barrier in barriers:
        phase = barrier_after(module, places[barrier.line])
        found = verdict(launch, mapping, without(ptx, barrier))
        print(f"   planted: {name}: no barrier after {phase}: {found}", flush=True)
        if not found.startswith(RACE):
            missed.append(phase)
    demand(not missed, f"{name}: the planted fault is missed: no barrier after {missed}")
    found = verdict(launch, mapping, ptx)
    demand(found == PROVED, f"{name}: {found}")
    print(f"   {name}: {found}", flush=True)
    return 1 + len(barriers)


def without(ptx: str, barrier: Mutant) -> str:
    """Return PTX without one of its barriers."""
    lines = ptx.splitlines()
    for number, new in variant(ptx, barrier):
        lines[number - 1] = new
    return "\n".join(lines)


def verdict(launch: Launch, mapping: str, ptx: str) -> str:
    """Return what SentryWard says of a launch: ``race_free``, or what it found."""
    with TemporaryDirectory() as folder:
        code, config = Path(folder, "kernel.ptx"), Path(folder, "input.json")
        text = with_tables_as_parameters(without_cache_policies(of_a_finite_clip(ptx)))
        code.write_text(text, encoding="utf-8")
        config.write_text(json.dumps(described(launch, mapping, text)), encoding="utf-8")
        command = ["sentryward", str(code), f"--input={config}", f"--timeout={SECONDS}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        result: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"SentryWard: exit status {done.returncode}: {done.stderr}") from None
    reasons = {it["code"] for it in result["diagnostics"]}
    return " ".join([result["result"], *sorted(reasons)])


def with_tables_as_parameters(ptx: str) -> str:
    """Return PTX that is given the addresses of its tables, which SentryWard does not know."""
    for name in re.findall(r"^\.global\s+\.align\s+\d+\s+\.b8\s+(\w+)\[", ptx, re.M):
        taken = rf"mov\.[bu]64(\s+)(%\w+), {name};"
        ptx = re.sub(taken, rf"ld.param.b64\1\2, [{_TABLE}{name}];", ptx)
        end = ptx.index(")", ptx.index(".entry"))
        ptx = f"{ptx[:end].rstrip()},\n.param .u64 {_TABLE}{name}\n{ptx[end:]}"
    return ptx


def described(launch: Launch, mapping: str, ptx: str) -> dict[str, Any]:
    """Return SentryWard's input: the launch and its numbers."""
    words = mapping.split()
    threads, cluster, shared = (int(words[i]) for i in (1, 3, 5))
    module = read(ptx)
    # As Program.log_mel passes them, behind three addresses
    values = (0, 0, 0, launch.samples, launch.samples, 0, cluster, CLIP, 0, 0)
    own = [it for name, it in module.parameters.items() if not name.startswith(_TABLE)]
    return {
        "schema": "spverify.kernel-input/v1",
        "entry": module.kernel,
        "launch": {
            "grid_dim": [cluster, 1, 1],
            "block_dim": [threads, 1, 1],
            "cluster_dim": [cluster, 1, 1],
            "dynamic_shared_bytes": shared,
        },
        "arguments": [
            {"parameter": i, "type": kind, "value": value}
            for i, (kind, value) in enumerate(zip(own[3:], values, strict=False), 3)
        ],
        "assumptions": {"representative_branches": True},
    }


def of_a_finite_clip(ptx: str) -> str:
    """Return PTX in which the clip's maximum is below ``OVERFLOW``, as that of a finite clip is.

    Raises ``ValueError`` for a comparison with it that is not known.
    """
    module = read(ptx)
    lines = ptx.splitlines()
    for it in module.body:
        if not isinstance(it, Statement) or not re.match(r"setp\.\w+\.f32", it.opcode):
            continue
        if any("OVERFLOW" in source()[number - 1] for number in lines_of(module, it.place)):
            holds = _OF_FINITE.get(it.opcode)
            if holds is None or not it.operands[2].startswith("0f"):
                raise ValueError(f"line {it.line}: {lines[it.line - 1]}: unknown comparison")
            lines[it.line - 1] = f"setp.{'eq' if holds else 'ne'}.u32 {it.operands[0]}, 0, 0;"
    return "\n".join(lines)


def without_cache_policies(ptx: str) -> str:
    """Return PTX whose copies have no policy of the cache, which changes no value."""
    hinted = r"(cp\.async\.ca\.shared\.global)\.L2::cache_hint(\s.*), %rd\d+;"
    return re.sub(hinted, r"\1\2;", ptx)
