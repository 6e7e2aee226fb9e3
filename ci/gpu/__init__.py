"""Checks and measurements that take a GPU, packed into one archive and one command (docs/gpu.md).

``compile`` and ``pack`` work on a machine without a GPU: what the compiler makes of the kernel, and
the archive. ``device`` is what travels in that, with the command ``run``. ``keeping`` takes home
what was found.
"""
