"""Scaffold: writes everything that a new source needs from a sample file, in the style of this project."""

from freight.scaffold.source import Scaffold, Wish, scaffold_source

__all__ = ["Scaffold", "Wish", "scaffold_source"]
