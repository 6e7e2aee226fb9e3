"""``./dev compare AUDIO``: what front-ends do with a recording, and what it costs.

cli       what ./dev compare takes, does and prints
worker    a process that measures one path from samples to features
devices   what can only be counted where there is a CUDA device
on_cuda   the paths that compute on one
picture   waveform, features, their difference
"""
