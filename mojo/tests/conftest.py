"""Fixtures of several test modules: what takes a compiler is made once for all of them."""

from __future__ import annotations

import os
from pathlib import Path

import fake_driver
import launching
import pytest
from programs import ran


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of this folder: it takes the kernel, which is compiled."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker("compiles")


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stand-in for the CUDA driver."""
    return fake_driver.make(tmp_path_factory.mktemp("driver"))


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that launches on devices without clusters, and with faults."""
    return launching.library_for_one_block(tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="session")
def sanitizer() -> str:
    """AddressSanitizer's run-time library."""
    asan = ran(["gcc", "-print-file-name=libasan.so"])
    if asan.returncode != 0 or not os.path.isabs(asan.stdout.strip()):
        pytest.skip("gcc has no AddressSanitizer run-time library here")
    return asan.stdout.strip()
