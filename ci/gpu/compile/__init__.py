"""The kernel compiled for every target of the table, and held to its budget."""
