"""Parsers for untrusted files. Each file is parsed in a process of its own, see `__main__`.

These modules import only what a parser needs: they are loaded again for every file.
"""
