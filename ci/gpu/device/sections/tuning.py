"""All mappings of the kernel, checked and timed: class A, the same bits, the fastest for each
batch.

``python -m gpu.device.sections.tuning RESULT.json`` measures the mapping that this process
launches.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from gpu.device.calls import CALLS, check
from gpu.device.driver import device
from gpu.device.libraries import launching, library, names
from gpu.device.plan import Found
from gpu.device.run_section import write
from gpu.device.scale import scale
from gpu.device.sections.timing import graph_milliseconds, inputs_of

SHIPPED = "as-shipped"
LIMIT = 90.0  # seconds for a mapping


def run() -> dict[str, Any]:
    """Measure each mapping; raise ``Found`` if values are wrong or differ from the shipped ones."""
    device()
    measured: dict[str, Any] = {}
    findings: list[str] = []
    for name in [SHIPPED, *(it for it in names("variants") if it != SHIPPED)]:
        result = in_a_process(library("variants", name), Path("tuning") / f"{name}.json")
        if "failed" in result:
            findings.append(f"{name}: {result['failed']}")
            continue
        measured[name] = result
        findings += [f"{name}: {it}" for it in result["findings"]]
        if SHIPPED in measured:
            findings += other_bits(name, result, measured[SHIPPED])
    best = best_of(measured)
    for row in best:
        print(row, flush=True)
    data = {"variants": measured, "best": best}
    if findings:
        raise Found(findings, data)
    return data


def in_a_process(path: Path, result: Path) -> dict[str, Any]:
    """Run ``main`` on a library in a process of its own; ``failed`` in the result says why not."""
    result.parent.mkdir(exist_ok=True)
    result.unlink(missing_ok=True)
    command = [sys.executable, "-m", "gpu.device.sections.tuning", str(result)]
    limit = LIMIT * scale().patience
    try:
        done = subprocess.run(
            command,
            env=launching(path),
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"not finished within {limit:.0f} s"}
    if done.returncode != 0:
        return {"failed": f"exit status {done.returncode}: {done.stderr.strip()[-800:]}"}
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


def main(result: Path) -> None:
    """Check and time the mapping that this process launches."""
    cuda = device()
    findings: list[str] = []
    digests = {}
    for call in CALLS:
        digests[call.name], _, found = check(call, 0)
        findings += found
    cases = [(batch, 80) for batch in scale().tuned]
    cases += [(batch, 128) for batch in scale().batches]
    times = {
        f"{batch} x {n_mels}": graph_milliseconds(cuda, inputs_of("float32", batch), n_mels)
        for batch, n_mels in cases
    }
    findings += [f"{name}: the clock stands still" for name, ms in times.items() if not ms > 0]
    write(result, {"digests": digests, "findings": findings, "graph_ms": times})


def other_bits(name: str, result: dict[str, Any], shipped: dict[str, Any]) -> list[str]:
    """List the calls whose values differ from the shipped mapping's."""
    return [
        f"{name}: {call}: other bits than {SHIPPED}"
        for call, digest in result["digests"].items()
        if digest != shipped["digests"][call]
    ]


def best_of(measured: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the fastest mapping for each batch and number of bands, among the correct ones."""
    right = {name: it["graph_ms"] for name, it in measured.items() if not it["findings"]}
    cases: dict[str, float] = next(iter(right.values()), {})
    rows = []
    for case in cases:
        name = min(right, key=lambda it: right[it][case])
        shipped = right.get(SHIPPED, {}).get(case)
        rows.append({"case": case, "best": name, "ms": right[name][case], "shipped_ms": shipped})
    return rows


if __name__ == "__main__":
    main(Path(sys.argv[1]))
