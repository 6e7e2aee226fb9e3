"""Paths from the root of the checkout."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "ci" / "locks"
PACKAGES = [ROOT / name for name in ("reference", "golden", "conformance", "mojo")]
MEASUREMENTS = ROOT / "docs" / "measurements"
