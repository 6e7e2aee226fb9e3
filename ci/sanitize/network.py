"""The network lane: nothing may leave the machine while front-ends are judged.

The suite, every front-end and the compiler run under a filter that ends a process when it opens a
socket to a network (``offline.py``). First, a planted front-end that opens a connection has to be
found.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from checkout.paths import ROOT

from sanitize import demand, suite
from sanitize.offline import ABSENT

OFFLINE = ROOT / "ci" / "sanitize" / "offline.py"
FEW = "length-401 or reading-30s or pad480000 or silence or errors/nan or concurrency"
_CALLS_HOME = """
import socket
from whisper_mel_conformance.quirks.table import right

def calls_home(audio, n_mels=80):
    socket.create_connection(("127.0.0.1", {port}), timeout=20).close()
    return right(audio, n_mels)
"""


def network(calls: int) -> int:
    """Judge our front-end and the installed ones: few cases, or all in the nightly form."""
    with TemporaryDirectory() as folder:
        planted(Path(folder))
        words = [] if calls > 10_000 else ["-k", FEW]
        return clean(Path(folder), *words)


def planted(folder: Path) -> None:
    """Demand that a planted connection is found, and that it arrives without the filter."""
    with socket.create_server(("127.0.0.1", 0)) as home:
        home.settimeout(0.1)
        source = folder / "planted.py"
        source.write_text(_CALLS_HOME.format(port=home.getsockname()[1]), encoding="utf-8")
        words = ("--frontend", f"{source}:calls_home", "-k", "boundary/length-401/80", "-n", "0")
        [online] = filtered(folder, *words, offline=False)["front_ends"]
        passes = online["counts"]["passed"] == 1
        demand(passes, f"the planted front-end fails anyway: {online}")
        demand(_arrived(home) > 0, "the planted connection does not arrive where it may")
        [offline] = filtered(folder, *words)["front_ends"]
        [case] = offline["cases"]
        found = case["status"] == "failed" and "SIGSYS" in case["message"]
        demand(found, f"the planted connection is missed: {case['message']}")
        demand(_arrived(home) == 0, "the planted connection arrives where it must not")
    print("   planted: a front-end that calls home: found (SIGSYS)", flush=True)


def clean(folder: Path, *words: str) -> int:
    """Count the cases that pass without a network; the kernel is compiled anew without one, too."""
    words = ("--frontend", "mojo-cpu", "--peers", "light", *words)
    return suite.passed(filtered(folder, *words, cache=folder / "cache"), "without a network")


def filtered(
    folder: Path, *words: str, offline: bool = True, cache: Path | None = None
) -> dict[str, Any]:
    """Run the suite, with a network or without; return its report.

    ``cache`` is the folder of the kernel's builds; None means the usual one.
    """
    # As for a user who has set nothing: our code must prevent the reports of libraries
    environment = {k: v for k, v in os.environ.items() if "_TELEMETRY" not in k}
    if cache is not None:
        environment["WHISPER_MEL_CACHE"] = str(cache)
    wrapper = [sys.executable, str(OFFLINE)] if offline else []
    return suite.judged(folder, *words, wrapper=wrapper, absent=ABSENT, environment=environment)


def _arrived(home: socket.socket) -> int:
    """Count the connections that have arrived."""
    count = 0
    while True:
        try:
            connection, _ = home.accept()
        except TimeoutError:
            return count
        connection.close()
        count += 1
