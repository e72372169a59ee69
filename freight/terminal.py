"""Terminal output in which foreign text stays plain text."""

from typing import Any

from rich.console import Console
from rich.text import Text

from freight.outward import plain


class PlainConsole(Console):
    """A console that spells out characters that would move its cursor or reverse its text."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does."""
        super().print(*(plain(one) if isinstance(one, str) else one for one in objects), **options)


def cell(text: str) -> Text:
    """Return a cell of a table; rich would read a plain string as markup."""
    return Text(plain(text))
