"""Planted faults as front-ends: quirks, and mutated copies of the kernel (``kernel.toml``)."""
