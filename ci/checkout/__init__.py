"""The checkout's paths and its commit, and how a task becomes another program.

./dev imports the room before there is an environment, so it uses the standard library only.
"""
