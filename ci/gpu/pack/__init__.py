"""The archive for machines with a GPU."""
