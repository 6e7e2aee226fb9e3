"""``./dev bench``: how fast the kernel is, as ratios to what there is, and how many instructions.

cli            what ./dev bench takes and does
rows           what is compared with what
worker         a process that measures the rows of one front-end
pairing        alternating runs, medians, ratios, and when a machine was noisy
machine        what it was measured on
results        bench.json: its fields, and how two of them compare
table, figure  what is shown of it: terminal, README, SVG
instructions   the regression guard: instructions counted by callgrind, with a budget
"""
