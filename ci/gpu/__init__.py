"""Checks and measurements that need a GPU, packed into one archive with one command (docs/gpu.md).

``compile`` and ``pack`` work on a machine without a GPU: they measure the kernel's compiled code,
and make the archive. ``device`` is the part of the archive that runs there, by the command ``run``.
``keeping`` copies its results into the repository.
"""
