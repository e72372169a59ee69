"""Scaffold: from a sample file to all that a new source needs, written as a person would write it."""

from freight.scaffold.source import Scaffold, Wish, scaffold_source

__all__ = ["Scaffold", "Wish", "scaffold_source"]
