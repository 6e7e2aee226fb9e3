"""What only a GPU can tell, packed into one archive and one command (docs/gpu.md).

``targets`` holds what is compiled to ``budget.toml``, ``bundle``, ``build`` and ``closure`` make
the archive, ``keeping`` takes home what was found: on a machine without a GPU. All else travels in
it: ``cli`` runs the sections of ``sections``, each in a process of its own (``section``),
``record`` puts together what they found. Python 3.10 or newer and NumPy; PyTorch where a section
says so.
"""
