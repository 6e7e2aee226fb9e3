"""The worst known input of each front-end in the wild, by version.

inputs    the record, the search for an input with a larger error, the replay of those that are kept
cli       the command ``./dev worst``
"""
