"""Compiles the kernel for every target of the table and holds it to its budget."""
