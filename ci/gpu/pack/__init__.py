"""Packs the archive for machines with a GPU."""
