"""The command ``./dev compare AUDIO``: front-ends side by side on a recording, and their costs.

cli       the command: options, measurement, table
worker    a process that measures one path from samples to features
devices   counts that need a CUDA device
on_cuda   the paths that compute on a CUDA device
picture   waveform, features, their difference
"""
