"""The front-end that is judged, in a process of its own.

load         what a front-end is and claims, and how one is found
command      front-ends that are programs
client       the judge's side: starts the process, asks it, replaces it when it dies
worker       the front-end's side
operations   what the worker does with a front-end: one call, many, in threads
layouts      the same samples in different memory
wire         messages between the two: plain data, limited in size and time
output       what a process prints, and how it ended
errors       the ways in which a front-end can fail
"""
