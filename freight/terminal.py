"""What people read in a terminal, in which text of others is nothing but text."""

from typing import Any

from rich.console import Console
from rich.text import Text

from freight.outward import plain


class Terminal(Console):
    """A console that spells out what would move its cursor, or turn what stands there."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does."""
        super().print(*(plain(one) if isinstance(one, str) else one for one in objects), **options)


def cell(text: str) -> Text:
    """Return a cell of a table; rich takes a mere string for its markup."""
    return Text(plain(text))
