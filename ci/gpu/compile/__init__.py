"""The compiled kernel for every target, compared with its budget."""
