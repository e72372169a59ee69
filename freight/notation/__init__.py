"""How sources write numbers, days and empty cells, and what proves it.

A value that can be read in two ways is read as the catalog says, else as the evidence of its whole file proves, else it
is refused.
"""
