"""The command ``whisper-mel compare AUDIO``: front-ends side by side on a recording, their costs.

cli       the command: options, measurement, table
worker    a process that measures one path from samples to features
process   starts such processes; what they measure of themselves
pairing   alternating runs, medians, ratios, and noise
devices   counts that need a CUDA device
picture   waveform, features, their difference
"""
