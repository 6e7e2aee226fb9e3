"""The benchmark ``./dev bench``: the kernel's speed relative to others, and its instructions.

cli            the command
rows           pairs of calls that are compared
worker         a process that measures the rows of one front-end
machine        the machine and the software of a measurement
results        bench.json: its fields, and the comparison of two
table, figure  results for the terminal, README and SVG
instructions   the regression guard: instructions counted by callgrind, with a budget
"""
