"""Parsers of files that nobody vouches for. Each file is parsed in a process of its own, see `__main__`.

These modules import little, and nothing that a parser does not need: they are loaded again for every file.
"""
