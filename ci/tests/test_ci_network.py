"""Nothing goes home: the filter itself, a connection that is planted, our front-end without any."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from programs import ran
from sanitize import Finding, cli, network, offline

SOCKET = "import socket; socket.socket(socket.{family}).close(); print('opened')"

needs_filter = pytest.mark.skipif(
    sys.platform != "linux", reason="seccomp filters are Linux's (docs/privacy.md)"
)


def without_network(*command: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(network.OFFLINE), *command]
    return ran(words)


@pytest.mark.slow
@needs_filter
@pytest.mark.parametrize(
    ("family", "is_open"), [("AF_UNIX", True), ("AF_INET", False), ("AF_INET6", False)]
)
def test_sockets_to_a_network_end_the_process(family: str, is_open: bool) -> None:
    program = SOCKET.format(family=family)
    done = without_network(sys.executable, "-c", program)
    assert (done.returncode, done.stdout) == ((0, "opened\n") if is_open else (-signal.SIGSYS, ""))
    child = (
        f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {program!r}]))"
    )
    done = without_network(sys.executable, "-c", child)
    assert (done.returncode == 0) == is_open  # children inherit the filter


@pytest.mark.slow
@needs_filter
def test_a_planted_connection_is_found(tmp_path: Path) -> None:
    network.planted(tmp_path)


@pytest.mark.slow
@pytest.mark.nightly
@needs_filter
def test_a_filter_that_lets_all_through_would_be_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the control."""
    through = tmp_path / "through.py"
    through.write_text("import os, sys; os.execvp(sys.argv[1], sys.argv[1:])")
    monkeypatch.setattr(network, "OFFLINE", through)
    with pytest.raises(Finding, match="the planted connection is missed"):
        network.planted(tmp_path)


@pytest.mark.compiles
@needs_filter
def test_our_front_end_opens_no_connection(tmp_path: Path) -> None:
    words = ("--frontend", "mojo-cpu", "-k", "boundary/length-401/80", "-n", "0")
    report = network.filtered(tmp_path, *words)
    assert report["front_ends"][0]["counts"]["passed"] == 1


@pytest.mark.nightly
def test_no_front_end_opens_a_connection() -> None:
    assert cli.run(["network"]) == 0


def test_a_machine_without_such_filters_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline.platform, "machine", lambda: "mips")
    with pytest.raises(OSError, match="no filter for linux on mips"):
        offline.go_offline()
