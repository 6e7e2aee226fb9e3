"""Hardware counters of one launch, read by ncu: bytes from memory, occupancy, issue rate."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from glob import glob
from typing import Any

from gpu.device.driver import device
from gpu.device.plan import Found, NotHere
from gpu.device.scale import scale

METRICS = {
    "gpu__time_duration.sum": "time",
    "dram__bytes_read.sum": "dram_read",
    "dram__bytes_write.sum": "dram_written",
    "sm__warps_active.avg.pct_of_peak_sustained_active": "occupancy_percent",
    "smsp__issue_active.avg.pct_of_peak_sustained_active": "issue_percent",
    "smsp__inst_executed.sum": "warp_instructions",
    "smsp__sass_inst_executed_op_shared_ld.sum": "shared_loads",
    "smsp__sass_inst_executed_op_shared_st.sum": "shared_stores",
    "smsp__sass_l1tex_data_pipe_lsu_wavefronts_mem_shared_op_ldgsts.sum": "shared_copies",
    "l1tex__data_pipe_lsu_wavefronts_mem_shared.sum": "shared_wavefronts",
    "l1tex__data_bank_conflicts_pipe_lsu_mem_shared.sum": "shared_conflicts",
    "l1tex__t_sectors_pipe_lsu_mem_global_op_ld.sum": "sectors_read",
    "l1tex__t_sectors_pipe_lsu_mem_global_op_st.sum": "sectors_written",
    "launch__registers_per_thread": "registers",
    "launch__occupancy_limit_shared_mem": "blocks_by_shared_memory",
}
PLACES = ("/usr/local/cuda*/bin", "/opt/nvidia/nsight-compute/*")


def run() -> dict[str, Any]:
    """Read counters for each batch size; raise ``NotHere`` without ncu or its permission."""
    device()
    places = [folder for place in PLACES for folder in sorted(glob(place))]
    program = shutil.which("ncu", path=os.pathsep.join([os.environ.get("PATH", ""), *places]))
    if program is None:
        raise NotHere("ncu is not installed")
    data = {str(batch): counters(program, batch) for batch in scale().batches}
    missing = [
        f"batch {batch}: ncu gave no {name}"
        for batch, found in data.items()
        for name in ("time", "dram_read", "dram_written", "warp_instructions")
        if name not in found
    ]
    if missing:
        raise Found(missing, dict(data))
    return dict(data)


def counters(program: str, batch: int) -> dict[str, Any]:
    """Read the counters of the second launch, since the first has loaded the kernel."""
    command = [program, "--csv", "--page", "raw", "--print-units", "base"]
    # The clocks stay as they are found.
    command += ["--clock-control", "none", "--metrics", ",".join(METRICS)]
    command += ["--kernel-name", "regex:mel_kernel", "--launch-skip", "1", "--launch-count", "1"]
    command += [sys.executable, "-m", "gpu.device.exercise", str(batch)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr, flush=True)
    rows = read(done.stdout)
    if not rows:
        said = (done.stdout + done.stderr).strip()[-500:]
        raise NotHere(f"ncu has read nothing (exit status {done.returncode}): {said}")
    return rows[0]


def read(text: str) -> list[dict[str, Any]]:
    """Return the counters of each launch from ncu's table."""
    lines = [line for line in text.splitlines() if line.startswith('"')]
    found = []
    for row in csv.DictReader(lines):
        if not (row.get("Kernel Name") or "").strip():
            continue  # the line of units
        values = {name: number(row.get(metric)) for metric, name in METRICS.items()}
        found.append({name: value for name, value in values.items() if value is not None})
    return found


def number(text: str | None) -> float | None:
    try:
        return float((text or "").replace(",", ""))
    except ValueError:
        return None
